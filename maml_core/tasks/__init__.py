"""Task distributions, and the data behind them."""

from .characters import Characters, CharacterTasks, load_characters
from .few_shot import CIFAR_FS, FewShotTasks
from .mini_imagenet import ImageTasks, MiniImageNet
from .shifted import ShiftedTasks
from .sinusoid import SinusoidTasks

__all__ = [
    "CIFAR_FS", "Characters", "CharacterTasks", "FewShotTasks", "ImageTasks", "MiniImageNet", "ShiftedTasks",
    "SinusoidTasks", "load_characters",
]  # fmt: skip
