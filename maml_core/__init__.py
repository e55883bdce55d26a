"""MAML with a task axis: the code behind the review.

Imports go in one direction: a module or package imports only from those to its left:
util -> episodes -> layers, modules -> networks -> maml (reference, second_order, meta_update) -> tasks -> learners ->
recipes -> engine -> evaluation -> training -> fine_tuning -> results -> rl -> studies -> docs -> figures -> panels ->
live -> cli.
"""

import os

# Threads wait for one another after every matrix product. If they spin for milliseconds, the default, a meta-iteration
# takes several times as long whenever other processes need the cores; if they sleep at once, waking them costs half the
# gain of a second core. So they spin a thousand times, a few microseconds. OpenMP reads this once, when torch is loaded.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")

from .engine import Execution, MetaTrainer  # noqa: E402
from .episodes import Episodes, TaskDistribution  # noqa: E402
from .evaluation import evaluate, mean_and_ci95  # noqa: E402
from .fine_tuning import fine_tune, load_weights, save_weights  # noqa: E402
from .learners.adapting import adapting  # noqa: E402
from .maml import Learner, adapt, meta_gradient, meta_objective  # noqa: E402
from .meta_update import MetaUpdate  # noqa: E402
from .networks import Network  # noqa: E402
from .tasks import FewShotTasks  # noqa: E402

__all__ = [
    "Episodes", "Execution", "FewShotTasks", "Learner", "MetaTrainer", "MetaUpdate", "Network", "TaskDistribution",
    "adapt", "adapting", "evaluate", "fine_tune", "load_weights", "mean_and_ci95", "meta_gradient", "meta_objective",
    "save_weights",
]  # fmt: skip
__version__ = "0.1.0"
