"""One meta-iteration, Algorithm 2's body: a meta-gradient (lines 4 to 9), and theta's step along it (line 10).

State goes in and comes out, and nothing but tensors decides a step, so that a whole meta-iteration can be one compiled
graph; `torch.optim.Adam`, which keeps its state inside and changes weights in place, cannot. Tests compare ours with it.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from .episodes import Episodes
from .networks import Weights
from .util.checks import at_least, fraction, positive


@dataclass(frozen=True)
class Moments:
    """What Adam remembers: running means of the gradient and of its square, and the steps taken (a scalar)."""

    first: Weights
    second: Weights
    steps: Tensor


@dataclass(frozen=True)
class State:
    """All that a meta-iteration changes, but for the generator.

    average: the running average of theta; {} where none is kept
    """

    theta: Weights
    moments: Moments
    average: Weights
    iteration: int = 0

    def tensors(self) -> list[Tensor]:
        moments = self.moments
        weights = (self.theta, moments.first, moments.second, self.average)
        return [*(w for part in weights for w in part.values()), moments.steps]


@dataclass(frozen=True)
class MetaUpdate:
    """How the meta-gradient moves theta: Adam, as in the paper's code.

    learning_rate:  Adam's, the paper's beta
    horizon:        meta-iterations in which it falls to 0 along half a cosine; None: it stays
    clip:           the largest absolute value in a meta-gradient, None for any (the paper's code has 10 on mini-ImageNet)
    averaging:      how much of theta's running average a meta-iteration keeps, such as 0.998; None: no average
    """

    learning_rate: float = 1e-3
    horizon: int | None = None
    clip: float | None = None
    averaging: float | None = None

    def __post_init__(self) -> None:
        positive(learning_rate=self.learning_rate, clip=self.clip)
        at_least(1, horizon=self.horizon)
        fraction(averaging=self.averaging)

    def start(self, theta: Weights) -> State:
        """Before the first meta-iteration."""
        average = {} if self.averaging is None else {name: w.clone() for name, w in theta.items()}
        return State(theta, no_moments(theta), average)

    def move(self, state: State, gradient: Weights) -> State:
        """Line 10: theta after one step along the meta-gradient."""
        rate = scheduled(self.learning_rate, state.moments.steps, self.horizon)
        theta, moments = adam(state.theta, clip_values(gradient, self.clip), state.moments, rate)
        average = state.average
        if self.averaging is not None:
            average = averaged(average, theta, self.averaging, moments.steps)
        return State(theta, moments, average, state.iteration + 1)


SCHEDULES = ("constant", "cosine")  # of the learning rate: as in the paper; falling to 0 at the horizon
GradientOf = Callable[[Weights, Episodes], tuple[Weights, Tensor]]


def meta_iteration(gradient_of: GradientOf, update: MetaUpdate, state: State, episodes: Episodes) -> tuple[State, Tensor]:
    """Lines 4 to 10 of Algorithm 2 on a meta-batch of T tasks: the new state, and the mean query loss, a scalar.

    gradient_of: (theta, episodes) -> the meta-gradient and the tasks' query losses [T] (`maml.meta_gradient`)
    """
    gradient, losses = gradient_of(state.theta, episodes)
    return update.move(state, gradient), losses.mean()


def no_moments(theta: Weights) -> Moments:
    """Adam before its first step."""
    first, second = ({name: torch.zeros_like(w) for name, w in theta.items()} for _ in range(2))
    some = next(iter(theta.values()))
    return Moments(first, second, torch.zeros((), dtype=some.dtype, device=some.device))


def adam(
    theta: Weights,
    gradient: Weights,
    moments: Moments,
    learning_rate: float | Tensor,
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


def averaged(average: Weights, theta: Weights, decay: float, steps: Tensor) -> Weights:
    """The running average with theta of one step more in it.

    It keeps `decay` of what it was, and less in the beginning, steps / (9 + steps), so that it soon forgets theta's start.
    """
    kept = (steps / (9 + steps)).clamp(max=decay)
    return {name: torch.lerp(w, average[name], kept.to(w.dtype)) for name, w in theta.items()}


def clip_values(gradient: Weights, limit: float | None) -> Weights:
    """Every value brought into -limit..limit, as the authors' code does on mini-ImageNet; None leaves all as they are.

    What is not a number stays so.
    """
    if limit is None:
        return gradient
    return {name: g.clamp(-limit, limit) for name, g in gradient.items()}
