"""Resolves the rules for a place and a person: who may ask, with which model, and for how much."""
