"""Draw images with exact masks: discs on a belt, pets, land and pipes."""
