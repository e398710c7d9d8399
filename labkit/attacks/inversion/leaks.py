"""What a gradient says about the batch it came from, exactly: inputs of a linear layer, and labels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from labkit.seeding import generator

Gradient = tuple[Tensor, ...]


def shared_gradient(model: nn.Module, x: Tensor, y: Tensor) -> Gradient:
    """Return what a participant of federated training sends: the gradient of the mean cross-entropy for each parameter, in order.

    ``x`` (B, ...), ``y`` (B,) int64. The model is evaluated in the mode that it is in; its ``.grad`` stays as it was.
    """
    loss = cross_entropy(model(x), y)
    return tuple(part.detach() for part in torch.autograd.grad(loss, [p for p in model.parameters() if p.requires_grad]))


def input_of_linear(weight: Tensor, bias: Tensor, *, rows: str = "best") -> Tensor:
    """Return the input (D,) of a linear layer from the gradients of its weight (M, D) and bias (M,), of one sample.

    ``dL/dW_i = dL/db_i * x`` holds for every output i, so that ``x = dW_i / db_i``, exactly. ``rows``: "best" divides in the row with the
    largest bias gradient; "all" takes the best rank-one fit of the rows ``(dW_i, db_i)``, which are all multiples of ``(x, 1)`` (the first
    singular vector): the same without noise, better with. Of a batch of several samples both return a mixture of the inputs.
    Phong et al. 2018, IEEE TIFS 13(5); Geiping et al. 2020, arXiv 2003.14053, proposition 3.1. Raises ValueError
    when every bias gradient is zero (no output was active) or shapes do not fit.
    """
    if weight.ndim != 2 or bias.shape != weight.shape[:1]:
        raise ValueError(f"expected gradients of shapes (M, D) and (M,), got {tuple(weight.shape)} and {tuple(bias.shape)}")
    if rows not in ("best", "all"):
        raise ValueError(f"rows must be 'best' or 'all', got {rows!r}")
    if not bool(bias.any()):
        raise ValueError("every bias gradient is zero: no unit of this layer was active for the input, so it left no trace")
    if rows == "all":
        # Least squares on db_i alone would take the noise on db for signal, and shrink the answer.
        main: Tensor = torch.linalg.svd(torch.cat([weight, bias[:, None]], 1), full_matrices=False).Vh[0]
        return main[:-1] / main[-1]
    row = int(bias.abs().argmax())
    return weight[row] / bias[row]


def label_from_bias(bias: Tensor) -> int:
    """Return the label of one sample from the gradient of the last layer's bias (K,): its only negative entry.

    ``dL/db_k = p_k - [k = y]`` for cross-entropy, whatever the network. Raises ValueError when not exactly one entry is negative: a
    batch of several samples, noise, or another loss.
    """
    negative = torch.nonzero(bias < 0)[:, 0].tolist()
    if len(negative) != 1:
        raise ValueError(f"entries {negative} are negative, expected exactly one: a gradient of more than one sample, or a noisy one?")
    return int(negative[0])


def label_from_weight(weight: Tensor, *, rule: str = "angles") -> int | None:
    """Return the label of one sample from the gradient of the last layer's weight (K, H); None where the rule does not decide.

    Row k is ``(p_k - [k = y]) * a``, a the activations. ``rule``: "angles", iDLG's: the row whose scalar product with every other row is
    negative, for any a, but for two classes it always fits both (None). "sums": the row with the smallest sum; right if the activations
    are not negative (ReLU, sigmoid), wrong wherever they sum to less than zero. Zhao, Mopuri, Bilen 2020, arXiv 2001.02610.
    """
    if weight.ndim != 2 or len(weight) < 2:
        raise ValueError(f"expected the gradient of a last layer, (classes, features) with 2 classes or more, got {tuple(weight.shape)}")
    if rule == "sums":
        return int(weight.sum(1).argmin())
    if rule != "angles":
        raise ValueError(f"rule must be 'angles' or 'sums', got {rule!r}")
    # Lengths are set aside: products of tiny probabilities would underflow.
    rows = weight.double() / weight.double().norm(dim=1, keepdim=True).clamp_min(torch.finfo(torch.float64).tiny)
    against = (rows @ rows.T < 0).sum(1) == len(rows) - 1
    fits = torch.nonzero(against)[:, 0].tolist()
    return int(fits[0]) if len(fits) == 1 else None


def labels_present(bias: Tensor) -> list[int]:
    """Return classes that are surely among the labels of a batch, from the gradient of the last layer's bias (K,): its negative entries.

    ``dL/db_k = mean p_k - share of k``: negative only if k occurs. A class that occurs may hide behind confident wrong answers.
    """
    return [int(k) for k in torch.nonzero(bias < 0)[:, 0]]


def clipped(gradient: Sequence[Tensor], norm: float) -> Gradient:
    """Return the gradient scaled to at most ``norm`` in L2, all parameters together. Raises ValueError unless norm is positive."""
    if norm <= 0:
        raise ValueError(f"norm must be positive, got {norm}")
    length = torch.stack([part.double().norm() for part in gradient]).norm()
    scale = float(min(1.0, norm / max(float(length), 1e-300)))
    return tuple(part * scale for part in gradient)


def noised(gradient: Sequence[Tensor], sigma: float, seed: int = 0) -> Gradient:
    """Return the gradient with normal noise of deviation ``sigma`` on every entry. Raises ValueError for a negative sigma."""
    if sigma < 0:
        raise ValueError(f"sigma must be 0 or more, got {sigma}")
    source = generator(seed, "noised gradient")
    return tuple(part + sigma * torch.randn(part.shape, generator=source, dtype=part.dtype).to(part.device) for part in gradient)


__all__ = [
    "Gradient", "clipped", "input_of_linear", "label_from_bias", "label_from_weight", "labels_present", "noised", "shared_gradient",
]  # fmt: skip
