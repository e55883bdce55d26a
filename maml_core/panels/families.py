"""Three families on one task: the same support set and the same queries through each learner."""

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure
from torch import Tensor

from ..episodes import Episodes
from ..evaluation import query_outputs
from ..figures.omniglot import label_rows
from ..learners.reader import Reader
from ..maml import Learner, adapt
from ..networks import Weights
from ..tasks.shifted import changed
from .base import own
from .controls import dropdown, float_slider, int_slider
from .sheets import CELL, SheetPanel

JUDGED = [("together", "query batch"), ("one by one", "support")]
ABOVE = 21  # points between a title and its sheet: what the learner does is between them
HOW = {"prototypes": "nearest mean", "matching": "attention", "memory": "read and answered"}


class FamiliesPanel(SheetPanel):
    """One N-way task: the predictions of several learners side by side.

    learners: {name: (learner, theta)}, all with the same number of ways; those that take gradient steps have a
    slider for them. images: uint8 [C, D, 28, 28]; the first task is the one that `seed` draws.
    """

    MOST_SHOTS, QUERIES = 5, 3

    def __init__(
        self, learners: Mapping[str, tuple[Learner, Weights]], images: Tensor, steps: int = 1, seed: int = 0,
        state: Mapping[str, Any] | None = None,
    ) -> None:  # fmt: skip
        self._learners = {name: (learner, own(theta)) for name, (learner, theta) in learners.items()}
        ways = {name: learner.network.ways for name, (learner, _) in self._learners.items()}
        if len(set(ways.values())) != 1:
            raise ValueError(f"All learners must have the same number of ways, not {ways}: train them on the same ways.")
        self._known: dict[tuple, Tensor] = {}
        self._asked: tuple[tuple, Episodes] | None = None
        self.draw_tasks(images, next(iter(ways.values())), seed)
        self.shots = int_slider("K", 1, 1, self.MOST_SHOTS)
        self.steps = int_slider("steps", steps, 0, 3)
        self.turned = int_slider("turned by", 0, 0, 90, 5)
        self.stroke = float_slider("stroke +", 0, -1.5, 2, 0.5)
        self.judged = dropdown("queries judged", JUDGED, JUDGED[0][1])
        controls = [self.shots, self.steps, self.turned, self.stroke, self.judged, self.new_task]
        super().__init__(controls, (8, 0.75 + 0.43 * self._most_ways), state)

    def build(self, figure: Figure) -> None:
        columns = [self.MOST_SHOTS, *[self.QUERIES] * len(self._learners)]
        axes = figure.subplots(1, len(columns), width_ratios=columns)
        self._sheets = [self.sheet(ax, count) for ax, count in zip(axes, columns)]
        self._support_title = self.moving_title(axes[0], ABOVE)
        for ax, name in zip(axes[1:], self._learners):
            ax.set_title(name, pad=ABOVE)
        label_rows(axes[0], self._most_ways, CELL)
        self._marks = [self.marks(ax) for ax in axes[1:]]
        self._hows = [self.moves(ax.text(0, 1.02, HOW.get(name), transform=ax.transAxes, fontsize=9))
                      for ax, name in zip(axes[1:], self._learners)]  # fmt: skip
        self._labels = [self.moves(ax.set_xlabel(" ")) for ax in axes]

    def episode(self) -> Episodes:
        """The task that the controls ask for: the first K support drawings of each class, turned and redrawn.

        The last one is kept, since wider strokes take a few milliseconds.
        """
        state = tuple(control.value for control in (self.new_task, self.shots, self.turned, self.stroke))
        if self._asked and self._asked[0] == state:
            return self._asked[1]
        change, task = changed(self.turned.value, self.stroke.value), self.task()
        x, y = (t.unflatten(1, (self._most_ways, -1))[:, :, : self.shots.value].flatten(1, 2)
                for t in (task.support_x, task.support_y))  # fmt: skip
        self._asked = (state, Episodes(change(x), y, change(task.query_x), task.query_y))
        return self._asked[1]

    def predict(self, name: str, episode: Episodes) -> Tensor:
        """The labels that one learner gives the query pictures [N*Q]; all are kept, since they are small."""
        learner, theta = self._learners[name]
        steps = 1 if isinstance(learner, Reader) else self.steps.value
        controls = (self.shots, self.turned, self.stroke, self.judged)
        state = (name, self.new_task.value, steps, *(control.value for control in controls))
        if state not in self._known:
            phi = adapt(learner, theta, episode.support_x, episode.support_y, steps)
            outputs = query_outputs(learner.network, phi, episode, self.judged.value)
            self._known[state] = outputs[0].argmax(-1)
        return self._known[state]

    def update(self) -> str:
        episode, told, steps = self.episode(), [], self.steps.value
        self.fill(self._sheets[0], episode.support_x, self._most_ways)
        self._support_title.set_text(f"support, K = {self.shots.value}")
        self._labels[0].set_text(f"queries judged {self.judged.label}")
        y = episode.query_y[0]
        for name, sheet, marks, how, below in zip(
            self._learners, self._sheets[1:], self._marks, self._hows, self._labels[1:]
        ):
            predicted = self.predict(name, episode)
            right = 100 * (predicted == y).float().mean().item()
            self.fill(sheet, episode.query_x, self._most_ways, predicted != y)
            self.name_wrong(marks, predicted, y, self._most_ways)
            how.set_text(HOW.get(name) or f"{steps} step{'s' * (steps != 1)}")
            below.set_text(f"{right:.0f}% right")
            told.append(f"{name} {right:.1f}%")
        return f"query accuracy: {', '.join(told)} ({len(y)} pictures)"
