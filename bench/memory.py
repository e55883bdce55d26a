"""Does memory grow in a long training run? python -m bench.memory: resident size after 1,000 and 10,000 meta-iterations.

Each run is a process of its own and calls `train`, including validation, checkpoints and history. Then an evaluation,
whose inner loop keeps no graph: resident size after 50 and after 600 tasks.
"""

import argparse
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import torch

from maml_core.episodes import Episodes, TaskDistribution
from maml_core.evaluation import evaluate
from maml_core.recipes import find_recipe
from maml_core.tasks import CharacterTasks, load_characters
from maml_core.training import Settings, train
from maml_core.util import seeded_generator

EARLY, LATE = 1_000, 10_000
RUNS = ("sinusoid-5shot eager", "sinusoid-5shot compiled", "omniglot-5way-1shot-mlp eager", "evaluation")


def resident_mb() -> float:
    """The current resident set size of this process in MB (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


class Watched:
    """Tasks that record the resident size when the meta-batches numbered `at` are drawn."""

    def __init__(self, tasks: TaskDistribution, at: tuple[int, int]) -> None:
        self.tasks, self.at, self.drawn = tasks, at, 0
        self.sizes: list[float] = []  # in MB

    def sample(self, tasks: int, generator: torch.Generator) -> Episodes:
        self.drawn += 1
        if self.drawn in self.at:
            self.sizes.append(resident_mb())
        return self.tasks.sample(tasks, generator)


def measure(run: str) -> tuple[float, float]:
    """Resident MB early and late in one of RUNS."""
    if run == "evaluation":
        recipe = find_recipe("omniglot-5way-1shot")
        images = load_characters("auto").split("test").images
        watched = Watched(CharacterTasks(images, 5, 1), (50 // 25, 600 // 25))
        theta = recipe.build_network().init(seeded_generator(0))
        evaluate(recipe.build_learner(), theta, watched, [3], seeded_generator(0))
    else:
        name, engine = run.split()
        recipe = replace(find_recipe(name), meta_batch=4)
        characters = None if recipe.is_regression else load_characters("auto").split("train")
        tasks = recipe.build_tasks(characters)
        watched = Watched(tasks, (EARLY, LATE))
        with tempfile.TemporaryDirectory() as out:
            settings = Settings(iterations=LATE, engine=engine, validate_every=500, log=lambda text: None)
            train(recipe, watched, tasks, Path(out) / "run", settings)
    early, late = watched.sizes
    return early, late


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.memory", description=__doc__.partition("\n")[0])
    parser.add_argument("--only", choices=RUNS, help="measure this one only, in this process")
    only = parser.parse_args().only
    if only:
        print(*(f"{megabytes:.1f}" for megabytes in measure(only)))
        return 0
    print(f"| run | MB after {EARLY:,} | MB after {LATE:,} | growth |\n|---|---|---|---|")
    for run in RUNS:
        done = subprocess.run([sys.executable, "-m", "bench.memory", "--only", run], capture_output=True, text=True)
        if done.returncode:
            print(f"{run} failed: {done.stderr.strip().splitlines()[-1]}", file=sys.stderr)
            return 1
        early, late = map(float, done.stdout.split()[-2:])
        label = f"{run} (50 and 600 tasks)" if run == "evaluation" else run
        print(f"| {label} | {early:.0f} | {late:.0f} | {late - early:+.1f} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
