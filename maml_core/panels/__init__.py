"""Live panels: sliders, one picture, one line of numbers."""

from .alpha import AlphaPanel
from .base import Panel
from .episode import EpisodePanel
from .plane import PlanePanel
from .sinusoid import SinusoidPanel

__all__ = ["AlphaPanel", "EpisodePanel", "Panel", "PlanePanel", "SinusoidPanel"]
