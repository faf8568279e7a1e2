"""The adapters, built from settings: the only modules of `bot` that import them."""
