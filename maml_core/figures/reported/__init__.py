"""Whole figures that are drawn from shipped results alone: `make figures` and the chapters show them."""

from ..sinusoid import error_against_steps
from .adapting import what_adapts
from .benchmark import benchmark
from .families import families, families_shift
from .learning import learning_curves, loss_scale, order_and_rotations
from .meta_test import alpha_at_test, query_batches
from .table_1 import table_1
from .variants import variants, variants_cost

__all__ = [
    "alpha_at_test", "benchmark", "error_against_steps", "families", "families_shift", "learning_curves", "loss_scale",
    "order_and_rotations", "query_batches", "table_1", "variants", "variants_cost", "what_adapts",
]  # fmt: skip
