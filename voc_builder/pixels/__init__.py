"""Image files to arrays and back: decoding, palette PNGs, geometry of polygons, overlays."""
