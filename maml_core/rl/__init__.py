"""Reinforcement learning (Algorithm 3) on the paper's smallest problem, 2-D navigation.

policy -> navigation (the environment) -> baseline (advantages) -> reinforce (the inner step) -> trpo (the outer step) ->
training -> evaluation.
"""

from .navigation import Trajectories, draw_goals, draw_noise, roll_out
from .policy import navigation_policy
from .reinforce import adapt, as_batch, policy_loss, policy_step
from .training import POLICIES, PolicyRecipe, meta_iteration, train_policy

__all__ = [
    "POLICIES", "PolicyRecipe", "Trajectories", "adapt", "as_batch", "draw_goals", "draw_noise", "meta_iteration",
    "navigation_policy", "policy_loss", "policy_step", "roll_out", "train_policy",
]  # fmt: skip
