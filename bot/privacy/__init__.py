"""Erases people and old places, and exports the data about a person."""
