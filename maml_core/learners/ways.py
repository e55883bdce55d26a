"""Testing with a different number of classes than in training: use fewer outputs, or a last layer of equal columns."""

from dataclasses import replace

from torch import Tensor

from ..networks import Network, Weights
from .reader import HEAD


def equal_columns(theta: Weights, ways: int) -> Weights:
    """A last layer for N classes with equal columns: the mean of the trained ones."""
    return {name: theta[name].mean(-1, keepdim=True).expand(*theta[name].shape[:-1], ways) for name in HEAD}


def first_outputs(network: Network, ways: int) -> Network:
    """The network as a classifier of the first `ways` classes, ignoring its other outputs."""

    def forward(weights: Weights, x: Tensor, **options: int | None) -> Tensor:
        return network.forward(weights, x, **options)[..., :ways]

    return replace(network, forward=forward)
