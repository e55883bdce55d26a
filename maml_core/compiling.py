"""Whole-graph compilation on the CPU and GPU, and capture as a CUDA graph."""

import os
import shutil
import types
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def has_compiler() -> bool:
    """Whether torch.compile finds the C++ compiler that it needs on the CPU."""
    return any(shutil.which(compiler) for compiler in (os.environ.get("CXX", "c++"), "g++", "clang++"))


def compile_whole(function: Callable[..., Any], device: str = "cpu") -> Callable[..., Any]:
    """`function` as one compiled graph with static shapes; compiled at the first call, kept on disk by torch."""
    from .rewrite import Rewrite  # reads torch's compiler, which takes a second to import

    # Compiled code belongs to a code object, up to eight versions of it. With one of its own, a process can have
    # any number of trainers.
    own = types.FunctionType(
        function.__code__.replace(), function.__globals__, function.__name__, function.__defaults__, function.__closure__
    )
    # The C++ wrapper calls kernel after kernel without Python in between.
    options = {"post_grad_custom_pre_pass": Rewrite(), "cpp_wrapper": device == "cpu"}
    return torch.compile(own, fullgraph=True, dynamic=False, options=options)


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
