"""A module as a function of its weights, over the task axis."""

import copy
from collections.abc import Iterable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from .kept_tensors import check_repeated, keeping
from .over_tasks import OverTasks
from .prepare import in_eval_mode, prepare
from .randomness import draws_random

Weights = dict[str, Tensor]


class ModuleFunction:
    """An `nn.Module` as `forward(weights, x [T, B, ...]) -> outputs [T, B, ...]`, for tasks with weights of their own.

    module:      copied; the original is neither changed nor trained in place
    batch_norm:  None refuses running statistics, "batch" normalizes by each batch instead (`prepare`)
    Parameters with `requires_grad=False` and buffers are constants: they follow x to its device, and nothing trains them.
    The first forward of each mode raises ValueError if it changes a buffer or a tensor that is an attribute, or if it
    returns other outputs when it is repeated.
    """

    def __init__(self, module: nn.Module, batch_norm: str | None = None) -> None:
        train = prepare(module, batch_norm)
        self.original, self._batch_norm = copy.deepcopy(module), batch_norm
        trained = [(name, p) for name, p in train.named_parameters() if p.requires_grad]  # tied weights under one name
        if not trained:
            raise ValueError(f"{type(module).__name__} has no parameter with requires_grad=True: nothing could adapt.")
        self._axes = {name: p.ndim for name, p in trained}
        first = {id(p): name for name, p in trained}
        everywhere = train.named_parameters(remove_duplicate=False)
        self._aliases = {name: first[id(p)] for name, p in everywhere if id(p) in first}
        self._modules = {"train": train, "eval": in_eval_mode(train)}
        call = _call_recurrent if any(isinstance(part, nn.RNNBase) for part in module.modules()) else _call
        self._over_tasks = {
            mode: OverTasks(partial(call, copied), type(module).__name__, "the outputs that the loss takes")
            for mode, copied in self._modules.items()
        }
        self._tried: set[str] = set()  # modes whose forward leaves what the module keeps as it is
        self.draws_random = draws_random(train)

    @property
    def names(self) -> list[str]:
        """The names of the weights that are trained."""
        return list(self._axes)

    def weights(self, device: torch.device) -> Weights:
        """A copy of the module's weights, by their own names."""
        ours = dict(self.original.named_parameters())
        return {name: ours[name].detach().to(device, copy=True) for name in self._axes}

    @property
    def constants(self) -> Weights:
        """What the forward uses besides the trained weights: parameters with `requires_grad=False`, and buffers."""
        everything = self._modules["train"].state_dict(keep_vars=True)
        return {name: w for name, w in everything.items() if not w.requires_grad}

    def forward(self, weights: Weights, x: Tensor) -> Tensor:
        """Outputs [T, B, ...] in the module's training mode: dropout draws for each task."""
        return self._run("train", weights, x)

    def test_forward(self, weights: Weights, x: Tensor) -> Tensor:
        """Outputs [T, B, ...] in evaluation mode: no dropout."""
        return self._run("eval", weights, x)

    def _run(self, mode: str, weights: Weights, x: Tensor) -> Tensor:
        module = self._modules[mode]
        constant = next((t for t in (*module.buffers(), *module.parameters()) if t.device != x.device), None)
        if constant is not None:
            module.to(x.device)
        own = {name: weights[name] for name in self._axes}  # a variant's alphas are in `weights`, too
        axes = {name: 0 if w.ndim > self._axes[name] else None for name, w in own.items()}
        if torch.compiler.is_compiling() or mode in self._tried:
            return self._over_tasks[mode]((axes, 0), own, x)
        with keeping(module, who := type(self.original).__name__):
            with torch.no_grad(), torch.random.fork_rng([x.device] if x.is_cuda else []):
                rehearsed = self._over_tasks[mode]((axes, 0), own, x)
            outputs = self._over_tasks[mode]((axes, 0), own, x)
            check_repeated(rehearsed, outputs, who)
        self._tried.add(mode)
        return outputs

    def module_with(self, weights: Weights) -> nn.Module:
        """A copy of the original module with these weights (without a task axis)."""
        module = copy.deepcopy(self.original)
        with torch.no_grad():
            for name, p in module.named_parameters():
                if name in self._axes:
                    p.copy_(weights[name])
        return module

    def without_head(self, head: tuple[str, ...]) -> tuple["ModuleFunction", int]:
        """The module with `nn.Identity` in place of its last layer, whose weights are `head`; and that layer's inputs.

        Raises ValueError if the last layer is no nn.Linear.
        """
        path = [alias for alias, name in self._aliases.items() if name in head][-1].rpartition(".")[0]
        module = copy.deepcopy(self.original)
        last = module.get_submodule(path)
        if set(head) - set(self._weights_of(path)) or not isinstance(last, nn.Linear) or last is module:
            raise ValueError(
                f"Comparison with the support set takes what comes before an nn.Linear as embedding, and the head of "
                f"{type(module).__name__} is {' and '.join(head)}: pass head, the name of its last nn.Linear."
            )
        module.set_submodule(path, nn.Identity())
        return ModuleFunction(module, self._batch_norm), last.in_features

    def layers(self, head: str | None = None) -> tuple[tuple[str, ...], ...]:
        """The names of the trained weights, layer by layer in the order of the module; what is under `head` is the last.

        Without `head`, that is the module's last layer, with a weight that it shares with an earlier one.

        Raises ValueError if `head` names no part of the module with weights.
        """
        groups: dict[str, list[str]] = {}
        ending = next(reversed(self._aliases)).rpartition(".")[0]
        last = self.under(head, "head") if head else self._weights_of(ending)
        for name in self._axes:
            if name not in last:
                groups.setdefault(name.rpartition(".")[0], []).append(name)
        return tuple(tuple(group) for group in [*groups.values(), last] if group)

    def _weights_of(self, path: str) -> list[str]:
        """The trained weights of the layer at that path itself, tied ones by their first name."""
        return list(dict.fromkeys(name for alias, name in self._aliases.items() if alias.rpartition(".")[0] == path))

    def under(self, parts: str | Iterable[str], argument: str) -> list[str]:
        """The trained weights that have one of these names or lie under a submodule of that name; tied ones lie under each.

        Raises ValueError, with the names there are, for one that names nothing.
        """
        found = []
        for part in [parts] if isinstance(parts, str) else parts:
            mine = [name for alias, name in self._aliases.items() if alias == part or alias.startswith(f"{part}.")]
            if not mine:
                there = ", ".join(dict.fromkeys(alias.partition(".")[0] for alias in self._aliases))
                raise ValueError(f"{argument} names {part!r}, and no trained weight lies there: the module has {there}.")
            found += mine
        return list(dict.fromkeys(found))


def _call(module: nn.Module, weights: Weights, x: Tensor) -> Tensor:
    with sdpa_kernel(SDPBackend.MATH):  # attention's fused kernels have no second derivative
        return torch.func.functional_call(module, weights, (x,))


def _call_recurrent(module: nn.Module, weights: Weights, x: Tensor) -> Tensor:
    with torch.backends.cudnn.flags(enabled=False):  # nor have cuDNN's recurrent ones
        return _call(module, weights, x)
