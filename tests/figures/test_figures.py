"""Figures: every reported one draws itself, and the folder holds those of the registry."""

import re
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import pytest
from PIL import Image, ImageChops

from maml_core.figures import reported
from maml_core.figures.notebook import FOLDER
from maml_core.figures.registry import FIGURES, OMNIGLOT_FIGURES
from maml_core.figures.style import STYLE
from maml_core.panels.__main__ import REPEATS


@pytest.mark.parametrize("name", reported.__all__)
def test_every_reported_figure_draws_itself(name):
    """Titles, labels, and something in every axes."""
    figure = FIGURES[name]()
    for ax in figure.axes:
        assert ax.has_data()
        assert name == "benchmark" or (ax.get_xlabel() and (ax.get_title() or figure.get_suptitle()))
    plt.close(figure)


@pytest.mark.parametrize("name", ["families_predictions", "omniglot_predictions"])
def test_pictures_stand_beside_their_labels(name, characters):
    """The sheets have as many rows each, which are at the same places, to a pixel."""
    with matplotlib.style.context(STYLE):
        figure = OMNIGLOT_FIGURES[name](characters)
        figure.canvas.draw()
    first, *others = (ax.get_window_extent() for ax in figure.axes)
    for sheet in others:
        assert (sheet.y0, sheet.y1) == pytest.approx((first.y0, first.y1), abs=1)
    plt.close(figure)


def test_the_animation_ends():
    """On the frame that is the still picture, for readers who want no motion."""
    with Image.open(FOLDER / "panels.gif") as image, Image.open(FOLDER / "panels.png") as still:
        assert image.info["loop"] == REPEATS == 1
        image.seek(image.n_frames - 1)
        assert not ImageChops.difference(image.convert("RGB"), still.convert("RGB")).getbbox()


def test_the_folder_holds_the_registry_and_pages_show_it():
    drawn = FIGURES.keys() | OMNIGLOT_FIGURES.keys()
    assert {path.stem for path in FOLDER.glob("*.png")} == drawn | {"panels"}  # which the site shows for the animation
    pages = [*FOLDER.parent.glob("*.md"), *FOLDER.parent.glob("docs/*.md"), *FOLDER.parent.glob("notebooks/*.ipynb")]
    text = "".join(Path(page).read_text() for page in pages)
    shown = set(re.findall(r"figures/(\w+)\.png", text)) | set(re.findall(r'shipped_picture\(\\"(\w+)', text))
    assert shown == drawn
