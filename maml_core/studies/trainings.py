"""Studies that train: conditions that differ in one factor, with equal length and seeds, and their evaluation.

A training run that two studies share runs only once, and one that is complete is only read, wherever it was trained.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from ..episodes import TaskDistribution
from ..networks import Weights
from ..recipes import Recipe, find_recipe
from ..results.protocol import measure
from ..results.shipped import load_record
from ..tasks.characters import Characters
from ..training import checkpoints
from ..training.checkpoints import CHECKPOINT
from ..training.loop import Settings, train
from ..training.record import TrainingRecord
from .study import Findings, StudyContext

# How trained weights are evaluated: changes to the recipe, and query points per class (None: the recipe's own).
Protocol = tuple[dict[str, Any], int | None]
AS_IN_THE_PAPER: dict[str, Protocol] = {"paper": ({}, None), "15 queries": ({}, 15)}


@dataclass(frozen=True)
class Condition:
    """One side of a comparison: a recipe by name, changes to it, and how it is trained.

    precision: of its products; None, where it does not matter, trains in float32 and reads a complete run of any
    """

    recipe: str
    changes: dict[str, Any] = field(default_factory=dict)
    precision: str | None = None

    def build(self) -> Recipe:
        return replace(find_recipe(self.recipe), **self.changes)

    def folder(self, seed: int) -> str:
        """The folder of its training run, named after its settings so that studies share runs."""
        changes = self.changes if self.precision in (None, "float32") else self.changes | {"precision": self.precision}
        return ",".join([self.recipe, *(f"{key}={value}" for key, value in changes.items()), f"seed={seed}"])


@dataclass(frozen=True)
class Trainings:
    """Train every condition on every seed, resuming runs that exist, and evaluate the best theta of each.

    conditions: {label: Condition}; iterations: meta-iterations of each, None for its recipe's; protocols: how the weights
    are evaluated, on `test_tasks` tasks

    Each row is a training run, with its history and its accuracies. The weights are the first seed's.
    """

    conditions: dict[str, Condition]
    iterations: int | None
    validate_every: int
    protocols: Mapping[str, Protocol] = field(default_factory=lambda: AS_IN_THE_PAPER)
    test_tasks: int = 600

    def __call__(self, context: StudyContext) -> Findings:
        """Run the study. Raises ValueError if a folder holds a longer run, or the device lacks a condition's precision."""
        iterations = self.iterations if context.iterations is None else context.iterations
        characters, rows = context.characters(), []
        weights: dict[str, dict[str, Any]] = {}
        for label, condition in self.conditions.items():
            recipe = condition.build()
            train_part, held_out = (
                characters.split(part, recipe.split).to(context.device) for part in ("train", "validation")
            )
            tasks, validation = recipe.build_training_tasks(train_part), recipe.build_tasks(held_out)
            for seed in context.seeds:
                out = context.out / condition.folder(seed)
                context.log(f"{label}, seed {seed}: {out}")
                length = recipe.meta_iterations if iterations is None else iterations
                how = self._settings(context, length, seed, out, characters, condition.precision or "float32")
                record = _complete(condition, out, how) or _train(recipe, tasks, validation, out, how)
                best = checkpoints.load(out / "weights.pt")
                weights.setdefault(label, best)
                row = {"condition": label, "seed": seed, "recipe": recipe.name}
                rows.append(row | _summary(record) | {"judged": self._evaluate(recipe, best["theta"], characters)})
        settings = {"iterations": iterations, "tasks": self.test_tasks, "data": characters.source}
        return Findings(rows, settings, weights=weights)

    def _settings(
        self, context: StudyContext, iterations: int, seed: int, out: Path, characters: Characters, precision: str
    ) -> Settings:
        return Settings(
            iterations=iterations, seed=seed, device=context.device, engine=context.engine, precision=precision,
            log=context.log, resume=(out / CHECKPOINT).exists(), validate_every=self.validate_every,
            resume_hint="the same study command.",
            metadata={"data": characters.source, **context.metadata},
        )  # fmt: skip

    def _evaluate(self, recipe: Recipe, theta: Weights, characters: Characters) -> dict[str, dict[str, Any]]:
        return {
            name: measure(replace(recipe, **changes), theta, characters, 0, self.test_tasks, queries=queries, by_step=False)
            for name, (changes, queries) in self.protocols.items()
        }


def _train(
    recipe: Recipe, tasks: TaskDistribution, validation: TaskDistribution, out: Path, settings: Settings
) -> TrainingRecord:
    record = TrainingRecord.from_json(train(recipe, tasks, validation, out, settings), out)
    if record.iterations_run != settings.iterations:
        raise ValueError(
            f"{out} is already at meta-iteration {record.iterations_run:,}, past the {settings.iterations:,} of this "
            "study: move it away, or choose at least as many --iterations."
        )
    return record


def _complete(condition: Condition, out: Path, settings: Settings) -> TrainingRecord | None:
    """The record of the run in `out` if nothing is left to train. Raises ValueError if it is a run with other settings."""
    if not ((out / "history.json").exists() and (out / "weights.pt").exists()):
        return None
    record = load_record(out / "history.json")
    wanted = asdict(condition.build()) | {"seed": settings.seed}
    wanted |= {"precision": condition.precision} if condition.precision else {}
    record.check_settings(wanted, out / "history.json")
    return record if record.iterations_run == settings.iterations else None


def _summary(record: TrainingRecord) -> dict[str, Any]:
    """The fields of a training run's record that go into its row."""
    names = ("best", "wall_seconds", "cpu_seconds", "cpu_by_history", "device", "precision", "torch", "history")
    return {name: getattr(record, name) for name in names}
