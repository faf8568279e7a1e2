"""Builds the adapters from settings: the only modules of `bot` that import adapters."""
