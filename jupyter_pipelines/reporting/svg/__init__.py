"""The graph as an SVG drawing, alone, in a page, or as a MIME bundle."""
