"""Figures in one style: every function draws on an axes, with one colour per concept in all chapters."""

from .hessian import draw_agreement, draw_error_against_epsilon, draw_sharpness
from .navigation import draw_paths, draw_returns
from .notebook import Source, data_banner, shipped_picture
from .omniglot import draw_characters, draw_episode, draw_predictions, picture_sheet
from .quadratics import draw_plane
from .reported.learning import draw_learning_curves
from .reported.variants import draw_learned_alphas
from .sinusoid import draw_adaptation, draw_error_against_steps
from .style import COLOURS, draw_band, use_style

__all__ = [
    "COLOURS",
    "Source",
    "data_banner",
    "draw_adaptation",
    "draw_agreement",
    "draw_band",
    "draw_characters",
    "draw_episode",
    "draw_error_against_epsilon",
    "draw_error_against_steps",
    "draw_learned_alphas",
    "draw_learning_curves",
    "draw_paths",
    "draw_plane",
    "draw_predictions",
    "draw_returns",
    "draw_sharpness",
    "picture_sheet",
    "shipped_picture",
    "use_style",
]
