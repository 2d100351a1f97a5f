"""A trained network in, SavedModel and ONNX files out, with the proof that they agree."""
