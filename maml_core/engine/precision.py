"""The precision of matrix products, and which way they go on a CPU, for the length of a `with` block."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch

from ..util.checks import one_of
from .products import check_bf16, going

PRECISIONS = ("float32", "tf32", "bf16")


def check_precision(precision: str, device: str) -> None:
    """ValueError for a precision that is unknown, or that products on this device ("cpu", "cuda") do not have."""
    one_of(PRECISIONS, precision=precision)
    if device == "cpu" and precision == "tf32":
        raise ValueError("precision tf32 is for GPUs: take float32, or bf16 where the processor has it.")
    if device == "cpu" and precision == "bf16":
        check_bf16()


@contextmanager
def in_precision(precision: str, device: torch.device, products: str = "mkl") -> Iterator[None]:
    """Matrix products in float32, in TensorFloat-32 (10 bits of mantissa) or in bfloat16 (7 bits).

    bf16 rounds the two factors of a product; the networks turn what comes out back to float32 (`layers.product`).
    products: the way of float32 products on a CPU, "mkl" or "onednn".
    """
    way = "tf32" if precision == "tf32" else products if device.type == "cpu" else None
    with going(way) if way else nullcontext(), torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
        yield
