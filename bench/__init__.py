"""Time and memory of maml_core beside its peers: `make bench`."""
