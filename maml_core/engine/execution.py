"""Settings that decide how meta-iterations are executed."""

from dataclasses import dataclass

from ..util.checks import at_least, one_of
from .distributed import Shard
from .precision import check_precision

ENGINES = ("eager", "compiled", "graph")


@dataclass(frozen=True, kw_only=True)
class Execution:
    """How meta-iterations are executed. Affects their speed and rounding only, not what is learned.

    engine:          "eager", "compiled" or, on a GPU, "graph"; if compilation fails, a warning says why, and training runs
                     eagerly
    precision:       of matrix products: "float32", "bf16" (on GPUs, and on CPUs that support it), or on GPUs "tf32"
    matmul_backend:  for float32 products on a CPU (`matmul`): "mkl", "onednn", or "auto", which takes the faster one
    chunk:           tasks per chunk, to fit memory and caches; the gradient is the same
    workers:         chunks that a CPU computes side by side (`workers`), which takes memory for each; None: one per core.
                     They call the network's functions from several threads at a time
    block:           meta-iterations per call of the compiled graph, if the meta-batch is a single chunk
    shard:           this process's part of the meta-batch
    """

    engine: str = "eager"
    precision: str = "float32"
    matmul_backend: str = "auto"
    chunk: int | None = None
    workers: int | None = None
    block: int = 1
    shard: Shard = Shard()

    def __post_init__(self) -> None:
        one_of(ENGINES, engine=self.engine)
        at_least(1, chunk=self.chunk, workers=self.workers, block=self.block)

    def check(self, device: str, meta_batch: int) -> None:
        """Raise ValueError for an engine or precision that this device ("cpu", "cuda") does not support, or for tasks that
        cannot be divided evenly among the processes.
        """
        at_least(1, meta_batch=meta_batch)
        self.shard.check(meta_batch)
        if self.engine == "graph" and device != "cuda":
            raise ValueError(
                f'engine="graph" records a CUDA graph, and the generator is on {device}: pass one on a GPU, '
                'torch.Generator("cuda"), or take engine="compiled".'
            )
        check_precision(self.precision, device)
