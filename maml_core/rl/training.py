"""Algorithm 3: sample, adapt, sample again, and update theta so that the adapted policies' returns increase."""

import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..maml import stack
from ..networks import Weights
from ..training import checkpoints
from ..util.atomic_files import check_writable
from ..util.checks import at_least, one_of, positive
from ..util.progress import progress
from ..util.seeding import seeded_generator, set_generator_state
from .navigation import REWARDS, Trajectories, draw_goals, draw_noise, final_distances
from .policy import Policy, navigation_policy
from .reinforce import adapt, as_batch
from .trpo import Objective, Report, trpo_step

FILE = "policy.pt"
SAVE_EVERY = 10  # meta-iterations


@dataclass(frozen=True)
class PolicyRecipe:
    """Everything but the seed that determines a training run on 2-D navigation (section 5.3 and appendix A.2).

    alpha:            size of an inner step
    inner_steps:      inner steps in training; 0 trains one policy for all goals, the paper's pretraining
    trajectories:     per task, before each step and after the last
    meta_batch:       T, goals per meta-iteration
    meta_iterations:  length of training: 100 in the authors' script, "up to 500" in the paper
    first_order:      treat the inner gradient as a constant
    reward:           minus the "squared distance" to the goal, as in the paper's text, or the "distance", as in its code
    context:          inputs beside the position that adapt alone (`navigation_policy`); 0: none, and every weight adapts
    """

    name: str
    alpha: float = 0.1
    inner_steps: int = 1
    trajectories: int = 20
    meta_batch: int = 20
    meta_iterations: int = 100
    first_order: bool = False
    reward: str = "squared distance"
    context: int = 0

    def __post_init__(self) -> None:
        positive(alpha=self.alpha)
        one_of(REWARDS, reward=self.reward)
        at_least(0, inner_steps=self.inner_steps, context=self.context)
        at_least(1, meta_batch=self.meta_batch, meta_iterations=self.meta_iterations)
        at_least(2, trajectories=self.trajectories)

    def build_policy(self) -> Policy:
        return navigation_policy(context=self.context)


POLICIES = {
    recipe.name: recipe
    for recipe in (
        PolicyRecipe("maml"),
        PolicyRecipe("pretrained", inner_steps=0),
        PolicyRecipe("first-order", first_order=True),
        PolicyRecipe("maml-distance", reward="distance"),
        # The paper's Table 4. It does not say how many numbers its context vector has: these are more than a goal's two.
        PolicyRecipe("context-distance", reward="distance", context=5),
    )
}


def sample(
    policy: Policy, theta: Weights, recipe: PolicyRecipe, generator: torch.Generator
) -> tuple[list[Trajectories], Tensor]:
    """Lines 3 to 8 for a meta-batch: the trajectories before each inner step and after the last, and the goals [T, 2]."""
    tasks, steps = recipe.meta_batch, recipe.inner_steps
    goals = draw_goals(tasks, generator)
    noises = [draw_noise(tasks, recipe.trajectories, generator) for _ in range(steps + 1)]
    return adapt(policy, stack(policy, theta, tasks), goals, noises, [recipe.alpha] * steps, recipe.reward)[0], goals


def meta_iteration(
    policy: Policy, theta: Weights, recipe: PolicyRecipe, generator: torch.Generator
) -> tuple[Weights, dict[str, Any]]:
    """One meta-iteration: the new theta, and mean returns before and after adaptation, final distance and KL."""
    seen, goals = sample(policy, theta, recipe, generator)
    *inner, outer = (as_batch(trajectories) for trajectories in seen)
    objective = Objective(policy, theta, inner, outer, recipe.alpha, recipe.first_order)
    theta, report = trpo_step(objective)
    return theta, _summary(seen, goals, report)


def _summary(seen: list[Trajectories], goals: Tensor, report: Report) -> dict[str, Any]:
    before, after = (seen[place].returns().mean().item() for place in (0, -1))
    distance = final_distances(seen[-1], goals).mean().item()
    return {"before": round(before, 3), "after": round(after, 3), "distance": round(distance, 4),
            "kl": round(report.kl, 5), "tries": report.tries}  # fmt: skip


def train_policy(
    recipe: PolicyRecipe,
    out: Path,
    iterations: int | None = None,
    seed: int = 0,
    device: str = "cpu",
    metadata: dict[str, Any] | None = None,
    log: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Train into `out`/policy.pt, continuing a run of the same recipe and seed if there is one.

    The file is saved every SAVE_EVERY meta-iterations: an interrupt loses no more than that, and a resumed run gives the
    same result as an uninterrupted one. Returns the file's content: theta and the record of the run. Raises ValueError if
    the folder holds a different run.
    """
    iterations = recipe.meta_iterations if iterations is None else iterations
    at_least(1, iterations=iterations)
    policy, generator, path = recipe.build_policy(), seeded_generator(seed, device), out / FILE
    record: dict[str, Any] = {
        "theta": policy.init(generator), "recipe": asdict(recipe), "iteration": 0, "seed": seed, "device": device,
        "torch": str(torch.__version__), "wall_seconds": 0.0, "history": [], **(metadata or {}),
    }  # fmt: skip
    if path.exists():
        saved = checkpoints.load(path)
        if (PolicyRecipe(**saved["recipe"]), saved.get("seed")) != (recipe, seed):
            raise ValueError(f"{path} belongs to another recipe or seed: choose another --out, or move it away.")
        if saved["iteration"] > iterations:
            raise ValueError(
                f"{path} is already at meta-iteration {saved['iteration']:,}, past the {iterations:,} requested: move it "
                "away, or request at least as many --iterations."
            )
        record |= saved
        record["theta"] = {name: w.to(device) for name, w in saved["theta"].items()}
        set_generator_state(generator, saved["generator"], saved["iteration"])
        log(f"{path}: continuing after meta-iteration {record['iteration']:,}.")
    check_writable(path, "choose another --out")
    out.mkdir(parents=True, exist_ok=True)
    started = time.monotonic() - record["wall_seconds"]
    for iteration in _remaining(recipe.name, record["iteration"], iterations):
        record["theta"], row = meta_iteration(policy, record["theta"], recipe, generator)
        record["history"].append({"iteration": iteration} | row)
        record |= {"iteration": iteration, "wall_seconds": round(time.monotonic() - started, 1)}
        if iteration % SAVE_EVERY == 0 or iteration == iterations:
            checkpoints.save(record | {"generator": generator.get_state()}, path)
    return record


def _remaining(name: str, done: int, iterations: int) -> Iterable[int]:
    """The remaining meta-iterations, with a progress bar."""
    return progress(range(done + 1, iterations + 1), name, iterations, initial=done)
