"""Checks that a side's gradient is correct; no side is timed before it passes.

Float32 alone cannot tell, let alone bfloat16: a single ReLU input whose sign is flipped by rounding changes a task's
gradient by a percent or more, even in the plain loop. So sides are compared in float64, where all agree to within 1e-12,
and in float32 on *well-conditioned* tasks, whose gradient does not change when theta is perturbed by as much as float32
rounds.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from maml_core.episodes import Episodes
from maml_core.networks import Weights

from .sides import Side
from .workloads import Workload, reference_gradient

PERTURBATION = 1e-6
FLOAT64_LIMIT = 1e-6
# How much flipped ReLU inputs may still change the sum over well-conditioned tasks: 2e-2 in one library, on one processor,
# after the five steps of 20 ways. Known mistakes changed it by at least 7e-2.
FLIP = 3e-2


@dataclass(frozen=True)
class Errors:
    """||g - g_ref|| / ||g_ref|| over all weights together, against the plain loop in float64.

    float32:  of the side as it is timed; `limit` is the largest error that float32 can explain (infinite for a side that
              rounds to bfloat16, which is checked in float64)
    float64:  of the same side in float64, or None if that was not requested
    cosine, norm_ratio:  between the side's gradient, as it is timed, and the reference
    """

    float32: float
    limit: float
    float64: float | None = None
    cosine: float | None = None
    norm_ratio: float | None = None

    @property
    def wrong(self) -> bool:
        # Written so that NaN counts as wrong, too.
        right = self.float32 <= self.limit and (self.float64 is None or self.float64 <= FLOAT64_LIMIT)
        return not right


def relative_error(gradient: Weights, truth: Weights) -> float:
    """||gradient - truth|| / ||truth||; infinite if a weight is missing or has the wrong shape."""
    if {name: w.shape for name, w in gradient.items()} != {name: w.shape for name, w in truth.items()}:
        return float("inf")
    difference = sum(((gradient[name].double() - w) ** 2).sum().item() for name, w in truth.items())
    return math.sqrt(difference / sum((w**2).sum().item() for w in truth.values()))


def cosine_and_norm_ratio(gradient: Weights, truth: Weights) -> tuple[float, float]:
    """The cosine similarity of two gradients, and ||gradient|| / ||truth||."""
    ours, theirs = (torch.cat([w[name].double().flatten().cpu() for name in truth]) for w in (gradient, truth))
    return torch.cosine_similarity(ours, theirs, dim=0).item(), (ours.norm() / theirs.norm()).item()


class GradientCheck:
    """Compares sides with the plain loop's float64 gradient on a workload's well-conditioned tasks."""

    def __init__(self, workload: Workload) -> None:
        self.workload = workload
        self.theta64 = {name: w.double() for name, w in workload.theta.items()}
        self.episodes = well_conditioned_episodes(workload, self.theta64)
        self.episodes64 = self.episodes.to(dtype=torch.float64)
        self.truth = reference_gradient(workload, self.theta64, self.episodes64)
        plain = relative_error(reference_gradient(workload, workload.theta, self.episodes), self.truth)
        self.limit = 10 * plain + FLIP

    def errors(self, side: Side, in_float64: bool = True) -> Errors:
        """The errors of a side's gradient."""
        gradient = side.gradient(self.workload.theta, self.episodes)
        float32 = relative_error(gradient, self.truth)
        limit = self.limit if side.precision == "float32" else float("inf")
        float64 = relative_error(side.gradient(self.theta64, self.episodes64), self.truth) if in_float64 else None
        return Errors(float32, limit, float64, *cosine_and_norm_ratio(gradient, self.truth))


def well_conditioned_episodes(workload: Workload, theta64: dict[str, Tensor]) -> Episodes:
    """The quarter of the workload's tasks that is least sensitive to perturbations, repeated up to the original number."""
    episodes = workload.episodes.to(dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    perturbed = [
        {name: w * (1 + PERTURBATION * torch.randn(w.shape, generator=generator).to(w)) for name, w in theta64.items()}
        for _ in range(2)
    ]
    sensitivity = []
    for i in range(len(episodes)):
        task = episodes[i : i + 1]
        truth = reference_gradient(workload, theta64, task)
        sensitivity.append(max(relative_error(reference_gradient(workload, theta, task), truth) for theta in perturbed))
    least = torch.tensor(sensitivity).argsort()[: max(1, len(episodes) // 4)]
    index = least.repeat(len(episodes))[: len(episodes)].to(workload.device)
    return Episodes(*(x[index] for x in workload.episodes.tensors()))
