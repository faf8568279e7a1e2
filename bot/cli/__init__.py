"""Commands whose code needs more than a few lines."""
