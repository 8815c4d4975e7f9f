"""Stores that several users write to, in a folder or a bucket, behind a local store."""
