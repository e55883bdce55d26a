"""Questions, each answered by trainings that differ in one factor or by measuring trained weights."""

from .families import SHIPPED_AS, load_family
from .registry import STUDIES
from .study import Condition, Study, run_study

__all__ = ["SHIPPED_AS", "STUDIES", "Condition", "Study", "load_family", "run_study"]
