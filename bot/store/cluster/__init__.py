"""Coordinates the processes that share one PostgreSQL: heartbeats, leases and signals."""
