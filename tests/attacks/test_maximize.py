"""The inner loop of adversarial training against the papers' loop."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, kl_div

from labkit.attacks import maximize
from labkit.threats import L0, L1, L2, Linf
from tests.attacks.evasion.suite import Counting, inputs, mixed_model, net, world_untouched
from tests.attacks.evasion.test_pgd import Operations, exact_task, reference, reference_l2

EPS = 16 / 256


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("random_start", [False, True])
def test_equals_the_papers_loop(dtype: torch.dtype, random_start: bool) -> None:
    model, x, y = exact_task(dtype)
    start = Linf(EPS).sample(x, seed=2, stream="s") if random_start else x
    expected = reference(model, x, y, EPS, EPS / 4, 7, start)
    assert torch.equal(
        maximize(model, x, y, Linf(EPS), steps=7, step_size=EPS / 4, random_start=random_start, seed=2, stream="s"), expected
    )


def test_equals_the_papers_loop_in_l2() -> None:
    model, x, y = exact_task(torch.float64)
    expected = reference_l2(model, x, y, 0.5, 0.1, 7, x)
    assert float((maximize(model, x, y, L2(0.5), steps=7, step_size=0.1, random_start=False) - expected).abs().max()) < 1e-12


def test_trades_loss_and_a_start_of_ones_own() -> None:
    """TRADES (Zhang et al. 2019) climbs the divergence from the clean answer, from a small normal noise."""
    model, x, y = exact_task(torch.float64)
    with torch.no_grad():
        clean = model(x).softmax(1)

    def divergence(x_adv: Tensor, logits: Tensor, y: Tensor) -> Tensor:
        return kl_div(logits.log_softmax(1), clean, reduction="none").sum(1)

    start = x + 0.001 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0), dtype=x.dtype)
    found = maximize(model, x, y, Linf(EPS), divergence, steps=5, step_size=EPS / 4, start=start)
    x_adv = start.clamp(0, 1)
    for _ in range(5):
        x_adv.requires_grad_(True)
        (grad,) = torch.autograd.grad(kl_div(model(x_adv).log_softmax(1), clean, reduction="sum"), x_adv)
        x_adv = x_adv.detach() + EPS / 4 * grad.sign()
        x_adv = torch.min(torch.max(x_adv, x - EPS), x + EPS).clamp(0, 1)
    assert torch.equal(found, x_adv)


def test_modes() -> None:
    _, x, y = exact_task(torch.float64)
    model = mixed_model()
    with world_untouched(model):
        found = maximize(model, x, y, Linf(EPS), steps=3)
    assert not found.requires_grad
    assert torch.equal(found, maximize(model.eval(), x, y, Linf(EPS), steps=3))
    model = mixed_model()
    model[1].train()  # type: ignore[index]
    before = model[1].num_batches_tracked.item()  # type: ignore[index]
    with torch.random.fork_rng(devices=[]):
        maximize(model, x, y, Linf(EPS), steps=3, mode="train")
    assert model[1].num_batches_tracked.item() == before + 3  # type: ignore[index]
    assert model.training
    model = mixed_model()

    def breaks(x_adv: Tensor, logits: Tensor, y: Tensor) -> Tensor:
        raise KeyError

    with world_untouched(model), pytest.raises(KeyError):
        maximize(model, x, y, Linf(EPS), breaks, steps=3)


@pytest.mark.parametrize("threat", [Linf(0.3), L2(0.7), L1(0.7), L0(3)], ids=str)
def test_feasible_and_inputs_untouched(threat: Linf) -> None:
    model, x, y = net(torch.float32), inputs(9, dtype=torch.float32), torch.arange(9) % 4
    kept = x.clone()
    assert bool(threat.contains(maximize(model, x, y, threat, steps=4), x).all())
    assert torch.equal(x, kept)


def test_costs_exactly_its_steps_and_no_gradient_of_weights() -> None:
    model, x, y = exact_task(torch.float32)
    counter = Counting(model.train())
    with Operations() as seen:
        maximize(counter, x, y, Linf(EPS), steps=6)
    assert (counter.calls, counter.backwards) == (6, 6 * len(x))
    assert len(seen.masks) == 6
    assert all(mask[0] and not mask[1] and not mask[2] for mask in seen.masks)


def test_batches_do_not_matter() -> None:
    model, x, y = exact_task(torch.float64)
    whole = maximize(model, x, y, L2(0.5), steps=5)
    assert float((torch.cat([maximize(model, x[i : i + 1], y[i : i + 1], L2(0.5), steps=5) for i in range(6)]) - whole).abs().max()) < 1e-9


def test_low_precision_stays_in_the_ball_and_climbs() -> None:
    model, x, y = exact_task(torch.float32)
    found = maximize(model, x, y, Linf(0.3), steps=5, precision="bfloat16")
    assert bool(Linf(0.3).contains(found, x).all())
    with torch.no_grad():
        assert float(cross_entropy(model(found), y)) > float(cross_entropy(model(x), y))


def test_wrong_options() -> None:
    model, x, y = exact_task(torch.float32)
    with pytest.raises(ValueError, match="mode must be 'eval' or 'train', got 'test'"):
        maximize(model, x, y, Linf(0.1), steps=1, mode="test")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="precision"):
        maximize(model, x, y, Linf(0.1), steps=1, precision="half")
    with pytest.raises(ValueError, match="unknown loss"):
        maximize(model, x, y, Linf(0.1), "hinge", steps=1)


def test_any_callable_is_a_model() -> None:
    weight = torch.tensor([[1.0, -1.0], [0.0, 0.0]])
    x, y = torch.full((2, 2), 0.5), torch.tensor([0, 1])
    found = maximize(lambda v: v @ weight.T, x, y, Linf(0.25), steps=3, random_start=False)
    assert found.tolist() == [[0.25, 0.75], [0.75, 0.25]]
    assert isinstance(found, Tensor)
    assert not isinstance(found, nn.Parameter)
