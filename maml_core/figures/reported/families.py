"""Three families of few-shot learning: how soon they learn, and how they do when the test differs from training."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch

from ...maml import adapt
from ...results.comparisons import family_seconds
from ...results.shipped import load_study
from ...results.study_result import StudyResult
from ...studies.families import EQUAL_COLUMNS, MAML, SHIPPED_AS, load_family
from ...tasks.characters import Characters, CharacterTasks
from ..omniglot import draw_predictions
from ..style import COLOURS, draw_band

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MARKERS = {MAML: "o", "prototypes": "s", "matching": "^", "memory": "D", EQUAL_COLUMNS: "o"}
LABELS = {
    "shots": "shots K at test", "ways": "ways N at test",
    "turned": "turned by, degrees", "stroke": "strokes wider by, pixels",
}  # fmt: skip
FINDINGS = {
    "shots": "More shots: all gain", "ways": "Other ways: two know no limit",
    "turned": "Turned classes: MAML loses least", "stroke": "Another pen: little is lost",
}  # fmt: skip


def colour(learner: str) -> str:
    """A learner's colour; MAML with equal columns has MAML's."""
    return COLOURS["maml" if learner in (MAML, EQUAL_COLUMNS) else learner]


def draw_families_learning(ax: "Axes", study: StudyResult, seconds: Mapping[str, float]) -> None:
    """Validation accuracy against the minutes that the meta-iterations take one CPU core; further seeds are dashed.

    seconds: {learner: of a meta-iteration}
    """
    from matplotlib.ticker import LogLocator

    for row in study.rows:
        history, first = row["history"], row["seed"] == min(r["seed"] for r in study.rows)
        minutes = [r["iteration"] * seconds[row["condition"]] / 60 for r in history]
        draw_band(ax, minutes, [100 * r["validation"] for r in history], [100 * r["ci95"] for r in history],
                  colour(row["condition"]), row["condition"] if first else None, ls="-" if first else "--",
                  marker=MARKERS[row["condition"]], markevery=-(-len(history) // 6))  # fmt: skip
    ax.set(xlabel="minutes of one core", ylabel="validation accuracy, %", xscale="log")
    ax.minorticks_off()
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.xaxis.set_major_formatter("{x:g}")
    ax.legend(loc="lower left")


def draw_families_tests(ax: "Axes", studies: Mapping[str, StudyResult]) -> None:
    """Test accuracy of every training run by the paper's protocol: {"5way": study, "20way": study}; 20-way hollow."""
    for ways, study in studies.items():
        for row in study.rows:
            judged, learner = row["judged"]["paper"], row["condition"]
            place = list(SHIPPED_AS).index(learner) + 0.16 * row["seed"]
            ax.errorbar(100 * judged["accuracy"], place, xerr=100 * judged["ci95"], fmt=MARKERS[learner], ms=5, capsize=2,
                        color=colour(learner), mfc=colour(learner) if ways == "5way" else "white")  # fmt: skip
    ax.set(yticks=range(len(SHIPPED_AS)), ylim=(len(SHIPPED_AS) - 0.4, -0.6), xlabel="accuracy, %")
    ax.set_yticklabels(SHIPPED_AS)


def draw_families_shift(axes: "Sequence[Axes]", study: StudyResult) -> None:
    """Accuracy against shots, ways, orientation and stroke width at test; a dashed line marks the training setting."""
    for ax, axis in zip(axes, LABELS):
        rows = [row for row in study.rows if row["axis"] == axis]
        for learner in dict.fromkeys(row["learner"] for row in rows):
            mine = [row for row in rows if row["learner"] == learner]
            mean, ci95 = ([100 * row[key] for row in mine] for key in ("mean", "ci95"))
            draw_band(ax, [row["value"] for row in mine], mean, ci95, colour(learner), learner, marker=MARKERS[learner],
                      ls=":" if learner == EQUAL_COLUMNS else "-")  # fmt: skip
        values = sorted({row["value"] for row in rows})
        ax.axvline(study.settings["trained_at"][axis], color=COLOURS["before"], lw=1, ls="--", zorder=0)
        ax.set(xlabel=LABELS[axis], ylabel="accuracy, %")
        if axis in ("shots", "ways"):
            ax.set_xscale("log")
            ax.minorticks_off()
        ax.set_xticks(values, [f"{value:g}" for value in values])
        ax.set_title(FINDINGS[axis])
    axes[0].legend(loc="lower right")
    axes[1].legend(*([part[-1]] for part in axes[1].get_legend_handles_labels()), loc="lower left")  # the dotted line


def families() -> "Figure":
    """Three families on the same episodes: validation accuracy over time, and what the test says."""
    import matplotlib.pyplot as plt
    from matplotlib.ticker import LogLocator

    figure, axes = plt.subplots(1, 3, figsize=(8, 3.3), width_ratios=[3, 3, 2.2])
    studies = {ways: load_study(f"families-{ways}") for ways in ("5way", "20way")}
    seconds = family_seconds()
    titles = ("5-way 1-shot: MAML catches up", "20-way: comparing is ahead")
    for ax, (ways, study), title in zip(axes, studies.items(), titles):
        draw_families_learning(ax, study, {label: seconds[ways, label] for label in SHIPPED_AS})
        ax.set_title(title, fontsize=10)
    axes[1].set_ylabel("")
    axes[1].set_xlim(left=0.5)  # room for the legend
    axes[1].xaxis.set_major_locator(LogLocator(subs=(1, 3)))
    axes[0].get_legend().remove()
    draw_families_tests(axes[2], studies)
    axes[2].set_title("Test (hollow: 20-way)", fontsize=10)
    return figure


def families_shift() -> "Figure":
    """Accuracy of each family when the test differs from training."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 2, figsize=(8, 5.6))
    draw_families_shift(axes.flat, load_study("families-shift"))
    return figure


def families_predictions(characters: Characters) -> "Figure":
    """One test task through the learners of three families."""
    import matplotlib.pyplot as plt

    tasks = CharacterTasks(characters.split("test").images, ways=5, shots=1, queries=4)
    task = tasks.sample(1, torch.Generator().manual_seed(9))
    figure, axes = plt.subplots(1, 5, figsize=(8, 2.7), width_ratios=[1, 4, 4, 4, 4])  # of columns, so that rows line up
    draw_predictions(axes[0], task.support_x[0], task.support_y[0], task.support_y[0], 5, framed=False)
    axes[0].set_title("support", fontsize=10, loc="right")
    for ax, name in zip(axes[1:], SHIPPED_AS):
        learner, theta, recipe = load_family(name)
        phi = adapt(learner, theta, task.support_x, task.support_y, recipe.test_steps[-1])
        predicted = learner.network.forward(phi, task.query_x)[0].argmax(-1)
        draw_predictions(ax, task.query_x[0], task.query_y[0], predicted, 5)
        ax.set_title(f"{name}: {100 * (predicted == task.query_y[0]).float().mean():.0f}%", fontsize=10)
        ax.set_yticks([])
    figure.suptitle("Omniglot: the same five new characters through three families", x=0.01, ha="left", fontsize=11)
    return figure
