"""The platforms. Each adapter turns its events into `Incoming` values and provides surfaces."""
