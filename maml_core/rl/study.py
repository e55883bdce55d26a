"""The study of 2-D navigation: trainings, and what they reach on new goals. And the policies that the package ships."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from .. import checkpoints
from ..episodes import seeded_generator
from ..evaluation import mean_and_ci95
from ..networks import Weights
from ..results import SHIPPED
from .evaluation import TEST_GOALS, TEST_TRAJECTORIES, evaluate_policy, tuned_alpha
from .navigation import best_returns, draw_goals
from .policy import navigation_policy
from .training import FILE, POLICIES, train_policy

POLICY_FOLDER = SHIPPED / "navigation"
CONDITIONS = {"MAML": "maml", "first-order MAML": "first-order", "pretrained": "pretrained", "random": None}
TEST_SEED, TUNING_SEED = 1_000, 1_001


def navigation_study(
    root: Path,
    seeds: tuple[int, ...] = (0, 1),
    iterations: int | None = None,
    device: str = "cpu",
    facts: dict[str, Any] | None = None,
    say: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Train every condition on every seed into a folder below `root`, going on where one was begun, and judge them.

    Returns the rows, one for each condition, seed and number of steps, and the trainings with their learning curves.
    """
    rows, trainings = [], []
    for condition, name in CONDITIONS.items():
        for seed in seeds:
            say(f"{condition}, seed {seed}")
            if name is None:
                theta = navigation_policy().init(seeded_generator(seed, device))
            else:
                story = train_policy(POLICIES[name], root / f"navigation-{name},seed={seed}", iterations, seed, device,
                                     facts, say)  # fmt: skip
                theta = story["theta"]
                trainings.append({"condition": condition, "seed": seed} | _told(story))
            rows += ({"condition": condition, "seed": seed} | row for row in judge(theta, name))
    goals = draw_goals(TEST_GOALS, seeded_generator(TEST_SEED))
    best, best_ci95 = mean_and_ci95(best_returns(goals))
    return {"question": "2-D navigation: how does the return rise with policy gradient steps on a new goal?",
            "goals": TEST_GOALS, "trajectories": TEST_TRAJECTORIES, "best": round(best, 4), "best_ci95": round(best_ci95, 4),
            "trainings": trainings, "rows": rows}  # fmt: skip


def judge(theta: Weights, name: str | None) -> Iterator[dict[str, Any]]:
    """Rows by number of steps. What was trained to adapt keeps its alpha; others get the one that suits them."""
    policy = navigation_policy()
    adapts = name is not None and POLICIES[name].inner_steps > 0
    alpha = POLICIES[name].alpha if adapts else tuned_alpha(policy, theta, TUNING_SEED)
    for row in evaluate_policy(policy, theta, alpha, TEST_SEED).rows():
        yield {"alpha": alpha} | row


def _told(story: dict[str, Any]) -> dict[str, Any]:
    """A training without its weights: the learning curve as columns."""
    curve = {key: [row[key] for row in story["history"]] for key in ("before", "after", "distance", "kl")}
    return {key: story[key] for key in ("recipe", "iteration", "wall_seconds", "device", "torch")} | {"curve": curve}


def load_policy(name: str) -> tuple[Weights, dict[str, Any]]:
    """A policy that the package ships, "maml" or "pretrained", and the JSON that tells its story."""
    path = POLICY_FOLDER / f"{name}.pt"
    if not path.exists():
        have = ", ".join(sorted(p.stem for p in POLICY_FOLDER.glob("*.pt"))) or "none"
        raise FileNotFoundError(f"No policy {name} is shipped (shipped: {have}): run the study navigation first.")
    return checkpoints.load(path)["theta"], json.loads(path.with_suffix(".json").read_text())


def is_policy(folder: Path) -> bool:
    """Whether a folder holds the training of a policy."""
    return (folder / FILE).exists()


def publish_policy(folder: Path) -> dict[str, Any]:
    """Put a trained policy among the shipped ones, with its story and what it reaches on the test goals."""
    found = checkpoints.load(folder / FILE)
    name = found["recipe"]["name"]
    story = {key: value for key, value in found.items() if key not in ("theta", "generator")}
    story["evaluation"] = list(judge(found["theta"], name))
    POLICY_FOLDER.mkdir(exist_ok=True)
    kept = {key: found[key] for key in ("theta", "recipe", "iteration", "seed")}
    checkpoints.save(kept, POLICY_FOLDER / f"{name}.pt")
    checkpoints.save(_told(story) | {"seed": found["seed"], "evaluation": story["evaluation"]}, POLICY_FOLDER / f"{name}.json")
    return story
