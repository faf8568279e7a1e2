"""The database: atomic transitions over SQLite."""
