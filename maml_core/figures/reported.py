"""Whole pictures that need no weights and no data, only shipped results: `make figures` and chapter 3 draw them."""

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from ..learners.registry import READERS
from ..recipes import RECIPES
from ..results.shipped import is_shipped, load_shipped, load_study, load_study_weights
from ..results.tables import accuracy_rows
from .adapting import draw_choices, draw_layer_alphas
from .families import draw_families_learning, draw_families_shift, draw_families_tests
from .learning import LOSS_COLOURS, ORDER_COLOURS, draw_comparison, draw_learning_curves
from .sinusoid import draw_error_against_steps
from .studies import draw_alpha_at_test, draw_query_batches, draw_rotations, draw_table_1
from .variants import draw_costs, draw_variant_accuracies, draw_variant_histories

CONCEPTS = {"MAML": "maml", "pretrained": "baseline", "oracle": "oracle"}


def error_against_steps() -> Figure:
    """The paper's Figure 3: error against inner steps at test, K = 5 and 10."""
    figure, axes = plt.subplots(1, 2, figsize=(8, 3), sharey=True)
    rows = load_study("error-against-steps").rows
    for ax, shots in zip(axes, (5, 10)):
        curves = {}
        for method, concept in CONCEPTS.items():
            mine = [row for row in rows if row["method"] == method and row["shots"] == shots]
            curves[concept] = tuple([row[key] for row in mine] for key in ("steps", "mean", "ci95"))
        draw_error_against_steps(ax, curves)
        ax.set_title(f"K = {shots}: one step does most of it")
    axes[0].get_legend().remove()
    axes[1].set_ylabel("")
    return figure


def learning_curves() -> Figure:
    """Validation accuracy of every shipped training run on Omniglot, 5-way and 20-way."""
    figure, axes = plt.subplots(1, 2, figsize=(8, 3.6), sharey=True)
    titles = ("5-way: near the top", "20-way: the last block is ahead")
    for ax, ways, title in zip(axes, ("5way", "20way"), titles):
        names = [name for name, recipe in RECIPES.items()
                 if name.startswith(f"omniglot-{ways}") and is_shipped(name) and recipe.variant not in READERS]  # fmt: skip
        draw_learning_curves(ax, {name.removeprefix(f"omniglot-{ways}-"): load_shipped(name)[1] for name in names})
        ax.set_title(title)
    axes[1].set_ylabel("")
    return figure


def loss_scale() -> Figure:
    """The inner loss as sum / K and as mean, 5-way and 20-way: two seeds each, equally long."""
    figure, axes = plt.subplots(1, 2, figsize=(8, 3.2))
    for ax, ways in zip(axes, ("5way", "20way")):
        draw_comparison(ax, load_study(f"loss-scale-{ways}"), LOSS_COLOURS)
        ax.set_title(f"{ways.replace('way', '-way')} 1-shot: the mean learns faster")
    axes[1].get_legend().remove()
    axes[1].set_ylabel("")
    return figure


def order_and_rotations() -> Figure:
    """Second against first order while training; and what training on turned characters is worth."""
    figure, axes = plt.subplots(1, 2, figsize=(8, 3.2))
    draw_comparison(axes[0], load_study("order"), ORDER_COLOURS)
    axes[0].set_title("5-way 1-shot: the first order falls behind")
    draw_rotations(axes[1], load_study("rotations"))
    axes[1].set_title("Turned characters are easier, for both")
    return figure


def query_batches() -> Figure:
    """Accuracy against query pictures per class, by which pictures batch norm's statistics come from."""
    figure, ax = plt.subplots(figsize=(8, 3.4))
    draw_query_batches(ax, load_study("query-batches"))
    ax.set_title("5-way 1-shot, the same weights: what batch norm sees decides")
    return figure


def alpha_at_test() -> Figure:
    """Accuracy against alpha at test, after one and three steps."""
    figure, axes = plt.subplots(1, 2, figsize=(8, 3.2), sharey=True)
    draw_alpha_at_test(axes, load_study("alpha-at-test"))
    axes[1].set_ylabel("")
    return figure


def table_1() -> Figure:
    """The paper's Table 1 as dots with intervals: the paper, others, and ours."""
    figure, axes = plt.subplots(1, 4, figsize=(8, 4.2), sharey=True)
    draw_table_1(axes, accuracy_rows())
    figure.suptitle("Omniglot: ours in blue, hollow where the training is not finished",
                    x=0.01, ha="left", fontsize=11)  # fmt: skip
    return figure


def variants() -> Figure:
    """MAML's variants on the same budget: while they train, and on test tasks."""
    figure, axes = plt.subplots(1, 2, figsize=(8, 3.6))
    study = load_study("variants")
    draw_variant_histories(axes[0], study)
    axes[0].set_title("First order and MAML++ learn soonest")
    draw_variant_accuracies(axes[1], study)
    axes[1].set_title(f"After {study.settings['iterations']:,} meta-iterations, two seeds")
    return figure


def what_adapts() -> Figure:
    """20-way 1-shot by what adapts: accuracy over time, and the alphas that each layer gets where all of them adapt."""
    figure, axes = plt.subplots(1, 2, figsize=(8, 3.3), width_ratios=[3, 2.4])
    study = load_study("what-adapts")
    draw_choices(axes[0], study)
    axes[0].set_title("The last block alone learns soonest")
    theta, recipe = load_study_weights("what-adapts", "everything")
    draw_layer_alphas(axes[1], theta, recipe.alpha)
    axes[1].set_title("Where every layer may adapt")
    return figure


def variants_cost() -> Figure:
    """Time and memory of a meta-iteration against inner steps, variant by variant."""
    figure, axes = plt.subplots(1, 2, figsize=(8, 3.4))
    draw_costs(axes, load_study("variants-cost"))
    axes[0].set_title("Time grows with the steps ...")
    axes[1].set_title("... memory need not")
    return figure


def families() -> Figure:
    """Three families on the same episodes: validation accuracy over time, and what the test says."""
    figure, axes = plt.subplots(1, 3, figsize=(8, 3.3), width_ratios=[3, 3, 2.2])
    studies = {ways: load_study(f"families-{ways}") for ways in ("5way", "20way")}
    for ax, (ways, study) in zip(axes, studies.items()):
        draw_families_learning(ax, study)
        ax.set_title(f"{ways.replace('way', '-way')} 1-shot: comparing is ahead", fontsize=10)
    axes[1].set_ylabel("")
    axes[0].get_legend().remove()
    draw_families_tests(axes[2], studies)
    axes[2].set_title("Test (hollow: 20-way)", fontsize=10)
    return figure


def families_shift() -> Figure:
    """Accuracy of each family when the test differs from training."""
    figure, axes = plt.subplots(2, 2, figsize=(8, 5.6))
    draw_families_shift(axes.flat, load_study("families-shift"))
    return figure


PICTURES = (
    error_against_steps, learning_curves, loss_scale, order_and_rotations, query_batches, alpha_at_test, table_1,
    variants, what_adapts, variants_cost, families, families_shift,
)  # fmt: skip
