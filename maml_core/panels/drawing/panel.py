"""Draw your own alphabet: N characters once each, then one of them again, and the adapted network says which."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor

from ...episodes import Episodes
from ...evaluation import query_outputs
from ...figures.omniglot import label_rows, picture_sheet
from ...figures.style import COLOURS
from ...maml import Learner, inner_loop
from ...networks import Weights
from ..base import Panel, alone, own
from ..controls import button, dropdown, int_slider
from ..pixels import as_words
from ..sheets import CELL, empty_sheet
from .canvas import DrawingCanvas
from .strokes import draw_strokes, load_example

SHOWN = 46  # the width of a picture with its frame, in hundredths of an inch
YOURS = "yours"


class DrawingPanel(Panel):
    """An alphabet of your own: draw each character once, then one of them again.

    learner, theta: a network for pictures [T, B, 1, 28, 28], its inner loop and the initialization.
    It starts with a recorded example, which is also what a page without a kernel shows. Batch norm takes its
    statistics over the support set and the query, since a single picture makes no query batch.
    """

    LARGE_PRODUCTS = True

    def __init__(self, learner: Learner, theta: Weights, steps: int = 3, state: Mapping[str, Any] | None = None) -> None:
        self._learner, self._theta, self._ways = learner, own(theta), learner.network.ways
        self._adapted: tuple[Tensor, list[Weights], Iterator[Weights]] = (torch.empty(0), [], iter(()))
        self._example = load_example()
        if self._ways > len(self._example["support"]):
            raise ValueError(f"The recorded alphabet has {len(self._example['support'])} characters, not {self._ways}.")
        self.canvas = DrawingCanvas([*(f"label {i}" for i in range(self._ways)), "which one is it?"], self._drawn)
        self.steps = int_slider("steps", steps, 0, 10)
        drawings = [("yours", YOURS), *((f"recorded, query is {i}", i) for i in range(self._ways))]
        self.recorded = dropdown("drawing", drawings, 0)
        self.clear_query = button("clear the query", "empty the last field")
        self.clear_all = button("clear all", "empty all fields")
        self.recorded.observe(lambda change: self._play(), "value")
        self.clear_query.on_click(lambda button: self._clear(self._ways))
        self.clear_all.on_click(lambda button: self._clear(0))
        self._play()
        controls = [self.steps, self.recorded, self.clear_query, self.clear_all]
        super().__init__(controls, (8, 0.5 + SHOWN / 100 * self._ways), state)
        self.children = [*self.children[:3], self.canvas.widget, *self.children[3:]]  # type: ignore[has-type]

    def state(self) -> dict[str, Any]:
        """The controls' values; strokes: of each field, where the drawing is the reader's own."""
        strokes = [list(field) for field in self.canvas.strokes]  # a copy: the drawing goes on
        return super().state() | ({"strokes": strokes} if self.recorded.value == YOURS else {})

    def restore(self, state: Mapping[str, Any]) -> None:
        super().restore({name: value for name, value in state.items() if name != "strokes"})
        if "strokes" in state:
            self.canvas.show(state["strokes"])

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
        width, height = 100 * figure.get_size_inches()

        def axes(left: float, across: float, up: float = SHOWN * self._ways) -> Any:
            return figure.add_axes((left / width, (height - 28 - up) / height, across / width, up / height))

        support, self._bars_ax, query = axes(100, SHOWN), axes(160, 370), axes(600, 150, 150)
        self._support = self.moves(empty_sheet(support, self._ways, 1))
        label_rows(support, self._ways, CELL)
        self._query = self.moves(empty_sheet(query, 1, 1))
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
        if not torch.equal(x[:, :-1], self._adapted[0]):
            self._adapted = (x[:, :-1], [], inner_loop(self._learner, self._theta, episode.support_x, episode.support_y))
        _, phis, after = self._adapted
        phis += [next(after) for _ in range(len(phis), self.steps.value + 1)]
        phi = phis[self.steps.value]
        return query_outputs(self._learner.network, phi, episode, "support and one query")[0, 0].softmax(-1)

    def update(self) -> str:
        pictures, found = self.pictures(), self.probabilities()
        self._support.set_data(as_words(picture_sheet(pictures[:-1, None])).numpy())
        self._query.set_data(as_words(picture_sheet(pictures[-1:, None])).numpy())
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
