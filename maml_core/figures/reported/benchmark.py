"""Time and memory of a meta-iteration, compared with other MAML libraries, as `make bench` measured them."""

from typing import Any

from ...results.shipped import load_benchmark
from ..style import COLOURS

# As in Table 1, ours are blue and others grey; a marker for each library.
OURS = "maml_core"
MARKERS = {OURS: "o", "jax": "s", "torchopt": "^", "learn2learn": "D", "higher": "v", "plain": "P"}
TITLES = {
    "S": "Sinusoid, 10-shot",
    "O": "Omniglot, 5-way 1-shot",
    "O20": "Omniglot, 20-way 1-shot",
    "O5": "Omniglot, 5-way 5-shot",
}
SWEEPS = {"steps": "inner steps (32 tasks)", "tasks": "tasks (1 inner step)"}
MEASURES = {"median_ms": "ms per meta-iteration", "peak_mb": "peak memory in MB"}


def look(implementation: str) -> dict[str, str]:
    """The colour and the marker of an implementation, by the library that it is of."""
    library = implementation.split()[0]
    return {"color": COLOURS["maml"] if library == OURS else "#555555", "marker": MARKERS[library]}


def plain_numbers(axis: Any, digits: tuple[float, ...]) -> None:
    """Label a logarithmic axis 1, 10, 100 rather than in powers of ten, with ticks at these leading digits."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    axis.set_major_locator(LogLocator(subs=digits))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axis.set_minor_locator(NullLocator())


def draw_times(ax: Any, rows: list[dict[str, Any]], title: str) -> None:
    """One workload: a dot per implementation, the fastest on top; its line spans the middle half of the samples."""
    rows = sorted(rows, key=lambda row: row["median_ms"], reverse=True)
    places, times = range(len(rows)), [row["median_ms"] for row in rows]
    for place, row in zip(places, rows):
        spread = [[abs(row["median_ms"] - quartile)] for quartile in row["quartiles_ms"]]
        ax.errorbar(row["median_ms"], place, xerr=spread, ms=6, ls="none", elinewidth=1.5, **look(row["implementation"]))
        ax.annotate(
            f"{row['median_ms']:,.0f}" if row["median_ms"] >= 100 else f"{row['median_ms']:.3g}",
            (row["quartiles_ms"][1], place),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
        )
    ax.set_xscale("log")
    ax.set_xlim(min(times) / 2.5, max(times) * 3)
    plain_numbers(ax.xaxis, (1.0,) if max(times) > 10 * min(times) else (1.0, 3.0))
    ax.set_yticks(places, [row["implementation"] for row in rows], fontsize=8)
    for label, row in zip(ax.get_yticklabels(), rows):
        label.set_fontweight("bold" if row["implementation"].startswith(OURS) else "normal")
    ax.set_ylim(-0.6, len(rows) - 0.4)
    ax.set_xlabel("ms per meta-iteration")
    ax.set_title(title)


def draw_sweep(ax: Any, points: list[dict[str, Any]], sweep: str, measure: str) -> None:
    """Time or peak memory against inner steps or tasks, a line per implementation."""
    for name in dict.fromkeys(point["implementation"] for point in points):
        mine = [point for point in points if point["implementation"] == name and point["sweep"] == sweep]
        x, y = [point[sweep] for point in mine], [point[measure] for point in mine]
        ax.plot(x, y, markersize=5, label=name, **look(name))
    ax.set_xscale("log", base=2)
    ax.set_yscale("log")
    ticks = sorted({point[sweep] for point in points if point["sweep"] == sweep})
    ax.set_xticks(ticks, [str(tick) for tick in ticks])
    plain_numbers(ax.yaxis, (1.0, 2.0, 5.0))
    ax.minorticks_off()
    ax.set_xlabel(SWEEPS[sweep])
    ax.set_ylabel(MEASURES[measure])


def benchmark(result: dict[str, Any] | None = None, device: str = "cpu") -> Any:
    """The whole figure: a panel of dots per workload, below them time and memory against steps and tasks.

    result: what `make bench` wrote; by default what is shipped.
    """
    import matplotlib.pyplot as plt

    result = result or load_benchmark()
    rows = [row for row in result["rows"] if row["device"] == device]
    points = [point for point in result["sweeps"] if point["device"] == device]
    workloads = [name for name in TITLES if any(row["workload"] == name for row in rows)]
    lines = (len(workloads) + 1) // 2
    heights = [2.6 * lines, 4.6] if points else [2.6 * lines]  # inches
    figure = plt.figure(figsize=(8, sum(heights)))
    parts = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)
    axes = parts[0, 0].subplots(lines, 2, squeeze=False).flat
    for ax, name in zip(axes, workloads):
        draw_times(ax, [row for row in rows if row["workload"] == name], TITLES[name])
    for ax in list(axes)[len(workloads) :]:
        ax.set_axis_off()
    if points:
        grid = parts[1, 0].subplots(2, 2, sharex="col")
        for line, measure in zip(grid, MEASURES):
            for ax, sweep in zip(line, SWEEPS):
                draw_sweep(ax, points, sweep, measure)
        grid[0, 0].legend()
        for ax in grid[0]:
            ax.set_xlabel("")
        for ax in grid[:, 1]:
            ax.set_ylabel("")
        parts[1, 0].suptitle("Omniglot, 5-way 1-shot: time and memory against size", x=0.01, ha="left", fontsize=11)
    return figure
