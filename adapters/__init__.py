"""Platforms: each turns its events into `Incoming` values and gives surfaces."""
