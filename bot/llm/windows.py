"""Which numbers can be a context window."""

SMALLEST_WINDOW, LARGEST_WINDOW = 128, 100_000_000
"""Tokens: a number outside this range is not a context window."""
