"""A real browser on a real JupyterLab and a real Notebook 7."""
