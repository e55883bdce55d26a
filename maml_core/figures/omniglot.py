"""Pictures of characters: sheets, an episode with its labels, right and wrong predictions."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..episodes import Episodes
from ..maml import adapt
from ..results.shipped import load_shipped
from ..tasks.characters import Characters, CharacterTasks
from .style import COLOURS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage


def picture_sheet(pictures: Tensor, colours: Tensor | None = None, gap: int = 4) -> Tensor:
    """Lay out pictures [rows, columns, S, S] (0..1, ink is 1) as one RGB picture, black on white.

    colours: RGB of each picture's frame, [rows, columns, 3]; None: no frames.
    """
    return lay_out((1 - pictures)[..., None].expand(*pictures.shape, 3), 1.0, colours, gap)


def lay_out(pictures: Tensor, paper: float, colours: Tensor | None = None, gap: int = 4) -> Tensor:
    """Pictures [rows, columns, S, S, ...] as one, [rows * (S + 2 gap), columns * (S + 2 gap), ...].

    The axes after S make up a pixel. paper: of the gaps; colours: of each picture's frame, [rows, columns, ...].
    """
    rows, columns, size, _, *depth = pictures.shape
    cell = size + 2 * gap
    sheet = pictures.new_full((rows, cell, columns, cell, *depth), paper)
    if colours is not None:
        sheet[:, 1 : cell - 1, :, 1 : cell - 1] = colours[:, None, :, None]
    inner = slice(gap - 1, gap + size + 1)
    sheet[:, inner, :, inner] = paper
    sheet[:, gap : gap + size, :, gap : gap + size] = pictures.transpose(1, 2)
    return sheet.reshape(rows * cell, columns * cell, *depth)


def draw_characters(ax: "Axes", images: Tensor) -> None:
    """Characters in rows, their drawings in columns: uint8 [C, D, 28, 28]."""
    show_sheet(ax, picture_sheet(images.float() / 255, gap=2))
    ax.set(xlabel="drawers", ylabel="characters")


def draw_episode(axes: "tuple[Axes, Axes]", task: Episodes, ways: int) -> None:
    """One task without the task axis: support on the left, query on the right, a row for each label."""
    for ax, x, name in zip(axes, (task.support_x, task.query_x), ("support", "query")):
        pictures = x[:, 0].unflatten(0, (ways, -1))
        show_sheet(ax, picture_sheet(pictures))
        label_rows(ax, ways, pictures.shape[-1] + 8)
        ax.set_title(f"{name}: {ways} characters x {pictures.shape[1]}")


def draw_predictions(ax: "Axes", x: Tensor, y: Tensor, predicted: Tensor, ways: int, framed: bool = True) -> None:
    """Query pictures x [N*Q, 1, 28, 28], a row for each class, framed by whether `predicted` [N*Q] is right.

    Pictures that are wrong carry the predicted label in their lower right corner.
    """
    pictures, wrong = x[:, 0].unflatten(0, (ways, -1)), (predicted != y).unflatten(0, (ways, -1))
    show_sheet(ax, picture_sheet(pictures, frames(wrong) if framed else None))
    cell = pictures.shape[-1] + 8
    label_rows(ax, ways, cell)
    labels = predicted.unflatten(0, (ways, -1))
    for row, column in wrong.nonzero().tolist():
        ax.text((column + 1) * cell - 5, (row + 1) * cell - 5, f"{labels[row, column]}", color=COLOURS["wrong"],
                ha="right", va="bottom", fontsize=11, fontweight="bold")  # fmt: skip


def frames(wrong: Tensor) -> Tensor:
    """The colour of each picture's frame by whether it is wrong, [...] -> RGB [..., 3]."""
    return torch.where(wrong[..., None], _rgb("wrong"), _rgb("right"))


def show_sheet(ax: "Axes", sheet: Tensor) -> "AxesImage":
    """A sheet without axes around it."""
    image = ax.imshow(sheet.numpy(), interpolation="nearest")
    ax.set(xticks=[], yticks=[])
    ax.grid(False)
    ax.spines[:].set_visible(False)
    return image


def label_rows(ax: "Axes", ways: int, cell: int) -> None:
    ax.set_yticks([(i + 0.5) * cell for i in range(ways)], [f"label {i}" for i in range(ways)])
    ax.tick_params(length=0)


def _rgb(concept: str) -> Tensor:
    value = COLOURS[concept].lstrip("#")
    return torch.tensor([int(value[i : i + 2], 16) / 255 for i in (0, 2, 4)])


def omniglot_characters(characters: Characters) -> "Figure":
    """Eight characters, each by its twenty drawers."""
    import matplotlib.pyplot as plt

    figure, ax = plt.subplots(figsize=(8, 3.3))
    draw_characters(ax, characters.split("train").images[:8])
    ax.set_title("Omniglot: eight characters, each by its 20 drawers")
    return figure


def omniglot_predictions(characters: Characters) -> "Figure":
    """One test task: its support pictures, and the query pictures before and after three inner steps."""
    import matplotlib.pyplot as plt

    theta, record = load_shipped("omniglot-5way-1shot")
    learner = record.recipe.build_learner()
    tasks = CharacterTasks(characters.split("test").images, ways=5, shots=1, queries=6)
    task = tasks.sample(1, torch.Generator().manual_seed(11))
    figure, axes = plt.subplots(1, 3, figsize=(8, 3.2), width_ratios=[1, 6, 6])  # of columns, so that rows line up
    draw_predictions(axes[0], task.support_x[0], task.support_y[0], task.support_y[0], 5, framed=False)
    axes[0].set_title("support", loc="right")
    figure.suptitle("Omniglot: five new characters, learned from one picture each", x=0.01, ha="left", fontsize=11)
    for ax, steps in zip(axes[1:], (0, 3)):
        phi = adapt(learner, theta, task.support_x, task.support_y, steps)
        predicted = learner.network.forward(phi, task.query_x)[0].argmax(-1)
        draw_predictions(ax, task.query_x[0], task.query_y[0], predicted, 5)
        right = (predicted == task.query_y[0]).float().mean().item()
        ax.set_title(f"query, after {steps} steps: {100 * right:.0f}% right")
        ax.set_yticks([])
    return figure
