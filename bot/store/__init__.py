"""The SQLite store: transitions, queries, migrations and backups."""
