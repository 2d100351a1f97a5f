"""A run folder in, a research report as an executed Jupyter notebook out, without TensorFlow."""
