"""What checks are written with: expectations, watched calls, and models small enough to know their gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn


class NotYet(Exception):
    """The answer is wrong; the text is the hint that belongs to this mistake."""


class NotAttempted(Exception):
    """The stub is still as it was delivered."""


def expect(condition: bool | Tensor, message: str) -> None:
    """Raise NotYet with ``message`` unless ``condition`` holds."""
    if not bool(condition):
        raise NotYet(message)


def call(function: Any, /, *args: Any, names: str = "", pure: bool = True) -> Any:
    """Call the learner's function and return its result, watching for what it should not touch.

    ``names``: the arguments' names, separated by blanks, for the messages. ``pure``: tensors and models passed in must be left
    as they were (values, ``requires_grad``, ``grad``, training mode). Raises NotAttempted for a stub, NotYet for a side effect.
    """
    if not callable(function):
        raise NotYet(f"A function is expected here, but this is of type `{type(function).__name__}`: pass the function itself, uncalled.")
    before = [_state(argument) for argument in args] if pure else []
    try:
        result = function(*args)
    except NotImplementedError:
        raise NotAttempted("Replace `raise NotImplementedError` by your code, then run this cell again.") from None
    if result is None or result is ...:
        raise NotAttempted("The function returned nothing yet. If you have written it already, its `return` is missing.")
    labels = names.split() if names else [f"argument {i + 1}" for i in range(len(args))]
    for label, argument, state in zip(labels, args, before, strict=False):
        _compare(label, argument, state)
    return result


def _state(argument: Any) -> Any:
    if isinstance(argument, Tensor):
        return argument.detach().clone()
    if isinstance(argument, nn.Module):
        return argument.training, {key: value.clone() for key, value in argument.state_dict().items()}
    return None


def _compare(label: str, argument: Any, state: Any) -> None:
    if isinstance(argument, Tensor):
        unchanged = argument.shape == state.shape and torch.equal(argument.detach(), state)
        expect(
            unchanged, f"Your function changed the values of `{label}` in place: the caller still needs them. Work on `{label}.clone()`."
        )
        expect(
            not argument.requires_grad and argument.grad is None,
            f"After the call, `{label}` still tracks gradients: `requires_grad` was set on the caller's own tensor. "
            f"Use a copy: `{label}.detach().clone().requires_grad_()`.",
        )
    elif isinstance(argument, nn.Module):
        training, values = state
        expect(
            all(parameter.grad is None for parameter in argument.parameters()),
            "The call left gradients in the model's parameters (`.grad`): the next `optimizer.step()` would use them. "
            "Ask for the input's gradient alone: `torch.autograd.grad(loss, x)`.",
        )
        expect(argument.training == training, "The call left the model in another mode (training or evaluation) than it found it in.")
        same = all(torch.equal(values[key], value) for key, value in argument.state_dict().items())
        expect(same, "The call changed the model's weights or statistics. An attack leaves the model as it is.")


def tensor(result: Any, shape: tuple[int, ...], what: str) -> Tensor:
    """Return ``result`` if it is a finite floating tensor of this shape; otherwise raise NotYet naming what was seen."""
    if not isinstance(result, Tensor):
        raise NotYet(f"{what} should be a tensor of shape {shape}, not of type `{type(result).__name__}`.")
    expect(tuple(result.shape) == shape, f"{what} should have shape {shape}; yours has {tuple(result.shape)}.")
    expect(result.is_floating_point(), f"{what} should hold floating-point numbers; yours holds `{result.dtype}`.")
    expect(not result.requires_grad, f"{what} still hangs on the computation graph. End with `.detach()`.")
    expect(torch.isfinite(result).all(), f"{what} holds NaN or infinite values.")
    return result


def number(result: Any, what: str) -> float:
    """Return ``result`` as a float; a tensor with one element will do. Raises NotYet otherwise."""
    if isinstance(result, Tensor):
        expect(result.numel() == 1, f"{what} should be one number; you returned a tensor of shape {tuple(result.shape)}.")
        return float(result.item())
    try:
        return float(result)
    except (TypeError, ValueError):
        raise NotYet(f"{what} should be one number, not of type `{type(result).__name__}`.") from None


def close(a: Tensor, b: Tensor, tolerance: float = 1e-5) -> bool:
    """Whether two tensors agree in shape and, up to ``tolerance``, in value."""
    return a.shape == b.shape and bool(torch.allclose(a.double(), b.double(), rtol=1e-4, atol=tolerance))


def alike(a: Tensor, b: Tensor, share: float = 0.95) -> bool:
    """Whether at least ``share`` of the entries agree: signs of tiny gradients may flip between two correct programs."""
    return a.shape == b.shape and bool(((a - b).abs() < 1e-5).double().mean() >= share)


def network(features: int, classes: int, seed: int, *, hidden: int = 12, scale: float = 1.5, norm: bool = False) -> nn.Sequential:
    """Return a small fixed network from inputs (B, ...) with ``features`` values each to logits (B, classes), in evaluation mode.

    Its weights come from a generator of their own. ``norm`` adds batch normalization after the first layer.
    """
    layers: list[nn.Module] = [nn.Flatten(), nn.Linear(features, hidden), nn.Tanh(), nn.Linear(hidden, classes)]
    if norm:
        layers.insert(2, nn.BatchNorm1d(hidden))
    model = nn.Sequential(*layers)
    own = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for layer in model:
            if isinstance(layer, nn.Linear):
                layer.weight.copy_(torch.randn(layer.weight.shape, generator=own) * scale / layer.in_features**0.5)
                layer.bias.copy_(torch.randn(layer.bias.shape, generator=own) * 0.1)
    return model.eval()


def images(shape: tuple[int, ...], seed: int) -> Tensor:
    """Return images in [0, 1] whose first pixels are exactly 0 and whose last are exactly 1: where clamping shows."""
    x = torch.rand(shape, generator=torch.Generator().manual_seed(seed)).flatten(1)
    x[:, 0], x[:, 1], x[:, -1], x[:, -2] = 0.0, 0.0, 1.0, 1.0
    return x.view(shape)


def input_gradient(model: Callable[[Tensor], Tensor], x: Tensor, y: Tensor) -> Tensor:
    """Return the gradient of the summed cross-entropy with respect to the input, shape of ``x``."""
    point = x.detach().clone().requires_grad_()
    (gradient,) = torch.autograd.grad(nn.functional.cross_entropy(model(point), y, reduction="sum"), point)
    return gradient
