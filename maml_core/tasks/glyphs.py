"""Glyphs: made-up characters for when Omniglot is not available.

Omniglot was made by people who drew characters of invented and foreign alphabets. Glyphs imitate that: a
character is one to four strokes of a pen, and each of its 20 drawers varies stroke, slant, scale, place and
pen. The tensor has Omniglot's shape. Glyphs are easier to tell apart than Omniglot's characters, so no number
measured on them may be compared with the paper's.
"""

import torch
from torch import Tensor

from ..util.checks import at_least
from ..util.seeding import seeded_generator
from .disk.omniglot_tree import SIZE
from .omniglot import CHARACTERS, DRAWINGS

STROKES, POINTS = 4, 40


def draw_glyphs(characters: int = CHARACTERS, seed: int = 0) -> Tensor:
    """uint8 [characters, 20, 28, 28], ink 255 on paper 0, always the same for the same seed."""
    at_least(1, characters=characters)
    generator = seeded_generator(seed)
    # Blocks bound the memory; one generator, used in one order, makes the pictures depend on the seed alone.
    blocks = [_draw_block(min(128, characters - i), generator) for i in range(0, characters, 128)]
    return torch.cat(blocks)


def _draw_block(characters: int, generator: torch.Generator) -> Tensor:
    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(shape, generator=generator)

    # A stroke is a cubic Bezier curve: it starts anywhere, or where the one before it ended.
    control = uniform(-0.8, 0.8, characters, STROKES, 4, 2)
    joined = torch.rand((characters, STROKES), generator=generator) < 0.6
    for i in range(1, STROKES):
        control[:, i, 0] = torch.where(joined[:, i, None], control[:, i - 1, 3], control[:, i, 0])
    strokes = torch.randint(1, STROKES + 1, (characters,), generator=generator)
    present = (torch.arange(STROKES) < strokes[:, None]).float()  # [C, strokes]
    control = _fit(control, present[..., None, None].bool())

    # Each drawer's hand: wobble of the stroke, then an affine map, then the width of the pen.
    control = control[:, None] + 0.04 * torch.randn((characters, DRAWINGS, STROKES, 4, 2), generator=generator)
    curve = torch.einsum("pk,cdskx->cdspx", _bernstein(), control)
    angle, slant = uniform(-0.15, 0.15, characters, DRAWINGS), uniform(-0.2, 0.2, characters, DRAWINGS)
    scale_x, scale_y = uniform(0.8, 1.1, characters, DRAWINGS), uniform(0.8, 1.1, characters, DRAWINGS)
    hand = torch.stack(
        [
            torch.stack([scale_x * angle.cos(), scale_x * (slant - angle.sin())], -1),
            torch.stack([scale_y * angle.sin(), scale_y * angle.cos()], -1),
        ],
        -2,
    )
    place = uniform(-0.1, 0.1, characters, DRAWINGS, 1, 1, 2)
    curve = torch.einsum("cdxy,cdspy->cdspx", hand, curve) + place
    width = uniform(0.035, 0.06, characters, DRAWINGS, 1, 1)
    return _ink(curve.flatten(2, 3), present.repeat_interleave(POINTS, 1), width)


def _fit(control: Tensor, present: Tensor) -> Tensor:
    """Move and scale each character's strokes [C, strokes, 4, 2] so that they fill the paper as Omniglot's do."""
    inf = torch.full_like(control, torch.inf)
    low = torch.where(present, control, inf).amin((1, 2), keepdim=True)
    high = torch.where(present, control, -inf).amax((1, 2), keepdim=True)
    return (control - (low + high) / 2) * 1.5 / (high - low).amax(-1, keepdim=True)


def _bernstein() -> Tensor:
    """Weights of a cubic Bezier's four control points along the curve: [points, 4]."""
    t = torch.linspace(0, 1, POINTS)
    return torch.stack([(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3], 1)


def _ink(points: Tensor, present: Tensor, width: Tensor) -> Tensor:
    """Drop ink at points [C, D, P, 2] in -1..1 and let it saturate: uint8 [C, D, 28, 28].

    A Gaussian drop is a product of one in x and one in y, so all drops of a picture are one matrix product.
    """
    grid = torch.linspace(-1.1, 1.1, SIZE)
    drops = torch.exp(-(((points[..., None] - grid) / width[..., None]) ** 2))  # [C, D, P, 2, 28]
    ink = drops[..., 1, :].mT @ (drops[..., 0, :] * present[:, None, :, None])
    return (255 * (1 - torch.exp(-3 * ink))).round().to(torch.uint8)
