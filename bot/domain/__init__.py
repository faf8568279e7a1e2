"""The values that the whole product shares: frozen, without I/O, naming no platform."""
