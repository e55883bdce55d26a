"""How meta-iterations are run, as settings."""

from dataclasses import dataclass

from ..util.checks import at_least
from .distributed import Shard


@dataclass(frozen=True, kw_only=True)
class Execution:
    """How meta-iterations are run: what decides their speed and their rounding, not what is learned.

    engine:     "eager", "compiled" or "graph"; where compiling is not possible, a warning says why, and it is eager
    precision:  of matrix products: "float32", "bf16" (on a CPU that has it, and on a GPU), or on a GPU "tf32"
    products:   the way of float32 products on a CPU (`products`): "mkl", "onednn", or "auto", which measures
    chunk:      tasks at a time, for memory and caches; the gradient is the same
    block:      meta-iterations in one call of the compiled graph, if the meta-batch is one chunk
    shard:      this process's part of the meta-batch
    """

    engine: str = "eager"
    precision: str = "float32"
    products: str = "auto"
    chunk: int | None = None
    block: int = 1
    shard: Shard = Shard()

    def __post_init__(self) -> None:
        at_least(1, chunk=self.chunk, block=self.block)
