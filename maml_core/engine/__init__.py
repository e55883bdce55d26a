"""How a meta-iteration runs: eager, compiled or as a CUDA graph, in one process or several."""

from .divergence import Diverged
from .execution import Execution
from .trainer import MetaTrainer

__all__ = ["Diverged", "Execution", "MetaTrainer"]
