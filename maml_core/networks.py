"""The paper's three networks, as functions of (weights, x).

Weights are a dictionary of tensors. Each may be shared (`[in, out]`) or carry the task axis
(`[T, in, out]`), and one forward serves both: a matrix product broadcasts over leading dimensions, so with
the task axis in front, T small products become one batched GEMM and no line of the forward speaks of tasks.
The convolution joins in by im2col: cut out the 3x3 patches, then it is a matrix product as well.

Silent choices of the paper's code that live here (docs/choices.md has all of them):
  - TensorFlow's SAME padding: at stride 2 the odd row goes to the bottom and to the right;
  - batch norm always uses the batch's own mean and variance, at test too, with epsilon 1e-3;
  - it has a shift beta and no scale gamma; beta is meta-learned, but not adapted (`Network.frozen`);
  - the code adds a bias in front of each batch norm, which the mean takes out again: it stays 0, so it is left out.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

Weights = dict[str, Tensor]


@dataclass(frozen=True)
class Network:
    """A network as the inner loop sees it; your own needs the same four things.

    init:     generator -> weights, without the task axis
    forward:  (weights, x [T, B, ...]) -> outputs [T, B] or [T, B, N]
    loss:     (outputs, y [T, B]) -> the loss of each point [T, B]
    ways:     N, classes told apart (regression: 1)
    frozen:   weights that are meta-learned but not adapted in the inner loop
    """

    init: Callable[[torch.Generator], Weights]
    forward: Callable[[Weights, Tensor], Tensor]
    loss: Callable[[Tensor, Tensor], Tensor]
    ways: int = 1
    frozen: frozenset[str] = frozenset()


def cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """Equation 3 for each point: logits [..., B, N], labels y [..., B] -> [..., B]."""
    return -F.log_softmax(logits, -1).gather(-1, y[..., None]).squeeze(-1)


def squared_error(prediction: Tensor, y: Tensor) -> Tensor:
    """Equation 2 for each point: prediction and y [..., B] -> [..., B]."""
    return (prediction - y) ** 2


def product(x: Tensor, w: Tensor) -> Tensor:
    """x w in x's own precision: where `in_precision` rounds the factors to bfloat16, what comes out is float32 again."""
    return (x @ w).to(x.dtype)


def linear(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
    """x w + b: x [T, B, in], w [in, out] or [T, in, out], b [out] or [T, out] -> [T, B, out]."""
    return product(x, w) + b[..., None, :]


def batch_norm(z: Tensor, beta: Tensor, seen: int | None = None, epsilon: float = 1e-3) -> Tensor:
    """Normalize z [T, P, F] over its P points, task by task, and shift by beta [F].

    seen: mean and variance are those of the first so many points only; by default of all of them.

    Written out, since `F.batch_norm` knows no task axis, and so that one sees what is differentiated twice. The
    variance is taken about a constant s, E[(z - s)^2] - (E[z] - s)^2, which holds for every s; at s = E[z] nothing
    cancels. Its derivative needs the sums of d and of d*z in one sweep over the points, where that of
    E[(z - E[z])^2] needs one sweep after the other.
    """
    counted = z if seen is None else z[..., :seen, :]
    mean = mean_over_points(counted)
    constant = mean.detach()
    variance = mean_over_points((counted - constant) ** 2) - (mean - constant) ** 2
    return (z - mean) * torch.rsqrt(variance + epsilon) + beta[..., None, :]


def mean_over_points(z: Tensor) -> Tensor:
    """The mean of z [T, P, F] over its points, [T, 1, F], added up in rows and then over rows.

    A compiled sum adds one number after the other. Over a thousand points its rounding is enough to carry some units
    over the corner of their ReLU, and the float32 meta-gradient is four times as far off as with two short sums.
    """
    points = z.shape[-2]
    rows = max(n for n in range(1, math.isqrt(points) + 1) if points % n == 0)
    return (z * (1 / points)).unflatten(-2, (rows, points // rows)).sum(-3).sum(-2, keepdim=True)


def same_padding(size: int, kernel: int = 3, stride: int = 2) -> tuple[int, int]:
    """TensorFlow's SAME padding of one side: (before, after); what is odd goes after."""
    total = max((math.ceil(size / stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def patches(x: Tensor) -> Tensor:
    """im2col for a 3x3 kernel at stride 2: x [T, B, H, W, C] -> [T, B, H/2, W/2, 9*C] (halves rounded up).

    Rows and columns are parted into even and odd first. A window at stride 2 is then a plain slice of one part, and
    the way back, which adds nine windows into a picture, touches just those that reach a pixel.
    """
    height, width = x.shape[2:4]
    rows, columns = (height + 1) // 2, (width + 1) // 2
    top, left = same_padding(height)[0], same_padding(width)[0]
    x = F.pad(x, (0, 0, left, 2 * columns + 2 - width - left, top, 2 * rows + 2 - height - top))
    x = x.unflatten(3, (columns + 1, 2)).unflatten(2, (rows + 1, 2))  # [T, B, rows + 1, 2, columns + 1, 2, C]
    parts = [half.unbind(4) for half in x.unbind(3)]

    def window(i: int, j: int) -> Tensor:
        return parts[i % 2][j % 2][:, :, i // 2 : i // 2 + rows, j // 2 : j // 2 + columns]

    # stack, not cat: its second derivative is a stack again, cat's is a sum of nine padded tensors
    return torch.stack([window(i, j) for i in range(3) for j in range(3)], -2).flatten(-2)


def convolve(columns: Tensor, w: Tensor, beta: Tensor, seen: int | None = None) -> Tensor:
    """Convolution, batch norm and ReLU on patches cut out already: [T, B, H, W, 9*C] -> [T, B, H, W, F].

    w: [3, 3, C, F] or [T, 3, 3, C, F]; seen: batch norm's statistics are of the first so many pictures.
    """
    pixels = None if seen is None else seen * columns.shape[2:4].numel()
    z = product(columns.flatten(1, 3), w.flatten(-4, -2))
    return torch.relu(batch_norm(z, beta, pixels)).unflatten(1, columns.shape[1:4])


def sinusoid_network(inputs: int = 1) -> Network:
    """Section 5.1: 1-40-40-1 with ReLU, weights from a truncated normal (0.01), no normalization.

    inputs: 1, or 3 for the oracle, which is told amplitude and phase.
    """
    sizes = (inputs, 40, 40, 1)

    def init(generator: torch.Generator) -> Weights:
        weights = {}
        for i, (fan_in, fan_out) in enumerate(zip(sizes, sizes[1:]), 1):
            weights[f"w{i}"] = _truncated_normal((fan_in, fan_out), generator)
            weights[f"b{i}"] = torch.zeros(fan_out, device=generator.device)
        return weights

    def forward(weights: Weights, x: Tensor) -> Tensor:
        """x [T, B, inputs] -> predictions [T, B]."""
        h = torch.relu(linear(x, weights["w1"], weights["b1"]))
        h = torch.relu(linear(h, weights["w2"], weights["b2"]))
        return linear(h, weights["w3"], weights["b3"]).squeeze(-1)

    return Network(init, forward, squared_error)


def conv_network(ways: int, filters: int = 64) -> Network:
    """Section 5.2: four blocks of 3x3 convolution (stride 2), batch norm and ReLU; mean; linear.

    Convolutions start Glorot-uniform, the linear weight from N(0, 1) as in the code, biases and betas at 0.
    """
    blocks = range(1, 5)

    def init(generator: torch.Generator) -> Weights:
        weights, channels, device = {}, 1, generator.device
        for i in blocks:
            weights[f"conv{i}"] = glorot((3, 3, channels, filters), 9 * channels, 9 * filters, generator)
            weights[f"beta{i}"] = torch.zeros(filters, device=device)
            channels = filters
        weights["w5"] = torch.randn((filters, ways), generator=generator, device=device)
        weights["b5"] = torch.zeros(ways, device=device)
        return weights

    def forward(weights: Weights, x: Tensor, seen: int | None = None) -> Tensor:
        """x [T, B, 1, 28, 28] -> logits [T, B, N]; batch norm's statistics are of the first `seen` pictures, or all."""
        h = x.movedim(2, -1)  # channels last, so that a patch is one row of the matrix product
        for i in blocks:
            h = convolve(patches(h), weights[f"conv{i}"], weights[f"beta{i}"], seen)
        return linear(h.mean((2, 3)), weights["w5"], weights["b5"])

    return Network(init, forward, cross_entropy, ways, frozenset(f"beta{i}" for i in blocks))


def mlp_network(ways: int) -> Network:
    """Section 5.2's network without convolutions: 256-128-64-64 with batch norm and ReLU, then linear."""
    sizes = (28 * 28, 256, 128, 64, 64)
    layers = range(1, 5)

    def init(generator: torch.Generator) -> Weights:
        weights = {}
        for i in layers:
            weights[f"w{i}"] = _truncated_normal((sizes[i - 1], sizes[i]), generator)
            weights[f"beta{i}"] = torch.zeros(sizes[i], device=generator.device)
        weights["w5"] = _truncated_normal((sizes[-1], ways), generator)
        weights["b5"] = torch.zeros(ways, device=generator.device)
        return weights

    def forward(weights: Weights, x: Tensor, seen: int | None = None) -> Tensor:
        """x [T, B, 1, 28, 28] -> logits [T, B, N]; batch norm's statistics are of the first `seen` pictures, or all."""
        h = x.flatten(2)
        for i in layers:
            h = torch.relu(batch_norm(product(h, weights[f"w{i}"]), weights[f"beta{i}"], seen))
        return linear(h, weights["w5"], weights["b5"])

    return Network(init, forward, cross_entropy, ways, frozenset(f"beta{i}" for i in layers))


def glorot(shape: tuple[int, ...], fan_in: int, fan_out: int, generator: torch.Generator) -> Tensor:
    """Uniform with Glorot and Bengio's variance, 2 / (fan_in + fan_out)."""
    bound = math.sqrt(6 / (fan_in + fan_out))
    return bound * (2 * torch.rand(shape, generator=generator, device=generator.device) - 1)


def _truncated_normal(shape: tuple[int, int], generator: torch.Generator, std: float = 0.01) -> Tensor:
    """TensorFlow's truncated normal: nothing beyond two standard deviations."""
    w = torch.empty(shape, device=generator.device)
    return torch.nn.init.trunc_normal_(w, std=std, a=-2 * std, b=2 * std, generator=generator)
