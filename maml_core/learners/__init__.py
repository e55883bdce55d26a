"""What learns in the inner loop: MAML's variants, learners of the other two families, and a registry of all by name."""

from .reader import Reader
from .registry import LEARNERS, READERS, VARIANTS

__all__ = ["LEARNERS", "READERS", "VARIANTS", "Reader"]
