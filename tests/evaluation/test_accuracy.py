"""Accuracy and worst cases: what is counted, and that a curve never rises."""

import pytest
import torch
from torch import nn

from labkit.attacks.evasion import fgsm, pgd
from labkit.evaluation import Evaluation, accuracy, evaluate, logits_of, robustness_curve
from labkit.models import linear, mlp, small_convnet
from labkit.threats import L2, Linf


def line(n=41):
    """Points on [0, 1], and the linear model that says 1 above one half: the distance to the boundary is |x - 1/2|."""
    model = linear(1, 2)
    with torch.no_grad():
        model[1].weight.copy_(torch.tensor([[0.0], [1.0]]))
        model[1].bias.copy_(torch.tensor([0.5, 0.0]))
    x = torch.linspace(0, 1, n)[:, None]
    return model, x, (x[:, 0] > 0.5).long()


def toy(n=60, wrong=6):
    model = mlp(8, 3, (16,))
    x = torch.rand(n, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        y = model(x).argmax(1)
    y[:wrong] = (y[:wrong] + 1) % 3
    return model, x, y


def attack(steps=20, **options):
    return lambda model, x, y, threat: pgd(model, x, y, threat, steps=steps, **options)


def test_accuracy_counts_right_answers_over_all_inputs():
    model, x, y = toy(60, 6)
    rate = accuracy(model, x, y)
    assert (rate.k, rate.n, rate.of) == (54, 60, "inputs")
    assert "54 of 60 inputs" in str(rate)
    for size in (1, 7, 60, 1000):
        assert accuracy(model, x, y, batch_size=size) == rate


def test_logits_come_in_evaluation_mode_in_order_and_the_model_gets_its_state_back():
    model = nn.Sequential(small_convnet(1, 3, 8, width=2), nn.Dropout(0.5)).train()
    model[0][2].eval()
    model[0][1].weight.requires_grad_(False)
    x = torch.rand(11, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    before = [tensor.clone() for tensor in model.state_dict().values()]
    first, second = logits_of(model, x, batch_size=4), logits_of(model, x)
    torch.testing.assert_close(first, second)
    assert not first.requires_grad
    assert all(torch.equal(a, b) for a, b in zip(before, model.state_dict().values(), strict=True))
    assert model.training
    assert model[0][6].training
    assert not model[0][2].training
    assert [p.requires_grad for p in model.parameters()].count(False) == 1


def test_a_model_may_be_any_callable():
    assert accuracy(lambda x: torch.stack([x[:, 0], 1 - x[:, 0]], 1), torch.tensor([[0.9], [0.2]]), torch.tensor([0, 0])).k == 1


def test_no_inputs():
    model, x, y = toy()
    rate = accuracy(model, x[:0], y[:0])
    assert (rate.k, rate.n) == (0, 0)


def test_the_worst_case_is_taken_per_input():
    model, x, y = toy()
    attacks = {"weak": attack(1), "strong": attack(20), "other": attack(20, loss="margin", seed=3)}
    result = evaluate(model, x, y, Linf(0.05), attacks)
    each = torch.stack([r.success for r in result.results.values()])
    assert torch.equal(result.success, each.any(0))
    assert result.robust_accuracy.k == int((~each.any(0)).sum())
    assert result.robust_accuracy.k <= min(r.robust_accuracy.k for r in result.results.values())
    assert list(result.results) == ["weak", "strong", "other"]
    rows = result.rows()
    assert [name for name, _ in rows] == ["weak", "strong", "other", "worst case"]
    assert [rate.n for _, rate in rows] == [60] * 4
    assert rows[1][1] == result.results["strong"].robust_accuracy


def test_attacks_that_fail_on_different_inputs_add_up():
    model, x, y = toy(wrong=0)

    def only(part):
        def run(model, x, y, threat):
            result = pgd(model, x, y, Linf(1.0), steps=20)
            keep = torch.arange(len(x)) % 2 == part
            return type(result)(**{**vars(result), "success": result.success & keep})

        return run

    result = evaluate(model, x, y, Linf(1.0), {"even": only(0), "odd": only(1)})
    assert [float(rate) for _, rate in result.rows()] == [0.5, 0.5, 0.0]


def test_inputs_wrong_from_the_start_count_as_wrong():
    model, x, y = toy(60, 6)
    result = evaluate(model, x, y, Linf(0.0), {"pgd": attack(2)})
    assert (result.robust_accuracy.k, result.robust_accuracy.n) == (54, 60)


def test_no_attacks_is_an_error():
    model, x, y = toy()
    with pytest.raises(ValueError, match="at least one"):
        evaluate(model, x, y, Linf(0.1), {})


def targeted(model, x, y, threat):
    return pgd(model, x, y, threat, steps=3, target=(y + 1) % 3)


def test_targeted_attacks_do_not_measure_robust_accuracy():
    """Missing the target is not being right: an input answered wrongly before would count as robust."""
    model, x, y = toy()
    with pytest.raises(ValueError, match="targeted"):
        evaluate(model, x, y, Linf(0.05), {"pgd": attack(3), "targeted": targeted})
    with pytest.raises(ValueError, match="targeted"):
        robustness_curve(model, x, y, targeted, [Linf(0.05)])


def test_an_evaluation_by_hand():
    result = Evaluation({}, torch.tensor([True, False, False]))
    assert (result.robust_accuracy.k, result.robust_accuracy.n) == (2, 3)
    assert result.rows() == [("worst case", result.robust_accuracy)]


def test_a_curve_with_a_known_answer():
    model, x, y = line()
    distance = (x[:, 0].double() - 0.5).abs()
    budgets = [0.33, 0.0, 0.11, 0.21, 0.6]
    points = robustness_curve(model, x, y, attack(5), [Linf(eps) for eps in budgets])
    assert [eps for eps, _ in points] == sorted(budgets)
    for eps, rate in points:
        expected = int((distance > eps).sum()) if eps else accuracy(model, x, y).k
        assert (rate.k, rate.n) == (expected, 41), eps


def test_a_curve_never_rises_and_is_within_the_guarantee_of_separate_runs():
    model, x, y = toy(120)
    budgets = [0.0, 0.05, 0.1, 0.15, 0.2, 0.3]
    points = robustness_curve(model, x, y, attack(20), (Linf(eps) for eps in budgets))
    left = [rate.k for _, rate in points]
    assert left == sorted(left, reverse=True)
    assert left[0] == accuracy(model, x, y).k
    assert left[-1] < left[0] / 2
    broken = torch.zeros(120, dtype=torch.bool)
    for eps, rate in points:
        alone = pgd(model, x, y, Linf(eps), steps=20).success
        broken |= alone
        assert (rate.k, rate.n) == (int((~broken).sum()), 120), eps  # the worst over this budget and all smaller ones
        assert rate.k <= int((~alone).sum())


def test_what_is_broken_is_not_attacked_again():
    model, x, y = line()
    sizes = []

    def counting(model, x, y, threat):
        sizes.append(len(x))
        return pgd(model, x, y, threat, steps=5)

    robustness_curve(model, x, y, counting, [Linf(0.0), Linf(0.11), Linf(0.6), Linf(0.7)])
    assert sizes == [41, int(((x - 0.5).abs() > 0.11).sum())], "eps 0 needs no attack, and nothing is left after eps 0.6"


def test_budgets_of_different_threats_make_no_curve():
    model, x, y = line()
    for threats in ([Linf(0.1), L2(0.2)], [Linf(0.1), Linf(0.2, low=-1.0)]):
        with pytest.raises(ValueError, match="one threat"):
            robustness_curve(model, x, y, attack(2), threats)


def test_a_curve_of_one_step_attacks_too():
    model, x, y = line()
    (point,) = robustness_curve(model, x, y, fgsm, [Linf(0.11)])
    assert point[1].k == int(((x[:, 0].double() - 0.5).abs() > 0.11).sum())
