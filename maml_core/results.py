"""Results: what a trained theta reaches, what the paper reports, and the weights that the package ships."""

import json
from pathlib import Path
from typing import Any

from . import checkpoints
from .characters import Characters
from .episodes import seeded_generator
from .evaluation import evaluate, mean_and_ci95
from .files import check_writable
from .images import MiniImageNet
from .keeper import load_training, settings_of
from .networks import Weights
from .recipes import Recipe

SHIPPED = Path(__file__).parent / "trained"
STUDY_FOLDER = SHIPPED / "studies"
NOT_SHIPPED = "publish from a checkout of the package that can be written"


def measure(
    recipe: Recipe,
    theta: Weights,
    characters: Characters | MiniImageNet | None = None,
    seed: int = 0,
    test_tasks: int = 600,
    part: str = "test",
    queries: int | None = None,
    sees: str = "query batch",
    by_step: bool = True,
) -> dict[str, Any]:
    """The paper's protocol: adapt to 600 new tasks, mean and 95% interval, by number of inner steps.

    Runs where theta lies. characters: all of them (the split is taken here), mini-ImageNet, or None for sine waves.
    queries: query points per class, when not the recipe's own. sees: what batch norm takes its statistics over at
    the query (`transduction.query_outputs`). by_step: judge after each of the recipe's test steps, not the last only.
    """
    device = next(iter(theta.values())).device
    generator = seeded_generator(seed, device)
    queries = queries or recipe.test_queries or recipe.queries or recipe.shots
    tasks = recipe.build_tasks(characters and characters.split(part, recipe.split).to(device), queries)
    steps = recipe.test_steps if by_step else recipe.test_steps[-1:]
    scores = evaluate(recipe.build_learner(), theta, tasks, steps, generator, test_tasks, sees=sees)
    table = {str(step): mean_and_ci95(score) for step, score in scores.items()}
    mean = {step: round(value, 5) for step, (value, _) in table.items()}
    ci95 = {step: round(half, 5) for step, (_, half) in table.items()}
    facts = {
        "tasks": test_tasks,
        "queries": queries,
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
        "batch_norm_sees": sees,
        **facts,
    }


def is_shipped(name: str) -> bool:
    """Whether the package has trained weights for a recipe."""
    return (SHIPPED / f"{name}.pt").exists()


def load_shipped(name: str) -> tuple[Weights, dict[str, Any]]:
    """The trained initialization theta that the package ships for a recipe, and the JSON that tells its story."""
    path = SHIPPED / f"{name}.pt"
    if not is_shipped(name):
        have = ", ".join(sorted(p.stem for p in SHIPPED.glob("*.pt"))) or "none"
        raise FileNotFoundError(f"No weights are shipped for {name} (shipped: {have}): train it first.")
    return checkpoints.load(path)["theta"], json.loads(path.with_suffix(".json").read_text())


def unfinished_file(name: str) -> Path:
    """Where the package ships the checkpoint of a recipe whose shipped training is unfinished."""
    return SHIPPED / "unfinished" / f"{name}.pt"


def load_study(name: str) -> dict[str, Any]:
    """What `python -m maml_core study NAME` measured, as shipped."""
    path = STUDY_FOLDER / f"{name}.json"
    if not path.exists():
        have = ", ".join(sorted(p.stem for p in STUDY_FOLDER.glob("*.json"))) or "none"
        raise FileNotFoundError(f"No results are shipped for the study {name} (shipped: {have}).")
    return json.loads(path.read_text())


def load_study_weights(name: str, condition: str) -> tuple[Weights, Recipe]:
    """The trained theta of one side of a study that ships them, and the recipe it was trained by."""
    path = STUDY_FOLDER / name / weights_name(condition)
    if not path.exists():
        have = ", ".join(sorted(p.stem for p in (STUDY_FOLDER / name).glob("*.pt"))) or "none"
        raise FileNotFoundError(f"No weights are shipped for {condition} of the study {name} (shipped: {have}).")
    story = checkpoints.load(path)
    return story["theta"], Recipe(**story["recipe"])


def weights_name(condition: str) -> str:
    """The file of a condition's weights: "first order" is in first-order.pt."""
    return f"{condition.lower().replace(' ', '-')}.pt"


def publish(run: Path, characters: Characters | MiniImageNet | None, name: str | None = None) -> dict[str, Any]:
    """Put a run's best weights among the shipped ones, with their story and their evaluation on test tasks.

    What is shipped by its recipe's name and is short of the recipe's meta-iterations goes with its checkpoint, for
    `take_unfinished`; a finished training removes the one that was there.

    run: a folder that `train` wrote. name: what to ship it as, if not by its recipe's name. Returns the story. Raises,
    before anything is measured, OSError where the package's folder cannot be written, and, unless there is a name,
    ValueError where the same training is shipped with more meta-iterations.
    """
    best = checkpoints.load(run / "weights.pt")
    recipe = Recipe(**best["recipe"])
    weights, told = (SHIPPED / f"{name or recipe.name}.{ending}" for ending in ("pt", "json"))
    unfinished = unfinished_file(recipe.name) if name in (None, recipe.name) else None
    for path in (weights, told, unfinished):
        if path:
            check_writable(path, NOT_SHIPPED)
    story, training = json.loads((run / "history.json").read_text()), None
    if unfinished and story["iterations"] < recipe.meta_iterations:
        training = load_training(run, print)
        story |= {key: training[key] for key in story.keys() & training.keys()}  # newer than history.json
    if name is None:
        _check_not_behind(story, run)
    if characters is not None:
        story["evaluation_15_queries"] = measure(recipe, best["theta"], characters, queries=15, by_step=False)
    story["evaluation"] = measure(recipe, best["theta"], characters)
    story["iteration"] = best["iteration"]
    checkpoints.save(best, weights)
    checkpoints.save(story, told)
    if training and story["iterations"] < recipe.meta_iterations:
        checkpoints.save(training, unfinished)
    elif unfinished:
        unfinished.unlink(missing_ok=True)
    return story


def _check_not_behind(story: dict[str, Any], run: Path) -> None:
    """ValueError where the package ships the same training, by its recipe's name, with more meta-iterations than `run`."""
    name, ours = story["recipe"]["name"], story["iterations"]
    shipped = [json.loads((SHIPPED / f"{name}.json").read_text())] if (SHIPPED / f"{name}.json").exists() else []
    shipped += [checkpoints.load(unfinished_file(name))] if unfinished_file(name).exists() else []
    theirs = max((s["iterations"] for s in shipped if settings_of(s) == settings_of(story)), default=0)
    if ours < theirs:
        raise ValueError(
            f"{run} is at meta-iteration {ours:,}, and the package ships the same training of {name} at {theirs:,}: go on "
            f"with yours by --resume, or replace what is shipped by --as {name}."
        )
