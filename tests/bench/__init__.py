"""Benchmarks that compare each result with a bound or a peer of the same run."""
