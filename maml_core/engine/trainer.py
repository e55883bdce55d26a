"""The engines that run a meta-iteration (`meta_update.meta_iteration`), Algorithm 2 from line 3 to line 10:

eager      operator by operator
compiled   as one graph without Python: whole meta-iterations, several per call, if the meta-batch is a single chunk;
           otherwise the gradient of one chunk
graph      on a GPU: the whole meta-iteration, sampling and Adam included, is captured as a CUDA graph and replayed
"""

import math
import time
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..episodes import Episodes, TaskDistribution, TasksFromNumbers
from ..maml import Learner, in_chunks, mean_over_tasks
from ..meta_update import MetaUpdate, State, meta_iteration
from ..networks import Weights
from ..util.checks import at_least
from ..util.seeding import torch_seeded_by
from .block import block_of_iterations
from .compiling import NO_COMPILER, CompilationFailed, capture, compile_whole, first_line, has_compiler
from .contract import check_training, initial_weights
from .divergence import check_finite
from .execution import Execution
from .matmul import choose_backend
from .precision import in_bf16, in_precision
from .snapshot import restore, snapshot
from .workers import Workers


class MetaTrainer:
    """Meta-training step by step: `trainer = MetaTrainer(learner, tasks, generator, 25)`, then `trainer.step()`.

    tasks:       any object with `sample(tasks, generator) -> Episodes`. If it also has `count(tasks) -> int` and
                 `build(numbers, tasks) -> Episodes` (see `SinusoidTasks`), it is sampled inside the compiled graph
    meta_batch:  T, tasks per meta-iteration
    update:      how theta is updated: learning rate, schedule, clipping, averaging
    execution:   how meta-iterations are executed: engine, precision, chunks, processes

    The first meta-iteration raises ValueError if network, loss and task distribution do not fit together (`contract`).
    """

    def __init__(
        self,
        learner: Learner,
        tasks: TaskDistribution,
        generator: torch.Generator,
        meta_batch: int,
        *,
        update: MetaUpdate = MetaUpdate(),
        execution: Execution = Execution(),
    ) -> None:
        execution.check(generator.device.type, meta_batch)
        engine, shard, chunk = execution.engine, execution.shard, execution.chunk
        self.learner, self.tasks, self.generator, self.meta_batch = learner, tasks, generator, meta_batch
        self.update, self.precision, self.shard = update, execution.precision, shard
        self.chunk = chunk if chunk and chunk < meta_batch // shard.world else None
        self._state = update.start(initial_weights(learner.network, generator))
        self.matmul_backend = choose_backend(generator.device.type, execution.matmul_backend, self.theta)
        if engine == "compiled" and not self._on_gpu and not has_compiler():
            warnings.warn(NO_COMPILER, stacklevel=2)
            engine = "eager"
        self._checked = False
        self._most_workers = execution.workers
        self._set_engine(engine, 1 if learner.network.draws_random else execution.block)

    @property
    def theta(self) -> Weights:
        """The meta-learned weights. The engine "graph" overwrites them: clone what you keep."""
        return self._state.theta

    @property
    def averaged_theta(self) -> Weights:
        """The weights to validate and ship: the running average of theta, or theta itself if there is none."""
        return self._state.average or self._state.theta

    @property
    def iteration(self) -> int:
        return self._state.iteration

    def step(self) -> Tensor:
        """One meta-iteration; returns the mean query loss after adaptation, a scalar on the device."""
        return self.run(1)[0]

    def run(self, iterations: int, *, check: bool = True) -> Tensor:
        """Run this many meta-iterations; returns their mean query losses [iterations], still on the device.

        check: on a CPU, raise Diverged at the first loss or meta-gradient that is not finite, and leave the trainer as it
        was before that meta-iteration. A GPU, which each look at a number would hold up, is not checked
        """
        at_least(1, iterations=iterations)
        losses, left = [], iterations
        while left:
            size = self.block if left >= self.block else 1
            try:
                losses.append(self._advance(size, check and not self._on_gpu))
            except CompilationFailed as error:  # nothing has been drawn; an error in the learner is raised again by eager
                if self.engine != "compiled":
                    raise
                warnings.warn(self._fall_back(error), stacklevel=2)
                continue
            left -= size
        return torch.cat(losses)

    def gradient(self, theta: Weights, episodes: Episodes) -> tuple[Weights, Tensor]:
        """The meta-gradient at theta, a mean over tasks, and the tasks' query losses [T]."""

        def of_chunk(part: Episodes) -> tuple[Weights, Tensor]:
            with in_bf16(self.precision == "bf16", self.generator.device):
                return self._gradient_of_sum(theta, part)

        with self._in_precision():
            parts = self._workers.map(of_chunk, in_chunks(self.shard.part(episodes), self.chunk))
        return self.shard.average(*mean_over_tasks(parts))

    def prepare(self, log: Callable[[str], None] = print) -> None:
        """Compile or capture now instead of at the first step, and log how long it took; fall back to eager if it fails."""
        if self.engine == "eager":
            return
        state, started = self.state(), time.monotonic()
        try:
            self._advance(self.block)
            log(f"The {self.engine} engine was ready after {time.monotonic() - started:.0f} s.")
        except (RuntimeError, OSError) as error:  # torch's, if the compiler or the driver fails
            log(self._fall_back(error))
        finally:
            self.load_state(state)

    def _fall_back(self, error: Exception) -> str:
        """Switch to the eager engine; returns a sentence that says why."""
        self._set_engine("eager")
        return f"Engine: eager, since {'graph capture' if self._on_gpu else 'compilation'} failed: {first_line(error)}"

    def state(self) -> dict[str, Any]:
        """A copy of everything needed to continue exactly where training stands."""
        return snapshot(self._state, self.generator) | {"products": self.matmul_backend}

    def load_state(self, state: dict[str, Any], source: Path | str = "The state") -> None:
        """Continue from what `state` returned. A captured CUDA graph's tensors are overwritten, others stay as they are.

        source: of the state, for messages. Raises ValueError, and loads nothing, if weights, Adam's moments or the running
        average differ from this trainer's in names or shapes, or if something is missing.
        """
        requested = state.get("products", "mkl")  # checkpoints without the key are older than the choice
        backend = choose_backend(self.generator.device.type, requested, self.theta)
        self._state = restore(self._state, self.generator, state, source, in_place=self._replay is not None)
        self.matmul_backend = backend

    # Choosing and running an engine.

    def _in_precision(self) -> AbstractContextManager[None]:
        return in_precision(self.precision, self.generator.device, self.matmul_backend)

    @property
    def _on_gpu(self) -> bool:
        return self.generator.device.type == "cuda"

    def _set_engine(self, engine: str, block: int = 1) -> None:
        learner = self.learner

        def gradient(theta: Weights, episodes: Episodes) -> tuple[Weights, Tensor]:
            return learner.gradient_of_sum(theta, episodes)

        self.engine, self.block = engine, 1
        self._replay: Callable[[], Tensor] | None = None
        self._compiled_block: Callable[..., tuple[State, Tensor]] | None = None
        self._gradient_of_sum = gradient
        device = self.generator.device.type
        chunks = math.ceil(self.meta_batch // self.shard.world / self.chunk) if self.chunk else 1
        # Side by side only on a CPU, and not where chunks share state: a stream of random numbers, whose order has to stay
        # the same, or a module, into which torch puts the weights at each call (a compiled graph no longer has a module).
        network = learner.network
        shared = network.draws_random or (network.module is not None and engine == "eager")
        self._workers = Workers(1 if self._on_gpu or shared else chunks, self._most_workers)
        if engine == "compiled" and self.chunk is None and self.shard.world == 1:
            iterations = block_of_iterations(learner, self.tasks, self.meta_batch, self.update)
            self.block, self._compiled_block = block, compile_whole(iterations, device)
        elif engine in ("compiled", "graph"):
            self._gradient_of_sum = compile_whole(gradient, device, self._workers.threads_each)

    def _advance(self, size: int, check: bool = False) -> Tensor:
        """Run `size` meta-iterations atomically: an interrupt restores the generator, so resuming draws the same tasks.

        check: raise Diverged if losses or theta are not finite
        """
        old, drawn = self._state, self.generator.get_state()
        try:
            with torch_seeded_by(self.generator, self.shard.rank, self.learner.network.draws_random, old.iteration):
                if self.engine == "graph":
                    return self._advance_graph()
                if self._compiled_block and size == self.block:
                    with self._in_precision():  # always from iteration 0: any other number would trigger a recompilation
                        state, losses = self._compiled_block(replace(old, iteration=0), self._draw(size))
                    state = replace(state, iteration=old.iteration + size)
                else:
                    episodes = self._check_first(self.tasks.sample(self.meta_batch, self.generator))
                    state, loss = meta_iteration(self.gradient, self.update, old, episodes)
                    losses = loss[None]
            if check:
                check_finite(losses, state.theta, state.iteration, self.learner.alpha)
            self._state = state
            return losses
        except BaseException:
            if self._state is old:
                self.generator.set_state(drawn)
            raise

    def _draw(self, size: int) -> Tensor | list[Episodes]:
        """Draw `size` meta-batches: as random numbers [size, count] from which the graph builds them, or as episodes."""
        if isinstance(self.tasks, TasksFromNumbers):
            shape = (size, self.tasks.count(self.meta_batch))
            numbers = torch.rand(shape, generator=self.generator, device=self.generator.device)
            if not self._checked:
                self._check_first(self.tasks.build(numbers[0], self.meta_batch))
            return numbers
        return [self._check_first(self.tasks.sample(self.meta_batch, self.generator)) for _ in range(size)]

    def _check_first(self, episodes: Episodes) -> Episodes:
        """Return the meta-batch unchanged; raise ValueError if it is the first one and does not fit the learner."""
        if not self._checked:
            check_training(self.learner, self.theta, episodes, self.meta_batch)
            self._checked = True
        return episodes

    # CUDA graphs: all tensors keep their addresses.

    def advance_in_place(self) -> Tensor:
        """One meta-iteration that updates theta and moments in place, with no device-to-host synchronization: [1]."""
        episodes = self.tasks.sample(self.meta_batch, self.generator)
        state, loss = meta_iteration(self.gradient, self.update, self._state, episodes)
        for ours, new in zip(self._state.tensors(), state.tensors(), strict=True):
            ours.copy_(new)
        return loss[None]

    def _advance_graph(self) -> Tensor:
        if self._replay is None:
            before = self.state()
            self._check_first(self.tasks.sample(self.meta_batch, self.generator))
            self._replay = capture(self.advance_in_place, self.generator)
            self.load_state(before)
        loss = self._replay().clone()
        self._state = replace(self._state, iteration=self.iteration + 1)
        return loss
