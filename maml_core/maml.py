"""MAML on the task axis: inner loop, meta-objective, meta-gradient.

The idea: stack the weights of T tasks, phi [T, ...], and sum the tasks' losses. Task i's loss does not depend on task j's
weights, so row i of the gradient of the *sum* with respect to phi is task i's own gradient. A single differentiation
serves all tasks, with no loop over them and no meta-learning library.

In the paper's symbols:
    inner step       phi_i = theta - alpha * grad_theta L_i(theta)                        (section 2.2)
    meta-objective   min over theta of sum_i L_i(phi_i), on the query points              (section 2.2)
    meta-gradient    grad_theta sum_i L_i(phi_i), through the inner steps                 (equation 1)
"""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from .episodes import Episodes, check_points
from .networks import Network, Weights
from .util.checks import at_least, positive
from .util.differentiate import differentiate


@dataclass(frozen=True)
class Learner:
    """How one task learns: a network and the settings of the inner loop.

    alpha:        size of an inner step
    steps:        inner steps in meta-training
    inner_loss:   "sum": summed over the N*K support points and divided by K, as in the paper's code,
                  which is N times the mean; "mean": the mean over the support points
    first_order:  treat the inner gradient as a constant (section 5.2's first-order approximation)
    """

    network: Network
    alpha: float
    steps: int = 1
    inner_loss: str = "sum"
    first_order: bool = False

    def __post_init__(self) -> None:
        positive(alpha=self.alpha)
        at_least(0, steps=self.steps)
        if self.inner_loss not in ("sum", "mean"):
            raise ValueError(f'inner_loss must be "sum" or "mean", not {self.inner_loss!r}.')

    def point_losses(self, weights: Weights, x: Tensor, y: Tensor) -> Tensor:
        """The loss of every point: x [T, B, ...], y [T, B] -> [T, B]."""
        return self.network.loss(self.network.forward(weights, x), y)

    def support_loss(self, weights: Weights, x: Tensor, y: Tensor) -> Tensor:
        """L_i(theta) of every task, on its support set: [T]."""
        scale = self.network.ways if self.inner_loss == "sum" else 1
        return scale * self.point_losses(weights, x, y).mean(-1)

    # What MAML's variants override (learners/variants.py): a step, the losses, the gradient of their sum.

    def step(self, phi: Weights, x: Tensor, y: Tensor, number: int = 0, start: Weights | None = None) -> Weights:
        """One inner step from phi [T, ...]; number: its index, from 0; start: theta for every task."""
        return inner_step(self, phi, x, y)

    def losses(self, theta: Weights, episodes: Episodes) -> Tensor:
        """The loss of every task that meta-training minimizes: [T]."""
        return query_losses(self, theta, episodes)

    def gradient_of_sum(self, theta: Weights, episodes: Episodes) -> tuple[Weights, Tensor]:
        """The meta-gradient summed over tasks, and the losses [T]."""
        return gradient_of_sum(self, theta, episodes)


def stack(network: Network, theta: Weights, tasks: int) -> Weights:
    """phi before the first step: theta for every task, [T, ...]. A view: nothing is copied until the weights differ."""
    return {name: w if name in network.frozen else w.expand(tasks, *w.shape) for name, w in theta.items()}


def own_gradients(
    network: Network, losses: Callable[[Weights], Tensor], phi: Weights, first_order: bool = False
) -> Weights:
    """Each task's own gradient of its loss at phi [T, ...]; frozen weights have none.

    losses: weights -> the losses of all tasks [T]; first_order: a gradient that is a constant from here on
    """
    frozen = {name: phi[name] for name in phi if name in network.frozen}
    adapted = {name: phi[name] for name in phi if name not in frozen}

    def sum_over_tasks(weights: Weights) -> Tensor:
        return losses({**frozen, **weights}).sum()

    gradient = differentiate(sum_over_tasks, adapted)
    return {name: g.detach() for name, g in gradient.items()} if first_order else gradient


def support_gradient(learner: Learner, phi: Weights, x: Tensor, y: Tensor) -> Weights:
    """Each task's own gradient of its support loss at phi [T, ...]; frozen weights have none."""
    return own_gradients(learner.network, lambda weights: learner.support_loss(weights, x, y), phi, learner.first_order)


def inner_step(learner: Learner, phi: Weights, x: Tensor, y: Tensor) -> Weights:
    """The inner step for all tasks at once: phi [T, ...] -> phi - alpha * (each task's own gradient)."""
    gradient = support_gradient(learner, phi, x, y)
    return {name: w - learner.alpha * gradient[name] if name in gradient else w for name, w in phi.items()}


def adapt(learner: Learner, theta: Weights, x: Tensor, y: Tensor, steps: int | None = None) -> Weights:
    """The inner loop: theta -> phi [T, ...] after `steps` (default: the learner's) steps on the support sets.

    x: [T, N*K, ...], y: [T, N*K]. Raises ValueError where they do not begin with the same [T, B], and for negative steps.
    """
    last = learner.steps if steps is None else steps
    at_least(0, steps=last)
    check_points(x, y)
    for _, phi in zip(range(last + 1), inner_loop(learner, theta, x, y)):  # noqa: B007
        pass
    return phi


def inner_loop(learner: Learner, theta: Weights, x: Tensor, y: Tensor) -> Iterator[Weights]:
    """Yield the weights phi [T, ...] after 0, 1, 2, ... steps on the support sets, indefinitely."""
    phi = start = stack(learner.network, theta, len(x))
    for number in itertools.count():
        yield phi
        phi = learner.step(phi, x, y, number, start)


def query_losses(learner: Learner, theta: Weights, episodes: Episodes) -> Tensor:
    """L_i(phi_i) of every task: the mean over its query points after adaptation, [T]."""
    phi = adapt(learner, theta, episodes.support_x, episodes.support_y)
    return learner.point_losses(phi, episodes.query_x, episodes.query_y).mean(-1)


def meta_objective(learner: Learner, theta: Weights, episodes: Episodes) -> Tensor:
    """(1/T) sum_i L_i(phi_i). The paper's code also divides by the number of tasks; Adam cancels such factors."""
    return query_losses(learner, theta, episodes).mean()


def gradient_of_sum(learner: Learner, theta: Weights, episodes: Episodes) -> tuple[Weights, Tensor]:
    """grad_theta sum_i L_i(phi_i) and the losses L_i(phi_i) [T]: what is compiled, and summed over chunks."""

    def objective(theta: Weights) -> tuple[Tensor, Tensor]:
        losses = learner.losses(theta, episodes)
        return losses.sum(), losses

    return torch.func.grad(objective, has_aux=True)(theta)


def meta_gradient(learner: Learner, theta: Weights, episodes: Episodes, chunk: int | None = None) -> tuple[Weights, Tensor]:
    """The gradient of the meta-objective with respect to theta, and the query losses [T].

    chunk: tasks to process at a time, to fit memory and caches (the last chunk may have fewer); the gradient is the same.
    """
    return mean_over_tasks([learner.gradient_of_sum(theta, part) for part in in_chunks(episodes, chunk)])


def in_chunks(episodes: Episodes, chunk: int | None = None) -> list[Episodes]:
    """The episodes of `chunk` tasks at a time; None: of all tasks together."""
    size = chunk or len(episodes)
    return [episodes[start : start + size] for start in range(0, len(episodes), size)]


def mean_over_tasks(parts: list[tuple[Weights, Tensor]]) -> tuple[Weights, Tensor]:
    """The meta-gradient and all losses [T] from those of chunks: gradients of sums (`gradient_of_sum`), losses of tasks."""
    losses = torch.cat([each for _, each in parts])
    (first, _), *others = parts
    return {name: sum((part[name] for part, _ in others), w) / len(losses) for name, w in first.items()}, losses
