"""EXPLORATORY NOTEBOOK -> PIPELINE NOTEBOOK: cut at headings and where little flows, with small interfaces."""
