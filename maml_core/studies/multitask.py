"""The paper's multi-task baselines on the sinusoid (its appendix C): average many regressors, then fine-tune the average.

500 regressors are trained, each from its own random initialization on its own wave, until its error is below 0.02. Their
average in parameter space is fine-tuned on five points with a tuned step size. The regressors are trained without
regularization, with L2 weight decay, or with L2 towards the mean of those trained so far, "as high as possible without
significantly deterring performance". The appendix does not state optimizer, steps or strengths, and the authors' code does
not include this experiment.

Silent choices:
  - the paper trains one regressor after another; we train generations of 25 at once, on the task axis. The mean so far is
    that of all earlier generations; the first generation has none and is not regularized. This matters: "by_generation" in
    the study's results compares generation sizes on 100 regressors.
  - all three methods train on the same waves, initializations and points.
  - 10,000 steps of Adam, each on 20 new points, with a learning rate that rises from 0 to 1e-3 over the first fifth of the
    steps and falls to 0 over the last. Without this warmup, about one regressor in a hundred never learns its wave.
  - the strength s adds s (w - centre) to the gradient, where the centre is 0 or the mean. It is the highest of STRENGTHS
    that keeps the mean error on the regressors' own waves below 0.02, on 100 regressors with another seed.
"""

import math
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from typing import Any

from torch import Tensor

from ..engine.compiling import has_compiler
from ..evaluation import evaluate, mean_and_ci95
from ..networks import Network, Weights
from ..recipes import find_recipe
from ..tasks.sinusoid import SinusoidTasks
from ..util.seeding import seeded_generator
from .measurements import TEST_TASKS, rounded, tuned_alpha
from .multitask_training import (
    L2,
    METHODS,
    NO_PENALTY,
    TO_THE_MEAN,
    Descent,
    Regimen,
    descent,
    mean_theta,
    own_wave_errors,
    train_regressors,
)  # fmt: skip
from .study import Findings, StudyContext

LIMIT = 0.02  # the paper's limit for the error on a regressor's own wave
STRENGTHS = (0.1, 0.03, 0.01, 0.003, 0.001, 0.0003)
SEEDS, TRIAL_SEED, COMPARED_SEEDS = (0, 1), 2, (2, 3)


def strongest_within_limit(error: Callable[[float], float]) -> tuple[float, dict[float, float]]:
    """The highest of STRENGTHS whose error is below LIMIT, or else the one with the lowest error.

    Also returns the errors of all strengths that were tried, from the highest down.
    """
    tried: dict[float, float] = {}
    for strength in sorted(STRENGTHS, reverse=True):
        tried[strength] = error(strength)
        if tried[strength] < LIMIT:
            return strength, tried
    return min(tried, key=tried.__getitem__), tried


def multi_task(context: StudyContext, regimen: Regimen = Regimen()) -> Findings:
    """The study: strengths, errors on the regressors' own waves, and errors after 0 to 10 steps on K = 5, 10 and 20 points.

    The test waves are those of `error_against_steps`, with 100 query points each. The weights are the averages of the
    first seed.
    """
    recipe = find_recipe("sinusoid-pretrained")
    network = recipe.build_network()
    descend = descent(network, compiled=has_compiler())

    def train(method: str, strength: float, seed: int, regimen: Regimen) -> tuple[Weights, Tensor]:
        regressors, *waves = train_regressors(network, seeded_generator(seed), method, strength, regimen, descend)
        return regressors, own_wave_errors(network, regressors, *waves)

    few = replace(regimen, regressors=min(regimen.regressors, 4 * regimen.generation))

    def own_wave_error(method: str, strength: float) -> float:
        return train(method, strength, TRIAL_SEED, few)[1].mean().item()

    chosen, tried = {NO_PENALTY: 0.0}, []
    for method in (L2, TO_THE_MEAN):
        chosen[method], found = strongest_within_limit(partial(own_wave_error, method))
        tried += [{"method": method, "strength": s, "own_wave_error": round(error, 5)} for s, error in found.items()]
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
    settings = {"limit": LIMIT, "tasks": TEST_TASKS, "queries": 100, "regimen": asdict(regimen),
                "trial_regressors": few.regressors}  # fmt: skip
    generations = by_generation(network, chosen[TO_THE_MEAN], few, descend)
    return Findings(rows, settings, {"tried": tried, "trainings": trainings, "by_generation": generations}, weights)


def by_generation(network: Network, strength: float, few: Regimen, descend: Descent) -> list[dict[str, Any]]:
    """Compare regressors trained a generation at a time and one at a time, regularized to the mean; K = 5, two seeds.

    Returns rows like `fine_tuned`, with the generation size and the mean error on the regressors' own waves.
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
    """Rows of the study: errors after fine-tuning theta for 0 to 10 steps, with its best alpha over ten steps."""
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
