"""Batches and a network in, a run folder with its best network, log and backup out."""
