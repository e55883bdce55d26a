"""`make figures`: draw the figures of README.md and docs/ and the fallbacks of chapter 3.

They come from the shipped weights and results. Figures that show Omniglot need its images; without them they are left
as they are, and a line says so.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib

from ..tasks.characters import load_characters
from . import use_style
from .notebook import FOLDER
from .registry import FIGURES, OMNIGLOT_FIGURES

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_all() -> Iterator[tuple[str, "Figure"]]:
    """(name, figure) of every figure that can be drawn here."""
    for name, draw in FIGURES.items():
        yield name, draw()
    characters = load_characters()
    if characters.source == "omniglot":
        for name, draw_from in OMNIGLOT_FIGURES.items():
            yield name, draw_from(characters)
    else:
        print("Omniglot is not on disk: the figures that show it are left as they are.")


def main(folder: Path = FOLDER) -> None:
    """Draw them all into figures/."""
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    use_style()
    folder.mkdir(exist_ok=True)
    for name, figure in draw_all():
        # Without the software's version in it, the same figure is the same file.
        figure.savefig(folder / f"{name}.png", metadata={"Software": None})
        plt.close(figure)
        print(f"{folder.name}/{name}.png")


if __name__ == "__main__":
    main()
