"""The rate limiter: which request of an account goes next, and when."""
