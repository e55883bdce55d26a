"""Pictures of second derivatives: the V of a finite difference, and what first-order MAML drops."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from torch import Tensor

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


def draw_sharpness(ax: "Axes", eigenvalues: Mapping[str, Tensor], alpha: float) -> None:
    """How many tasks have a largest eigenvalue of what size: one outline for each [T], with 1 / alpha and 2 / alpha."""
    last = 20 * math.ceil(max(values.max().item() for values in eigenvalues.values()) / 20)
    for name, values in eigenvalues.items():
        colour, line = COLOURS["maml" if name.startswith("MAML") else "baseline"], ":" if "after" in name else "-"
        ax.hist(values, range(0, last + 20, 20), histtype="step", lw=2, ls=line, color=colour, label=name)
    for level, label in ((2 / alpha, " edge of stability, 2/alpha"), (1 / alpha, " 1/alpha")):
        ax.axvline(level, color=COLOURS["before"], lw=1, ls="--")
        ax.annotate(label, (level, 0.93), xycoords=("data", "axes fraction"), fontsize=9)
    ax.set(xlabel=r"largest $\lambda$", ylabel="tasks")
    ax.legend(loc="right")
