"""Monitor a training run: its length, validation scores (never on test tasks), and divergence.

A run that diverges stops with an error message before any bad values are saved.
"""

import math
from pathlib import Path
from typing import Any

from torch import Tensor

from ..engine.divergence import Diverged, find_divergence
from ..engine.trainer import MetaTrainer
from ..episodes import TaskDistribution
from ..evaluation import evaluate, mean_and_ci95
from ..recipes import Recipe
from ..util.seeding import seeded_generator

VALIDATION_TASKS = 300


def validation_score(recipe: Recipe, trainer: MetaTrainer, validation: TaskDistribution) -> tuple[float, float]:
    """Accuracy after the recipe's test steps, or mean squared error after 1 step, on the same 300 tasks each time.

    (The oracle, which takes no steps at test time, is evaluated after 0.)
    """
    generator = seeded_generator(1, trainer.generator.device)
    step = min(1, recipe.test_steps[-1]) if recipe.is_regression else recipe.test_steps[-1]
    scores = evaluate(
        trainer.learner, trainer.averaged_theta, validation, [step], generator, VALIDATION_TASKS,
        matmul_backend=trainer.matmul_backend,
    )  # fmt: skip
    return mean_and_ci95(scores[step])


def is_better(recipe: Recipe, row: dict[str, Any], best: dict[str, Any]) -> bool:
    """Lower is better for errors, higher for accuracies; anything is better than NaN."""
    new, old = row["validation"], best["validation"]
    return math.isnan(old) or (new < old if recipe.is_regression else new > old)


def describe_training(recipe: Recipe, row: dict[str, Any]) -> str:
    """A row of the history for the progress bar: training loss and validation score."""
    return ("" if row["loss"] is None else f"loss {row['loss']:.3f}, ") + describe(recipe, row)


def describe(recipe: Recipe, row: dict[str, Any]) -> str:
    """A row of the history as text: the validation score with its interval."""
    if recipe.is_regression:
        return f"validation mse {row['validation']:.3f} ± {row['ci95']:.3f}"
    return f"validation accuracy {100 * row['validation']:.1f} ± {100 * row['ci95']:.1f}%"


def check_horizon(recipe: Recipe, iterations: int) -> None:
    """Raise ValueError for a run that would go on where its learning rate has reached 0."""
    if recipe.horizon is not None and iterations > recipe.horizon:
        raise ValueError(
            f"The learning rate of {recipe.name} is 0 from meta-iteration {recipe.horizon:,} on: request at most as many "
            "--iterations, or train with --schedule constant."
        )


# Meta-iterations between checks on a GPU, where each check waits for the device.
GPU_CHECK_INTERVAL = 100


def check_finite(recipe: Recipe, trainer: MetaTrainer, losses: Tensor, saved: int | None, out: Path) -> None:
    """`stop_if_diverged`, on a GPU every GPU_CHECK_INTERVAL meta-iterations."""
    if not losses.is_cuda or trainer.iteration % GPU_CHECK_INTERVAL < len(losses):
        stop_if_diverged(recipe, trainer, losses, saved, out)


def stop_if_diverged(recipe: Recipe, trainer: MetaTrainer, losses: Tensor, saved: int | None, out: Path) -> None:
    """Raise Diverged if one of the last losses, or theta after them, is not finite.

    losses: of the meta-iterations since the last check, if any; before a save, theta alone is enough
    saved:  meta-iteration of the last good checkpoint in `out`; None if there is none
    """
    found = find_divergence(losses, trainer.theta, trainer.iteration)
    if found is None:
        return
    what, at = found
    checkpoint = (
        f"The last good checkpoint, from meta-iteration {saved:,}, is in {out}." if saved else "There is no checkpoint yet."
    )
    raise Diverged(
        f"The {what} of {recipe.name} is no longer finite at meta-iteration {at:,}: the inner step alpha = {recipe.alpha} "
        f"is most likely too large. Lower --alpha, or clip the meta-gradient with --clip 10. {checkpoint}"
    )
