"""Choose the engine, the chunk of tasks and the block of meta-iterations from the recipe and the machine."""

import os

import torch

from ..engine import execution
from ..engine.compiling import NO_COMPILER, has_compiler
from ..recipes import Recipe
from ..util.checks import one_of

ENGINES = ("auto", *execution.ENGINES)

# Break-even for compilation, in meta-iterations. On 2 cores a compiled step saves 160 of 235 ms on 5-way 1-shot and
# takes 45 s to compile; on the sinusoid it saves 3 ms and takes 25 s.
BREAK_EVEN = {"sinusoid": 10_000, "oracle": 10_000, "conv": 500, "context": 500, "mlp": 2_000, "image": 500}

# What a chunk on one core may hold, as measured: pictures (support and query), whose activations have to fit its caches;
# more for the eager engine, whose calls take longer; and tasks for the MLP, whose activations are small.
CHUNK_PICTURES = {"compiled": 20, "eager": 80}
CHUNK_TASKS = 4

# Bytes of activations per picture, for each inner step and once more for the query set, including both derivatives: on a
# GPU, and at most, as measured, on a CPU.
PICTURE_BYTES = 4_000_000
PICTURE_BYTES_ON_CPU = {"conv": 2_000_000, "context": 2_000_000, "mlp": 2_000_000, "image": 10_000_000}


def choose_engine(recipe: Recipe, iterations: int, engine: str = "auto", device: str = "cpu") -> tuple[str, str]:
    """The engine's name, and one sentence that explains the choice."""
    one_of(ENGINES, engine=engine)
    on_gpu = device.startswith("cuda")
    if engine == "auto" and recipe.variant == "imaml" and not recipe.is_regression:
        return (
            "eager",
            "Engine: eager (iMAML on a conv net takes more than six minutes to compile; --engine compiled does so anyway).",
        )
    if engine == "graph" and not on_gpu:
        raise ValueError("--engine graph records a CUDA graph: add --device cuda, or choose --engine compiled.")
    if engine == "eager":
        return "eager", "Engine: eager."
    if engine == "auto" and on_gpu:
        engine = "graph"
    if engine == "graph":
        return "graph", "Engine: graph (compiling and recording the first meta-iteration can take several minutes)."
    if engine == "auto" and iterations < BREAK_EVEN[recipe.network]:
        return "eager", f"Engine: eager ({iterations:,} meta-iterations are too few to pay for compilation)."
    if not on_gpu and not has_compiler():
        return "eager", NO_COMPILER
    return "compiled", "Engine: compiled (compiling takes between 15 s and a few minutes, then is cached on disk)."


def choose_block(recipe: Recipe) -> int:
    """Meta-iterations per call of the compiled graph: 5 for the sinusoid, where one is as quick as the call itself."""
    return 5 if recipe.is_regression else 1


def choose_chunk(recipe: Recipe, device: str = "cpu", world: int = 1, engine: str = "compiled") -> int | None:
    """Tasks per chunk: the largest divisor of this process's tasks that fits, so that equal chunks compile only once.

    A chunk has to fit into the caches of one core of a CPU, and there are chunks for all cores; or into half of a GPU's
    free memory. None (all tasks) for the sinusoid.
    """
    if recipe.is_regression:
        return None
    tasks = recipe.meta_batch // world
    if device.startswith("cuda"):
        limit = torch.cuda.mem_get_info(device)[0] // 2 // _task_bytes(recipe, PICTURE_BYTES)
    else:
        by_tasks = engine == "compiled" and recipe.network == "mlp"
        fits = CHUNK_TASKS if by_tasks else CHUNK_PICTURES[engine] // recipe.points_per_task
        limit = min(fits, tasks // torch.get_num_threads())
    return max((n for n in range(1, tasks + 1) if tasks % n == 0 and n <= limit), default=1)


def choose_workers(recipe: Recipe, chunk: int | None, memory: int | None = None) -> int | None:
    """Chunks to compute side by side on a CPU: one per core, as far as half of the machine's memory reaches.

    memory: in bytes; by default this machine's. None (no limit) for the sinusoid, one chunk, or if the memory is unknown.
    """
    if memory is None and hasattr(os, "sysconf"):
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if recipe.is_regression or chunk is None or memory is None:
        return None
    needed = chunk * _task_bytes(recipe, PICTURE_BYTES_ON_CPU[recipe.network])
    return max(1, min(torch.get_num_threads(), memory // 2 // needed))


def _task_bytes(recipe: Recipe, picture_bytes: int) -> int:
    """What a task's activations take, over all inner steps and the query set."""
    return picture_bytes * (recipe.inner_steps + 1) * recipe.points_per_task
