"""The outer step of Algorithm 3: trust-region policy optimization (Schulman et al. 2015) of the adapted policies.

    minimize   L(theta) = - mean_i mean_t  pi_phi_i(a | x) / pi_old_i(a | x) * A          phi_i = adapted(theta)
    subject to            mean_i mean_t  KL(pi_old_i || pi_phi_i)  <=  delta

along the natural gradient F^-1 grad L, where F is the Hessian of the mean KL. The KL has its minimum, 0, where old and new
policies agree, so there its derivative with respect to the policy's outputs vanishes, and its Hessian reduces to J^T M J:
J is the Jacobian of the outputs with respect to theta, M the Fisher matrix of the Gaussian. So two derivatives suffice,
one in the inner step and one here, where the paper uses finite differences "to avoid computing third derivatives".
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..maml import stack
from ..networks import Weights
from ..second_order import conjugate_gradients
from .policy import Policy, divergence
from .reinforce import Batch, policy_step


@dataclass(frozen=True)
class Settings:
    """Settings of the meta-optimizer; the defaults, except thin, are the authors' (rllab's).

    delta: maximum mean KL of a step; solves: iterations of conjugate gradients; damping: added to F's diagonal;
    backtracks, shrink: maximum number of tries in the line search, each shorter by this factor; thin: F is computed from
    every thin-th step of the trajectories (theirs: from all), since its products are most of the work
    """

    delta: float = 0.01
    solves: int = 10
    damping: float = 1e-5
    backtracks: int = 15
    shrink: float = 0.8
    thin: int = 5


@dataclass(frozen=True)
class Report:
    """The outcome of a step: the surrogate before and after, the mean KL, and the number of tries (0: none accepted)."""

    before: float
    after: float
    kl: float
    tries: int


class Objective:
    """The objective of one meta-iteration as a function of theta: surrogate, KL and the product F v.

    inner: the batches of the inner steps, in order (empty in pretraining, where theta itself acts); outer: the batch
    sampled by the adapted policies.
    """

    def __init__(
        self, policy: Policy, theta: Weights, inner: Sequence[Batch], outer: Batch, alpha: float,
        first_order: bool = False,
    ) -> None:  # fmt: skip
        self.policy, self.theta, self.inner, self.outer = policy, theta, inner, outer
        self.alpha, self.first_order = alpha, first_order
        with torch.no_grad():
            self.old = self.outputs(theta)
            self.old_minus_log = policy.loss(self.old, outer.actions)

    def thin(self, every: int) -> "Objective":
        """The same on every `every`-th step, for the Fisher matrix, which may be approximate."""
        inner = [batch.thin(every) for batch in self.inner]
        return Objective(self.policy, self.theta, inner, self.outer.thin(every), self.alpha, self.first_order)

    def outputs(self, theta: Weights) -> Tensor:
        """The adapted policies' outputs at the outer batch's positions: [T, P, 4]."""
        phi = stack(self.policy, theta, len(self.outer.x))
        for batch in self.inner:
            phi = policy_step(self.policy, phi, batch, self.alpha, self.first_order)
        return self.policy.forward(phi, self.outer.x)

    def mean(self, of_steps: Tensor) -> Tensor:
        """[T, P] -> the mean over a task's steps, then over tasks."""
        return (self.outer.weight * of_steps).sum(-1).mean()

    def surrogate(self, outputs: Tensor) -> Tensor:
        """L from the policies' outputs, with importance ratios."""
        ratio = (self.old_minus_log - self.policy.loss(outputs, self.outer.actions)).exp()
        return -self.mean(ratio * self.outer.advantage)

    def kl(self, outputs: Tensor) -> Tensor:
        """The mean KL from the policies that sampled the outer batch."""
        return self.mean(divergence(self.old, outputs))

    def gradient(self) -> tuple[Weights, Tensor]:
        """The meta-gradient, grad L at theta through the inner steps, and L itself."""
        return torch.func.grad_and_value(lambda theta: self.surrogate(self.outputs(theta)))(self.theta)

    def fisher(self) -> Callable[[Weights], Weights]:
        """The product v -> F v at theta, F = J^T M J."""
        outputs, vjp = torch.func.vjp(self.outputs, self.theta)
        # u -> J^T u is linear, and its transpose is v -> J v: both directions from one graph.
        _, jvp = torch.func.vjp(lambda u: vjp(u)[0], torch.zeros_like(outputs))
        precision = (-2 * self.old.chunk(2, -1)[1]).exp()
        m = torch.cat([precision, torch.full_like(precision, 2)], -1) * (self.outer.weight / len(self.old))[..., None]

        def product(v: Weights) -> Weights:
            return vjp(m * jvp(v)[0])[0]

        return product


def trpo_step(objective: Objective, settings: Settings = Settings()) -> tuple[Weights, Report]:
    """A new theta that lowers the surrogate within the trust region, or the old one if no try succeeds."""
    gradient, before = objective.gradient()
    fisher = objective.thin(settings.thin).fisher()

    def damped(v: Weights) -> Weights:
        """(F + damping I) v, with the leading task axis that `conjugate_gradients` expects; here it has length 1."""
        image = fisher({name: w[0] for name, w in v.items()})
        return {name: image[name][None] + settings.damping * w for name, w in v.items()}

    solved = conjugate_gradients(damped, {name: g[None] for name, g in gradient.items()}, settings.solves)
    image = damped(solved)
    curvature = sum((w * image[name]).sum() for name, w in solved.items())
    if not curvature > 0:
        return objective.theta, Report(before.item(), before.item(), 0.0, 0)
    length = (2 * settings.delta / curvature) ** 0.5
    for tries in range(settings.backtracks):
        size = length * settings.shrink**tries
        theta = {name: w - size * solved[name][0] for name, w in objective.theta.items()}
        with torch.no_grad():
            outputs = objective.outputs(theta)
            after, kl = objective.surrogate(outputs).item(), objective.kl(outputs).item()
        if after < before and kl <= settings.delta:
            return theta, Report(before.item(), after, kl, tries + 1)
    return objective.theta, Report(before.item(), before.item(), 0.0, 0)
