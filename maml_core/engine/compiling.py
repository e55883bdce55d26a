"""Whole-graph compilation for CPU and GPU, and CUDA graph capture."""

import os
import shutil
import types
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

NO_COMPILER = "Engine: eager (no C++ compiler was found; install g++ or clang++ to train three times as fast)."


class CompilationFailed(RuntimeError):
    """A compiled function failed at its first call; the message gives the reason."""


def has_compiler() -> bool:
    """Whether there is a C++ compiler, which torch.compile needs on the CPU."""
    return any(shutil.which(compiler) for compiler in (os.environ.get("CXX", "c++"), "g++", "clang++"))


def compile_whole(function: Callable[..., Any], device: str = "cpu", threads: int | None = None) -> Callable[..., Any]:
    """Compile `function` as one graph with static shapes, at its first call; torch caches the result on disk.

    threads: that share each loop of the graph on a CPU; None for torch's number of threads

    The first call raises CompilationFailed if the compiler or the driver fails.
    """
    from .graph_passes import Rewrite

    # torch keeps at most eight compiled versions per code object. With a copy for each call of compile_whole, a process
    # can have any number of trainers.
    copied = types.FunctionType(
        function.__code__.replace(), function.__globals__, function.__name__, function.__defaults__, function.__closure__
    )
    # The C++ wrapper launches one kernel after another without going through Python.
    options: dict[str, Any] = {
        "post_grad_custom_pre_pass": Rewrite(), "cpp_wrapper": device == "cpu", "cpp.threads": threads or -1,
    }  # fmt: skip
    compiled, has_run = torch.compile(copied, fullgraph=True, dynamic=False, options=options), False

    def call(*arguments: Any) -> Any:
        nonlocal has_run
        try:
            result = compiled(*arguments)
        except (RuntimeError, OSError) as error:
            if has_run:
                raise
            raise CompilationFailed(first_line(error)) from error
        has_run = True
        return result

    return call


def first_line(error: Exception) -> str:
    """The first line of an error's message, without the pages of detail that torch's compiler adds."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def capture(step: Callable[[], Tensor], generator: torch.Generator) -> Callable[[], Tensor]:
    """Capture `step` as a CUDA graph: its kernels are recorded once, and each call then launches them all together.

    `step` must update its tensors in place, without any device-to-host synchronization; the next call overwrites the
    tensor that it returns. CUDA requires a warm-up, here of three steps: save beforehand what they change.
    """
    side_stream = torch.cuda.Stream()
    side_stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side_stream):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(side_stream)
    graph = torch.cuda.CUDAGraph()
    graph.register_generator_state(generator)  # each replay draws on from where the last one stopped
    with torch.cuda.graph(graph):
        result = step()

    def replay() -> Tensor:
        graph.replay()
        return result

    return replay
