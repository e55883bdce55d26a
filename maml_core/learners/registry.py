"""All learners by name: MAML, its variants, and the readers of the other two families."""

from collections.abc import Callable

from ..maml import Learner
from .attention import memory
from .imaml import IMAML
from .metric import matching, prototypes
from .variants import LearnedAlphas, MAMLPlusPlus, MetaSGD, Reptile, adapt_everything, adapt_head_only, with_alphas

VARIANTS: dict[str, Callable[..., Learner]] = {
    "maml": Learner,
    "anil": lambda network, *settings: Learner(adapt_head_only(network), *settings),
    "meta-sgd": lambda network, alpha, *settings: MetaSGD(with_alphas(network, alpha), alpha, *settings),
    "learned-alphas": lambda network, alpha, steps, *settings: LearnedAlphas(
        with_alphas(network, alpha, steps), alpha, steps, *settings
    ),
    "maml++": lambda network, alpha, steps, *settings: MAMLPlusPlus(
        with_alphas(network, alpha, steps), alpha, steps, *settings
    ),
    "reptile": lambda network, *settings: Reptile(adapt_everything(network), *settings),
    "imaml": lambda network, *settings: IMAML(adapt_everything(network), *settings),
}
"""name -> a function of (network, alpha, steps, inner_loss, first_order)."""

# The other two families of few-shot learning: learners that read the support set instead of taking gradients on it.
READERS = {"prototypes": prototypes, "matching": matching, "memory": memory}
LEARNERS = {**VARIANTS, **READERS}
