"""What decides at meta-test: the points that batch norm's statistics are of, and alpha."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ...results.shipped import load_study
from ...results.study_result import StudyResult
from ..style import COLOURS, draw_band

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SEES = {
    "query batch": ("all query pictures (the paper's code)", COLOURS["maml"]),
    "support and one query": ("the support set and one query picture", COLOURS["one query"]),
    "support": ("the support set only", COLOURS["support only"]),
}
METHODS = {"omniglot-5way-1shot": ("inner loss: mean", COLOURS["maml"]),
           "omniglot-5way-1shot-sum": ("inner loss: sum / K", COLOURS["inner sum"])}  # fmt: skip


def draw_query_batches(ax: "Axes", study: StudyResult) -> None:
    """Accuracy against query pictures per class, a line for each choice of batch norm's statistics."""
    for sees, (label, colour) in SEES.items():
        rows = [row for row in study.rows if row["sees"] == sees]
        _accuracy(ax, [row["queries"] for row in rows], rows, colour, label)
    ax.set(xlabel="query pictures per class", ylabel="accuracy, %", xticks=[1, 2, 5, 10, 15], ylim=(None, 100.4))
    ax.legend(title="batch norm's statistics are of", alignment="left", loc="upper right")


def draw_alpha_at_test(axes: "Sequence[Axes]", study: StudyResult) -> None:
    """Accuracy against alpha at test in units of alpha in training: after 1 step on the left, after 3 on the right."""
    for ax, steps in zip(axes, (1, 3)):
        for recipe, (label, colour) in METHODS.items():
            rows = [row for row in study.rows if row["recipe"] == recipe and row["steps"] == steps]
            _accuracy(ax, [row["multiple"] for row in rows], rows, colour, label)
        ax.axvline(1, color=COLOURS["before"], lw=1, ls="--")
        ax.set(xlabel="alpha at test / alpha in training", ylabel="accuracy, %", ylim=(15, 102))
        ax.set_title(f"{steps} inner step{'s' * (steps > 1)}: the alpha of training is the best")
    axes[0].legend(loc="lower right")


def _accuracy(ax: "Axes", x: Sequence[float], rows: Sequence[Mapping[str, Any]], colour: str, label: str) -> None:
    draw_band(ax, x, [100 * row["mean"] for row in rows], [100 * row["ci95"] for row in rows], colour, label)


def query_batches() -> "Figure":
    """Accuracy against query pictures per class, by which pictures batch norm's statistics come from."""
    import matplotlib.pyplot as plt

    figure, ax = plt.subplots(figsize=(8, 3.4))
    draw_query_batches(ax, load_study("query-batches"))
    ax.set_title("5-way 1-shot, the same weights: what batch norm sees decides")
    return figure


def alpha_at_test() -> "Figure":
    """Accuracy against alpha at test, after one and three steps."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(8, 3.2), sharey=True)
    draw_alpha_at_test(axes, load_study("alpha-at-test"))
    axes[1].set_ylabel("")
    return figure
