"""What to take home: theta adapted to a task of your own as an ordinary module, and theta on disk as a state dict."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .engine.contract import check_fit
from .episodes import Episodes, check_tensors
from .maml import Learner, adapt
from .networks import Network, Weights
from .training.checkpoints import check_finite, check_weights, read_tensors, save_tensors


@torch.no_grad()
def fine_tune(learner: Learner, theta: Weights, x: Tensor, y: Tensor, steps: int | None = None) -> nn.Module:
    """Adapt theta to one task, and return it as a module of your own class, in evaluation mode.

    x [B, ...], y [B]: the support set, without a task axis. steps: inner steps (default: the learner's).
    Where the class keeps running statistics of batch norm, they become those of the support set.
    Raises ValueError for a network that no module was made into, whose weights `adapt` returns; for x and y of no task or
    of several; if network, loss and support set do not fit together (`contract`); and under `torch.inference_mode`.
    """
    network = learner.network.at_test()
    if network.module is None:
        raise ValueError(
            "fine_tune returns an nn.Module, and this network is a function of weights: use adapt(learner, theta, x[None], "
            "y[None]), or build it with Network.from_module."
        )
    learner, support = replace(learner, network=network), _one_task(x, y)
    check_fit(learner, theta, Episodes(*support, *support), 1)
    phi = adapt(learner, theta, *support, steps)
    module = network.module.module_with({name: w if name in network.frozen else w[0] for name, w in phi.items()})
    module.to(x.device)
    _set_running_statistics(module.eval(), x)
    return module.eval()


def _one_task(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """The support set with a task axis of 1."""
    check_tensors(x, y)
    remedy = None
    if y.ndim > 1 and not y.is_floating_point():
        remedy = "leave out the task axis, and convert one-hot labels with y.argmax(-1)"
    elif not y.ndim or x.shape[:1] != y.shape[:1]:
        remedy = "give a label or target for each point"
    if remedy:
        shapes = f"x {list(x.shape)} and y {list(y.shape)}"
        raise ValueError(f"fine_tune takes the points of one task, x [B, ...] and y [B], not {shapes}: {remedy}.")
    return x[None], y[None]


def _set_running_statistics(module: nn.Module, x: Tensor) -> None:
    """Make batch norm's running statistics those of the batch x, by one forward without momentum.

    torch keeps the unbiased variance, n / (n - 1) times the one that it normalizes by, which a support set of five points
    would show: here it is the latter, so that the support set gets the outputs that it got in adaptation.
    """
    norms: list[Any] = [part for part in module.modules() if getattr(part, "track_running_stats", False)]
    momenta, counts = [norm.momentum for norm in norms], {}

    def count(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        counts[norm] = inputs[0].numel() // inputs[0].shape[1]  # values of a channel

    hooks = [norm.register_forward_pre_hook(count) for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain average of all batches, here of one
        norm.train()
    if norms:
        module(x)
    for norm, momentum, hook in zip(norms, momenta, hooks):
        hook.remove()
        norm.momentum = momentum
        if n := counts.get(norm):  # none where the forward does not call it
            norm.running_var *= (n - 1) / n


def save_weights(network: Network, theta: Weights, path: Path | str) -> None:
    """Write theta as a plain state dict, which your module's own class loads: `module.load_state_dict(torch.load(path))`.

    A network that is a function of weights is saved as theta itself. What a variant adds to theta, such as alphas, is saved
    beside the state dict, which then loads with strict=False. Raises OSError where the file cannot be written.
    """
    whole = theta
    if network.module is not None:
        extra = {name: w for name, w in theta.items() if name not in network.module.names}
        whole = network.module.module_with(theta).state_dict() | extra
    save_tensors({name: w.detach().cpu() for name, w in whole.items()}, Path(path))


def load_weights(network: Network, path: Path | str) -> Weights:
    """theta from a state dict: one that `save_weights` wrote, or any of your module's class, such as pretrained weights.

    They take the types of the network's own weights, such as float32. Raises FileNotFoundError, or ValueError for what is
    no state dict of this network, or of one with other constants, and for values that are not finite.
    """
    path, own = Path(path), network.init(torch.Generator())
    whole = read_tensors(path, "state dict", "check the path", "save it again")
    if not isinstance(whole, dict) or not all(isinstance(w, Tensor) for w in whole.values()):
        raise ValueError(f"{path} is no state dict, a dictionary of tensors by name: save module.state_dict().")
    if network.module is not None:
        for name, w in network.module.constants.items():
            if not torch.equal(whole.get(name, w).to(w), w):
                raise ValueError(
                    f"{path} has other values of {name}, which is not trained and so no part of theta: load the file into "
                    "the module, before from_module."
                )
        whole = {name: whole[name] for name in own if name in whole}
    check_weights(whole, network, path, "Load it into a network of the class that it was saved from")
    theta = {name: w.to(own[name].dtype) for name, w in whole.items()}
    return check_finite(theta, path, "train again with a smaller alpha, or use another file")
