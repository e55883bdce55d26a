"""The precision of matrix products, for the length of a `with` block."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch

PRECISIONS = ("float32", "tf32", "bf16")


@contextmanager
def in_precision(precision: str, device: torch.device) -> Iterator[None]:
    """Matrix products in float32, in TensorFloat-32 (10 bits of mantissa) or in bfloat16 (7 bits)."""
    before = torch.get_float32_matmul_precision()
    if precision == "tf32":
        torch.set_float32_matmul_precision("high")
    try:
        with torch.autocast(device.type, torch.bfloat16) if precision == "bf16" else nullcontext():
            yield
    finally:
        if precision == "tf32":
            torch.set_float32_matmul_precision(before)
