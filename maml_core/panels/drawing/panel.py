"""Draw your own alphabet: N characters once each, then one of them again, and the adapted network says which."""

from typing import Any

import ipywidgets as widgets
import torch
from matplotlib.figure import Figure
from torch import Tensor

from ...episodes import Episodes
from ...evaluation import query_outputs
from ...figures.omniglot import label_rows, picture_sheet, show_sheet
from ...figures.style import COLOURS
from ...maml import Learner, adapt
from ...networks import Weights
from ..base import Panel, alone, int_slider, own
from .canvas import DrawingCanvas
from .strokes import draw_strokes, load_example

CELL = 36  # pixels of a picture in a sheet, its frame included
SHOWN = 46  # the same on the screen
YOURS = "yours"


class DrawingPanel(Panel):
    """An alphabet of your own: draw each character once, then one of them again.

    learner, theta: a network for pictures [T, B, 1, 28, 28], its inner loop and the initialization.
    It starts with a recorded example, which is also what a page without a kernel shows. Batch norm takes its
    statistics over the support set and the query, since a single picture makes no query batch.
    """

    def __init__(self, learner: Learner, theta: Weights, steps: int = 3) -> None:
        self._learner, self._theta, self._ways = learner, own(theta), learner.network.ways
        self._example = load_example()
        if self._ways > len(self._example["support"]):
            raise ValueError(f"The recorded alphabet has {len(self._example['support'])} characters, not {self._ways}.")
        self.canvas = DrawingCanvas([*(f"label {i}" for i in range(self._ways)), "which one is it?"], self._drawn)
        self.steps = int_slider("steps", steps, 0, 10)
        self.recorded = widgets.Dropdown(
            options=[("yours", YOURS), *((f"recorded, query is {i}", i) for i in range(self._ways))], value=0,
            description="drawing", style={"description_width": "initial"}, layout={"width": "240px"},
        )  # fmt: skip
        self.clear_query = widgets.Button(description="clear the query")
        self.clear_all = widgets.Button(description="clear all")
        self.recorded.observe(lambda change: self._play(), "value")
        self.clear_query.on_click(lambda button: self._clear(self._ways))
        self.clear_all.on_click(lambda button: self._clear(0))
        self._play()
        super().__init__([self.steps, self.recorded, self.clear_query, self.clear_all], (8, 0.5 + SHOWN / 100 * self._ways))
        self.children = [self.children[0], self.canvas.widget, *self.children[1:]]

    @alone
    def _play(self) -> None:
        """The recorded alphabet, with the chosen query; nothing is changed if the drawing is the reader's own."""
        if self.recorded.value != YOURS:
            support, query = (self._example[name][: self._ways] for name in ("support", "query"))
            self.canvas.show([*support, query[self.recorded.value]])

    @alone
    def _clear(self, first: int) -> None:
        """Empty the fields from this one on."""
        self.canvas.show([[] for _ in self.canvas.strokes[first:]], first)
        self.recorded.value = YOURS

    @alone
    def _drawn(self) -> None:
        self.recorded.value = YOURS
        self.redraw()

    def build(self, figure: Figure) -> None:
        figure.set_layout_engine("none")  # pictures beside bars: they have to line up to the pixel
        width, height = figure.get_size_inches() * figure.dpi

        def axes(left: float, across: float, up: float = SHOWN * self._ways) -> Any:
            return figure.add_axes((left / width, (height - 28 - up) / height, across / width, up / height))

        white = picture_sheet(torch.zeros(self._ways, 1, 28, 28))
        support, self._bars_ax, query = axes(100, SHOWN), axes(160, 370), axes(600, 150, 150)
        self._support = self.moves(show_sheet(support, white))
        label_rows(support, self._ways, CELL)
        self._query = self.moves(show_sheet(query, white[:CELL]))
        query.set_title("the query, 28 x 28")
        bars = self._bars_ax.barh(range(self._ways), [0] * self._ways, height=0.5, color=COLOURS["maml"])
        self._bars = [self.moves(bar) for bar in bars]
        self._bars_ax.set(xlim=(0, 1), ylim=(self._ways - 0.5, -0.5), xticks=[], yticks=[])
        self._bars_ax.grid(False)
        self._numbers = [self.moves(self._bars_ax.text(0, i, "", va="center")) for i in range(self._ways)]
        self._title = self.moving_title(self._bars_ax)

    def pictures(self) -> Tensor:
        """What is drawn, as the network sees it: [N + 1, 28, 28], ink 1 on paper 0, the query last."""
        return torch.stack([draw_strokes(strokes) for strokes in self.canvas.strokes]).float() / 255

    def probabilities(self) -> Tensor | None:
        """The adapted network's probability of each character [N], or None while a field is empty."""
        if not all(self.canvas.strokes):
            return None
        x, labels = self.pictures()[None, :, None], torch.arange(self._ways + 1)[None]
        episode = Episodes(x[:, :-1], labels[:, :-1], x[:, -1:], labels[:, -1:])
        phi = adapt(self._learner, self._theta, episode.support_x, episode.support_y, self.steps.value)
        return query_outputs(self._learner.network, phi, episode, "support and one query")[0, 0].softmax(-1)

    @torch.no_grad()
    def update(self) -> str:
        pictures, found = self.pictures(), self.probabilities()
        self._support.set_data(picture_sheet(pictures[:-1, None]).numpy())
        self._query.set_data(picture_sheet(pictures[-1:, None]).numpy())
        values = [0.0] * self._ways if found is None else found.tolist()
        for value, bar, number in zip(values, self._bars, self._numbers):
            bar.set_width(0.86 * value)
            number.set_x(0.86 * value + 0.015)
            number.set_text("" if found is None else f"{100 * value:.0f}%")
        if found is None:
            self._title.set_text("waiting for your drawing")
            return self._what_is_missing()
        best = int(found.argmax())
        steps = self.steps.value
        self._title.set_text(f"after {steps} step{'s' * (steps != 1)} it is taken for {best}")
        told = ", ".join(f"{i}: {100 * value:.1f}%" for i, value in enumerate(values))
        return f"probability of each label: {told}"

    def _what_is_missing(self) -> str:
        empty = [i for i, strokes in enumerate(self.canvas.strokes[:-1]) if not strokes]
        if empty:
            return f"draw a character into field {empty[0]} ({len(empty)} to go)"
        return "draw one of the characters once more, in the last field"
