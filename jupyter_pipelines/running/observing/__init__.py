"""What each cell of a notebook really did, seen from inside its kernel."""
