"""The record of a training run, in one form for every reader; files of earlier versions are migrated to it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from ..recipes import Recipe
from ..util.checks import readable_schema

SCHEMA = 2  # of what `to_json` returns; 1 had no number


@dataclass(kw_only=True)
class TrainingRecord:
    """Settings and results of a training run, as in its checkpoints, `history.json` and the shipped JSON files.

    recipe, seed, data, precision:      decide the training; data is "omniglot", "glyphs", "mini-imagenet" or "sinusoid"
    device, processes, torch, commit:   where and with what it ran
    iterations_run:   meta-iterations so far
    history:          a row for each validation: iteration, loss (mean since the row before), validation, ci95
    best:             the iteration, validation and ci95 of the best theta; None before the first validation
    wall_seconds:     of everything
    cpu_seconds:      of the meta-iterations alone; None where an earlier version did not measure it
    cpu_by_history:   cpu_seconds at each row of the history
    evaluation, evaluation_15_queries:  what `measure` found on test tasks; None before the run is published
    """

    schema: int = SCHEMA
    recipe: Recipe
    seed: int | None = None
    data: str | None = None
    precision: str = "float32"
    device: str = "cpu"
    processes: int | None = None
    torch: str | None = None
    commit: str | None = None
    iterations_run: int = 0
    best: dict[str, Any] | None = None
    wall_seconds: float = 0.0
    cpu_seconds: float | None = None
    cpu_by_history: list[float] = field(default_factory=list)
    history: list[dict[str, Any]] = field(default_factory=list)
    evaluation_15_queries: dict[str, Any] | None = None
    evaluation: dict[str, Any] | None = None

    @property
    def best_iteration(self) -> int | None:
        """The meta-iteration of the best theta, the one that is shipped; None before the first validation."""
        return self.best["iteration"] if self.best else None

    @classmethod
    def from_json(cls, content: Mapping[str, Any], source: Path | str) -> "TrainingRecord":
        """Read the record from the content of a JSON file or a checkpoint, whose tensors are left out.

        source: the file, for messages. Raises ValueError for a newer schema.
        """
        if readable_schema(content, SCHEMA, source) == 1:
            content = _from_schema_1(content)
        known = {f.name: content[f.name] for f in fields(cls) if f.name in content}
        return cls(**known | {"recipe": Recipe(**content["recipe"])})

    def to_json(self) -> dict[str, Any]:
        """A copy of everything as dictionaries, lists, numbers and strings."""
        return asdict(self)

    def settings(self) -> dict[str, Any]:
        """What decides a training, by name: the fields of the recipe, "seed", "data" and "precision"."""
        return asdict(self.recipe) | {"seed": self.seed, "data": self.data, "precision": self.precision}

    def check_settings(self, ours: Mapping[str, Any], path: Path, remedy: str = "choose another --out") -> None:
        """ValueError, with both values of each, if the settings asked for differ from those of this run in `path`.

        ours: of what `settings` returns; what is left out may be anything. remedy: what to do with other settings.
        """
        theirs = self.settings()
        if ours.get("name", theirs["name"]) != theirs["name"]:
            raise ValueError(
                f"{path} is a training of {theirs['name']}, not of {ours['name']}: name that recipe, or {remedy}."
            )
        different = [name for name, value in ours.items() if value != theirs[name]]
        if different:
            told = ", ".join(
                f"{name} is {_said(theirs[name])} in the checkpoint and {_said(ours[name])} here" for name in different
            )
            raise ValueError(f"{path} was trained with other settings: {told}; go on with its own, or {remedy}.")


def _said(value: Any) -> str:
    return "not set" if value is None else str(value)


def _from_schema_1(content: Mapping[str, Any]) -> dict[str, Any]:
    """Schema 1 as schema 2: "iterations" was how far the training had run, "iteration" the meta-iteration of a theta."""
    ran = content.get("iterations", content.get("iteration", 0))
    kept = {key: value for key, value in content.items() if key not in ("iterations", "iteration")}
    return kept | {"schema": SCHEMA, "iterations_run": ran}
