"""Query loss against alpha, from almost no step, past the training alpha, to where it diverges."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from matplotlib.figure import Figure

from ..episodes import TaskDistribution
from ..evaluation import evaluate
from ..figures.style import COLOURS
from ..maml import Learner
from ..networks import Weights
from ..util.progress import progress
from ..util.seeding import seeded_generator
from .base import Panel, as_error
from .controls import float_slider, int_slider

NAMES = {"maml": "MAML", "baseline": "pretrained on all tasks"}


class AlphaPanel(Panel):
    """Mean squared error on new tasks against alpha, of MAML's initialization and of a pretrained one.

    maml, pretrained: theta of each; learner: network and the alpha of training; tasks: p(T), with query points.
    Everything is computed in the constructor (with a progress bar), so that the sliders respond at once.
    """

    MOST_STEPS, TASKS, POINTS = 10, 100, 41

    def __init__(
        self, learner: Learner, maml: Weights, pretrained: Weights, tasks: TaskDistribution, seed: int = 0,
        state: Mapping[str, Any] | None = None,
    ) -> None:  # fmt: skip
        self._trained_alpha, self.seed = learner.alpha, seed
        self.alphas = [learner.alpha * 10 ** (3 * i / (self.POINTS - 1) - 2) for i in range(self.POINTS)]
        self._errors: dict[str, list[list[float]]] = {}
        for concept, theta in (("maml", maml), ("baseline", pretrained)):
            rows = []
            for alpha in progress(self.alphas, f"alpha, {NAMES[concept]}"):
                scores = evaluate(
                    replace(learner, alpha=alpha), theta, tasks, range(self.MOST_STEPS + 1), seeded_generator(seed),
                    self.TASKS, self.TASKS,
                )  # fmt: skip
                rows.append([_finite(score.double().mean().item()) for score in scores.values()])
            self._errors[concept] = rows
        self.steps = int_slider("steps", 1, 0, self.MOST_STEPS)
        self.alpha = float_slider("alpha", learner.alpha, 0.001, 0.1, 0.001, trained=learner.alpha)
        super().__init__([self.steps, self.alpha], (8, 3.4), state)

    def build(self, figure: Figure) -> None:
        ax = figure.subplots()
        ax.set(xscale="log", yscale="log", xlabel="alpha", ylabel="mean squared error on new waves",
               xlim=(self.alphas[0], self.alphas[-1]), ylim=(0.05, 100))  # fmt: skip
        ax.axvline(self._trained_alpha, color=COLOURS["before"], lw=1, ls="--")
        ax.annotate("alpha of training ", (self._trained_alpha, 60), ha="right", fontsize=9, color="#555555")
        self._lines = {c: self.moves(ax.plot([], [], color=COLOURS[c], label=NAMES[c])[0]) for c in self._errors}
        self._dots = {}
        for concept in self._errors:
            (dot,) = ax.plot([], [], "o", color=COLOURS[concept], ms=8, mec="white", zorder=4)
            self._dots[concept] = self.moves(dot)
        self._title = self.moving_title(ax)
        ax.legend(loc="lower left")

    def error(self, concept: str, alpha: float, steps: int) -> float:
        """The mean squared error at any alpha, interpolated between those that were computed."""
        place = (math.log10(alpha / self._trained_alpha) + 2) / 3 * (self.POINTS - 1)
        low = min(max(int(place), 0), self.POINTS - 2)
        ends = (self._errors[concept][i][steps] for i in (low, low + 1))
        lower, upper = (math.log(end) for end in ends)
        return math.exp(lower + (upper - lower) * (place - low))

    def update(self) -> str:
        steps, alpha = self.steps.value, self.alpha.value
        numbers = []
        for concept, rows in self._errors.items():
            values = [row[steps] for row in rows]
            self._lines[concept].set_data(self.alphas, values)
            at = self.error(concept, alpha, steps)
            self._dots[concept].set_data([alpha], [at])
            best = self.alphas[min(range(self.POINTS), key=values.__getitem__)]
            numbers.append(
                f"{NAMES[concept]}: {as_error(at)} at alpha {alpha:.3f}, lowest {as_error(min(values))} at {best:.3f}"
            )
        mse = as_error(self.error("maml", alpha, steps))
        self._title.set_text(f"MAML after {steps} step{'s' * (steps != 1)} of {alpha:.3f}: {mse}")
        return f"mean squared error of {self.TASKS} waves. " + "; ".join(numbers)


def _finite(error: float) -> float:
    """Errors that diverged become very large numbers: a logarithmic axis has no infinity."""
    return min(error, 1e6) if math.isfinite(error) else 1e6
