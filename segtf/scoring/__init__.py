"""Predicted and true class ids in, counts and scores out: per class, per object, with intervals."""
