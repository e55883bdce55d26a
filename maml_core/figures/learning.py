"""Learning curves, from the stories that trainings leave behind."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .style import COLOURS

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_learning_curves(ax: "Axes", stories: Mapping[str, Mapping[str, Any]], chance: float = 0.2) -> None:
    """Validation accuracy against meta-iterations, with 95% intervals: {label: what `load_shipped` tells}."""
    colours = (COLOURS["maml"], COLOURS["inner sum"])
    for (label, story), colour in zip(stories.items(), colours):
        rows = story["history"]
        x, y, half = ([row[key] for row in rows] for key in ("iteration", "validation", "ci95"))
        low, high = ([100 * (m + sign * c) for m, c in zip(y, half)] for sign in (-1, 1))
        ax.fill_between(x, low, high, color=colour, alpha=0.2, lw=0)
        ax.plot(x, [100 * m for m in y], "o-", ms=3, color=colour, label=label)
    ax.set(xlabel="meta-iterations", ylabel="validation accuracy, %", xlim=(0, None))
    ax.legend(loc="lower right")
