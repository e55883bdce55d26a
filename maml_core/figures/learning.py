"""Learning curves, from the records of training runs."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ..results.study_result import StudyResult
from ..training.record import TrainingRecord
from .style import COLOURS, draw_band

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Rows = Iterable[Mapping[str, Any]]


def draw_history(ax: "Axes", history: Rows, colour: str, label: str | None = None, **line: Any) -> None:
    """One training run: validation accuracy in % against meta-iterations, with its 95% interval."""
    x, y, half = ([row[key] for row in history] for key in ("iteration", "validation", "ci95"))
    draw_band(ax, x, [100 * m for m in y], [100 * c for c in half], colour, label, **line)
    ax.set(xlabel="meta-iterations", ylabel="validation accuracy, %", xlim=(0, None))


# By what a recipe's name ends in; 5-shot is dashed, the best recipe dotted.
VARIANTS = {
    "-sum": COLOURS["inner sum"], "-first-order": COLOURS["first order"], "-mlp": COLOURS["mlp"],
    "-alphabets": COLOURS["alphabets"], "-fast": COLOURS["last block"],
    "-best": COLOURS["last block"], "shot": COLOURS["maml"],
}  # fmt: skip
OTHER = COLOURS["before"]


def draw_learning_curves(ax: "Axes", records: Mapping[str, TrainingRecord]) -> None:
    """Several training runs in one picture, on a logarithmic axis: {label: the record from `load_shipped`}."""
    for label, record in records.items():
        name = record.recipe.name
        colour = next((colour for ending, colour in VARIANTS.items() if name.endswith(ending)), OTHER)
        draw_history(
            ax, record.history, colour, label, ls="--" if "5shot" in name else ":" if name.endswith("-best") else "-"
        )
    ax.set_xlim(60, 70_000)
    ax.set_xscale("log")
    ax.legend(loc="lower right", fontsize=8)


def draw_comparison(ax: "Axes", study: StudyResult, colours: Mapping[str, str]) -> None:
    """A study's training runs: a colour for each condition, a line for each seed (the second one dashed).

    study: what `load_study` returns; colours: {condition: colour}.
    """
    for row in study.rows:
        first = row["seed"] == min(r["seed"] for r in study.rows)
        label = row["condition"] if first else None
        draw_history(ax, row["history"], colours[row["condition"]], label, ls="-" if first else "--")
    ax.legend(loc="lower right")


LOSS_COLOURS = {"mean": COLOURS["maml"], "sum / K": COLOURS["inner sum"]}
ORDER_COLOURS = {"second order": COLOURS["maml"], "first order": COLOURS["first order"]}
