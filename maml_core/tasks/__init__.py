"""Task distributions, and the data behind them."""

from .characters import Characters, CharacterTasks, load_characters
from .mini_imagenet import ImageTasks, MiniImageNet
from .shifted import ShiftedTasks
from .sinusoid import SinusoidTasks

__all__ = ["Characters", "CharacterTasks", "ImageTasks", "MiniImageNet", "ShiftedTasks", "SinusoidTasks", "load_characters"]
