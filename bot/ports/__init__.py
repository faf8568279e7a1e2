"""The Protocols between the core and everything it is connected to: platforms, models, the
database, the clock."""
