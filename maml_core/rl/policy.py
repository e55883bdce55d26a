"""A Gaussian policy: a mean action for each position, and one log standard deviation per axis, learned like any weight.

Section 5.3: two hidden layers of 100 with ReLU. It is a `Network` like those of the other chapters, with the negative
log-likelihood of an action as its loss, so stacking theta over tasks works in the same way.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..layers import glorot, linear
from ..networks import Network, Weights

SIZES = (2, 100, 100, 2)


@dataclass(frozen=True)
class Policy(Network):
    """A network whose outputs are means and log standard deviations; only the means depend on the position.

    mean: (weights, positions x [T, B, 2]) -> mean actions [T, B, 2]
    """

    mean: Callable[[Weights, Tensor], Tensor] = field(kw_only=True)


def gaussian(
    init: Callable[[torch.Generator], Weights],
    mean: Callable[[Weights, Tensor], Tensor],
    frozen: frozenset[str] = frozenset(),
) -> Policy:
    """The policy with these means, and the weights "log_std" [2] as log standard deviations.

    frozen: weights that are meta-learned but not adapted
    """

    def forward(weights: Weights, x: Tensor) -> Tensor:
        """Positions x [T, B, 2] -> means and log standard deviations, side by side: [T, B, 4]."""
        means = mean(weights, x)
        return torch.cat([means, weights["log_std"][..., None, :].expand_as(means)], -1)

    return Policy(init, forward, negative_log_likelihood, frozen=frozen, mean=mean)


def navigation_policy(sizes: tuple[int, ...] = SIZES, context: int = 0) -> Policy:
    """Weights start Glorot-uniform, biases and log standard deviations at 0, as in the authors' code.

    context: how many free parameters z, which start at 0, are inputs beside the position. If there are any, they adapt
    alone, and all other weights are meta-learned but frozen (the context vector of the paper's appendix D.2).
    """
    layers = range(1, len(sizes))

    def init(generator: torch.Generator) -> Weights:
        weights = {"z0": torch.zeros(context, device=generator.device)} if context else {}
        for i in layers:
            fan_in, fan_out = sizes[i - 1] + (context if i == 1 else 0), sizes[i]
            weights[f"w{i}"] = glorot((fan_in, fan_out), fan_in, fan_out, generator)
            weights[f"b{i}"] = torch.zeros(fan_out, device=generator.device)
        weights["log_std"] = torch.zeros(sizes[-1], device=generator.device)
        return weights

    def mean(weights: Weights, x: Tensor) -> Tensor:
        h = torch.cat([x, weights["z0"][..., None, :].expand(*x.shape[:-1], context)], -1) if context else x
        for i in layers[:-1]:
            h = torch.relu(linear(h, weights[f"w{i}"], weights[f"b{i}"]))
        return linear(h, weights[f"w{layers[-1]}"], weights[f"b{layers[-1]}"])

    frozen = frozenset(init(torch.Generator())) - {"z0"} if context else frozenset()
    return gaussian(init, mean, frozen)


def negative_log_likelihood(outputs: Tensor, actions: Tensor) -> Tensor:
    """-log pi(a | x) of each action: outputs [..., 2 A], actions [..., A] -> [...]."""
    mean, log_std = outputs.chunk(2, -1)
    z = (actions - mean) / log_std.exp()
    return (z**2 / 2 + log_std + math.log(2 * math.pi) / 2).sum(-1)


def divergence(old: Tensor, new: Tensor) -> Tensor:
    """KL(old || new) between the two Gaussians in each state: outputs [..., 2 A] each -> [...]."""
    (mean, log_std), (new_mean, new_log_std) = old.chunk(2, -1), new.chunk(2, -1)
    ratio = ((2 * log_std).exp() + (mean - new_mean) ** 2) / (2 * (2 * new_log_std).exp())
    return (new_log_std - log_std + ratio - 0.5).sum(-1)
