"""Adam as a function, so that a whole meta-iteration can be one compiled graph.

`torch.optim.Adam` keeps its state inside and changes weights in place; here state goes in and comes out, and
nothing but tensors decides a step. The tests hold it against torch's.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .networks import Weights


@dataclass(frozen=True)
class Moments:
    """What Adam remembers: running means of the gradient and of its square, and the steps taken (a scalar)."""

    first: Weights
    second: Weights
    steps: Tensor


def no_moments(theta: Weights) -> Moments:
    """Adam before its first step."""
    first, second = ({name: torch.zeros_like(w) for name, w in theta.items()} for _ in range(2))
    some = next(iter(theta.values()))
    return Moments(first, second, torch.zeros((), dtype=some.dtype, device=some.device))


def adam(
    theta: Weights, gradient: Weights, moments: Moments, learning_rate: float | Tensor,
    betas: tuple[float, float] = (0.9, 0.999),
) -> tuple[Weights, Moments]:
    """One step of Algorithm 1 of Kingma and Ba (2015), epsilon 1e-8: new weights and new moments."""
    steps = moments.steps + 1
    first = {name: torch.lerp(m, gradient[name], 1 - betas[0]) for name, m in moments.first.items()}
    second = {name: torch.lerp(v, gradient[name] ** 2, 1 - betas[1]) for name, v in moments.second.items()}
    # The corrections of m and v, which start at 0, as two factors: (m / c1) / (sqrt(v / c2) + epsilon)
    size, root = learning_rate / (1 - betas[0] ** steps), (1 - betas[1] ** steps).rsqrt()
    theta = {name: w - size * first[name] / (second[name].sqrt() * root + 1e-8) for name, w in theta.items()}
    return theta, Moments(first, second, steps)


def scheduled(learning_rate: float, steps: Tensor, horizon: int | None) -> float | Tensor:
    """The learning rate after `steps` steps: constant, or along half a cosine from `learning_rate` to 0 at `horizon`.

    (Loshchilov and Hutter 2017, without restarts.) It hangs on nothing but Adam's own count, so that a resumed training and
    a recorded graph go on with it.
    """
    if horizon is None:
        return learning_rate
    return learning_rate * 0.5 * (1 + torch.cos(steps.clamp(max=horizon) * (math.pi / horizon)))


def clip_values(gradient: Weights, limit: float | None) -> Weights:
    """Every value brought into -limit..limit, as the authors' code does on mini-ImageNet; None leaves all as they are.

    What is not a number stays so.
    """
    if limit is None:
        return gradient
    return {name: g.clamp(-limit, limit) for name, g in gradient.items()}
