"""MAML with a task axis: the code behind the review.

Data flows one way, and a module imports only from its left:
episodes -> sinusoid, omniglot, glyphs, characters -> networks -> maml (reference, hvp) -> recipes ->
engine, evaluation, training, results -> rl (policies) -> studies -> tables, figures, panels.
"""

import os

# Threads wait for one another after every product. Where they spin meanwhile, as is usual, and other work wants the cores,
# a meta-iteration takes several times as long. OpenMP reads this once, when torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from .episodes import Episodes, TaskDistribution  # noqa: E402
from .maml import Learner, adapt, meta_gradient, meta_objective  # noqa: E402
from .networks import Network  # noqa: E402

__all__ = ["Episodes", "Learner", "Network", "TaskDistribution", "adapt", "meta_gradient", "meta_objective"]
__version__ = "0.1.0"
