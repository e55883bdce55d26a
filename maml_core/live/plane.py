"""Tasks in a plane, live: where MAML, first-order MAML and Reptile move theta, with everything to be dragged."""

import torch
import traitlets
from matplotlib.figure import Figure
from torch import Tensor

from ..episodes import Episodes
from ..figures.style import COLOURS
from ..maml import Learner, meta_objective
from ..panels.quadratics import ANGLES, METHODS, OPTIMA, SIDE
from ..tasks.quadratics import directions, plane_network, plane_tasks
from .base import Live, bundle, number

THIRD_OPTIMUM, THIRD_ANGLE = [-0.8, -1.7], 0.3
RATIO = 0.3  # of a task's smaller curvature to its larger one
CURVATURE = (0.02, 2.4, 0.02)
ARROW = 1.2  # long: arrows show directions only
LEVELS, WIDTHS = (1 / 3, 2 / 3, 1, 4 / 3, 5 / 3), (0.6, 0.6, 1.6, 0.6, 0.6)  # of the loss after the steps, as in plane.js


def point(value: list[float]) -> traitlets.List:
    """A point of the plane: two numbers."""
    return traitlets.List(traitlets.Float(), value, minlen=2, maxlen=2)


class LivePlane(Live):
    """theta among the optima of two or three tasks with quadratic losses, computed in the browser.

    alpha, steps: the inner loop. tasks: two or three. curvature_1 to curvature_3: the larger eigenvalue of each task's
    Hessian; the smaller one is 0.3 times as large. optima: three points. theta: where the methods start.
    """

    _esm = bundle("quadratics", "parts", "plot", "plane")
    ALT = "Two tasks' optima in a plane, theta, and arrows along the meta-gradients of MAML, first-order MAML and Reptile"
    SIZE = (5.2, 4.4)
    CONCEPTS = ("before", "maml", "first order", "reptile", "task 0", "task 1", "task 2")

    alpha = number(traitlets.Float, 0.6, 0.01, 1.0, 0.01)
    steps = number(traitlets.Int, 1, 1, 5, 1)
    tasks = traitlets.Int(2, min=2, max=3).tag(sync=True)
    curvature_1 = number(traitlets.Float, 2.4, *CURVATURE)
    curvature_2 = number(traitlets.Float, 0.8, *CURVATURE)
    curvature_3 = number(traitlets.Float, 1.6, *CURVATURE)
    optima = traitlets.List(point([0.0, 0.0]), minlen=3, maxlen=3).tag(sync=True)
    theta = point([0.5, -1.0]).tag(sync=True)
    angles = traitlets.List(traitlets.Float(), minlen=3, maxlen=3).tag(sync=True)
    ratio = traitlets.Float(RATIO).tag(sync=True)

    @traitlets.default("optima")
    def _first_optima(self) -> list[list[float]]:
        return [*rounded(OPTIMA), THIRD_OPTIMUM]

    @traitlets.default("angles")
    def _first_angles(self) -> list[float]:
        return [*rounded(ANGLES), THIRD_ANGLE]

    def episodes(self) -> Episodes:
        """The tasks that are shown, as regressions with these Hessians and optima."""
        largest = torch.tensor([self.curvature_1, self.curvature_2, self.curvature_3])
        curvatures = torch.stack([largest, self.ratio * largest], -1)
        shown = slice(self.tasks)
        return plane_tasks(torch.tensor(self.optima)[shown], curvatures[shown], torch.tensor(self.angles)[shown])

    def draw(self, figure: Figure) -> None:
        tasks, theta = self.episodes(), torch.tensor(self.theta)
        found, path = directions(tasks, theta, self.alpha, self.steps)
        ax = figure.subplots()
        side = torch.linspace(-SIDE, SIDE, 101)
        learner = Learner(plane_network(), self.alpha, self.steps)
        grid = torch.cartesian_prod(side, side)
        after = torch.func.vmap(lambda place: meta_objective(learner, {"theta": place}, tasks))(grid)
        lowest, here = after.min(), meta_objective(learner, {"theta": theta}, tasks)
        levels = [(lowest + part**2 * (here - lowest).clamp(min=1e-3)).item() for part in LEVELS]
        ax.contour(side, side, after.view(101, 101).T, levels=levels, colors="#555555", linewidths=WIDTHS)
        ax.plot(*grid[after.argmin()], "+", color="#555555", ms=9)
        for i, optimum in enumerate(self.optima[: self.tasks]):
            colour = COLOURS[f"task {i}"]
            ax.plot(*optimum, "*", color=colour, ms=13, mec="white")
            ax.annotate(f"$\\theta^*_{i + 1}$", (optimum[0], optimum[1]), (7, 5), textcoords="offset points", fontsize=12)
            ax.plot(*path[:, i].T, "o-", color=colour, ms=4, lw=1.2)
        for place, (method, colour) in enumerate(METHODS.items()):
            tip = ARROW * found[method] / found[method].norm().clamp(min=1e-9)
            ax.quiver(*theta, *tip, color=colour, angles="xy", scale_units="xy", scale=1, width=0.016 - 0.003 * place,
                      zorder=4 + place, label=method)  # fmt: skip
        ax.plot(*theta, "o", color="#000000", ms=7, mec="white", zorder=9)
        ax.set(xlabel="first weight", ylabel="second weight", aspect="equal", xlim=(-SIDE, SIDE), ylim=(-SIDE, SIDE))
        ax.legend(loc="lower left", fontsize=8)


def rounded(values: Tensor) -> list:
    """The numbers as they were written, without float32's tail."""
    return values.double().mul(1e6).round().div(1e6).tolist()
