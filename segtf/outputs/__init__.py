"""Predictions in, the files that people take away out: masks, overlays, tables, annotations."""
