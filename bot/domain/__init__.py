"""Values that all packages share: immutable, without I/O, independent of the platforms."""
