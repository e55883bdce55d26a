"""The examples of README and docs/training run as written, and on the compiled engine too."""

import re
from pathlib import Path

import pytest
import torch
from PIL import Image

from maml_core import fine_tune, reference
from maml_core.engine import MetaTrainer
from maml_core.engine.compiling import has_compiler
from maml_core.results import load_benchmark
from maml_core.results.speed import speed_table
from tests.small import make_trainer, read_page

README = Path(__file__).parent.parent / "README.md"


ON_A_MODULE, OF_WEIGHTS = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
(OWN_TASKS,) = re.findall(r"```python\n(.*?)```", README.with_name("docs").joinpath("training.md").read_text(), re.DOTALL)


def run(code: str) -> dict:
    """The names that an example defines."""
    names: dict = {}
    exec(code, names)
    return names


@pytest.fixture(scope="module")
def example() -> dict:
    return run(OWN_TASKS)


@pytest.mark.parametrize("code", [ON_A_MODULE, OF_WEIGHTS])
def test_examples_are_short(code):
    assert len(code.splitlines()) <= 10


class FewCharacters:
    """Stands in for torchvision's Omniglot: twelve characters, four drawings each, of Omniglot's size and mode."""

    def __init__(self, root: str, transform=None, download: bool = False) -> None:
        generator = torch.Generator().manual_seed(0)
        self.targets = [character for character in range(12) for _ in range(4)]
        shapes = torch.rand((12, 105, 105), generator=generator) > 0.5
        self._images = [Image.fromarray(shapes[character].numpy()) for character in self.targets]
        self._transform = transform

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple:
        return self._transform(self._images[index]), self.targets[index]


def test_example_on_a_module_runs(monkeypatch):
    """One meta-iteration of it, on other pictures; the theta that it starts from is the module's."""
    torchvision = pytest.importorskip("torchvision")
    monkeypatch.setattr(torchvision.datasets, "Omniglot", FewCharacters)
    assert ON_A_MODULE.count("run(200)") == 1
    shorter = ON_A_MODULE.replace("run(200)", "run(1)").replace("manual_seed(0), 4,", "manual_seed(0), 2,")
    names = run(shorter.replace("train=0.8, test=0.2", "train=0.5, test=0.5"))
    trainer, start = names["trainer"], names["resnet"].state_dict()
    assert names["losses"].isfinite().all()
    moved = (trainer.theta["fc.weight"] - start["fc.weight"]).abs().max()
    assert 0 < moved < 1.01e-4  # one step of Adam
    task = names["test"].sample(1, torch.Generator().manual_seed(1))[0]
    mine = fine_tune(trainer.learner, trainer.theta, task.support_x, task.support_y)
    assert type(mine) is type(names["resnet"]) and mine.state_dict().keys() == start.keys()
    assert not torch.equal(mine.fc.weight, trainer.theta["fc.weight"])  # one inner step
    assert torch.equal(mine.conv1.weight, trainer.theta["conv1.weight"])  # of the head alone
    assert mine(task.query_x).shape == (5, 5)


def test_example_of_a_function_of_weights_learns():
    losses = run(OF_WEIGHTS)["losses"]
    assert losses.shape == (300,) and losses[-50:].mean() < 0.8 * losses[:20].mean()


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
