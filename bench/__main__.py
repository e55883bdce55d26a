"""`python -m bench`: check each library's gradient, then time all of them in turn on the same machine."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import torch

from maml_core.results.shipped import BENCHMARK

from . import report
from .check import GradientCheck
from .machine import BackgroundLoad, count_flop, describe_machine, peaks, with_allocator
from .sides import SIDES, Side, build_sides, default_sides
from .sweeps import SWEEPS, run_sweeps
from .timing import Clock, run_rounds
from .workloads import RECIPE_NAMES, Workload, build_workload


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--workloads", nargs="*", choices=list(RECIPE_NAMES), default=list(RECIPE_NAMES))
    parser.add_argument("--sides", nargs="+", choices=list(SIDES), help="default: all that run on this device")
    parser.add_argument("--rounds", type=int, default=9, help="minimum number of samples per side")
    parser.add_argument("--seconds", type=float, default=60, help="sample each workload for at least this long")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument(
        "--sweeps", nargs="*", choices=SWEEPS, default=SWEEPS, help="time and memory against inner steps and tasks"
    )
    parser.add_argument(
        "--compile-once", action="store_true", help="skip the float64 check of compiled engines, which compiles once more"
    )
    parser.add_argument("--quick", action="store_true", help="smoke test: one round, and one size of each sweep")
    parser.add_argument(
        "--out", type=Path, default=BENCHMARK, help="results file; entries that are not remeasured are kept"
    )
    return parser.parse_args(arguments)


def check_sides(workload: Workload, sides: list[Side], compile_once: bool = False) -> list[tuple[Side, dict[str, Any]]]:
    """Each side with its gradient's errors; a wrong gradient aborts the run."""
    print(f"{workload.name}: selecting well-conditioned tasks and checking gradients on them", flush=True)
    check = GradientCheck(workload)
    checked = []
    for side in sides:
        if side.compiles:
            print(f"{workload.name}: compiling {side.name}, which takes minutes the first time", flush=True)
        errors = check.errors(side, in_float64=not (side.compiles and compile_once))
        float64 = "" if errors.float64 is None else f"; in float64 {errors.float64:.0e}"
        found = f"{errors.float32:.0e} (limit for {side.precision}: {errors.limit:.0e}){float64}"
        print(f"{workload.name}: {side.name}: gradient error {found}; cosine {errors.cosine:.4f}, "
              f"norm ratio {errors.norm_ratio:.4f}", flush=True)  # fmt: skip
        if errors.wrong:
            sys.exit(f"{workload.name}: the gradient of {side.name} is wrong, so nothing is timed.")
        row = {"gradient_error": errors.float32, "gradient_error_float64": errors.float64}
        checked.append((side, row | {"gradient_cosine": errors.cosine, "gradient_norm_ratio": errors.norm_ratio}))
    return checked


def measure(workload: Workload, options: argparse.Namespace, peak: dict[str, float]) -> list[dict[str, Any]]:
    """Check, warm up and time the sides on one workload; returns the benchmark's rows."""
    recipe, flop = workload.recipe, count_flop(workload)
    sides = build_sides(options.sides or default_sides(options.device), workload)
    checked = check_sides(workload, sides, options.compile_once)
    clocks = []
    for side, _ in checked:
        print(f"{workload.name}: warming up {side.name}", flush=True)
        clocks.append(Clock(side.start(), side.steps_per_call))
        clocks[-1].warm_up()
    print(f"{workload.name}: sampling", flush=True)
    with BackgroundLoad() as background:
        rounds = run_rounds(clocks, options.rounds, options.seconds)
    if background.cores and background.cores > 0.1:
        warning = f"other processes kept {background.cores:.1f} cores busy: repeat the benchmark on an idle machine"
        print(f"{workload.name}: {warning}")
    rows = []
    for (side, errors), clock in zip(checked, clocks):
        row = {"workload": workload.name, "recipe": recipe.name, "data": workload.data, "tasks": recipe.meta_batch}
        row |= {
            "steps": recipe.inner_steps,
            "implementation": side.name,
            "detail": side.detail,
            "precision": side.precision,
        }
        row |= {"device": workload.device.type, "median_ms": clock.median, "quartiles_ms": clock.quartiles}
        row |= {"best_ms": clock.best, "rounds": rounds, "others_cores": background.cores}
        row |= {"gflop": flop / 1e9, "floor_fraction": flop / 1e6 / peak[side.precision] / clock.median}
        rows.append(row | errors)
    return rows


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Measure, write the JSON file and print the table; returns the file's content."""
    options = parse(arguments)
    torch.backends.cudnn.allow_tf32 = False  # float32 means float32, on every side
    if options.quick:
        options.rounds, options.seconds = 1, 0
    peak = peaks(options.device)
    print("Peak GFLOP/s of products: " + ", ".join(f"{name} {gflops:.0f}" for name, gflops in peak.items()), flush=True)
    result: dict[str, Any] = {"machine": describe_machine(options.device), "peak_gflops": peak, "rows": [], "sweeps": []}
    for name in options.workloads:
        workload = build_workload(name, options.device)
        result["rows"] += measure(workload, options, peak)
        save(result, options)  # a wrong gradient on a later workload ends the run, but loses nothing
    result["sweeps"] = run_sweeps(options.sweeps, options.device, options.quick)
    result = save(result, options)
    print(report.table(result["rows"]), report.goals_table(result["goals"]), sep="\n\n")
    return result


def save(result: dict[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    """Write all that has been measured so far, ratios, goals, and the file's other workloads; returns what it wrote."""
    if options.out.exists():
        result = report.merge(json.loads(options.out.read_text()), result)
    report.add_ratios(result["rows"])
    result["goals"] = report.goals(result["rows"], options.device)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=1) + "\n")
    return result


if __name__ == "__main__":
    with_allocator("bench")
    main()
