"""Steps on other machines, whatever engine hands them over: packed here, laid out and run there, brought back."""
