"""Weights and trainings on disk: written whole or not at all, loaded without running code.

A training's files are kept in spite of a full disk, and the checkpoint before the last as well.
"""

import io
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import torch

from ..networks import Network, Weights
from ..util.atomic_files import write_whole


def save(content: Any, path: Path, previous: Path | None = None) -> None:
    """Write a checkpoint, or JSON where the name ends in .json, whole or not at all.

    previous: where the file that was there stays. Raises OSError where it cannot be written.
    """
    if path.suffix == ".json":
        write_whole(path, lambda file: file.write((as_json(content, indent=1) + "\n").encode()), previous)
    else:
        write_whole(path, lambda file: _save_tensors(content, file), previous)


def as_json(content: Any, indent: int | None = None) -> str:
    """Content as JSON that every parser takes: a number that is not finite becomes null, since JSON has none."""
    return json.dumps(_finite_or_none(content), indent=indent, allow_nan=False)


def _finite_or_none(content: Any) -> Any:
    if isinstance(content, dict):
        return {key: _finite_or_none(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [_finite_or_none(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content


def _save_tensors(content: Any, file: IO[bytes]) -> None:
    """torch.save by way of memory: on a full disk it would hide the OSError behind a RuntimeError of its own."""
    whole = io.BytesIO()
    torch.save(content, whole)
    file.write(whole.getbuffer())


def load(path: Path) -> dict[str, Any]:
    """A dictionary that `save` wrote, whose weights are finite. Raises FileNotFoundError, or ValueError with the remedy."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}: train first, or check the path.")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ValueError(
            f"{path} cannot be read as a checkpoint ({type(error).__name__}): it is truncated or was not written by "
            "maml_core. Train again, or take another copy."
        ) from error
    if not _is_checkpoint(content):
        raise ValueError(f"{path} is no checkpoint of maml_core: choose a file that `train` wrote.")
    for name, w in content["theta"].items():
        if bad := int((~w.isfinite()).sum()):
            raise ValueError(
                f"{path} cannot be used, since {name} has {bad:,} of {w.numel():,} values that are NaN or infinite: "
                "train again with a smaller --alpha or with --clip, or take another file."
            )
    return content


def _is_checkpoint(content: Any) -> bool:
    if not isinstance(content, dict) or not {"theta", "recipe", "iteration"} <= content.keys():
        return False
    theta = content["theta"]
    return isinstance(theta, dict) and all(isinstance(w, torch.Tensor) for w in theta.values())


def check_weights(theta: Weights, network: Network, path: Path) -> Weights:
    """theta, if it fits the network; else a ValueError says where it does not."""
    expected = network.init(torch.Generator().manual_seed(0))
    for name in sorted(expected.keys() | theta.keys()):
        ours, theirs = (list(w[name].shape) if name in w else "nothing" for w in (expected, theta))
        if ours != theirs:
            raise ValueError(
                f"{path} is a checkpoint of another network: {name} is {theirs} there and {ours} in this recipe. "
                "Name the recipe that it was trained with."
            )
    return theta


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
            save(self._waiting[name], self.out / name, previous)
            del self._waiting[name]

    def _last_good(self) -> str:
        return "no checkpoint is there yet" if self.written is None else f"the last good checkpoint is {self.written:,}"


def load_training(out: Path, say: Callable[[str], None]) -> dict[str, Any]:
    """The training's last checkpoint, or the one before where that cannot be read.

    Raises FileNotFoundError where there is none, and ValueError where none is readable or it is of no training.
    """
    try:
        state = load(out / CHECKPOINT)
    except (ValueError, FileNotFoundError) as error:
        if not (out / PREVIOUS).exists():
            raise
        state = load(out / PREVIOUS)
        say(f"{error} Going on from the checkpoint before it.")
    if not {"first_moment", "generator", "history", "best", "wall_seconds", "seed"} <= state.keys():
        raise ValueError(
            f"{out / CHECKPOINT} holds weights but no training to go on with: name a folder that `train` wrote."
        )
    return state
