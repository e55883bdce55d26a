"""TorchOpt, in the two styles of its documentation: the differentiable MetaSGD, and functional."""

import torch
import torchopt
from torch import Tensor, nn
from torch.func import functional_call

from maml_core.episodes import Episodes

from ..workloads import Workload
from .torch_loop import TorchLoop


class TorchOptMetaSGD(TorchLoop):
    """MetaSGD on the module, whose state is extracted before each task and restored after it.

    One backward pass for all tasks, as in TorchOpt's examples; one per task is no faster.
    """

    name = "torchopt MetaSGD"

    def prepare(self, module: nn.Module) -> tuple[nn.Module, torchopt.MetaSGD]:
        return module, torchopt.MetaSGD(module, lr=self.learner.alpha)

    def accumulate(self, model: tuple[nn.Module, torchopt.MetaSGD], episodes: Episodes) -> None:
        module, inner = model
        net_state = torchopt.extract_state_dict(module, by="reference", detach_buffers=True)
        inner_state = torchopt.extract_state_dict(inner, by="reference")
        losses = []
        for task in episodes:
            for _ in range(self.learner.steps):
                inner.step(self.inner_loss(module(task.support_x), task.support_y))
            losses.append(self.outer_loss(module(task.query_x), task.query_y))
            torchopt.recover_state_dict(module, net_state)
            torchopt.recover_state_dict(inner, inner_state)
        torch.stack(losses).mean().backward()


class TorchOptFunctional(TorchLoop):
    """`torchopt.sgd` on a dictionary of weights, with torch.func's functional_call."""

    name = "torchopt functional"

    def accumulate(self, model: nn.Module, episodes: Episodes) -> None:
        theta: dict[str, Tensor] = dict(model.named_parameters())
        inner = torchopt.sgd(lr=self.learner.alpha)
        losses = []
        for task in episodes:
            phi, state = theta, inner.init(theta)
            for _ in range(self.learner.steps):
                loss = self.inner_loss(functional_call(model, phi, (task.support_x,)), task.support_y)
                gradient: tuple[Tensor, ...] = torch.autograd.grad(loss, list(phi.values()), create_graph=True)
                updates, state = inner.update(dict(zip(phi, gradient)), state, inplace=False)
                phi = torchopt.apply_updates(phi, updates, inplace=False)
            losses.append(self.outer_loss(functional_call(model, phi, (task.query_x,)), task.query_y))
        torch.stack(losses).mean().backward()


def variants(workload: Workload) -> list[TorchLoop]:
    """Both, since either may be faster, depending on the machine."""
    return [TorchOptMetaSGD(workload), TorchOptFunctional(workload)]
