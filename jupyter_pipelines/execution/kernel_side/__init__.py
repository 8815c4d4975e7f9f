"""Code that runs inside a step's kernel; it imports only the standard library, as every step pays for its imports."""
