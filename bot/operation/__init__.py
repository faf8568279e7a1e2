"""Operation: metrics, readiness and the service manager, for the person on call."""
