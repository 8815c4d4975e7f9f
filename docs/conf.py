"""How the documentation is built: `make docs`."""

from __future__ import annotations

from jupyter_pipelines import __version__

project = "jupyter-pipelines"
author = "The jupyter-pipelines developers"
copyright = f"2026, {author}"
release = version = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
nitpicky = False  # half of the names in signatures belong to projects whose inventories would have to be downloaded
suppress_warnings = ["toc.empty_glob"]  # index.md names groups of pages, some of which are yet to be written

myst_enable_extensions = ["colon_fence", "deflist", "fieldlist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # numpydoc sections say types in words
napoleon_google_docstring = False
napoleon_use_rtype = False

html_theme = "furo"
html_title = f"jupyter-pipelines {release}"
