"""Benchmarks of building, training, prediction and serving, each beside a plain baseline."""
