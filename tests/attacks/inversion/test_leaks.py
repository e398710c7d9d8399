"""Gradients of one sample give its input and its label away exactly; of more, or with two classes, they do not."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from labkit.attacks.inversion import clipped, input_of_linear, label_from_bias, label_from_weight, labels_present, noised, shared_gradient
from labkit.models import mlp
from labkit.seeding import generator


def net(seed: int, activation: type[nn.Module] = nn.ReLU, classes: int = 7) -> nn.Sequential:
    return mlp(10, classes, (12,), activation, seed=seed).double()


def one(seed: int, count: int = 1) -> torch.Tensor:
    return torch.rand(count, 10, generator=generator(seed, "x"), dtype=torch.float64)


@settings(max_examples=20)
@given(seed=st.integers(0, 500), y=st.integers(0, 6), rows=st.sampled_from(["best", "all"]))
def test_the_first_layer_gives_its_input_away(seed: int, y: int, rows: str) -> None:
    x = one(seed)
    gradient = shared_gradient(net(seed), x, torch.tensor([y]))
    assert torch.allclose(input_of_linear(gradient[0], gradient[1], rows=rows), x[0], atol=1e-6, rtol=0)


@settings(max_examples=20)
@given(seed=st.integers(0, 500), y=st.integers(0, 6))
def test_the_last_layer_gives_the_label_away(seed: int, y: int) -> None:
    for activation in (nn.ReLU, nn.Sigmoid, nn.Tanh):
        gradient = shared_gradient(net(seed, activation), one(seed), torch.tensor([y]))
        assert label_from_bias(gradient[-1]) == y
        assert label_from_weight(gradient[-2]) == y
        if activation is not nn.Tanh:
            assert label_from_weight(gradient[-2], rule="sums") == y


def test_sums_of_signed_activations_mislead() -> None:
    """Activations that sum to less than zero turn the rule of sums around; the angles still tell."""
    a = torch.tensor([-1.0, 0.2, -0.5])
    weight = torch.outer(torch.tensor([0.5, -0.9, 0.4]), a)
    assert label_from_weight(weight) == 1
    assert label_from_weight(weight, rule="sums") != 1


def test_with_two_classes_the_angles_do_not_decide() -> None:
    gradient = shared_gradient(net(1, nn.Tanh, classes=2), one(1), torch.tensor([1]))
    assert label_from_weight(gradient[-2]) is None
    assert label_from_bias(gradient[-1]) == 1


def test_a_confident_network_leaks_as_well() -> None:
    model = net(2)
    with torch.no_grad():
        model[-1].weight.mul_(60)
    y = int(model(one(2)).argmax())
    assert label_from_weight(shared_gradient(model, one(2), torch.tensor([y]))[-2]) == y


def test_of_a_batch_the_input_is_a_mixture_and_labels_are_partly_seen() -> None:
    x, y = one(3, 4), torch.tensor([2, 2, 5, 6])
    gradient = shared_gradient(net(3), x, y)
    mixed = input_of_linear(gradient[0], gradient[1])
    assert float((mixed - x).norm(dim=1).min()) > 1e-3
    assert set(labels_present(gradient[-1])) <= {2, 5, 6}
    assert labels_present(gradient[-1])
    with pytest.raises(ValueError, match="more than one sample"):
        label_from_bias(torch.tensor([-0.1, 0.2, -0.1]))


def test_an_inactive_layer_leaves_no_trace() -> None:
    with pytest.raises(ValueError, match="no unit of this layer was active"):
        input_of_linear(torch.zeros(3, 10), torch.zeros(3))
    with pytest.raises(ValueError, match=r"\(M, D\) and \(M,\)"):
        input_of_linear(torch.zeros(3, 10), torch.zeros(4))


def test_clipping_shortens_and_changes_no_direction() -> None:
    x = one(4)
    gradient = shared_gradient(net(4), x, torch.tensor([1]))
    short = clipped(gradient, 0.01)
    assert float(torch.cat([g.flatten() for g in short]).norm()) == pytest.approx(0.01)
    assert torch.allclose(input_of_linear(short[0], short[1]), x[0], atol=1e-6)
    assert all(torch.equal(a, b) for a, b in zip(clipped(gradient, 1e6), gradient, strict=True))
    with pytest.raises(ValueError, match="got 0"):
        clipped(gradient, 0)


def test_noise_has_the_size_asked_for_and_all_rows_stand_it_better() -> None:
    x = one(5)
    gradient = shared_gradient(mlp(10, 7, (400,), nn.Sigmoid, seed=5).double(), x, torch.tensor([3]))
    loud = noised(gradient, 1e-3, seed=1)
    assert float((loud[0] - gradient[0]).std()) == pytest.approx(1e-3, rel=0.1)
    assert all(torch.equal(a, b) for a, b in zip(loud, noised(gradient, 1e-3, seed=1), strict=True))
    errors = {rows: [], "all": []} if (rows := "best") else {}
    for seed in range(20):
        bad = noised(gradient, 1e-3, seed=seed)
        for rows in ("best", "all"):
            errors[rows].append(float((input_of_linear(bad[0], bad[1], rows=rows) - x[0]).norm()))
    assert sum(errors["all"]) < 0.6 * sum(errors["best"])
    with pytest.raises(ValueError, match="got -1"):
        noised(gradient, -1)


def test_all_rows_together_do_not_take_the_noise_on_the_bias_for_signal() -> None:
    x = torch.rand(40, generator=torch.Generator().manual_seed(3)).double()
    bias = torch.linspace(-0.3, 0.3, 16, dtype=torch.float64)
    fitted, regressed = [], []
    for seed in range(20):
        weight, noisy = noised((torch.outer(bias, x), bias), 0.1, seed=seed)
        fitted.append(input_of_linear(weight, noisy, rows="all").norm() / x.norm())
        regressed.append((noisy @ weight / noisy.square().sum()).norm() / x.norm())
    # Least squares on the noisy bias divides by its square, noise included, and shrinks the answer.
    assert float(torch.stack(regressed).mean()) < 0.9
    assert float(torch.stack(fitted).mean()) == pytest.approx(1, abs=0.12)


def test_the_shared_gradient_is_the_mean_of_the_samples() -> None:
    model, x, y = net(6), one(6, 3), torch.tensor([0, 4, 4])
    each = [shared_gradient(model, x[i : i + 1], y[i : i + 1]) for i in range(3)]
    for whole, *parts in zip(shared_gradient(model, x, y), *each, strict=True):
        assert torch.allclose(whole, torch.stack(parts).mean(0))
    assert all(p.grad is None for p in model.parameters())
