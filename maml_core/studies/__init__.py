"""Studies: questions answered by training runs that differ in one factor, or by measuring trained weights."""

from .families import SHIPPED_AS, load_family
from .registry import STUDIES
from .study import Findings, Study, StudyContext
from .trainings import Condition, Trainings

__all__ = [
    "SHIPPED_AS", "STUDIES", "Condition", "Findings", "Study", "StudyContext", "Trainings", "load_family",
]  # fmt: skip
