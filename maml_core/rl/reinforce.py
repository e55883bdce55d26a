"""The inner step of Algorithm 3: REINFORCE on a task's own trajectories, for all tasks at once.

    L_i(theta) = - mean over steps t of  log pi_theta(a_t | x_t) A_t            (equation 4, with a baseline)

Its gradient is the policy gradient. Positions, actions and advantages are constants: only the log-likelihood is
differentiated, even when the meta-gradient differentiates through this step.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from ..maml import own_gradients
from ..networks import Weights
from .baseline import advantages
from .navigation import Trajectories, roll_out
from .policy import Policy


@dataclass(frozen=True)
class Batch:
    """The P = B*H steps of each task to learn from; those after a trajectory's end have weight 0.

    x:         [T, P, 2]   positions
    actions:   [T, P, 2]
    advantage: [T, P]
    weight:    [T, P]      1 / (a task's steps), so that a weighted sum is the task's mean
    """

    x: Tensor
    actions: Tensor
    advantage: Tensor
    weight: Tensor

    def thin(self, every: int) -> "Batch":
        """Keep every `every`-th step only, with weights that again sum to 1."""
        weight = self.weight[:, ::every]
        x, actions, advantage = (t[:, ::every].contiguous() for t in (self.x, self.actions, self.advantage))
        return Batch(x, actions, advantage, weight / weight.sum(1, keepdim=True))


def as_batch(trajectories: Trajectories) -> Batch:
    """Flatten trajectories into steps, with their advantages."""
    steps = (trajectories.positions, trajectories.actions, advantages(trajectories))
    x, actions, advantage = (t.flatten(1, 2) for t in steps)
    alive = trajectories.alive.flatten(1)
    return Batch(x, actions, advantage, alive / alive.sum(1, keepdim=True))


def policy_loss(policy: Policy, weights: Weights, batch: Batch) -> Tensor:
    """L_i of each task: [T]."""
    minus_log = policy.loss(policy.forward(weights, batch.x), batch.actions)
    return (batch.weight * minus_log * batch.advantage).sum(-1)


def policy_step(policy: Policy, phi: Weights, batch: Batch, alpha: float, first_order: bool = False) -> Weights:
    """phi [T, ...] -> phi - alpha * (each task's own policy gradient)."""
    gradient = own_gradients(policy, lambda weights: policy_loss(policy, weights, batch), phi, first_order)
    return {name: w - alpha * gradient[name] if name in gradient else w for name, w in phi.items()}


def adapt(
    policy: Policy,
    phi: Weights,
    goals: Tensor,
    noises: Sequence[Tensor],
    alphas: Sequence[float],
    reward: str = "squared distance",
) -> tuple[list[Trajectories], Weights]:
    """Alternate rollouts and inner steps (lines 5 to 8): the trajectories before and after each step, and the last phi.

    noises: [T, B, H, 2] each, one more than there are steps; alphas: the size of each step; reward: as in `roll_out`.
    """
    seen = [roll_out(policy, phi, goals, noises[0], reward)]
    for noise, alpha in zip(noises[1:], alphas, strict=True):
        phi = policy_step(policy, phi, as_batch(seen[-1]), alpha)
        seen.append(roll_out(policy, phi, goals, noise, reward))
    return seen, phi
