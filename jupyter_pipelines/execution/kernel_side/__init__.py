"""What runs inside a step's kernel; it imports only the standard library."""
