"""The record of a training run, in one format everywhere; files of earlier versions are migrated to it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from ..engine.precision import supported_precision
from ..recipes import Recipe
from ..util.checks import read_schema

SCHEMA = 2  # version of what `to_json` returns; schema 1 did not store its number


@dataclass(kw_only=True)
class TrainingRecord:
    """Settings and results of a training run, as in its checkpoints, `history.json` and the shipped JSON files.

    recipe, seed, data, precision:      determine the run; data is "omniglot", "glyphs", "mini-imagenet" or "sinusoid"
    device, processes, torch, commit:   where it ran ("cuda, cpu" if it moved), and with which versions; precision, too,
                                        names several where a device did not support the run's own ("tf32, float32")
    iterations_run:   meta-iterations so far
    history:          one row per validation: iteration, loss (mean since the previous row), validation, ci95
    best:             iteration, validation and ci95 of the best theta; None before the first validation
    wall_seconds:     in total
    cpu_seconds:      of the meta-iterations alone; None if an earlier version did not measure it
    cpu_by_history:   cpu_seconds at each row of the history
    evaluation, evaluation_15_queries:  results of `measure` on test tasks; None before the run is published
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
        """The meta-iteration of the best theta, which is the one that ships; None before the first validation."""
        return self.best["iteration"] if self.best else None

    @property
    def own_precision(self) -> str:
        """The precision that the run began with."""
        return self.precision.split(", ")[0]

    @property
    def flat_for(self) -> int:
        """Meta-iterations since validation first came within its 95% interval of its best: 0 if it is the best by far."""
        if self.best is None or self.best["ci95"] is None or self.recipe.is_regression:
            return 0
        level = self.best["validation"] - self.best["ci95"]
        since = next(row["iteration"] for row in self.history if (row["validation"] or 0) >= level)
        return self.iterations_run - since

    @classmethod
    def from_json(cls, content: Mapping[str, Any], source: Path | str) -> "TrainingRecord":
        """Build the record from the content of a JSON file or of a checkpoint, ignoring its tensors.

        source: the file, for error messages. Raises ValueError for a newer schema.
        """
        if read_schema(content, SCHEMA, source) == 1:
            content = _from_schema_1(content)
        known = {f.name: content[f.name] for f in fields(cls) if f.name in content}
        return cls(**known | {"recipe": Recipe(**content["recipe"])})

    def to_json(self) -> dict[str, Any]:
        """A deep copy as dictionaries, lists, numbers and strings."""
        return asdict(self)

    def settings(self) -> dict[str, Any]:
        """The settings that determine the run, by name: the recipe's fields, "seed", "data" and "precision"."""
        return asdict(self.recipe) | {"seed": self.seed, "data": self.data, "precision": self.own_precision}

    def precision_on(self, device: str) -> str:
        """The precision to continue in: the run's own, or float32 where the device does not support that."""
        return supported_precision(self.own_precision, device)

    def check_settings(
        self, requested: Mapping[str, Any], path: Path, remedy: str = "choose another --out", device: str | None = None
    ) -> None:
        """Raise ValueError, listing both values, if requested settings differ from those of this run in `path`.

        requested: any of what `settings` returns; omitted settings are not checked
        remedy:    ends the message: what to do to train with the requested settings
        device:    to continue on, which may be in `precision_on` this device
        """
        stored = self.settings()
        if requested.get("name", stored["name"]) != stored["name"]:
            raise ValueError(
                f"{path} is a training run of {stored['name']}, not of {requested['name']}: name that recipe, or {remedy}."
            )
        accepted = stored | ({"precision": self.precision_on(device)} if device else {})
        different = [name for name, value in requested.items() if value not in (stored[name], accepted[name])]
        if different:
            differences = ", ".join(
                f"{name} is {setting_as_text(stored[name])} in the checkpoint and {setting_as_text(requested[name])} here"
                for name in different
            )
            raise ValueError(
                f"{path} was trained with different settings: {differences}; resume with its own settings, or {remedy}."
            )


def joined(before: str, now: str) -> str:
    """What a run has been trained on or in, with what it continues on: "cuda" and "cpu" become "cuda, cpu"."""
    return before if before.split(", ")[-1] == now else f"{before}, {now}"


def setting_as_text(value: Any) -> str:
    """The value of a setting, for messages."""
    return "not set" if value is None else str(value)


def _from_schema_1(content: Mapping[str, Any]) -> dict[str, Any]:
    """Migrate schema 1, where "iterations" was the length of the run so far and "iteration" belonged to the saved theta."""
    ran = content.get("iterations", content.get("iteration", 0))
    kept = {key: value for key, value in content.items() if key not in ("iterations", "iteration")}
    return kept | {"schema": SCHEMA, "iterations_run": ran}
