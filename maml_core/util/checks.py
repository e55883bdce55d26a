"""Validate numeric arguments and name the bad one."""

import math


def at_least(low: float, **numbers: float | None) -> None:
    """ValueError for the first number below `low` (None is skipped; NaN counts as below)."""
    for name, value in numbers.items():
        if value is not None and not value >= low:
            raise ValueError(f"{name} must be at least {low}, not {value}.")


def positive(**numbers: float | None) -> None:
    """ValueError for the first number that is not greater than 0 and finite."""
    for name, value in numbers.items():
        if value is not None and not 0 < value < math.inf:
            raise ValueError(f"{name} must be greater than 0 and finite, not {value}.")


def fraction(**numbers: float | None) -> None:
    """ValueError for the first number that is not between 0 and 1."""
    for name, value in numbers.items():
        if value is not None and not 0 < value < 1:
            raise ValueError(f"{name} must lie between 0 and 1, not {value}.")
