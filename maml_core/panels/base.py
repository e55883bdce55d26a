"""What all panels share: controls, one picture, one line of numbers, and drawing that keeps up with a slider.

A panel is an ipywidgets box around an `Image`. Besides the widget it provides that image as a PNG, so one output
serves JupyterLab with a kernel, JupyterLab without, and GitHub. A panel depends only on its constructor's arguments; it
reads nothing from the notebook, so a later cell cannot break it.

Drawing a whole figure takes a third of a second on two cores, most of it for axes, ticks and layout, which never
change. So a panel draws those once, keeps the pixels, and from then on draws only the moving artists on top.
"""

import base64
import inspect
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any

import ipywidgets as widgets
import matplotlib.style
import torch
import traitlets
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from ..engine.matmul import choose_backend, use_backend
from ..figures.style import STYLE
from ..networks import Weights
from ..util.threads import threads
from .controls import button, choices
from .look import picture_layout, sliders_grid, style, wrapping_row
from .pixels import as_png, with_texts

# Of a picture 8 inches wide, 1200 pixels: one and a half for each of the page's in a usual cell, and no fewer than one in
# the widest. Two and more for each would make the picture of a drag 10 ms later.
PIXELS_PER_INCH = 150

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
    """Controls above a picture. A subclass builds the picture once and then updates its moving parts.

    Its controls are those of its attributes that have a value; their names are the attributes'. The first line of its
    docstring is what a screen reader says of the picture.
    """

    LARGE_PRODUCTS = False  # whether its matrix products are large, as a conv net's: small ones are quickest with MKL

    def __init__(
        self, controls: Sequence[widgets.Widget], size: tuple[float, float], state: Mapping[str, Any] | None = None
    ) -> None:
        """size: of the picture in inches. state: values of controls by name, to start with.

        Raises ValueError for a name that no control has, and for a value that a control cannot have.
        """
        ours = {id(control) for control in controls if hasattr(control, "value")}
        self._controls = {name: control for name, control in vars(self).items() if id(control) in ours}
        self._moving: list[Artist] = []
        self._below: list[Artist] = []
        self._stale = self._held = False
        sliders = [control for control in controls if isinstance(control, widgets.FloatSlider | widgets.IntSlider)]
        others = [control for control in controls if control not in sliders]
        self.reset = button("reset", "bring every control back to its first value")
        self.copy_state = button("copy state", "a line of Python that makes this panel again, as it is now")
        self.line = widgets.Text(layout={"display": "none", "width": "100%"}, tooltip=self.copy_state.tooltip)
        what = (type(self).__doc__ or "").partition("\n")[0]
        self.image = widgets.Image(format="png", layout=picture_layout(*size))
        self.text, self._style = widgets.HTML(), widgets.HTML(style(sliders, what), layout={"display": "none"})
        for widget, name in ((self, "panel"), (self.line, "code"), (self.image, "picture"), (self.text, "text")):
            widget.add_class(f"maml-{name}")
        row = wrapping_row([*others, self.reset, self.copy_state])
        super().__init__([sliders_grid(sliders), row, self.line, self.image, self.text, self._style])
        self.restore(state or {})
        self._first = self.state()
        with matplotlib.style.context(STYLE):
            figure = Figure(figsize=size, dpi=PIXELS_PER_INCH, layout="constrained")
            self._canvas = FigureCanvasAgg(figure)
            self.build(figure)
            figure.draw_without_rendering()  # computes the layout, once
            figure.set_layout_engine("none")
            self._canvas.draw()
        self._still = self._with_below = self._canvas.copy_from_bbox(figure.bbox)
        for control in controls:
            if id(control) in ours:
                control.observe(lambda change: None if self._held else self.redraw(), "value")
            elif isinstance(control, widgets.Button):
                control.on_click(lambda button: self.redraw())
            if control.has_trait("trained"):
                control.observe(lambda change: self._style.set_trait("value", style(sliders, what)), "trained")
        self.reset.on_click(lambda button: self.set_all(self._first))
        self.copy_state.on_click(lambda button: self._show_code())
        self.redraw()

    def build(self, figure: Figure) -> None:
        """Add axes and artists to the figure, and pass those that will change to `moves`."""
        raise NotImplementedError

    def update(self) -> str:
        """Bring the moving artists up to date with the controls and return the line of numbers below the picture."""
        raise NotImplementedError

    def state(self) -> dict[str, Any]:
        """The value of every control by its name, which `restore` takes."""
        values = {name: control.value for name, control in self._controls.items()}
        return {name: round(value, 9) if isinstance(value, float) else value for name, value in values.items()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Give controls other values, without drawing. Raises ValueError for names or values that cannot be."""
        for name, value in state.items():
            if name not in self._controls:
                raise ValueError(f"{type(self).__name__} has no control {name!r}: it has {', '.join(self._controls)}.")
            control = self._controls[name]
            try:
                control.value = value
                fits = control.value == value
            except traitlets.TraitError:
                fits = False
            if not fits:
                raise ValueError(f"{name} of {type(self).__name__} cannot be {value!r}: {choices(control)}.")

    @alone
    def set_all(self, state: Mapping[str, Any]) -> None:
        """Give controls other values and draw once."""
        self._held = True
        try:
            self.restore(state)
        finally:
            self._held = False
            self.redraw()

    def code(self) -> str:
        """A line of Python that makes this panel again with its controls as they are.

        The required arguments have the names of the constructor's parameters, to be replaced by your own.
        """
        parameters = list(inspect.signature(type(self).__init__).parameters.values())[1:]
        arguments = [parameter.name for parameter in parameters if parameter.default is parameter.empty]
        if any(parameter.name == "seed" for parameter in parameters):
            arguments.append(f"seed={self.seed}")
        return f"{type(self).__name__}({', '.join([*arguments, f'state={self.state()}'])})"

    def _show_code(self) -> None:
        """The line in a field that has the focus, whereupon the page selects and copies it (`look`)."""
        self.line.value, self.line.layout.display = self.code(), None
        self.line.focus()

    def moves(self, artist: Any, seldom: bool = False) -> Any:
        """Register an artist as moving: it is left out of the still background. Returns it.

        seldom: it lies below the others, and is not drawn again before it changes.
        """
        artist.set_animated(True)
        (self._below if seldom else self._moving).append(artist)
        return artist

    def moving_title(self, ax: Axes, pad: float | None = None) -> Text:
        """A title that `update` sets, so many points above the axes."""
        return self.moves(ax.set_title(" ", pad=pad))

    def redraw(self) -> None:
        """Bring picture and numbers up to date with the controls.

        Of several threads that ask while a picture is being drawn, only the first draws another: it shows all changes.
        """
        self._stale = True
        self._draw()

    @alone
    def _draw(self) -> None:
        if not self._stale:
            return
        self._stale = False  # before the controls are read: a change from now on makes another picture
        backend = choose_backend() if self.LARGE_PRODUCTS else "mkl"
        with torch.no_grad(), threads(1), use_backend(backend):
            text = self.update()
        if any(artist.stale for artist in self._below):
            self._draw_on(self._still, self._below)
            self._with_below = self._canvas.copy_from_bbox(self._canvas.figure.bbox)
        self._draw_on(self._with_below, self._moving)
        texts = [artist for artist in self._moving if isinstance(artist, Text)]
        self.image.value = as_png(with_texts(self._canvas.buffer_rgba(), texts, PIXELS_PER_INCH))
        self.text.value = text

    def _draw_on(self, background: Any, artists: list[Artist]) -> None:
        self._canvas.restore_region(background)
        for artist in sorted(artists, key=lambda artist: artist.get_zorder()):
            if artist.get_visible() and not isinstance(artist, Text):
                artist.draw(self._canvas.get_renderer())

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        bundle = super()._repr_mimebundle_(**kwargs) or {}
        bundle["text/plain"] = f"{type(self).__name__}: run this cell in JupyterLab to move its sliders"
        bundle["image/png"] = base64.b64encode(self.image.value).decode()
        return bundle


def as_error(error: float, digits: int = 2) -> str:
    """A mean squared error in a panel's text."""
    return f"{error:.{digits}f}" if error < 1000 else "diverged"


def own(theta: Weights) -> Weights:
    """A copy, so that a later cell that changes theta does not change the panel."""
    return {name: w.clone() for name, w in theta.items()}
