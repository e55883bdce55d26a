"""The animated part of `make figures`: figures/panels.gif, the panels while their sliders move.

Its last frame is figures/panels.png, for readers whose system asks for no motion: the site shows them that one.
"""

import io
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import ipywidgets as widgets
import torch
from matplotlib.font_manager import findfont
from PIL import Image, ImageColor, ImageDraw, ImageFont

from ..figures.notebook import FOLDER
from ..figures.style import COLOURS
from .base import Panel
from .registry import PANELS

SIZE, STRIP = (800, 450), 30  # above the picture, a strip says what moves
NO_IMAGES = torch.empty(0)  # these panels show none of Omniglot's
PAUSE, STILL = 90, 1100  # milliseconds that a frame lasts, and the last one of a scene
REPEATS = 1  # then it rests on its last frame: who reads beside it is left in peace


def scenes() -> Iterator[tuple[Image.Image, int]]:
    """(frame, milliseconds): a wave is dragged, two tasks are flattened, five drawings are named."""
    wave, plane, drawing = (PANELS[name](NO_IMAGES) for name in ("sinusoid", "plane", "drawing"))
    yield from drag(wave, "phase", [0.5 + 0.12 * i for i in range(20)])
    yield from drag(wave, "steps", range(2, 8))
    flat = [2.4 * 0.8**i for i in range(1, 21)]
    yield from drag(plane, "curvature_1", flat)
    yield from drag(plane, "curvature_2", flat[4:])
    for query in (1, 2, 3, 4, 0):
        yield from drag(drawing, "recorded", [query])


def drag(panel: Panel, control: str, values: list[float] | range) -> Iterator[tuple[Image.Image, int]]:
    """The panel's picture at each value of a control; the last one is held."""
    slider = getattr(panel, control)
    for i, value in enumerate(values, 1):
        slider.value = value
        frame = Image.new("RGB", SIZE, "white")
        picture: Image.Image = Image.open(io.BytesIO(panel.image.value))
        picture = picture.resize((SIZE[0], picture.height * SIZE[0] // picture.width), Image.Resampling.LANCZOS)
        frame.paste(picture, (0, STRIP + (SIZE[1] - STRIP - picture.height) // 2))
        show_control(frame, slider)
        yield frame, STILL if i == len(values) else PAUSE


def show_control(frame: Image.Image, control: widgets.Widget) -> None:
    """A control's name and value in the strip, and where its slider is."""
    pen = ImageDraw.Draw(frame)
    pen.font = ImageFont.truetype(findfont("DejaVu Sans"), 17)
    if isinstance(control, widgets.Dropdown):
        pen.text((12, 16), f"{control.description}: {control.label}", "black", anchor="lm")
        return
    pen.text((12, 16), control.description, "black", anchor="lm")
    pen.line([(140, 16), (380, 16)], "#999999", 4)
    knob = 140 + 240 * (control.value - control.min) / (control.max - control.min)
    pen.circle((knob, 16), 8, "white", "#333333", 2)
    shown = f"{control.value:.2f}" if isinstance(control.value, float) else str(control.value)
    pen.text((400, 16), shown, "black", anchor="lm")


def main(folder: Path = FOLDER) -> None:
    """Draw figures/panels.gif, and panels.png of its last frame."""
    folder.mkdir(exist_ok=True)
    frames, pauses = zip(*scenes())
    # One palette for all frames, so that still parts are identical from frame to frame and the file stays small.
    palette = Image.new("P", (1, 1))
    palette.putpalette(choose_colours([frames[0], frames[30], frames[-1]]))
    first, *others = (frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames)
    first.save(
        folder / "panels.gif", save_all=True, append_images=others, duration=list(pauses), loop=REPEATS, optimize=True
    )
    others[-1].save(folder / "panels.png", optimize=True)
    for kind in ("gif", "png"):
        print(f"{folder.name}/panels.{kind}")


def choose_colours(frames: Sequence[Image.Image], most: int = 200) -> list[int]:
    """A palette: white, the concepts' exact colours, and the frames' most frequent other colours that differ enough.

    Returns red, green and blue of one colour after another.
    """
    chosen = [(255, 255, 255), *(ImageColor.getrgb(colour) for colour in COLOURS.values())]
    seen: Counter = Counter()
    for frame in frames:
        seen.update({colour: number for number, colour in frame.getcolors(1 << 24) or []})
    for colour, _ in seen.most_common():
        if len(chosen) < most and all(max(abs(a - b) for a, b in zip(colour, other)) > 10 for other in chosen):
            chosen.append(colour)
    return [value for colour in chosen for value in colour]


if __name__ == "__main__":
    main()
