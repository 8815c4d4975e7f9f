"""The nouns: frozen dataclasses that every later room speaks of."""
