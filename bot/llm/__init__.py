"""Language models behind one port: providers, chain and circuit breaker."""
