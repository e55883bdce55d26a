"""Shared helpers: argument checks, atomic files, a progress bar, seeds."""

from .checks import at_least, positive
from .seeding import seeded_generator

__all__ = ["at_least", "positive", "seeded_generator"]
