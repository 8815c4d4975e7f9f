"""Step records and runs as files below the store, and the SQLite index over them."""
