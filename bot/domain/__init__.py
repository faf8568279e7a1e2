"""Immutable values that all packages share. They do no I/O and know no platform."""
