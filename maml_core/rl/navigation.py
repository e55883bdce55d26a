"""2-D navigation (section 5.3): a point robot that has to find a goal, and is told nothing but its rewards.

All robots of all tasks move at once: T tasks, B trajectories each, H steps. The policy's noise is passed in,
so that two policies can be compared on the same noise.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ..networks import Network, Weights
from ..util.checks import at_least
from .policy import draw

HORIZON = 100
FASTEST = 0.1  # the longest step along an axis; an action of 1 asks for it, as in rllab's normalized environment
NEAR = 0.01
SIDE = 0.5  # goals are in the unit square around the origin, where the robot starts


@dataclass(frozen=True)
class Trajectories:
    """What B robots of each of T tasks did in H steps.

    positions: [T, B, H, 2]   what the policy saw
    actions:   [T, B, H, 2]   what it drew, in units of FASTEST and before clipping
    rewards:   [T, B, H]      0 after the end
    alive:     [T, B, H]      1 up to the step that reaches the goal, 0 after it
    ends:      [T, B, 2]      where the robots end up
    """

    positions: Tensor
    actions: Tensor
    rewards: Tensor
    alive: Tensor
    ends: Tensor

    def returns(self) -> Tensor:
        """The sum of rewards of every trajectory, not discounted: [T, B]."""
        return self.rewards.sum(-1)


def draw_goals(tasks: int, generator: torch.Generator) -> Tensor:
    """Goals [T, 2], uniform in the unit square."""
    at_least(1, tasks=tasks)
    return SIDE * (2 * torch.rand((tasks, 2), generator=generator, device=generator.device) - 1)


def draw_noise(tasks: int, trajectories: int, generator: torch.Generator, horizon: int = HORIZON) -> Tensor:
    """Standard normal numbers [T, B, H, 2], all the randomness of these trajectories."""
    at_least(1, tasks=tasks, trajectories=trajectories, horizon=horizon)
    return torch.randn((tasks, trajectories, horizon, 2), generator=generator, device=generator.device)


@torch.no_grad()
def roll_out(policy: Network, weights: Weights, goals: Tensor, noise: Tensor) -> Trajectories:
    """Let every task's policy act: weights shared or [T, ...], goals [T, 2], noise [T, B, H, 2].

    The reward is minus the squared distance to the goal after the step. A robot that is within NEAR of it stays there.
    """
    position = torch.zeros_like(noise[:, :, 0])
    alive = torch.ones_like(noise[:, :, 0, :1])
    goals, seen = goals[:, None], []
    for drawn in noise.unbind(2):
        action = draw(policy.forward(weights, position), drawn)
        moved = position + alive * (FASTEST * action).clamp(-FASTEST, FASTEST)
        squared = (moved - goals).square().sum(-1, keepdim=True)
        seen.append((position, action, -squared * alive, alive))
        position, alive = moved, alive * (squared >= NEAR**2)
    positions, actions, rewards, lived = (torch.stack(parts, 2) for parts in zip(*seen))
    return Trajectories(positions, actions, rewards.squeeze(-1), lived.squeeze(-1), position)


def final_distances(trajectories: Trajectories, goals: Tensor) -> Tensor:
    """How far from the goal the robots end up: [T, B]."""
    return (trajectories.ends - goals[:, None]).norm(dim=-1)


def best_returns(goals: Tensor, horizon: int = HORIZON) -> Tensor:
    """The return of a robot that is told the goal and goes there by the longest steps, [T, 2] -> [T]."""
    gone = FASTEST * torch.arange(1, horizon + 1, device=goals.device)
    left = (goals.abs()[:, None] - gone[:, None]).clamp(min=0)
    return -(left**2).sum((1, 2))
