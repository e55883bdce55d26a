"""Whether a module draws random numbers in its forward, as far as its parts and its code tell.

A training asks before it has any input to try the module on. Where the first meta-batch shows that the code hides it,
`engine.contract` refuses the module. A module or its class can say it itself: `draws_random = True`, or False.
"""

import functools
import inspect
import types
from collections.abc import Iterator
from typing import Any

from torch import nn

RANDOM = {
    "alpha_dropout", "bernoulli", "bernoulli_", "cauchy_", "dropout", "dropout1d", "dropout2d", "dropout3d", "dropout_",
    "exponential_", "feature_alpha_dropout", "geometric_", "gumbel_softmax", "log_normal_", "multinomial", "normal",
    "normal_", "poisson", "rand", "rand_like", "randint", "randint_like", "randn", "randn_like", "random_", "randperm",
    "rrelu", "rrelu_", "rsample", "uniform_",
}  # fmt: skip


def draws_random(module: nn.Module) -> bool:
    """Whether its forward draws random numbers in training mode: dropout, stochastic depth and the like."""
    return any(_is_random(part) for part in module.modules())


def _is_random(part: nn.Module) -> bool:
    if isinstance(said := getattr(part, "draws_random", None), bool):
        return said
    if not RANDOM.isdisjoint(_names(part)):
        return True
    name, rate = type(part).__name__.lower(), getattr(part, "dropout", 0)
    if isinstance(rate, float | int) and rate > 0:
        return True  # attention and recurrent layers
    rates = (getattr(part, attribute, None) for attribute in ("p", "drop_prob"))
    known = [rate for rate in rates if isinstance(rate, float | int)]
    drops = ("drop" in name or "stochastic" in name) and any(rate > 0 for rate in known or [1])
    return drops or isinstance(part, nn.RReLU)


def _names(part: nn.Module) -> Iterator[str]:
    """The names in the code of its forward and hooks, and of the methods and functions that those names stand for."""
    hooks = (*part._forward_hooks.values(), *part._forward_pre_hooks.values())
    functions: list[Any] = [type(part).forward, *hooks, *vars(part).values()]
    seen = set()
    while functions:
        function = functions.pop()
        function = inspect.unwrap(function.func if isinstance(function, functools.partial) else function)
        yield getattr(function, "__name__", "")
        if not inspect.isroutine(function) or _is_torchs(function):
            continue
        code, scope = getattr(function, "__code__", None), getattr(function, "__globals__", {})
        if code is None or code in seen:
            continue
        seen.add(code)
        names = set(_names_in(code))
        yield from names
        used = [scope[name] for name in names if name in scope]
        places = [*type(part).__mro__[: None if "super" in names else 1], *filter(inspect.ismodule, used)]
        functions += used + [getattr(place, name, None) for place in places for name in names]


def _names_in(code: types.CodeType) -> Iterator[str]:
    """The names that the code uses, with those of the functions within it."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names_in(constant)


def _is_torchs(thing: Any) -> bool:
    return (getattr(thing, "__module__", None) or "").partition(".")[0] == "torch"
