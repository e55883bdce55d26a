"""The 2-D navigation study: train policies, evaluate them on new goals, and publish them."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..evaluation import mean_and_ci95
from ..networks import Weights
from ..results.shipped import NOT_WRITABLE, POLICY_FOLDER
from ..rl.evaluation import ALPHAS, TEST_GOALS, TEST_TRAJECTORIES, evaluate_policy, tuned_alpha
from ..rl.navigation import REWARDS, best_returns, draw_goals
from ..rl.policy import navigation_policy
from ..rl.training import FILE, POLICIES, PolicyRecipe, train_policy
from ..training import checkpoints
from ..util.atomic_files import check_writable
from ..util.checks import at_least
from ..util.seeding import seeded_generator
from .study import Findings, StudyContext

CONDITIONS = {"MAML": "maml", "first-order MAML": "first-order", "pretrained": "pretrained", "random": None}
AS_IN_CODE = {"MAML": "maml-distance", "context vector": "context-distance"}
TEST_SEED, TUNING_SEED = 1_000, 1_001


def navigation_study(context: StudyContext, conditions: Mapping[str, str | None] = CONDITIONS) -> Findings:
    """Train every condition with every seed, for a fifth of the meta-iterations and for all, and evaluate the policies.

    conditions: {how to call it: one of POLICIES, or None for a random policy}; all of them with one reward
    There is a row per policy and step size; "trainings" has the training runs with their learning curves.
    """
    iterations = PolicyRecipe("any").meta_iterations if context.iterations is None else context.iterations
    at_least(1, iterations=iterations)
    stages = sorted({max(1, iterations // 5), iterations})
    rows: list[dict[str, Any]] = []
    trainings: list[dict[str, Any]] = []
    for condition, name in conditions.items():
        for stage in stages if name else (0,):
            for seed in context.seeds:
                context.log(f"{condition}, {stage} meta-iterations, seed {seed}")
                about = {"condition": condition, "iterations": stage, "seed": seed}
                if name is None:
                    theta = navigation_policy().init(seeded_generator(seed, context.device))
                else:
                    out = context.out / f"navigation-{name},iterations={stage},seed={seed}"
                    metadata = dict(context.metadata)
                    run = train_policy(POLICIES[name], out, stage, seed, context.device, metadata, context.log)
                    theta = run["theta"]
                    trainings.append(about | _summary(run))
                rows += (about | row for row in evaluate_by_alpha(theta, POLICIES[name] if name else None))
    goals = draw_goals(TEST_GOALS, seeded_generator(TEST_SEED))
    (reward,) = {POLICIES[name].reward for name in conditions.values() if name}
    best, best_ci95 = mean_and_ci95(best_returns(goals, reward=reward))
    settings = {"iterations": iterations, "goals": TEST_GOALS, "trajectories": TEST_TRAJECTORIES, "reward": reward}
    return Findings(rows, settings, {"best": round(best, 4), "best_ci95": round(best_ci95, 4), "trainings": trainings})


def evaluate_by_alpha(theta: Weights, recipe: PolicyRecipe | None) -> Iterator[dict[str, Any]]:
    """Evaluate a policy on the test goals, by step size (variants of MAML only with their own).

    recipe: that it was trained by; None for random weights.
    The row to report is `chosen`: for a policy trained to adapt, with the alpha of training; for any other, with the best
    alpha on separate goals.
    """
    policy = recipe.build_policy() if recipe else navigation_policy()
    adapts = recipe if recipe and recipe.inner_steps > 0 else None
    chosen = adapts.alpha if adapts else tuned_alpha(policy, theta, TUNING_SEED)
    std = round(theta["log_std"].exp().mean().item(), 4)
    reward = recipe.reward if recipe else REWARDS[0]
    for alpha in (chosen,) if adapts and adapts.name != "maml" else ALPHAS:
        result = evaluate_policy(policy, theta, alpha, TEST_SEED, reward=reward).summary()
        yield {"alpha": alpha, "chosen": alpha == chosen, "std": std} | result


def _summary(run: dict[str, Any]) -> dict[str, Any]:
    """A training run without its weights, and with its learning curve as columns."""
    curve = {key: [row[key] for row in run["history"]] for key in ("before", "after", "distance", "kl")}
    return {key: run[key] for key in ("recipe", "iteration", "wall_seconds", "device", "torch")} | {"curve": curve}


def is_policy(folder: Path) -> bool:
    """Whether a folder holds the training run of a policy."""
    return (folder / FILE).exists()


def publish_policy(folder: Path) -> dict[str, Any]:
    """Ship a trained policy with the package, with a record of its training run and its evaluation on the test goals.

    Returns the record. Raises, before the evaluation, OSError if the package's folder cannot be written, and ValueError for
    a run that differs from the package's policy of that name.
    """
    run = checkpoints.load(folder / FILE)
    recipe = PolicyRecipe(**run["recipe"])
    if recipe != POLICIES.get(recipe.name, recipe):
        raise ValueError(
            f"{folder} is not the policy {recipe.name} of the package: give its PolicyRecipe a name of its own."
        )
    name = f"{recipe.name}-{run['iteration']}"
    for ending in ("pt", "json"):
        check_writable(POLICY_FOLDER / f"{name}.{ending}", NOT_WRITABLE)
    evaluation = next(row for row in evaluate_by_alpha(run["theta"], recipe) if row["chosen"])
    record = _summary(run) | {"seed": run["seed"], "commit": run.get("commit"), "evaluation": evaluation}
    POLICY_FOLDER.mkdir(exist_ok=True)
    checkpoints.save({key: run[key] for key in ("theta", "recipe", "iteration")}, POLICY_FOLDER / f"{name}.pt")
    checkpoints.save(record, POLICY_FOLDER / f"{name}.json")
    return record
