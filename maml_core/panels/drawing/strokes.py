"""From pen strokes to a picture like Omniglot's."""

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image, ImageDraw
from torch import Tensor

from ...tasks.disk.omniglot_tree import PAPER
from ...tasks.omniglot import shrink

PEN = 5  # its width in pixels of the paper, about that of Omniglot's

Stroke = Sequence[tuple[float, float]]
_EXAMPLE = Path(__file__).parent / "drawn.json"


def draw_strokes(strokes: Sequence[Stroke]) -> Tensor:
    """The picture of one character, uint8 [28, 28], ink 255 on paper 0.

    strokes: each the points (x, y) that the pen passes, in pixels of the paper: (0, 0) is the upper left corner,
      (105, 105) the lower right one.
    They are drawn black on white with two values, as Omniglot's files are, and then scaled and inverted as those are.
    """
    paper = Image.new("1", (PAPER, PAPER), 1)
    pen = ImageDraw.Draw(paper)
    for stroke in strokes:
        if len(stroke) > 1:
            pen.line([tuple(point) for point in stroke], fill=0, width=PEN, joint="curve")
        for x, y in (stroke[0], stroke[-1]) if stroke else ():  # round ends, and a dot where the pen did not move
            pen.ellipse((x - PEN / 2, y - PEN / 2, x + PEN / 2, y + PEN / 2), fill=0)
    return torch.from_numpy(shrink(paper))


def load_example() -> dict[str, list[list[Stroke]]]:
    """Strokes of five characters that were drawn for this review, twice each: "support" and "query"."""
    return json.loads(_EXAMPLE.read_text())
