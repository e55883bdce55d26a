"""Advantages: how much an action's return exceeds the prediction of a linear baseline (Duan et al. 2016).

The baseline is a ridge regression of returns on features of position and time, fitted to each task.
"""

import torch
from torch import Tensor

from .navigation import Trajectories

DISCOUNT = 0.99
RIDGE = 1e-5


def discounted_returns(rewards: Tensor, discount: float = DISCOUNT) -> Tensor:
    """The return from each step t on: rewards [..., H] -> sum over k of discount^k r_{t+k}, [..., H]."""
    total, returns = torch.zeros_like(rewards[..., 0]), []
    for reward in rewards.flip(-1).unbind(-1):
        total = reward + discount * total
        returns.append(total)
    return torch.stack(returns[::-1], -1)


def features(trajectories: Trajectories) -> Tensor:
    """Position and its square, powers of time (in units of 100 steps), and 1: [T, B, H, 8]; 0 after the end."""
    x = trajectories.positions.clamp(-10, 10)
    time = torch.arange(x.shape[2], device=x.device, dtype=x.dtype).div(100).expand(x.shape[:3])[..., None]
    return torch.cat([x, x**2, time, time**2, time**3, torch.ones_like(time)], -1) * trajectories.alive[..., None]


def fit_baseline(inputs: Tensor, returns: Tensor) -> Tensor:
    """Each task's ridge regression: inputs [T, P, F] and returns [T, P] -> coefficients [T, F], computed in float64."""
    a, y = inputs.double(), returns.double()[..., None]
    gram = a.mT @ a + RIDGE * torch.eye(a.shape[-1], dtype=a.dtype, device=a.device)
    return torch.linalg.solve(gram, a.mT @ y).squeeze(-1).to(inputs.dtype)


def advantages(trajectories: Trajectories, discount: float = DISCOUNT) -> Tensor:
    """Returns minus the baseline, with mean 0 and standard deviation 1 over a task's steps: [T, B, H], 0 after the end."""
    returns = discounted_returns(trajectories.rewards, discount)
    inputs = features(trajectories)
    expected = (inputs @ fit_baseline(inputs.flatten(1, 2), returns.flatten(1))[:, None, :, None]).squeeze(-1)
    alive = trajectories.alive
    residual = (returns - expected) * alive
    steps = alive.sum((1, 2), keepdim=True)
    centred = (residual - residual.sum((1, 2), keepdim=True) / steps) * alive
    return centred / ((centred**2).sum((1, 2), keepdim=True) / steps).sqrt().add(1e-8)
