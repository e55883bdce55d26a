"""Live panels: sliders, one picture, one line of numbers."""

from .alpha import AlphaPanel
from .base import Panel
from .drawing import DrawingPanel
from .episode import EpisodePanel
from .families import FamiliesPanel
from .plane import PlanePanel
from .sinusoid import SinusoidPanel

__all__ = ["AlphaPanel", "DrawingPanel", "EpisodePanel", "FamiliesPanel", "Panel", "PlanePanel", "SinusoidPanel"]
