"""MI-FGSM against the paper's loop."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from labkit.attacks.evasion import bim, mi_fgsm
from labkit.threats import L0, L1, L2, Ball, Linf
from tests.attacks.evasion.suite import inputs, net
from tests.attacks.evasion.test_pgd import NEVER, exact_task


def reference(model: Any, x: Tensor, y: Tensor, eps: float, steps: int, decay: float) -> Tensor:
    """Algorithm 1 of Dong et al. 2018."""
    x_adv, velocity = x.clone(), torch.zeros_like(x)
    for _ in range(steps):
        x_adv.requires_grad_(True)
        (grad,) = torch.autograd.grad(cross_entropy(model(x_adv), y, reduction="sum"), x_adv)
        velocity = decay * velocity + grad / grad.flatten(1).abs().sum(1).view(-1, 1, 1, 1)
        x_adv = x_adv.detach() + eps / steps * velocity.sign()
        x_adv = torch.min(torch.max(x_adv, x - eps), x + eps).clamp(0, 1)
    return x_adv


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("decay", [0.0, 0.5, 1.0])
def test_equals_the_paper(dtype: torch.dtype, decay: float) -> None:
    model, x, y = exact_task(dtype)
    expected = reference(model, x, y, 16 / 256, 8, decay)
    assert torch.equal(mi_fgsm(model, x, y, Linf(16 / 256), steps=8, decay=decay, goal=NEVER).x_adv, expected)


@pytest.mark.parametrize("threat", [Linf(0.1), L2(0.5), L1(1.0), L0(2)], ids=str)
def test_without_momentum_it_is_bim_and_with_it_is_not(threat: Ball) -> None:
    model, x, y = exact_task(torch.float64)
    plain = bim(model, x, y, threat, steps=8, goal=NEVER).x_adv
    torch.testing.assert_close(
        mi_fgsm(model, x, y, threat, steps=8, decay=0.0, goal=NEVER).x_adv, plain, rtol=0, atol=0 if threat.norm == "linf" else 1e-12
    )
    assert float((mi_fgsm(model, x, y, threat, steps=8, goal=NEVER).x_adv - plain).abs().max()) > 1e-3


def test_gradients_count_alike_however_small() -> None:
    """A loss scaled by 1e-200 gives the same path: each gradient is divided by its own size before it is added."""
    model, x, y = net(), inputs(4), torch.tensor([0, 1, 2, 3])

    def tiny(x_adv: Tensor, logits: Tensor, y: Tensor) -> Tensor:
        return cross_entropy(logits, y, reduction="none") * 2.0**-600

    one, other = (mi_fgsm(model, x, y, L2(0.5), steps=5, goal=NEVER, loss=loss).x_adv for loss in ("cross_entropy", tiny))
    torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


def test_wrong_steps() -> None:
    model, x, y = exact_task(torch.float32)
    with pytest.raises(ValueError, match="steps must be 1 or more, got 0"):
        mi_fgsm(model, x, y, Linf(0.1), steps=0)
