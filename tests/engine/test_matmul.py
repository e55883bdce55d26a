"""The backend of matrix products: chosen by a benchmark, kept throughout a training run, and affecting rounding only."""

import json
import os
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from bench.check import GradientCheck, relative_error
from bench.workloads import build_workload
from maml_core import __main__ as cli
from maml_core import maml
from maml_core.engine import MetaTrainer, matmul
from maml_core.engine.compiling import has_compiler
from maml_core.engine.matmul import BACKENDS, FLOAT32_ERROR, MARGIN, Speed, choose_backend, fastest_backend
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
    """A function that simulates a machine with the given speeds and errors."""

    def simulate(mkl: float, onednn: float, error: float = EXACT, bf16: float = 1.0) -> None:
        speeds = {"mkl": Speed(mkl, EXACT), "onednn": Speed(onednn, error), "bf16": Speed(bf16, ROUNDED)}
        monkeypatch.setattr(matmul, "measure", lambda *backends, **_: {backend: speeds[backend] for backend in backends})

    return simulate


@pytest.mark.parametrize(
    "mkl, onednn, error, backend",
    [
        (105, 247, EXACT, "onednn"),  # AMD EPYC, Zen 5
        (156, 152, EXACT, "mkl"),  # Intel Xeon without AMX
        (150, 900, ROUNDED, "mkl"),  # with AMX: fast because it rounds to bfloat16
        (100, 100 * MARGIN - 1, EXACT, "mkl"),  # no clear margin
        (100, 247, 1.1 * FLOAT32_ERROR, "mkl"),
    ],
)
def test_auto_takes_the_faster_backend_if_it_is_as_accurate(machine, mkl, onednn, error, backend):
    machine(mkl, onednn, error)
    assert choose_backend() == backend
    said = matmul.describe(backend, SINUSOID.build_network().init(torch.Generator().manual_seed(0)))
    assert f"{mkl:.0f}" in said and f"{onednn:.0f}" in said
    assert choose_backend("cuda") == "mkl"


def test_a_requested_backend_is_used_unless_it_would_round(machine):
    machine(105, 247)
    assert [choose_backend(requested=backend) for backend in ("mkl", "onednn")] == ["mkl", "onednn"]
    machine(150, 900, ROUNDED)  # a checkpoint from a machine without AMX, resumed on one with it
    assert choose_backend(requested="onednn") == "mkl"
    with pytest.raises(ValueError, match="matmul_backend must be auto or one of mkl, onednn, not 'blis'"):
        choose_backend(requested="blis")


def test_each_network_is_benchmarked_on_products_like_its_own(monkeypatch, tasks):
    """An AMD EPYC (Zen 4): oneDNN is the faster one on large products, but takes longer to begin one."""

    def measure(*backends: str, shapes: matmul.Shapes = matmul.SHAPES) -> dict[str, Speed]:
        microseconds = sum(2 * tasks * rows * inner * columns for tasks, rows, inner, columns in shapes) / 1e3
        speeds = {"mkl": microseconds / (microseconds / 95 + 5), "onednn": microseconds / (microseconds / 120 + 15)}
        return {backend: Speed(speeds[backend], EXACT) for backend in backends}

    monkeypatch.setattr(matmul, "measure", measure)
    small, large = make_trainer(SINUSOID.build_learner(), SINUSOID.build_tasks(), torch.Generator(), 4), conv_trainer(tasks)
    assert (small.matmul_backend, large.matmul_backend) == ("mkl", "onednn")
    large.load_state(large.state() | {"products": "auto"})
    assert large.matmul_backend == choose_backend() == "onednn"
    used = []
    monkeypatch.setattr("maml_core.evaluation.in_precision", lambda *how: used.append(how[-1]) or nullcontext())
    for trainer in (small, large):
        evaluate(trainer.learner, trainer.theta, trainer.tasks, [1], torch.Generator(), test_tasks=4)
    assert used == ["mkl", "onednn"]


@pytest.mark.parametrize(
    ("theta", "shapes"),
    [
        ({"b": torch.zeros(50), "w": torch.zeros(40, 40)}, ((4, 10, 40, 40), (4, 40, 10, 40))),
        ({"w": torch.zeros(784, 256), "conv": torch.zeros(3, 3, 4, 8)}, ((4, 10, 784, 256), (4, 784, 10, 256))),
        ({"conv": torch.zeros(3, 3, 64, 64)}, ((4, 245, 576, 64), (4, 576, 245, 64))),
        ({"conv": torch.zeros(512, 512, 3, 3)}, ((4, 245, 1024, 3), (4, 1024, 245, 3))),  # a module's, and too large
        ({"b": torch.zeros(50), "scale": torch.zeros(())}, matmul.SHAPES),
    ],
)
def test_products_are_like_those_by_the_largest_matrix(theta, shapes):
    assert matmul.shapes_like(theta) == shapes


def test_the_benchmark_of_this_machine_is_plausible():
    speeds = matmul.measure("mkl", "onednn", "bf16")
    assert min(speeds["mkl"].gflops, speeds["onednn"].gflops) > 1 and speeds["bf16"].gflops > 0
    assert speeds["mkl"].error <= FLOAT32_ERROR < 1e-3 < speeds["bf16"].error < 1e-2
    assert fastest_backend(speeds) in BACKENDS


def test_the_benchmark_restores_threads_and_precision():
    threads, setting = torch.get_num_threads(), torch.get_float32_matmul_precision()
    matmul.measure.__wrapped__("mkl", "onednn")
    assert (torch.get_num_threads(), torch.get_float32_matmul_precision()) == (threads, setting)
    with pytest.raises(KeyError), matmul.use_backend("onednn"):
        assert torch.get_float32_matmul_precision() == "medium"
        raise KeyError
    assert torch.get_float32_matmul_precision() == setting


# Each backend in turn.


@pytest.fixture(scope="module")
def tasks() -> CharacterTasks:
    return CharacterTasks(draw_glyphs(10), ways=5, shots=1)


def conv_trainer(tasks, seed: int = 0, **settings) -> MetaTrainer:
    return make_trainer(CONV.build_learner(), tasks, torch.Generator().manual_seed(seed), 4, **settings)


def skip_if_it_rounds(backend: str) -> None:
    if backend == "onednn" and not matmul.measure("mkl", "onednn")["onednn"].is_exact:
        pytest.skip("on this machine oneDNN rounds to bfloat16")


@pytest.mark.parametrize("backend", BACKENDS)
def test_training_and_evaluation_use_the_given_backend(tasks, backend):
    skip_if_it_rounds(backend)
    recipe_network, seen = CONV.build_network(), []

    def recording_forward(weights, x):
        seen.append(torch.get_float32_matmul_precision())
        return recipe_network.forward(weights, x)

    learner = replace(CONV.build_learner(), network=replace(recipe_network, forward=recording_forward))
    trainer = make_trainer(learner, tasks, torch.Generator().manual_seed(0), 2, matmul_backend=backend)
    trainer.run(2)
    assert seen[-1] == BACKENDS[backend]
    evaluate(learner, trainer.theta, tasks, [1], torch.Generator().manual_seed(0), 2, matmul_backend=backend)
    assert seen[-1] == BACKENDS[backend]
    assert torch.get_float32_matmul_precision() == "highest"


@pytest.mark.parametrize("engine", ["eager", "compiled"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_the_meta_gradient_matches_the_float64_loop(backend, engine):
    """To float32 accuracy, on tasks where rounding flips the sign of no ReLU input."""
    skip_if_it_rounds(backend)
    if engine == "compiled" and not has_compiler():
        pytest.skip("no C++ compiler on this machine")
    workload = build_workload("O", tasks=8)
    check = GradientCheck(workload)
    learner, generator = workload.learner, torch.Generator().manual_seed(0)
    trainer = make_trainer(learner, workload.tasks, generator, 8, chunk=4, engine=engine, matmul_backend=backend)
    assert relative_error(trainer.gradient(workload.theta, check.episodes)[0], check.truth) < 1e-5


def test_a_resumed_run_keeps_its_backend(tmp_path, machine):
    machine(105, 247)
    straight = small_train(tmp_path / "straight", 20)
    small_train(tmp_path / "stopped", 10)
    machine(247, 105)  # another benchmark, or another machine
    said = []
    resumed = small_train(tmp_path / "stopped", 20, resume=True, log=said.append)
    assert resumed["products"] == straight["products"] == "onednn"
    assert any("use oneDNN, as when this run began (105 GFLOP/s per thread; MKL 247)." in line for line in said)
    assert all(torch.equal(resumed["theta"][name], w) for name, w in straight["theta"].items())
    assert resumed["history"] == straight["history"]


def test_a_checkpoint_without_a_backend_continues_with_mkl(machine):
    machine(105, 247)
    trainer = MetaTrainer(SINUSOID.build_learner(), SINUSOID.build_tasks(), torch.Generator().manual_seed(0), 4)
    state = trainer.state()
    del state["products"]
    trainer.load_state(state)
    assert trainer.matmul_backend == "mkl"


def test_the_log_names_the_backend_and_both_speeds(tmp_path, machine):
    machine(105, 247)
    said = []
    small_train(tmp_path, 2, log=said.append)
    assert any("Float32 matrix products use oneDNN (247 GFLOP/s per thread; MKL 105)." in line for line in said)


# bfloat16.


def test_bf16_is_refused_where_it_is_emulated(machine, tasks):
    machine(156, 152, bf16=30)
    with pytest.raises(
        ValueError, match="no fast bfloat16 products .30 GFLOP/s; float32 reaches 156.: omit --precision bf16"
    ):
        conv_trainer(tasks, precision="bf16")
    with pytest.raises(ValueError, match="tf32 is for GPUs"):
        conv_trainer(tasks, precision="tf32")


@pytest.mark.parametrize("recipe", ["omniglot-5way-1shot", "omniglot-5way-1shot-matching", "omniglot-5way-1shot-memory"])
def test_bf16_rounds_the_factors_of_products_and_nothing_else(machine, tasks, recipe):
    machine(105, 247, bf16=457)
    seen = set()

    class Watch(TorchDispatchMode):
        """Records which operators return bfloat16."""

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
    }  # add: of the gradients of a factor that is used twice
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


def test_bf16_meta_gradient_points_in_the_same_direction(machine, tasks):
    """At a trained theta. (At a random one the error of 8 bits is large; the benchmark prints it.)"""
    machine(105, 247, bf16=457)
    theta, episodes = load_shipped(CONV.name)[0], tasks.sample(4, torch.Generator().manual_seed(3))
    exact = {name: w.double() for name, w in theta.items()}
    exact = maml.meta_gradient(CONV.build_learner(), exact, episodes.to(dtype=torch.float64))[0]
    coarse = conv_trainer(tasks, precision="bf16").gradient(theta, episodes)[0]
    ours, theirs = (torch.cat([g.flatten().double() for g in gradient.values()]) for gradient in (coarse, exact))
    assert 0.9 < torch.cosine_similarity(ours, theirs, dim=0) < 0.999999
    assert 0.9 < ours.norm() / theirs.norm() < 1.1


def test_precision_is_recorded_and_kept_on_resuming(tmp_path, machine):
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
def test_waiting_threads_sleep_early(set_before, found):
    """Set before torch is loaded, since OpenMP reads it only then; the user's own settings take precedence."""
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
