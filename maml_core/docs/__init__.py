"""`make docs`: fill results into README.md and docs/*.md."""

from .content import CONTENT
from .filling import MARKER, ROOT, fill, main, pages

__all__ = ["CONTENT", "MARKER", "ROOT", "fill", "main", "pages"]
