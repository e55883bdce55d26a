"""Sheets of pictures that a panel moves: framed by right and wrong, with the wrong label on those that are wrong."""

import torch
from matplotlib.axes import Axes
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from torch import Tensor

from ..figures.omniglot import frames, picture_sheet, show_sheet
from ..figures.style import COLOURS
from .base import Panel

CELL = 36  # pixels of a picture in a sheet, its frame included


class SheetPanel(Panel):
    """A panel with sheets of at most `_most_ways` rows, a class in each."""

    _most_ways: int

    def sheet(self, ax: Axes, columns: int) -> AxesImage:
        """An empty sheet of so many columns."""
        white = torch.zeros(self._most_ways, columns, 28, 28)
        return self.moves(show_sheet(ax, picture_sheet(white).byte()))

    def marks(self, ax: Axes) -> list[Line2D]:
        """For every label the pictures that are wrongly taken for it, on a sheet without row labels.

        One artist of many marks for each, since a text each takes a millisecond.
        """
        ax.set_yticks([])
        look = {"ms": 8, "mew": 0.3, "ls": "none", "color": COLOURS["wrong"]}
        return [self.moves(ax.plot([], [], marker=f"$\\mathbf{{{label}}}$", **look)[0]) for label in range(self._most_ways)]

    def fill(self, sheet: AxesImage, x: Tensor, ways: int, wrong: Tensor | None = None) -> None:
        """Fill a sheet with pictures [1, N*k, 1, 28, 28], framed by whether they are wrong [N*k]; the rest stays white."""
        rows, columns = self._most_ways, sheet.get_array().shape[1] // CELL
        pictures = x[0, :, 0].unflatten(0, (ways, -1))
        room = torch.zeros(rows, columns, *pictures.shape[2:])
        room[: len(pictures), : pictures.shape[1]] = pictures
        colours = None
        if wrong is not None:
            colours = torch.ones(rows, columns, 3)
            colours[: len(pictures), : pictures.shape[1]] = frames(wrong.view(pictures.shape[:2]))
        sheet.set_data(picture_sheet(room, colours).mul_(255).byte().numpy())

    def name_wrong(self, marks: list[Line2D], predicted: Tensor, y: Tensor, ways: int) -> None:
        """The predicted label on each picture that is wrong, in its lower right corner."""
        rows, columns = (predicted != y).view(ways, -1).numpy().nonzero()
        taken_for = predicted.view(ways, -1).numpy()[rows, columns]
        for label, mark in enumerate(marks):
            here = taken_for == label
            mark.set_data((columns[here] + 1) * CELL - 9, (rows[here] + 1) * CELL - 11)
