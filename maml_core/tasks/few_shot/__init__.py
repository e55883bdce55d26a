"""Tasks from any data set of (x, label): finding its classes, reading its examples, and drawing episodes of them."""

from .cifar_fs import CIFAR_FS
from .distribution import FewShotTasks

__all__ = ["CIFAR_FS", "FewShotTasks"]
