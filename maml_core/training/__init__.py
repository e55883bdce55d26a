"""The training loop around meta-iterations: checkpoints, validation, interrupts, and settings chosen for the machine."""

from .checkpoints import load_training
from .interactive import meta_train
from .loop import Settings, train
from .record import TrainingRecord

__all__ = ["Settings", "TrainingRecord", "load_training", "meta_train", "train"]
