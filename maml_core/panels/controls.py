"""The controls of panels: sliders whose values can be typed, and a button that counts its clicks."""

from collections.abc import Sequence
from typing import Any

import ipywidgets as widgets
import traitlets

LABEL = "80px"  # the room for a slider's name
LONGEST_DROPDOWN = "320px"
# What a control does, for whoever points at it. The others' names say it all.
TIPS = {
    "alpha": "alpha, the size of an inner step",
    "steps": "how many inner steps are taken",
    "K": "K, the number of examples of each class or points of the wave",
    "ways": "N, the number of classes",
    "turned by": "degrees by which all pictures are turned, counter-clockwise",
    "stroke +": "pixels by which all strokes are wider, or thinner where it is negative",
    "curvature 1": "the largest curvature of the green task's loss",
    "curvature 2": "the largest curvature of the pink task's loss",
    "theta 1": "the first weight of the initialization",
    "theta 2": "the second weight of the initialization",
    "goal x": "where the goal is, from left to right",
    "goal y": "where the goal is, from bottom to top",
}


class FloatSlider(widgets.FloatSlider):
    """A slider of the digits that it shows: a typed value is rounded to them, so that the one shown is the one used.

    trained: a value to mark below the track, the alpha of training.
    """

    trained = traitlets.Float(None, allow_none=True)

    @traitlets.validate("value")
    def _validate_value(self, proposal: Any) -> float:
        value = super()._validate_value(proposal)
        rounded = round(value, int(self.readout_format[1:-1]))
        # A page says 0.011000000000000003. To correct that would send the slider back, while it is dragged on.
        return value if abs(rounded - value) < 1e-9 else rounded


class CountingButton(widgets.Button):
    """A button whose value is the number of its clicks: what it draws anew can be drawn again."""

    value = traitlets.Int(0, min=0)

    def __init__(self, description: str, tooltip: str) -> None:
        super().__init__(description=description, tooltip=tooltip, layout={"width": "auto"})
        self.on_click(lambda button: self.set_trait("value", self.value + 1))


def float_slider(
    name: str, value: float, low: float, high: float, step: float, trained: float | None = None
) -> FloatSlider:
    """A slider that shows as many digits, two at least, as its steps and its first value need.

    trained: a value to mark below the track, the alpha of training.
    """
    digits = max(2, *(len(f"{number:.4f}".rstrip("0").partition(".")[2]) for number in (step, value)))
    look = _look(name) | {"readout_format": f".{digits}f", "trained": trained}
    return FloatSlider(value, description=name, min=low, max=high, step=step, **look)


def int_slider(name: str, value: int, low: int, high: int, step: int = 1) -> widgets.IntSlider:
    """A slider of whole numbers."""
    return widgets.IntSlider(value, description=name, min=low, max=high, step=step, **_look(name))


def dropdown(name: str, options: Sequence[Any], value: Any) -> widgets.Dropdown:
    """A choice among options, each a value or a pair of (what is shown, value); value: the one it starts with."""
    return widgets.Dropdown(
        options=options, value=value, description=name, tooltip=name, style={"description_width": "initial"},
        layout={"width": "auto", "max_width": LONGEST_DROPDOWN},
    )  # fmt: skip


def checkbox(name: str) -> widgets.Checkbox:
    """A box, not checked."""
    return widgets.Checkbox(False, description=name, tooltip=name, indent=False, layout={"width": "auto"})


def button(name: str, tooltip: str) -> widgets.Button:
    """A button that is as wide as its name."""
    return widgets.Button(description=name, tooltip=tooltip, layout={"width": "auto"})


def choices(control: widgets.Widget) -> str:
    """What a control can be, for a message."""
    if isinstance(control, widgets.Dropdown):
        return f"choose one of {', '.join(repr(value) for _, value in control._options_full)}"
    if isinstance(control, widgets.Checkbox):
        return "choose True or False"
    if isinstance(control, widgets.Button):
        return "choose a whole number of clicks"
    digits = f", with at most {control.readout_format[1:-1]} digits" if hasattr(control, "trained") else ""
    return f"choose a number from {control.min} to {control.max}{digits}"


def _look(name: str) -> dict[str, Any]:
    layout, style = {"width": "auto", "margin": "0"}, {"description_width": LABEL}
    return {"layout": layout, "style": style, "tooltip": TIPS.get(name, name)}
