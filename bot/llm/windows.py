"""The range of plausible context windows."""

SMALLEST_WINDOW, LARGEST_WINDOW = 128, 100_000_000
"""Tokens: a number outside this range is not a context window."""
