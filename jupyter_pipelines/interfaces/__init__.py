"""The doors: magics, command line. They parse, call the project and show; they decide nothing."""
