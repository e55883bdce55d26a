"""Figures: every reported one draws itself, and the folder holds those of the registry."""

import re
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

from maml_core.figures import reported
from maml_core.figures.notebook import FOLDER
from maml_core.figures.registry import FIGURES, OMNIGLOT_FIGURES


@pytest.mark.parametrize("name", reported.__all__)
def test_every_reported_figure_draws_itself(name):
    """Titles, labels, and something in every axes."""
    figure = FIGURES[name]()
    for ax in figure.axes:
        assert ax.has_data()
        assert name == "benchmark" or (ax.get_xlabel() and (ax.get_title() or figure.get_suptitle()))
    plt.close(figure)


def test_the_folder_holds_the_registry_and_pages_show_it():
    drawn = FIGURES.keys() | OMNIGLOT_FIGURES.keys()
    assert {path.stem for path in FOLDER.glob("*.png")} == drawn
    pages = [*FOLDER.parent.glob("*.md"), *FOLDER.parent.glob("docs/*.md"), *FOLDER.parent.glob("notebooks/*.ipynb")]
    text = "".join(Path(page).read_text() for page in pages)
    shown = set(re.findall(r"figures/(\w+)\.png", text)) | set(re.findall(r'shipped_picture\(\\"(\w+)', text))
    assert shown == drawn
