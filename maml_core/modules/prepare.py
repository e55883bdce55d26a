"""A copy of a user's module that can be differentiated twice, for many tasks at once."""

import copy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ATTENTION = (nn.MultiheadAttention, nn.TransformerEncoderLayer, nn.TransformerEncoder)
MOST_WINDOWS = 9  # of a kernel, up to which im2col is worth its copies


class Hardsigmoid(nn.Module):
    """relu6(x + 3) / 6, written out: torch's own has no second derivative."""

    def forward(self, x: Tensor) -> Tensor:
        return (x + 3).clamp(0, 6) / 6


class Hardswish(nn.Module):
    """x relu6(x + 3) / 6, written out like `Hardsigmoid`."""

    def forward(self, x: Tensor) -> Tensor:
        return x * (x + 3).clamp(0, 6) / 6


SWAPS: dict[type, type] = {nn.Hardsigmoid: Hardsigmoid, nn.Hardswish: Hardswish}


class Convolution(nn.Conv2d):
    """nn.Conv2d, which the compiler gets as im2col and a matrix product.

    With a kernel for each task, vmap makes a grouped convolution of it. That is as fast as im2col in eager mode, but its
    derivatives are not fused with what is around them: compiled, the product takes less than half of the time.

    As in `layers.patches`, rows and columns are first separated by their remainder at the stride: a window is then a plain
    slice of one part, and in the backward pass it adds to that part only.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not torch.compiler.is_compiling() or x.is_cuda or x.ndim != 4:
            return super().forward(x)
        (down, across), (kernel_h, kernel_w) = self.stride, self.kernel_size
        top, left = (int(side) for side in self.padding)
        height = (x.shape[-2] + 2 * top - kernel_h) // down + 1
        width = (x.shape[-1] + 2 * left - kernel_w) // across + 1
        rows, columns = height + (kernel_h - 1) // down, width + (kernel_w - 1) // across
        h = x.movedim(-3, -1)  # channels last, so that a patch is one row of the matrix product
        h = F.pad(h, (0, 0, left, across * columns - x.shape[-1] - left, top, down * rows - x.shape[-2] - top))
        h = h.unflatten(2, (columns, across)).unflatten(1, (rows, down))  # [B, rows, down, columns, across, C]
        parts = [part.unbind(3) for part in h.unbind(2)]
        windows = [
            parts[i % down][j % across][:, i // down : i // down + height, j // across : j // across + width]
            for i in range(kernel_h)
            for j in range(kernel_w)
        ]
        patches = torch.stack(windows, -2).flatten(3).flatten(0, 2)  # [B * H * W, kernel * C]
        outputs = patches @ self.weight.permute(2, 3, 1, 0).flatten(0, 2)
        if self.bias is not None:
            outputs = outputs + self.bias
        return outputs.view(len(x), height, width, -1).movedim(-1, 1)


def prepare(module: nn.Module, batch_norm: str | None = None) -> nn.Module:
    """A copy of the module in its training mode, without what stands in the way of second derivatives over many tasks.

    batch_norm: what to do with batch norms that keep running statistics, which tasks would share and overwrite: None
    refuses them, "batch" normalizes by each batch, as the paper does.
    Raises ValueError for running statistics, for lazy modules that have seen no input, and for what is no module or cannot
    be copied.
    """
    if not isinstance(module, nn.Module):
        raise ValueError(f"from_module takes an nn.Module, such as nn.Linear(3, 2), not {module!r}.")
    name = type(module).__name__
    if batch_norm not in (None, "batch"):
        raise ValueError(f'batch_norm must be None or "batch", not {batch_norm!r}.')
    if any(nn.parameter.is_lazy(p) for p in module.parameters()):
        raise ValueError(f"{name} has lazy layers whose shapes are not known yet: run one batch through it first.")
    keeps = [path for path, part in module.named_modules() if getattr(part, "track_running_stats", False)]
    if keeps and batch_norm is None:
        raise ValueError(
            f"{name} has {len(keeps)} normalization layers with running statistics (first {keeps[0]}), which tasks would "
            'share and overwrite: pass batch_norm="batch" to normalize by each batch, as the paper does, or use GroupNorm.'
        )
    try:
        copied = copy.deepcopy(module)
    except (RuntimeError, TypeError) as error:
        reason = str(error).splitlines()[0].partition(" at the moment")[0]
        raise ValueError(
            f"{name} cannot be copied ({reason}): keep nothing in it that copy.deepcopy refuses, such as a computed tensor."
        ) from error
    return _swap(copied.train())


def _swap(module: nn.Module) -> nn.Module:
    parts: list[Any] = list(module.modules())
    for part in parts:
        if getattr(part, "track_running_stats", False):
            part.track_running_stats = False
            part.running_mean = part.running_var = part.num_batches_tracked = None
        if type(part) is nn.Conv2d and _has_few_windows(part):
            part.__class__ = Convolution
        part.__class__ = SWAPS.get(type(part), type(part))
    return module


def _has_few_windows(part: nn.Conv2d) -> bool:
    plain = part.groups == 1 and part.dilation == (1, 1) and part.padding_mode == "zeros"
    windows = part.kernel_size[0] * part.kernel_size[1]
    return plain and not isinstance(part.padding, str) and windows <= MOST_WINDOWS


def in_eval_mode(module: nn.Module) -> nn.Module:
    """A copy in evaluation mode that shares all tensors with the module."""
    tensors = (*module.parameters(), *module.buffers())
    copied = copy.deepcopy(module, {id(tensor): tensor for tensor in tensors}).eval()
    for part in copied.modules():
        if isinstance(part, ATTENTION):
            part.training = True  # even so: the fast path of evaluation has no derivatives
            if isinstance(part, nn.MultiheadAttention):
                part.dropout = 0.0
    return copied
