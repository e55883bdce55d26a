"""higher: `innerloop_ctx` patches the module and unrolls the inner steps."""

import higher
import torch
from torch import nn

from maml_core.episodes import Episodes

from .torch_loop import TorchLoop


class Higher(TorchLoop):
    """As in higher's own MAML example, one backward pass per task."""

    name = "higher"

    def accumulate(self, model: nn.Module, episodes: Episodes) -> None:
        inner = torch.optim.SGD(model.parameters(), lr=self.learner.alpha)
        for task in episodes:
            context = higher.innerloop_ctx(model, inner, copy_initial_weights=False, track_higher_grads=True)
            with context as (patched, differentiable):
                for _ in range(self.learner.steps):
                    differentiable.step(self.inner_loss(patched(task.support_x), task.support_y))
                loss = self.outer_loss(patched(task.query_x), task.query_y) / len(episodes)
                loss.backward()
