"""All checks that need a GPU, in one command: python tests/gpu_check.py [--minutes 20] [--out FOLDER]

First correctness, then timings, then training runs; results go to gpu_check.json as it goes. A check that fails does not
stop the other ones, so that one visit to a GPU shows every failure; but after a failure nothing is timed or trained. It is
not a unit test: without a GPU it exits with a message, unless `--device cpu` asks for a rehearsal of what a CPU can run.
"""

import argparse
import faulthandler
import json
import sys
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # runs from a checkout that is not installed

from maml_core import reference
from maml_core.engine import Execution, MetaTrainer
from maml_core.maml import Learner, meta_gradient
from maml_core.networks import Network
from maml_core.recipes import Recipe, find_recipe
from maml_core.results import measure
from maml_core.tasks import load_characters
from maml_core.training import Settings, train
from maml_core.training.autotune import choose_chunk
from maml_core.util import seeded_generator

FORWARDS = {"sinusoid": reference.sinusoid_forward, "conv": reference.conv_forward}
CHECKS = ("gradients", "engines", "resume", "module", "timings", "training")
ENGINES = {"cuda": ("eager", "compiled", "graph"), "cpu": ("eager", "compiled")}
PRECISIONS = ("float32", "tf32", "bf16")
RECIPES = ("sinusoid-10shot", "omniglot-5way-1shot", "omniglot-20way-1shot")
GOAL_MINUTES = {"sinusoid-10shot": 1 / 3, "omniglot-5way-1shot": 2, "omniglot-20way-1shot": 12}


def relative_error(ours: dict, theirs: dict) -> float:
    """||ours - theirs|| / ||theirs||, over all weights together."""
    pairs = [(ours[name].double().cpu(), w.double().cpu()) for name, w in theirs.items()]
    difference = sum((mine - w).square().sum() for mine, w in pairs)
    return (difference / sum(w.square().sum() for _, w in pairs)).sqrt().item()


def make_trainer(recipe: Recipe, tasks, engine: str, device: str, precision: str = "float32") -> MetaTrainer:
    """A trainer on the device with seed 0 and the chunk size that the command line would choose."""
    chunk = choose_chunk(recipe, device)
    generator = seeded_generator(0, device)
    execution = Execution(chunk=chunk, engine=engine, precision=precision)
    return MetaTrainer(recipe.build_learner(), tasks, generator, recipe.meta_batch, execution=execution)


def check_gradients(recipe: Recipe, tasks, device: str) -> dict:
    """Compare float64 on the device with the loop over tasks on the CPU, then each precision with float64."""
    learner = recipe.build_learner()
    theta = learner.network.init(seeded_generator(0, device))
    episodes = tasks.sample(4, seeded_generator(1, device))
    theta64 = {name: w.double() for name, w in theta.items()}
    episodes64 = episodes.to(dtype=torch.float64)
    forward = FORWARDS[recipe.network]
    if recipe.is_regression:
        inner = outer = reference.mean_squared_error(forward)
    else:
        mean = reference.mean_cross_entropy(forward)
        inner, outer = (mean if recipe.inner_loss == "mean" else reference.sum_over_shots(forward, recipe.ways)), mean
    on_cpu = {name: w.cpu() for name, w in theta64.items()}
    truth = reference.meta_gradient(
        inner, outer, on_cpu, episodes64.to("cpu"), recipe.alpha, recipe.inner_steps, learner.network.frozen
    )
    errors = {"float64": relative_error(meta_gradient(learner, theta64, episodes64)[0], truth)}
    assert errors["float64"] < 1e-9, errors
    for precision in PRECISIONS if device == "cuda" else ("float32",):
        trainer = make_trainer(recipe, tasks, "eager", device, precision)
        errors[precision] = relative_error(trainer.gradient(theta, episodes)[0], truth)
    return errors


def build_module(name: str) -> nn.Module:
    """A small network of our check's own, by the layer that it is there for."""
    torch.manual_seed(0)
    convolution = (nn.Conv2d(1, 16, 3, stride=2, padding=1), nn.GroupNorm(4, 16), nn.ReLU(), nn.Flatten())
    layers = {
        "dropout": (nn.Flatten(), nn.Linear(784, 16), nn.Dropout(0.1), nn.ReLU(), nn.Linear(16, 5)),
        "group norm": (*convolution, nn.Linear(16 * 14 * 14, 5)),
        "both": (*convolution, nn.Dropout(0.1), nn.Linear(16 * 14 * 14, 5)),
    }
    return nn.Sequential(*layers[name])


MODULES = ("dropout", "group norm", "both")


def module_learner(name: str) -> Learner:
    return Learner(Network.from_module(build_module(name), nn.CrossEntropyLoss(), ways=5), alpha=0.1)


def train_module(name: str, engine: str, device: str) -> dict:
    """Ten meta-iterations, twice from the same seed."""
    faulthandler.enable()
    tasks = find_recipe("omniglot-5way-1shot").build_tasks(load_characters("auto").split("train").to(device))
    trainers = (
        MetaTrainer(module_learner(name), tasks, seeded_generator(0, device), 4, execution=Execution(engine=engine))
        for _ in range(2)
    )
    first, again = (trainer.run(10).cpu() for trainer in trainers)
    assert first.isfinite().all() and len(first.unique()) == 10
    return {"losses": first[:3].tolist(), "equal seeds, equal losses": torch.equal(first, again)}


def in_own_process(function: Callable[..., dict], *arguments: str) -> dict:
    """The function's result; if its process crashes or raises, what happened, so that the other checks go on."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        try:
            return pool.submit(function, *arguments).result()
        except Exception as error:
            return {"failed": f"{type(error).__name__}: {error}"[:500]}


def check_module(tasks, device: str) -> dict:
    """Modules as networks: the float64 meta-gradient there and on the CPU, and a training on each engine."""
    learner = module_learner("both")
    at_test = replace(learner, network=learner.network.at_test())  # without dropout
    theta = {name: w.double() for name, w in learner.network.init(seeded_generator(0)).items()}
    episodes = tasks.sample(4, seeded_generator(1, device)).to(dtype=torch.float64)
    on_cpu = meta_gradient(at_test, theta, episodes.to("cpu"))[0]
    there = meta_gradient(at_test, {name: w.to(device) for name, w in theta.items()}, episodes)[0]
    error = relative_error(there, on_cpu)
    assert error < 1e-9, error
    runs = {
        name: {engine: in_own_process(train_module, name, engine, device) for engine in ENGINES[device]} for name in MODULES
    }
    failed = [f"{name}, {engine}" for name, ran in runs.items() for engine, run in ran.items() if "failed" in run]
    assert not failed, f"{'; '.join(failed)}: {runs}"
    return {"float64": error, **runs}


def check_engines(recipe: Recipe, tasks, device: str) -> dict:
    """Run twenty meta-iterations on each engine with the same seed, and compare the losses with the eager engine's.

    The first is the same up to rounding. Adam's first steps are as long for a tiny gradient as for a large one, so rounding
    soon moves theta, and later losses are alike only on average.
    """
    losses = {}
    for engine in ENGINES[device]:
        losses[engine] = make_trainer(recipe, tasks, engine, device).run(20).cpu()
    for engine in ENGINES[device][1:]:
        torch.testing.assert_close(losses[engine][0], losses["eager"][0], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(losses[engine].mean(), losses["eager"].mean(), rtol=0.1, atol=0)
        assert len(losses[engine].unique()) > 10, f"the {engine} engine repeats its episodes"
    trainer = make_trainer(recipe, tasks, ENGINES[device][-1], device)
    trainer.run(5)
    state = trainer.state()
    rest = trainer.run(5)
    trainer.load_state(state)
    torch.testing.assert_close(trainer.run(5), rest)  # a captured graph draws the same tasks on resuming
    return {engine: [round(x, 4) for x in values[:5].tolist()] for engine, values in losses.items()}


def check_resume(recipe: Recipe, tasks, device: str, out: Path) -> dict:
    """Whether a run stopped between validations and resumed is bitwise identical to an uninterrupted one.

    On a CPU it is. On a GPU it depends on the kernels, so the result is recorded but not required.
    """

    def go(name: str, iterations: int, resume: bool = False) -> dict:
        settings = Settings(iterations=iterations, device=device, resume=resume, validate_every=25, log=lambda text: None)
        return train(recipe, tasks, tasks, out / f"{recipe.name}-{name}", settings)

    straight = go("straight", 40)
    go("parts", 30)
    parts = go("parts", 40, resume=True)
    return {"identical": all(torch.equal(w, parts["theta"][name]) for name, w in straight["theta"].items()),
            "relative error": relative_error(parts["theta"], straight["theta"])}  # fmt: skip


def time_engines(recipe: Recipe, tasks, device: str) -> dict:
    """Milliseconds per meta-iteration: medians of seven rounds, with the engines in turn."""
    pairs = [(engine, "float32") for engine in ENGINES[device]]
    if device == "cuda":
        pairs += [("graph", "tf32"), ("graph", "bf16")]
    trainers = {pair: make_trainer(recipe, tasks, pair[0], device, pair[1]) for pair in pairs}
    times: dict = {key: [] for key in trainers}
    synchronize = torch.cuda.synchronize if device == "cuda" else torch.cpu.synchronize
    for trainer in trainers.values():
        trainer.run(10)
    for _ in range(7):
        for key, trainer in trainers.items():
            synchronize()
            started = time.perf_counter()
            trainer.run(20)
            synchronize()
            times[key].append((time.perf_counter() - started) / 20 * 1000)
    rows = {f"{engine}, {precision}": sorted(t)[3] for (engine, precision), t in times.items()}
    minutes = {name: ms * recipe.meta_iterations / 60_000 for name, ms in rows.items()}
    return {"ms": rows, "minutes of a full training": minutes, "goal, minutes": GOAL_MINUTES[recipe.name]}


def short_training(recipe: Recipe, characters, device: str, out: Path, iterations: int) -> dict:
    """Train as a user would, with `train`, and evaluate on test tasks."""
    parts = (characters and characters.split(part).to(device) for part in ("train", "validation"))
    tasks, validation = (recipe.build_tasks(part) for part in parts)
    result = train(recipe, tasks, validation, out / recipe.name, Settings(iterations=iterations, device=device))
    theta = {name: w.to(device) for name, w in result["theta"].items()}
    return {"wall_seconds": result["wall_seconds"], "test": measure(recipe, theta, characters, 0, 600, "test")}


def main() -> None:
    faulthandler.enable()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=20, help="start no further check after this long")
    parser.add_argument("--iterations", type=int, default=5000, help="of each training run")
    parser.add_argument("--recipes", nargs="+", choices=RECIPES, default=RECIPES, help="default: all of them")
    parser.add_argument("--only", nargs="+", choices=CHECKS, default=CHECKS, help="default: everything, in this order")
    parser.add_argument("--device", choices=ENGINES, default="cuda", help="cpu: a rehearsal on a machine without a GPU")
    parser.add_argument("--out", type=Path, default=Path("runs/gpu_check"))
    options = parser.parse_args()
    device, out = options.device, options.out
    if device == "cuda" and not torch.cuda.is_available():
        sys.exit("torch finds no CUDA GPU on this machine: --device cpu rehearses the checks without one.")
    out.mkdir(parents=True, exist_ok=True)
    characters = load_characters("auto")
    gpu = torch.cuda.get_device_name() if device == "cuda" else None
    seen: dict = {"gpu": gpu, "torch": str(torch.__version__), "data": characters.source}
    failed: list[str] = []
    began = time.monotonic()

    def run(name: str, step, *arguments) -> None:
        if (time.monotonic() - began) / 60 > options.minutes:
            print(f"{name}: skipped, the time is up", flush=True)
            return
        print(f"{name} ...", flush=True)
        try:
            seen[name] = step(*arguments)
        except Exception as error:  # reported at the end
            traceback.print_exc()
            seen[name] = {"failed": f"{type(error).__name__}: {error}"[:500]}
            failed.append(name)
        print(json.dumps(seen[name], indent=1), flush=True)
        (out / "gpu_check.json").write_text(json.dumps(seen, indent=1) + "\n")

    recipes = [find_recipe(name) for name in options.recipes]
    train_part = characters.split("train").to(device)
    tasks = {r.name: r.build_tasks(None if r.is_regression else train_part) for r in recipes}
    steps = {"gradients": check_gradients, "engines": check_engines, "resume": check_resume, "timings": time_engines,
             "training": short_training}  # fmt: skip
    for title in options.only:
        if title in ("timings", "training") and failed:
            break
        if title == "module":
            run("a module", check_module, find_recipe("omniglot-5way-1shot").build_tasks(train_part), device)
            continue
        for recipe in recipes:
            extra: tuple = (out,) if title == "resume" else ()
            data = tasks[recipe.name]
            if title == "training":
                data, extra = None if recipe.is_regression else characters, (out, options.iterations)
            run(f"{title}: {recipe.name}", steps[title], recipe, data, device, *extra)
    if failed:
        sys.exit(f"Failed: {', '.join(failed)}. See above.")


if __name__ == "__main__":
    main()
