"""The files of a training: kept whole, the checkpoint before the last as well, and in spite of a full disk."""

import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from . import checkpoints
from .recipes import Recipe

CHECKPOINT, PREVIOUS = "checkpoint.pt", "checkpoint.previous.pt"
EVERY = 60.0  # seconds after which a checkpoint is due, so that a killed process loses no more


class Keeper:
    """Writes a training's files into `out` and says once when that fails; what failed is tried again the next time."""

    def __init__(self, out: Path, say: Callable[[str], None]) -> None:
        self.out, self._say = out, say
        self._waiting: dict[str, Any] = {}
        self._failed = False
        self.written: int | None = None  # the meta-iteration of the last good checkpoint
        self._due = time.monotonic() + EVERY

    def is_due(self) -> bool:
        """Whether a minute has passed since the last checkpoint."""
        return time.monotonic() >= self._due

    def write(self, files: dict[str, Any], iteration: int) -> None:
        """Write {name: content}, and what is still waiting from before, in this order."""
        self._waiting |= files
        self._due = time.monotonic() + EVERY
        try:
            self._write_waiting()
        except OSError as error:
            if not self._failed:
                self._say(
                    f"Meta-iteration {iteration:,} could not be written ({error}): make room in {self.out}. Training goes "
                    f"on, {self._last_good()}, and writing is tried again."
                )
            self._failed = True
            return
        if self._failed:
            self._say(f"Meta-iteration {iteration:,} was written: nothing is missing.")
        self._failed, self.written = False, iteration

    def finish(self) -> None:
        """A last try for what could not be written; OSError with the remedy when it fails again."""
        try:
            self._write_waiting()
        except OSError as error:
            raise OSError(
                f"The end of the training could not be written ({error}): make room in {self.out} and go on with "
                f"--resume; {self._last_good()}."
            ) from error

    def _write_waiting(self) -> None:
        for name in list(self._waiting):
            previous = self.out / PREVIOUS if name == CHECKPOINT else None
            checkpoints.save(self._waiting[name], self.out / name, previous)
            del self._waiting[name]

    def _last_good(self) -> str:
        return "no checkpoint is there yet" if self.written is None else f"the last good checkpoint is {self.written:,}"


def load_training(out: Path, say: Callable[[str], None]) -> dict[str, Any]:
    """The training's last checkpoint, or the one before where that cannot be read.

    Raises FileNotFoundError where there is none, and ValueError where none is readable or it is of no training.
    """
    try:
        state = checkpoints.load(out / CHECKPOINT)
    except (ValueError, FileNotFoundError) as error:
        if not (out / PREVIOUS).exists():
            raise
        state = checkpoints.load(out / PREVIOUS)
        say(f"{error} Going on from the checkpoint before it.")
    if not {"first_moment", "generator", "history", "best", "wall_seconds", "seed"} <= state.keys():
        raise ValueError(
            f"{out / CHECKPOINT} holds weights but no training to go on with: name a folder that `train` wrote."
        )
    return state


def settings_of(state: dict[str, Any]) -> dict[str, Any]:
    """What decides a training, by name: fields of the recipe, "seed", "data" and "precision". state: checkpoint or JSON."""
    settings = asdict(Recipe(**state["recipe"])) | {"seed": state.get("seed"), "data": state.get("data")}
    return settings | {"precision": state.get("precision", "float32")}


def check_settings(state: dict[str, Any], ours: dict[str, Any], path: Path, remedy: str = "choose another --out") -> None:
    """ValueError, naming both values of each, if settings asked for are not those of the checkpoint `state` in `path`.

    ours: of what `settings_of` returns; what is left out may be anything. remedy: what to do with other settings.
    """
    theirs = settings_of(state)
    if ours.get("name", theirs["name"]) != theirs["name"]:
        raise ValueError(f"{path} is a training of {theirs['name']}, not of {ours['name']}: name that recipe, or {remedy}.")
    different = [name for name, value in ours.items() if value != theirs[name]]
    if different:
        told = ", ".join(
            f"{name} is {_said(theirs[name])} in the checkpoint and {_said(ours[name])} here" for name in different
        )
        raise ValueError(f"{path} was trained with other settings: {told}; go on with its own, or {remedy}.")


def _said(value: Any) -> str:
    return "not set" if value is None else str(value)
