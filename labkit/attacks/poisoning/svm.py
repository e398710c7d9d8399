"""A two-class support vector machine together with what its training rows do to it: the ground the gradient attack stands on."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from labkit.data.dataset import Split


@dataclass(frozen=True)
class Svm:
    """A trained machine: f(z) = sum_j beta_j K(x_j, z) + bias, and the answer is ``classes[1]`` where f is positive.

    ``x``: (N, D) float64 training rows. ``y``: (N,) their labels as -1 and 1. ``beta``: (N,) = alpha y. ``gamma``: of the RBF kernel
    exp(-gamma |a - b|^2); None for the linear kernel.
    """

    x: Tensor
    y: Tensor
    beta: Tensor
    bias: float
    C: float
    gamma: float | None
    classes: tuple[int, int]

    def decide(self, z: Tensor) -> Tensor:
        """Return f (B,) of inputs (B, ...)."""
        return kernel(z.flatten(1).to(self.x), self.x, self.gamma) @ self.beta + self.bias

    def predict(self, z: Tensor) -> Tensor:
        """Return labels (B,) int64 of inputs (B, ...)."""
        return torch.tensor(self.classes)[(self.decide(z) > 0).long()]

    def hinge(self, data: Split) -> float:
        """Return the mean hinge loss, max(0, 1 - y f), on a split with the same two labels."""
        return float((1 - signs(data.y, self.classes) * self.decide(data.x)).clamp(min=0).mean())

    @property
    def on_margin(self) -> Tensor:
        """(N,) bool: support vectors with 0 < alpha < C, the rows whose condition y f = 1 holds exactly."""
        alpha = self.beta.abs()
        return (alpha > 1e-9 * self.C) & (alpha < self.C * (1 - 1e-9))


def fit_svm(data: Split, *, C: float = 1.0, gamma: float | None = None, tol: float = 1e-6) -> Svm:
    """Train a machine on a split with exactly two labels (role "train", "poisoned" or "shadow"); scikit-learn's LIBSVM solves it.

    ``C``: the price of a violated margin. ``gamma``: RBF kernel; None: linear. ``tol``: of the optimality conditions; the gradient below is
    as exact as they are. Raises WrongRole, ValueError unless there are two labels.
    """
    data.require("train", "poisoned", "shadow", purpose="fit_svm")
    found = sorted(set(data.y.tolist()))
    if len(found) != 2:
        raise ValueError(f"a support vector machine tells two labels apart; {data.name!r} has {found}")
    classes = (found[0], found[1])
    x = data.x.detach().cpu().flatten(1).double()
    return solve(x, signs(data.y.cpu(), classes), kernel(x, x, gamma), C, gamma, classes, tol)


def solve(x: Tensor, y: Tensor, gram: Tensor, C: float, gamma: float | None, classes: tuple[int, int], tol: float = 1e-6) -> Svm:
    """Train on rows (N, D) with labels -1 and 1 whose kernel matrix (N, N) is already known.

    LIBSVM computes in float32: it finds *which* rows lie on the margin. Where they are known, beta and bias follow from linear
    equations, solved here in float64, so that derivatives of what it found can be checked.
    """
    from sklearn.svm import SVC

    fitted = SVC(C=C, kernel="precomputed", tol=tol).fit(gram.numpy(), y.numpy())
    beta = torch.zeros(len(y), dtype=torch.float64)
    beta[torch.from_numpy(fitted.support_.astype("int64"))] = torch.from_numpy(fitted.dual_coef_[0].copy())
    machine = Svm(x, y, beta, float(fitted.intercept_[0]), C, gamma, classes)
    margin = machine.on_margin.nonzero().squeeze(1)
    if not len(margin):
        return machine
    rest = beta.clone()
    rest[margin] = 0.0
    right = torch.cat([y[margin] - gram[margin] @ rest, -rest.sum()[None]])
    solution = torch.linalg.lstsq(_system(gram[margin][:, margin]), right[:, None], driver="gelsd").solution[:, 0]
    alpha = solution[:-1] * y[margin]
    if bool(((alpha > 0) & (alpha < C)).all()):
        machine = replace(machine, beta=rest.index_copy(0, margin, solution[:-1]), bias=float(solution[-1]))
    return machine


def _system(gram: Tensor) -> Tensor:
    """Return [K 1; 1' 0]: the conditions y f = 1 on the margin, and that the betas sum to nothing."""
    system = torch.ones(len(gram) + 1, len(gram) + 1, dtype=torch.float64)
    system[:-1, :-1] = gram
    system[-1, -1] = 0.0
    return system


def signs(y: Tensor, classes: tuple[int, int]) -> Tensor:
    """Return -1.0 for the first class and 1.0 for the second. Raises ValueError for any other label."""
    if other := set(y.tolist()) - set(classes):
        raise ValueError(f"labels {sorted(other)} are none of the machine's two, {classes[0]} and {classes[1]}")
    return torch.where(y == classes[1], 1.0, -1.0).double()


def kernel(a: Tensor, b: Tensor, gamma: float | None) -> Tensor:
    """Return K (A, B) between rows (A, D) and (B, D)."""
    inner = a @ b.T
    if gamma is None:
        return inner
    squares = (a * a).sum(1)[:, None] + (b * b).sum(1)[None] - 2 * inner
    return torch.exp(-gamma * squares.clamp(min=0))


def kernel_slope(a: Tensor, z: Tensor, gamma: float | None) -> Tensor:
    """Return dK(a_i, z) / dz, shape (A, D), for rows a (A, D) and one point z (D,)."""
    if gamma is None:
        return a
    return 2 * gamma * kernel(a, z[None], gamma) * (a - z)


def poison_gradient(machine: Svm, row: int, x_val: Tensor, y_val: Tensor) -> tuple[float, Tensor]:
    """Return the mean validation hinge loss and its gradient (D,) with respect to training row ``row``, *retraining included*.

    ``x_val``: (V, D) float64; ``y_val``: (V,) -1 or 1, the true labels. Biggio, Nelson and Laskov 2012, arXiv 1206.6389.

    While no row enters or leaves the margin, training keeps f(x_i) = y_i on the margin rows S and sum_j beta_j = 0. Both stay true when x_c
    moves by dz, so d(beta_S) and d(bias) solve one linear system:

        [K_SS 1; 1' 0] [d beta_S; d bias] = -[sum_j beta_j dK_Sj; 0].

    Notes: exact also when x_c itself lies on the margin, where its own row of the system moves too. One solve with the loss's own
    right-hand side (the adjoint) serves all D directions. Where no row lies on the margin, the bias is taken as fixed. A row with
    alpha = 0 has gradient zero: moving it changes nothing.
    """
    x, beta, gamma, z = machine.x, machine.beta, machine.gamma, machine.x[row]
    gram_val = kernel(x_val, x, gamma)
    slack = 1 - y_val * (gram_val @ beta + machine.bias)
    pull = torch.where(slack > 0, -y_val, 0.0) / len(y_val)  # dL / df at each validation input
    loss = float(slack.clamp(min=0).mean())
    if beta[row] == 0:
        return loss, torch.zeros_like(z)
    gradient = beta[row] * (pull @ kernel_slope(x_val, z, gamma))
    margin = machine.on_margin.nonzero().squeeze(1)
    if not len(margin):
        return loss, gradient
    system = _system(kernel(x[margin], x[margin], gamma))
    wanted = torch.cat([gram_val[:, margin].T @ pull, pull.sum()[None]])
    adjoint = torch.linalg.lstsq(system, wanted[:, None], driver="gelsd").solution[:-1, 0]
    moved = beta[row] * kernel_slope(x[margin], z, gamma)
    own = (margin == row).nonzero()
    if len(own):  # f(x_c) moves with every kernel value of x_c; K(x_c, x_c) = |x_c|^2 twice, or 1 forever
        others = beta @ kernel_slope(x, z, gamma)
        moved[own[0, 0]] = others + (beta[row] * z if gamma is None else 0.0)
    return loss, gradient - adjoint @ moved
