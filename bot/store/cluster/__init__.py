"""The processes that share one PostgreSQL: heartbeats, leases and signals."""
