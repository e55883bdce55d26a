"""Evaluate a trained theta on new tasks, by the paper's protocol."""

from typing import Any

from ..episodes import query_points
from ..evaluation import evaluate, mean_and_ci95
from ..networks import Weights
from ..recipes import Recipe
from ..tasks.registry import Data
from ..util.seeding import seeded_generator


def measure(
    recipe: Recipe,
    theta: Weights,
    characters: Data | None = None,
    seed: int = 0,
    test_tasks: int = 600,
    part: str = "test",
    queries: int | None = None,
    sees: str = "query batch",
    by_step: bool = True,
) -> dict[str, Any]:
    """The paper's protocol: adapt to 600 new tasks; returns mean and 95% interval by number of inner steps.

    Runs on theta's device. characters: all of them (split here), mini-ImageNet, or None for sine waves. queries: query
    points per class (default: the recipe's). sees: what batch norm computes its statistics over at the query
    (`evaluation.query_outputs`). by_step: evaluate after each of the recipe's test steps, not only after the last.
    """
    device = next(iter(theta.values())).device
    generator = seeded_generator(seed, device)
    queries = query_points(recipe.shots, queries or recipe.test_queries or recipe.queries)
    tasks = recipe.build_tasks(characters and characters.split(part, recipe.split).to(device), queries)
    steps = recipe.test_steps if by_step else recipe.test_steps[-1:]
    scores = evaluate(recipe.build_learner(), theta, tasks, steps, generator, test_tasks, sees=sees)
    table = {str(step): mean_and_ci95(score) for step, score in scores.items()}
    mean = {step: round(value, 5) for step, (value, _) in table.items()}
    ci95 = {step: round(half, 5) for step, (_, half) in table.items()}
    metadata = {
        "tasks": test_tasks,
        "queries": queries,
        "data": characters.source if characters else "sinusoid",
        "seed": seed,
    }
    if recipe.is_regression:
        return {"recipe": recipe.name, "mse": mean, "ci95": ci95, **metadata}
    last = str(recipe.test_steps[-1])
    return {
        "recipe": recipe.name,
        "accuracy": mean[last],
        "ci95": ci95[last],
        "steps": recipe.test_steps[-1],
        "accuracy_by_step": mean,
        "inner_loss": recipe.inner_loss,
        "batch_norm_sees": sees,
        **metadata,
    }
