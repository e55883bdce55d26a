"""Table 1 of the paper as dots: the paper, others, and ours."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...results.literature import OMNIGLOT, REPRODUCTIONS, SETTINGS, Report
from ...results.tables import Row, accuracy_rows, in_words
from ..style import COLOURS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def draw_table_1(axes: "Sequence[Axes]", rows: Sequence[Row]) -> None:
    """Table 1 as dots with intervals, an axes for each setting: what others report in grey, ours in blue.

    rows: `tables.accuracy_rows()`. Ours are hollow where the training has not come to its end (`Row.is_done`),
    and a number at the left edge where they lie outside the picture, with a word on those.
    """
    here = {
        "MAML": {"MAML, here": "", "last block, here": "-fast"},
        "MAML, no conv": {"MAML, no conv, here": "-mlp"},
        "first-order MAML": {"first-order MAML, here": "-first-order"},
    }
    by_name = {row.recipe: row for row in rows}
    labels: list[str] = []
    ours: dict[str, str] = {}
    reports: dict[str, list[Report]] = {}
    for report in OMNIGLOT:
        reports[report.method] = [report]
        if again := [row for row in REPRODUCTIONS if row.method == report.method]:
            reports[f"{report.method}, reproduced"] = again
        labels += [*(label for label in reports if label not in labels), *here.get(report.method, {})]
        ours |= here.get(report.method, {})
    for ax, setting in zip(axes, SETTINGS):
        cells = {label: [cell for row in found if (cell := row.cell(setting))] for label, found in reports.items()}
        lowest = min(mean - (half or 0) for found in cells.values() for mean, half in found)
        left = 100 * (lowest - 0.15 * (1 - lowest))
        ax.set(yticks=range(len(labels)), ylim=(len(labels) - 0.4, -0.6), xlim=(left, 100.4), xlabel="accuracy, %")
        for place, label in enumerate(labels):
            row = by_name.get(f"omniglot-{setting}{ours[label]}") if label in ours else None
            colour = COLOURS["maml"] if row else "#555555"
            face = "white" if row and not row.is_done else colour
            for mean, half in [row.ours] if row and row.ours else cells.get(label, []):
                if 100 * mean < left:  # far off: the number instead of a dot, so that the others stay apart
                    unfinished = ", unfinished" if row and not row.is_done else ""
                    ax.annotate(f"\u25c2 {100 * mean:.1f}{unfinished}", (left, place), (3, 0), va="center",
                                textcoords="offset points", color=colour, fontsize=9)  # fmt: skip
                    continue
                ax.errorbar(100 * mean, place, xerr=100 * (half or 0), fmt="o", ms=5.5, capsize=2.5, color=colour,
                            mfc=face)  # fmt: skip
        ax.locator_params(axis="x", nbins=3, integer=True)
        ax.set_title(in_words(setting))
    axes[0].set_yticklabels(labels)
    for tick, label in zip(axes[0].get_yticklabels(), labels):
        tick.set_color(COLOURS["maml"] if label in ours else "#000000")


def table_1() -> "Figure":
    """The paper's Table 1 as dots with intervals: the paper, others, and ours."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 4, figsize=(8, 5.2), sharey=True)
    draw_table_1(axes, accuracy_rows())
    figure.suptitle("Omniglot: ours in blue, hollow where the training is not finished",
                    x=0.01, ha="left", fontsize=11)  # fmt: skip
    return figure
