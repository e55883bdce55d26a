"""Our results and reported ones: the paper's protocol, shipped weights, numbers from the literature, and tables."""

from .protocol import measure
from .shipped import is_shipped, load_benchmark, load_policy, load_shipped, load_study, load_study_weights, publish

__all__ = [
    "is_shipped",
    "load_benchmark",
    "load_policy",
    "load_shipped",
    "load_study",
    "load_study_weights",
    "measure",
    "publish",
]
