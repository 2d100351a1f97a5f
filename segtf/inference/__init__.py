"""An image and a trained model in, class probabilities and class ids out, without TensorFlow."""
