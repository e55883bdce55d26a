"""Markdown tables of speed: of libraries, processors and GPUs."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from .shipped import BENCHMARK, SHIPPED, load_benchmark, load_gpu_check
from .tables import markdown

# Results of `make bench` on several machines; the first is the one that it writes, with the figure and the large table.
WITH_BF16, WITH_AVX2 = (SHIPPED / f"benchmark-{name}.json" for name in ("bf16", "avx2"))
BENCHMARKS = (BENCHMARK, WITH_BF16, WITH_AVX2)

# The label of each line in the speed table, by the prefix of its implementations' names.
SPEED_LINES = {
    "maml_core compiled": "**maml_core, compiled**",
    "maml_core compiled bf16": "maml_core, compiled, bf16 factors",
    "maml_core eager": "maml_core, eager",
    "maml_core module compiled": "maml_core, any `nn.Module`, compiled",
    "maml_core module eager": "maml_core, any `nn.Module`, eager",
    "plain": "the loop over tasks (`reference.py`)",
    "torchopt": "torchopt",
    "higher": "higher",
    "learn2learn": "learn2learn",
    "jax": "JAX",
    "jax bf16": "JAX, bf16 factors",
}
WORKLOADS = {"S": "sinusoid, 10-shot", "O": "5-way 1-shot", "O20": "20-way 1-shot", "O5": "5-way 5-shot"}


def speed_rows(rows: Iterable[Mapping[str, Any]] | None = None, device: str = "cpu") -> dict[str, dict[str, str]]:
    """{line: {workload: ms}}: each library's fastest time per workload, "" if it was not measured.

    rows: results of `make bench` (default: the shipped benchmark)
    """
    rows = list(load_benchmark()["rows"] if rows is None else rows)
    lines = {}
    for start in SPEED_LINES:
        precision, cells = "bf16" if start.endswith("bf16") else "float32", {}
        for workload in WORKLOADS:
            mine = [row for row in rows if (row["workload"], row["device"]) == (workload, device)]
            mine = [row for row in mine if row.get("precision", "float32") == precision]
            times = [row["median_ms"] for row in mine if row["implementation"].startswith(start)]
            cells[workload] = "" if not times else f"{min(times):.2f}" if min(times) < 10 else f"{min(times):,.0f}"
        lines[start] = cells
    return lines


def speed_table(rows: Iterable[Mapping[str, Any]] | None = None, device: str = "cpu") -> str:
    """Milliseconds per meta-iteration: a line per library that was measured, with its fastest time per workload."""
    lines = speed_rows(rows, device).items()
    body = [[SPEED_LINES[start], *cells.values()] for start, cells in lines if any(cells.values())]
    return markdown(["ms per meta-iteration", *WORKLOADS.values()], body)


def processor(about: Mapping[str, Any]) -> str:
    """The name of a benchmark's processor, without trademarks: "Intel Xeon". about: the benchmark's "machine" """
    return re.sub(r"\((R|TM)\)| Processor$", "", about["cpu"])


def machine() -> str:
    """Where the benchmark of the large table was run: "2 cores (Intel Xeon)"."""
    about = load_benchmark()["machine"]
    return f"{about['cores']} cores ({processor(about)})"


def processors_table() -> str:
    """Milliseconds per meta-iteration of the conv nets on each processor that was measured."""
    lines = ("maml_core compiled", "maml_core compiled bf16", "jax", "torchopt")
    body = []
    for path in BENCHMARKS:
        benchmark = load_benchmark(path)
        measured, about = speed_rows(benchmark["rows"]), benchmark["machine"]
        for workload in (workload for workload in WORKLOADS if workload != "S" and measured["torchopt"][workload]):
            cells = [measured[line][workload] or "–" for line in lines]
            body.append([f"{processor(about)}, {about['instructions']}", WORKLOADS[workload], *cells])
    return markdown(["processor", "ms per meta-iteration", *(SPEED_LINES[line] for line in lines)], body)


def gpu_rows(checked: Mapping[str, Any] | None = None) -> dict[str, dict[str, dict[str, float]]]:
    """{recipe: {precision: {"ms", "minutes", "error"}}}: what was measured on a GPU.

    ms: of a meta-iteration; minutes: of a full training; error: of the meta-gradient at the initial theta, relative to
    float64, where it was measured. checked: results of tests/gpu_check.py (default: the shipped ones)
    """
    found = load_gpu_check() if checked is None else checked
    rows: dict[str, dict[str, dict[str, float]]] = {}
    for title, timings in found.items():
        check, _, recipe = title.partition(": ")
        if check != "timings":
            continue
        errors, full = found.get(f"gradients: {recipe}", {}), timings["minutes of a full training"]
        for name, ms in timings["ms"].items():
            engine, precision = name.split(", ")
            if engine == "graph":
                error = {"error": errors[precision]} if precision in errors else {}
                rows.setdefault(recipe, {})[precision] = {"ms": ms, "minutes": full[name], **error}
    return rows


def gpu_table(checked: Mapping[str, Any] | None = None) -> str:
    """What `gpu_rows` returns, a line for each recipe and precision."""
    body = [
        [
            f"`{recipe}`",
            precision,
            f"{row['ms']:.2f}",
            f"{row['minutes']:.1f}",
            f"{row['error']:.0e}" if "error" in row else "–",
        ]
        for recipe, rows in gpu_rows(checked).items()
        for precision, row in rows.items()
    ]
    head = ["recipe", "precision", "ms per meta-iteration", "minutes of a full training", "error of the meta-gradient"]
    return markdown(head, body)
