"""Pictures that differ from those of training: turned by any angle, drawn with a thinner or thicker pen."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..episodes import Episodes, TaskDistribution

FINE = 4  # subpixels per pixel and side, for strokes that change by less than a pixel


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

    Each pixel gets the most ink within pixels / 2 of it, or the least (a maximum or minimum filter), on a grid that is
    four times as fine.
    """
    reach = round(abs(pixels) / 2 * FINE)
    if reach == 0:
        return x
    flat, sign = x.flatten(0, -3)[:, None], math.copysign(1, pixels)
    fine = F.interpolate(flat, scale_factor=FINE, mode="bilinear", align_corners=False)
    for axis in (-2, -1):  # a square's maximum is that of its rows' maxima
        fine = sign * most_nearby(sign * fine, reach, axis)
    return F.avg_pool2d(fine, FINE).view(x.shape)


def most_nearby(x: Tensor, reach: int, axis: int) -> Tensor:
    """The largest value within `reach` places along one axis, for every place; F.max_pool2d takes ten times as long."""
    most, places = x.clone(), x.shape[axis]
    for shift in range(1, reach + 1):
        for here, there in ((0, shift), (shift, 0)):
            part = most.narrow(axis, here, places - shift)
            torch.maximum(part, x.narrow(axis, there, places - shift), out=part)
    return most


def jitter(x: Tensor, generator: torch.Generator, degrees: float = 10, pixels: float = 2, scale: float = 0.1) -> Tensor:
    """Each of the pictures x [..., C, S, S] turned, moved and scaled a little, each in its own way (bilinear).

    Drawn uniformly: up to `degrees` either way, up to `pixels` down and across, and a factor within 1 - scale .. 1 + scale.
    """
    flat = x.flatten(0, -4)  # [B, C, S, S]
    draws = 2 * torch.rand((4, len(flat)), generator=generator, device=x.device) - 1
    angle, factor = torch.deg2rad(degrees * draws[0]), 1 + scale * draws[1]
    cos, sin = torch.cos(angle) / factor, torch.sin(angle) / factor
    across, down = draws[2:] * (2 * pixels / x.shape[-1])  # a picture is 2 wide to affine_grid
    matrix = torch.stack([torch.stack([cos, -sin, across], -1), torch.stack([sin, cos, down], -1)], -2).to(x.dtype)
    grid = F.affine_grid(matrix, list(flat.shape), align_corners=False)
    return F.grid_sample(flat, grid, align_corners=False).view(x.shape)


@dataclass(frozen=True)
class JitteredTasks:
    """p(T) of other tasks, every picture of which is jittered: an augmentation for meta-training."""

    tasks: TaskDistribution

    def sample(self, tasks: int, generator: torch.Generator) -> Episodes:
        episodes = self.tasks.sample(tasks, generator)
        x = torch.cat([episodes.support_x, episodes.query_x], 1)
        support, query = jitter(x, generator).split([episodes.support_x.shape[1], episodes.query_x.shape[1]], 1)
        return Episodes(support, episodes.support_y, query, episodes.query_y)


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


def changed(degrees: float, pixels: float) -> Callable[[Tensor], Tensor]:
    """A `change` for ShiftedTasks: turn the pictures and make their strokes wider or thinner."""
    return lambda x: stroke(turn(x, degrees), pixels)
