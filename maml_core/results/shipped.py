"""What ships with the package: trained weights, study results and policies; and publishing a training run."""

import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..networks import Weights
from ..recipes import RECIPES, Recipe
from ..tasks.registry import Data
from ..training import checkpoints
from ..training.checkpoints import load_training
from ..training.record import TrainingRecord, setting_as_text
from ..util.atomic_files import check_writable
from .protocol import measure
from .study_result import StudyResult

SHIPPED = Path(__file__).parent.parent / "trained"
BENCHMARK = SHIPPED / "benchmark.json"
STUDY_FOLDER = SHIPPED / "studies"
POLICY_FOLDER = SHIPPED / "navigation"
FAMILIES = "families"  # a folder in SHIPPED, of weights that `studies.families` compares
NOT_WRITABLE = "publish from a writable checkout of the package"


def is_shipped(name: str) -> bool:
    """Whether the package ships trained weights for a recipe."""
    return (SHIPPED / f"{name}.pt").exists()


def load_shipped(name: str) -> tuple[Weights, TrainingRecord]:
    """A recipe's shipped theta, the trained initialization, and the record of its training run."""
    path = SHIPPED / f"{name}.pt"
    if not is_shipped(name):
        shipped = ", ".join(sorted(p.stem for p in SHIPPED.glob("*.pt"))) or "none"
        raise FileNotFoundError(f"No weights are shipped for {name} (shipped: {shipped}): train it first.")
    return checkpoints.load(path)["theta"], load_record(path.with_suffix(".json"))


def load_record(path: Path) -> TrainingRecord:
    """Load a TrainingRecord from JSON, such as a run's `history.json`.

    Raises FileNotFoundError, or ValueError for a newer schema and for a file that is damaged or no record.
    """
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}, the record of a training run: copy it there, or train again.")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(
            f"{path} cannot be read as JSON ({type(error).__name__}), so it is damaged: use another copy, or train again."
        ) from error
    if not isinstance(content, dict) or not isinstance(content.get("recipe"), dict):
        raise ValueError(f"{path} is not the record of a training run: use the one that `train` wrote, or train again.")
    return TrainingRecord.from_json(content, path)


def load_cpu_record(name: str) -> TrainingRecord:
    """The record of a recipe's training run on a CPU, for comparisons of time.

    Where the shipped weights come from a GPU, it is that of another run of the recipe, in the folder trained/cpu.
    """
    path = SHIPPED / "cpu" / f"{name}.json"
    return load_record(path if path.exists() else SHIPPED / f"{name}.json")


def unfinished_file(name: str) -> Path:
    """Where the package ships a recipe's checkpoint while its training run is unfinished."""
    return SHIPPED / "unfinished" / f"{name}.pt"


def load_study(name: str) -> StudyResult:
    """The shipped result of `python -m maml_core study NAME`."""
    path = STUDY_FOLDER / f"{name}.json"
    if not path.exists():
        shipped = ", ".join(sorted(p.stem for p in STUDY_FOLDER.glob("*.json"))) or "none"
        raise FileNotFoundError(f"No results are shipped for the study {name} (shipped: {shipped}).")
    return StudyResult.load(path)


def load_study_weights(name: str, condition: str) -> tuple[Weights, Recipe]:
    """The shipped theta of one condition of a study, and the recipe it was trained with."""
    path = STUDY_FOLDER / name / weights_name(condition)
    if not path.exists():
        shipped = ", ".join(sorted(p.stem for p in (STUDY_FOLDER / name).glob("*.pt"))) or "none"
        raise FileNotFoundError(f"No weights are shipped for {condition} of the study {name} (shipped: {shipped}).")
    content = checkpoints.load(path)
    return content["theta"], Recipe(**content["recipe"])


def weights_name(condition: str) -> str:
    """The file name of a condition's weights: first-order.pt for "first order"."""
    return f"{condition.lower().replace(' ', '-')}.pt"


def publish(run: Path, characters: Data | None, name: str | None = None) -> TrainingRecord:
    """Ship a run's best weights with the package, with their record and evaluation on test tasks; returns the record.

    A run that is short of its recipe's meta-iterations ships with its checkpoint, for `copy_unfinished`, unless it has a
    name of its own; publishing a finished run removes that checkpoint.

    run: a folder that `train` wrote. name: name to ship it under (default: the recipe's), which may be in families/.
    Raises, before any evaluation, OSError if the package's folder cannot be written, and ValueError for a damaged run, for
    a name that is a path or belongs to something else, and, without a name, for a run that differs from its recipe or is
    behind the same run in the package.
    """
    best = checkpoints.load(run / "weights.pt")
    best_record = TrainingRecord.from_json(best, run / "weights.pt")
    recipe = best_record.recipe
    if name is not None:
        _check_name(name, recipe)
    weights_file, record_file = (SHIPPED / f"{name or recipe.name}.{ending}" for ending in ("pt", "json"))
    unfinished = unfinished_file(recipe.name) if name in (None, recipe.name) else None
    for path in (weights_file, record_file, unfinished):
        if path:
            check_writable(path, NOT_WRITABLE)
    record, training = load_record(run / "history.json"), None
    if unfinished and record.iterations_run < recipe.meta_iterations:
        training = load_training(run, print)
        record = TrainingRecord.from_json(training, run)  # newer than history.json
    if name is None:
        _check_is_the_recipe(record, run)
        _check_not_behind(record, run)
    if characters is not None:
        record.evaluation_15_queries = measure(recipe, best["theta"], characters, queries=15, by_step=False)
    record.evaluation = measure(recipe, best["theta"], characters)
    record.best = best_record.best or record.best  # matches this theta even if the run was killed between two writes
    checkpoints.save(best, weights_file)
    checkpoints.save(record.to_json(), record_file)
    if unfinished and training and record.iterations_run < recipe.meta_iterations:
        checkpoints.save(training, unfinished)
    elif unfinished:
        unfinished.unlink(missing_ok=True)
    return record


def _check_name(name: str, recipe: Recipe) -> None:
    """Raise ValueError for a name that is no plain file name, or under which the package ships something else."""
    remedy = f"leave --as out, or choose another name, such as {recipe.name}-mine"
    plain = re.fullmatch(rf"({FAMILIES}/)?(\w[\w.-]*)", name)
    if plain is None:
        raise ValueError(f"--as {name!r} is no name of letters, digits, dots, hyphens and underscores: {remedy}.")
    file = plain[2].lower()  # not all file systems tell capitals from small letters
    if file in RECIPES and file != recipe.name:
        raise ValueError(f"--as {name} is the name of another recipe, and this is a run of {recipe.name}: {remedy}.")
    if (SHIPPED / f"{name}.json").exists() and not is_shipped(name):
        raise ValueError(f"--as {name} would replace {name}.json of the package, which is no training run: {remedy}.")


def _check_is_the_recipe(record: TrainingRecord, run: Path) -> None:
    """Raise ValueError if the run differs from its recipe, under whose name tables compare it with the paper."""
    name = record.recipe.name
    recipe = asdict(RECIPES.get(name, record.recipe))
    ours = asdict(record.recipe)
    different = [f"{key} is {setting_as_text(value)}" for key, value in ours.items() if value != recipe[key]]
    different += ["data is glyphs"] if record.data == "glyphs" else []
    if different:
        raise ValueError(
            f"{run} is not the recipe {name}, with which tables would confuse it ({', '.join(different)}): give it a name "
            f"of its own with --as, such as {name}-mine, or replace the recipe's weights with --as {name}."
        )


def _check_not_behind(record: TrainingRecord, run: Path) -> None:
    """Raise ValueError if the package ships more meta-iterations of the same run under its recipe's name."""
    name, ours = record.recipe.name, record.iterations_run
    record_file, unfinished = SHIPPED / f"{name}.json", unfinished_file(name)
    shipped = [load_record(record_file)] if record_file.exists() else []
    shipped += [TrainingRecord.from_json(checkpoints.load(unfinished), unfinished)] if unfinished.exists() else []
    theirs = max((other.iterations_run for other in shipped if other.settings() == record.settings()), default=0)
    if ours < theirs:
        raise ValueError(
            f"{run} is at meta-iteration {ours:,}, and the package ships the same run of {name} at {theirs:,}: continue "
            f"yours with --resume, or replace the shipped one with --as {name}."
        )


def load_policy(name: str) -> tuple[Weights, dict[str, Any]]:
    """A shipped policy, such as "maml-20" (20 meta-iterations), and the record of its training run."""
    path = POLICY_FOLDER / f"{name}.pt"
    if not path.exists():
        shipped = ", ".join(sorted(p.stem for p in POLICY_FOLDER.glob("*.pt"))) or "none"
        raise FileNotFoundError(f"No policy {name} is shipped (shipped: {shipped}): choose one of these, or publish it.")
    return checkpoints.load(path)["theta"], json.loads(path.with_suffix(".json").read_text())


def load_gpu_check() -> dict[str, Any]:
    """What tests/gpu_check.py found on a GPU."""
    return json.loads((SHIPPED / "gpu_check.json").read_text())


def load_benchmark(path: Path = BENCHMARK) -> dict[str, Any]:
    """What `make bench` wrote."""
    return json.loads(path.read_text())
