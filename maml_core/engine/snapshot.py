"""What `MetaTrainer.state` returns and `load_state` takes: a training's state by name, checked before any of it is loaded.

Modules may register the same weights in another order, and `copy_` broadcasts. So tensors are matched by name, and their
shapes are compared.
"""

import copy
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..meta_update import State
from ..networks import Weights
from ..util.checks import at_least
from ..util.seeding import set_generator_state

NEEDED = ("theta", "first_moment", "second_moment", "adam_steps", "generator", "iteration")


def snapshot(state: State, generator: torch.Generator) -> dict[str, Any]:
    """A copy of both, under the names that checkpoints have."""
    copied = {part: {name: w.clone() for name, w in weights.items()} for part, weights in _parts(state).items()}
    steps, drawn = state.moments.steps.clone(), generator.get_state()
    return {**copied, "adam_steps": steps, "generator": drawn, "iteration": state.iteration}


def restore(
    state: State, generator: torch.Generator, saved: Mapping[str, Any], source: Path | str, in_place: bool = False
) -> State:
    """What was saved, with the dtypes and on the device of `state`; the generator continues from there, too.

    in_place: in the tensors of `state`, as a CUDA graph needs them. Otherwise `state` remains as it is, since a caller may
    have kept its theta. source: of what was saved, for messages.

    Raises ValueError, and changes nothing, if it does not fit.
    """
    _check(state, saved, source)
    set_generator_state(generator, saved["generator"], saved["iteration"])
    state = state if in_place else copy.deepcopy(state)
    for part, weights in _parts(state).items():
        for name, w in weights.items():
            w.copy_(saved[part][name])
    state.moments.steps.copy_(saved["adam_steps"])
    return replace(state, iteration=saved["iteration"])


def _check(state: State, saved: Mapping[str, Any], source: Path | str) -> None:
    """Raise ValueError, naming the first mismatch, if what was saved does not have the names and shapes of `state`."""
    for key in NEEDED:
        if key not in saved:
            raise ValueError(
                f"{source} has no {key}, without which training cannot continue: use what MetaTrainer.state() returned, or "
                "a checkpoint.pt that `train` wrote."
            )
    averages = bool(saved.get("average"))  # checkpoints without the key are older than the average
    if averages and not state.average:
        raise ValueError(
            f"{source} has a running average of theta, which this trainer does not keep: build it with the same averaging "
            "in MetaUpdate."
        )
    if state.average and not averages:
        raise ValueError(
            f"{source} has no running average of theta, which this trainer keeps: build it without averaging in MetaUpdate."
        )
    ours, theirs = _tensors(_parts(state), state.moments.steps), _tensors(saved, saved["adam_steps"])
    for name in {**ours, **theirs}:
        wanted, found = _shape(ours.get(name)), _shape(theirs.get(name))
        if wanted != found:
            is_theta = name.endswith(" in theta")
            remedy = "use the network and learner that it was saved with" if is_theta else "it is damaged, use another copy"
            raise ValueError(f"{source} does not fit, since {name} is {found} there and {wanted} here: {remedy}.")
    if not isinstance(saved["generator"], Tensor):
        raise ValueError(f"{source} does not fit, since its generator is no tensor: it is damaged, use another copy.")
    at_least(0, iteration=saved["iteration"])


def _parts(state: State) -> dict[str, Weights]:
    moments = state.moments
    return {
        "theta": state.theta, "first_moment": moments.first, "second_moment": moments.second, "average": state.average,
    }  # fmt: skip


def _tensors(parts: Mapping[str, Any], steps: Any) -> dict[str, Any]:
    """All tensors by name and part: {"w1 in theta": ...}."""
    found: dict[str, Any] = {}
    for part in ("theta", "first_moment", "second_moment", "average"):
        weights = parts.get(part)
        if isinstance(weights, Mapping):
            found |= {f"{name} in {part}": w for name, w in weights.items()}
    return found | {"adam_steps": steps}


def _shape(w: Any) -> str:
    return str(list(w.shape)) if isinstance(w, Tensor) else "missing"
