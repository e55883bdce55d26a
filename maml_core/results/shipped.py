"""What the package ships: trained weights, what studies measured, policies; and how a training joins them."""

import json
from pathlib import Path
from typing import Any

from ..networks import Weights
from ..recipes import Recipe
from ..tasks.registry import Data
from ..training import checkpoints
from ..training.checkpoints import load_training
from ..training.record import TrainingRecord
from ..util.atomic_files import check_writable
from .protocol import measure
from .study_result import StudyResult

SHIPPED = Path(__file__).parent.parent / "trained"
STUDY_FOLDER = SHIPPED / "studies"
POLICY_FOLDER = SHIPPED / "navigation"
NOT_SHIPPED = "publish from a checkout of the package that can be written"


def is_shipped(name: str) -> bool:
    """Whether the package has trained weights for a recipe."""
    return (SHIPPED / f"{name}.pt").exists()


def load_shipped(name: str) -> tuple[Weights, TrainingRecord]:
    """The trained initialization theta that the package ships for a recipe, and the record of its training."""
    path = SHIPPED / f"{name}.pt"
    if not is_shipped(name):
        have = ", ".join(sorted(p.stem for p in SHIPPED.glob("*.pt"))) or "none"
        raise FileNotFoundError(f"No weights are shipped for {name} (shipped: {have}): train it first.")
    return checkpoints.load(path)["theta"], load_record(path.with_suffix(".json"))


def load_record(path: Path) -> TrainingRecord:
    """The record of a training in a JSON file, such as its `history.json`; ValueError for one of a newer version."""
    return TrainingRecord.from_json(json.loads(path.read_text()), path)


def unfinished_file(name: str) -> Path:
    """Where the package ships the checkpoint of a recipe whose shipped training is unfinished."""
    return SHIPPED / "unfinished" / f"{name}.pt"


def load_study(name: str) -> StudyResult:
    """What `python -m maml_core study NAME` measured, as shipped."""
    path = STUDY_FOLDER / f"{name}.json"
    if not path.exists():
        have = ", ".join(sorted(p.stem for p in STUDY_FOLDER.glob("*.json"))) or "none"
        raise FileNotFoundError(f"No results are shipped for the study {name} (shipped: {have}).")
    return StudyResult.load(path)


def load_study_weights(name: str, condition: str) -> tuple[Weights, Recipe]:
    """The trained theta of one side of a study that ships them, and the recipe it was trained by."""
    path = STUDY_FOLDER / name / weights_name(condition)
    if not path.exists():
        have = ", ".join(sorted(p.stem for p in (STUDY_FOLDER / name).glob("*.pt"))) or "none"
        raise FileNotFoundError(f"No weights are shipped for {condition} of the study {name} (shipped: {have}).")
    content = checkpoints.load(path)
    return content["theta"], Recipe(**content["recipe"])


def weights_name(condition: str) -> str:
    """The file of a condition's weights: "first order" is in first-order.pt."""
    return f"{condition.lower().replace(' ', '-')}.pt"


def publish(run: Path, characters: Data | None, name: str | None = None) -> TrainingRecord:
    """Put a run's best weights among the shipped ones, with their record and their evaluation on test tasks.

    What is shipped by its recipe's name and is short of the recipe's meta-iterations goes with its checkpoint, for
    `take_unfinished`; a finished training removes the one that was there.

    run: a folder that `train` wrote. name: what to ship it as, if not by its recipe's name. Returns the record. Raises,
    before anything is measured, OSError where the package's folder cannot be written, and, unless there is a name,
    ValueError where the same training is shipped with more meta-iterations.
    """
    best = checkpoints.load(run / "weights.pt")
    kept = TrainingRecord.from_json(best, run / "weights.pt")
    recipe = kept.recipe
    weights, told = (SHIPPED / f"{name or recipe.name}.{ending}" for ending in ("pt", "json"))
    unfinished = unfinished_file(recipe.name) if name in (None, recipe.name) else None
    for path in (weights, told, unfinished):
        if path:
            check_writable(path, NOT_SHIPPED)
    record, training = load_record(run / "history.json"), None
    if unfinished and record.iterations_run < recipe.meta_iterations:
        training = load_training(run, print)
        record = TrainingRecord.from_json(training, run)  # newer than history.json
    if name is None:
        _check_not_behind(record, run)
    if characters is not None:
        record.evaluation_15_queries = measure(recipe, best["theta"], characters, queries=15, by_step=False)
    record.evaluation = measure(recipe, best["theta"], characters)
    record.best = kept.best or record.best  # of this theta, even if a kill came between the two files
    checkpoints.save(best, weights)
    checkpoints.save(record.to_json(), told)
    if training and record.iterations_run < recipe.meta_iterations:
        checkpoints.save(training, unfinished)
    elif unfinished:
        unfinished.unlink(missing_ok=True)
    return record


def _check_not_behind(record: TrainingRecord, run: Path) -> None:
    """ValueError where the package ships the same training, by its recipe's name, with more meta-iterations than `run`."""
    name, ours = record.recipe.name, record.iterations_run
    told, unfinished = SHIPPED / f"{name}.json", unfinished_file(name)
    shipped = [load_record(told)] if told.exists() else []
    shipped += [TrainingRecord.from_json(checkpoints.load(unfinished), unfinished)] if unfinished.exists() else []
    theirs = max((other.iterations_run for other in shipped if other.settings() == record.settings()), default=0)
    if ours < theirs:
        raise ValueError(
            f"{run} is at meta-iteration {ours:,}, and the package ships the same training of {name} at {theirs:,}: go on "
            f"with yours by --resume, or replace what is shipped by --as {name}."
        )


def load_policy(name: str) -> tuple[Weights, dict[str, Any]]:
    """A policy that the package ships, such as "maml-20" (meta-iterations), and what its JSON file says of its training."""
    path = POLICY_FOLDER / f"{name}.pt"
    if not path.exists():
        have = ", ".join(sorted(p.stem for p in POLICY_FOLDER.glob("*.pt"))) or "none"
        raise FileNotFoundError(f"No policy {name} is shipped (shipped: {have}): take one of these, or publish it.")
    return checkpoints.load(path)["theta"], json.loads(path.with_suffix(".json").read_text())


def load_benchmark(path: Path = SHIPPED / "benchmark.json") -> dict[str, Any]:
    """What `make bench` wrote."""
    return json.loads(path.read_text())
