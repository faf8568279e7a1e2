"""Simulated platforms and models: as strict as the real ones, each in a separate process."""
