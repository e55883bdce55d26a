"""What training and evaluation require of a network, its loss and a task distribution, checked once before they begin.

Wrong shapes rarely raise an error on their own: they broadcast, or a mean over the wrong axis makes the inner step too
long or too short, and training carries on. So two tasks of the first meta-batch take one inner step with a loss that
validates its arguments.
"""

import difflib
from dataclasses import replace

import torch
from torch import Tensor

from ..episodes import Episodes
from ..learners.reader import Reader
from ..maml import Learner, adapt
from ..networks import Network, Weights
from .contract_tasks import check_labels, check_range, check_tasks, check_types, check_ways, shape_of, type_name

TASKS = 2


def initial_weights(network: Network, generator: torch.Generator) -> Weights:
    """theta from the network's `init`, copied and detached.

    Otherwise `dict(module.named_parameters())` would keep its graph alive throughout training and be updated in place.
    Raises ValueError if `init` returns anything but a dictionary of floating-point tensors, or if `frozen` names a weight
    that does not exist.
    """
    theta = network.init(generator)
    if not isinstance(theta, dict) or not all(isinstance(w, Tensor) and w.is_floating_point() for w in theta.values()):
        found = type(theta).__name__
        if isinstance(theta, dict):
            found = ", ".join(f"{name}: {getattr(w, 'dtype', type(w).__name__)}" for name, w in theta.items())
        raise ValueError(f"The network's init must return a dictionary of floating-point tensors by name, not {found}.")
    check_frozen(network, theta)
    return {name: w.detach().clone() for name, w in theta.items()}


def check_frozen(network: Network, theta: Weights) -> None:
    """Raise ValueError if `frozen` names a weight that does not exist: the intended weight would silently be adapted."""
    for name in sorted(network.frozen - theta.keys()):
        near = difflib.get_close_matches(name, theta, n=1) or sorted(theta)
        raise ValueError(f"frozen names {name!r}, but the network has no such weight; did you mean {' or '.join(near)}?")


def check_training(learner: Learner, theta: Weights, episodes: Episodes, requested: int) -> None:
    """`check_fit`, that random numbers are drawn where it is known, and that a module's gradient can be differentiated.

    Torch's global randomness is left as it was: a resumed run, which checks once more, draws the same dropout.
    """
    device = next(iter(theta.values())).device
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        before = _global_randomness(device)
        check_fit(learner, theta, episodes, requested)
        if not learner.network.draws_random and not torch.equal(_global_randomness(device), before):
            raise ValueError(_undeclared_randomness(learner.network))
        if learner.network.module is not None:
            _check_differentiable(learner, theta, episodes)


def _global_randomness(device: torch.device) -> Tensor:
    """The state of the generators that dropout draws from."""
    states = [torch.get_rng_state()]
    return torch.cat(states + ([torch.cuda.get_rng_state(device)] if device.type == "cuda" else []))


def _undeclared_randomness(network: Network) -> str:
    """What to do about random numbers that would not follow from the trainer's generator."""
    if network.module is None:
        who, remedy = "The network", "write it as an nn.Module for Network.from_module, whose random numbers do"
    else:
        who, remedy = type(network.module.original).__name__, "set draws_random = True in it before from_module"
    return (
        f"{who} draws random numbers that would not follow from the trainer's generator, so that a resumed training would "
        f"draw others: {remedy}."
    )


def check_fit(learner: Learner, theta: Weights, episodes: Episodes, requested: int) -> None:
    """Raise ValueError if network, loss and task distribution do not fit together, judged by the first meta-batch.

    requested: how many tasks were requested. The check costs one inner step of the first two tasks and their query loss.
    """
    check_frozen(learner.network, theta)
    check_tasks(episodes, requested)
    network, sample = learner.network, episodes[:TASKS]
    check_types(theta, sample)
    check_labels(network, sample)
    if isinstance(learner, Reader):
        check_range(sample.support_y, network.ways)

    def checked(outputs: Tensor, y: Tensor) -> Tensor:
        _check_outputs(learner, outputs, y)
        return _checked_loss(network, outputs, y)

    probe = replace(learner, network=replace(network, loss=checked))
    try:
        with torch.no_grad():
            phi = adapt(probe, theta, sample.support_x, sample.support_y, min(1, learner.steps))
            probe.point_losses(phi, sample.query_x, sample.query_y)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[0]
        if "dtype" not in reason and "scalar type" not in reason:
            raise
        x, y, w = (type_name(t.dtype) for t in (sample.support_x, sample.support_y, next(iter(theta.values()))))
        raise ValueError(
            f"The network and its loss cannot take x of {x} and y of {y} ({reason.rstrip('.')}): let the tasks return {w}, "
            "as the weights are, or int64 for labels and what nn.Embedding takes."
        ) from error
    if network.ways > 1 and not isinstance(learner, Reader):  # which takes no gradient of that loss
        check_ways(learner, episodes.support_y)


def _check_differentiable(learner: Learner, theta: Weights, episodes: Episodes) -> None:
    """Some of torch's operators have no second derivative."""
    try:
        learner.gradient_of_sum(theta, episodes[:TASKS])
    except RuntimeError as error:
        if "is not implemented" not in str(error) and "is not differentiable" not in str(error):
            raise
        raise ValueError(
            f"MAML needs second derivatives, and the module has an operator without one ({str(error).splitlines()[0]}): "
            "replace that operator, or take first_order=True."
        ) from error


def _check_outputs(learner: Learner, outputs: Tensor, y: Tensor) -> None:
    expected, ways = y.shape[:2], learner.network.ways
    if not isinstance(outputs, Tensor):
        raise ValueError(
            f"The network's forward returned a {type(outputs).__name__}, expected a tensor [T, B, ...]: return the outputs "
            "that the loss takes, alone."
        )
    if outputs.shape[:2] != expected:
        raise ValueError(
            f"The network's forward returned shape {shape_of(outputs)}, expected {shape_of(y, 2)[:-1]}, ...]: T tasks with "
            "B points each."
        )
    if y.is_floating_point():
        return
    if outputs.ndim != 3:
        raise ValueError(
            f"The network's forward returned shape {shape_of(outputs)}, expected a score for each class: [T, B, N]."
        )
    if learner.inner_loss == "sum" and outputs.shape[2] != ways:
        raise ValueError(
            f"The network has {outputs.shape[2]} outputs but ways={ways}, and the inner loss, a sum over points divided by "
            f'K, is `ways` times the mean: set Network(..., ways={outputs.shape[2]}), or use inner_loss="mean".'
        )
    check_range(y, outputs.shape[2])


def _checked_loss(network: Network, outputs: Tensor, y: Tensor) -> Tensor:
    arguments = f"for outputs {shape_of(outputs)} and y {shape_of(y)}"
    try:
        losses = network.loss(outputs, y)
    except (RuntimeError, IndexError, TypeError) as error:
        raise ValueError(f"The loss {arguments} failed: {str(error).strip().splitlines()[0]}") from error
    if not isinstance(losses, Tensor):
        raise ValueError(f"The loss {arguments} returned a {type(losses).__name__}: return the loss of each point, [T, B].")
    if losses.shape != y.shape[:2]:
        remedy = (
            'use reduction="none"' if losses.ndim == 0 else "give outputs and y one shape, and average over axes after B"
        )
        raise ValueError(
            f"The loss {arguments} is {shape_of(losses) if losses.ndim else 'a scalar'}, expected one value per point, "
            f"{shape_of(y, 2)}: {remedy}."
        )
    if y.is_floating_point() and outputs.ndim != y.ndim:
        _check_pairs(network, outputs, y)
    return losses


def _check_pairs(network: Network, outputs: Tensor, y: Tensor) -> None:
    """The first point's loss must not depend on other points: outputs [B, 1] and y [B] would broadcast to [B, B]."""
    with torch.enable_grad():
        both = [t.detach().requires_grad_() for t in (outputs, y)]
        slopes = torch.autograd.grad(network.loss(*both)[:, 0].sum(), both, allow_unused=True)
    if any(slope[:, 1:].any() for slope in slopes if slope is not None):
        longer = "outputs" if outputs.ndim > y.ndim else "y"
        raise ValueError(
            f"Outputs {shape_of(outputs)} and y {shape_of(y)} broadcast in the loss, which compares each output with all "
            f"targets: give them one shape, for example with {longer}.squeeze(-1)."
        )
