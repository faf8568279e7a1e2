"""Metrics, readiness and the service manager, for the person on call."""
