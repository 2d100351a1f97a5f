"""Annotations of any format in, samples out: an image, its class-id mask and its group."""
