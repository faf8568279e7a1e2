"""Small helpers for all packages: retries, logs, proxies, supervision."""
