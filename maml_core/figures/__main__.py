"""`make figures`: draw every picture of README.md and docs/ and the fallbacks of chapter 3.

They come from the shipped weights and results. Pictures that show Omniglot need its images; without them they are left
as they are, and a line says so.
"""

from collections.abc import Iterator
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt  # noqa: E402
import torch  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402

from ..maml import Learner, adapt  # noqa: E402
from ..recipes import find_recipe  # noqa: E402
from ..results.shipped import load_shipped  # noqa: E402
from ..studies.families import SHIPPED_AS, load_family  # noqa: E402
from ..tasks import quadratics  # noqa: E402
from ..tasks.characters import Characters, CharacterTasks, load_characters  # noqa: E402
from ..tasks.sinusoid import SinusoidTasks, wave  # noqa: E402
from . import draw_adaptation, draw_characters, draw_plane, draw_predictions, use_style  # noqa: E402
from .benchmark import benchmark, load_benchmark  # noqa: E402
from .navigation import navigation, navigation_alpha  # noqa: E402
from .notebook import FOLDER  # noqa: E402
from .reported import PICTURES  # noqa: E402


def sinusoid_adaptation() -> Figure:
    """One wave and ten points: MAML next to the pretrained network, after 0, 1 and 10 steps."""
    x, amplitude, phase = torch.linspace(-5, 5, 201), torch.tensor([[4.0]]), torch.tensor([[1.0]])
    task = SinusoidTasks(10).points_on(amplitude, phase, torch.Generator().manual_seed(1))
    learner = find_recipe("sinusoid-10shot").build_learner()
    figure, axes = plt.subplots(1, 2, figsize=(8, 3), sharey=True)
    names = ("sinusoid-10shot", "sinusoid-pretrained")
    titles = ("MAML: one step finds the wave", "Pretrained on all waves: ten do not")
    for ax, name, concept, title in zip(axes, names, ("maml", "baseline"), titles):
        phis = {n: adapt(learner, load_shipped(name)[0], task.support_x, task.support_y, n) for n in (0, 1, 10)}
        curves = {n: learner.network.forward(phi, x[None, :, None])[0] for n, phi in phis.items()}
        draw_adaptation(ax, x, wave(x, amplitude[0], phase[0]), curves, task.support_x[0], task.support_y[0], concept)
        ax.legend(ncols=3, loc="lower center", fontsize=8)
        ax.set_title(title)
    axes[1].set_ylabel("")
    return figure


def theta_between_tasks() -> Figure:
    """The paper's Figure 1, computed: where one step helps most is not where the loss is lowest."""
    optima = torch.tensor([[-1.9, 1.2], [2.0, 1.6], [0.6, -2.2]])
    curvatures = torch.tensor([[2.4, 1.4], [0.6, 0.3], [0.3, 0.6]])
    tasks = quadratics.plane_tasks(optima, curvatures, torch.tensor([0.5, 0.4, 0.6]))
    network = quadratics.plane_network((-2.8, -2.6))
    figure, axes = plt.subplots(1, 2, figsize=(8, 4.1))
    titles = ("Lowest loss before the step", "Lowest loss after it: MAML")
    for ax, steps, concept, title in zip(axes, (0, 1), ("baseline", "maml"), titles):
        path = quadratics.descend(Learner(network, 0.45, steps), tasks, iterations=3000)
        phi = adapt(Learner(network, 0.45, 1), {"theta": path[-1]}, tasks.support_x, tasks.support_y)["theta"]
        draw_plane(ax, tasks, optima, path, phi, concept)
        ax.set_title(title)
    return figure


def omniglot_characters(characters: Characters) -> Figure:
    """Eight characters, each by its twenty drawers."""
    figure, ax = plt.subplots(figsize=(8, 3.3))
    draw_characters(ax, characters.split("train").images[:8])
    ax.set_title("Omniglot: eight characters, each by its 20 drawers")
    return figure


def omniglot_predictions(characters: Characters) -> Figure:
    """One test task: its support pictures, and the query pictures before and after three inner steps."""
    theta, record = load_shipped("omniglot-5way-1shot")
    learner = record.recipe.build_learner()
    tasks = CharacterTasks(characters.split("test").images, ways=5, shots=1, queries=6)
    task = tasks.sample(1, torch.Generator().manual_seed(11))
    figure, axes = plt.subplots(1, 3, figsize=(8, 3.2), width_ratios=[1.6, 6, 6])
    draw_predictions(axes[0], task.support_x[0], task.support_y[0], task.support_y[0], 5, framed=False)
    axes[0].set_title("support")
    figure.suptitle("Omniglot: five new characters, learned from one picture each", x=0.01, ha="left", fontsize=11)
    for ax, steps in zip(axes[1:], (0, 3)):
        phi = adapt(learner, theta, task.support_x, task.support_y, steps)
        predicted = learner.network.forward(phi, task.query_x)[0].argmax(-1)
        draw_predictions(ax, task.query_x[0], task.query_y[0], predicted, 5)
        right = (predicted == task.query_y[0]).float().mean().item()
        ax.set_title(f"query, after {steps} steps: {100 * right:.0f}% right")
        ax.set_yticks([])
    return figure


def families_predictions(characters: Characters) -> Figure:
    """One test task through the learners of three families."""
    tasks = CharacterTasks(characters.split("test").images, ways=5, shots=1, queries=4)
    task = tasks.sample(1, torch.Generator().manual_seed(9))
    figure, axes = plt.subplots(1, 5, figsize=(8, 2.9), width_ratios=[1.2, 4, 4, 4, 4])
    draw_predictions(axes[0], task.support_x[0], task.support_y[0], task.support_y[0], 5, framed=False)
    axes[0].set_title("support", fontsize=10)
    for ax, name in zip(axes[1:], SHIPPED_AS):
        learner, theta, recipe = load_family(name)
        phi = adapt(learner, theta, task.support_x, task.support_y, recipe.test_steps[-1])
        predicted = learner.network.forward(phi, task.query_x)[0].argmax(-1)
        draw_predictions(ax, task.query_x[0], task.query_y[0], predicted, 5)
        ax.set_title(f"{name}: {100 * (predicted == task.query_y[0]).float().mean():.0f}%", fontsize=10)
        ax.set_yticks([])
    figure.suptitle("Omniglot: the same five new characters through three families", x=0.01, ha="left", fontsize=11)
    return figure


def draw_all() -> Iterator[tuple[str, Figure]]:
    """(name, figure) of every picture that can be drawn here."""
    for draw in (sinusoid_adaptation, theta_between_tasks, *PICTURES, navigation, navigation_alpha):
        yield draw.__name__, draw()
    if measured := load_benchmark():
        yield "benchmark", benchmark(measured)
    characters = load_characters()
    if characters.source == "omniglot":
        for draw in (omniglot_characters, omniglot_predictions, families_predictions):
            yield draw.__name__, draw(characters)
    else:
        print("Omniglot is not on disk: the pictures that show it are left as they are.")


def main(folder: Path = FOLDER) -> None:
    """Draw them all into figures/."""
    use_style()
    folder.mkdir(exist_ok=True)
    for name, figure in draw_all():
        # Without the software's version in it, the same picture is the same file.
        figure.savefig(folder / f"{name}.png", metadata={"Software": None})
        plt.close(figure)
        print(f"{folder.name}/{name}.png")


if __name__ == "__main__":
    main()
