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
from ..util.atomic_files import check_writable, folder_lock, remove_partial_files
from ..util.checks import at_least
from ..util.progress import progress
from ..util.seeding import seeded_generator
from .autotune import choose_block, choose_chunk, choose_engine, choose_workers
from .checkpoints import CHECKPOINT, CheckpointWriter, check_weights, load_training
from .interrupts import Stopped, StopRequest, catch_stop_signals
from .monitor import check_finite, check_horizon, describe_training, is_better, stop_if_diverged, validation_score
from .record import TrainingRecord, joined


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of a training run beyond its recipe.

    iterations:      meta-iterations (default: the recipe's)
    engine, chunk:   affect speed, not results ("auto" and None: chosen by `autotune`)
    precision:       recorded in the files; a resumed run has to use the same, or float32 if the device does not support it
    resume:          continue the run in the folder
    validate_every:  meta-iterations between validations
    shard:           this process's share of the tasks; only rank 0 writes files and logs
    metadata:        fields of the TrainingRecord that the caller knows: data, commit, processes
    log:             receives progress messages
    resume_hint:     how to resume, logged when the run is stopped
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
    log: Callable[[str], None] = print
    resume_hint: str | None = None

    def __post_init__(self) -> None:
        at_least(1, iterations=self.iterations, validate_every=self.validate_every, chunk_tasks=self.chunk)


def train(
    recipe: Recipe, tasks: TaskDistribution, validation: TaskDistribution, out: Path, settings: Settings = Settings()
) -> dict[str, Any]:
    """Meta-train a recipe into the folder `out` and return the final checkpoint.

    `out/checkpoint.pt` holds the state of the run (written at every validation, once a minute, and on Ctrl-C or SIGTERM,
    which raise Stopped), `checkpoint.previous.pt` the checkpoint before it, and `out/weights.pt` the theta that did best
    on the validation tasks; `out/history.json` is the TrainingRecord. A resumed run ends where an uninterrupted one does,
    to the last bit on the same machine with the same number of threads.

    Raises ValueError for a folder that holds another run and for more meta-iterations than the schedule has, OSError for a
    folder that cannot be written, and Diverged if the loss or the meta-gradient is not finite.
    """
    iterations = recipe.meta_iterations if settings.iterations is None else settings.iterations
    check_horizon(recipe, iterations)
    device, precision = settings.device, settings.precision
    execution, why = choose_execution(recipe, iterations, settings)
    update = MetaUpdate(recipe.meta_learning_rate, recipe.horizon, recipe.clip, recipe.averaging)
    generator = seeded_generator(settings.seed, device)
    trainer = MetaTrainer(recipe.build_learner(), tasks, generator, recipe.meta_batch, update=update, execution=execution)
    training = Training(recipe, trainer, validation, out, settings)
    training.begin(settings.resume)
    with folder_lock(out) if training.writes else nullcontext(True) as locked, catch_stop_signals() as stop:
        if not locked:
            raise ValueError(f"Another process is training in {out}: wait for it, or choose another --out.")
        said = f" {describe(trainer.matmul_backend, trainer.theta)}" if (device, precision) == ("cpu", "float32") else ""
        training.log(why + said)
        training.run(iterations, settings.validate_every, stop)
    return training.checkpoint()


def choose_execution(recipe: Recipe, iterations: int, settings: Settings) -> tuple[Execution, str]:
    """How to run this recipe on this machine, and one sentence that explains the choice of engine."""
    device, shard = settings.device, settings.shard
    engine, why = choose_engine(recipe, iterations, settings.engine, device)
    chunk = settings.chunk or choose_chunk(recipe, device, shard.world, engine)
    execution = Execution(
        engine=engine, precision=settings.precision, chunk=chunk, workers=choose_workers(recipe, chunk),
        block=choose_block(recipe), shard=shard,
    )  # fmt: skip
    return execution, why


class Training:
    """A training run and its state: the trainer, the record and the files."""

    def __init__(
        self, recipe: Recipe, trainer: MetaTrainer, validation: TaskDistribution, out: Path, settings: Settings
    ) -> None:
        self.recipe, self.trainer, self.validation, self.out = recipe, trainer, validation, out
        self.writes = trainer.shard.rank == 0
        self.log = settings.log if self.writes else lambda text: None
        self.writer = CheckpointWriter(out, self.log)
        self.resume_hint = settings.resume_hint or f"--resume --out {out}."
        self.record = TrainingRecord(
            recipe=recipe, seed=settings.seed, device=settings.device, precision=settings.precision,
            torch=str(torch.__version__), cpu_seconds=0.0, **settings.metadata,
        )  # fmt: skip
        self._losses: list[Tensor] = []  # since the last validation
        self._started = time.monotonic()

    def begin(self, resume: bool) -> None:
        """Create the folder, or resume the run in it."""
        if resume:
            self._resume()
        elif self.writes and any((self.out / name).exists() for name in (CHECKPOINT, "weights.pt")):
            raise ValueError(
                f"{self.out} already holds a training run: add --resume to continue it, or choose another --out."
            )
        if self.writes:
            check_writable(self.out / CHECKPOINT, "choose another --out")
        try:
            self.out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ValueError(f"{self.out} could not be created ({error.strerror}): choose another --out.") from error

    def run(self, iterations: int, validate_every: int, stop: StopRequest) -> None:
        """Train up to this meta-iteration. Raises Stopped, after a checkpoint, if a stop is requested before that."""
        if self.writes:
            remove_partial_files(self.out)
        try:
            with closing(
                progress(None, self.recipe.name, iterations, show=self.writes, initial=self.trainer.iteration)
            ) as bar:
                if self.trainer.iteration < iterations:
                    self.trainer.prepare(self.log)
                stop.deferred = True
                self._iterate(iterations, validate_every, stop, bar)
        except (KeyboardInterrupt, ConnectionError):
            self.validate_and_save() if self._is_validated() else self.save()  # files of a validation may be unwritten
            self.log(f"Stopped at meta-iteration {self.trainer.iteration:,}; resume with {self.resume_hint}")
            raise
        self.writer.finish()

    def _iterate(self, iterations: int, validate_every: int, stop: StopRequest, bar: Any) -> None:
        trainer = self.trainer
        needs_validation = trainer.iteration % validate_every == 0 or trainer.iteration == iterations
        if trainer.iteration and needs_validation and not self._is_validated():
            self.validate_and_save()  # the run was stopped during a validation, or is resumed only to end here
        while trainer.iteration < iterations:
            if trainer.shard.any(stop.number is not None):
                raise Stopped(stop.number or signal.SIGTERM)
            until_validation = validate_every - trainer.iteration % validate_every
            size = min(trainer.block, until_validation, iterations - trainer.iteration)
            before = time.process_time()
            self._losses.append(trainer.run(size, check=False))
            self.record.cpu_seconds = (self.record.cpu_seconds or 0.0) + time.process_time() - before
            check_finite(self.recipe, trainer, self._losses[-1], self.writer.last_saved, self.out)
            bar.update(size)
            if size == until_validation or trainer.iteration == iterations:
                self.validate_and_save()
                bar.set_postfix_str(describe_training(self.recipe, self.record.history[-1]), refresh=False)
            elif self.writer.is_due():
                self.save()

    def validate_and_save(self) -> None:
        """Validate, unless that is done, and save the history, the best theta and a checkpoint."""
        iteration, record = self.trainer.iteration, self.record
        if not self._is_validated():
            score, ci95 = validation_score(self.recipe, self.trainer, self.validation)
            loss = torch.cat(self._losses).mean().item() if self._losses else None
            record.history.append({"iteration": iteration, "loss": loss, "validation": score, "ci95": ci95})
            record.cpu_by_history.append(round(record.cpu_seconds or 0.0, 2))
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
        self.save(files)

    def _is_validated(self) -> bool:
        """Whether the current theta has been validated."""
        history = self.record.history
        return bool(history) and history[-1]["iteration"] == self.trainer.iteration

    def save(self, files: dict[str, Any] | None = None) -> None:
        """Save a checkpoint, after any other files, which have the record as it is then."""
        stop_if_diverged(self.recipe, self.trainer, torch.zeros(0), self.writer.last_saved, self.out)
        if files is None:
            self._update_record()
        if self.writes:
            self.writer.write({**(files or {}), CHECKPOINT: self.checkpoint()}, self.trainer.iteration)

    def _update_record(self) -> None:
        self.record.wall_seconds = round(time.monotonic() - self._started, 1)
        self.record.iterations_run = self.trainer.iteration

    def checkpoint(self) -> dict[str, Any]:
        """Everything needed to resume exactly, and the record so far."""
        losses = torch.cat(self._losses).cpu() if self._losses else torch.empty(0)
        return {**self.trainer.state(), **self.record.to_json(), "losses": losses}

    def _resume(self) -> None:
        """Load the checkpoint in the folder; raises ValueError if it belongs to another run."""
        state, path = load_training(self.out, self.log), self.out / CHECKPOINT
        saved, record = TrainingRecord.from_json(state, path), self.record
        saved.check_settings(record.settings(), path, device=record.device)
        check_weights(state["theta"], self.trainer.learner.network, path)
        self.trainer.load_state(state, path)
        record.wall_seconds, record.iterations_run = saved.wall_seconds, self.trainer.iteration
        record.history, record.best = saved.history, saved.best
        if saved.cpu_seconds is not None:
            record.cpu_seconds, record.cpu_by_history = saved.cpu_seconds, saved.cpu_by_history
        self.writer.last_saved = state["iteration"]
        self._note_change(saved)
        pending = state.get("losses", torch.empty(0)).to(self.trainer.generator.device)
        self._losses += [pending] if len(pending) else []
        self._started -= record.wall_seconds
        self.log(f"Resuming after meta-iteration {self.trainer.iteration:,}.")

    def _note_change(self, saved: TrainingRecord) -> None:
        """Record every device and precision of the run, and say so if one changes: "cuda, cpu"."""
        record = self.record
        device, precision = joined(saved.device, record.device), joined(saved.precision, record.precision)
        if device != saved.device:
            before = saved.device.split(", ")[-1]
            self.log(
                f"The run comes from {before}, whose random numbers {record.device} cannot continue: tasks are drawn anew."
            )
        if precision != saved.precision:
            self.log(f"The run was trained in {saved.precision.split(', ')[-1]} and continues in {record.precision}.")
        record.device, record.precision = device, precision
