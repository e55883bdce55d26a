"""What adapts: how soon each choice learns, and which alphas a network gives its layers."""

from typing import TYPE_CHECKING

from ...networks import Weights
from ...results.shipped import load_study, load_study_weights
from ...results.study_result import StudyResult
from ..style import COLOURS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CHOICE_COLOURS = {"everything": COLOURS["maml"], "body": COLOURS["body"], "last block": COLOURS["last block"],
                  "head": COLOURS["anil"]}  # fmt: skip


def draw_choices(ax: "Axes", study: StudyResult) -> None:
    """Validation accuracy in % over the time of one core: a line for each choice of what adapts (first seed)."""
    first = min(row["seed"] for row in study.rows)
    for row in study.rows:
        if row["seed"] == first:
            minutes = [seconds / 60 for seconds in row["cpu_by_history"]]
            accuracy = [100 * point["validation"] for point in row["history"]]
            ax.plot(minutes, accuracy, "o-", ms=4.5, color=CHOICE_COLOURS[row["condition"]], label=row["condition"])
    ax.set(xlabel="minutes of one core", ylabel="validation accuracy, %", xlim=(0, None))
    ax.legend(loc="lower right")


def draw_layer_alphas(ax: "Axes", theta: Weights, alpha: float) -> None:
    """The alpha that training gave each layer, as bars; the dashed line is where all of them started.

    theta: of a learner with one alpha per layer and one step ("alpha.conv4" is [1]).
    """
    alphas = {name.removeprefix("alpha."): w.item() for name, w in theta.items() if name.startswith("alpha.")}
    ax.bar(list(alphas), list(alphas.values()), color=COLOURS["maml"], width=0.7)
    for place, value in enumerate(alphas.values()):
        ax.annotate(f"{value:.2f}", (place, max(value, 0)), (0, 3), textcoords="offset points", ha="center", fontsize=9)
    ax.axhline(alpha, color=COLOURS["before"], lw=1, ls="--")
    ax.axhline(0, color="#000000", lw=0.8)
    ax.set(xlabel="layer", ylabel="alpha", ylim=(None, 1.12 * max(alphas.values())))


def what_adapts() -> "Figure":
    """20-way 1-shot by what adapts: accuracy over time, and the alphas that each layer gets where all of them adapt."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(8, 3.3), width_ratios=[3, 2.4])
    study = load_study("what-adapts")
    draw_choices(axes[0], study)
    axes[0].set_title("The last block alone learns soonest")
    theta, recipe = load_study_weights("what-adapts", "everything")
    draw_layer_alphas(axes[1], theta, recipe.alpha)
    axes[1].set_title("Where every layer may adapt")
    return figure
