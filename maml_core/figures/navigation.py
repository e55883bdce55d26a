"""Pictures of 2-D navigation: average return against gradient steps, and the robots' paths."""

from itertools import chain
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..maml import stack
from ..results.shipped import load_policy, load_study
from ..results.study_result import StudyResult
from ..rl.navigation import SIDE, Trajectories, draw_noise
from ..rl.policy import navigation_policy
from ..rl.reinforce import adapt
from .style import COLOURS, draw_band, explain_dashes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CONCEPTS = {"MAML": "maml", "first-order MAML": "first order", "pretrained": "baseline", "random": "before"}
FOUR_GOALS = ((0.4, 0.35), (-0.4, 0.2), (0.25, -0.4), (-0.3, -0.35))


def draw_returns(ax: "Axes", study: StudyResult, iterations: int | None = None, alpha: float | None = None) -> None:
    """The paper's Figure 4, top: average return against gradient steps; a line for each seed, 95% intervals over goals.

    iterations: of the training runs, the study's longest by default; alpha: the same for all (None: each one's own).
    """
    iterations = iterations or study.settings["iterations"]
    first = min(row["seed"] for row in study.rows)
    for condition, concept in CONCEPTS.items():
        for row in study.rows:
            right = row["chosen"] if alpha is None else row["alpha"] == alpha
            if right and row["condition"] == condition and row["iterations"] in (0, iterations):
                label, line = (condition, "-") if row["seed"] == first else (None, "--")
                steps = range(len(row["return"]))
                draw_band(ax, steps, row["return"], row["return_ci95"], COLOURS[concept], label, ls=line)
    explain_dashes(ax)
    ax.axhline(study.extra["best"], color=COLOURS["target"], lw=1, ls=":", label="straight to the goal")
    ax.set_yscale("symlog", linthresh=0.1)
    ax.set(xlabel="gradient steps", ylabel="average return", xticks=range(4), ylim=(-150, -0.1))


def draw_returns_against_alpha(ax: "Axes", study: StudyResult, iterations: int) -> None:
    """Return after one gradient step against its size, after `iterations` meta-iterations; a line for each seed."""
    seeds = sorted({row["seed"] for row in study.rows})
    for condition in ("MAML", "pretrained"):
        for seed in seeds:
            rows = [row for row in study.rows
                    if (row["condition"], row["iterations"], row["seed"]) == (condition, iterations, seed)]  # fmt: skip
            mean, half = ([row[key][1] for row in rows] for key in ("return", "return_ci95"))
            label, line = (condition, "-") if seed == seeds[0] else (None, "--")
            draw_band(ax, [row["alpha"] for row in rows], mean, half, COLOURS[CONCEPTS[condition]], label, ls=line)
    explain_dashes(ax)
    ax.set(xscale="log", xlabel="alpha at test", ylabel="average return after one step")
    ax.set_yscale("symlog", linthresh=0.1)
    ax.set_ylim(-150, -1)


def draw_paths(ax: "Axes", trajectories: Trajectories, goals: Tensor, concept: str) -> None:
    """Every robot's path from the origin, for all tasks: goals [T, 2] as stars."""
    for goal, ways in zip(goals, paths(trajectories)):
        for way in ways:
            ax.plot(*way.T, color=COLOURS[concept], lw=0.9, alpha=0.6)
        (star,) = ax.plot(*goal, "*", color=COLOURS["target"], ms=12, mec="white", zorder=4)
    star.set_label("goal")
    ax.plot(0, 0, "o", color=COLOURS["before"], ms=6, mec="white", zorder=4, label="start")
    ends, ticks = (-1.5 * SIDE, 1.5 * SIDE), (-SIDE, 0, SIDE)
    ax.set(xlabel="x", ylabel="y", aspect="equal", xlim=ends, ylim=ends, xticks=ticks, yticks=ticks)


def paths(trajectories: Trajectories) -> Tensor:
    """Where the robots were, including the final position: [T, B, H + 1, 2]."""
    return torch.cat([trajectories.positions, trajectories.ends[:, :, None]], 2)


EARLY, ALPHA = 20, 0.1  # meta-iterations after which MAML's policy adapts well, and the step that it was trained with


def navigation() -> "Figure":
    """Return against steps, early in training, and the paths to four goals after one step: MAML next to pretraining."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(8, 3.7), width_ratios=[1.3, 1, 1])
    draw_returns(axes[0], load_study("navigation"), EARLY, ALPHA)
    found = "one takes MAML most of the way, pretraining a little"
    figure.suptitle(f"{EARLY} meta-iterations, steps of alpha = {ALPHA}: {found}", x=0.01, ha="left", fontsize=11)
    goals, policy = torch.tensor(FOUR_GOALS), navigation_policy()
    generator = torch.Generator().manual_seed(0)
    noises = [draw_noise(len(goals), 20, generator) for _ in range(2)]
    for ax, name, concept in zip(axes[1:], ("maml", "pretrained"), ("maml", "baseline")):
        theta, _ = load_policy(f"{name}-{EARLY}")
        seen, _ = adapt(policy, stack(policy, theta, len(goals)), goals, noises, [ALPHA])
        draw_paths(ax, seen[-1], goals, concept)
    axes[1].set_title("MAML, after one step", fontsize=10)
    axes[2].set_title("pretrained, after one step", fontsize=10)
    axes[2].set(yticklabels=[], ylabel="")
    keys, names = (list(chain(*parts)) for parts in zip(*(ax.get_legend_handles_labels() for ax in axes[:2])))
    figure.legend(keys, names, loc="outside lower left", ncols=4, fontsize=9, handlelength=1.5)
    return figure


def navigation_alpha() -> "Figure":
    """Return after one step against alpha, early and late in training."""
    import matplotlib.pyplot as plt

    study = load_study("navigation")
    figure, axes = plt.subplots(1, 2, figsize=(8, 3.2), sharey=True)
    titles = ("each has its own alpha", "pretraining's has moved")
    for ax, iterations, title in zip(axes, (EARLY, study.settings["iterations"]), titles):
        draw_returns_against_alpha(ax, study, iterations)
        ax.set_title(f"{iterations} meta-iterations: {title}")
    axes[0].legend(loc="lower left")
    axes[1].set_ylabel("")
    return figure
