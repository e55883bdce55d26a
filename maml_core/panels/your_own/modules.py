"""Three ordinary modules on waves; `python -m maml_core.panels.your_own.modules` trains the weights that are shipped."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from ...engine import MetaTrainer
from ...fine_tuning import load_weights, save_weights
from ...maml import Learner
from ...meta_update import MetaUpdate
from ...networks import Network, Weights
from ...tasks.sinusoid import SinusoidTasks
from ...training.interactive import meta_train
from ...util.seeding import seeded_generator, torch_seeded_by

FOLDER = Path(__file__).parents[2] / "trained" / "modules"
ITERATIONS, META_BATCH, LEARNING_RATE, ALPHA, SHOTS = 1000, 25, 0.01, 0.02, 10

# Each maps x [B, 1] to predictions [B]. The first layer of the other two makes a signal or tokens of the number x.
MODULES: dict[str, Callable[[], nn.Module]] = {
    "MLP": lambda: nn.Sequential(
        nn.Linear(1, 40), nn.Tanh(), nn.Linear(40, 40), nn.Tanh(), nn.Linear(40, 1), nn.Flatten(0)
    ),
    "conv net": lambda: nn.Sequential(
        nn.Linear(1, 32), nn.Tanh(), nn.Unflatten(1, (1, 32)), nn.Conv1d(1, 8, 5, stride=2, padding=2), nn.Tanh(),
        nn.Flatten(), nn.Linear(128, 1), nn.Flatten(0),
    ),
    "transformer": lambda: nn.Sequential(
        nn.Linear(1, 64), nn.Tanh(), nn.Unflatten(1, (4, 16)),
        nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True),
        nn.Flatten(), nn.Linear(64, 1), nn.Flatten(0),
    ),
}  # fmt: skip


def build_learner(name: str) -> Learner:
    """One of MODULES with fresh weights, always the same, and the inner loop that it is trained with."""
    with torch_seeded_by(seeded_generator(0)):  # torch.nn draws initial weights from the global generator
        module = MODULES[name]()
    return Learner(Network.from_module(module, nn.MSELoss()), ALPHA)


def load_modules() -> dict[str, tuple[Learner, Weights]]:
    """Each of MODULES with its shipped theta, by name."""
    learners = {name: build_learner(name) for name in MODULES}
    return {name: (learner, load_weights(learner.network, _file(name))) for name, learner in learners.items()}


def train(name: str, iterations: int = ITERATIONS) -> MetaTrainer:
    """Meta-train one of MODULES on 10-shot waves, with a progress bar."""
    update = MetaUpdate(learning_rate=LEARNING_RATE)
    trainer = MetaTrainer(build_learner(name), SinusoidTasks(SHOTS), seeded_generator(0), META_BATCH, update=update)
    meta_train(trainer, iterations)
    return trainer


def _file(name: str) -> Path:
    return FOLDER / f"{name.replace(' ', '-').lower()}.pt"


def main() -> None:
    """Train all of MODULES and write their weights."""
    torch.set_num_threads(1)
    FOLDER.mkdir(exist_ok=True)
    for name in MODULES:
        trainer = train(name)
        save_weights(trainer.learner.network, trainer.theta, _file(name))


if __name__ == "__main__":
    main()
