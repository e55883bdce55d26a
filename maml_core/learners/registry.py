"""All learners by name: MAML, its variants, and the readers of the other two families."""

from collections.abc import Callable

from ..maml import Learner
from ..util.checks import one_of
from .adapting import CHOICES
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

CHOOSES_ITSELF = {"anil": "the last layer", "reptile": "everything", "imaml": "everything"} | dict.fromkeys(
    READERS, "nothing"
)
"""Learners that decide themselves what adapts in the inner loop, and what that is."""


def check_adapts(variant: str, adapts: str) -> None:
    """Raise ValueError unless `adapts` is a key of adapting.CHOICES that this learner would follow."""
    one_of(CHOICES, adapts=adapts)
    if variant in CHOOSES_ITSELF and adapts != "everything":
        raise ValueError(
            f"variant {variant!r} decides itself what adapts ({CHOOSES_ITSELF[variant]}): leave adapts at 'everything' "
            f"instead of {adapts!r}, or choose another variant."
        )
