"""Shared helpers: argument checks, atomic file writes, gradients, a progress bar, seeded generators."""

from .checks import at_least, positive
from .seeding import seeded_generator

__all__ = ["at_least", "positive", "seeded_generator"]
