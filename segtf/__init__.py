"""A data set in; a trained, measured, exported segmentation network out."""
