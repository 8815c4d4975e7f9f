"""Ed25519 signatures of shared results, and the keys that are trusted."""
