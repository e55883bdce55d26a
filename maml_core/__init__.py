"""MAML with a task axis: the code behind the review.

Data flows one way, and a module imports only from its left:
episodes -> sinusoid, omniglot, glyphs, characters -> networks -> maml (reference, hvp) -> recipes ->
engine, evaluation, training, results -> rl (policies) -> studies -> tables, figures, panels.
"""

from .episodes import Episodes, TaskDistribution
from .maml import Learner, adapt, meta_gradient, meta_objective
from .networks import Network

__all__ = ["Episodes", "Learner", "Network", "TaskDistribution", "adapt", "meta_gradient", "meta_objective"]
__version__ = "0.1.0"
