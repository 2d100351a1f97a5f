"""Settings in, a Keras network with its loss and its optimizer out."""
