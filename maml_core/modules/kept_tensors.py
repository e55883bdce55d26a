"""What a module keeps besides its weights: a forward must not change it, since all tasks share it."""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from typing import Any

import torch
from torch import Tensor, nn

Kept = dict[str, tuple[Tensor, Tensor]]


@contextmanager
def keeping(module: nn.Module, who: str) -> Iterator[None]:
    """Raise ValueError if the block changes what the module keeps (`check_unchanged`).

    After an error, its attributes are those from before: tensors of vmap's that a forward leaves in them are of no use.
    """
    before = kept_tensors(module)
    attributes = [(vars(part), _copied(vars(part))) for part in module.modules()]
    try:
        try:
            yield
        finally:
            check_unchanged(module, before, who)
    except Exception:
        for now, then in attributes:
            now.clear()
            now.update(then)
        raise


def _copied(attributes: dict[str, Any]) -> dict[str, Any]:
    return {name: copy(value) if isinstance(value, dict | list | set) else value for name, value in attributes.items()}


def kept_tensors(module: nn.Module) -> Kept:
    """Buffers and tensors that are plain attributes, by name, each with a copy of its values."""
    return {
        f"{path}.{name}".lstrip("."): (tensor, tensor.detach().clone())
        for path, part in module.named_modules()
        for name, tensor in (vars(part) | dict(part.named_buffers(recurse=False))).items()
        if isinstance(tensor, Tensor)
    }


def check_unchanged(module: nn.Module, before: Kept, who: str) -> None:
    """Raise ValueError if one of them has been replaced, or has other values."""
    for name, (tensor, values) in before.items():
        path, _, attribute = name.rpartition(".")
        part = module.get_submodule(path)
        if getattr(part, attribute, None) is not tensor or not torch.equal(tensor.nan_to_num(), values.nan_to_num()):
            kind = "buffer" if attribute in dict(part.named_buffers(recurse=False)) else "tensor"
            raise ValueError(
                f"{who} changes its {kind} {name} in forward, which tasks would share and no checkpoint would hold: "
                "compute it anew in each forward, or take the update out."
            )


def check_repeated(first: Tensor, second: Tensor, who: str) -> None:
    """Raise ValueError if the same forward has returned other outputs the second time.

    The limit leaves room for rounding, also of bfloat16, and for sums in another order.
    """
    difference = (second - first).nan_to_num().abs().max()
    if difference > 0.02 * first.nan_to_num().abs().max():
        raise ValueError(
            f"{who} gives other outputs when the same forward is repeated: it uses what an earlier one, of other tasks, "
            "left behind, or random numbers other than torch's. Keep nothing for the next forward, and draw with torch."
        )
