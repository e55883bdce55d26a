"""Which engine, how many tasks at a time, how many meta-iterations in a row: chosen from the recipe and the machine."""

import torch

from ..engine.compiling import NO_COMPILER, has_compiler
from ..recipes import Recipe
from ..util.checks import one_of

ENGINES = ("auto", "eager", "compiled", "graph")

# Meta-iterations from which compiling is won back. On 2 cores a compiled step saves 160 ms of 235 on 5-way 1-shot
# and takes 45 s to compile; on the sinusoid it saves 3 ms and takes 25 s.
WORTH_COMPILING = {"sinusoid": 10_000, "oracle": 10_000, "conv": 500, "mlp": 2_000, "image": 500}

# What fits the CPU's caches, by measurement: pictures (support and query) in one chunk, for the activations, and
# tasks in it, for their weights.
CHUNK_PICTURES, CHUNK_TASKS = 80, 4

# Bytes that a picture's activations take per inner step and once for the query set, both derivatives included.
PICTURE_BYTES = 4_000_000


def choose_engine(recipe: Recipe, iterations: int, engine: str = "auto", device: str = "cpu") -> tuple[str, str]:
    """The engine's name, and a sentence that says why."""
    one_of(ENGINES, engine=engine)
    on_gpu = device.startswith("cuda")
    if engine == "auto" and recipe.variant == "imaml" and not recipe.is_regression:
        return (
            "eager",
            "Engine: eager (iMAML through a conv net was still compiling after six minutes; --engine compiled waits).",
        )
    if engine == "graph" and not on_gpu:
        raise ValueError("--engine graph records a CUDA graph: add --device cuda, or choose compiled.")
    if engine == "eager":
        return "eager", "Engine: eager."
    if engine == "auto" and on_gpu:
        engine = "graph"
    if engine == "graph":
        return "graph", "Engine: graph (compiling and recording the first meta-iteration takes up to some minutes)."
    if engine == "auto" and iterations < WORTH_COMPILING[recipe.network]:
        return "eager", f"Engine: eager ({iterations:,} meta-iterations are too few to win a compilation back)."
    if not on_gpu and not has_compiler():
        return "eager", NO_COMPILER
    return "compiled", "Engine: compiled (compiling takes from 15 s to some minutes; the next time it is on disk)."


def choose_block(recipe: Recipe) -> int:
    """Meta-iterations in one call of the compiled graph: 5 for the sinusoid's, which take as long as a call does."""
    return 5 if recipe.is_regression else 1


def choose_chunk(recipe: Recipe, device: str = "cpu", world: int = 1, engine: str = "compiled") -> int | None:
    """Tasks in a chunk: the largest divisor of this process's tasks that fits; equal chunks compile once.

    On the CPU it is the caches that they have to fit (the eager engine, whose calls cost more, takes more tasks to a
    call), on a GPU half of its free memory. None, all tasks, for the sinusoid.
    """
    if recipe.is_regression:
        return None
    tasks = recipe.meta_batch // world
    pictures = recipe.points_per_task
    limit = CHUNK_PICTURES if engine == "eager" else min(CHUNK_PICTURES, CHUNK_TASKS * pictures)
    if device.startswith("cuda"):
        limit = torch.cuda.mem_get_info(device)[0] // 2 // (PICTURE_BYTES * (recipe.inner_steps + 1))
    return max((n for n in range(1, tasks + 1) if tasks % n == 0 and n * pictures <= limit), default=1)
