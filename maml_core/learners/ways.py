"""Another number of classes than in training: fewer outputs looked at, or a last layer of equal columns."""

from dataclasses import replace

from torch import Tensor

from ..networks import Network, Weights
from .reader import HEAD


def equal_columns(theta: Weights, ways: int) -> Weights:
    """A last layer for N classes, all alike: the mean of the columns that were trained."""
    return {name: theta[name].mean(-1, keepdim=True).expand(*theta[name].shape[:-1], ways) for name in HEAD}


def first_outputs(network: Network, ways: int) -> Network:
    """The network as a classifier of the first `ways` classes: the other outputs are not looked at."""

    def forward(weights: Weights, x: Tensor, **options: int | None) -> Tensor:
        return network.forward(weights, x, **options)[..., :ways]

    return replace(network, forward=forward)
