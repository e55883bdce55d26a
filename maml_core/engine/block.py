"""Several meta-iterations as one function of tensors, so that they can be compiled as one graph without Python."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..episodes import Episodes, TaskDistribution, TasksFromNumbers
from ..maml import Learner, meta_gradient
from ..meta_update import MetaUpdate, State, meta_iteration
from ..networks import Weights


def block_of_iterations(
    learner: Learner, tasks: TaskDistribution, meta_batch: int, update: MetaUpdate
) -> Callable[[State, Any], tuple[State, Tensor]]:
    """A function (state, drawn) -> new state and mean query losses [number], one meta-iteration for each item of `drawn`.

    drawn: random numbers [number, count], from which it builds the episodes (`TasksFromNumbers`), or a list of episodes
    """
    build = tasks.build if isinstance(tasks, TasksFromNumbers) else None

    def gradient(theta: Weights, episodes: Episodes) -> tuple[Weights, Tensor]:
        return meta_gradient(learner, theta, episodes)

    def block(state: State, drawn: Any) -> tuple[State, Tensor]:
        losses = []
        for part in drawn:
            episodes = build(part, meta_batch) if build else part
            state, loss = meta_iteration(gradient, update, state, episodes)
            losses.append(loss)
        return state, torch.stack(losses)

    return block
