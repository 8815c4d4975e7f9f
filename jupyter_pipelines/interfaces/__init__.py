"""The user interfaces: command line, magics, widgets, server. They parse, call the project and show its results."""
