"""Pictures of MAML's variants: how they learn, how good they get, what a meta-iteration costs."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...networks import Weights
from ...results.shipped import load_study
from ...results.study_result import StudyResult
from ..style import COLOURS
from .learning import draw_history

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

VARIANT_COLOURS = {
    "MAML": COLOURS["maml"], "first order": COLOURS["first order"], "Reptile": COLOURS["reptile"], "ANIL": COLOURS["anil"],
    "Meta-SGD": COLOURS["meta-sgd"], "MAML++": COLOURS["maml++"], "iMAML": COLOURS["imaml"],
}  # fmt: skip
MARKERS = dict(zip(VARIANT_COLOURS, "osD^vPX"))
COSTS = {"median_ms": "ms per meta-iteration", "peak_mb": "peak memory in MB"}


def draw_variant_histories(ax: "Axes", study: StudyResult) -> None:
    """Validation accuracy of every variant while it trains: the mean of its seeds, without intervals, to stay readable.

    The plot beside it, `draw_variant_accuracies`, names the marks.
    """
    for variant, colour in VARIANT_COLOURS.items():
        runs = [row["history"] for row in study.rows if row["condition"] == variant]
        mean = [{**points[0], "validation": sum(p["validation"] for p in points) / len(points), "ci95": 0}
                for points in zip(*runs)]  # fmt: skip
        draw_history(ax, mean, colour, marker=MARKERS[variant], ms=4.5, lw=1.5)


def draw_variant_accuracies(ax: "Axes", study: StudyResult) -> None:
    """Test accuracy of every variant with its interval: a mark for each seed."""
    places = {variant: place for place, variant in enumerate(VARIANT_COLOURS)}
    for row in study.rows:
        judged, variant = row["judged"]["paper"], row["condition"]
        ax.errorbar(100 * judged["accuracy"], places[variant] + 0.2 * row["seed"] - 0.1, xerr=100 * judged["ci95"],
                    fmt=MARKERS[variant], ms=5.5, capsize=2.5, color=VARIANT_COLOURS[variant])  # fmt: skip
    ax.set(yticks=list(places.values()), ylim=(len(places) - 0.5, -0.5), xlabel="accuracy on 600 test tasks, %")
    for tick, colour in zip(ax.set_yticklabels(places), VARIANT_COLOURS.values()):
        tick.set_color(colour)


def draw_costs(axes: "Sequence[Axes]", cost: StudyResult) -> None:
    """Time on the left, memory on the right, against inner steps: a line for each variant."""
    for ax, (measure, label) in zip(axes, COSTS.items()):
        for variant, colour in VARIANT_COLOURS.items():
            rows = [row for row in cost.rows if row["variant"] == variant]
            ax.plot([row["steps"] for row in rows], [row[measure] for row in rows], marker=MARKERS[variant], ms=5,
                    lw=1.5, color=colour, label=variant)  # fmt: skip
        ax.set(xlabel="inner steps", ylabel=label, xticks=[1, 2, 5, 10], ylim=(0, None))
    axes[1].legend(fontsize=8)


def draw_learned_alphas(axes: "Sequence[Axes]", meta_sgd: Weights, layered: Weights, alpha: float) -> None:
    """What became of alpha: Meta-SGD's on the left, layer by layer with a box over its middle half; MAML++'s by step.

    meta_sgd, layered: their trained theta; alpha: where both started.
    """
    alphas = {
        name.removeprefix("alpha."): w.flatten().tolist() for name, w in meta_sgd.items() if name.startswith("alpha.")
    }
    axes[0].boxplot(list(alphas.values()), tick_labels=list(alphas), showfliers=False, whis=(2.5, 97.5),
                    medianprops={"color": COLOURS["meta-sgd"], "lw": 2})  # fmt: skip
    axes[0].tick_params(axis="x", labelrotation=45)
    axes[0].set(ylabel="alpha", xlabel="layer")
    names = [name for name in layered if name.startswith("alpha.")]
    for shade, name in zip((0.35, 0.5, 0.65, 0.8, 1, 1), names):
        values = layered[name].tolist()
        axes[1].plot(range(1, len(values) + 1), values, "o-" if "w" not in name else "s--", color=COLOURS["maml++"],
                     alpha=shade, label=name.removeprefix("alpha."), lw=1.5)  # fmt: skip
    axes[1].set(xlabel="inner step", xticks=range(1, len(values) + 1))
    axes[1].legend(fontsize=8, ncols=2)
    for ax in axes:
        ax.axhline(alpha, color=COLOURS["before"], lw=1, ls="--")


def variants() -> "Figure":
    """MAML's variants on the same budget: while they train, and on test tasks."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(8, 3.6))
    study = load_study("variants")
    draw_variant_histories(axes[0], study)
    axes[0].set_title("First order and MAML++ learn soonest")
    draw_variant_accuracies(axes[1], study)
    axes[1].set_title(f"After {study.settings['iterations']:,} meta-iterations, two seeds")
    return figure


def variants_cost() -> "Figure":
    """Time and memory of a meta-iteration against inner steps, variant by variant."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(8, 3.4))
    draw_costs(axes, load_study("variants-cost"))
    axes[0].set_title("Time grows with the steps ...")
    axes[1].set_title("... memory need not")
    return figure
