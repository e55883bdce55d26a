"""Draw your own alphabet: N characters once each, then one of them again, and the adapted network says which."""

from collections.abc import Callable
from typing import Any

import ipywidgets as widgets
import torch
from matplotlib.figure import Figure
from torch import Tensor

from ..episodes import Episodes
from ..figures.omniglot import label_rows, picture_sheet, show_sheet
from ..figures.style import COLOURS
from ..maml import Learner, adapt
from ..networks import Weights
from ..transduction import query_outputs
from .base import Panel, int_slider, own
from .pen import PAPER, PEN, Stroke, draw_strokes, load_example

try:
    from ipycanvas import Canvas, hold_canvas
except ImportError:  # the recorded example works without
    Canvas = None

FIELD, GAP = 115, 12  # pixels of a field to draw in, and between two
CELL = 36  # pixels of a picture in a sheet, its frame included
SHOWN = 46  # the same on the screen
YOURS = "yours"
WITHOUT = "To draw yourself, install ipycanvas (pip install ipycanvas) and start JupyterLab again. Here is a recorded example."


class DrawingPanel(Panel):
    """An alphabet of your own: draw each character once, then one of them again.

    learner, theta: a network for pictures [T, B, 1, 28, 28], its inner loop and the initialization.
    It begins with a recorded example, which is also what stands on a page without a kernel. Batch norm sees the
    support set and the query: a single picture has no query batch.
    """

    def __init__(self, learner: Learner, theta: Weights, steps: int = 3) -> None:
        self._learner, self._theta, self._ways = learner, own(theta), learner.network.ways
        self._example = load_example()
        if self._ways > len(self._example["support"]):
            raise ValueError(f"The recorded alphabet has {len(self._example['support'])} characters, not {self._ways}.")
        # The strokes of each field: the support characters, then the query.
        self.strokes: list[list[Stroke]] = [[] for _ in range(self._ways + 1)]
        self._pen: tuple[int, list] | None = None  # the field that the pen is in, and its stroke so far
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
        self.canvas = self._new_canvas()
        self._play()
        super().__init__([self.steps, self.recorded, self.clear_query, self.clear_all], (8, 0.5 + SHOWN / 100 * self._ways))
        surface = self.canvas or widgets.HTML(WITHOUT)
        self.children = [self.children[0], surface, *self.children[1:]]

    # The canvas.

    def _new_canvas(self) -> Any:
        if Canvas is None:
            return None
        width = (self._ways + 1) * (FIELD + GAP)
        canvas = Canvas(width=width, height=FIELD + 24, layout={"width": f"{width}px", "max_width": "100%", "height": "auto"})
        canvas.on_mouse_down(self.pen_down)
        canvas.on_mouse_move(self.pen_move)
        canvas.on_mouse_up(self.pen_up)
        canvas.on_mouse_out(self.pen_up)
        canvas.on_touch_start(_first(self.pen_down))
        canvas.on_touch_move(_first(self.pen_move))
        canvas.on_touch_end(lambda touches: self.pen_up())
        canvas.on_client_ready(self._paint)  # a page that was loaded again starts with an empty canvas
        return canvas

    def _paint(self) -> None:
        """The fields with their names and all strokes."""
        if self.canvas is None:
            return
        with hold_canvas():
            self.canvas.clear()
            self.canvas.line_cap = self.canvas.line_join = "round"
            for field, strokes in enumerate(self.strokes):
                query = field == self._ways
                left = self._left(field)
                self.canvas.fill_style = "#ffffff"
                self.canvas.fill_rect(left, 0, FIELD, FIELD)
                self.canvas.line_width, self.canvas.stroke_style = 1, COLOURS["maml" if query else "before"]
                self.canvas.stroke_rect(left + 0.5, 0.5, FIELD - 1, FIELD - 1)
                self.canvas.fill_style, self.canvas.font = COLOURS["before"], "13px sans-serif"
                self.canvas.fill_text("which one is it?" if query else f"label {field}", left, FIELD + 18)
                self.canvas.line_width, self.canvas.stroke_style = PEN * FIELD / PAPER, "#000000"
                for stroke in strokes:
                    points = [(left + x * FIELD / PAPER, y * FIELD / PAPER) for x, y in stroke]
                    self.canvas.stroke_lines(points if len(points) > 1 else points * 2)

    def _left(self, field: int) -> float:
        return field * (FIELD + GAP)

    def pen_down(self, x: float, y: float) -> None:
        """The pen touches the canvas at pixels (x, y): a stroke begins, if that is in a field."""
        field = int(x // (FIELD + GAP))
        inside = 0 <= field <= self._ways and x - self._left(field) < FIELD and 0 <= y < FIELD
        self._pen = (field, [self._on_paper(field, x, y)]) if inside else None

    def pen_move(self, x: float, y: float) -> None:
        """The pen moves; nothing happens while it is up. The stroke stays in the field where it began."""
        if self._pen is None:
            return
        field, stroke = self._pen
        stroke.append(self._on_paper(field, x, y))
        (x0, y0), (x1, y1) = ((self._left(field) + px * FIELD / PAPER, py * FIELD / PAPER) for px, py in stroke[-2:])
        self.canvas.stroke_line(x0, y0, x1, y1)

    def pen_up(self, x: float = 0, y: float = 0) -> None:
        """The pen leaves the paper: the stroke counts, and the network looks again."""
        if self._pen is None:
            return
        field, stroke = self._pen
        self._pen = None
        self.strokes[field].append(stroke)
        self.recorded.value = YOURS
        self.redraw()

    def _on_paper(self, field: int, x: float, y: float) -> tuple[float, float]:
        inside = (min(max(value, 0), FIELD) for value in (x - self._left(field), y))
        return tuple(round(value * PAPER / FIELD, 1) for value in inside)

    def _play(self) -> None:
        """The recorded alphabet, with the query that is chosen; nothing where the drawing is the reader's own."""
        if self.recorded.value == YOURS:
            return
        support, query = (self._example[name][: self._ways] for name in ("support", "query"))
        self.strokes = [list(character) for character in (*support, query[self.recorded.value])]
        self._paint()

    def _clear(self, first: int) -> None:
        """Empty the fields from this one on."""
        self.strokes[first:] = [[] for _ in self.strokes[first:]]
        self.recorded.value = YOURS
        self._paint()

    # The picture.

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
        return torch.stack([draw_strokes(strokes) for strokes in self.strokes]).float() / 255

    def probabilities(self) -> Tensor | None:
        """The adapted network's probability of each character [N], or None while a field is empty."""
        if not all(self.strokes):
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
        empty = [i for i, strokes in enumerate(self.strokes[:-1]) if not strokes]
        if empty:
            return f"draw a character into field {empty[0]} ({len(empty)} to go)"
        return "draw one of the characters once more, in the last field"


def _first(pen: Callable[[float, float], None]) -> Callable[[list], None]:
    """A handler of touches that follows the first finger."""
    return lambda touches: pen(*touches[0]) if touches else None
