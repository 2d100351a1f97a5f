"""Annotated photos in, a Pascal VOC tree and TFRecords out."""
