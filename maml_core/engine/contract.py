"""What training and evaluation expect of a network, its loss and a task distribution, checked once before they begin.

Wrong shapes seldom fail by themselves: they broadcast, or a mean over the wrong axis makes the inner step too long or
too short, and training goes on. So two tasks of the first meta-batch take an inner step with a loss that looks at what
it is given.
"""

import difflib
from dataclasses import replace

import torch
from torch import Tensor

from ..episodes import Episodes
from ..learners.reader import Reader
from ..maml import Learner, adapt
from ..networks import Network, Weights

TASKS = 2


def initial_weights(network: Network, generator: torch.Generator) -> Weights:
    """theta as the network's `init` makes it, in memory of its own and without a graph.

    `dict(module.named_parameters())` would otherwise drag its graph through the whole training and be trained in place.
    Raises ValueError for what is no dictionary of floating-point tensors, and for `frozen` names that are no weights.
    """
    theta = network.init(generator)
    if not isinstance(theta, dict) or not all(isinstance(w, Tensor) and w.is_floating_point() for w in theta.values()):
        found = type(theta).__name__
        if isinstance(theta, dict):
            found = ", ".join(f"{name}: {getattr(w, 'dtype', type(w).__name__)}" for name, w in theta.items())
        raise ValueError(f"The network's init must return a dictionary of floating-point tensors by name, not {found}.")
    check_frozen(network, theta)
    return {name: w.detach().clone() for name, w in theta.items()}


def check_frozen(network: Network, theta: Weights) -> None:
    """ValueError for the first name in `frozen` that is no weight: the weight that was meant would be adapted."""
    for name in sorted(network.frozen - theta.keys()):
        near = difflib.get_close_matches(name, theta, n=1) or sorted(theta)
        raise ValueError(f"frozen names {name!r}, which is no weight of this network; did you mean {' or '.join(near)}?")


def check_fit(learner: Learner, theta: Weights, episodes: Episodes, asked: int) -> None:
    """ValueError where network, loss and task distribution do not fit together, by the first meta-batch that was drawn.

    asked: how many tasks were asked for. One inner step of the first two tasks and their query loss are all it costs.
    """
    check_frozen(learner.network, theta)
    _check_tasks(episodes, asked)
    network = learner.network
    few = episodes[:TASKS].to(dtype=next(iter(theta.values())).dtype)  # shapes are what is looked at
    _check_labels(network, few)
    if isinstance(learner, Reader):
        _check_range(few.support_y, network.ways)

    def checked(outputs: Tensor, y: Tensor) -> Tensor:
        _check_outputs(learner, outputs, y)
        return _checked_loss(network, outputs, y)

    probe = replace(learner, network=replace(network, loss=checked))
    with torch.no_grad():
        phi = adapt(probe, theta, few.support_x, few.support_y, min(1, learner.steps))
        probe.point_losses(phi, few.query_x, few.query_y)


def _check_tasks(episodes: Episodes, asked: int) -> None:
    if not isinstance(episodes, Episodes):
        raise ValueError(f"A task distribution's sample must return Episodes, not {type(episodes).__name__}.")
    for part in ("support", "query"):
        x, y = getattr(episodes, f"{part}_x"), getattr(episodes, f"{part}_y")
        if len(x) != asked or len(y) != asked:
            raise ValueError(
                f"The task distribution was asked for {asked} tasks, and its {part} set has {len(x)} in x and {len(y)} in "
                "y: the first axis is the task axis T."
            )
        if x.shape[:2] != y.shape[:2]:
            raise ValueError(
                f"{part}_y is {list(y.shape)} and {part}_x {list(x.shape)}: both must begin with [T, B], B points in each "
                "of T tasks."
            )


def _check_labels(network: Network, episodes: Episodes) -> None:
    """Classes are told apart by integers [T, B]."""
    for name, y in (("support_y", episodes.support_y), ("query_y", episodes.query_y)):
        if network.ways > 1 and (y.is_floating_point() or y.ndim != 2):
            raise ValueError(
                f"{name} is {y.dtype} {_shape(y)} and the network tells {network.ways} classes apart: labels must be "
                "integers [T, B]; of one-hot labels, take y.argmax(-1)."
            )


def _check_outputs(learner: Learner, outputs: Tensor, y: Tensor) -> None:
    expected, ways = y.shape[:2], learner.network.ways
    if outputs.shape[:2] != expected:
        raise ValueError(
            f"The network's forward returned {_shape(outputs)}, expected {_shape(y, 2)[:-1]}, ...]: T tasks with B "
            "points each."
        )
    if y.is_floating_point():
        return
    if outputs.ndim != 3:
        raise ValueError(
            f"The network's forward returned {_shape(outputs)} for labels, expected a score for each class: [T, B, N]."
        )
    if learner.inner_loss == "sum" and outputs.shape[2] != ways:
        raise ValueError(
            f"The network has {outputs.shape[2]} outputs and says ways={ways}: the inner loss, a sum over "
            f"points divided by K, is `ways` times the mean. "
            f'Give Network(..., ways={outputs.shape[2]}), or take inner_loss="mean".'
        )
    _check_range(y, outputs.shape[2])


def _check_range(y: Tensor, outputs: int) -> None:
    if not 0 <= int(y.min()) <= int(y.max()) < outputs:
        raise ValueError(
            f"The labels go from {int(y.min())} to {int(y.max())}, and the network has {outputs} outputs: labels must "
            "be 0 to N - 1 within each task."
        )


def _checked_loss(network: Network, outputs: Tensor, y: Tensor) -> Tensor:
    given = f"of outputs {_shape(outputs)} and y {_shape(y)}"
    try:
        losses = network.loss(outputs, y)
    except (RuntimeError, IndexError, TypeError) as error:
        raise ValueError(f"The loss {given} failed: {str(error).strip().splitlines()[0]}") from error
    if losses.shape != y.shape[:2]:
        remedy = (
            'take reduction="none"' if losses.ndim == 0 else "make outputs and y alike, and average over what comes after B"
        )
        raise ValueError(
            f"The loss {given} is {_shape(losses) if losses.ndim else 'a scalar'}, expected one for each point, "
            f"{_shape(y, 2)}: {remedy}."
        )
    return losses


def _shape(tensor: Tensor, axes: int | None = None) -> str:
    return str(list(tensor.shape[:axes]))
