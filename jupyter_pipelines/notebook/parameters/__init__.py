"""Parameters: `%%params` cells, annotations of types and domains, literals."""
