"""Three families on one task: the same support set and the same queries through each learner."""

from collections.abc import Mapping

import ipywidgets as widgets
import torch
from matplotlib.figure import Figure
from torch import Tensor

from ..episodes import Episodes
from ..evaluation import query_outputs
from ..figures.omniglot import label_rows
from ..learners.reader import Reader
from ..maml import Learner, adapt
from ..networks import Weights
from ..tasks.shifted import changed
from .base import float_slider, int_slider, own
from .sheets import CELL, SheetPanel

JUDGED = [("together", "query batch"), ("one by one", "support")]
HOW = {"prototypes": "nearest class mean", "matching": "attention", "memory": "read and answered"}


class FamiliesPanel(SheetPanel):
    """One N-way task: the predictions of several learners side by side.

    learners: {name: (learner, theta)}, all with the same number of ways; those that take gradient steps have a
    slider for them. images: uint8 [C, D, 28, 28]; the first task is the one that `seed` draws.
    """

    MOST_SHOTS, QUERIES = 5, 3

    def __init__(
        self, learners: Mapping[str, tuple[Learner, Weights]], images: Tensor, steps: int = 1, seed: int = 0
    ) -> None:
        self._learners = {name: (learner, own(theta)) for name, (learner, theta) in learners.items()}
        ways = {name: learner.network.ways for name, (learner, _) in self._learners.items()}
        if len(set(ways.values())) != 1:
            raise ValueError(f"All learners must have the same number of ways, not {ways}: train them on the same ways.")
        self._known: dict[str, tuple[tuple, Tensor]] = {}
        self.draw_tasks(images, next(iter(ways.values())), seed)
        self.shots = int_slider("K", 1, 1, self.MOST_SHOTS)
        self.steps = int_slider("steps", steps, 0, 3)
        self.turned = int_slider("turned by", 0, 0, 90, 5)
        self.stroke = float_slider("stroke +", 0, -1.5, 2, 0.5)
        self.judged = widgets.Dropdown(options=JUDGED, description="queries judged", style={"description_width": "initial"})
        controls = [self.shots, self.steps, self.turned, self.stroke, self.judged, self.new_task]
        super().__init__(controls, (8, 0.75 + 0.43 * self._most_ways))

    def build(self, figure: Figure) -> None:
        columns = [self.MOST_SHOTS, *[self.QUERIES] * len(self._learners)]
        axes = figure.subplots(1, len(columns), width_ratios=columns)
        self._sheets = [self.sheet(ax, count) for ax, count in zip(axes, columns)]
        self._titles = [self.moving_title(ax) for ax in axes]
        label_rows(axes[0], self._most_ways, CELL)
        self._marks = [self.marks(ax) for ax in axes[1:]]
        self._below = [self.moves(ax.set_xlabel(" ", fontsize=9)) for ax in axes]

    def episode(self) -> Episodes:
        """The task that the controls ask for: the first K support drawings of each class, turned and redrawn."""
        change = changed(self.turned.value, self.stroke.value)
        x, y = (t.unflatten(1, (self._most_ways, -1))[:, :, : self.shots.value].flatten(1, 2)
                for t in (self._task.support_x, self._task.support_y))  # fmt: skip
        return Episodes(change(x), y, change(self._task.query_x), self._task.query_y)

    def predict(self, name: str, episode: Episodes) -> Tensor:
        """The labels that one learner gives the query pictures [N*Q]; those for the current state are cached."""
        learner, theta = self._learners[name]
        steps = 1 if isinstance(learner, Reader) else self.steps.value
        controls = (self.shots, self.turned, self.stroke, self.judged)
        state = (self._number, steps, *(control.value for control in controls))
        if self._known.get(name, (None,))[0] != state:
            phi = adapt(learner, theta, episode.support_x, episode.support_y, steps)
            outputs = query_outputs(learner.network, phi, episode, self.judged.value)
            self._known[name] = (state, outputs[0].argmax(-1))
        return self._known[name][1]

    @torch.no_grad()
    def update(self) -> str:
        episode, told, steps = self.episode(), [], self.steps.value
        self.fill(self._sheets[0], episode.support_x, self._most_ways)
        self._titles[0].set_text(f"support, K = {self.shots.value}")
        self._below[0].set_text(f"queries judged {self.judged.label}")
        y = episode.query_y[0]
        for name, sheet, marks, title, below in zip(
            self._learners, self._sheets[1:], self._marks, self._titles[1:], self._below[1:]
        ):
            predicted = self.predict(name, episode)
            right = 100 * (predicted == y).float().mean().item()
            self.fill(sheet, episode.query_x, self._most_ways, predicted != y)
            self.name_wrong(marks, predicted, y, self._most_ways)
            title.set_text(f"{name} {right:.0f}%")
            below.set_text(HOW.get(name) or f"{steps} step{'s' * (steps != 1)}")
            told.append(f"{name} {right:.1f}%")
        return f"query accuracy: {', '.join(told)} ({len(y)} pictures)"
