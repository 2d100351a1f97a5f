"""The data set on disk: splits and folds, the Pascal VOC tree, TFRecords."""
