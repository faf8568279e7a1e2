"""Forgets people and old places, and exports what is known of a person."""
