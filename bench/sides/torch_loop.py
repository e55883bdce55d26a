"""What the other PyTorch libraries share: an ordinary module, a loop over tasks, and torch's Adam.

They adapt *all* parameters of a module. MAML's batch norm shifts are meta-learned but not adapted, so they are kept out of
the module's parameters, in a plain dictionary, and passed to the outer Adam separately.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maml_core.episodes import Episodes
from maml_core.networks import Weights
from maml_core.util import seeded_generator

from ..workloads import Workload, tasks_at_a_time


def to_torch(name: str, w: Tensor) -> Tensor:
    """maml_core's layout -> torch's: [3, 3, in, out] -> [out, in, 3, 3], and [in, out] -> [out, in]."""
    if name.startswith("conv"):
        return w.permute(3, 2, 0, 1).contiguous()
    return w.T.contiguous() if name.startswith("w") else w.clone()


def from_torch(name: str, w: Tensor) -> Tensor:
    """torch's layout -> maml_core's."""
    if name.startswith("conv"):
        return w.permute(2, 3, 1, 0)
    return w.T if name.startswith("w") else w


class SinusoidModule(nn.Module):
    """1-40-40-1 with ReLU: x [B, 1] -> [B]."""

    w1: Tensor
    b1: Tensor
    w2: Tensor
    b2: Tensor
    w3: Tensor
    b3: Tensor

    def __init__(self, theta: Weights, frozen: dict[str, Tensor]) -> None:
        super().__init__()
        for name, w in theta.items():
            self.register_parameter(name, nn.Parameter(w))
        self.frozen = frozen

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu(F.linear(x, self.w1, self.b1))
        h = F.relu(F.linear(h, self.w2, self.b2))
        return F.linear(h, self.w3, self.b3).squeeze(1)


class ConvModule(SinusoidModule):
    """Four blocks of convolution, batch norm and ReLU: x [B, 1, 28, 28] -> logits [B, N]."""

    w5: Tensor
    b5: Tensor

    def forward(self, x: Tensor) -> Tensor:
        # TensorFlow's SAME padding at stride 2 for sizes 28, 14, 7 and 4.
        for i, (before, after) in enumerate([(0, 1), (0, 1), (1, 1), (0, 1)], 1):
            x = F.conv2d(F.pad(x, (before, after, before, after)), getattr(self, f"conv{i}"), stride=2)
            x = F.relu(F.batch_norm(x, None, None, bias=self.frozen[f"beta{i}"], training=True, eps=1e-3))
        return F.linear(x.mean((2, 3)), self.w5, self.b5)


class TorchLoop(ABC):
    """A PyTorch library; a subclass defines in `accumulate` how it adapts the module task by task."""

    name: str
    steps_per_call, compiles, precision, detail = 1, False, "float32", tasks_at_a_time(1)

    def __init__(self, workload: Workload) -> None:
        self.workload, self.learner = workload, workload.learner

    @abstractmethod
    def accumulate(self, model: Any, episodes: Episodes) -> None:
        """Add the meta-gradient to the `.grad` of the module's parameters and of its frozen tensors."""

    def prepare(self, module: nn.Module) -> Any:
        """The argument of `accumulate`: the module, or the library's wrapper around it, which is built once."""
        return module

    def build(self, theta: Weights) -> tuple[nn.Module, dict[str, Tensor]]:
        """The module, and a dictionary of all meta-learned tensors by name."""
        theta = {name: to_torch(name, w).requires_grad_() for name, w in theta.items()}
        frozen = {name: w for name, w in theta.items() if name in self.learner.network.frozen}
        kind = SinusoidModule if self.workload.is_regression else ConvModule
        module = kind({name: w for name, w in theta.items() if name not in frozen}, frozen)
        return module, dict(module.named_parameters()) | frozen

    def inner_loss(self, output: Tensor, y: Tensor) -> Tensor:
        """L_i on one task's support points: outputs [B] or [B, N], y [B]."""
        scale = self.learner.network.ways if self.learner.inner_loss == "sum" else 1
        return scale * self.outer_loss(output, y)

    def outer_loss(self, output: Tensor, y: Tensor) -> Tensor:
        """The mean over one task's query points."""
        return F.mse_loss(output, y) if self.workload.is_regression else F.cross_entropy(output, y)

    def gradient(self, theta: Weights, episodes: Episodes) -> dict[str, Tensor]:
        """The meta-gradient in maml_core's layout."""
        module, tensors = self.build(theta)
        self.accumulate(self.prepare(module), episodes)
        found = {name: tensors[name].grad for name in theta}
        return {name: from_torch(name, gradient) for name, gradient in found.items() if gradient is not None}

    def start(self) -> Callable[[], None]:
        """Start training; each call runs one meta-step and returns when it is done."""
        workload = self.workload
        module, tensors = self.build(workload.theta)
        model = self.prepare(module)
        adam = torch.optim.Adam(tensors.values(), lr=workload.recipe.meta_learning_rate)
        generator = seeded_generator(1, workload.device)

        def meta_step() -> None:
            episodes = workload.tasks.sample(workload.recipe.meta_batch, generator)
            adam.zero_grad()
            self.accumulate(model, episodes)
            adam.step()
            if workload.device.type == "cuda":
                torch.cuda.synchronize()

        return meta_step
