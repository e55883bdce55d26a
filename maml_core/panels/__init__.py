from .alpha import AlphaPanel
from .base import Panel
from .drawing import DrawingPanel
from .episode import EpisodePanel
from .families import FamiliesPanel
from .navigation import NavigationPanel
from .quadratics import PlanePanel
from .sinusoid import SinusoidPanel
from .your_own import ModulePanel

__all__ = [
    "AlphaPanel", "DrawingPanel", "EpisodePanel", "FamiliesPanel", "ModulePanel", "NavigationPanel", "Panel",
    "PlanePanel", "SinusoidPanel",
]  # fmt: skip
