"""Whole-graph compilation on the CPU and GPU, and capture as a CUDA graph."""

import os
import shutil
import types
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

NO_COMPILER = "Engine: eager (no C++ compiler was found; install g++ or clang++ to train three times as fast)."


class CompilationFailed(RuntimeError):
    """The first call of a compiled function failed, for the reason in its message."""


def has_compiler() -> bool:
    """Whether torch.compile finds the C++ compiler that it needs on the CPU."""
    return any(shutil.which(compiler) for compiler in (os.environ.get("CXX", "c++"), "g++", "clang++"))


def compile_whole(function: Callable[..., Any], device: str = "cpu") -> Callable[..., Any]:
    """`function` as one compiled graph with static shapes; compiled at the first call, kept on disk by torch.

    CompilationFailed is what the first call raises if it fails in any way that a compiler or driver can.
    """
    from .graph_passes import Rewrite

    # Compiled code belongs to a code object, up to eight versions of it. With one of its own, a process can have
    # any number of trainers.
    own = types.FunctionType(
        function.__code__.replace(), function.__globals__, function.__name__, function.__defaults__, function.__closure__
    )
    # The C++ wrapper calls kernel after kernel without Python in between.
    options: dict[str, Any] = {"post_grad_custom_pre_pass": Rewrite(), "cpp_wrapper": device == "cpu"}
    compiled, proven = torch.compile(own, fullgraph=True, dynamic=False, options=options), False

    def call(*arguments: Any) -> Any:
        nonlocal proven
        try:
            result = compiled(*arguments)
        except (RuntimeError, OSError) as error:
            if proven:
                raise
            raise CompilationFailed(first_line(error)) from error
        proven = True
        return result

    return call


def first_line(error: Exception) -> str:
    """What an error says, without the pages that torch's compiler adds."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def capture(step: Callable[[], Tensor], generator: torch.Generator) -> Callable[[], Tensor]:
    """`step` as a CUDA graph: its kernels are recorded once and then launched together by one call.

    `step` reads and writes tensors that stay where they are, and never asks the device for a value; what it returns
    is overwritten by the next call. It is run three times before, as CUDA wants it: save what it changes.
    """
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    graph.register_generator_state(generator)  # every replay goes on where the last one stopped drawing
    with torch.cuda.graph(graph):
        result = step()

    def replay() -> Tensor:
        graph.replay()
        return result

    return replay
