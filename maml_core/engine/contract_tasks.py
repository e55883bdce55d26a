"""What `contract` requires of the tasks alone: their number, shapes, types and labels."""

import torch
from torch import Tensor

from ..episodes import Episodes, check_tensors
from ..maml import Learner
from ..networks import Network, Weights


def check_tasks(episodes: Episodes, requested: int) -> None:
    """As many tasks as requested, and x for every y."""
    if not isinstance(episodes, Episodes):
        raise ValueError(f"A task distribution's sample must return Episodes, not {type(episodes).__name__}.")
    for part in ("support", "query"):
        x, y = getattr(episodes, f"{part}_x"), getattr(episodes, f"{part}_y")
        check_tensors(x, y)
        if len(x) != requested or len(y) != requested:
            raise ValueError(
                f"The task distribution was asked for {requested} tasks but returned {len(x)} in {part}_x and {len(y)} in "
                f"{part}_y: the first axis must be the task axis T."
            )
        if x.shape[:2] != y.shape[:2]:
            raise ValueError(
                f"{part}_y has shape {list(y.shape)} and {part}_x {list(x.shape)}: both must begin with [T, B], for B "
                "points in each of T tasks."
            )


def check_types(theta: Weights, episodes: Episodes) -> None:
    """x must be of the weights' type, unless it is of integers, such as the ids that nn.Embedding takes."""
    known = list(dict.fromkeys(w.dtype for w in theta.values()))
    for name, x in (("support_x", episodes.support_x), ("query_x", episodes.query_x)):
        if x.is_floating_point() and x.dtype not in known:
            raise ValueError(
                f"{name} is {type_name(x.dtype)} and the weights are {type_name(*known)}: convert x with "
                f"x.to({known[0]}) in the tasks, or a module with module.to({x.dtype}) before from_module."
            )


def check_labels(network: Network, episodes: Episodes) -> None:
    """Class labels must be integers [T, B]."""
    for name, y in (("support_y", episodes.support_y), ("query_y", episodes.query_y)):
        if network.ways > 1 and (y.is_floating_point() or y.ndim != 2):
            raise ValueError(
                f"{name} is {y.dtype} {shape_of(y)}, but the network classifies into {network.ways} classes: labels must "
                "be integers [T, B]; convert one-hot labels with y.argmax(-1), others with y.long()."
            )


def check_range(y: Tensor, outputs: int) -> None:
    """Class labels must count from 0 and have an output each."""
    if not 0 <= int(y.min()) <= int(y.max()) < outputs:
        raise ValueError(
            f"The labels range from {int(y.min())} to {int(y.max())}, but the network has {outputs} outputs: labels must "
            "be 0 to N - 1 within each task."
        )


def check_ways(learner: Learner, y: Tensor) -> None:
    """Support labels must be of as many classes as the scale of the inner loss takes for granted."""
    ways, found = learner.network.ways, len(y.unique())
    if found < ways and learner.inner_loss == "sum":
        raise ValueError(
            f"The support sets have {found} classes but ways={ways}, and the inner loss, a sum over points divided by K, "
            f'is `ways` times the mean: draw {ways} classes for each task, or use inner_loss="mean".'
        )


def type_name(*dtypes: torch.dtype) -> str:
    """Types without torch's name in front: float32."""
    return " and ".join(str(dtype).removeprefix("torch.") for dtype in dtypes)


def shape_of(tensor: Tensor, axes: int | None = None) -> str:
    """A tensor's shape, or that of its first axes, as a list."""
    return str(list(tensor.shape[:axes]))
