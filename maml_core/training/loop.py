"""Meta-training: Algorithm 2's outer loop, with validation, checkpoints and a progress bar."""

import signal
import time
from collections.abc import Callable, Mapping
from contextlib import closing, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..engine.distributed import Shard
from ..engine.execution import Execution
from ..engine.matmul import describe
from ..engine.trainer import MetaTrainer
from ..episodes import TaskDistribution
from ..meta_update import MetaUpdate
from ..recipes import Recipe
from ..util.atomic_files import check_writable, remove_parts, sole_user
from ..util.checks import at_least
from ..util.progress import progress
from ..util.seeding import seeded_generator
from .autotune import choose_block, choose_chunk, choose_engine
from .checkpoints import CHECKPOINT, Keeper, check_weights, load_training
from .interrupts import Stopped, Wish, wish_to_stop
from .monitor import check_finite, describe_training, is_better, validation_score
from .record import TrainingRecord


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How long a recipe is trained, on what, and who hears of it.

    iterations:      meta-iterations, by default the recipe's
    engine, chunk:   change how fast it goes, not what is learned ("auto" and None: as `autotune` chooses)
    precision:       is noted in the files, and a training is resumed with its own
    resume:          go on with the training in the folder
    validate_every:  meta-iterations between validations
    shard:           of several processes all train, and the first one writes and speaks
    metadata:        fields of the TrainingRecord that the caller knows: data, commit, processes
    say:             hears what there is to tell
    again:           how to go on, said when the training is stopped
    """

    iterations: int | None = None
    seed: int = 0
    device: str = "cpu"
    engine: str = "auto"
    chunk: int | None = None
    precision: str = "float32"
    resume: bool = False
    validate_every: int = 1000
    shard: Shard = Shard()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    say: Callable[[str], None] = print
    again: str | None = None

    def __post_init__(self) -> None:
        at_least(1, iterations=self.iterations, validate_every=self.validate_every, chunk_tasks=self.chunk)


def train(
    recipe: Recipe, tasks: TaskDistribution, validation: TaskDistribution, out: Path, settings: Settings = Settings()
) -> dict[str, Any]:
    """Meta-train a recipe into the folder `out` and return the final checkpoint.

    `out/checkpoint.pt` holds the training as it stands (written at every validation, once a minute, and on Ctrl-C or
    SIGTERM, which raise Stopped), `checkpoint.previous.pt` the one before, and `out/weights.pt` the theta that did best
    on the validation tasks; `out/history.json` is the TrainingRecord. A resumed training ends where an uninterrupted
    one does, to the last bit on the same machine with as many threads.

    Raises ValueError for a folder that holds another training, OSError for one that cannot be written, and Diverged when
    the meta-gradient is not finite.
    """
    iterations = recipe.meta_iterations if settings.iterations is None else settings.iterations
    device, precision = settings.device, settings.precision
    execution, why = choose_execution(recipe, iterations, settings)
    update = MetaUpdate(recipe.meta_learning_rate, recipe.horizon, recipe.clip, recipe.averaging)
    generator = seeded_generator(settings.seed, device)
    trainer = MetaTrainer(recipe.build_learner(), tasks, generator, recipe.meta_batch, update=update, execution=execution)
    training = Training(recipe, trainer, validation, out, settings)
    training.begin(settings.resume)
    with sole_user(out) if training.writes else nullcontext(True) as free, wish_to_stop() as wish:
        if not free:
            raise ValueError(f"Another process is training in {out}: wait for it, or choose another --out.")
        training.say(f"{why} {describe(trainer.matmul_backend)}" if device == "cpu" and precision == "float32" else why)
        training.run(iterations, settings.validate_every, wish)
    return training.content()


def choose_execution(recipe: Recipe, iterations: int, settings: Settings) -> tuple[Execution, str]:
    """How this recipe is run on this machine, and a sentence that says why."""
    device, shard = settings.device, settings.shard
    engine, why = choose_engine(recipe, iterations, settings.engine, device)
    chunk = settings.chunk or choose_chunk(recipe, device, shard.world, engine)
    block = choose_block(recipe)
    return Execution(engine=engine, precision=settings.precision, chunk=chunk, block=block, shard=shard), why


class Training:
    """A trainer on its way, and what is known of it: its files, its history, its best theta."""

    def __init__(
        self, recipe: Recipe, trainer: MetaTrainer, validation: TaskDistribution, out: Path, settings: Settings
    ) -> None:
        self.recipe, self.trainer, self.validation, self.out = recipe, trainer, validation, out
        self.writes = trainer.shard.rank == 0
        self.say = settings.say if self.writes else lambda text: None
        self.keeper = Keeper(out, self.say)
        self.again = settings.again or f"--resume --out {out}."
        self.record = TrainingRecord(
            recipe=recipe, seed=settings.seed, device=settings.device, precision=settings.precision,
            torch=str(torch.__version__), cpu_seconds=0.0, **settings.metadata,
        )  # fmt: skip
        self._losses: list[Tensor] = []  # since the last validation
        self._started = time.monotonic()

    def begin(self, resume: bool) -> None:
        """Make the folder, or go on from what is in it."""
        if resume:
            self._resume()
        elif self.writes and any((self.out / name).exists() for name in (CHECKPOINT, "weights.pt")):
            raise ValueError(
                f"{self.out} already holds a training: add --resume to go on with it, or choose another --out."
            )
        if self.writes:
            check_writable(self.out / CHECKPOINT, "choose another --out")
        try:
            self.out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ValueError(f"{self.out} cannot be made a folder ({error.strerror}): choose another --out.") from error

    def run(self, iterations: int, validate_every: int, wish: Wish) -> None:
        """Meta-iterations up to this number, unless somebody wishes to stop."""
        if self.writes:
            remove_parts(self.out)
        try:
            with closing(
                progress(None, self.recipe.name, iterations, show=self.writes, initial=self.trainer.iteration)
            ) as bar:
                if self.trainer.iteration < iterations:
                    self.trainer.prepare(self.say)
                wish.gently = True
                self._iterate(iterations, validate_every, wish, bar)
        except (KeyboardInterrupt, ConnectionError):
            self.note() if self._is_noted() else self.keep()  # a note may have been cut off in the writing
            self.say(f"Stopped at meta-iteration {self.trainer.iteration:,}; go on with {self.again}")
            raise
        self.keeper.finish()

    def _iterate(self, iterations: int, validate_every: int, wish: Wish, bar: Any) -> None:
        trainer = self.trainer
        validates = trainer.iteration % validate_every == 0 or trainer.iteration == iterations
        if trainer.iteration and validates and not self._is_noted():
            self.note()  # the training was stopped while it validated, or ends where it was stopped
        while trainer.iteration < iterations:
            if trainer.shard.any(wish.number is not None):
                raise Stopped(wish.number or signal.SIGTERM)
            until_note = validate_every - trainer.iteration % validate_every
            size = min(trainer.block, until_note, iterations - trainer.iteration)
            before = time.process_time()
            self._losses.append(trainer.run(size))
            self.record.cpu_seconds += time.process_time() - before
            check_finite(self.recipe, trainer, self._losses[-1], self.keeper.written, self.out)
            bar.update(size)
            if size == until_note or trainer.iteration == iterations:
                self.note()
                bar.set_postfix_str(describe_training(self.recipe, self.record.history[-1]), refresh=False)
            elif self.keeper.is_due():
                self.keep()

    def note(self) -> None:
        """Validate, remember the best theta, and write everything down."""
        iteration, record = self.trainer.iteration, self.record
        if not self._is_noted():
            score, ci95 = validation_score(self.recipe, self.trainer, self.validation)
            loss = torch.cat(self._losses).mean().item() if self._losses else None
            record.history.append({"iteration": iteration, "loss": loss, "validation": score, "ci95": ci95})
            record.cpu_by_history.append(round(record.cpu_seconds, 2))
            self._losses.clear()
        row, best = record.history[-1], record.best
        is_best = best is None or best["iteration"] == iteration or is_better(self.recipe, row, best)
        if is_best:
            record.best = {key: row[key] for key in ("iteration", "validation", "ci95")}
        self._update_record()
        files = {"history.json": record.to_json()}
        if is_best:
            theta = {name: w.clone() for name, w in self.trainer.averaged_theta.items()}
            files["weights.pt"] = {**record.to_json(), "theta": theta, "iteration": iteration}
        self.keep(files)

    def _is_noted(self) -> bool:
        """Whether the last validation was of theta as it is now."""
        history = self.record.history
        return bool(history) and history[-1]["iteration"] == self.trainer.iteration

    def keep(self, files: dict[str, Any] | None = None) -> None:
        """Write the training down as it stands, and other files before it."""
        self._update_record()
        if self.writes:
            self.keeper.write({**(files or {}), CHECKPOINT: self.content()}, self.trainer.iteration)

    def _update_record(self) -> None:
        self.record.wall_seconds = round(time.monotonic() - self._started, 1)
        self.record.iterations_run = self.trainer.iteration

    def content(self) -> dict[str, Any]:
        """All that is needed to go on as if nothing had happened, and the record so far."""
        losses = torch.cat(self._losses).cpu() if self._losses else torch.empty(0)
        return {**self.trainer.state(), **self.record.to_json(), "losses": losses}

    def _resume(self) -> None:
        """Go on from the checkpoint in the folder; ValueError where it is of another training."""
        state, path = load_training(self.out, self.say), self.out / CHECKPOINT
        kept, record = TrainingRecord.from_json(state, path), self.record
        kept.check_settings(record.settings(), path)
        check_weights(state["theta"], self.trainer.learner.network, path)
        self.trainer.load_state(state)
        record.wall_seconds, record.iterations_run = kept.wall_seconds, self.trainer.iteration
        record.history, record.best = kept.history, kept.best
        if kept.cpu_seconds is not None:
            record.cpu_seconds, record.cpu_by_history = kept.cpu_seconds, kept.cpu_by_history
        self.keeper.written = state["iteration"]
        pending = state.get("losses", torch.empty(0)).to(self.trainer.generator.device)
        self._losses += [pending] if len(pending) else []
        self._started -= record.wall_seconds
        self.say(f"Going on after meta-iteration {self.trainer.iteration:,}.")
