"""Any `nn.Module` on the task axis: its weights as a dictionary, its forward and its loss for all tasks at once."""

from .functional import ModuleFunction, Weights
from .losses import point_loss

__all__ = ["ModuleFunction", "Weights", "point_loss"]
