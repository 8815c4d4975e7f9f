"""What outlives a run: records by key, blobs by digest, runs, and the serializers between values and bytes."""
