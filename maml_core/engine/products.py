"""Which way this processor multiplies matrices fastest, found out by multiplying some.

torch has two libraries for a float32 product on a CPU. It takes MKL, whose kernels for processors that are not Intel's
are slow ones; `torch.set_float32_matmul_precision("medium")` lets it take oneDNN. That setting allows bfloat16, too: where
the processor has AMX, oneDNN then rounds the factors, elsewhere it computes in float32 all the same. So neither the maker
of the processor nor the name of the setting tells what is right. A measurement of some milliseconds does:

    speed   of one thread, on products of the shapes that a meta-iteration of 5-way 1-shot has
    error   against float64: only what is as exact as float32 is taken for float32
"""

import functools
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

WAYS = {"mkl": "highest", "onednn": "medium"}  # a way of a float32 product, and the setting of torch that leads to it
SETTINGS = WAYS | {"tf32": "high"}  # the last one on GPUs
NAMES = {"mkl": "MKL", "onednn": "oneDNN", "bf16": "bfloat16"}
SHAPES = ((4, 245, 576, 64), (4, 576, 245, 64), (4, 80, 576, 64))  # [T, rows, inner] x [T, inner, columns]
ROUNDS = 12
MARGIN = 1.15  # what another way has to be faster by: less is within the noise
FLOAT32_ERROR = 2e-6  # of sums over some hundred products; bfloat16 has 3e-3


@dataclass(frozen=True)
class Speed:
    """One way of multiplying: GFLOP per second of one thread, and the largest relative error."""

    gflops: float
    error: float

    @property
    def is_exact(self) -> bool:
        """Whether it is as exact as float32, and does not round to bfloat16."""
        return self.error <= FLOAT32_ERROR


@functools.cache
def measure(*ways: str) -> dict[str, Speed]:
    """Each way ("mkl", "onednn", "bf16") on all SHAPES, in turn; once per process and choice of ways."""
    best = {way: [float("inf")] * len(SHAPES) for way in ways}
    errors = dict.fromkeys(ways, 0.0)
    with _one_thread():
        for i, shape in enumerate(SHAPES):
            a, b = _factors(shape)
            exact = a.double() @ b.double()
            for way in ways:
                error = (_multiply(a, b, way)[0] - exact).norm() / exact.norm()
                errors[way] = max(errors[way], error.item())
            for _ in range(ROUNDS):
                for way in ways:
                    best[way][i] = min(best[way][i], _multiply(a, b, way)[1])  # other work only makes it slower
    flop = sum(2 * tasks * rows * inner * columns for tasks, rows, inner, columns in SHAPES)
    return {way: Speed(flop / sum(best[way]) / 1e9, errors[way]) for way in ways}


def choose_way(device: str = "cpu", wish: str = "auto") -> str:
    """The way of float32 products on this machine, "mkl" or "onednn"; on a GPU, which has its own, always "mkl".

    wish: "auto" for the faster one. Another machine's checkpoint may wish for "onednn" where that would round to bfloat16:
    then it is "mkl" as well. Raises ValueError for another word.
    """
    if wish not in ("auto", *WAYS):
        raise ValueError(f"products must be auto or one of {', '.join(WAYS)}, not {wish!r}.")
    if device != "cpu" or wish == "mkl":
        return "mkl"
    speeds = measure(*WAYS)
    if wish == "onednn":
        return "onednn" if speeds["onednn"].is_exact else "mkl"
    return fastest_way(speeds)


def fastest_way(speeds: dict[str, Speed]) -> str:
    """The way that a float32 product should take: oneDNN where it is clearly faster and as exact, else torch's choice."""
    onednn, mkl = speeds["onednn"], speeds["mkl"]
    return "onednn" if onednn.is_exact and onednn.gflops >= MARGIN * mkl.gflops else "mkl"


def check_bf16() -> None:
    """ValueError where bfloat16 products are slower than float32's: the processor has none, and torch makes them up."""
    speeds = measure(*WAYS, "bf16")
    way = fastest_way(speeds)
    if speeds["bf16"].gflops < speeds[way].gflops:
        raise ValueError(
            f"This processor has no fast bfloat16 products ({speeds['bf16'].gflops:.0f} GFLOP/s, float32 has "
            f"{speeds[way].gflops:.0f}): leave --precision bf16 out here."
        )


@contextmanager
def going(way: str) -> Iterator[None]:
    """Float32 products go this way within the block: "mkl" or "onednn" on the CPU, "tf32" on a GPU."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(SETTINGS[way])
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


@contextmanager
def fastest() -> Iterator[None]:
    """Float32 products on the CPU go the faster way within the block."""
    with going(choose_way()):
        yield


def describe(way: str) -> str:
    """The way of products and what was measured: "Float32 products go through oneDNN (247 GFLOP/s a thread; MKL 105)."."""
    speeds = measure(*WAYS)
    others = ", ".join(f"{NAMES[other]} {speed.gflops:.0f}" for other, speed in speeds.items() if other != way)
    return f"Float32 products go through {NAMES[way]} ({speeds[way].gflops:.0f} GFLOP/s a thread; {others})."


def _factors(shape: tuple[int, int, int, int]) -> tuple[Tensor, Tensor]:
    tasks, rows, inner, columns = shape
    generator = torch.Generator().manual_seed(0)
    return torch.randn(tasks, rows, inner, generator=generator), torch.randn(tasks, inner, columns, generator=generator)


def _multiply(a: Tensor, b: Tensor, way: str) -> tuple[Tensor, float]:
    """a b and the seconds it took; the factors of "bf16" are cast beforehand."""
    if way == "bf16":
        a, b, way = a.bfloat16(), b.bfloat16(), "mkl"
    with going(way):
        started = time.perf_counter()
        product = a @ b
        return product, time.perf_counter() - started


@contextmanager
def _one_thread() -> Iterator[None]:
    """Two threads wait for one another, and beside other work that is what one would measure."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
