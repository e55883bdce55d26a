"""Meta-test: new goals, up to three policy gradient steps, and the return before and after each (the paper's Figure 4)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ..evaluation import mean_and_ci95
from ..maml import stack
from ..networks import Weights
from ..util.checks import at_least
from ..util.seeding import seeded_generator
from .navigation import draw_goals, draw_noise, final_distances
from .policy import Policy
from .reinforce import adapt

TEST_GOALS = 40
TEST_TRAJECTORIES = 40  # per step: twice as many as in training, as in section 5.3
STEPS = 3
# Candidates for the baselines, whose step sizes the paper also tunes by hand (appendix A.2).
ALPHAS = (0.02, 0.05, 0.1, 0.2, 0.4, 1.0)


@dataclass(frozen=True)
class Scores:
    """Returns and final distances by number of steps and goal, means over a goal's trajectories: [steps + 1, T]."""

    returns: Tensor
    distances: Tensor

    def summary(self) -> dict[str, list[float]]:
        """Mean return and mean final distance after 0, 1, 2 ... steps, with 95% intervals over goals."""
        scores = {"return": self.returns, "distance": self.distances}
        summaries = {name: [mean_and_ci95(goals) for goals in by_step] for name, by_step in scores.items()}
        return {
            f"{name}{suffix}": [round(pair[place], 4) for pair in pairs]
            for name, pairs in summaries.items()
            for place, suffix in enumerate(("", "_ci95"))
        }


def halved(alpha: float, steps: int) -> list[float]:
    """alpha for the first step and alpha / 2 for the others, as at test time in appendix A.2."""
    return [alpha if number == 0 else alpha / 2 for number in range(steps)]


def evaluate_policy(
    policy: Policy, theta: Weights, alpha: float, seed: int = 0, steps: int = STEPS, goals: int = TEST_GOALS,
    trajectories: int = TEST_TRAJECTORIES, reward: str = "squared distance",
) -> Scores:  # fmt: skip
    """Adapt to new goals. The seed determines goals and noise, so that policies are compared on the same ones.

    reward: what the policy adapts to and is judged by (`navigation.REWARDS`)
    """
    at_least(2, goals=goals, trajectories=trajectories)
    generator = seeded_generator(seed, next(iter(theta.values())).device)
    places = draw_goals(goals, generator)
    noises = [draw_noise(goals, trajectories, generator) for _ in range(steps + 1)]
    seen, _ = adapt(policy, stack(policy, theta, goals), places, noises, halved(alpha, steps), reward)
    returns = torch.stack([trajectories.returns().mean(1) for trajectories in seen])
    distances = torch.stack([final_distances(trajectories, places).mean(1) for trajectories in seen])
    return Scores(returns.cpu(), distances.cpu())


def tuned_alpha(policy: Policy, theta: Weights, seed: int, goals: int = TEST_GOALS // 2) -> float:
    """The candidate in ALPHAS with the highest mean return after 1, 2 and 3 steps, on goals used only for this choice."""

    def score(alpha: float) -> float:
        return evaluate_policy(policy, theta, alpha, seed, goals=goals).returns[1:].mean().nan_to_num(-1e9).item()

    return max(ALPHAS, key=score)
