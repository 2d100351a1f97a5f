"""Samples in, a Pascal VOC tree with splits and TFRecords out."""
