"""Pictures of the studies: batch norm's statistics, alpha at test, upright and turned characters, Table 1 as dots."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..results.literature import OMNIGLOT, SETTINGS
from ..results.study_result import StudyResult
from ..results.tables import Row, in_words
from .style import COLOURS, draw_band

if TYPE_CHECKING:
    from matplotlib.axes import Axes

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


def draw_rotations(ax: "Axes", study: StudyResult) -> None:
    """Accuracy by what was trained on and what the test shows; a dot for each seed."""
    tests = ("turned characters", "upright characters")
    conditions = list(dict.fromkeys(row["condition"] for row in study.rows))
    for test, offset, marker in zip(tests, (0.09, -0.09), ("o", "s")):
        for place, condition in enumerate(conditions):
            for row in (row for row in study.rows if row["condition"] == condition):
                judged = row["judged"][test]
                ax.errorbar(100 * judged["accuracy"], place + offset, xerr=100 * judged["ci95"], fmt=marker, ms=6,
                            capsize=3,
                            color=COLOURS["maml" if test == tests[0] else "baseline"],
                            label=f"test on {test}" if place == 0 and row["seed"] == 0 else None)  # fmt: skip
    ax.set(yticks=range(len(conditions)), ylim=(len(conditions) - 0.5, -0.5), xlabel="accuracy, %")
    ax.set_yticklabels(conditions)
    ax.legend(loc="center left")


def draw_table_1(axes: "Sequence[Axes]", rows: Sequence[Row]) -> None:
    """Table 1 as dots with intervals, an axes for each setting: the literature's rows in grey, ours in blue.

    rows: `tables.accuracy_rows()`. Ours are hollow where fewer meta-iterations were run than the recipe has,
    and a number at the left edge where they lie outside the picture.
    """
    here = {
        "MAML": {"MAML, here": "", "last block, here": "-fast"},
        "MAML, no conv": {"MAML, no conv, here": "-mlp"},
        "first-order MAML": {"first-order MAML, here": "-first-order"},
    }
    by_name, labels, ours = {row.recipe: row for row in rows}, [], {}
    for report in OMNIGLOT:
        labels += [report.method, *here.get(report.method, {})]
        ours |= here.get(report.method, {})
    for ax, setting in zip(axes, SETTINGS):
        others = {report.method: report.cell(setting) for report in OMNIGLOT if report.cell(setting)}
        lowest = min(mean - (half or 0) for mean, half in others.values())
        left = 100 * (lowest - 0.15 * (1 - lowest))
        ax.set(yticks=range(len(labels)), ylim=(len(labels) - 0.4, -0.6), xlim=(left, 100.4), xlabel="accuracy, %")
        for place, label in enumerate(labels):
            row = by_name.get(f"omniglot-{setting}{ours[label]}") if label in ours else None
            cell = row.ours if row else others.get(label)
            if cell is None:
                continue
            colour = COLOURS["maml"] if row else "#555555"
            face = "white" if row and row.iterations < row.of else colour
            if 100 * cell[0] < left:  # far off: the number instead of a dot, so that the others stay apart
                ax.annotate(f"\u25c2 {100 * cell[0]:.1f}", (left, place), (3, 0), textcoords="offset points", va="center",
                            color=colour, fontsize=9)  # fmt: skip
                continue
            half = 100 * (cell[1] or 0)
            ax.errorbar(100 * cell[0], place, xerr=half, fmt="o", ms=5.5, capsize=2.5, color=colour, mfc=face)
        ax.set_title(in_words(setting))
    axes[0].set_yticklabels(labels)
    for tick, label in zip(axes[0].get_yticklabels(), labels):
        tick.set_color(COLOURS["maml"] if label in ours else "#000000")


def _accuracy(ax: "Axes", x: Sequence[float], rows: Sequence[Mapping[str, Any]], colour: str, label: str) -> None:
    draw_band(ax, x, [100 * row["mean"] for row in rows], [100 * row["ci95"] for row in rows], colour, label)
