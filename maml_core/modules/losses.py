"""Losses as people write them, `nn.CrossEntropyLoss()` or `F.mse_loss`, as the loss of each point.

MAML averages over points itself: over the support set with the scale of `Learner.inner_loss`, over the query set, over
tasks. So a loss is asked not to reduce over points. One that sums over points, or averages with weights of its own, is
refused, since MAML would silently scale it.
"""

import copy
import functools
import inspect
from collections.abc import Callable
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from .over_tasks import OverTasks

Loss = Callable[[Tensor, Tensor], Tensor]
WEIGHTED_MEAN = (F.cross_entropy, F.nll_loss)  # with class weights their mean divides by the sum of the weights


def point_loss(loss: Loss) -> Loss:
    """(outputs [T, B, ...], y [T, B, ...]) -> the loss of each point [T, B], a mean over what comes after B.

    loss: a module of torch.nn or function of torch.nn.functional, or a function of your own of one task's outputs [B, ...]
    and y [B, ...] that returns a loss for each point. Raises ValueError for a reduction that is no mean, for class weights,
    and, when it is called, for a loss that returns a single number.
    """
    function = loss.func if isinstance(loss, functools.partial) else loss
    name = getattr(function, "__name__", type(function).__name__)
    over_tasks = OverTasks(_unreduced(loss, name), f"The loss {name}", "the loss of each point, [B]")

    def losses(outputs: Tensor, y: Tensor) -> Tensor:
        found = over_tasks((0, 0), outputs, y)
        if found.ndim < 2:
            raise ValueError(
                f"The loss {name} returned a single number for {y.shape[1]} points: return the loss of each point, [B], "
                'since MAML takes the mean itself (for a loss of torch, leave its reduction at "mean").'
            )
        return found.flatten(2).mean(-1) if found.ndim > 2 else found

    return losses


def _unreduced(loss: Loss, name: str) -> Loss:
    """The loss before it reduces over points; of losses without a `reduction`, the loss itself."""
    weight: Any
    if isinstance(loss, nn.Module):
        reduction, weight = getattr(loss, "reduction", None), getattr(loss, "weight", None)
        _check_scale(name, reduction, weight if isinstance(loss, nn.CrossEntropyLoss | nn.NLLLoss) else None)
        if reduction is None:
            return loss
        loss = copy.copy(loss)
        setattr(loss, "reduction", "none")  # noqa: B010 - an attribute of torch's losses only
        return loss
    try:
        parameters: dict[str, Any] = dict(inspect.signature(loss).parameters)
    except (TypeError, ValueError):  # built in, without a signature
        return loss
    if "reduction" not in parameters:
        return loss
    function = loss.func if isinstance(loss, functools.partial) else loss
    weight = parameters["weight"].default if function in WEIGHTED_MEAN else None
    _check_scale(name, parameters["reduction"].default, weight)
    unreduced: Any = loss
    return functools.partial(unreduced, reduction="none")


def _check_scale(name: str, reduction: str | None, weight: Tensor | None) -> None:
    if reduction == "sum":
        raise ValueError(
            f'{name} sums over points, where MAML takes the mean: leave its reduction at "mean", and for the paper\'s sum '
            'over points divided by K set inner_loss="sum" in Learner.'
        )
    if reduction not in (None, "mean", "none"):  # "batchmean" sums over what comes after B
        raise ValueError(f'{name} has reduction="{reduction}", which is not the mean: leave it at "mean".')
    if weight is not None:
        raise ValueError(
            f"{name} has class weights, and its mean divides by their sum, which differs from task to task: give a "
            "function that returns each point's weighted loss, [B]."
        )
