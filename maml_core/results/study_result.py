"""The result of a study, in one format for all studies; files of earlier versions are migrated to it."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from ..training import checkpoints
from ..util.checks import read_schema

SCHEMA = 2  # version of what `save` writes; schema 1 did not store its number
# Measured values that schema 1 stored among the settings.
_EXTRA = ("tried", "trainings", "by_generation", "best", "best_ci95")


@dataclass(frozen=True, kw_only=True)
class StudyResult:
    """A study's question and its answer.

    rows:      one row per measurement
    settings:  settings shared by all rows, by name: iterations, tasks, data and so on
    extra:     further results, by name
    torch, commit:  the versions it ran with
    """

    schema: int = SCHEMA
    study: str
    question: str
    settings: dict[str, Any] = field(default_factory=dict)
    rows: list[dict[str, Any]]
    extra: dict[str, Any] = field(default_factory=dict)
    torch: str | None = None
    commit: str | None = None

    @classmethod
    def load(cls, path: Path) -> "StudyResult":
        """Load a file that `save` wrote, of this schema or an earlier one. Raises ValueError for a newer one."""
        content = json.loads(path.read_text())
        if read_schema(content, SCHEMA, path) == 1:
            content = _from_schema_1({"study": path.stem} | content)
        return cls(**content)

    def save(self, path: Path) -> None:
        """Write the result as JSON, atomically. Raises OSError if the file cannot be written."""
        checkpoints.save_json(asdict(self), path)


def _from_schema_1(content: Mapping[str, Any]) -> dict[str, Any]:
    """Migrate schema 1, which stored everything at the top level."""
    extra = {key: content[key] for key in _EXTRA if key in content}
    own = {f.name for f in fields(StudyResult)}
    settings = {key: value for key, value in content.items() if key not in own and key not in extra}
    return {key: content[key] for key in own & content.keys()} | {"schema": SCHEMA, "settings": settings, "extra": extra}
