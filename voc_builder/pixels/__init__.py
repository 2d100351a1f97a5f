"""Image files in, arrays out, and back: decoding, palette PNGs, geometry, overlays."""
