"""The HTTP interface for front ends: routes of a JSON API, HTML pages, and events on Jupyter's event stream."""
