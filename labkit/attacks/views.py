"""Small facts about models: how to hold one still while it is attacked, and where the user's own model is behind a view."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import Tensor, nn

Model = Callable[[Tensor], Tensor]


def original(model: Model) -> Model:
    """Return the model that success is judged on: a view's ``.original``, followed to its end, else the model itself."""
    while (inner := getattr(model, "original", None)) is not None:
        model = inner
    return model


@contextmanager
def held_still(*models: Model) -> Iterator[None]:
    """Put the models in evaluation mode with frozen parameters; give every module and parameter its own state back, always.

    A global ``.train()`` afterwards would wake layers that the user had frozen, hence module by module.
    """
    modules = [module for model in models if isinstance(model, nn.Module) for module in model.modules()]
    modes = [(module, module.training) for module in modules]
    parameters = [p for model in models if isinstance(model, nn.Module) for p in model.parameters()]
    wanted = [(p, p.requires_grad) for p in parameters]
    try:
        for module in modules:
            module.training = False
        for p in parameters:
            p.requires_grad_(False)
        yield
    finally:
        for module, mode in modes:
            module.training = mode
        for p, requires in wanted:
            p.requires_grad_(requires)
