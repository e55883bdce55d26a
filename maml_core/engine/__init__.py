"""How a meta-iteration runs: eager, compiled or as a CUDA graph, in one process or several."""

from .trainer import Execution, MetaTrainer

__all__ = ["Execution", "MetaTrainer"]
