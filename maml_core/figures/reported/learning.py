"""Learning curves from the records of training runs, and runs that differ in one factor."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ...learners.registry import READERS
from ...recipes import RECIPES
from ...results.shipped import is_shipped, load_shipped, load_study
from ...results.study_result import StudyResult
from ...training.record import TrainingRecord
from ..style import COLOURS, draw_band, explain_dashes
from .benchmark import plain_numbers

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Rows = Iterable[Mapping[str, Any]]


def draw_history(ax: "Axes", history: Rows, colour: str, label: str | None = None, **line: Any) -> None:
    """One training run: validation accuracy in % against meta-iterations, with its 95% interval."""
    x, y, half = ([row[key] for row in history] for key in ("iteration", "validation", "ci95"))
    draw_band(ax, x, [100 * m for m in y], [100 * c for c in half], colour, label, **line)
    ax.set(xlabel="meta-iterations", ylabel="validation accuracy, %", xlim=(0, None))
    ax.xaxis.set_major_formatter("{x:,.0f}")


# {what a recipe's name ends in: (what it is, its colour)}; 5-shot is dashed, the best recipe dotted.
VARIANTS = {
    "-mean": ("MAML", COLOURS["maml"]),
    "-sum": ("MAML", COLOURS["maml"]),
    "-first-order": ("first-order MAML", COLOURS["first order"]),
    "-mlp": ("MAML, no conv", COLOURS["mlp"]),
    "-alphabets": ("MAML, alphabets apart", COLOURS["alphabets"]),
    "-fast": ("last block", COLOURS["last block"]),
    "-best": ("last block, best recipe", COLOURS["last block"]),
    "shot": ("MAML", COLOURS["maml"]),
}
SHORTEST = 1000  # meta-iterations: what was trained for less shows no curve


def draw_learning_curves(ax: "Axes", records: Iterable[TrainingRecord]) -> None:
    """Training runs on Omniglot, the records from `load_shipped`, in one picture: error in %, both axes logarithmic.

    A run of fewer than `SHORTEST` meta-iterations is left out, and so are the intervals, which would hide other lines.
    """
    for record in records:
        name = record.recipe.name
        if record.history[-1]["iteration"] < SHORTEST:
            continue
        what, colour = next(look for ending, look in VARIANTS.items() if name.endswith(ending))
        if what == "MAML" and record.recipe.inner_loss == "sum":
            what, colour = "MAML, sum / K", COLOURS["inner sum"]
        shots = record.recipe.shots
        x, error = ([row["iteration"] for row in record.history], [100 - 100 * row["validation"] for row in record.history])
        ls = ":" if name.endswith("-best") else "-" if shots == 1 else (0, (4, 1.5))
        ax.plot(x, error, color=colour, lw=1.5, ls=ls, label=f"{what}, {shots}-shot")
    ax.set(
        xlabel="meta-iterations", ylabel="error on validation tasks, %", xscale="log", yscale="log", xlim=(SHORTEST, None)
    )
    plain_numbers(ax.xaxis, (1.0, 3.0))
    plain_numbers(ax.yaxis, (1.0, 2.0, 5.0))
    ax.legend(fontsize=8, handlelength=3.2)


def draw_comparison(ax: "Axes", study: StudyResult, colours: Mapping[str, str]) -> None:
    """A study's training runs: a colour for each condition, a line for each seed (the second one dashed).

    study: what `load_study` returns; colours: {condition: colour}.
    """
    for row in study.rows:
        first = row["seed"] == min(r["seed"] for r in study.rows)
        label = row["condition"] if first else None
        draw_history(ax, row["history"], colours[row["condition"]], label, ls="-" if first else "--")
    if len({row["seed"] for row in study.rows}) > 1:
        explain_dashes(ax)
    ax.legend(loc="lower right")


LOSS_COLOURS = {"mean": COLOURS["maml"], "sum / K": COLOURS["inner sum"]}
LONG_20WAY = ("omniglot-20way-1shot-mean", "omniglot-20way-1shot")  # recipes with the mean and with the sum
ORDER_COLOURS = {"second order": COLOURS["maml"], "first order": COLOURS["first order"]}


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
                            color="#000000" if test == tests[0] else "#999999",
                            label=f"test on {test}" if place == 0 and row["seed"] == 0 else None)  # fmt: skip
    ax.set(yticks=range(len(conditions)), ylim=(len(conditions) - 0.5, -0.5), xlabel="accuracy, %")
    ax.set_yticklabels(conditions)
    ax.legend(loc="center left")


def learning_curves() -> "Figure":
    """Error on validation tasks in the course of every shipped training run on Omniglot, 5-way and 20-way."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(8, 4.4))
    titles = ("5-way: without convolutions, errors are larger", "20-way: the last block is ahead")
    for ax, ways, title in zip(axes, ("5way", "20way"), titles):
        names = [name for name, recipe in RECIPES.items()
                 if name.startswith(f"omniglot-{ways}") and is_shipped(name) and recipe.variant not in READERS]  # fmt: skip
        draw_learning_curves(ax, (load_shipped(name)[1] for name in names))
        ax.set_title(title)
        ax.get_legend().remove()
    axes[1].set_ylabel("")
    lines = {line.get_label(): line for ax in axes for line in ax.get_lines()}
    figure.legend(lines.values(), lines, loc="outside lower left", fontsize=8, ncols=4, handlelength=3.2, columnspacing=1.2)
    return figure


def loss_scale() -> "Figure":
    """The inner loss as sum / K and as mean, 5-way and 20-way: two seeds each, equally long; and the long 20-way runs."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(8, 3.2))
    for ax, ways in zip(axes, ("5way", "20way")):
        draw_comparison(ax, load_study(f"loss-scale-{ways}"), LOSS_COLOURS)
        ax.set_title(f"{ways.replace('way', '-way')} 1-shot", fontsize=10)
    for name, colour in zip(LONG_20WAY, LOSS_COLOURS.values()):
        draw_history(axes[2], load_shipped(name)[1].history, colour)
    axes[2].autoscale(axis="x")  # to the longer of the two
    axes[2].set_xlim(left=0)
    axes[2].locator_params(axis="x", nbins=4)
    axes[2].set_title("20-way, trained for longer", fontsize=10)
    for ax in axes[:2]:
        ax.get_legend().remove()
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def order_and_rotations() -> "Figure":
    """Second against first order while training; and what training on turned characters is worth."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(8, 3.2))
    draw_comparison(axes[0], load_study("order"), ORDER_COLOURS)
    axes[0].set_title("5-way 1-shot: the first order falls behind")
    draw_rotations(axes[1], load_study("rotations"))
    axes[1].set_title("Turned characters are easier, for both")
    return figure
