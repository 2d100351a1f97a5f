"""What a run is: its settings, its folder and its provenance, as plain values."""
