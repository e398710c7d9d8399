"""FGSM, BIM and PGD against references of ten lines, and what a step costs."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils._python_dispatch import TorchDispatchMode

from labkit.attacks import Confident
from labkit.attacks.evasion import bim, fgsm, pgd
from labkit.threats import L2, Linf
from tests.attacks.evasion.suite import inputs, net

NEVER = Confident(1e9)  # so that nobody leaves early, as in the papers' loops
#: Operations per step of PGD-Linf besides the forward and backward passes of the model and the loss: argmax, ne, isnan, or, any to judge;
#: sign, add_, clamp to step. It was 25, and three waits for the device, before the judging was thinned out.
MOST_PER_STEP = 8


def reference(model: Any, x: Tensor, y: Tensor, eps: float, size: float, steps: int, start: Tensor, sign: float = 1.0) -> Tensor:
    """Projected gradient descent in Linf as the papers write it."""
    x_adv = start.clone()
    for _ in range(steps):
        x_adv.requires_grad_(True)
        (grad,) = torch.autograd.grad(sign * cross_entropy(model(x_adv), y, reduction="sum"), x_adv)
        x_adv = x_adv.detach() + size * grad.sign()
        x_adv = torch.min(torch.max(x_adv, x - eps), x + eps).clamp(0, 1)
    return x_adv


def reference_l2(model: Any, x: Tensor, y: Tensor, eps: float, size: float, steps: int, start: Tensor) -> Tensor:
    """The same in L2."""
    x_adv = start.clone()
    for _ in range(steps):
        x_adv.requires_grad_(True)
        (grad,) = torch.autograd.grad(cross_entropy(model(x_adv), y, reduction="sum"), x_adv)
        step = grad / grad.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
        delta = x_adv.detach() + size * step - x
        delta = delta * (eps / delta.flatten(1).norm(dim=1).clamp_min(eps)).view(-1, 1, 1, 1)
        x_adv = (x + delta).clamp(0, 1)
    return x_adv


def exact_task(dtype: torch.dtype) -> tuple[nn.Module, Tensor, Tensor]:
    """Return inputs that are multiples of 1/256: with such an eps, no addition is rounded, and equality can be asked for."""
    x = (inputs(6, dtype=dtype) * 256).round() / 256
    return net(dtype), x, torch.tensor([0, 1, 2, 3, 0, 1])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
class TestEqualsTheReference:
    """To the last bit."""

    eps = 16 / 256

    def test_fgsm(self, dtype: torch.dtype) -> None:
        model, x, y = exact_task(dtype)
        expected = reference(model, x, y, self.eps, self.eps, 1, x)
        assert torch.equal(fgsm(model, x, y, Linf(self.eps), goal=NEVER).x_adv, expected)

    def test_fgsm_from_a_random_start(self, dtype: torch.dtype) -> None:
        model, x, y = exact_task(dtype)
        start = Linf(self.eps).sample(x, seed=4)
        expected = reference(model, x, y, self.eps, 1.25 * self.eps, 1, start)
        assert torch.equal(
            fgsm(model, x, y, Linf(self.eps), goal=NEVER, random_start=True, step_size=1.25 * self.eps, seed=4).x_adv, expected
        )

    def test_bim(self, dtype: torch.dtype) -> None:
        model, x, y = exact_task(dtype)
        expected = reference(model, x, y, self.eps, self.eps / 8, 8, x)
        assert torch.equal(bim(model, x, y, Linf(self.eps), steps=8, goal=NEVER).x_adv, expected)

    def test_pgd(self, dtype: torch.dtype) -> None:
        model, x, y = exact_task(dtype)
        expected = reference(model, x, y, self.eps, 2.5 * self.eps / 20, 20, Linf(self.eps).sample(x, seed=3))
        assert torch.equal(pgd(model, x, y, Linf(self.eps), steps=20, seed=3, goal=NEVER).x_adv, expected)

    def test_the_second_restart_begins_at_another_point(self, dtype: torch.dtype) -> None:
        model, x, y = exact_task(dtype)
        expected = reference(model, x, y, self.eps, 0.01, 3, Linf(self.eps).sample(x, seed=3, stream=1))
        assert torch.equal(pgd(model, x, y, Linf(self.eps), steps=3, step_size=0.01, restarts=2, seed=3, goal=NEVER).x_adv, expected)

    def test_targeted(self, dtype: torch.dtype) -> None:
        model, x, _ = exact_task(dtype)
        with torch.no_grad():
            order = model(x).argsort(1)
        expected = reference(model, x, order[:, 0], self.eps, self.eps / 4, 4, x, sign=-1.0)
        found = bim(model, x, order[:, -1], Linf(self.eps), steps=4, target=order[:, 0])
        assert int(found.success.sum()) == 0, "the task was chosen so that nobody leaves early"
        assert torch.equal(found.x_adv, expected)


def test_any_eps_equals_the_reference_up_to_the_rounding_inwards() -> None:
    model, x, y = net(torch.float32), inputs(6, dtype=torch.float32), torch.tensor([0, 1, 2, 3, 0, 1])
    expected = reference(model, x, y, 0.3, 0.3 / 4, 4, x)
    assert float((bim(model, x, y, Linf(0.3), steps=4, goal=NEVER).x_adv - expected).abs().max()) < 1e-6


def test_l2_equals_the_reference() -> None:
    """Up to rounding: labkit scales a gradient before it squares it, so that tiny ones do not vanish."""
    model, x, y = exact_task(torch.float64)
    threat = L2(0.5)
    expected = reference_l2(model, x, y, 0.5, 2.5 * 0.5 / 10, 10, threat.sample(x, seed=1))
    assert float((pgd(model, x, y, threat, steps=10, seed=1, goal=NEVER).x_adv - expected).abs().max()) < 1e-12


def test_early_leaving_changes_the_cost_and_not_who_is_fooled() -> None:
    """Where a run's last point still errs, it was found; whoever was found on the way is found."""
    model, x = net(), inputs(32)
    with torch.no_grad():
        y = model(x).argmax(1)
    found = pgd(model, x, y, Linf(0.1), steps=10)
    expected = reference(model, x, y, 0.1, 0.025, 10, Linf(0.1).sample(x))
    with torch.no_grad():
        at_the_end = model(expected).argmax(1) != y
    assert 0 < int(found.success.sum()) < 32
    assert bool((found.success | ~at_the_end).all())
    assert int(found.backwards[found.success].max()) < 10


def test_more_budget_steps_or_restarts_fool_no_fewer() -> None:
    model, x = net(), inputs(48)
    with torch.no_grad():
        y = model(x).argmax(1)
    by_eps = [int(pgd(model, x, y, Linf(eps), steps=10).success.sum()) for eps in (0.0, 0.02, 0.05, 0.1, 0.3)]
    assert by_eps == sorted(by_eps)
    assert by_eps[0] == 0 < by_eps[-1]
    one, three = (pgd(model, x, y, Linf(0.05), steps=3, restarts=n) for n in (1, 3))
    assert bool((three.success | ~one.success).all())
    few, many = (bim(model, x, y, Linf(0.05), steps=n, step_size=0.005).success for n in (3, 10))
    assert bool((many | ~few).all())


@pytest.mark.parametrize("options", [{"steps": 0}, {"restarts": 0}, {"steps": -1}], ids=str)
def test_wrong_options(options: dict[str, int]) -> None:
    model, x, y = exact_task(torch.float32)
    with pytest.raises(ValueError, match="1 or more"):
        pgd(model, x, y, Linf(0.1), **options)
    if "steps" in options:
        with pytest.raises(ValueError, match="1 or more"):
            bim(model, x, y, Linf(0.1), **options)


# ---- what a step costs --------------------------------------------------------------------------------------------------------------


class Operations(TorchDispatchMode):
    """Counts the operations that reach a device, and keeps the backward convolutions' ``output_mask``."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: Counter[str] = Counter()
        self.masks: list[Any] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = str(func.overloadpacket)
        self.seen[name] += 1
        if "convolution_backward" in name:
            self.masks.append(args[-1])
        return func(*args, **(kwargs or {}))


#: Views and scalar reads start no kernel.
FREE = {"aten.detach", "aten.view", "aten._unsafe_view", "aten.alias", "aten.t", "aten.expand", "aten.slice", "aten._local_scalar_dense"}


def operations_of(steps: int, random_start: bool = True) -> Operations:
    """Return the operations of a run that nobody leaves: a budget too small to fool anyone."""
    model, x = net(torch.float32).train(), inputs(8, dtype=torch.float32)
    with torch.no_grad():
        y = model.eval()(x).argmax(1)
    with Operations() as seen:
        found = pgd(model.train(), x, y, Linf(1e-6), steps=steps, random_start=random_start)
    assert int(found.success.sum()) == 0
    return seen


def least() -> Counter[str]:
    """Return the operations of the least that a gradient needs: model, loss, backward pass to the input."""
    model, x, y = net(torch.float32).requires_grad_(False), inputs(8, dtype=torch.float32), torch.zeros(8, dtype=torch.int64)
    with Operations() as seen:
        leaf = x.requires_grad_(True)
        value = cross_entropy(model(leaf), y, reduction="none")
        torch.autograd.grad(value, leaf, torch.ones_like(value))
    return seen.seen


def test_operations_per_step() -> None:
    few, many, needed = operations_of(10).seen, operations_of(30).seen, least()
    extra = {name: (many[name] - few[name]) / 20 - needed[name] for name in many if name not in FREE}
    assert min(extra.values()) == 0, "the bare gradient does something that the attack does not"
    assert sum(extra.values()) <= MOST_PER_STEP, {name: count for name, count in extra.items() if count}
    assert many["aten._local_scalar_dense"] - few["aten._local_scalar_dense"] == 20, "more than one wait for the device per step"


@pytest.mark.parametrize("random_start", [False, True])
def test_no_gradient_of_weights_is_computed(random_start: bool) -> None:
    seen = operations_of(5, random_start)
    assert len(seen.masks) == 5  # one backward pass per step
    assert all(mask[0] and not mask[1] and not mask[2] for mask in seen.masks), seen.masks
    assert seen.seen["aten.convolution"] == 5 + 1 + random_start  # the steps, the verification, and the question about the clean inputs
