"""The Protocols between the core and its adapters: platforms, models, the database, the clock."""
