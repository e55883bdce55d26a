"""Validate arguments and name the bad one; reject files of a newer version."""

import math
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any


def at_least(low: float, **numbers: float | None) -> None:
    """Raise ValueError for the first number below `low` (None is skipped, NaN is rejected)."""
    for name, value in numbers.items():
        if value is not None and not value >= low:
            raise ValueError(f"{name} must be at least {low}, not {value}.")


def positive(**numbers: float | None) -> None:
    """Raise ValueError for the first number that is not greater than 0 and finite (None is skipped)."""
    for name, value in numbers.items():
        if value is not None and not 0 < value < math.inf:
            raise ValueError(f"{name} must be greater than 0 and finite, not {value}.")


def fraction(**numbers: float | None) -> None:
    """Raise ValueError for the first number that is not strictly between 0 and 1 (None is skipped)."""
    for name, value in numbers.items():
        if value is not None and not 0 < value < 1:
            raise ValueError(f"{name} must lie between 0 and 1, not {value}.")


def read_schema(content: Mapping[str, Any], newest: int, source: Path | str) -> int:
    """The schema number of a file's content (1 if it has none). Raises ValueError if it is newer than `newest`."""
    schema = content.get("schema", 1)
    if schema > newest:
        raise ValueError(
            f"{source} was written by a newer maml_core (its schema is {schema}; this version reads up to {newest}): "
            "update maml_core."
        )
    return schema


def one_of(known: Collection[str], **choices: str) -> None:
    """Raise ValueError, listing the known choices, for the first choice that is not among them."""
    for name, value in choices.items():
        if value not in known:
            raise ValueError(f"{name} must be one of {', '.join(known)}, not {value!r}.")
