"""An attacker's notebook: what was asked, in order, what was said, and nothing lost when the service stops answering."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from labkit.endpoint import OutOfQueries, Top

Oracle = Callable[[Tensor], Tensor | Top]


class Inquiry:
    """Asks ``oracle`` and writes everything down.

    ``oracle``: an ``Endpoint``, or any function from inputs (N, ...) to labels (N,) int64, probabilities (N, K), or a ``Top``. ``budget``:
    the most inputs to ask about. ``classes``: K, needed to write a ``Top`` down as probabilities: what the list leaves over is shared out
    evenly among the classes that it does not name. ``log``: without, the inputs are counted and not kept. ``exhausted``: whether an answer
    was ever refused.
    """

    def __init__(self, oracle: Oracle, *, budget: int | None = None, classes: int | None = None, log: bool = True) -> None:
        if budget is not None and budget < 0:
            raise ValueError(f"a budget of queries must be 0 or more, got {budget}")
        self.oracle, self.budget, self.classes, self.log, self.exhausted = oracle, budget, classes, log, False
        self._asked: list[Tensor] = []
        self._said: list[Tensor] = []

    def __call__(self, x: Tensor) -> Tensor:
        """Return the answers to the first inputs of x, (n,) or (n, K) with n <= N: to all of them, unless limit or budget end before.

        A service refuses a batch whole when it goes over the limit, and charges nothing for it: then halves are tried, so that
        the last answer left is got as well.
        """
        room = len(x) if self.budget is None else min(len(x), self.budget - self.queries)
        self.exhausted |= room < len(x)
        told = self._told(x[:room]) if room else []
        if told:
            return torch.cat(told)
        return self._said[0][:0] if self._said else torch.empty(0, dtype=torch.int64, device=x.device)

    @property
    def queries(self) -> int:
        """How many inputs were answered."""
        return sum(map(len, self._said))

    @property
    def x(self) -> Tensor:
        """The answered inputs (Q, ...), in the order asked, or none of them without ``log``. Raises OutOfQueries when there are none."""
        return torch.cat(self._known(self._asked))

    @property
    def answers(self) -> Tensor:
        """What was said, (Q,) labels or (Q, K) probabilities. Raises OutOfQueries when there is nothing."""
        return torch.cat(self._known(self._said))

    @property
    def labels(self) -> Tensor:
        """The answers as labels (Q,) int64. Raises OutOfQueries when there are none."""
        said = self.answers
        return said if said.ndim == 1 else said.argmax(1)

    def _known(self, parts: list[Tensor]) -> list[Tensor]:
        if not parts:
            raise OutOfQueries("not one query was answered, so there is nothing to make a copy of")
        return parts

    def _told(self, x: Tensor) -> list[Tensor]:
        try:
            said = self._read(self.oracle(x), x)
        except OutOfQueries:
            self.exhausted, half = True, len(x) // 2
            if not half:
                return []
            first = self._told(x[:half])
            return first if sum(map(len, first)) < half else first + self._told(x[half:])
        self._asked.append(x.detach() if self.log else x.detach()[:0].clone())
        self._said.append(said)
        return [said]

    def _read(self, answer: Tensor | Top, x: Tensor) -> Tensor:
        if isinstance(answer, Top):
            if self.classes is None:
                raise ValueError("the service lists the likeliest classes only; classes= says how many there are in all")
            return spread(answer, self.classes)
        whole = answer.ndim == 1 and answer.dtype == torch.int64
        shares = answer.ndim == 2 and answer.is_floating_point() and bool(((answer >= 0) & (answer <= 1)).all())
        if len(answer) != len(x) or not (whole or shares):
            raise ValueError(
                f"an oracle answers one int64 label or one row of probabilities for each of {len(x)} inputs, got {answer.dtype} of shape "
                f"{tuple(answer.shape)}; is it a model? Use Endpoint(model)"
            )
        return answer.detach().to(x.device)


def spread(top: Top, classes: int) -> Tensor:
    """Return a list of the likeliest classes as probabilities (N, classes): what is left over is shared evenly among the others."""
    listed = top.labels.shape[1]
    rest = (1 - top.probabilities.sum(1, keepdim=True)).clamp_min(0) / max(1, classes - listed)
    return rest.expand(-1, classes).scatter(1, top.labels, top.probabilities)
