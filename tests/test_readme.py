"""The README's example of a custom network and tasks: it runs as written, and on the compiled engine too."""

import re
from pathlib import Path

import pytest
import torch

from maml_core import reference
from maml_core.engine import MetaTrainer
from maml_core.engine.compiling import has_compiler
from maml_core.results import load_benchmark
from maml_core.results.comparisons import speed_table
from tests.small import make_trainer, read_page

README = Path(__file__).parent.parent / "README.md"


@pytest.fixture(scope="module")
def example() -> dict:
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    names: dict = {}
    exec(code, names)
    return names


def test_example_is_short():
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert len(code.splitlines()) < 25


def test_gallery_pictures_link_to_their_chapters():
    """As in [![...](figures/...)](notebooks/...)."""
    linked = set(re.findall(r"\]\(figures/[^)]+\)\]\((notebooks/[^)]+)\)", README.read_text()))
    assert {"notebooks/01_sinusoid.ipynb", "notebooks/03_omniglot.ipynb"} <= linked


def test_example_learns(example):
    losses = example["losses"]
    assert losses.shape == (300,) and losses[-20:].mean() < 0.5 * losses[:20].mean()


@pytest.mark.skipif(not has_compiler(), reason="no C++ compiler on this machine")
def test_example_runs_on_the_compiled_engine(example):
    settings = dict(tasks=example["Parabolas"](), meta_batch=4)
    eager, compiled = (
        make_trainer(example["learner"], generator=torch.Generator().manual_seed(0), engine=engine, **settings)
        for engine in ("eager", "compiled")
    )
    torch.testing.assert_close(compiled.run(2), eager.run(2), rtol=1e-4, atol=1e-5)


def test_example_gradient_matches_a_loop_over_tasks(example):
    """The same forward function on one task at a time, by autograd: the task axis needs no code in the example."""
    trainer = MetaTrainer(example["learner"], example["Parabolas"](), torch.Generator().manual_seed(0), 3)
    theta = {name: w.double() for name, w in trainer.theta.items()}
    episodes = trainer.tasks.sample(3, trainer.generator).to(dtype=torch.float64)
    ours, _ = trainer.gradient(theta, episodes)
    loss = reference.mean_squared_error(example["forward"])
    theirs = reference.meta_gradient(loss, loss, theta, episodes, 0.05, 3)
    for name, g in theirs.items():
        torch.testing.assert_close(ours[name], g, rtol=1e-10, atol=1e-12)


def test_speed_table_matches_the_benchmark():
    measured = load_benchmark()
    assert speed_table(measured["rows"]) in read_page("docs/speed.md")
    assert all(row["gradient_error"] < 0.1 for row in measured["rows"])
