"""The gradient through the retrained machine, against finite differences of a retrained machine."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from labkit.attacks.poisoning import fit_svm, poison_gradient
from labkit.attacks.poisoning.svm import Svm, kernel, kernel_slope, signs, solve
from labkit.data.dataset import Split, WrongRole


def cloud(count: int, seed: int, dims: int = 4) -> tuple[Tensor, Tensor]:
    source = torch.Generator().manual_seed(seed)
    y = torch.where(torch.arange(count) % 2 == 0, -1.0, 1.0).double()
    x = torch.randn(count, dims, generator=source, dtype=torch.float64)
    x[:, 0] += 0.7 * y
    return x, y


def machine(x: Tensor, y: Tensor, gamma: float | None, C: float = 1.0) -> Svm:
    return solve(x, y, kernel(x, x, gamma), C, gamma, (0, 1), tol=1e-8)


def by_differences(x: Tensor, y: Tensor, row: int, gamma: float | None, x_val: Tensor, y_val: Tensor, step: float = 1e-5) -> Tensor:
    slopes = []
    for dim in range(x.shape[1]):
        ends = []
        for sign in (1, -1):
            moved = x.clone()
            moved[row, dim] += sign * step
            f = machine(moved, y, gamma).decide(x_val)
            ends.append(float((1 - y_val * f).clamp(min=0).mean()))
        slopes.append((ends[0] - ends[1]) / (2 * step))
    return torch.tensor(slopes, dtype=torch.float64)


@pytest.mark.parametrize("gamma", [None, 0.4], ids=["linear", "rbf"])
def test_gradient_is_that_of_a_retrained_machine(gamma: float | None) -> None:
    """For rows at the bound, rows on the margin themselves, and rows that do not matter."""
    x, y = cloud(30, 1)
    x_val, y_val = cloud(40, 2)
    fitted, seen = machine(x, y, gamma), {"bound": 0, "margin": 0, "idle": 0}
    for row in range(0, 30):
        kind = "idle" if fitted.beta[row] == 0 else "margin" if bool(fitted.on_margin[row]) else "bound"
        seen[kind] += 1
        if seen[kind] > 3:
            continue
        loss, gradient = poison_gradient(fitted, row, x_val, y_val)
        expected = by_differences(x, y, row, gamma, x_val, y_val)
        assert loss == pytest.approx(float((1 - y_val * fitted.decide(x_val)).clamp(min=0).mean()), abs=1e-12)
        assert torch.allclose(gradient, expected, atol=1e-6), (kind, row, gradient, expected)
        assert (kind == "idle") == (float(gradient.norm()) == 0.0)
    assert min(seen.values()) > 0, f"the trial must have all three kinds of rows, it has {seen}"


def test_the_machine_is_optimal_and_is_scikit_learns() -> None:
    from sklearn.svm import SVC

    x, y = cloud(40, 3)
    for gamma, options in ((None, {"kernel": "linear"}), (0.4, {"kernel": "rbf", "gamma": 0.4})):
        ours, theirs = machine(x, y, gamma), SVC(C=1.0, tol=1e-8, **options).fit(x.numpy(), y.numpy())
        z, _ = cloud(20, 4)
        assert torch.allclose(ours.decide(z), torch.from_numpy(theirs.decision_function(z.numpy())), atol=1e-4)
        f, alpha, slack = ours.decide(x), ours.beta * y, 1e-9
        assert float(alpha.min()) >= 0
        assert float(alpha.max()) <= 1
        assert abs(float(ours.beta.sum())) < 1e-9
        assert bool((y * f)[ours.on_margin].sub(1).abs().le(1e-9).all())
        assert bool((y * f >= 1 - 1e-6)[alpha == 0].all())
        assert bool((y * f <= 1 + 1e-6)[alpha >= 1 - slack].all())


def test_two_points_have_a_closed_form() -> None:
    """Points at -1 and 1 on a line: f(x) = x. Pushing the right one out by d turns the boundary and flattens the slope."""
    x, y = torch.tensor([[-1.0], [1.0]], dtype=torch.float64), torch.tensor([-1.0, 1.0], dtype=torch.float64)
    fitted = machine(x, y, None, C=10.0)
    z = torch.tensor([[0.3], [-2.0]], dtype=torch.float64)
    assert torch.allclose(fitted.decide(z), z[:, 0], atol=1e-9)
    # With the right point at a: f(z) = (2 z - a + 1) / (a + 1), so df/da at a = 1 is (-1 - z) / 2; the loss of y = 1 at z = 0.3 is 1 - f.
    loss, gradient = poison_gradient(fitted, 1, z[:1], torch.ones(1, dtype=torch.float64))
    assert loss == pytest.approx(0.7)
    assert float(gradient) == pytest.approx(0.65)


def test_kernel_slopes_are_derivatives() -> None:
    a, z = cloud(6, 5)[0], cloud(2, 6)[0][0].clone().requires_grad_(True)
    for gamma in (None, 0.3):
        jacobian = torch.autograd.functional.jacobian(lambda point, g=gamma: kernel(a, point[None], g)[:, 0], z)
        assert torch.allclose(jacobian, kernel_slope(a, z.detach(), gamma), atol=1e-12)


def test_splits_roles_and_labels() -> None:
    x, y = cloud(20, 7)
    data = Split(x.float().reshape(20, 1, 2, 2), torch.where(y > 0, 8, 3), "train", "pair")
    fitted = fit_svm(data, gamma=0.5)
    assert fitted.classes == (3, 8)
    assert set(fitted.predict(data.x).tolist()) <= {3, 8}
    assert float((fitted.predict(data.x) == data.y).double().mean()) > 0.7
    assert fitted.hinge(data) == pytest.approx(float((1 - y * fitted.decide(data.x)).clamp(min=0).mean()))
    with pytest.raises(WrongRole, match="fit_svm"):
        fit_svm(data.as_role("test"))
    with pytest.raises(ValueError, match=r"'pair' has \[3\]"):
        fit_svm(data.take(data.y == 3))
    with pytest.raises(ValueError, match=r"labels \[5\] are none of the machine's two, 3 and 8"):
        signs(torch.tensor([3, 5]), (3, 8))
