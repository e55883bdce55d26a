"""A training that takes a moment, an address's answer, a page's text: what several test files need."""

import urllib.error
import urllib.request
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from maml_core.docs import MARKER, ROOT
from maml_core.engine import Execution, MetaTrainer
from maml_core.meta_update import MetaUpdate
from maml_core.recipes import find_recipe
from maml_core.training import Settings, train

SMALL = replace(find_recipe("sinusoid-5shot"), meta_batch=4)


def small_train(out: Path, iterations: int = 30, tasks=None, recipe=SMALL, **settings) -> dict[str, Any]:
    """A sinusoid training that says nothing and validates every 10 meta-iterations."""
    settings = Settings(**{"iterations": iterations, "validate_every": 10, "say": lambda text: None} | settings)
    return train(recipe, tasks or recipe.build_tasks(), recipe.build_tasks(), out, settings)


def make_trainer(learner, tasks, generator, meta_batch: int = 4, **options) -> MetaTrainer:
    """A MetaTrainer whose update and execution are given field by field."""
    moves = {f.name: options.pop(f.name) for f in fields(MetaUpdate) if f.name in options}
    return MetaTrainer(learner, tasks, generator, meta_batch, update=MetaUpdate(**moves), execution=Execution(**options))


def read_page(name: str) -> str:
    """A page of the repository ("docs/results.md") as its reader sees it: without the markers of what is filled in."""
    return MARKER.sub("", (ROOT / name).read_text(encoding="utf-8"))


def status(address: str, token: str | None = None) -> int:
    """The HTTP status of an address, with a token or without; 0 where there is no answer."""
    headers = {"Authorization": f"token {token}"} if token else {}
    try:
        with urllib.request.urlopen(urllib.request.Request(address, headers=headers), timeout=10) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0
