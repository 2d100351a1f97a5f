"""TFRecords in, batches of augmented images and masks out."""
