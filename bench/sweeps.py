"""Time and memory against the number of inner steps and of tasks.

Each point is measured in its own process, since allocated memory is not returned: a second point would not show its peak.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any

from .machine import peak_memory, reset_peak_memory
from .sides import build_sides
from .timing import Clock
from .workloads import build_workload

WORKLOAD = "O"
SWEEPS = ("steps", "tasks")
SIDES = ("eager", "torchopt")  # compiling ten unrolled steps would take many minutes
STEPS = (1, 2, 5, 10)
TASKS = (8, 16, 32, 64, 128, 256)


def points(sweeps: Sequence[str], quick: bool = False) -> list[dict[str, Any]]:
    """The points to measure: inner steps at the recipe's number of tasks, and the reverse. quick: the first of each."""
    rows = {
        "steps": [{"sweep": "steps", "steps": n, "tasks": 32} for n in STEPS],
        "tasks": [{"sweep": "tasks", "steps": 1, "tasks": n} for n in TASKS],
    }
    selected = [row for name in sweeps for row in (rows[name][:1] if quick else rows[name])]
    return [{"side": side, **point} for point in selected for side in SIDES]


def measure(side: str, tasks: int, steps: int, device: str, rounds: int) -> dict[str, Any]:
    """Median milliseconds of a meta-step and its peak memory beyond imports, weights and episodes."""
    build_sides([side], build_workload("S", device))[0].start()()  # torch imports much of itself on first use
    workload = build_workload(WORKLOAD, device, tasks, steps)
    (chosen, *_) = build_sides([side], workload)
    before = reset_peak_memory(device)
    clock = Clock(chosen.start(), chosen.steps_per_call)
    clock.warm_up()
    for _ in range(rounds):
        clock.sample()
    megabytes = (peak_memory(device) - before) / 2**20
    return {"implementation": chosen.name, "median_ms": clock.median, "peak_mb": megabytes}


def run_sweeps(
    sweeps: Sequence[str], device: str, quick: bool = False, log: Callable[[str], None] = print
) -> list[dict[str, Any]]:
    """Measure every point; those that fail are logged in one line and skipped."""
    rows, rounds = [], 1 if quick else 3
    for point in points(sweeps, quick):
        options = [f"--{name}={point[name]}" for name in ("side", "tasks", "steps")]
        command = [sys.executable, "-m", "bench.sweeps", *options, f"--device={device}", f"--rounds={rounds}"]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ["it was killed, probably for lack of memory"])[-1]
            log(f"sweep: skipping {point['side']} at {point['tasks']} tasks, {point['steps']} steps: {reason}")
            continue
        rows.append({**point, "workload": WORKLOAD, "device": device, **json.loads(done.stdout.splitlines()[-1])})
        row = rows[-1]
        what = f"{row['implementation']}, {row['tasks']} tasks, {row['steps']} steps"
        log(f"sweep: {what}: {row['median_ms']:.0f} ms, {row['peak_mb']:.0f} MB")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure one point of a sweep and print it as JSON.")
    parser.add_argument("--side", required=True)
    parser.add_argument("--tasks", type=int, required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    print(json.dumps(measure(**vars(arguments))))


if __name__ == "__main__":
    main()
