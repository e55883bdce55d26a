"""One meta-iteration, the body of Algorithm 2: the meta-gradient (lines 4 to 9) and theta's step along it (line 10).

It is a pure function of its state, and depends on tensors only, so that a whole meta-iteration can be one compiled graph.
`torch.optim.Adam` could not: it keeps internal state and updates weights in place. Our tests compare the two.
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
    """Adam's state: running means of the gradient and of its square, and the number of steps taken.

    steps: a scalar of float32 or float64, whatever the weights are: bfloat16 could not count beyond 256
    """

    first: Weights
    second: Weights
    steps: Tensor


@dataclass(frozen=True)
class State:
    """Everything that a meta-iteration updates, apart from the generator.

    average: the running average of theta; {} if there is none
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
    """How the meta-gradient updates theta: by Adam, as in the paper's code.

    learning_rate:  Adam's, the paper's beta
    horizon:        meta-iterations over which it decays to 0 along half a cosine; None keeps it constant
    clip:           limit on the absolute values in a meta-gradient (the paper's code: 10 on mini-ImageNet); None for none
    averaging:      decay of theta's running average per meta-iteration, such as 0.998; None for no average
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
        """The state before the first meta-iteration."""
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


SCHEDULES = ("constant", "cosine")  # of the learning rate: constant as in the paper, or decaying to 0 at the horizon
GradientOf = Callable[[Weights, Episodes], tuple[Weights, Tensor]]


def meta_iteration(gradient_of: GradientOf, update: MetaUpdate, state: State, episodes: Episodes) -> tuple[State, Tensor]:
    """Lines 4 to 10 of Algorithm 2 on a meta-batch of T tasks: the new state, and the mean query loss, a scalar.

    gradient_of: (theta, episodes) -> the meta-gradient and the tasks' query losses [T] (`maml.meta_gradient`)
    """
    gradient, losses = gradient_of(state.theta, episodes)
    return update.move(state, gradient), losses.mean()


def no_moments(theta: Weights) -> Moments:
    """Adam's state before its first step."""
    first, second = ({name: torch.zeros_like(w) for name, w in theta.items()} for _ in range(2))
    some = next(iter(theta.values()))
    counting = torch.promote_types(some.dtype, torch.float32)
    return Moments(first, second, torch.zeros((), dtype=counting, device=some.device))


def adam(
    theta: Weights,
    gradient: Weights,
    moments: Moments,
    learning_rate: float | Tensor,
    betas: tuple[float, float] = (0.9, 0.999),
) -> tuple[Weights, Moments]:
    """One step of Adam, Algorithm 1 of Kingma and Ba (2015), with epsilon 1e-8: new weights and new moments."""
    steps = moments.steps + 1
    first = {name: torch.lerp(m, gradient[name], 1 - betas[0]) for name, m in moments.first.items()}
    second = {name: torch.lerp(v, gradient[name] ** 2, 1 - betas[1]) for name, v in moments.second.items()}
    # The bias corrections of m and v as two factors: (m / c1) / (sqrt(v / c2) + epsilon)
    size, root = learning_rate / (1 - betas[0] ** steps), (1 - betas[1] ** steps).rsqrt()
    theta = {name: w - size * first[name] / (second[name].sqrt() * root + 1e-8) for name, w in theta.items()}
    return theta, Moments(first, second, steps)


def scheduled(learning_rate: float, steps: Tensor, horizon: int | None) -> float | Tensor:
    """The learning rate after `steps` steps: constant, or along half a cosine from `learning_rate` to 0 at `horizon`.

    (Loshchilov and Hutter 2017, without restarts.) It depends only on Adam's own step count, so that it continues correctly
    in a resumed run and in a captured graph.
    """
    if horizon is None:
        return learning_rate
    return learning_rate * 0.5 * (1 + torch.cos(steps.clamp(max=horizon) * (math.pi / horizon)))


def averaged(average: Weights, theta: Weights, decay: float, steps: Tensor) -> Weights:
    """The running average, updated with theta.

    Its decay rises with the number of steps, steps / (9 + steps), up to `decay`, so that it soon forgets the initial theta.
    """
    kept = (steps / (9 + steps)).clamp(max=decay)
    return {name: torch.lerp(w, average[name], kept.to(w.dtype)) for name, w in theta.items()}


def clip_values(gradient: Weights, limit: float | None) -> Weights:
    """Clip every value to -limit..limit, as the authors' code does on mini-ImageNet; None clips nothing. NaN stays NaN."""
    if limit is None:
        return gradient
    most = {g.dtype: min(limit, torch.finfo(g.dtype).max) for g in gradient.values()}  # clamp refuses what is beyond
    return {name: g.clamp(-most[g.dtype], most[g.dtype]) for name, g in gradient.items()}
