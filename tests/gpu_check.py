"""All checks that need a GPU, in one command: python tests/gpu_check.py [--minutes 20] [--out FOLDER]

First correctness, then timings, then training runs. It stops at the first failure, and writes its results to gpu_check.json
as it goes. It is not a unit test; without a GPU it exits with a message.
"""

import argparse
import json
import sys
import time
from dataclasses import replace
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
RECIPES = ("sinusoid-10shot", "omniglot-5way-1shot", "omniglot-20way-1shot")
GOAL_MINUTES = {"sinusoid-10shot": 1 / 3, "omniglot-5way-1shot": 2, "omniglot-20way-1shot": 12}


def relative_error(ours: dict, theirs: dict) -> float:
    """||ours - theirs|| / ||theirs||, over all weights together."""
    difference = sum((ours[name].double() - w.double()).square().sum() for name, w in theirs.items())
    return (difference / sum(w.double().square().sum() for w in theirs.values())).sqrt().item()


def make_trainer(recipe: Recipe, tasks, engine: str, precision: str = "float32") -> MetaTrainer:
    """A trainer on the GPU with seed 0 and the chunk size that the command line would choose."""
    chunk = choose_chunk(recipe, "cuda")
    generator = seeded_generator(0, "cuda")
    execution = Execution(chunk=chunk, engine=engine, precision=precision)
    return MetaTrainer(recipe.build_learner(), tasks, generator, recipe.meta_batch, execution=execution)


def check_gradients(recipe: Recipe, tasks) -> dict:
    """Compare float64 on the GPU with the loop over tasks, then each precision with float64."""
    learner = recipe.build_learner()
    theta = learner.network.init(seeded_generator(0, "cuda"))
    episodes = tasks.sample(4, seeded_generator(1, "cuda"))
    theta64 = {name: w.double() for name, w in theta.items()}
    episodes64 = episodes.to(dtype=torch.float64)
    forward = FORWARDS[recipe.network]
    if recipe.is_regression:
        inner = outer = reference.mean_squared_error(forward)
    else:
        mean = reference.mean_cross_entropy(forward)
        inner, outer = (mean if recipe.inner_loss == "mean" else reference.sum_over_shots(forward, recipe.ways)), mean
    truth = reference.meta_gradient(
        inner, outer, theta64, episodes64, recipe.alpha, recipe.inner_steps, learner.network.frozen
    )
    errors = {"float64": relative_error(meta_gradient(learner, theta64, episodes64)[0], truth)}
    assert errors["float64"] < 1e-9, errors
    for precision in ("float32", "tf32", "bf16"):
        trainer = make_trainer(recipe, tasks, "eager", precision)
        errors[precision] = relative_error(trainer.gradient(theta, episodes)[0], truth)
    return errors


def check_module(tasks, device: str = "cuda") -> dict:
    """A module as a network: its float64 meta-gradient there and on the CPU, and ten meta-iterations on each engine."""
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(1, 16, 3, stride=2, padding=1), nn.GroupNorm(4, 16), nn.ReLU(), nn.Flatten(), nn.Dropout(0.1),
        nn.Linear(16 * 14 * 14, 5),
    )  # fmt: skip
    learner = Learner(Network.from_module(module, nn.CrossEntropyLoss(), ways=5), alpha=0.1)
    at_test = replace(learner, network=learner.network.at_test())  # without dropout
    theta = {name: w.double() for name, w in learner.network.init(seeded_generator(0)).items()}
    episodes = tasks.sample(4, seeded_generator(1, device)).to(dtype=torch.float64)
    on_cpu = meta_gradient(at_test, theta, episodes.to("cpu"))[0]
    there = meta_gradient(at_test, {name: w.to(device) for name, w in theta.items()}, episodes)[0]
    error = relative_error({name: g.cpu() for name, g in there.items()}, on_cpu)
    assert error < 1e-9, error
    losses = {}
    for engine in ("eager", "compiled", "graph") if device == "cuda" else ("eager",):
        trainers = (
            MetaTrainer(learner, tasks, seeded_generator(0, device), 4, execution=Execution(engine=engine))
            for _ in range(2)
        )
        first, again = (trainer.run(10).cpu() for trainer in trainers)
        assert first.isfinite().all() and len(first.unique()) == 10
        losses[engine] = {"losses": first[:3].tolist(), "equal seeds, equal losses": torch.equal(first, again)}
    return {"float64": error, **losses}


def check_engines(recipe: Recipe, tasks) -> dict:
    """Run twenty meta-iterations on each engine with the same seed, and compare the losses with the eager engine's."""
    losses = {}
    for engine in ("eager", "compiled", "graph"):
        losses[engine] = make_trainer(recipe, tasks, engine).run(20).cpu()
    # The first step's loss is the same up to rounding; later ones drift apart as rounding errors accumulate.
    for engine in ("compiled", "graph"):
        torch.testing.assert_close(losses[engine][:3], losses["eager"][:3], rtol=2e-2, atol=2e-2)
        assert len(losses[engine].unique()) > 10, f"the {engine} engine repeats its episodes"
    trainer = make_trainer(recipe, tasks, "graph")
    trainer.run(5)
    state = trainer.state()
    rest = trainer.run(5)
    trainer.load_state(state)
    torch.testing.assert_close(trainer.run(5), rest)  # a captured graph draws the same tasks on resuming
    return {engine: [round(x, 4) for x in values[:5].tolist()] for engine, values in losses.items()}


def check_resume(recipe: Recipe, tasks, out: Path) -> dict:
    """Whether a run stopped between validations and resumed is bitwise identical to an uninterrupted one.

    On a CPU it is. On a GPU it depends on the kernels, so the result is recorded but not required.
    """

    def go(name: str, iterations: int, resume: bool = False) -> dict:
        settings = Settings(iterations=iterations, device="cuda", resume=resume, validate_every=25, log=lambda text: None)
        return train(recipe, tasks, tasks, out / f"{recipe.name}-{name}", settings)

    straight = go("straight", 40)
    go("parts", 30)
    parts = go("parts", 40, resume=True)
    return {"identical": all(torch.equal(w, parts["theta"][name]) for name, w in straight["theta"].items()),
            "relative error": relative_error(parts["theta"], straight["theta"])}  # fmt: skip


def time_engines(recipe: Recipe, tasks) -> dict:
    """Milliseconds per meta-iteration: medians of seven rounds, with the engines in turn."""
    trainers = {
        (engine, precision): make_trainer(recipe, tasks, engine, precision)
        for engine, precision in (("eager", "float32"), ("compiled", "float32"), ("graph", "float32"), ("graph", "tf32"))
    }
    times: dict = {key: [] for key in trainers}
    for trainer in trainers.values():
        trainer.run(10)
    for _ in range(7):
        for key, trainer in trainers.items():
            torch.cuda.synchronize()
            started = time.perf_counter()
            trainer.run(20)
            torch.cuda.synchronize()
            times[key].append((time.perf_counter() - started) / 20 * 1000)
    rows = {f"{engine}, {precision}": sorted(t)[3] for (engine, precision), t in times.items()}
    minutes = {name: ms * recipe.meta_iterations / 60_000 for name, ms in rows.items()}
    return {"ms": rows, "minutes of a full training": minutes, "goal, minutes": GOAL_MINUTES[recipe.name]}


def short_training(recipe: Recipe, characters, out: Path, iterations: int) -> dict:
    """Train as a user would, with `train`, and evaluate on test tasks."""
    parts = (characters and characters.split(part).to("cuda") for part in ("train", "validation"))
    tasks, validation = (recipe.build_tasks(part) for part in parts)
    result = train(recipe, tasks, validation, out / recipe.name, Settings(iterations=iterations, device="cuda"))
    theta = {name: w.cuda() for name, w in result["theta"].items()}
    return {"wall_seconds": result["wall_seconds"], "test": measure(recipe, theta, characters, 0, 600, "test")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=20, help="start no further check after this long")
    parser.add_argument("--iterations", type=int, default=5000, help="of each training run")
    parser.add_argument("--out", type=Path, default=Path("runs/gpu_check"))
    options = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("torch finds no CUDA GPU on this machine, and this script checks nothing else.")
    options.out.mkdir(parents=True, exist_ok=True)
    characters = load_characters("auto")
    seen: dict = {"gpu": torch.cuda.get_device_name(), "torch": str(torch.__version__), "data": characters.source}
    began = time.monotonic()

    def run(name: str, step, *arguments) -> None:
        if (time.monotonic() - began) / 60 > options.minutes:
            print(f"{name}: skipped, the time is up", flush=True)
            return
        print(f"{name} ...", flush=True)
        seen[name] = step(*arguments)
        print(json.dumps(seen[name], indent=1), flush=True)
        (options.out / "gpu_check.json").write_text(json.dumps(seen, indent=1) + "\n")

    recipes = [find_recipe(name) for name in RECIPES]
    tasks = {r.name: r.build_tasks(None if r.is_regression else characters.split("train").to("cuda")) for r in recipes}
    for title, step in (("gradients", check_gradients), ("engines", check_engines), ("timings", time_engines)):
        for recipe in recipes:
            run(f"{title}: {recipe.name}", step, recipe, tasks[recipe.name])
        if step is check_gradients:
            run("a module", check_module, tasks["omniglot-5way-1shot"])
    for recipe in recipes:
        run(f"resume: {recipe.name}", check_resume, recipe, tasks[recipe.name], options.out)
    for recipe in recipes:
        own = None if recipe.is_regression else characters
        run(f"training: {recipe.name}", short_training, recipe, own, options.out, options.iterations)


if __name__ == "__main__":
    main()
