"""The engine where the shared battery does not reach: surrogates, views, low precision, traces, flags, signatures."""

from __future__ import annotations

import inspect

import pytest
import torch
from torch import Tensor, nn

from labkit.attacks import Confident, Undetected
from labkit.attacks.engine import COMMON, Search, attack
from labkit.attacks.evasion import bim, fgsm, pgd
from labkit.attacks.losses import margin
from labkit.threats import L2, Linf
from tests.attacks.evasion.suite import Counting, inputs, mixed_model, net, task, world_untouched

NEVER = Confident(1e9)


def test_transfer_success_is_the_victims() -> None:
    surrogate, victim = net(seed=0), net(seed=5)
    x = inputs(24)
    with torch.no_grad():
        y = victim(x).argmax(1)
    found = pgd(surrogate, x, y, Linf(0.3), steps=5, victim=victim)
    with torch.no_grad():
        assert torch.equal(found.success, victim(found.x_adv).argmax(1) != y)
        assert not torch.equal(found.success, surrogate(found.x_adv).argmax(1) != y)
    assert not found.already.any()
    # Nobody leaves because the surrogate is fooled: transfer wants the whole run.
    assert found.backwards.tolist() == [5] * 24
    alone = pgd(surrogate, x, y, Linf(0.3), steps=5, goal=NEVER)
    assert torch.equal(found.x_adv, alone.x_adv)


def test_transfer_leaves_both_models_as_they_were() -> None:
    surrogate, victim = mixed_model(), mixed_model()
    _, x, y = task(4)
    with world_untouched(surrogate, victim):
        bim(surrogate, x, y, Linf(0.1), steps=2, victim=victim)


def test_what_the_victim_gets_wrong_is_left_alone_whatever_the_surrogate_says() -> None:
    surrogate, victim = net(seed=0), net(seed=5)
    x = inputs(24)
    with torch.no_grad():
        y = torch.where(torch.arange(24) % 2 == 0, surrogate(x).argmax(1), victim(x).argmax(1))
        wrong = victim(x).argmax(1) != y
    assert 0 < int(wrong.sum()) < 24
    for run in (bim, pgd):
        found = run(surrogate, x, y, Linf(0.1), steps=3, victim=victim)
        assert torch.equal(found.already, wrong)
        assert torch.equal(found.x_adv[wrong], x[wrong])


class Rounded(nn.Module):
    """A view of a model: attacks see it, success is the original's."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.original = model

    def forward(self, x: Tensor) -> Tensor:
        return 10 * torch.tanh(self.original(x) / 10)


def test_a_view_is_attacked_and_the_model_behind_it_judges() -> None:
    model, x, y = task(12)
    counter = Counting(model)
    found = bim(Rounded(counter), x, y, L2(0.5), steps=3)
    with torch.no_grad():
        assert torch.equal(found.success, model(found.x_adv).argmax(1) != y)
    assert counter.forwards == int(found.forwards.sum())


def test_restarts_spare_who_is_fooled() -> None:
    model, x = net(), inputs(32)
    with torch.no_grad():
        y = model(x).argmax(1)
    one, two = (pgd(model, x, y, Linf(0.06), steps=4, restarts=n) for n in (1, 2))
    assert torch.equal(two.x_adv[one.success], one.x_adv[one.success])
    assert bool((two.backwards[one.success] <= 4).all())
    assert two.backwards[~two.success].tolist() == [8] * int((~two.success).sum())


def test_trace() -> None:
    model, x = net(), inputs(12)
    with torch.no_grad():
        y = model(x).argmax(1)
    y[:3] = (y[:3] + 1) % 4
    whole = bim(model, x, y, Linf(0.08), steps=6, trace=True)
    assert whole.trace["loss"].shape == (6, 12)
    here = ~whole.trace["loss"].isnan()
    assert torch.equal(here.sum(0), whole.forwards - 1)  # a loss for each forward pass but the verification
    first = nn.functional.cross_entropy(model(x), y, reduction="none")
    torch.testing.assert_close(whole.trace["loss"][0], first, rtol=1e-12, atol=0)
    # Chunks that end early have shorter traces: filled up, not an error. (The first one here is over at once.)
    for run in (bim, pgd):
        split = run(model, x, y, Linf(0.08), steps=6, trace=True, batch_size=3)
        together = run(model, x, y, Linf(0.08), steps=6, trace=True)
        steps = len(together.trace["loss"])
        torch.testing.assert_close(split.trace["loss"][:steps], together.trace["loss"], rtol=1e-9, atol=1e-9, equal_nan=True)
    assert bim(model, x, y, Linf(0.08), steps=6).trace == {}


@pytest.mark.parametrize("trace", [False, True])
@pytest.mark.parametrize("batch_size", [1, 2, 8])
@pytest.mark.parametrize("run", [bim, pgd])
def test_zero_gradients_are_flagged_for_whom_they_concern(run: object, batch_size: int, trace: bool) -> None:
    model, x = net(), inputs(8)
    with torch.no_grad():
        y = model(x).argmax(1)
    flat = torch.tensor([0, 1, 0, 0, 1, 0, 0, 1]).bool()
    x[:, 0, 0, 0] = flat.double()

    def masked(v: Tensor) -> Tensor:
        """Answers of marked inputs do not move with the input."""
        still = (v[:, 0, 0, 0] == 1)[:, None]
        return torch.where(still, model(v).detach(), model(v))

    mask = torch.ones(3, 4, 4)
    mask[0, 0, 0] = 0
    found = run(masked, x, y, Linf(1e-3, mask=mask), steps=3, batch_size=batch_size, trace=trace)  # type: ignore[operator]
    assert torch.equal(found.flags["zero_gradient"], flat)
    assert not found.flags["non_finite"].any()


def test_a_broken_gradient_is_flagged_even_if_the_loss_is_fine() -> None:
    model, x, y = task(6)
    y = model(x).argmax(1)

    def root(x_adv: Tensor, logits: Tensor, y: Tensor) -> Tensor:
        change = (x_adv - x).flatten(1).norm(dim=1) * (torch.arange(6) == 2)
        return nn.functional.cross_entropy(logits, y, reduction="none") + change.square().sqrt()  # at zero: 0 * inf

    found = bim(model, x, y, Linf(0.05), steps=3, loss=root, goal=NEVER)
    assert found.flags["non_finite"].any()
    assert found.flags["non_finite"][2]
    assert bool(found.x_adv.isfinite().all())


def test_nan_only_at_the_end_is_flagged_and_no_success() -> None:
    def breaks_when_moved(v: Tensor) -> Tensor:
        s = v.sum(1)
        return torch.stack([s - 5, 5 - s], 1) + torch.where(s > 1.55, torch.nan, 0.0)[:, None]

    found = fgsm(breaks_when_moved, torch.tensor([[0.75, 0.75], [0.2, 0.1]]), torch.tensor([1, 1]), Linf(0.1))
    assert found.flags["non_finite"].tolist() == [True, False]
    assert found.success.tolist() == [False, False]


def test_bfloat16_counts_only_what_float32_confirms() -> None:
    model, x, y = task(24, dtype=torch.float32)
    for run in (bim, pgd):
        found = run(model, x, y, Linf(0.1), steps=5, precision="bfloat16")
        with torch.no_grad():
            assert torch.equal(found.success, model(found.x_adv).argmax(1) != y)
            assert torch.equal(found.already, model(x).argmax(1) != y)
        assert found.x_adv.dtype == torch.float32
        assert bool(Linf(0.1).contains(found.x_adv, x).all())
        full = run(model, x, y, Linf(0.1), steps=5)
        assert abs(int(found.success.sum()) - int(full.success.sum())) <= 3


def test_bfloat16_does_not_believe_a_wrong_clean_answer_in_low_precision() -> None:
    """0.7 and 0.7005 are the same number in bfloat16: the float32 answer is right, and the input is not "wrong before"."""
    layer = nn.Linear(1, 2, bias=False)
    layer.weight.data = torch.tensor([[0.7], [0.7005]])
    found = fgsm(layer, torch.full((2, 1), 0.5), torch.tensor([1, 0]), Linf(1e-4), precision="bfloat16")
    assert found.already.tolist() == [False, True]


def test_undetected() -> None:
    model, x = net(), inputs(16)
    with torch.no_grad():
        y = model(x).argmax(1)
    free = pgd(model, x, y, Linf(0.3), steps=5, batch_size=1)
    silent = pgd(model, x, y, Linf(0.3), steps=5, batch_size=1, goal=Undetected(lambda v: v.mean((1, 2, 3)), threshold=-1.0))
    assert int(free.success.sum()) > 0
    assert int(silent.success.sum()) == 0


def test_options_are_recorded_and_signatures_say_what_can_be_given() -> None:
    model, x, y = task(2)
    found = pgd(model, x, y, Linf(0.1), steps=2, seed=9)
    assert {name: found.meta[name] for name in ("attack", "targeted", "seed", "precision", "options", "device")} == {
        "attack": "pgd", "targeted": False, "seed": 9, "precision": "float32", "options": {"steps": 2}, "device": "cpu"}  # fmt: skip
    names = list(inspect.signature(pgd).parameters)
    assert names[:4] == ["model", "x", "y", "threat"]
    assert {"steps", "step_size", "restarts", "random_start", *COMMON} == set(names[4:])
    assert pgd.__name__ == "pgd"
    assert "Madry" in (pgd.__doc__ or "")


def test_an_attack_that_leaves_the_ball_is_reported_not_returned() -> None:
    @attack
    def reckless(search: Search) -> None:
        search.finish(search.start(random=False) + 1)

    model, x, y = task(4)
    with pytest.raises(RuntimeError, match=r"of 4 results lie outside Linf\(0.1\)"):
        reckless(model, x, y, Linf(0.1))


def test_progress_changes_nothing() -> None:
    model, x, y = task(6)
    assert torch.equal(pgd(model, x, y, Linf(0.1), steps=2, progress=True, batch_size=2).x_adv, pgd(model, x, y, Linf(0.1), steps=2).x_adv)


def test_running_on_makes_mistakes_surer_and_costs_every_step() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 4)).double()
    x = torch.rand(20, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    y = model(x).argmax(1)
    early = pgd(model, x, y, Linf(0.5), steps=10)
    late = pgd(model, x, y, Linf(0.5), steps=10, stop_early=False)
    assert bool((late.success | ~early.success).all())
    assert bool((late.backwards == 10).all())
    assert bool((early.backwards <= late.backwards).all())
    assert int(early.backwards.sum()) < int(late.backwards.sum())
    both = early.success & late.success
    assert float(margin(model(late.x_adv), y)[both].mean()) > float(margin(model(early.x_adv), y)[both].mean())
