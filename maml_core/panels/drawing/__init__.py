"""The panel to draw on: a canvas that keeps strokes, and strokes as pictures like Omniglot's."""

from .panel import DrawingPanel

__all__ = ["DrawingPanel"]
