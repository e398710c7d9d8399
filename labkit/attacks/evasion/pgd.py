"""Projected gradient descent and its two older relatives: one loop, three sets of defaults.

Goodfellow et al. 2015 (FGSM, arXiv 1412.6572); Kurakin et al. 2017 (BIM, arXiv 1607.02533); Madry et al. 2018 (PGD, arXiv 1706.06083).
"""

from __future__ import annotations

from labkit.attacks.engine import Search, attack


def _climb(search: Search, steps: int, step_size: float | None, restarts: int, random_start: bool) -> None:
    if steps < 1 or restarts < 1:
        raise ValueError(f"steps and restarts must be 1 or more, got {steps} and {restarts}")
    size = search.threat.default_step(steps, search.x.shape) if step_size is None else step_size
    for restart in range(restarts):
        x_adv = search.start(random=random_start, stream=restart)
        for _ in range(steps):
            x_adv, grad = search.gradient(x_adv)
            if not len(search):
                return
            x_adv = search.region.step_(x_adv, grad, size)
        search.finish(x_adv, last=restart == restarts - 1)


@attack
def pgd(search: Search, *, steps: int = 40, step_size: float | None = None, restarts: int = 1, random_start: bool = True) -> None:
    """Projected gradient descent: ``x <- project(x + step_size * steepest(grad loss))``, from a random point of the ball.

    ``step_size``: in the threat's unit; by default 2.5 eps / steps. ``restarts``: runs from new random points, each only for the
    inputs that are still unharmed. Madry et al. 2018, arXiv 1706.06083. Notes: an input leaves as soon as it meets the goal, which
    changes the cost and not the set of fooled inputs; the paper's MNIST setting is steps=40, step_size=0.01 at Linf(0.3).
    """
    _climb(search, steps, step_size, restarts, random_start)


@attack
def bim(search: Search, *, steps: int = 10, step_size: float | None = None) -> None:
    """Basic iterative method: PGD from the clean input with steps of ``eps / steps``. Kurakin et al. 2017, arXiv 1607.02533."""
    per_step = search.threat.eps / steps if search.threat.norm != "l0" and steps > 0 else None
    _climb(search, steps, per_step if step_size is None else step_size, restarts=1, random_start=False)


@attack
def fgsm(search: Search, *, step_size: float | None = None, random_start: bool = False) -> None:
    """Fast gradient sign method: one step of length eps, ``x + eps * sign(grad loss)`` for Linf, the steepest step otherwise.

    Goodfellow et al. 2015, arXiv 1412.6572. ``random_start``: start at a random point of the ball instead (Wong et al. 2020,
    arXiv 2001.03994, with ``step_size`` 1.25 eps).
    """
    _climb(search, 1, step_size, restarts=1, random_start=random_start)
