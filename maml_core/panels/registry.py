"""Every panel by name, on the shipped weights: the tests, `make bench-panels` and the animated figure build them here."""

from collections.abc import Callable

from torch import Tensor

from ..maml import Learner
from ..networks import Weights
from ..recipes import find_recipe
from ..results.shipped import load_policy, load_shipped
from ..studies.families import SHIPPED_AS, load_family
from ..tasks.sinusoid import SinusoidTasks
from .alpha import AlphaPanel
from .base import Panel
from .drawing import DrawingPanel
from .episode import EpisodePanel
from .families import FamiliesPanel
from .navigation import NavigationPanel
from .quadratics import PlanePanel
from .sinusoid import SinusoidPanel
from .your_own import ModulePanel
from .your_own.modules import load_modules


def _sinusoid() -> tuple[Learner, Weights, Weights]:
    """MAML's learner and theta, and the theta of pretraining."""
    learner = find_recipe("sinusoid-10shot").build_learner()
    return learner, load_shipped("sinusoid-10shot")[0], load_shipped("sinusoid-pretrained")[0]


def _characters() -> tuple[Learner, Weights]:
    theta, record = load_shipped("omniglot-5way-1shot")
    return record.recipe.build_learner(), theta


# From test characters, uint8 [C, D, 28, 28], which only some of them show.
PANELS: dict[str, Callable[[Tensor], Panel]] = {
    "sinusoid": lambda images: SinusoidPanel(*_sinusoid()),
    "plane": lambda images: PlanePanel(),
    "alpha": lambda images: AlphaPanel(*_sinusoid(), SinusoidTasks(10, queries=50)),
    "episode": lambda images: EpisodePanel(*_characters(), images),
    "drawing": lambda images: DrawingPanel(*_characters()),
    "families": lambda images: FamiliesPanel({name: load_family(name)[:2] for name in SHIPPED_AS}, images),
    "navigation": lambda images: NavigationPanel(load_policy("maml-20")[0], load_policy("pretrained-20")[0]),
    "modules": lambda images: ModulePanel(load_modules()),
}
