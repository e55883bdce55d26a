from .alpha import AlphaPanel
from .base import Panel
from .drawing import DrawingPanel
from .episode import EpisodePanel
from .families import FamiliesPanel
from .navigation import NavigationPanel
from .quadratics import PlanePanel
from .sinusoid import SinusoidPanel

__all__ = [
    "AlphaPanel", "DrawingPanel", "EpisodePanel", "FamiliesPanel", "NavigationPanel", "Panel", "PlanePanel",
    "SinusoidPanel",
]  # fmt: skip
