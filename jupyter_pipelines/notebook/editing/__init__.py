"""Edits of headers: new texts of cells from old texts. Nothing is written to a file, nothing executed."""
