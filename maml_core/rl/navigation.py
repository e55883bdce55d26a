"""2-D navigation (section 5.3): a point robot must find a goal that it knows only through its rewards.

All robots of all tasks move in parallel: T tasks, B trajectories each, H steps. The policy's noise is passed in, so that
two policies can be compared on the same noise.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ..networks import Weights
from ..util.checks import at_least, one_of
from .policy import Policy

HORIZON = 100
MAX_VELOCITY = 0.1  # per step and axis; that of an action of 1, as in rllab's normalized environment
GOAL_RADIUS = 0.01
REWARDS = ("squared distance", "distance")  # minus that to the goal: the paper's text, and its code
SIDE = 0.5  # half the side of the unit square of goals, centred at the origin, where the robot starts


@dataclass(frozen=True)
class Trajectories:
    """B trajectories of H steps in each of T tasks.

    positions: [T, B, H, 2]   observed by the policy
    actions:   [T, B, H, 2]   sampled from it, in units of MAX_VELOCITY and before clipping
    rewards:   [T, B, H]      0 after the end
    alive:     [T, B, H]      1 up to and including the step that reaches the goal, 0 after it
    ends:      [T, B, 2]      final positions
    """

    positions: Tensor
    actions: Tensor
    rewards: Tensor
    alive: Tensor
    ends: Tensor

    def returns(self) -> Tensor:
        """The undiscounted sum of each trajectory's rewards: [T, B]."""
        return self.rewards.sum(-1)


def draw_goals(tasks: int, generator: torch.Generator) -> Tensor:
    """Goals [T, 2], uniform in the unit square."""
    at_least(1, tasks=tasks)
    return SIDE * (2 * torch.rand((tasks, 2), generator=generator, device=generator.device) - 1)


def draw_noise(tasks: int, trajectories: int, generator: torch.Generator, horizon: int = HORIZON) -> Tensor:
    """Standard normal noise [T, B, H, 2], the only randomness in the trajectories."""
    at_least(1, tasks=tasks, trajectories=trajectories, horizon=horizon)
    return torch.randn((tasks, trajectories, horizon, 2), generator=generator, device=generator.device)


@torch.no_grad()
def roll_out(
    policy: Policy, weights: Weights, goals: Tensor, noise: Tensor, reward: str = "squared distance"
) -> Trajectories:
    """Roll out every task's policy: weights shared or [T, ...], goals [T, 2], noise [T, B, H, 2].

    The reward is minus the squared distance to the goal after the step, or minus the distance (`REWARDS`). Once within
    GOAL_RADIUS of the goal, a robot stops.
    """
    return with_goals(*wander(policy, weights, noise), goals, reward)


@torch.no_grad()
def wander(policy: Policy, weights: Weights, noise: Tensor) -> tuple[Tensor, Tensor]:
    """Positions [T, B, H + 1, 2] and actions [T, B, H, 2] without a goal, which the policy does not see anyway."""
    positions, actions = [torch.zeros_like(noise[:, :, 0])], []
    deviations = weights["log_std"].exp()[..., None, None, :] * noise  # for all steps at once, since each is small
    for deviation in deviations.unbind(2):
        actions.append(policy.mean(weights, positions[-1]) + deviation)
        positions.append(positions[-1] + (MAX_VELOCITY * actions[-1]).clamp(-MAX_VELOCITY, MAX_VELOCITY))
    return torch.stack(positions, 2), torch.stack(actions, 2)


def with_goals(positions: Tensor, actions: Tensor, goals: Tensor, reward: str = "squared distance") -> Trajectories:
    """What robots that wander so do with goals [T, 2]: the rewards that they see, and where they stop.

    Their actions after that, which nothing uses, are those of a robot that goes on.
    """
    squared = (positions[:, :, 1:] - goals[:, None, None]).square().sum(-1)
    going_on = (squared >= GOAL_RADIUS**2).to(squared).cumprod(-1)
    alive = torch.cat([torch.ones_like(going_on[..., :1]), going_on[..., :-1]], -1)
    last = alive.sum(-1, keepdim=True).long()  # the index of a robot's last position
    steps = torch.arange(positions.shape[2], device=last.device).minimum(last)
    places = positions.gather(2, steps[..., None].expand_as(positions))
    return Trajectories(places[:, :, :-1], actions, rewards_at(squared, reward) * alive, alive, places[:, :, -1])


def rewards_at(squared: Tensor, reward: str) -> Tensor:
    """The rewards at these squared distances from the goal; reward: one of REWARDS."""
    one_of(REWARDS, reward=reward)
    return -(squared if reward == "squared distance" else squared.sqrt())


def final_distances(trajectories: Trajectories, goals: Tensor) -> Tensor:
    """The robots' final distances from the goal: [T, B]."""
    return (trajectories.ends - goals[:, None]).norm(dim=-1)


def best_returns(goals: Tensor, horizon: int = HORIZON, reward: str = "squared distance") -> Tensor:
    """The return of a robot that knows the goal and moves there at full speed, [T, 2] -> [T]."""
    covered = MAX_VELOCITY * torch.arange(1, horizon + 1, device=goals.device)
    remaining = (goals.abs()[:, None] - covered[:, None]).clamp(min=0)
    return rewards_at((remaining**2).sum(-1), reward).sum(-1)
