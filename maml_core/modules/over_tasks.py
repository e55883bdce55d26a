"""A function of one task, run for all tasks at once where torch can, and one task at a time where it cannot."""

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


class OverTasks:
    """`function(*arguments)` of one task, for T tasks: `torch.vmap`, or a loop if vmap cannot run the function.

    Which one it is turns out in the first call that is not being compiled; a loop is announced by one warning. Random
    functions such as dropout draw differently for each task.
    name: what a warning or an error calls the function. returns: what it should return, for a ValueError that says so
    """

    def __init__(self, function: Callable[..., Tensor], name: str, returns: str) -> None:
        self.function, self.name, self.returns = function, name, returns
        self.loops: bool | None = None  # not known yet

    def __call__(self, axes: tuple[Any, ...], *arguments: Any) -> Tensor:
        """Outputs [T, ...]. axes: for each argument (or dictionary of tensors) 0 for a task axis, None for none."""
        if self.loops:
            return self._loop(axes, arguments)
        if self.loops is False or torch.compiler.is_compiling():
            return self._vmap(axes, arguments)
        try:
            outputs = self._vmap(axes, arguments)
        except Exception as error:  # of many types: what vmap cannot trace, or what is wrong with the function itself
            outputs = self._loop(axes, arguments)  # in the latter case this raises the function's own error
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:120]
            warnings.warn(
                f"{self.name} runs one task at a time, slower but otherwise the same: vmap cannot run it ({reason}).",
                stacklevel=2,
            )
            self.loops = True
            return outputs
        self.loops = False
        return outputs

    def _vmap(self, axes: tuple[Any, ...], arguments: tuple[Any, ...]) -> Tensor:
        return torch.vmap(self._call, in_dims=axes, randomness="different")(*arguments)

    def _loop(self, axes: tuple[Any, ...], arguments: tuple[Any, ...]) -> Tensor:
        tasks = len(arguments[-1])

        def of_task(task: int) -> list[Any]:
            return [_pick(argument, axis, task) for argument, axis in zip(arguments, axes, strict=True)]

        return torch.stack([self._call(*of_task(task)) for task in range(tasks)])

    def _call(self, *arguments: Any) -> Tensor:
        outputs = self.function(*arguments)
        if not isinstance(outputs, Tensor):
            raise ValueError(
                f"{self.name} returned a {type(outputs).__name__}, expected a tensor: return {self.returns}, alone."
            )
        return outputs


def _pick(argument: Any, axis: Any, task: int) -> Any:
    """One task's part of a tensor or of a dictionary of tensors."""
    if isinstance(argument, dict):
        return {name: w if axis[name] is None else w[task] for name, w in argument.items()}
    return argument[task] if axis == 0 else argument
