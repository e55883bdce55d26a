"""Helpers that several test files share: a short training run, an HTTP status, a page's text."""

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
    """A short, silent training run on sinusoids that validates every 10 meta-iterations."""
    settings = Settings(**{"iterations": iterations, "validate_every": 10, "log": lambda text: None} | settings)
    return train(recipe, tasks or recipe.build_tasks(), recipe.build_tasks(), out, settings)


def make_trainer(learner, tasks, generator, meta_batch: int = 4, **options) -> MetaTrainer:
    """A MetaTrainer with the fields of MetaUpdate and Execution given as keyword arguments."""
    update = {f.name: options.pop(f.name) for f in fields(MetaUpdate) if f.name in options}
    return MetaTrainer(learner, tasks, generator, meta_batch, update=MetaUpdate(**update), execution=Execution(**options))


def read_page(name: str) -> str:
    """A page of the repository ("docs/results.md") as readers see it, without the markers of generated content."""
    return MARKER.sub("", (ROOT / name).read_text(encoding="utf-8"))


def status(address: str, token: str | None = None) -> int:
    """The HTTP status of an address, with or without a token; 0 if there is no response."""
    headers = {"Authorization": f"token {token}"} if token else {}
    try:
        with urllib.request.urlopen(urllib.request.Request(address, headers=headers), timeout=30) as response:
            return response.status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0
