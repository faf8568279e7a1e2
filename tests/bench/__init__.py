"""What is measured, beside a bound or a peer of the same run: `python -m tests.bench`."""
