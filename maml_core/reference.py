"""Algorithm 1 in plain PyTorch: one task at a time, in a `for` loop.

Written to be read beside the paper, and to share nothing with `maml` but its results: the networks use PyTorch's own
convolution and batch norm on one task's points, and the gradients come from `autograd.grad`. The tests compare the fast
code with it.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from .episodes import Episodes
from .networks import Weights

Forward = Callable[[Weights, Tensor], Tensor]
Loss = Callable[[Weights, Tensor, Tensor], Tensor]


def adapt(
    loss: Loss,
    theta: Weights,
    x: Tensor,
    y: Tensor,
    alpha: float,
    steps: int = 1,
    frozen: frozenset[str] = frozenset(),
    first_order: bool = False,
) -> Weights:
    """The inner step of section 2.2, `steps` times, for one task: theta -> phi; no task axis anywhere.

    x [N*K, ...], y [N*K]. theta must require gradients; those named in `frozen` are used but not adapted.
    """
    phi = theta
    for _ in range(steps):
        names = [name for name in phi if name not in frozen]
        gradient = torch.autograd.grad(loss(phi, x, y), [phi[name] for name in names], create_graph=not first_order)
        phi = phi | {name: phi[name] - alpha * g for name, g in zip(names, gradient)}
    return phi


def meta_gradient(
    inner_loss: Loss,
    outer_loss: Loss,
    theta: Weights,
    episodes: Episodes,
    alpha: float,
    steps: int = 1,
    frozen: frozenset[str] = frozenset(),
    first_order: bool = False,
) -> Weights:
    """The gradient of (1/T) sum_i L_i(phi_i) with respect to theta: Algorithm 2, lines 4 to 10."""
    theta = {name: w.detach().requires_grad_() for name, w in theta.items()}
    meta_loss = torch.zeros(())
    for task in episodes:  # for all T_i
        phi = adapt(inner_loss, theta, task.support_x, task.support_y, alpha, steps, frozen, first_order)
        meta_loss = meta_loss + outer_loss(phi, task.query_x, task.query_y) / len(episodes)
    gradient = torch.autograd.grad(meta_loss, list(theta.values()))
    return dict(zip(theta, gradient))


def mean_squared_error(forward: Forward) -> Loss:
    """Equation 2, divided by the number of points."""
    return lambda weights, x, y: F.mse_loss(forward(weights, x), y)


def sum_over_shots(forward: Forward, ways: int) -> Loss:
    """Equation 3 as in the paper's code: cross-entropy summed over the N*K points and divided by K."""
    return lambda weights, x, y: F.cross_entropy(forward(weights, x), y, reduction="sum") / (len(y) / ways)


def mean_cross_entropy(forward: Forward) -> Loss:
    """Equation 3, divided by the number of points."""
    return lambda weights, x, y: F.cross_entropy(forward(weights, x), y)


def sinusoid_forward(weights: Weights, x: Tensor) -> Tensor:
    """1-40-40-1: x [B, 1] -> [B]."""
    h = F.relu(F.linear(x, weights["w1"].T, weights["b1"]))
    h = F.relu(F.linear(h, weights["w2"].T, weights["b2"]))
    return F.linear(h, weights["w3"].T, weights["b3"]).squeeze(1)


def conv_forward(weights: Weights, x: Tensor) -> Tensor:
    """Four blocks of convolution, batch norm, ReLU: x [B, 1, 28, 28] -> logits [B, N]."""
    # SAME at stride 2 for sides 28, 14, 7, 4: TensorFlow pads (0, 1), (0, 1), (1, 1), (0, 1).
    for i, (before, after) in enumerate([(0, 1), (0, 1), (1, 1), (0, 1)], 1):
        kernel = weights[f"conv{i}"].permute(3, 2, 0, 1)  # TensorFlow's [3, 3, in, out] -> PyTorch's
        x = F.conv2d(F.pad(x, (before, after, before, after)), kernel, stride=2)
        x = F.relu(F.batch_norm(x, None, None, bias=weights[f"beta{i}"], training=True, eps=1e-3))
    return F.linear(x.mean((2, 3)), weights["w5"].T, weights["b5"])


def mlp_forward(weights: Weights, x: Tensor) -> Tensor:
    """784-256-128-64-64-N with batch norm: x [B, 1, 28, 28] -> logits [B, N]."""
    x = x.flatten(1)
    for i in range(1, 5):
        x = F.linear(x, weights[f"w{i}"].T)
        x = F.relu(F.batch_norm(x, None, None, bias=weights[f"beta{i}"], training=True, eps=1e-3))
    return F.linear(x, weights["w5"].T, weights["b5"])
