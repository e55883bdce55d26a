"""Weights and trainings on disk: written whole or not at all, loaded without running code."""

import io
import json
import math
from pathlib import Path
from typing import IO, Any

import torch

from .files import write_whole
from .networks import Network, Weights


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
