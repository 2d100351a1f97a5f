"""Annotated images in, a Pascal VOC tree and TFRecords out."""
