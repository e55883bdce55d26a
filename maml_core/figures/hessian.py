"""Pictures of second derivatives: the V of a finite difference, and what first-order MAML drops."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .style import COLOURS

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_error_against_epsilon(ax: "Axes", epsilons: Sequence[float], errors: Sequence[float]) -> None:
    """Relative error of the central difference on logarithmic axes, with the two slopes that theory predicts."""
    ax.loglog(epsilons, errors, "o-", ms=4, color=COLOURS["maml"], label="central difference")
    lowest = min(range(len(errors)), key=lambda i: errors[i])
    for slope, end, label in ((-1, 0, r"rounding: $1/\epsilon$"), (2, -1, r"Taylor: $\epsilon^2$")):
        anchor = lowest // 2 if end == 0 else (lowest + len(errors) - 1) // 2
        line = [errors[anchor] * (e / epsilons[anchor]) ** slope for e in epsilons]
        part = slice(0, lowest + 1) if end == 0 else slice(lowest, None)
        style = "--" if slope == 2 else ":"
        ax.loglog(epsilons[part], line[part], style, color=COLOURS["target"], lw=1.5, label=label)
    ax.set(xlabel=r"$\epsilon$", ylabel="relative error")
    ax.legend()


def draw_agreement(
    axes: Sequence["Axes"], alphas: Sequence[float], cosines: Sequence[float], norms: Sequence[float], training_alpha: float
) -> None:
    """Cosine between first-order and full meta-gradient, and the ratio of their lengths, against alpha."""
    for ax, values, label in zip(axes, (cosines, norms), ("cosine of the angle", "length, first order / full")):
        ax.semilogx(alphas, values, "o-", ms=4, color=COLOURS["first order"])
        ax.axvline(training_alpha, color=COLOURS["before"], lw=1, ls="--")
        ax.annotate("training alpha ", (training_alpha, 0.03), xycoords=("data", "axes fraction"), ha="right",
                    fontsize=9, color="#555555")  # fmt: skip
        ax.set(xlabel=r"$\alpha$", ylabel=label)
