"""Is a side's gradient right? No side is timed before this is known.

Float32 alone cannot tell, and bfloat16 still less: a single ReLU that rounding puts on the other side of its corner moves
a task's gradient by a percent or more, in the plain loop too. So sides are compared in float64, where every side comes
within 1e-12; and in float32 on *calm* tasks, whose gradient stays the same when theta is shaken by as much as float32
rounds.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from maml_core.episodes import Episodes
from maml_core.networks import Weights

from .sides import Side
from .workloads import Workload, reference_gradient

SHAKE = 1e-6
FLOAT64_LIMIT = 1e-6
# What a ReLU at its corner may still do to the sum over calm tasks. Mistakes known so far moved it by 7e-2 and more.
FLIP = 5e-3


@dataclass(frozen=True)
class Errors:
    """||g - g_ref|| / ||g_ref|| over all weights together, against the plain loop in float64.

    float32:  of the side as it is timed; `limit` is what float32 explains (infinite for a side that rounds to bfloat16,
              whose float64 is the check)
    float64:  of the same side in float64, None where that was not asked for
    cosine, norm_ratio:  of the side's gradient as it is timed with the reference
    """

    float32: float
    limit: float
    float64: float | None = None
    cosine: float | None = None
    norm_ratio: float | None = None

    @property
    def wrong(self) -> bool:
        # Written so that a nan is wrong as well.
        right = self.float32 <= self.limit and (self.float64 is None or self.float64 <= FLOAT64_LIMIT)
        return not right


def relative_error(gradient: Weights, truth: Weights) -> float:
    """||gradient - truth|| / ||truth||; infinite where a weight is missing or has another shape."""
    if {name: w.shape for name, w in gradient.items()} != {name: w.shape for name, w in truth.items()}:
        return float("inf")
    difference = sum(((gradient[name].double() - w) ** 2).sum() for name, w in truth.items())
    return torch.sqrt(difference / sum((w**2).sum() for w in truth.values())).item()


def cosine_and_norm_ratio(gradient: Weights, truth: Weights) -> tuple[float, float]:
    """How far two gradients point the same way, and ||gradient|| / ||truth||."""
    ours, theirs = (torch.cat([w[name].double().flatten().cpu() for name in truth]) for w in (gradient, truth))
    return torch.cosine_similarity(ours, theirs, dim=0).item(), (ours.norm() / theirs.norm()).item()


class GradientCheck:
    """The plain loop's float64 gradient on a workload's calm tasks, and the judgement over sides."""

    def __init__(self, workload: Workload) -> None:
        self.workload = workload
        self.theta64 = {name: w.double() for name, w in workload.theta.items()}
        self.episodes = calm_episodes(workload, self.theta64)
        self.episodes64 = self.episodes.to(dtype=torch.float64)
        self.truth = reference_gradient(workload, self.theta64, self.episodes64)
        plain = relative_error(reference_gradient(workload, workload.theta, self.episodes), self.truth)
        self.limit = 10 * plain + FLIP

    def errors(self, side: Side, in_float64: bool = True) -> Errors:
        """A side's errors."""
        gradient = side.gradient(self.workload.theta, self.episodes)
        float32 = relative_error(gradient, self.truth)
        limit = self.limit if side.precision == "float32" else float("inf")
        float64 = relative_error(side.gradient(self.theta64, self.episodes64), self.truth) if in_float64 else None
        return Errors(float32, limit, float64, *cosine_and_norm_ratio(gradient, self.truth))


def calm_episodes(workload: Workload, theta64: dict[str, Tensor]) -> Episodes:
    """The calmest quarter of the workload's tasks, over and over until there are as many as before."""
    episodes = workload.episodes.to(dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    shaken = [
        {name: w * (1 + SHAKE * torch.randn(w.shape, generator=generator).to(w)) for name, w in theta64.items()}
        for _ in range(2)
    ]
    unrest = []
    for i in range(len(episodes)):
        task = episodes[i : i + 1]
        truth = reference_gradient(workload, theta64, task)
        unrest.append(max(relative_error(reference_gradient(workload, theta, task), truth) for theta in shaken))
    calm = torch.tensor(unrest).argsort()[: max(1, len(episodes) // 4)]
    index = calm.repeat(len(episodes))[: len(episodes)].to(workload.device)
    return Episodes(*(x[index] for x in workload.episodes.tensors()))
