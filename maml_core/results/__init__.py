"""What is reached and what is reported: the paper's protocol, the shipped weights, the literature, the tables."""

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
