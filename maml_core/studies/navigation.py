"""The study of 2-D navigation: trainings, what they reach on new goals, and how a policy joins the shipped ones."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..evaluation import mean_and_ci95
from ..networks import Weights
from ..results.shipped import NOT_SHIPPED, POLICY_FOLDER
from ..rl.evaluation import ALPHAS, TEST_GOALS, TEST_TRAJECTORIES, evaluate_policy, tuned_alpha
from ..rl.navigation import best_returns, draw_goals
from ..rl.policy import navigation_policy
from ..rl.training import FILE, POLICIES, PolicyRecipe, train_policy
from ..training import checkpoints
from ..util.atomic_files import check_writable
from ..util.checks import at_least
from ..util.seeding import seeded_generator
from .study import Findings, StudyContext

CONDITIONS = {"MAML": "maml", "first-order MAML": "first-order", "pretrained": "pretrained", "random": None}
TEST_SEED, TUNING_SEED = 1_000, 1_001


def navigation_study(context: StudyContext) -> Findings:
    """Train every condition on every seed, for a fifth of the meta-iterations and for all, and judge the policies.

    There is a row for each policy and step size; "trainings" are the trainings with their learning curves.
    """
    iterations = PolicyRecipe("any").meta_iterations if context.iterations is None else context.iterations
    at_least(1, iterations=iterations)
    stages = sorted({max(1, iterations // 5), iterations})
    rows, trainings = [], []
    for condition, name in CONDITIONS.items():
        for stage in stages if name else (0,):
            for seed in context.seeds:
                context.say(f"{condition}, {stage} meta-iterations, seed {seed}")
                about = {"condition": condition, "iterations": stage, "seed": seed}
                if name is None:
                    theta = navigation_policy().init(seeded_generator(seed, context.device))
                else:
                    out = context.out / f"navigation-{name},iterations={stage},seed={seed}"
                    facts = dict(context.metadata)
                    story = train_policy(POLICIES[name], out, stage, seed, context.device, facts, context.say)
                    theta = story["theta"]
                    trainings.append(about | _told(story))
                rows += (about | row for row in judge(theta, name))
    goals = draw_goals(TEST_GOALS, seeded_generator(TEST_SEED))
    best, best_ci95 = mean_and_ci95(best_returns(goals))
    settings = {"iterations": iterations, "goals": TEST_GOALS, "trajectories": TEST_TRAJECTORIES}
    return Findings(rows, settings, {"best": round(best, 4), "best_ci95": round(best_ci95, 4), "trainings": trainings})


def judge(theta: Weights, name: str | None) -> Iterator[dict[str, Any]]:
    """What a policy reaches on the test goals, by step size (first-order MAML at its own only).

    `chosen` is the one to report: that of training for what was trained to adapt, else the one that did best on goals
    which are not used again.
    """
    policy, recipe = navigation_policy(), POLICIES[name] if name else None
    adapts = recipe is not None and recipe.inner_steps > 0
    chosen = recipe.alpha if adapts else tuned_alpha(policy, theta, TUNING_SEED)
    std = round(theta["log_std"].exp().mean().item(), 4)
    for alpha in (chosen,) if adapts and recipe.first_order else ALPHAS:
        told = evaluate_policy(policy, theta, alpha, TEST_SEED).summary()
        yield {"alpha": alpha, "chosen": alpha == chosen, "std": std} | told


def _told(story: dict[str, Any]) -> dict[str, Any]:
    """A training without its weights: the learning curve as columns."""
    curve = {key: [row[key] for row in story["history"]] for key in ("before", "after", "distance", "kl")}
    return {key: story[key] for key in ("recipe", "iteration", "wall_seconds", "device", "torch")} | {"curve": curve}


def is_policy(folder: Path) -> bool:
    """Whether a folder holds the training of a policy."""
    return (folder / FILE).exists()


def publish_policy(folder: Path) -> dict[str, Any]:
    """Put a trained policy among the shipped ones, with its story and what it reaches on the test goals.

    Raises OSError, before it is judged, where the package's folder cannot be written.
    """
    found = checkpoints.load(folder / FILE)
    recipe, name = found["recipe"], f"{found['recipe']['name']}-{found['iteration']}"
    for ending in ("pt", "json"):
        check_writable(POLICY_FOLDER / f"{name}.{ending}", NOT_SHIPPED)
    evaluation = next(row for row in judge(found["theta"], recipe["name"]) if row["chosen"])
    story = _told(found) | {"seed": found["seed"], "commit": found.get("commit"), "evaluation": evaluation}
    POLICY_FOLDER.mkdir(exist_ok=True)
    checkpoints.save({key: found[key] for key in ("theta", "recipe", "iteration")}, POLICY_FOLDER / f"{name}.pt")
    checkpoints.save(story, POLICY_FOLDER / f"{name}.json")
    return story
