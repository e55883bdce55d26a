"""The paper's multi-task baselines on the sinusoid (its appendix C): average many regressors, then fine-tune the average.

500 regressors are trained, each from its own random start on its own wave until its error is below 0.02. Their average, in
parameter space, is fine-tuned on five points with a tuned step size. The regressors are trained without regularization,
with L2 weight decay, or with L2 towards the mean of those trained so far, "as high as possible without significantly
deterring performance". Optimizer, steps and strengths the appendix leaves open, and the authors' code has none of this.

Silent choices:
  - the paper trains one regressor after the other, we one generation of 25 after the other: the task axis trains a
    generation at once, and the mean so far is that of all earlier ones. The first has none, and is not regularized. This is
    no detail: "by_generation" in the study's results has 100 regressors by the size of their generation.
  - the three variants train on the same waves, starts and points.
  - 10,000 steps of Adam on 20 new points each, at 1e-3, which rises from 0 over the first fifth of the steps and falls to 0
    over the last. Without the rise, about one regressor in a hundred never learns its wave.
  - the strength s adds s (w - centre) to the gradient, the centre being 0 or the mean. It is the highest of STRENGTHS that
    keeps the mean error on the own waves below 0.02, on 100 regressors of another seed.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor

from .adam import Moments, adam, no_moments
from .characters import Characters
from .checks import at_least, positive
from .compiling import compile_whole, has_compiler
from .episodes import seeded_generator
from .evaluation import evaluate, mean_and_ci95
from .networks import Network, Weights
from .progress import progress
from .recipes import find_recipe
from .sinusoid import X_RANGE, SinusoidTasks, wave
from .sweeps import TEST_TASKS, rounded, tuned_alpha

NO_PENALTY, L2, TO_THE_MEAN = "no regularization", "L2", "regularized to the mean theta"
METHODS = (NO_PENALTY, L2, TO_THE_MEAN)

LIMIT = 0.02  # the paper's, on a regressor's own wave
STRENGTHS = (0.1, 0.03, 0.01, 0.003, 0.001, 0.0003)
SEEDS, TRIAL_SEED, COMPARED_SEEDS = (0, 1), 2, (2, 3)


@dataclass(frozen=True)
class Regimen:
    """How the regressors are trained.

    regressors:     how many, a multiple of `generation`
    generation:     regressors that are trained at once
    steps, points:  Adam steps, a multiple of `block`, and new points of the wave in each
    learning_rate:  of Adam; rises from 0 over the first fifth of the steps and falls to 0 over the last
    block:          steps in one compiled graph
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
    """Adam on the sum of R regressors' losses, as a function of

    theta [R, ...] and moments, x [S, R, B] (B points for each of S steps), amplitude and phase [R, 1], centre [...] and
    strength (a scalar) of the regularization, and rates [S]; it returns theta and moments after S steps.
    """

    def steps(theta: Weights, moments: Moments, x: Tensor, amplitude: Tensor, phase: Tensor, centre: Weights,
              strength: Tensor, rates: Tensor) -> tuple[Weights, Moments]:  # fmt: skip
        for points, rate in zip(x, rates):
            y = wave(points, amplitude, phase)

            def loss(weights: Weights, points: Tensor = points, y: Tensor = y) -> Tensor:
                return network.loss(network.forward(weights, points[..., None]), y).mean(-1).sum()

            gradient = torch.func.grad(loss)(theta)
            pulled = {name: g + strength * (theta[name] - centre[name]) for name, g in gradient.items()}
            theta, moments = adam(theta, pulled, moments, rate)
        return theta, moments

    return compile_whole(steps) if compiled else steps


@contextmanager
def denormals_as_zero() -> Iterator[None]:
    """Numbers below 1e-38 count as 0 in this thread, where the processor can do so.

    Adam's moments of units without a gradient decay to such numbers and stay there, and processors are slow at them: up to
    seven times as slow a training.
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
    """Regressors [R, ...], each trained on a wave of its own, and these waves' amplitudes and phases [R, 1].

    method, strength: one of METHODS and how strong it is. descend: a `descent` that is compiled already. Starts, waves
    and points depend on nothing but the generator and the regimen. Raises ValueError for another method, a strength below
    0, or one that has no method.
    """
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, not {method!r}.")
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
        pull = torch.tensor(strength if method == L2 or towards_mean else 0.0)
        for step in range(0, regimen.steps, regimen.block):
            unit = torch.rand((regimen.block, len(amplitude), regimen.points), generator=generator)
            x = low + (X_RANGE[1] - low) * unit
            theta, moments = descend(
                theta, moments, x, amplitude, phase, centre, pull, rates[step : step + regimen.block]
            )
        trained = {name: torch.cat([trained[name], w]) if trained else w for name, w in theta.items()}
    return trained, *waves


def own_wave_errors(network: Network, regressors: Weights, amplitude: Tensor, phase: Tensor) -> Tensor:
    """Each regressor's mean squared error on its own wave, at 1,000 evenly spaced points: [R]."""
    x = torch.linspace(*X_RANGE, 1000, dtype=amplitude.dtype).expand(len(amplitude), -1)
    return network.loss(network.forward(regressors, x[..., None]), wave(x, amplitude, phase)).mean(-1)


def highest_harmless(error: Callable[[float], float]) -> tuple[float, dict[float, float]]:
    """The highest of STRENGTHS whose error is below LIMIT, and the errors of those tried on the way down to it.

    Where none is, it is the one with the lowest error.
    """
    tried: dict[float, float] = {}
    for strength in sorted(STRENGTHS, reverse=True):
        tried[strength] = error(strength)
        if tried[strength] < LIMIT:
            return strength, tried
    return min(tried, key=tried.__getitem__), tried


def multi_task(characters: Characters | None = None, regimen: Regimen = Regimen()) -> dict[str, Any]:
    """The study: strengths, errors on the own waves, and errors after 0 to 10 steps from K = 5, 10 and 20 points.

    The test waves are those of `error_against_steps`, 100 query points each. "weights" has the first seed's averages,
    as `load_study_weights` reads them.
    """
    recipe = find_recipe("sinusoid-pretrained")
    network = recipe.build_network()
    descend = descent(network, compiled=has_compiler())

    def train(method: str, strength: float, seed: int, regimen: Regimen) -> tuple[Weights, Tensor]:
        regressors, *waves = train_regressors(network, seeded_generator(seed), method, strength, regimen, descend)
        return regressors, own_wave_errors(network, regressors, *waves)

    few = replace(regimen, regressors=min(regimen.regressors, 4 * regimen.generation))
    chosen, tried = {NO_PENALTY: 0.0}, []
    for method in (L2, TO_THE_MEAN):
        chosen[method], errors = highest_harmless(lambda s, m=method: train(m, s, TRIAL_SEED, few)[1].mean().item())
        tried += [{"method": method, "strength": s, "own_wave_error": round(error, 5)} for s, error in errors.items()]
    rows, trainings, weights = [], [], {}
    for seed in SEEDS:
        for method in METHODS:
            regressors, errors = train(method, chosen[method], seed, regimen)
            theta = mean_theta(regressors)
            spread = math.sqrt(sum((w - theta[name]).square().sum().item() for name, w in regressors.items()) / len(errors))
            trainings.append({
                "method": method, "seed": seed, "strength": chosen[method],
                "own_wave_error": round(errors.mean().item(), 5), "median": round(errors.median().item(), 5),
                "highest": round(errors.max().item(), 5),
                "share_below_limit": round((errors < LIMIT).double().mean().item(), 5),
                "distance_to_mean": round(spread, 4),
                "length_of_mean": round(math.sqrt(sum(w.square().sum().item() for w in theta.values())), 4),
            })  # fmt: skip
            if seed == SEEDS[0]:
                weights[method] = {"theta": theta, "recipe": asdict(recipe), "iteration": regimen.steps}
            rows += fine_tuned(theta, method, seed)
    return {
        "question": "What are regressors worth that are trained apart and averaged in parameter space?", "limit": LIMIT,
        "tasks": TEST_TASKS, "queries": 100, "regimen": asdict(regimen), "trial_regressors": few.regressors,
        "tried": tried, "trainings": trainings, "rows": rows, "weights": weights,
        "by_generation": by_generation(network, chosen[TO_THE_MEAN], few, descend),
    }  # fmt: skip


def by_generation(network: Network, strength: float, few: Regimen, descend: Descent) -> list[dict[str, Any]]:
    """What it changes to train regressors one at a time towards the mean so far: as many of them, K = 5, two seeds.

    Rows as of `fine_tuned`, with the size of a generation and the mean error on the own waves.
    """
    rows = []
    for size in sorted({few.generation, 1}, reverse=True):
        regimen = replace(few, generation=size)
        for seed in COMPARED_SEEDS:
            regressors, *waves = train_regressors(network, seeded_generator(seed), TO_THE_MEAN, strength, regimen, descend)
            error = round(own_wave_errors(network, regressors, *waves).mean().item(), 5)
            tuned = fine_tuned(mean_theta(regressors), TO_THE_MEAN, seed, (5,))
            rows += [{"generation": size, "regressors": few.regressors, "own_wave_error": error} | row for row in tuned]
    return rows


def fine_tuned(theta: Weights, method: str, seed: int, shots: tuple[int, ...] = (5, 10, 20)) -> list[dict[str, Any]]:
    """Rows of the study: the error after 0 to 10 steps from theta, with the alpha that is best for it over ten steps."""
    rows = []
    for k in shots:
        tasks, learner = SinusoidTasks(k, queries=100), find_recipe("sinusoid-pretrained").build_learner()
        learner = replace(learner, alpha=tuned_alpha(learner, theta, tasks))
        scores = evaluate(learner, theta, tasks, range(11), seeded_generator(0), TEST_TASKS)
        rows += [
            {"method": method, "seed": seed, "shots": k, "alpha": learner.alpha, "steps": step}
            | rounded(*mean_and_ci95(score)) for step, score in scores.items()
        ]  # fmt: skip
    return rows
