"""The figures of README.md and docs/: `make figures` draws each into figures/NAME.png. A new one joins with a line."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from ..tasks.characters import Characters
from . import reported
from .navigation import navigation, navigation_alpha
from .omniglot import omniglot_characters, omniglot_predictions
from .quadratics import theta_between_tasks
from .reported.families import families_predictions
from .sinusoid import sinusoid_adaptation

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Drawn from shipped weights and results.
FIGURES: dict[str, Callable[[], "Figure"]] = {
    **{name: getattr(reported, name) for name in reported.__all__},
    "navigation": navigation,
    "navigation_alpha": navigation_alpha,
    "sinusoid_adaptation": sinusoid_adaptation,
    "theta_between_tasks": theta_between_tasks,
}
# These show Omniglot, which is not in the repository.
OMNIGLOT_FIGURES: dict[str, Callable[[Characters], "Figure"]] = {
    "families_predictions": families_predictions,
    "omniglot_characters": omniglot_characters,
    "omniglot_predictions": omniglot_predictions,
}
