"""The network for mini-ImageNet (section 5.2): as Omniglot's, with max-pooling in place of stride 2, and 32 filters.

Against overfitting, as the paper says: 84x84 pictures have more to learn by heart. The last 5x5 positions are laid out
side by side and not averaged, and the last layer starts Glorot-uniform; both stand in the code only.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from .networks import Network, Weights, convolve, cross_entropy, glorot, linear

CHANNELS, SIZE = 3, 84


def image_network(ways: int, filters: int = 32, size: int = SIZE) -> Network:
    """Four blocks of 3x3 convolution, batch norm, ReLU and 2x2 max-pooling, then linear: [T, B, 3, 84, 84] -> [T, B, N]."""
    blocks = range(1, 5)
    left = size // 2 ** len(blocks)  # of each side

    def init(generator: torch.Generator) -> Weights:
        weights, channels = {}, CHANNELS
        for i in blocks:
            weights[f"conv{i}"] = glorot((3, 3, channels, filters), 9 * channels, 9 * filters, generator)
            weights[f"beta{i}"] = torch.zeros(filters, device=generator.device)
            channels = filters
        inputs = left * left * filters
        weights["w5"] = glorot((inputs, ways), inputs, ways, generator)
        weights["b5"] = torch.zeros(ways, device=generator.device)
        return weights

    def forward(weights: Weights, x: Tensor, seen: int | None = None) -> Tensor:
        """x [T, B, 3, H, W] -> logits [T, B, N]; batch norm's statistics are of the first `seen` pictures, or all."""
        h = x.movedim(2, -1)
        for i in blocks:
            h = max_pool(convolve(neighbourhoods(h), weights[f"conv{i}"], weights[f"beta{i}"], seen))
        return linear(h.flatten(2), weights["w5"], weights["b5"])

    return Network(init, forward, cross_entropy, ways, frozenset(f"beta{i}" for i in blocks))


def neighbourhoods(x: Tensor) -> Tensor:
    """im2col for a 3x3 kernel at stride 1, SAME: x [T, B, H, W, C] -> [T, B, H, W, 9*C]."""
    height, width = x.shape[2:4]
    x = F.pad(x, (0, 0, 1, 1, 1, 1))
    windows = [x[:, :, i : i + height, j : j + width] for i in range(3) for j in range(3)]
    return torch.stack(windows, -2).flatten(-2)


def max_pool(x: Tensor) -> Tensor:
    """The largest of 2x2: x [T, B, H, W, C] -> [T, B, H/2, W/2, C], an odd last row or column left out."""
    height, width = (side // 2 for side in x.shape[2:4])
    x = x[:, :, : 2 * height, : 2 * width]
    return x.unflatten(3, (width, 2)).unflatten(2, (height, 2)).amax((3, 5))
