"""A study: a question, a function that answers it, and a result in a common format. `registry.STUDIES` lists them all."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from ..results.shipped import weights_name
from ..results.study_result import StudyResult
from ..tasks.characters import Characters
from ..training import checkpoints


@dataclass(frozen=True, kw_only=True)
class StudyContext:
    """Where and how a study runs; each study takes what it needs.

    out:         folder of the training runs, which are resumed where they exist
    characters:  loads all characters when it is called
    seeds, iterations, device, engine:  of the training runs; iterations None means the study's own number
    weights:     folder to save the study's weights in; None saves none
    metadata:    stored with training runs and results, such as the commit
    log:         receives progress messages
    """

    out: Path
    characters: Callable[[], Characters]
    seeds: tuple[int, ...] = (0, 1)
    iterations: int | None = None
    device: str = "cpu"
    engine: str = "auto"
    weights: Path | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    log: Callable[[str], None] = print


@dataclass(frozen=True)
class Findings:
    """The answer to a study's question: rows, settings and extra of its StudyResult, and checkpoints by condition."""

    rows: list[dict[str, Any]]
    settings: dict[str, Any]
    extra: dict[str, Any] = field(default_factory=dict)
    weights: dict[str, dict[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Study:
    """One question and the function that answers it.

    answer:  measures, or trains and measures
    trains:  whether it writes training runs below the context's `out`
    ships:   the conditions whose weights are saved with the results, for `load_study_weights`
    """

    name: str
    question: str
    answer: Callable[[StudyContext], Findings]
    trains: bool = False
    ships: tuple[str, ...] = ()

    def run(self, context: StudyContext) -> StudyResult:
        """Answer the question and save the weights. Raises ValueError if something is missing, such as Omniglot."""
        found = self.answer(context)
        if context.weights is not None:
            for condition in self.ships:
                checkpoints.save(found.weights[condition], context.weights / weights_name(condition))
        return StudyResult(
            study=self.name, question=self.question, settings=found.settings, rows=found.rows, extra=found.extra,
            torch=str(torch.__version__), commit=context.metadata.get("commit"),
        )  # fmt: skip
