"""How good theta is while it is trained: on validation tasks, never on the test's."""

import math
from typing import Any

from .engine import MetaTrainer
from .episodes import TaskDistribution, seeded_generator
from .evaluation import evaluate, mean_and_ci95
from .recipes import Recipe

VALIDATION_TASKS = 300


def validation_score(recipe: Recipe, trainer: MetaTrainer, validation: TaskDistribution) -> tuple[float, float]:
    """Accuracy after the recipe's test steps, or mean squared error after 1 step, on 300 tasks, the same ones each time.

    (The oracle, which takes no step at test, is judged before one.)
    """
    generator = seeded_generator(1, trainer.generator.device)
    step = min(1, recipe.test_steps[-1]) if recipe.is_regression else recipe.test_steps[-1]
    scores = evaluate(
        trainer.learner, trainer.averaged_theta, validation, [step], generator, VALIDATION_TASKS, products=trainer.products
    )
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
