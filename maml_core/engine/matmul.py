"""The fastest backend for float32 matrix products on this processor, chosen by a short benchmark.

On a CPU, torch can compute float32 products with MKL or oneDNN. It defaults to MKL, which is slow on processors that are
not Intel's; `torch.set_float32_matmul_precision("medium")` lets it use oneDNN. That setting also permits bfloat16: on
processors with AMX, oneDNN then rounds the factors, and on all others it still computes in float32. So neither the vendor
nor the name of the setting tells which backend is right. A benchmark of a tenth of a second does:

    speed   of one thread, on products like those of the network at hand: oneDNN takes longer to begin one, so that a
            backend which is twice as fast on a conv net may be half as fast on the sinusoid's
    error   against float64: a backend is used for float32 only if it is as accurate as float32
"""

import functools
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from ..networks import Weights
from ..util.threads import threads

BACKENDS = {"mkl": "highest", "onednn": "medium"}  # on a CPU, with the float32_matmul_precision that selects each
SETTINGS = BACKENDS | {"float32": "highest", "tf32": "high"}  # these two on GPUs
NAMES = {"mkl": "MKL", "onednn": "oneDNN", "bf16": "bfloat16"}
# [T, rows, inner] x [T, inner, columns], as (T, rows, inner, columns): those of 5-way 1-shot's conv net.
Shapes = tuple[tuple[int, int, int, int], ...]
SHAPES: Shapes = ((4, 245, 576, 64), (4, 576, 245, 64), (4, 80, 576, 64))
LARGEST = 1024  # rows or columns of a factor, so that the benchmark stays short
ROUNDS = 12
MARGIN = 1.15  # how much faster oneDNN must be; smaller differences are noise
FLOAT32_ERROR = 2e-6  # relative, for sums of several hundred terms; bfloat16's is 3e-3


@dataclass(frozen=True)
class Speed:
    """A backend's GFLOP per second on one thread, and its largest relative error."""

    gflops: float
    error: float

    @property
    def is_exact(self) -> bool:
        """Whether it is as accurate as float32, rather than rounding to bfloat16."""
        return self.error <= FLOAT32_ERROR


def shapes_like(theta: Weights) -> Shapes:
    """The products by theta's largest matrix in a forward pass and in its gradient.

    Rows are the positions of the pictures for a convolution, [3, 3, in, out], and points for all others.
    """
    largest = max(theta.values(), key=Tensor.numel)
    if largest.dim() < 2:
        return SHAPES
    inner, columns = (min(size, LARGEST) for size in (largest.shape[:-1].numel(), largest.shape[-1]))
    rows = 245 if largest.dim() == 4 else 10
    return (4, rows, inner, columns), (4, inner, rows, columns)


@functools.cache
def measure(*backends: str, shapes: Shapes = SHAPES) -> dict[str, Speed]:
    """Benchmark the backends ("mkl", "onednn", "bf16") in turn; cached for the life of the process.

    Speed is that on `shapes`; the error is the largest on these and on SHAPES.
    """
    best = {backend: [float("inf")] * len(shapes) for backend in backends}
    errors = dict.fromkeys(backends, 0.0)
    with threads(1):
        for shape in dict.fromkeys((*shapes, *SHAPES)):
            a, b = _factors(shape)
            exact = a.double() @ b.double()
            for backend in backends:
                error = (_multiply(a, b, backend)[0] - exact).norm() / exact.norm()
                errors[backend] = max(errors[backend], error.item())
        for i, shape in enumerate(shapes):
            a, b = _factors(shape)
            for _ in range(ROUNDS):
                for backend in backends:
                    # The minimum, since background load can only slow a product down.
                    best[backend][i] = min(best[backend][i], _multiply(a, b, backend)[1])
    flop = sum(2 * tasks * rows * inner * columns for tasks, rows, inner, columns in shapes)
    return {backend: Speed(flop / sum(best[backend]) / 1e9, errors[backend]) for backend in backends}


def choose_backend(device: str = "cpu", requested: str = "auto", theta: Weights | None = None) -> str:
    """The backend for float32 products on this machine, "mkl" or "onednn"; always "mkl" on a GPU, which uses neither.

    requested: "auto" takes the faster one on products like theta's, or else on SHAPES. "onednn", as in a checkpoint from
    another machine, falls back to "mkl" where it would round to bfloat16. Raises ValueError for any other name.
    """
    if requested not in ("auto", *BACKENDS):
        raise ValueError(f"matmul_backend must be auto or one of {', '.join(BACKENDS)}, not {requested!r}.")
    if device != "cpu" or requested == "mkl":
        return "mkl"
    speeds = measure(*BACKENDS, shapes=SHAPES if theta is None else shapes_like(theta))
    if requested == "onednn":
        return "onednn" if speeds["onednn"].is_exact else "mkl"
    return fastest_backend(speeds)


def fastest_backend(speeds: dict[str, Speed]) -> str:
    """oneDNN if it is clearly faster and as accurate as float32, else MKL, torch's default."""
    onednn, mkl = speeds["onednn"], speeds["mkl"]
    return "onednn" if onednn.is_exact and onednn.gflops >= MARGIN * mkl.gflops else "mkl"


def check_bf16() -> None:
    """Raise ValueError if bfloat16 products are slower than float32's: torch emulates them on this processor."""
    speeds = measure(*BACKENDS, "bf16")
    backend = fastest_backend(speeds)
    if speeds["bf16"].gflops < speeds[backend].gflops:
        raise ValueError(
            f"This processor has no fast bfloat16 products ({speeds['bf16'].gflops:.0f} GFLOP/s; float32 reaches "
            f"{speeds[backend].gflops:.0f}): omit --precision bf16."
        )


@contextmanager
def use_backend(backend: str) -> Iterator[None]:
    """Compute products with this backend within the block: "mkl" or "onednn" on a CPU, "float32" or "tf32" on a GPU."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(SETTINGS[backend])
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def describe(backend: str, theta: Weights) -> str:
    """A run's backend and its benchmark: "Float32 matrix products use oneDNN (247 GFLOP/s per thread; MKL 105)."

    A backend that is not the fastest is one that a resumed run keeps; the sentence says so.
    """
    speeds = measure(*BACKENDS, shapes=shapes_like(theta))
    others = ", ".join(f"{NAMES[other]} {speed.gflops:.0f}" for other, speed in speeds.items() if other != backend)
    name = NAMES[backend] + ("" if backend == fastest_backend(speeds) else ", as when this run began")
    return f"Float32 matrix products use {name} ({speeds[backend].gflops:.0f} GFLOP/s per thread; {others})."


def _factors(shape: tuple[int, int, int, int]) -> tuple[Tensor, Tensor]:
    tasks, rows, inner, columns = shape
    generator = torch.Generator().manual_seed(0)
    return torch.randn(tasks, rows, inner, generator=generator), torch.randn(tasks, inner, columns, generator=generator)


def _multiply(a: Tensor, b: Tensor, backend: str) -> tuple[Tensor, float]:
    """a b and the seconds it took; for "bf16" the factors are cast beforehand."""
    if backend == "bf16":
        a, b, backend = a.bfloat16(), b.bfloat16(), "mkl"
    with use_backend(backend):
        started = time.perf_counter()
        product = a @ b
        return product, time.perf_counter() - started
