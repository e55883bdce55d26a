"""A row of fields to draw in, with a mouse or a finger: drawings are kept as strokes."""

import sys
from collections.abc import Callable, Sequence
from functools import cache

import ipywidgets as widgets

from ...figures.style import COLOURS
from ...tasks.disk.omniglot_tree import PAPER
from ..base import alone
from .strokes import PEN, Stroke

try:
    from ipycanvas import Canvas, hold_canvas
except ImportError:  # recorded drawings can be shown without it
    Canvas = None

FIELD, GAP = 115, 12  # pixels of a field, and between two
BELOW = 24  # for the fields' names
NAMES = "#757575"  # their colour, which can be read on white and on JupyterLab's dark theme
WITHOUT = "To draw your own, install ipycanvas (pip install ipycanvas) and restart JupyterLab. Here is a recorded example."


class DrawingCanvas:
    """Named fields; `drawn` is called when a stroke has been added. The last field is the query's.

    strokes: of each field, in pixels of Omniglot's paper (`strokes.draw_strokes`). widget: what to put into a panel; a
    sentence instead of a canvas where ipycanvas is missing.
    """

    def __init__(self, names: Sequence[str], drawn: Callable[[], None]) -> None:
        self._names, self._drawn = names, drawn
        self.strokes: list[list[Stroke]] = [[] for _ in names]
        self._pen: tuple[int, list] | None = None  # the field that the pen is in, and its stroke so far
        self.canvas = self._new_canvas() if Canvas else None
        self.widget = self.canvas or widgets.HTML(WITHOUT)
        self._paint()

    def show(self, strokes: Sequence[Sequence[Stroke]], first: int = 0) -> None:
        """Replace the contents of the fields from `first` on."""
        self.strokes[first:] = [list(field) for field in strokes]
        self._paint()

    def pen_down(self, x: float, y: float) -> None:
        """The pen touches the canvas at pixels (x, y): a stroke begins, if that is in a field."""
        field = int(x // (FIELD + GAP))
        inside = 0 <= field < len(self._names) and x - _left(field) < FIELD and 0 <= y < FIELD
        self._pen = (field, [_on_paper(field, x, y)]) if inside else None

    @alone
    def pen_move(self, x: float, y: float) -> None:
        """The pen moves; nothing happens while it is up. The stroke stays in the field where it began."""
        if self._pen is None:
            return
        field, stroke = self._pen
        stroke.append(_on_paper(field, x, y))
        if self.canvas:
            self.canvas.stroke_lines([_on_canvas(field, point) for point in stroke[-2:]])

    def pen_up(self, x: float = 0, y: float = 0) -> None:
        """The pen leaves the paper, and the stroke is complete."""
        if self._pen is None:
            return
        field, stroke = self._pen
        self._pen = None
        self.strokes[field].append(stroke)
        self._drawn()

    def _new_canvas(self) -> "Canvas":
        if "google.colab" in sys.modules:
            _enable_custom_widgets_in_colab()
        width = len(self._names) * (FIELD + GAP)
        layout = {"width": f"{width}px", "max_width": "100%", "height": "auto"}
        canvas = Canvas(width=width, height=FIELD + BELOW, layout=layout)
        canvas.on_mouse_down(self.pen_down)
        canvas.on_mouse_move(self.pen_move)
        canvas.on_mouse_up(self.pen_up)
        canvas.on_mouse_out(self.pen_up)
        canvas.on_touch_start(_first(self.pen_down))
        canvas.on_touch_move(_first(self.pen_move))
        canvas.on_touch_end(lambda touches: self.pen_up())
        canvas.on_client_ready(self._paint_again)
        return canvas

    @alone
    def _paint_again(self) -> None:
        """Paint for a page that was loaded anew, where every canvas is empty.

        ipycanvas names the canvas that is drawn on only when it is another than before, which a new page cannot know.
        """
        if self.canvas is not None:
            self.canvas._canvas_manager._current_canvas = None
        self._paint()

    @alone  # ipycanvas sends what all canvases are told through one object: a page that is ready may ask in between
    def _paint(self) -> None:
        """The fields with their names and all strokes."""
        if self.canvas is None:
            return
        with hold_canvas():
            self.canvas.clear()
            self.canvas.line_cap = self.canvas.line_join = "round"
            self.canvas.font = "13px sans-serif"
            for field, (name, strokes) in enumerate(zip(self._names, self.strokes)):
                left, is_query = _left(field), field == len(self._names) - 1
                self.canvas.fill_style = "#ffffff"
                self.canvas.fill_rect(left, 0, FIELD, FIELD)
                self.canvas.line_width, self.canvas.stroke_style = 1, COLOURS["maml" if is_query else "before"]
                self.canvas.stroke_rect(left + 0.5, 0.5, FIELD - 1, FIELD - 1)
                self.canvas.fill_style = NAMES
                self.canvas.fill_text(name, left, FIELD + 18)
                self.canvas.line_width, self.canvas.stroke_style = PEN * FIELD / PAPER, "#000000"
                for stroke in strokes:
                    points = [_on_canvas(field, point) for point in stroke]
                    self.canvas.stroke_lines(points if len(points) > 1 else points * 2)


@cache  # once per session is enough
def _enable_custom_widgets_in_colab() -> None:
    """Colab draws ipywidgets' own widgets only, unless it is told to load others, such as ipycanvas."""
    from google.colab import output

    output.enable_custom_widget_manager()


def _left(field: int) -> float:
    return field * (FIELD + GAP)


def _on_canvas(field: int, point: tuple[float, float]) -> tuple[float, float]:
    x, y = point
    return _left(field) + x * FIELD / PAPER, y * FIELD / PAPER


def _on_paper(field: int, x: float, y: float) -> tuple[float, float]:
    """Rounded to a tenth of a pixel of Omniglot's paper, and kept inside it."""
    across, down = (round(min(max(value, 0), FIELD) * PAPER / FIELD, 1) for value in (x - _left(field), y))
    return across, down


def _first(pen: Callable[[float, float], None]) -> Callable[[list], None]:
    """A handler of touches that follows the first finger."""
    return lambda touches: pen(*touches[0]) if touches else None
