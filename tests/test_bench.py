"""The benchmark's own code; the other libraries need not be installed."""

import json
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from bench import __main__ as driver
from bench import environment, machine, report, sides, variants
from bench.check import GradientCheck, relative_error
from bench.machine import BackgroundLoad, count_flop, peak_memory, peaks, reset_peak_memory
from bench.sides import any_module
from bench.sides.any_module import AnyModule
from bench.sides.ours import Ours
from bench.sides.plain import PlainLoop
from bench.timing import Clock, run_rounds
from bench.workloads import RECIPE_NAMES, Workload, build_workload, reference_gradient
from maml_core.figures.reported import benchmark
from maml_core.recipes import RECIPES
from maml_core.results import load_benchmark
from maml_core.results.speed import speed_table


@pytest.fixture(scope="module")
def sinusoid() -> Workload:
    return build_workload("S")


class Skewed(PlainLoop):
    """A side whose gradient is 1% too large."""

    name = "skewed"

    def gradient(self, theta, episodes):
        return {name: 1.01 * g for name, g in super().gradient(theta, episodes).items()}


@pytest.mark.parametrize("name", RECIPE_NAMES)
def test_workloads_are_the_recipes(name: str, characters) -> None:
    recipe = RECIPES[RECIPE_NAMES[name]]
    workload = build_workload(name)
    assert workload.recipe == recipe
    assert len(workload.episodes) == recipe.meta_batch
    assert workload.episodes.support_y.shape[1] == recipe.ways * recipe.shots
    assert workload.learner.steps == recipe.inner_steps and not workload.learner.first_order
    assert workload.data == ("sinusoid" if name == "S" else characters.source)
    assert all(w.dtype == torch.float32 for w in workload.theta.values())


def test_all_sides_get_the_same_presampled_episodes() -> None:
    workload = build_workload("O", tasks=2, inner_steps=3)
    assert workload.recipe.meta_batch == 2 and workload.learner.steps == 3
    assert workload.tasks.sample(2, torch.Generator()) is workload.tasks.sample(2, torch.Generator())


def test_a_wrong_gradient_is_refused(sinusoid: Workload, capsys) -> None:
    check = GradientCheck(sinusoid)
    assert not check.errors(PlainLoop(sinusoid)).wrong
    errors = check.errors(Skewed(sinusoid))
    assert errors.wrong and errors.float64 == pytest.approx(0.01)
    with pytest.raises(SystemExit, match="gradient of skewed is wrong"):
        driver.check_sides(sinusoid, [Skewed(sinusoid)])


def test_a_missing_weight_or_nan_makes_a_gradient_wrong(sinusoid: Workload) -> None:
    check = GradientCheck(sinusoid)
    assert relative_error({name: g for name, g in check.truth.items() if name != "b1"}, check.truth) == float("inf")
    assert replace(check.errors(PlainLoop(sinusoid)), float32=float("nan")).wrong


def test_a_gradient_is_recovered_from_adams_first_moment(sinusoid: Workload) -> None:
    ours = Ours(sinusoid, "eager")
    ours.block = 3  # as where several meta-iterations are one compiled call
    truth = reference_gradient(sinusoid, sinusoid.theta, sinusoid.episodes)
    assert relative_error(ours._gradient_from_adam(sinusoid.theta, sinusoid.episodes), truth) < 1e-5


def test_missing_libraries_are_skipped_with_one_line_each(sinusoid: Workload, monkeypatch) -> None:
    peers = ["torchopt", "higher", "learn2learn", "jax"]
    for peer in peers:
        monkeypatch.setitem(sys.modules, peer, None)  # makes importing it fail, even if it is installed
        for name in [name for name in sys.modules if name == f"bench.sides.with_{peer}"]:
            monkeypatch.delitem(sys.modules, name)
    said: list[str] = []
    assert [side.name for side in sides.build_sides(["plain", *peers], sinusoid, said.append)] == ["plain loop"]
    assert [line.split()[0] for line in said] == peers
    assert all("\n" not in line for line in said)


def test_rounds_are_interleaved_and_divided_by_steps_per_call() -> None:
    order: list[str] = []
    clocks = [Clock(lambda name=name: order.append(name), steps_per_call=10) for name in "ab"]
    run_rounds(clocks, rounds=2)
    assert order == ["a", "b", "b", "a"]
    assert all(len(clock.milliseconds) == 2 and clock.quartiles[0] <= clock.median for clock in clocks)


def test_flop_of_the_sinusoid(sinusoid: Workload) -> None:
    # A support and a query pass over 25 tasks x 10 points x 1,680 weights, each with its backward passes.
    forward = 2 * 25 * 10 * (40 + 40 * 40 + 40)
    assert 8 < count_flop(sinusoid) / forward < 13


@pytest.mark.parametrize("precision", ["bf16", "float32"])
def test_the_peak_of_bf16_is_measured_only_where_the_processor_has_it(precision: str, monkeypatch) -> None:
    """Where it is emulated, `make bench` would say nothing for a quarter of an hour."""
    multiplied = []

    def peak(device: str, backend: str, size: int, repeats: int) -> float:
        multiplied.append(backend)
        return 100.0

    monkeypatch.setattr(machine, "_peak", peak)
    monkeypatch.setattr(machine, "supported_precision", lambda wanted, device: precision)
    assert peaks("cpu").keys() == {"float32", *multiplied}
    assert ("bf16" in multiplied) == (precision == "bf16") and {"mkl", "onednn"} <= {*multiplied}


def test_peak_memory_is_measured() -> None:
    before = reset_peak_memory("cpu")
    torch.ones(64 * 2**20).sum()
    assert 200e6 < peak_memory("cpu") - before < 400e6 or sys.platform != "linux"


def test_background_load_is_measured() -> None:
    with BackgroundLoad() as background:
        subprocess.run([sys.executable, "-S", "-c", "while sum(__import__('os').times()[:2]) < 0.4: pass"], check=True)
    assert background.cores is None or 0.3 < background.cores < 64


def test_a_quick_run(tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.setattr(driver, "peaks", lambda device: peaks(device, size=512, repeats=3))
    out = tmp_path / "benchmark.json"
    driver.main(
        shlex.split(f"--workloads S --sides eager plain --rounds 2 --seconds 0 --sweeps --out {shlex.quote(str(out))}")
    )
    written = json.loads(out.read_text())
    assert [row["implementation"] for row in written["rows"]] == ["maml_core eager", "plain loop"]
    for row in written["rows"]:
        assert (row["workload"], row["recipe"], row["device"]) == ("S", "sinusoid-10shot", "cpu")
        assert row["gradient_error"] < 1e-5 and row["gradient_error_float64"] < 1e-6
        assert 0 < row["floor_fraction"] < 1 and row["median_ms"] > 0
        assert row["quartiles_ms"][0] <= row["median_ms"] <= row["quartiles_ms"][1]
    ours, plain = written["rows"]
    assert ours["ratio_to_ours"] == 1 < plain["ratio_to_ours"]
    assert written["machine"]["torch"] == str(torch.__version__) and written["peak_gflops"]["float32"] > 1
    assert "maml_core eager" in capsys.readouterr().out
    assert benchmark(load_benchmark(out)).axes[0].get_xlabel() == "ms per meta-iteration"


def test_a_wrong_gradient_loses_nothing_that_was_measured_before(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(driver, "peaks", lambda device: {"float32": 1.0})
    monkeypatch.setattr(driver, "build_workload", lambda name, device: name)
    row = {"workload": "S", "device": "cpu", "implementation": "plain loop", "median_ms": 1.0}

    def measure(workload: str, options, peak) -> list[dict]:
        return [row] if workload == "S" else sys.exit("O: the gradient of skewed is wrong")

    monkeypatch.setattr(driver, "measure", measure)
    out = tmp_path / "benchmark.json"
    with pytest.raises(SystemExit, match="wrong"):
        driver.main(shlex.split(f"--workloads S O --out {shlex.quote(str(out))}"))
    assert [found["implementation"] for found in json.loads(out.read_text())["rows"]] == ["plain loop"]


def test_variants_are_timed_in_turn_and_their_memory_is_measured_separately(monkeypatch) -> None:
    measured = []
    monkeypatch.setattr(variants, "in_own_process", lambda *point: measured.append(point) or 1.0)
    result = variants.measure(["first order", "ANIL"], "cpu", all_steps=(1, 2), rounds=1)
    points = [(row["variant"], row["steps"]) for row in result.rows]
    assert points == [(label, steps) for steps in (1, 2) for label in ("first order", "ANIL")]
    assert measured == [(label, steps, "cpu") for label, steps in points]
    assert all(row["median_ms"] > 1 for row in result.rows) and result.settings["tasks"] == 8


def test_a_variants_peak_memory_is_plausible() -> None:
    assert 10 < variants.peak_megabytes("first order", 1, "cpu") < 1000


def row(workload: str, implementation: str, milliseconds: float) -> report.Row:
    common = {"workload": workload, "implementation": implementation, "device": "cpu", "floor_fraction": 0.4}
    common["precision"] = "bf16" if "bf16" in implementation else "float32"
    return common | {"median_ms": milliseconds, "best_ms": milliseconds}


def test_goals_compare_with_the_fastest_of_each_family() -> None:
    rows = [row("S", "maml_core eager", 3), row("S", "maml_core compiled", 0.3)]
    rows += [row("S", "jax jit", 0.9), row("S", "jax jit+scan", 0.5), row("S", "torchopt MetaSGD", 12)]
    judged = report.goals(rows, "cpu")
    assert [(goal["against"], goal["reached"]) for goal in judged] == [
        ("jax jit+scan", True),
        ("torchopt MetaSGD", False),
    ]
    assert judged[0]["ratio"] == pytest.approx(0.6)


def test_a_module_is_compared_engine_by_engine_with_the_fastest_pytorch_library() -> None:
    rows = [row("O", "maml_core compiled", 80), row("O", "maml_core module compiled", 170), row("O", "jax jit", 100)]
    rows += [row("O", "maml_core module eager", 290), row("O", "torchopt MetaSGD", 400), row("O", "higher", 340)]
    judged = {goal["implementation"]: goal for goal in report.goals(rows, "cpu") if goal["against"] == "higher"}
    assert {name: goal["ratio"] for name, goal in judged.items()} == {
        "maml_core module compiled": pytest.approx(0.5), "maml_core module eager": pytest.approx(290 / 340),
    }  # fmt: skip
    assert [goal["reached"] for goal in judged.values()] == [True, False]
    lines = speed_table(rows).splitlines()
    assert any(line.startswith("| maml_core, any `nn.Module`, compiled ") and " 170 " in line for line in lines)
    assert not any("learn2learn" in line for line in lines)  # it was not measured


def test_the_module_computes_the_papers_conv_net(characters) -> None:
    workload = build_workload("O", tasks=2)
    module = AnyModule(workload, "eager")
    theta, episodes = {name: w.double() for name, w in workload.theta.items()}, workload.episodes.to(dtype=torch.float64)
    truth = reference_gradient(workload, theta, episodes)
    assert truth.keys() > {"beta1", "beta4"} and relative_error(module.gradient(theta, episodes), truth) < 1e-10
    assert not any_module.variants(build_workload("S"))


def test_each_precision_is_compared_with_the_same_precision() -> None:
    rows = [row("O", "maml_core compiled", 40), row("O", "maml_core compiled bf16", 25)]
    rows += [row("O", "jax", 100), row("O", "jax bf16", 80), row("O", "torchopt MetaSGD", 400)]
    judged = {(goal["precision"], goal["against"]): goal for goal in report.goals(rows, "cpu")}
    assert judged["float32", "jax"]["ratio"] == pytest.approx(0.4) and judged["bf16", "jax bf16"]["ratio"] == pytest.approx(
        25 / 80
    )
    assert not judged["float32", "the measured peak"]["reached"] and judged["bf16", "the measured peak"]["reached"]
    table = [[cell.strip() for cell in line.split("|")[1:-1]] for line in speed_table(rows).splitlines()]
    assert ["**maml_core, compiled**", "", "40", "", ""] in table and ["JAX, bf16 factors", "", "80", "", ""] in table


def test_rounding_to_bfloat16_is_checked_in_float64(sinusoid: Workload) -> None:
    """bfloat16 can explain any error, so mistakes are detected in float64; the cosine shows the effect of rounding."""

    class Coarse(PlainLoop):
        precision = "bf16"

        def gradient(self, theta, episodes):
            exact = super().gradient(theta, episodes)
            return {name: g.bfloat16().to(g.dtype) if g.dtype == torch.float32 else g for name, g in exact.items()}

    class CoarseAndWrong(Coarse):
        def gradient(self, theta, episodes):
            return {name: 1.01 * g for name, g in super().gradient(theta, episodes).items()}

    check = GradientCheck(sinusoid)
    errors = check.errors(Coarse(sinusoid))
    assert not errors.wrong and 1e-4 < errors.float32 < 1e-2
    assert 0.999 < errors.cosine < 1 and errors.norm_ratio == pytest.approx(1, abs=1e-2)
    assert check.errors(CoarseAndWrong(sinusoid)).wrong


def test_jax_with_bf16_factors_is_exact_in_float64(characters) -> None:
    with_jax = pytest.importorskip("bench.sides.with_jax", reason="JAX is in .venv-bench", exc_type=ImportError)
    workload = build_workload("O", tasks=2, inner_steps=1)
    side = with_jax.Jax(workload, "jax bf16", chunk=1, precision="bf16")
    theta, episodes = {name: w.double() for name, w in workload.theta.items()}, workload.episodes.to(dtype=torch.float64)
    truth = reference_gradient(workload, theta, episodes)
    assert relative_error(side.gradient(theta, episodes), truth) < 1e-10
    assert relative_error(side.gradient(workload.theta, workload.episodes), truth) > 1e-3


def test_results_that_are_not_remeasured_are_kept() -> None:
    steps, tasks = ({"sweep": sweep, "device": "cpu"} for sweep in ("steps", "tasks"))
    old = {"rows": [row("S", "jax jit", 1), row("O", "jax", 2)], "sweeps": [steps, tasks], "goals": []}
    merged = report.merge(old, {"rows": [row("S", "higher", 3)], "sweeps": [tasks | {"tasks": 8}], "peak_gflops": {}})
    assert [(r["workload"], r["implementation"]) for r in merged["rows"]] == [("S", "higher"), ("O", "jax")]
    assert merged["sweeps"] == [steps, tasks | {"tasks": 8}]


def test_older_results_can_still_be_printed() -> None:
    old = load_benchmark()["rows"]
    for result in old:
        result.pop("gradient_cosine", None), result.pop("precision", None)
    report.add_ratios(old)
    assert "maml_core compiled" in report.table(old) and report.goals(old, "cpu")


def test_learn2learn_is_unpacked_without_its_parent_packages(tmp_path: Path) -> None:
    import tarfile

    source = tmp_path / "learn2learn-0.2.0"
    modules = ("__init__.py", "algorithms/maml.py", "gym/__init__.py")
    for name in ("PKG-INFO", *(f"learn2learn/{module}" for module in modules)):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text("raise ImportError" if name.endswith("__init__.py") else "")
    with tarfile.open(tmp_path / "sdist.tar.gz", "w:gz") as archive:
        archive.add(source, source.name)
    environment.unpack_learn2learn(tmp_path / "sdist.tar.gz", tmp_path / "packages")
    code = "import learn2learn.algorithms.maml"
    subprocess.run([sys.executable, "-S", "-c", code], cwd=tmp_path / "packages", check=True)
    assert not (tmp_path / "packages/learn2learn/gym").exists()
