"""maml_core on the paper's conv net as an ordinary module, which `Network.from_module` runs over the task axis."""

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maml_core.episodes import Episodes
from maml_core.networks import Network, Weights

from ..workloads import Workload
from .ours import Ours
from .torch_loop import from_torch, to_torch

# The compiled side takes minutes to compile, so it is timed on one workload.
WORKLOADS = ("O",)


class ConvNet(nn.Module):
    """Four blocks of convolution, batch norm and ReLU: x [B, 1, 28, 28] -> logits [B, N]."""

    def __init__(self, ways: int, filters: int = 64) -> None:
        super().__init__()
        channels = (1, filters, filters, filters)
        self.convolutions = nn.ModuleList(nn.Conv2d(before, filters, 3, stride=2, bias=False) for before in channels)
        self.betas = nn.ParameterList(torch.zeros(filters) for _ in channels)
        self.head = nn.Linear(filters, ways)

    def forward(self, x: Tensor) -> Tensor:
        # TensorFlow's SAME padding at stride 2 for sizes 28, 14, 7 and 4.
        for convolution, beta, (before, after) in zip(self.convolutions, self.betas, [(0, 1), (0, 1), (1, 1), (0, 1)]):
            x = convolution(F.pad(x, (before, after, before, after)))
            x = F.relu(F.batch_norm(x, None, None, bias=beta, training=True, eps=1e-3))
        return self.head(x.mean((2, 3)))


# The module's name of each of maml_core's weights.
NAMES = {f"conv{i + 1}": f"convolutions.{i}.weight" for i in range(4)} | {f"beta{i + 1}": f"betas.{i}" for i in range(4)}
NAMES |= {"w5": "head.weight", "b5": "head.bias"}


def to_module(theta: Weights) -> Weights:
    """maml_core's names and layout -> the module's."""
    return {NAMES[name]: to_torch(name, w) for name, w in theta.items()}


class AnyModule(Ours):
    """`Ours`, whose network is made from the module."""

    def __init__(self, workload: Workload, engine: str) -> None:
        ways = workload.learner.network.ways
        network = Network.from_module(ConvNet(ways), nn.CrossEntropyLoss(), ways, frozen=["betas"])
        super().__init__(replace(workload, theta=to_module(workload.theta)), engine, network=network)
        self.name = f"maml_core module {engine}"

    def gradient(self, theta: Weights, episodes: Episodes) -> dict[str, Tensor]:
        gradient = super().gradient(to_module(theta), episodes)
        return {name: from_torch(name, gradient[NAMES[name]]) for name in theta}


def variants(workload: Workload) -> list[AnyModule]:
    """Eagerly and compiled."""
    return [AnyModule(workload, engine) for engine in ("compiled", "eager")] if workload.name in WORKLOADS else []
