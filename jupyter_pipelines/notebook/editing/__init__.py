"""Headers, written for people: new texts of cells out of old ones. Nothing is written to a file, nothing executed."""
