"""What a module keeps besides its weights: a forward must not change it, since all tasks share it."""

import torch
from torch import Tensor, nn

Kept = dict[str, tuple[Tensor, Tensor]]


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
            setattr(part, attribute, tensor)  # what has replaced it may be vmap's, and of no use outside
            kind = "buffer" if attribute in dict(part.named_buffers(recurse=False)) else "tensor"
            raise ValueError(
                f"{who} changes its {kind} {name} in forward, which tasks would share and no checkpoint would hold: "
                "compute it anew in each forward, or take the update out."
            )
