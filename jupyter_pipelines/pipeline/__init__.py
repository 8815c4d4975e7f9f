"""The domain model: frozen dataclasses that every higher package uses."""
