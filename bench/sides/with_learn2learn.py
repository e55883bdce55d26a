"""learn2learn: the MAML wrapper, cloned for each task."""

from learn2learn.algorithms.maml import MAML
from torch import nn

from maml_core.episodes import Episodes

from .torch_loop import TorchLoop


class Learn2Learn(TorchLoop):
    """As in learn2learn's own Omniglot example, one backward pass per task."""

    name = "learn2learn"

    def prepare(self, module: nn.Module) -> MAML:
        return MAML(module, lr=self.learner.alpha, first_order=False)

    def accumulate(self, model: MAML, episodes: Episodes) -> None:
        for task in episodes:
            learner = model.clone()
            for _ in range(self.learner.steps):
                learner.adapt(self.inner_loss(learner(task.support_x), task.support_y))
            loss = self.outer_loss(learner(task.query_x), task.query_y) / len(episodes)
            loss.backward()
