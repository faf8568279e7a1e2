"""Turns: which runs next, what the model is asked, and how each one ends."""
