"""What learns in the inner loop: MAML's variants, the readers of the other families, and a registry of them by name."""

from .reader import Reader
from .registry import LEARNERS, READERS, VARIANTS

__all__ = ["LEARNERS", "READERS", "VARIANTS", "Reader"]
