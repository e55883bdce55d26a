"""Train the regressors of the multi-task baselines a generation at a time, with the generation as the task axis."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from ..engine.compiling import compile_whole
from ..meta_update import Moments, adam, no_moments
from ..networks import Network, Weights
from ..tasks.sinusoid import X_RANGE, SinusoidTasks, wave
from ..util.checks import at_least, one_of, positive
from ..util.progress import progress

NO_PENALTY, L2, TO_THE_MEAN = "no regularization", "L2", "regularized to the mean theta"
METHODS = (NO_PENALTY, L2, TO_THE_MEAN)


@dataclass(frozen=True)
class Regimen:
    """How the regressors are trained.

    regressors:     their number, a multiple of `generation`
    generation:     regressors trained at once
    steps, points:  Adam steps, a multiple of `block`, and new points of the wave per step
    learning_rate:  Adam's, reached after a linear rise over the first fifth of the steps; falls to 0 over the last fifth
    block:          steps per compiled graph
    """

    regressors: int = 500
    generation: int = 25
    steps: int = 10_000
    points: int = 20
    learning_rate: float = 1e-3
    block: int = 10

    def __post_init__(self) -> None:
        at_least(1, regressors=self.regressors, generation=self.generation, steps=self.steps, points=self.points,
                 block=self.block)  # fmt: skip
        positive(learning_rate=self.learning_rate)
        for whole, part in (("regressors", "generation"), ("steps", "block")):
            if getattr(self, whole) % getattr(self, part):
                raise ValueError(
                    f"{whole} must be a multiple of {part} ({getattr(self, part)}), not {getattr(self, whole)}."
                )

    def rates(self) -> Tensor:
        """Adam's learning rate at every step, [steps]."""
        done = torch.arange(1, self.steps + 1)
        return self.learning_rate * (torch.minimum(done, self.steps + 1 - done) / (self.steps / 5)).clamp(max=1)


Descent = Callable[..., tuple[Weights, Moments]]


def descent(network: Network, compiled: bool = False) -> Descent:
    """A function that runs S steps of Adam on the sum of R regressors' losses and returns theta and moments.

    Its arguments are theta [R, ...] and moments, x [S, R, B] (B points per step), amplitude and phase [R, 1], the
    regularization's centre [...] and strength (a scalar), and the learning rates [S].
    """

    def steps(theta: Weights, moments: Moments, x: Tensor, amplitude: Tensor, phase: Tensor, centre: Weights,
              strength: Tensor, rates: Tensor) -> tuple[Weights, Moments]:  # fmt: skip
        for points, rate in zip(x, rates):
            y = wave(points, amplitude, phase)

            def loss(weights: Weights, points: Tensor = points, y: Tensor = y) -> Tensor:
                return network.loss(network.forward(weights, points[..., None]), y).mean(-1).sum()

            gradient = torch.func.grad(loss)(theta)
            regularized = {name: g + strength * (theta[name] - centre[name]) for name, g in gradient.items()}
            theta, moments = adam(theta, regularized, moments, rate)
        return theta, moments

    return compile_whole(steps) if compiled else steps


@contextmanager
def denormals_as_zero() -> Iterator[None]:
    """Flush numbers below 1e-38 to 0 in this thread, if the processor supports it.

    Adam's moments of units without a gradient decay to such numbers and stay there. Processors compute with them slowly,
    which makes training up to seven times slower.
    """
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


def mean_theta(regressors: Weights) -> Weights:
    """The average in parameter space: [R, ...] -> [...]."""
    return {name: w.mean(0) for name, w in regressors.items()}


@denormals_as_zero()
def train_regressors(
    network: Network,
    generator: torch.Generator,
    method: str = NO_PENALTY,
    strength: float = 0.0,
    regimen: Regimen = Regimen(),
    descend: Descent | None = None,
) -> tuple[Weights, Tensor, Tensor]:
    """Train regressors [R, ...], each on its own wave; also returns the waves' amplitudes and phases [R, 1].

    method, strength: one of METHODS, and its strength. descend: a `descent`, for instance a compiled one. Initializations,
    waves and points depend only on the generator and the regimen. Raises ValueError for an unknown method, a negative
    strength, or a strength without regularization.
    """
    one_of(METHODS, method=method)
    at_least(0, strength=strength)
    if strength and method == NO_PENALTY:
        raise ValueError(f"strength must be 0 with {NO_PENALTY!r}, not {strength}.")
    descend, rates, low = descend or descent(network), regimen.rates(), X_RANGE[0]
    waves = SinusoidTasks(regimen.points).draw_waves(regimen.regressors, generator)
    trained: Weights = {}
    for first in progress(range(0, regimen.regressors, regimen.generation), method):
        amplitude, phase = (part[first : first + regimen.generation] for part in waves)
        starts = [network.init(generator) for _ in amplitude]
        theta = {name: torch.stack([start[name] for start in starts]) for name in starts[0]}
        moments, towards_mean = no_moments(theta), method == TO_THE_MEAN and first > 0
        centre = mean_theta(trained) if towards_mean else {name: torch.zeros_like(w[0]) for name, w in theta.items()}
        decay = torch.tensor(strength if method == L2 or towards_mean else 0.0)
        for step in range(0, regimen.steps, regimen.block):
            unit = torch.rand((regimen.block, len(amplitude), regimen.points), generator=generator)
            x = low + (X_RANGE[1] - low) * unit
            theta, moments = descend(theta, moments, x, amplitude, phase, centre, decay, rates[step : step + regimen.block])
        trained = {name: torch.cat([trained[name], w]) if trained else w for name, w in theta.items()}
    return trained, *waves


def own_wave_errors(network: Network, regressors: Weights, amplitude: Tensor, phase: Tensor) -> Tensor:
    """Each regressor's mean squared error on its own wave, over 1,000 evenly spaced points: [R]."""
    x = torch.linspace(*X_RANGE, 1000, dtype=amplitude.dtype).expand(len(amplitude), -1)
    return network.loss(network.forward(regressors, x[..., None]), wave(x, amplitude, phase)).mean(-1)
