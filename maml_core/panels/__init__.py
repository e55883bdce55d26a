"""Live panels: sliders, one picture, one line of numbers."""

from .alpha import AlphaPanel
from .base import Panel
from .drawing import DrawingPanel
from .episode import EpisodePanel
from .navigation import NavigationPanel
from .plane import PlanePanel
from .sinusoid import SinusoidPanel

__all__ = ["AlphaPanel", "DrawingPanel", "EpisodePanel", "NavigationPanel", "Panel", "PlanePanel", "SinusoidPanel"]
