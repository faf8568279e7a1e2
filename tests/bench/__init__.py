"""What is measured, and printed beside a bound or a peer of the same run: `python -m tests.bench`."""
