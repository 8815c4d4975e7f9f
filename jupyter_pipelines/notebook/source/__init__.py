"""The notebook file: parse it, edit it, and note what a reading of it asked the file system."""
