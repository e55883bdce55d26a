"""Meta-test: adapt to new tasks and evaluate the adapted weights, by number of inner steps.

Also, what batch norm's statistics are taken over for the queries: three ways to evaluate the same adapted weights on the
same pictures. The paper's code normalizes the query pictures together (which the paper does not mention), and with K
queries per class that batch has the same composition as the support set: the other pictures tell the network something
about each one. This is called transduction. The other two ways classify each query picture independently.
"""

import math
from collections.abc import Iterable
from dataclasses import replace

import torch
from torch import Tensor

from .engine.contract import check_fit
from .engine.matmul import choose_backend
from .engine.precision import in_precision
from .engine.workers import Workers
from .episodes import Episodes, TaskDistribution
from .maml import Learner, in_chunks, inner_loop
from .networks import Network, Weights
from .util.checks import at_least, one_of

# What batch norm's statistics are taken over.
SEES = ("query batch", "support and one query", "support")

# Numbers in the inputs of a chunk of tasks on one core: 4 or 5 tasks of Omniglot. Larger chunks leave its caches.
CHUNK_INPUTS = 160_000


def query_outputs(network: Network, phi: Weights, episodes: Episodes, sees: str = "query batch") -> Tensor:
    """The adapted network's outputs on the query pictures, [T, N*Q, N].

    phi: adapted weights [T, ...]. sees: what batch norm's statistics are taken over,
      "query batch"            all query pictures of the task, as in the paper's code
      "support and one query"  the support set and the query picture itself
      "support"                the support set only
    Raises ValueError for another `sees`, and for "support" if the network's forward has no argument `seen`.
    """
    one_of(SEES, sees=sees)
    if sees == "query batch":
        return network.forward(phi, episodes.query_x)
    if sees == "support" and network.module is not None:
        raise ValueError(
            'A module normalizes each batch as a whole, so sees="support" cannot be had: use "support and one query", or '
            "fine_tune, whose module has the support set's statistics."
        )
    support, query = episodes.support_x, episodes.query_x
    if sees == "support":
        shots = support.shape[1]
        try:
            return network.forward(phi, torch.cat([support, query], 1), seen=shots)[:, shots:]
        except TypeError as error:
            if "seen" not in str(error):
                raise
            raise ValueError(
                'sees="support" calls the network\'s forward with seen=n, the points to take statistics over, and it has '
                'no such argument: add it (see `Network`), or use sees="query batch" if it normalizes nothing over points.'
            ) from error
    outputs = []
    for i in range(len(episodes)):
        # One task at a time: each query picture forms a batch with the support set, and these batches take the task axis.
        own = {name: w if name in network.frozen else w[i] for name, w in phi.items()}
        batches = torch.cat([support[i].expand(query.shape[1], *support.shape[1:]), query[i, :, None]], 1)
        outputs.append(network.forward(own, batches)[:, -1])
    return torch.stack(outputs)


def point_scores(output: Tensor, y: Tensor) -> Tensor:
    """Each point's contribution to the reported score, [T, B]: 1 if classified correctly, or the squared error.

    For targets [T, B, ...] it is the mean squared error over the axes after B. Raises ValueError if outputs and targets
    differ in shape.
    """
    if y.is_floating_point():
        if output.shape != y.shape:
            raise ValueError(
                f"Evaluation reports the squared error, but outputs {list(output.shape)} differ in shape from targets "
                f"{list(y.shape)}."
            )
        return ((output - y) ** 2).flatten(2).mean(-1) if y.ndim > 2 else (output - y) ** 2
    return (output.argmax(-1) == y).float()


def scores_by_step(
    learner: Learner, theta: Weights, episodes: Episodes, steps: Iterable[int], sees: str = "query batch"
) -> dict[int, Tensor]:
    """Each task's mean query score after each of the given numbers of inner steps: {steps: [T]}.

    sees: what batch norm's statistics are taken over for the queries (`query_outputs`).
    """
    steps = sorted(set(steps))
    if not steps:
        raise ValueError("steps must contain at least one number of inner steps.")
    at_least(0, steps=steps[0])
    scores = {}
    after = inner_loop(learner, theta, episodes.support_x, episodes.support_y)
    for step, phi in zip(range(steps[-1] + 1), after):
        if step in steps:
            output = query_outputs(learner.network, phi, episodes, sees)
            scores[step] = point_scores(output, episodes.query_y).mean(-1)
    return scores


@torch.no_grad()
def evaluate(
    learner: Learner,
    theta: Weights,
    tasks: TaskDistribution,
    steps: Iterable[int],
    generator: torch.Generator,
    test_tasks: int = 600,
    batch: int = 25,
    sees: str = "query batch",
    matmul_backend: str = "auto",
    workers: int | None = None,
) -> dict[int, Tensor]:
    """Scores of `test_tasks` new tasks, {steps: [test_tasks]}: accuracy (classification) or mean squared error.

    The type of the targets decides which: for floats it is always the squared error of the network's outputs as they are,
    whatever the loss does with them, such as taking their sigmoid.
    batch: tasks drawn and adapted at a time, which limits memory use; with the generator it determines which tasks are
    drawn.
    sees: what batch norm's statistics are taken over for the queries (`query_outputs`).
    matmul_backend: for its matrix products on a CPU (`engine.matmul`); they are float32 on every device.
    workers: chunks of tasks that a CPU computes side by side (`engine.workers`), by default one per core. They call the
    network's functions from several threads at a time; a module's are called from one.
    Raises ValueError if network, loss and task distribution do not fit together (`contract`), and under
    `torch.inference_mode` if the learner takes gradients.
    """
    if test_tasks < 2:
        raise ValueError(f"test_tasks must be at least 2 for a confidence interval, not {test_tasks}.")
    at_least(1, batch=batch, workers=workers)
    steps, learner = list(steps), replace(learner, network=learner.network.at_test())
    device = next(iter(theta.values())).device

    def scores(part: Episodes) -> dict[int, Tensor]:
        with torch.no_grad():  # which holds for one thread only
            return scores_by_step(learner, theta, part, steps, sees)

    parts, chunk, side_by_side = [], batch, Workers(1)
    with in_precision("float32", device, choose_backend(device.type, matmul_backend, theta)):
        for start in range(0, test_tasks, batch):
            episodes = tasks.sample(min(batch, test_tasks - start), generator)
            if start == 0:
                check_fit(learner, theta, episodes, min(batch, test_tasks))
                if device.type == "cpu":
                    chunk = _choose_chunk(episodes)
                    side_by_side = Workers(1 if learner.network.module else math.ceil(len(episodes) / chunk), workers)
            parts += side_by_side.map(scores, in_chunks(episodes, chunk))
    return {step: torch.cat([part[step] for part in parts]).cpu() for step in parts[0]}


def _choose_chunk(episodes: Episodes) -> int:
    """Tasks per chunk on a CPU: what fits the caches of one core, with chunks for all cores; small tasks stay together."""
    fits = CHUNK_INPUTS // (episodes.support_x[0].numel() + episodes.query_x[0].numel())
    return fits if fits >= len(episodes) else max(1, min(fits, len(episodes) // torch.get_num_threads()))


def mean_and_ci95(scores: Tensor) -> tuple[float, float]:
    """The mean over tasks and the half-width of its 95% interval, 1.96 * sd / sqrt(n), as in the paper's code."""
    scores = scores.double()
    return scores.mean().item(), 1.96 * scores.std(correction=0).item() / len(scores) ** 0.5
