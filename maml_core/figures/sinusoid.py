"""Pictures of regression: curves before and after adaptation, error against steps."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from .style import COLOURS, draw_band

if TYPE_CHECKING:
    from matplotlib.axes import Axes


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
    ax.set(xlabel="inner steps at test", ylabel="mean squared error", ylim=(0, None))
    ax.legend()
