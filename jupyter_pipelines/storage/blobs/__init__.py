"""Contents by digest: blobs, digests of files, manifests of folders."""
