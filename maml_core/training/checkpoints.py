"""Atomic checkpoints that survive a full disk, and are loaded without running code.

The previous checkpoint of a training run is kept as well.
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
from ..util.atomic_files import write_atomically


def save(content: Any, path: Path, previous: Path | None = None) -> None:
    """Write a checkpoint atomically, or JSON if the name ends in .json.

    previous: where to keep the old file, if there is one. Raises OSError if the file cannot be written.
    """
    (save_json if path.suffix == ".json" else save_tensors)(content, path, previous)


def save_json(content: Any, path: Path, previous: Path | None = None) -> None:
    """`save` as JSON, whatever the file's name."""
    write_atomically(path, lambda file: file.write((as_json(content, indent=1) + "\n").encode()), previous)


def save_tensors(content: Any, path: Path, previous: Path | None = None) -> None:
    """`save` as a checkpoint, whatever the file's name."""
    write_atomically(path, lambda file: _write_tensors(content, file), previous)


def as_json(content: Any, indent: int | None = None) -> str:
    """Content as valid JSON, in which numbers that are not finite become null."""
    return json.dumps(_finite_or_none(content), indent=indent, allow_nan=False)


def _finite_or_none(content: Any) -> Any:
    if isinstance(content, dict):
        return {key: _finite_or_none(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [_finite_or_none(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content


def _write_tensors(content: Any, file: IO[bytes]) -> None:
    """torch.save through memory, since on a full disk it would hide the OSError behind a RuntimeError."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    file.write(buffer.getbuffer())


def read_tensors(path: Path, kind: str, missing: str, unreadable: str) -> Any:
    """What torch.save wrote, on the CPU and without running code.

    Raises FileNotFoundError, which ends in `missing`, or ValueError, which says what `kind` of file was expected and ends
    in `unreadable`.
    """
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}: {missing}.")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ValueError(f"{path} cannot be read as a {kind} ({type(error).__name__}): {unreadable}.") from error


def load(path: Path) -> dict[str, Any]:
    """Load a checkpoint, whose weights are finite. Raises FileNotFoundError, or ValueError with the remedy."""
    path, remedy = Path(path), "it is truncated, or was not written by maml_core. Train again, or use another copy"
    content = read_tensors(path, "checkpoint", "train first, or check the path", remedy)
    if not _is_checkpoint(content):
        raise ValueError(f"{path} is not a maml_core checkpoint: choose a file that `train` wrote.")
    check_finite(content["theta"], path, "train again with a smaller --alpha or with --clip, or use another file")
    return content


def check_finite(theta: Weights, path: Path, remedy: str) -> Weights:
    """Return theta if all its values are finite; otherwise raise ValueError naming the first bad weight, and the remedy."""
    for name, w in theta.items():
        if bad := int((~w.isfinite()).sum()):
            raise ValueError(
                f"{path} cannot be used, since {bad:,} of {w.numel():,} values of {name} are NaN or infinite: {remedy}."
            )
    return theta


def _is_checkpoint(content: Any) -> bool:
    if not isinstance(content, dict) or not {"theta", "recipe", "iteration"} <= content.keys():
        return False
    theta = content["theta"]
    return isinstance(theta, dict) and all(isinstance(w, torch.Tensor) for w in theta.values())


def check_weights(
    theta: Weights, network: Network, path: Path | str, remedy: str = "Name the recipe that it was trained with"
) -> Weights:
    """Return theta if it fits the network; otherwise raise ValueError naming the first mismatch, and the remedy."""
    expected = network.init(torch.Generator().manual_seed(0))
    for name in sorted(expected.keys() | theta.keys()):
        wanted, found = (list(w[name].shape) if name in w else "missing" for w in (expected, theta))
        if wanted != found:
            raise ValueError(
                f"{path} is a checkpoint of a different network: {name} is {found} there and {wanted} here. {remedy}."
            )
    return theta


CHECKPOINT, PREVIOUS = "checkpoint.pt", "checkpoint.previous.pt"
CHECKPOINT_INTERVAL = 60.0  # seconds: the most that a killed process loses


class CheckpointWriter:
    """Writes a training run's files into `out`. A failed write is logged once and retried with the next checkpoint."""

    def __init__(self, out: Path, log: Callable[[str], None]) -> None:
        self.out, self._log = out, log
        self._pending: dict[str, Any] = {}
        self._failed = False
        self.last_saved: int | None = None  # the meta-iteration of the last good checkpoint
        self._due = time.monotonic() + CHECKPOINT_INTERVAL

    def is_due(self) -> bool:
        """Whether the next checkpoint is due."""
        return time.monotonic() >= self._due

    def write(self, files: dict[str, Any], iteration: int) -> None:
        """Write {name: content} in this order, after anything still pending from a failed write."""
        self._pending |= files
        self._due = time.monotonic() + CHECKPOINT_INTERVAL
        try:
            self._write_pending()
        except OSError as error:
            if not self._failed:
                self._log(
                    f"Meta-iteration {iteration:,} could not be saved ({error}): free some space in {self.out}. Training "
                    f"continues and will try again; {self._last_good()}."
                )
            self._failed = True
            return
        if self._failed:
            self._log(f"Meta-iteration {iteration:,} was saved: nothing is missing.")
        self._failed, self.last_saved = False, iteration

    def finish(self) -> None:
        """Try once more to write pending files; raises OSError with the remedy if that fails again."""
        try:
            self._write_pending()
        except OSError as error:
            raise OSError(
                f"The end of the run could not be saved ({error}): free some space in {self.out} and continue with "
                f"--resume; {self._last_good()}."
            ) from error

    def _write_pending(self) -> None:
        for name in list(self._pending):
            previous = self.out / PREVIOUS if name == CHECKPOINT else None
            save(self._pending[name], self.out / name, previous)
            del self._pending[name]

    def _last_good(self) -> str:
        if self.last_saved is None:
            return "there is no checkpoint yet"
        return f"the last good checkpoint is from meta-iteration {self.last_saved:,}"


def load_training(out: Path, log: Callable[[str], None]) -> dict[str, Any]:
    """Load a training run's last checkpoint, or the previous one if it cannot be read.

    Raises FileNotFoundError if there is none, and ValueError if none is readable or it holds weights alone.
    """
    try:
        state = load(out / CHECKPOINT)
    except (ValueError, FileNotFoundError) as error:
        if not (out / PREVIOUS).exists():
            raise
        state = load(out / PREVIOUS)
        log(f"{error} Resuming from the previous checkpoint.")
    if not {"first_moment", "generator", "history", "best", "wall_seconds", "seed"} <= state.keys():
        raise ValueError(
            f"{out / CHECKPOINT} holds weights but no training run to resume: name a folder that `train` wrote."
        )
    return state
