"""The way of a matrix product is chosen by measurement, is kept to, and changes nothing but rounding."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from bench.check import GradientCheck, relative_error
from bench.workloads import build_workload
from maml_core import __main__ as cli
from maml_core import maml
from maml_core.engine import MetaTrainer, products
from maml_core.engine.compiling import has_compiler
from maml_core.engine.products import FLOAT32_ERROR, MARGIN, WAYS, Speed, choose_way, fastest_way
from maml_core.evaluation import evaluate
from maml_core.recipes import find_recipe
from maml_core.results import load_shipped
from maml_core.tasks import CharacterTasks
from maml_core.tasks.glyphs import draw_glyphs
from maml_core.training import checkpoints
from tests.small import make_trainer, small_train

CONV = find_recipe("omniglot-5way-1shot")
SINUSOID = find_recipe("sinusoid-5shot")
EXACT, ROUNDED = 4e-7, 3e-3


@pytest.fixture
def machine(monkeypatch):
    """A function that makes this machine one with the given speeds and errors."""

    def become(mkl: float, onednn: float, error: float = EXACT, bf16: float = 1.0) -> None:
        found = {"mkl": Speed(mkl, EXACT), "onednn": Speed(onednn, error), "bf16": Speed(bf16, ROUNDED)}
        monkeypatch.setattr(products, "measure", lambda *ways: {way: found[way] for way in ways})

    return become


@pytest.mark.parametrize(
    "mkl, onednn, error, way",
    [
        (105, 247, EXACT, "onednn"),  # AMD EPYC, Zen 5
        (156, 152, EXACT, "mkl"),  # Intel Xeon without AMX
        (150, 900, ROUNDED, "mkl"),  # with AMX: fast, since rounded to bfloat16
        (100, 100 * MARGIN - 1, EXACT, "mkl"),  # no clear margin
        (100, 247, 1.1 * FLOAT32_ERROR, "mkl"),
    ],
)
def test_the_faster_way_is_taken_if_it_is_as_exact(machine, mkl, onednn, error, way):
    machine(mkl, onednn, error)
    assert choose_way() == way
    assert f"{mkl:.0f}" in products.describe(way) and f"{onednn:.0f}" in products.describe(way)
    assert choose_way("cuda") == "mkl"


def test_a_wish_is_kept_to_unless_it_would_round(machine):
    machine(105, 247)
    assert [choose_way(wish=wish) for wish in ("mkl", "onednn")] == ["mkl", "onednn"]
    machine(150, 900, ROUNDED)  # a checkpoint of a machine without AMX goes on where there is one
    assert choose_way(wish="onednn") == "mkl"
    with pytest.raises(ValueError, match="products must be auto or one of mkl, onednn, not 'blis'"):
        choose_way(wish="blis")


def test_what_is_measured_here_is_plausible():
    found = products.measure("mkl", "onednn", "bf16")
    assert all(speed.gflops > 1 for speed in found.values())
    assert found["mkl"].error <= FLOAT32_ERROR < 1e-3 < found["bf16"].error < 1e-2
    assert fastest_way(found) in WAYS


def test_measuring_leaves_threads_and_setting_as_they_were():
    threads, setting = torch.get_num_threads(), torch.get_float32_matmul_precision()
    products.measure.__wrapped__("mkl", "onednn")
    assert (torch.get_num_threads(), torch.get_float32_matmul_precision()) == (threads, setting)
    with pytest.raises(KeyError), products.going("onednn"):
        assert torch.get_float32_matmul_precision() == "medium"
        raise KeyError
    assert torch.get_float32_matmul_precision() == setting


# Each way, forced.


@pytest.fixture(scope="module")
def tasks() -> CharacterTasks:
    return CharacterTasks(draw_glyphs(10), ways=5, shots=1)


def conv_trainer(tasks, seed: int = 0, **settings) -> MetaTrainer:
    return make_trainer(CONV.build_learner(), tasks, torch.Generator().manual_seed(seed), 4, **settings)


def is_exact() -> bool:
    return products.measure("mkl", "onednn")["onednn"].error <= FLOAT32_ERROR


def skip_where_it_rounds(way: str) -> None:
    if way == "onednn" and not is_exact():
        pytest.skip("on this machine oneDNN rounds to bfloat16")


@pytest.mark.parametrize("way", WAYS)
def test_training_and_evaluation_go_the_way_they_are_told(tasks, way):
    skip_where_it_rounds(way)
    recipe_network, seen = CONV.build_network(), []

    def watched(weights, x):
        seen.append(torch.get_float32_matmul_precision())
        return recipe_network.forward(weights, x)

    learner = replace(CONV.build_learner(), network=replace(recipe_network, forward=watched))
    trainer = make_trainer(learner, tasks, torch.Generator().manual_seed(0), 2, products=way)
    trainer.run(2)
    assert seen[-1] == WAYS[way]
    evaluate(learner, trainer.theta, tasks, [1], torch.Generator().manual_seed(0), 2, products=way)
    assert seen[-1] == WAYS[way]
    assert torch.get_float32_matmul_precision() == "highest"


@pytest.mark.parametrize("engine", ["eager", "compiled"])
@pytest.mark.parametrize("way", WAYS)
def test_the_meta_gradient_is_the_float64_loops(way, engine):
    """On tasks whose gradient hangs on no ReLU at its corner: as close as float32 comes."""
    skip_where_it_rounds(way)
    if engine == "compiled" and not has_compiler():
        pytest.skip("no C++ compiler on this machine")
    workload = build_workload("O", tasks=8)
    check = GradientCheck(workload)
    learner, generator = workload.learner, torch.Generator().manual_seed(0)
    trainer = make_trainer(learner, workload.tasks, generator, 8, chunk=4, engine=engine, products=way)
    assert relative_error(trainer.gradient(workload.theta, check.episodes)[0], check.truth) < 1e-5


def test_a_resumed_training_goes_on_the_way_it_began(tmp_path, machine):
    machine(105, 247)
    straight = small_train(tmp_path / "straight", 20)
    small_train(tmp_path / "stopped", 10)
    machine(247, 105)  # another measurement, or another machine
    resumed = small_train(tmp_path / "stopped", 20, resume=True)
    assert resumed["products"] == straight["products"] == "onednn"
    assert all(torch.equal(resumed["theta"][name], w) for name, w in straight["theta"].items())
    assert resumed["history"] == straight["history"]


def test_a_checkpoint_from_before_the_choice_goes_on_as_it_began(machine):
    machine(105, 247)
    trainer = MetaTrainer(SINUSOID.build_learner(), SINUSOID.build_tasks(), torch.Generator().manual_seed(0), 4)
    state = trainer.state()
    del state["products"]
    trainer.load_state(state)
    assert trainer.products == "mkl"


def test_the_engines_sentence_tells_what_was_chosen(tmp_path, machine):
    machine(105, 247)
    said = []
    small_train(tmp_path, 2, say=said.append)
    assert any("Float32 products go through oneDNN (247 GFLOP/s a thread; MKL 105)." in line for line in said)


# bfloat16.


def test_bf16_is_refused_where_it_is_made_up(machine, tasks):
    machine(156, 152, bf16=30)
    with pytest.raises(
        ValueError, match="no fast bfloat16 products .30 GFLOP/s, float32 has 156.: leave --precision bf16 out"
    ):
        conv_trainer(tasks, precision="bf16")
    with pytest.raises(ValueError, match="tf32 is for GPUs"):
        conv_trainer(tasks, precision="tf32")


@pytest.mark.parametrize("recipe", ["omniglot-5way-1shot", "omniglot-5way-1shot-matching", "omniglot-5way-1shot-memory"])
def test_bf16_rounds_the_factors_of_products_and_nothing_else(machine, tasks, recipe):
    machine(105, 247, bf16=457)
    seen = set()

    class Watch(TorchDispatchMode):
        """Notes which operators give bfloat16."""

        def __torch_dispatch__(self, function, types, arguments=(), options=None):
            result = function(*arguments, **(options or {}))
            if isinstance(result, torch.Tensor) and result.dtype == torch.bfloat16:
                seen.add(function.overloadpacket.__name__)
            return result

    learner = find_recipe(recipe).build_learner()
    trainer = make_trainer(learner, tasks, torch.Generator().manual_seed(0), 2, precision="bf16")
    with Watch():
        trainer.step()
    assert "bmm" in seen and seen <= {
        "_to_copy",
        "bmm",
        "mm",
        "add",
        *VIEWS,
    }  # add: a factor's gradients, where it is used twice
    assert all(w.dtype == torch.float32 for w in trainer.theta.values())


VIEWS = {
    "view",
    "_unsafe_view",
    "reshape",
    "expand",
    "transpose",
    "t",
    "permute",
    "detach",
    "select",
    "unsqueeze",
    "clone",
    "alias",
}


def test_bf16s_meta_gradient_points_the_same_way(machine, tasks):
    """At a trained theta. (At a random one 8 bits are far off: the benchmark prints by how much.)"""
    machine(105, 247, bf16=457)
    theta, episodes = load_shipped(CONV.name)[0], tasks.sample(4, torch.Generator().manual_seed(3))
    exact = {name: w.double() for name, w in theta.items()}
    exact = maml.meta_gradient(CONV.build_learner(), exact, episodes.to(dtype=torch.float64))[0]
    coarse = conv_trainer(tasks, precision="bf16").gradient(theta, episodes)[0]
    ours, theirs = (torch.cat([g.flatten().double() for g in gradient.values()]) for gradient in (coarse, exact))
    assert 0.9 < torch.cosine_similarity(ours, theirs, dim=0) < 0.999999
    assert 0.9 < ours.norm() / theirs.norm() < 1.1


def test_a_training_states_its_precision_and_is_resumed_with_it(tmp_path, machine):
    machine(105, 247, bf16=457)
    metadata = {"data": "sinusoid"}
    small_train(tmp_path, 10, precision="bf16", metadata=metadata)
    assert json.loads((tmp_path / "history.json").read_text())["precision"] == "bf16"
    with pytest.raises(ValueError, match="precision is bf16 in the checkpoint and float32 here"):
        small_train(tmp_path, 20, resume=True, metadata=metadata)
    assert small_train(tmp_path, 20, resume=True, precision="bf16", metadata=metadata)["iteration"] == 20
    command = ["train", "sinusoid-5shot", "--resume", "--out", str(tmp_path), "--iterations", "21"]
    assert cli.main(command) == 0 and cli.main([*command, "--precision", "float32"]) == 2
    assert checkpoints.load(tmp_path / "checkpoint.pt")["precision"] == "bf16"


@pytest.mark.parametrize(
    "set_before, found",
    [({}, "1000 None"), ({"GOMP_SPINCOUNT": "7"}, "7 None"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "None ACTIVE")],
)
def test_threads_soon_sleep_while_they_wait(set_before, found):
    """Set before torch is loaded, since OpenMP reads it only then; the user's own settings come first."""
    program = """
import sys, os
class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            print(os.environ.get("GOMP_SPINCOUNT"), os.environ.get("OMP_WAIT_POLICY"))
            sys.exit()
sys.meta_path.insert(0, Watch())
import maml_core
"""
    environment = {name: value for name, value in os.environ.items() if name not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    environment |= set_before
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment)
    assert done.stdout.strip() == found
