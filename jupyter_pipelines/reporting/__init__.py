"""What was read, planned or run, as something to look at: text, drawings, pages, comparisons."""
