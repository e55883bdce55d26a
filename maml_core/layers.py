"""The networks' layers, as functions of tensors with or without a leading task axis.

Convolution is done by im2col: extract the 3x3 patches, and it becomes a matrix product too.

Silent choices of the paper's code that are made here (see docs/choices.md):
  - TensorFlow's SAME padding: at stride 2 the odd row or column is padded at the bottom or right;
  - batch norm always uses the batch's own mean and variance, even at test time, with epsilon 1e-3;
  - it has a shift beta but no scale gamma;
  - the code adds a bias before each batch norm, which subtracting the mean cancels: it stays 0, so it is omitted here.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def product(x: Tensor, w: Tensor) -> Tensor:
    """x w in the dtype of x: where `in_precision` rounds the factors to bfloat16, the result is cast back to float32."""
    return (x @ w).to(x.dtype)


def linear(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
    """x w + b: x [T, B, in], w [in, out] or [T, in, out], b [out] or [T, out] -> [T, B, out].

    Where nothing is differentiated, as in a rollout of a hundred small steps, one operator takes half the time of three,
    and a cast that changes nothing a tenth of it.
    """
    if w.ndim == x.ndim == 3 and not (torch.is_grad_enabled() or torch.compiler.is_compiling()):
        z = torch.baddbmm(b.unsqueeze(-2), x, w)
        return z if z.dtype == x.dtype else z.to(x.dtype)
    return product(x, w) + b[..., None, :]


def batch_norm(z: Tensor, beta: Tensor, seen: int | None = None, epsilon: float = 1e-3) -> Tensor:
    """Normalize z [T, P, F] over its P points, task by task, and shift by beta [F].

    seen: compute mean and variance from the first `seen` points only; by default from all.

    Written out, because `F.batch_norm` has no task axis, and to show what is differentiated twice. A single task that is
    not differentiated, as in a panel, takes that function, which is several times as fast.

    The variance is computed about a constant s as E[(z - s)^2] - (E[z] - s)^2, an identity for every s that suffers no
    cancellation at s = E[z]. Its derivative needs the sums of d and d*z, which a single pass over the points computes,
    where E[(z - E[z])^2] needs two passes in sequence.
    """
    counted = z if seen is None else z[..., :seen, :]
    if len(z) == 1 and not (torch.is_grad_enabled() or torch.compiler.is_compiling()):
        if seen is None:
            return F.batch_norm(z[0], None, None, bias=beta.view(-1), training=True, eps=epsilon)[None]
        mean = counted[0].mean(0)
        variance = ((counted[0] - mean) ** 2).mean(0)
        return F.batch_norm(z[0], mean, variance, bias=beta.view(-1), eps=epsilon)[None]
    mean = mean_over_points(counted)
    constant = mean.detach()
    variance = mean_over_points((counted - constant) ** 2) - (mean - constant) ** 2
    return (z - mean) * torch.rsqrt(variance + epsilon) + beta[..., None, :]


def mean_over_points(z: Tensor) -> Tensor:
    """The mean of z [T, P, F] over its points, [T, 1, F], summed within rows and then over rows.

    A compiled sum adds terms sequentially. Over a thousand points its rounding error flips the sign of some ReLU inputs,
    and the error of the float32 meta-gradient is four times that with two short sums.
    """
    points = z.shape[-2]
    rows = max(n for n in range(1, math.isqrt(points) + 1) if points % n == 0)
    return (z * (1 / points)).unflatten(-2, (rows, points // rows)).sum(-3).sum(-2, keepdim=True)


def same_padding(size: int, kernel: int = 3, stride: int = 2) -> tuple[int, int]:
    """TensorFlow's SAME padding of one axis: (before, after); if the total is odd, the extra one goes after."""
    total = max((math.ceil(size / stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def patches(x: Tensor) -> Tensor:
    """im2col for a 3x3 kernel at stride 2: x [T, B, H, W, C] -> [T, B, H/2, W/2, 9*C] (halves rounded up).

    Rows and columns are first separated into even and odd. A window at stride 2 is then a plain slice of one part, and in
    the backward pass it adds to that part only.
    """
    height, width = x.shape[2:4]
    rows, columns = (height + 1) // 2, (width + 1) // 2
    top, left = same_padding(height)[0], same_padding(width)[0]
    x = F.pad(x, (0, 0, left, 2 * columns + 2 - width - left, top, 2 * rows + 2 - height - top))
    x = x.unflatten(3, (columns + 1, 2)).unflatten(2, (rows + 1, 2))  # [T, B, rows + 1, 2, columns + 1, 2, C]
    parts = [half.unbind(4) for half in x.unbind(3)]

    def window(i: int, j: int) -> Tensor:
        return parts[i % 2][j % 2][:, :, i // 2 : i // 2 + rows, j // 2 : j // 2 + columns]

    # stack rather than cat: its second derivative is again a stack, cat's a sum of nine padded tensors
    return torch.stack([window(i, j) for i in range(3) for j in range(3)], -2).flatten(-2)


def neighbourhoods(x: Tensor) -> Tensor:
    """im2col for a 3x3 kernel at stride 1 with SAME padding: x [T, B, H, W, C] -> [T, B, H, W, 9*C]."""
    height, width = x.shape[2:4]
    x = F.pad(x, (0, 0, 1, 1, 1, 1))
    windows = [x[:, :, i : i + height, j : j + width] for i in range(3) for j in range(3)]
    return torch.stack(windows, -2).flatten(-2)


def convolve(columns: Tensor, w: Tensor, beta: Tensor, seen: int | None = None) -> Tensor:
    """Convolution, batch norm and ReLU, given im2col patches: [T, B, H, W, 9*C] -> [T, B, H, W, F].

    w: [3, 3, C, F] or [T, 3, 3, C, F]; seen: compute batch norm's statistics from the first `seen` pictures only.
    """
    pixels = None if seen is None else seen * columns.shape[2:4].numel()
    z = product(columns.flatten(1, 3), w.flatten(-4, -2))
    return torch.relu(batch_norm(z, beta, pixels)).unflatten(1, columns.shape[1:4])


def max_pool(x: Tensor) -> Tensor:
    """2x2 max-pooling: x [T, B, H, W, C] -> [T, B, H/2, W/2, C], dropping an odd last row or column."""
    height, width = (side // 2 for side in x.shape[2:4])
    x = x[:, :, : 2 * height, : 2 * width]
    return x.unflatten(3, (width, 2)).unflatten(2, (height, 2)).amax((3, 5))


def glorot(shape: tuple[int, ...], fan_in: int, fan_out: int, generator: torch.Generator) -> Tensor:
    """Glorot and Bengio's uniform initialization, with variance 2 / (fan_in + fan_out)."""
    bound = math.sqrt(6 / (fan_in + fan_out))
    return bound * (2 * torch.rand(shape, generator=generator, device=generator.device) - 1)
