"""The panel of chapter 7: modules of several kinds, and yours, adapt to one wave."""

from .panel import ModulePanel

__all__ = ["ModulePanel"]
