"""Keep a store small and sound: collect garbage, check every blob and record."""
