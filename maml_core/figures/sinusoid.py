"""Pictures of regression: curves before and after adaptation, error against steps."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..maml import adapt
from ..recipes import find_recipe
from ..results.shipped import load_shipped, load_study
from ..tasks.sinusoid import SinusoidTasks, wave
from .style import COLOURS, draw_band

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


CONCEPTS = {"MAML": "maml", "pretrained": "baseline", "oracle": "oracle"}


def draw_adaptation(
    ax: "Axes",
    x: Tensor,
    target: Tensor,
    curves: Mapping[int, Tensor],
    support_x: Tensor,
    support_y: Tensor,
    concept: str = "maml",
) -> None:
    """One task as in the paper's Figure 2: target, support points, and the prediction after each number of steps.

    x, target: [P]; curves: {inner steps: prediction [P]}; support_x, support_y: [K]. The curve after 0 steps is
    grey, the last is solid, those between are thin.
    """
    ax.plot(x, target, color=COLOURS["target"], lw=1.5, ls=(0, (4, 2)), label="target")
    last = max(curves)
    for steps, y in curves.items():
        colour = COLOURS["before" if steps == 0 else concept]
        name = "before" if steps == 0 else f"{steps} step{'s' if steps > 1 else ''}"
        thin = 0 < steps < last
        ax.plot(x, y, color=colour, lw=1.2 if thin else 2, ls=":" if thin else "-", label=name)
    ax.plot(support_x, support_y, "^", color=COLOURS["support"], ms=7, mec="white", label="support", zorder=3)
    ax.set(xlabel="x", ylabel="y", xlim=(-5, 5), ylim=(-7.8, 6.2))


def draw_error_against_steps(
    ax: "Axes", curves: Mapping[str, tuple[Sequence[int], Sequence[float], Sequence[float]]]
) -> None:
    """The paper's Figure 3: mean squared error against inner steps, with 95% intervals.

    curves: {"maml", "baseline" or "oracle": (steps, means, half-widths)}. One that takes no step is a horizontal line.
    """
    last = max(max(steps) for steps, _, _ in curves.values())
    names = {"maml": "MAML", "baseline": "pretrained on all tasks", "oracle": "oracle, told the wave"}
    for concept, (steps, mean, ci95) in curves.items():
        if len(steps) == 1:
            ax.plot([0, last], [*mean, *mean], color=COLOURS[concept], label=names[concept])
        else:
            draw_band(ax, steps, mean, ci95, COLOURS[concept], names[concept])
    ax.set(xlabel="inner steps at test", ylabel="mean squared error")
    ax.set_ylim(bottom=-0.025 * ax.get_ylim()[1])  # the oracle's line is at 0
    ax.legend()


def error_against_steps() -> "Figure":
    """The paper's Figure 3: error against inner steps at test, K = 5 and 10."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(8, 3), sharey=True)
    rows = load_study("error-against-steps").rows
    for ax, shots in zip(axes, (5, 10)):
        curves = {}
        for method, concept in CONCEPTS.items():
            mine = [row for row in rows if row["method"] == method and row["shots"] == shots]
            steps, mean, ci95 = ([row[key] for row in mine] for key in ("steps", "mean", "ci95"))
            curves[concept] = steps, mean, ci95
        draw_error_against_steps(ax, curves)
        ax.set_title(f"K = {shots}: one step does most of it")
    axes[0].get_legend().remove()
    axes[1].set_ylabel("")
    return figure


def sinusoid_adaptation() -> "Figure":
    """One wave and ten points: MAML next to the pretrained network, after 0, 1 and 10 steps."""
    import matplotlib.pyplot as plt

    x, amplitude, phase = torch.linspace(-5, 5, 201), torch.tensor([[4.0]]), torch.tensor([[1.0]])
    task = SinusoidTasks(10).points_on(amplitude, phase, torch.Generator().manual_seed(1))
    learner = find_recipe("sinusoid-10shot").build_learner()
    figure, axes = plt.subplots(1, 2, figsize=(8, 3), sharey=True)
    names = ("sinusoid-10shot", "sinusoid-pretrained")
    titles = ("MAML: one step finds the wave", "Pretrained on all waves: ten do not")
    for ax, name, concept, title in zip(axes, names, ("maml", "baseline"), titles):
        phis = {n: adapt(learner, load_shipped(name)[0], task.support_x, task.support_y, n) for n in (0, 1, 10)}
        curves = {n: learner.network.forward(phi, x[None, :, None])[0] for n, phi in phis.items()}
        draw_adaptation(ax, x, wave(x, amplitude[0], phase[0]), curves, task.support_x[0], task.support_y[0], concept)
        ax.legend(ncols=3, loc="lower center", fontsize=8)
        ax.set_title(title)
    axes[1].set_ylabel("")
    return figure
