"""Pictures that differ from those of training: turned by any angle, drawn with a thinner or thicker pen."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .episodes import Episodes, TaskDistribution

FINE = 4  # a pixel's parts, for strokes that change by less than a pixel


def turn(x: Tensor, degrees: float) -> Tensor:
    """Pictures x [..., S, S], ink 1 on paper 0, turned counter-clockwise about their middle (bilinear)."""
    if degrees % 360 == 0:
        return x
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    matrix = torch.tensor([[cos, -sin, 0.0], [sin, cos, 0.0]], dtype=x.dtype, device=x.device)
    flat = x.flatten(0, -3)[None]  # pictures as channels: all of them are turned alike
    grid = F.affine_grid(matrix[None], [1, *flat.shape[1:]], align_corners=False)
    return F.grid_sample(flat, grid, align_corners=False).view(x.shape)


def stroke(x: Tensor, pixels: float) -> Tensor:
    """Pictures x [..., S, S] whose strokes are wider by so many pixels, or thinner (negative), in steps of half a pixel.

    Each pixel gets the most ink within pixels / 2 of it, or the least (a maximum filter; a minimum filter), on a grid that
    is four times as fine.
    """
    reach = round(abs(pixels) / 2 * FINE)
    if reach == 0:
        return x
    flat, sign = x.flatten(0, -3)[:, None], math.copysign(1, pixels)
    fine = F.interpolate(flat, scale_factor=FINE, mode="bilinear", align_corners=False)
    for down, across in ((reach, 0), (0, reach)):  # a square's maximum is that of its rows' maxima
        fine = sign * F.max_pool2d(sign * fine, (2 * down + 1, 2 * across + 1), stride=1, padding=(down, across))
    return F.avg_pool2d(fine, FINE).view(x.shape)


@dataclass(frozen=True)
class ShiftedTasks:
    """p(T) of other tasks, whose pictures, support and query alike, are changed: x [T, B, 1, S, S] -> the same shape."""

    tasks: TaskDistribution
    change: Callable[[Tensor], Tensor]

    def sample(self, tasks: int, generator: torch.Generator) -> Episodes:
        episodes = self.tasks.sample(tasks, generator)
        return Episodes(
            self.change(episodes.support_x), episodes.support_y, self.change(episodes.query_x), episodes.query_y
        )
