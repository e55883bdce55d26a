"""Results: what a trained theta reaches, what the paper reports, and the weights that the package ships."""

import json
from pathlib import Path
from typing import Any

from . import checkpoints
from .characters import Characters
from .episodes import seeded_generator
from .evaluation import evaluate, mean_and_ci95
from .networks import Weights
from .recipes import Recipe

SHIPPED = Path(__file__).parent / "trained"

# The paper's Table 1 (accuracy and 95% interval, fractions) and Table 2 (5-shot, by number of inner steps).
PAPER_ACCURACY = {
    "omniglot-5way-1shot": (0.987, 0.004),
    "omniglot-5way-5shot": (0.999, 0.001),
    "omniglot-20way-1shot": (0.958, 0.003),
    "omniglot-20way-5shot": (0.989, 0.002),
    "omniglot-5way-1shot-mlp": (0.897, 0.011),
    "omniglot-5way-5shot-mlp": (0.975, 0.006),
}
PAPER_MSE = {
    "sinusoid-5shot": {1: 0.67, 5: 0.38, 10: 0.35},
    "sinusoid-pretrained": {1: 2.41, 5: 2.23, 10: 2.19},
}


def measure(
    recipe: Recipe,
    theta: Weights,
    characters: Characters | None = None,
    seed: int = 0,
    test_tasks: int = 600,
    part: str = "test",
    queries: int | None = None,
) -> dict[str, Any]:
    """The paper's protocol: adapt to 600 new tasks, mean and 95% interval, by number of inner steps.

    Runs where theta lies. characters: all of them (the split is taken here), or None for sine waves.
    queries: query points per class, when not the recipe's own.
    """
    device = next(iter(theta.values())).device
    generator = seeded_generator(seed, device)
    tasks = recipe.build_tasks(characters and characters.split(part, recipe.split).to(device), queries)
    scores = evaluate(recipe.build_learner(), theta, tasks, recipe.test_steps, generator, test_tasks)
    table = {str(step): mean_and_ci95(score) for step, score in scores.items()}
    mean = {step: round(value, 5) for step, (value, _) in table.items()}
    ci95 = {step: round(half, 5) for step, (_, half) in table.items()}
    facts = {
        "tasks": test_tasks,
        "queries": queries or recipe.queries or recipe.shots,
        "data": characters.source if characters else "sinusoid",
        "seed": seed,
    }
    if recipe.is_regression:
        return {"recipe": recipe.name, "mse": mean, "ci95": ci95, **facts}
    last = str(recipe.test_steps[-1])
    return {
        "recipe": recipe.name,
        "accuracy": mean[last],
        "ci95": ci95[last],
        "steps": recipe.test_steps[-1],
        "accuracy_by_step": mean,
        "inner_loss": recipe.inner_loss,
        **facts,
    }


def load_shipped(name: str) -> tuple[Weights, dict[str, Any]]:
    """The trained initialization theta that the package ships for a recipe, and the JSON that tells its story."""
    path = SHIPPED / f"{name}.pt"
    if not path.exists():
        have = ", ".join(sorted(p.stem for p in SHIPPED.glob("*.pt"))) or "none"
        raise FileNotFoundError(f"No weights are shipped for {name} (shipped: {have}): train it first.")
    return checkpoints.load(path)["theta"], json.loads(path.with_suffix(".json").read_text())


def publish(run: Path, characters: Characters | None) -> dict[str, Any]:
    """Put a run's best weights among the shipped ones, with their story and their evaluation on test tasks.

    run: a folder that `train` wrote. Returns the story.
    """
    best = checkpoints.load(run / "weights.pt")
    recipe = Recipe(**best["recipe"])
    story = json.loads((run / "history.json").read_text())
    if characters is not None:
        story["evaluation_15_queries"] = measure(recipe, best["theta"], characters, queries=15)
    story["evaluation"] = measure(recipe, best["theta"], characters)
    story["iteration"] = best["iteration"]
    checkpoints.save(best, SHIPPED / f"{recipe.name}.pt")
    checkpoints.save(story, SHIPPED / f"{recipe.name}.json")
    return story
