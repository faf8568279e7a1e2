"""Splits a growing reply into pages."""
