"""The cost of MAML's variants against inner steps: python -m bench.variants writes the results that chapter 4 plots.

Time: all variants in turn, round by round, so that all are timed under the same background load. Peak memory: each point in
its own process, since allocated memory is not returned.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import cast

from maml_core.engine import MetaTrainer
from maml_core.results.shipped import STUDY_FOLDER
from maml_core.results.study_result import StudyResult
from maml_core.studies.registry import STUDIES
from maml_core.studies.trainings import Trainings
from maml_core.util import seeded_generator

from .machine import ALLOCATOR, BackgroundLoad, describe_machine, peak_memory, reset_peak_memory, with_allocator
from .sweeps import STEPS
from .timing import Clock, run_rounds
from .workloads import build_workload

OUT = STUDY_FOLDER / "variants-cost.json"
ROUNDS = 7
VARIANTS = cast(Trainings, STUDIES["variants"].answer).conditions


def start(label: str, steps: int, device: str = "cpu") -> Callable[[], None]:
    """Start training a condition of the study with this many inner steps; each call is one meta-iteration."""
    recipe = replace(VARIANTS[label].build(), inner_steps=steps)
    tasks = build_workload("O", device, recipe.meta_batch).tasks
    trainer = MetaTrainer(recipe.build_learner(), tasks, seeded_generator(0, device), recipe.meta_batch)

    def call() -> None:
        trainer.step().item()  # waits until a GPU is done

    return call


def milliseconds(labels: list[str], steps: int, device: str, rounds: int = ROUNDS) -> dict[str, Clock]:
    """Each variant's clock, sampled in turn."""
    clocks = {label: Clock(start(label, steps, device), 1) for label in labels}
    for clock in clocks.values():
        clock.warm_up()
    run_rounds(list(clocks.values()), rounds)
    return clocks


def peak_megabytes(label: str, steps: int, device: str) -> float:
    """Peak memory of two meta-iterations, beyond imports, weights and episodes."""
    start("MAML", 1, device)()  # torch imports much of itself on first use
    step = start(label, steps, device)
    before = reset_peak_memory(device)
    for _ in range(2):
        step()
    return (peak_memory(device) - before) / 2**20


def in_own_process(label: str, steps: int, device: str) -> float:
    """`peak_megabytes` in a new process without ALLOCATOR, so that free memory is returned and not counted."""
    program = f"from bench.variants import peak_megabytes; print(peak_megabytes({label!r}, {steps}, {device!r}))"
    plain = {name: value for name, value in os.environ.items() if name not in ALLOCATOR}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=plain)
    return float(done.stdout.splitlines()[-1])


def measure(labels: list[str], device: str, all_steps: tuple[int, ...] = STEPS, rounds: int = ROUNDS) -> StudyResult:
    """Measure all points; `others_cores` is the background load meanwhile."""
    rows = []
    with BackgroundLoad() as background:
        for steps in all_steps:
            clocks = milliseconds(labels, steps, device, rounds)
            for label, clock in clocks.items():
                row = {"variant": label, "steps": steps, "median_ms": round(clock.median, 2),
                       "quartiles_ms": [round(ms, 2) for ms in clock.quartiles],
                       "peak_mb": round(in_own_process(label, steps, device), 1)}  # fmt: skip
                print(f"{steps:2} steps, {label}: {row['median_ms']:.0f} ms, {row['peak_mb']:.0f} MB", flush=True)
                rows.append(row)
    recipe = VARIANTS["MAML"].build()
    settings = {"recipe": recipe.name, "device": device, "tasks": recipe.meta_batch, "rounds": rounds,
                "others_cores": background.cores, "machine": describe_machine(device)}  # fmt: skip
    question = "What does a meta-iteration cost, against inner steps?"
    return StudyResult(study="variants-cost", question=question, settings=settings, rows=rows)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.variants", description=__doc__)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args(arguments)
    measure(list(VARIANTS), options.device).save(options.out)


if __name__ == "__main__":
    with_allocator("bench.variants")
    main()
