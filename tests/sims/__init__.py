"""Simulated platforms and models: as strict as the real ones, each a process of its own."""
