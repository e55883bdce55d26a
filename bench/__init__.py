"""Benchmarks of maml_core against other libraries, in time and memory: `make bench`."""
