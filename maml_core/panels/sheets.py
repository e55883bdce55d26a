"""Sheets of pictures in a panel: frames show right and wrong, and wrong ones carry the predicted label."""

from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from torch import Tensor

from ..episodes import Episodes
from ..figures.omniglot import frames, lay_out, picture_sheet, show_sheet
from ..figures.style import COLOURS
from ..tasks.characters import CharacterTasks
from .base import Panel
from .controls import CountingButton
from .pixels import WHITE, Sheet, as_words

CELL = 36  # pixels of a picture in a sheet, its frame included


class SheetPanel(Panel):
    """A panel of one task of characters, with sheets of at most `_most_ways` rows, one per class.

    MOST_SHOTS, QUERIES: drawings of each class in a task, to adapt on and to test on.
    """

    MOST_SHOTS: int
    QUERIES: int
    LARGE_PRODUCTS = True

    def draw_tasks(self, images: Tensor, ways: int, seed: int) -> None:
        """Show tasks that `seed` draws, the next one when "new task" is pressed; images: uint8 [C, D, 28, 28]."""
        self._most_ways, self.seed = ways, seed
        self._drawn: list[Episodes] = []
        self._tasks = CharacterTasks(images, ways, self.MOST_SHOTS, self.QUERIES)
        self._generator = torch.Generator().manual_seed(seed)
        self.new_task = CountingButton("new task", "draw other characters")

    def task(self) -> Episodes:
        """The task that is shown, with all of its drawings."""
        while len(self._drawn) <= self.new_task.value:
            self._drawn.append(self._tasks.sample(1, self._generator))
        return self._drawn[self.new_task.value]

    def sheet(self, ax: Axes, columns: int) -> Sheet:
        """An empty sheet with that many columns."""
        return self.moves(empty_sheet(ax, self._most_ways, columns))

    def marks(self, ax: Axes) -> list[Line2D]:
        """For every label, marks for the pictures that are mistaken for it, on a sheet without row labels.

        One artist holds all marks of a label, since separate texts take a millisecond each.
        """
        ax.set_yticks([])
        look: dict[str, Any] = {"ms": 8, "mew": 0.3, "ls": "none", "color": COLOURS["wrong"]}
        return [self.moves(ax.plot([], [], marker=f"$\\mathbf{{{label}}}$", **look)[0]) for label in range(self._most_ways)]

    def fill(self, sheet: Sheet, x: Tensor, ways: int, wrong: Tensor | None = None) -> None:
        """Fill a sheet with pictures [1, N*k, 1, 28, 28], framed by whether they are wrong [N*k]; the rest stays white."""
        rows, columns = self._most_ways, sheet.get_size()[1] // CELL
        pictures = x[0, :, 0].unflatten(0, (ways, -1))
        filled = slice(len(pictures)), slice(pictures.shape[1])
        room = torch.full((rows, columns, *pictures.shape[2:]), WHITE, dtype=torch.int32)
        room[filled] = as_words((1 - pictures)[..., None])
        colours = None
        if wrong is not None:
            colours = torch.full((rows, columns), WHITE, dtype=torch.int32)
            colours[filled] = as_words(frames(wrong.view(pictures.shape[:2])))
        sheet.set_data(lay_out(room, WHITE, colours).numpy())

    def name_wrong(self, marks: list[Line2D], predicted: Tensor, y: Tensor, ways: int) -> None:
        """The predicted label on each picture that is wrong, in its lower right corner."""
        rows, columns = (predicted != y).view(ways, -1).numpy().nonzero()
        taken_for = predicted.view(ways, -1).numpy()[rows, columns]
        for label, mark in enumerate(marks):
            here = taken_for == label
            mark.set_visible(here.any())  # an artist takes half a millisecond, even without marks
            mark.set_data((columns[here] + 1) * CELL - 9, (rows[here] + 1) * CELL - 11)


def empty_sheet(ax: Axes, rows: int, columns: int) -> Sheet:
    """White paper for pictures in rows and columns, without axes around it."""
    white = picture_sheet(torch.zeros(rows, columns, 28, 28))
    show_sheet(ax, white).remove()  # what is left are the limits and the look of the axes
    sheet = Sheet(ax, as_words(white).numpy())
    ax.add_image(sheet)
    return sheet
