"""The oracle for module networks, one task after another with torch's autograd, and small modules to try it on.

Nothing here comes from maml_core but `Episodes`, the container of a meta-batch.
"""

import copy
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel

from maml_core.episodes import Episodes

Weights = dict[str, Tensor]
Loss = Callable[[Tensor, Tensor], Tensor]  # (outputs [B, ...], y [B, ...]) -> the mean over points, as torch defines it


def loop_over_tasks(
    module: nn.Module,
    loss: Loss,
    episodes: Episodes,
    alpha: float,
    steps: int,
    frozen: tuple[str, ...] = (),
    first_order: bool = False,
) -> tuple[Weights, Tensor]:
    """The gradient of the sum over tasks of the query loss after `steps` inner steps, and the losses [T]."""
    module = copy.deepcopy(module).train()
    theta = {name: w for name, w in module.named_parameters() if w.requires_grad}
    names, losses = [name for name in theta if name not in frozen], []
    with sdpa_kernel(SDPBackend.MATH):
        for task in episodes:
            phi = dict(theta)
            for _ in range(steps):
                value = loss(functional_call(module, phi, (task.support_x,)), task.support_y)
                inputs = [phi[name] for name in names]
                gradient = torch.autograd.grad(value, inputs, create_graph=not first_order, materialize_grads=True)
                phi |= {name: phi[name] - alpha * g for name, g in zip(names, gradient)}
            losses.append(loss(functional_call(module, phi, (task.query_x,)), task.query_y))
        total = torch.autograd.grad(torch.stack(losses).sum(), list(theta.values()), materialize_grads=True)
    return dict(zip(theta, total)), torch.stack(losses).detach()


def relative_error(ours: Weights, theirs: Weights) -> float:
    """|ours - theirs| / |theirs|, over all weights together."""
    assert ours.keys() == theirs.keys()
    flat = [torch.cat([g[name].flatten() for name in theirs]) for g in (ours, theirs)]
    assert flat[1].norm() > 0
    return ((flat[0] - flat[1]).norm() / flat[1].norm()).item()


def classes(shape: tuple[int, ...], tasks: int = 3, points: int = 4, ways: int = 2, seed: int = 0) -> Episodes:
    """Random points [T, B, *shape] in float64, with labels."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(2, tasks, points, *shape, generator=generator, dtype=torch.float64)
    y = torch.randint(ways, (2, tasks, points), generator=generator)
    return Episodes(x[0], y[0], x[1], y[1])


class Tasks:
    """Like `classes`, as a task distribution with two classes and four points."""

    def __init__(self, shape: tuple[int, ...] = (3,), dtype: torch.dtype = torch.float64) -> None:
        self.shape, self.dtype = shape, dtype

    def sample(self, tasks: int, generator: torch.Generator) -> Episodes:
        x = torch.randn(2, tasks, 4, *self.shape, generator=generator, dtype=torch.float64).to(self.dtype)
        y = torch.randint(2, (2, tasks, 4), generator=generator)
        return Episodes(x[0], y[0], x[1], y[1])


def seeded_module(build: Callable[[], nn.Module], seed: int = 0) -> nn.Module:
    """A module in float64 whose weights are random, also those that torch starts at 0 or 1."""
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed)
        module = build().double()
        for w in module.parameters():
            w.add_(0.1 * torch.randn_like(w))
    return module


def mlp(inputs: int = 3, outputs: int = 2) -> nn.Module:
    return nn.Sequential(nn.Linear(inputs, 5), nn.Tanh(), nn.Linear(5, outputs))


class ConvNet(nn.Module):
    """One strided convolution, batch norm and a linear head: x [B, 1, 6, 6] -> [B, 2]."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 3, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(3)
        self.drop, self.head = nn.Dropout(dropout), nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.drop(F.relu(self.norm(self.conv(x))).mean((2, 3))))
