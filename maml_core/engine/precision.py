"""The precision of matrix products, and their backend on a CPU, within a `with` block."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from ..util.checks import one_of
from .matmul import check_bf16, use_backend

PRECISIONS = ("float32", "tf32", "bf16")


def check_precision(precision: str, device: str) -> None:
    """Raise ValueError for an unknown precision, or one that this device ("cpu", "cuda") does not support."""
    one_of(PRECISIONS, precision=precision)
    if device == "cpu" and precision == "tf32":
        raise ValueError("precision tf32 is for GPUs only: use float32, or bf16 if this processor supports it.")
    if device == "cpu" and precision == "bf16":
        check_bf16()


def supported_precision(precision: str, device: str) -> str:
    """The precision itself, or float32, the most exact one, where this device does not support it."""
    try:
        check_precision(precision, device)
    except ValueError:
        return "float32"
    return precision


@contextmanager
def in_precision(precision: str, device: torch.device, matmul_backend: str = "mkl") -> Iterator[None]:
    """Compute matrix products in float32, TensorFloat-32 (10-bit mantissa) or bfloat16 (7-bit mantissa).

    bf16 rounds the two factors of a product; the networks cast the result back to float32 (`layers.product`).
    matmul_backend: for float32 products on a CPU, "mkl" or "onednn".
    """
    backend = "tf32" if precision == "tf32" else matmul_backend if device.type == "cpu" else "float32"
    with use_backend(backend), in_bf16(precision == "bf16", device):
        yield


def in_bf16(enabled: bool, device: torch.device) -> torch.autocast:
    """A context that rounds the factors of products to bfloat16, in this thread only: each thread has to enter its own."""
    return torch.autocast(device.type, torch.bfloat16, enabled=enabled)
