"""The notebook file: parse it, edit it, and record what reading asked the file system."""
