"""A folder of annotations of any kind in, samples out: image, mask, group."""
