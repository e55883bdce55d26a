"""How good theta is while it is trained, on validation tasks, never on the test's; and when it is no longer a number.

Then training stops with a sentence, before anything bad is written down.
"""

import math
from pathlib import Path
from typing import Any

from torch import Tensor

from ..engine.trainer import MetaTrainer
from ..episodes import TaskDistribution
from ..evaluation import evaluate, mean_and_ci95
from ..recipes import Recipe
from ..util.seeding import seeded_generator

VALIDATION_TASKS = 300


def validation_score(recipe: Recipe, trainer: MetaTrainer, validation: TaskDistribution) -> tuple[float, float]:
    """Accuracy after the recipe's test steps, or mean squared error after 1 step, on 300 tasks, the same ones each time.

    (The oracle, which takes no step at test, is judged before one.)
    """
    generator = seeded_generator(1, trainer.generator.device)
    step = min(1, recipe.test_steps[-1]) if recipe.is_regression else recipe.test_steps[-1]
    scores = evaluate(
        trainer.learner, trainer.averaged_theta, validation, [step], generator, VALIDATION_TASKS,
        matmul_backend=trainer.matmul_backend,
    )  # fmt: skip
    return mean_and_ci95(scores[step])


def is_better(recipe: Recipe, row: dict[str, Any], best: dict[str, Any]) -> bool:
    """Errors are best when low, accuracies when high; anything is better than a nan."""
    new, old = row["validation"], best["validation"]
    return math.isnan(old) or (new < old if recipe.is_regression else new > old)


def describe_training(recipe: Recipe, row: dict[str, Any]) -> str:
    """A row of the history for the progress bar: the loss of training with it."""
    return ("" if row["loss"] is None else f"loss {row['loss']:.3f}, ") + describe(recipe, row)


def describe(recipe: Recipe, row: dict[str, Any]) -> str:
    """A row of the history for people."""
    if recipe.is_regression:
        return f"validation mse {row['validation']:.3f} ± {row['ci95']:.3f}"
    return f"validation accuracy {100 * row['validation']:.1f} ± {100 * row['ci95']:.1f}%"


# On a GPU every look waits for it, so that it is looked at once in so many meta-iterations.
GPU_EVERY = 100


class Diverged(ValueError):
    """The loss or the meta-gradient became infinite or not a number."""


def check_finite(recipe: Recipe, trainer: MetaTrainer, losses: Tensor, kept: int | None, out: Path) -> None:
    """Raise Diverged if one of the last losses, or theta after them, is not finite.

    kept: the meta-iteration of the last good checkpoint in `out`, None where there is none.
    """
    if losses.is_cuda and trainer.iteration % GPU_EVERY >= len(losses):
        return
    # A sum is finite only if all of it is: one look in the usual case, which a fast meta-iteration can spare.
    if (losses.sum() + sum(w.sum() for w in trainer.theta.values())).isfinite():
        return
    bad = (~losses.isfinite()).nonzero().flatten()
    if not len(bad) and all(bool(w.isfinite().all()) for w in trainer.theta.values()):
        return
    at = trainer.iteration - (len(losses) - int(bad[0]) - 1 if len(bad) else 0)
    what = "loss" if len(bad) else "meta-gradient"
    keeps = (
        f"The last good checkpoint, of meta-iteration {kept:,}, is in {out}." if kept else "No checkpoint was written yet."
    )
    raise Diverged(
        f"The {what} of {recipe.name} is no longer finite at meta-iteration {at:,}: the inner step alpha = {recipe.alpha} "
        f"is most likely too large. Lower --alpha, or clip the meta-gradient with --clip 10. {keeps}"
    )
