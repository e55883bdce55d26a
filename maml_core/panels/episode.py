"""One task of characters: its query pictures before and after adaptation."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from matplotlib.figure import Figure
from torch import Tensor

from ..episodes import Episodes
from ..evaluation import query_outputs
from ..figures.omniglot import label_rows
from ..learners.ways import first_outputs
from ..maml import Learner, inner_loop
from ..networks import Network, Weights
from .base import own
from .controls import checkbox, dropdown, float_slider, int_slider
from .sheets import CELL, SheetPanel

SEES = [("the whole query batch", "query batch"), ("one picture at a time", "support and one query")]


class EpisodePanel(SheetPanel):
    """One N-way task of characters: its queries before and after adaptation.

    learner, theta: the network, the inner loop (its alpha is where the slider starts) and the initialization.
    images: uint8 [C, D, 28, 28]; the first task is the one that `seed` draws.
    """

    MOST_SHOTS, QUERIES = 5, 6

    def __init__(
        self, learner: Learner, theta: Weights, images: Tensor, steps: int = 3, seed: int = 0,
        state: Mapping[str, Any] | None = None,
    ) -> None:  # fmt: skip
        self._learner, self._theta = learner, own(theta)
        self._adapted: tuple[tuple, list[Weights], Iterator[Weights]] = ((), [], iter(()))
        self._known: dict[tuple, Tensor] = {}
        self.draw_tasks(images, learner.network.ways, seed)
        self.ways = int_slider("ways", self._most_ways, 2, self._most_ways)
        self.shots = int_slider("K", 1, 1, self.MOST_SHOTS)
        self.alpha = float_slider("alpha", learner.alpha, 0.01, 2.0, 0.01, trained=learner.alpha)
        self.steps = int_slider("steps", steps, 0, 10)
        self.sees = dropdown("batch norm sees", SEES, SEES[0][1])
        self.swap = checkbox("swap support and query")
        controls = [self.ways, self.shots, self.alpha, self.steps, self.sees, self.new_task, self.swap]
        super().__init__(controls, (8, 0.75 + 0.43 * self._most_ways), state)

    def build(self, figure: Figure) -> None:
        axes = figure.subplots(1, 3, width_ratios=[self.MOST_SHOTS, self.QUERIES, self.QUERIES])
        self._sheets, self._labels, self._titles = [], [], []
        for ax, columns in zip(axes, (self.MOST_SHOTS, self.QUERIES, self.QUERIES)):
            self._sheets.append(self.sheet(ax, columns))
            self._titles.append(self.moving_title(ax))
        label_rows(axes[0], self._most_ways, CELL)
        self._labels += [self.marks(ax) for ax in axes[1:]]
        self._seen = self.moves(axes[2].set_xlabel(" ", loc="right"))

    def episode(self) -> Episodes:
        """The task that the controls ask for: N ways, the first K support drawings, the two sets swapped or not."""
        task = self.task()
        sets = [(task.support_x, task.support_y), (task.query_x, task.query_y)]
        support, query = reversed(sets) if self.swap.value else sets

        def some(x: Tensor, y: Tensor, shots: int | None) -> list[Tensor]:
            return [t.unflatten(1, (self._most_ways, -1))[:, : self.ways.value, :shots].flatten(1, 2) for t in (x, y)]

        return Episodes(*some(*support, self.shots.value), *some(*query, None))

    def phi(self, learner: Learner, episode: Episodes, steps: int) -> Weights:
        """The weights after so many steps; earlier ones are kept, so that one more step costs only that step."""
        state = (self.new_task.value, self.ways.value, self.shots.value, self.swap.value, learner.alpha)
        if self._adapted[0] != state:
            self._adapted = (state, [], inner_loop(learner, self._theta, episode.support_x, episode.support_y))
        _, phis, after = self._adapted
        while len(phis) <= steps:
            phis.append(next(after))
        return phis[steps]

    def update(self) -> str:
        network = fewer_ways(self._learner.network, self.ways.value)
        learner = replace(self._learner, network=network, alpha=self.alpha.value)
        episode, steps = self.episode(), self.steps.value
        self.fill(self._sheets[0], episode.support_x, self.ways.value)
        self._titles[0].set_text(f"support, K = {self.shots.value}")
        numbers = []
        y = episode.query_y[0]
        for place, count in enumerate((0, steps), 1):
            predicted = self._predict(learner, episode, count)
            self.fill(self._sheets[place], episode.query_x, self.ways.value, predicted != y)
            self.name_wrong(self._labels[place - 1], predicted, y, self.ways.value)
            numbers.append((predicted == y).float().mean().item())
            after = f"{count} step{'s' * (count > 1)} of {learner.alpha:.2f}" if count else "no step"
            self._titles[place].set_text(f"{after}: {100 * numbers[-1]:.0f}% right")
        self._seen.set_text(f"batch norm sees {self.sees.label}")
        return f"query accuracy {100 * numbers[0]:.1f}% → {100 * numbers[1]:.1f}% ({len(episode.query_y[0])} pictures)"

    def _predict(self, learner: Learner, episode: Episodes, steps: int) -> Tensor:
        """The labels of the query pictures after so many steps [N*Q]; all are kept, since they are small."""
        alpha = learner.alpha if steps else None
        shots = self.shots.value if steps or self.sees.value != "query batch" else None  # else the support set is not seen
        state = (self.new_task.value, self.ways.value, self.swap.value, self.sees.value, shots, alpha, steps)
        if state not in self._known:
            outputs = query_outputs(learner.network, self.phi(learner, episode, steps), episode, self.sees.value)
            self._known[state] = outputs[0].argmax(-1)
        return self._known[state]


def fewer_ways(network: Network, ways: int) -> Network:
    """The network as a classifier of the first `ways` classes: the other outputs are ignored."""
    return network if ways == network.ways else replace(first_outputs(network, ways), ways=ways)
