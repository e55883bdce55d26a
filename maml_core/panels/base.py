"""What all panels share: controls, one picture, one line of numbers, and drawing that keeps up with a slider.

A panel is an ipywidgets box around an `Image`. Besides the widget it provides that image as a PNG, so one output
serves JupyterLab with a kernel, JupyterLab without, and GitHub. A panel depends only on its constructor's arguments; it
reads nothing from the notebook, so a later cell cannot break it.

Drawing a whole figure takes a third of a second on two cores, most of it for axes, ticks and layout, which never
change. So a panel draws those once, keeps the pixels, and from then on draws only the moving artists on top.
"""

import base64
import io
import threading
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

import ipywidgets as widgets
import matplotlib.style
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from ..engine.matmul import use_fastest_backend
from ..figures.style import STYLE
from ..networks import Weights

_DRAWING = threading.RLock()


def alone(method: Callable) -> Callable:
    """Decorate a panel's method so that no other decorated one, of any panel, runs at the same time.

    JupyterLab hands widget messages to several threads at once (its setting commsOverSubshells), and neither matplotlib
    nor a panel's memory of its last picture is thread-safe.
    """

    @wraps(method)
    def one_at_a_time(*arguments: Any) -> Any:
        with _DRAWING:
            return method(*arguments)

    return one_at_a_time


class Panel(widgets.VBox):
    """Controls above a picture. A subclass builds the picture once and then updates its moving parts."""

    def __init__(self, controls: Sequence[widgets.Widget], size: tuple[float, float]) -> None:
        """size: of the picture in inches, at 100 pixels per inch."""
        self.image = widgets.Image(format="png", layout=widgets.Layout(width=f"{int(100 * size[0])}px", max_width="100%"))
        self.text = widgets.HTML()
        rows = [widgets.HBox(controls, layout=widgets.Layout(flex_flow="row wrap")), self.image, self.text]
        super().__init__(rows)
        self._moving: list[Artist] = []
        with matplotlib.style.context(STYLE):
            figure = Figure(figsize=size, dpi=100, layout="constrained")
            self._canvas = FigureCanvasAgg(figure)
            self.build(figure)
            figure.draw_without_rendering()  # computes the layout, once
            figure.set_layout_engine("none")
            self._canvas.draw()
        self._still = self._canvas.copy_from_bbox(figure.bbox)
        for control in controls:
            if isinstance(control, widgets.Button):
                control.on_click(lambda button: self.redraw())
            elif isinstance(control, widgets.ValueWidget):
                control.observe(lambda change: self.redraw(), "value")
        self.redraw()

    def build(self, figure: Figure) -> None:
        """Add axes and artists to the figure, and pass those that will change to `moves`."""
        raise NotImplementedError

    def update(self) -> str:
        """Bring the moving artists up to date with the controls and return the line of numbers below the picture."""
        raise NotImplementedError

    def moves(self, artist: Any) -> Any:
        """Register an artist as moving: it is left out of the still background. Returns it."""
        artist.set_animated(True)
        self._moving.append(artist)
        return artist

    def moving_title(self, ax: Axes) -> Text:
        """A title that `update` sets."""
        return self.moves(ax.set_title(" "))

    @alone
    def redraw(self) -> None:
        """Bring picture and numbers up to date with the controls."""
        with use_fastest_backend():
            self.text.value = self.update()
        self._canvas.restore_region(self._still)
        for artist in sorted(self._moving, key=lambda artist: artist.get_zorder()):
            artist.draw(self._canvas.get_renderer())
        png = io.BytesIO()
        Image.fromarray(np.asarray(self._canvas.buffer_rgba())).convert("RGB").save(png, "png", compress_level=1)
        self.image.value = png.getvalue()

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        bundle = super()._repr_mimebundle_(**kwargs) or {}
        bundle["text/plain"] = f"{type(self).__name__}: run this cell in JupyterLab to move its sliders"
        bundle["image/png"] = base64.b64encode(self.image.value).decode()
        return bundle


def float_slider(name: str, value: float, low: float, high: float, step: float) -> widgets.FloatSlider:
    """A slider of the panels' width that shows as many digits as its steps need."""
    digits = 3 if step < 0.01 else 2
    return widgets.FloatSlider(value, description=name, min=low, max=high, step=step, readout_format=f".{digits}f", **_LOOK)


def int_slider(name: str, value: int, low: int, high: int, step: int = 1) -> widgets.IntSlider:
    """A slider of whole numbers."""
    return widgets.IntSlider(value, description=name, min=low, max=high, step=step, **_LOOK)


_LOOK = {"layout": {"width": "260px"}, "style": {"description_width": "80px"}}


def as_error(error: float, digits: int = 2) -> str:
    """A mean squared error in a panel's text."""
    return f"{error:.{digits}f}" if error < 1000 else "diverged"


def own(theta: Weights) -> Weights:
    """A copy, so that a later cell that changes theta does not change the panel."""
    return {name: w.clone() for name, w in theta.items()}
