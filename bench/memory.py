"""Does a long training grow? python -m bench.memory: resident size after 1,000 and after 10,000 meta-iterations.

Each training runs in a process of its own, through `train` with all it does on the way: validation, checkpoints,
history. Then an evaluation, whose inner loop keeps no graph: resident size after 50 tasks and after 600.
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
WAYS_TO_RUN = ("sinusoid-5shot eager", "sinusoid-5shot compiled", "omniglot-5way-1shot-mlp eager", "evaluation")


def resident_mb() -> float:
    """What this process holds in memory now, in MB, as Linux tells it."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


class Watched:
    """Tasks that note the resident size when meta-batch EARLY and meta-batch LATE are drawn."""

    def __init__(self, tasks: TaskDistribution, at: tuple[int, int]) -> None:
        self.tasks, self.at, self.drawn, self.sizes = tasks, at, 0, []

    def sample(self, tasks: int, generator: torch.Generator) -> Episodes:
        self.drawn += 1
        if self.drawn in self.at:
            self.sizes.append(resident_mb())
        return self.tasks.sample(tasks, generator)


def measure(what: str) -> tuple[float, float]:
    """Resident MB early and late in one of WAYS_TO_RUN."""
    if what == "evaluation":
        recipe = find_recipe("omniglot-5way-1shot")
        images = load_characters("auto").split("test").images
        watched = Watched(CharacterTasks(images, 5, 1), (50 // 25, 600 // 25))
        theta = recipe.build_network().init(seeded_generator(0))
        evaluate(recipe.build_learner(), theta, watched, [3], seeded_generator(0))
        return tuple(watched.sizes)
    name, engine = what.split()
    recipe = replace(find_recipe(name), meta_batch=4)
    characters = None if recipe.is_regression else load_characters("auto").split("train")
    tasks = recipe.build_tasks(characters)
    watched = Watched(tasks, (EARLY, LATE))
    with tempfile.TemporaryDirectory() as out:
        settings = Settings(iterations=LATE, engine=engine, validate_every=500, say=lambda text: None)
        train(recipe, watched, tasks, Path(out) / "run", settings)
    return tuple(watched.sizes)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.memory", description=__doc__.partition("\n")[0])
    parser.add_argument("--only", choices=WAYS_TO_RUN, help="measure in this process")
    only = parser.parse_args().only
    if only:
        print(*(f"{megabytes:.1f}" for megabytes in measure(only)))
        return 0
    print(f"| what | MB after {EARLY:,} | MB after {LATE:,} | grown by |\n|---|---|---|---|")
    for what in WAYS_TO_RUN:
        done = subprocess.run([sys.executable, "-m", "bench.memory", "--only", what], capture_output=True, text=True)
        if done.returncode:
            print(f"{what} failed: {done.stderr.strip().splitlines()[-1]}", file=sys.stderr)
            return 1
        early, late = map(float, done.stdout.split()[-2:])
        told = f"{what} (50 and 600 tasks)" if what == "evaluation" else what
        print(f"| {told} | {early:.0f} | {late:.0f} | {late - early:+.1f} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
