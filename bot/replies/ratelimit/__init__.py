"""The rate limiter: decides which request of an account goes next, and when."""
