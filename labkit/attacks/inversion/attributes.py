"""Attribute inference: guess a field of a record from the model's answer, and find out what the model added to the guess."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from labkit.attacks.outcome import Outcome
from labkit.attacks.views import held_still
from labkit.rates import Rate

#: Writes one candidate value into the sensitive field of records (N, F), and into whatever depends on it: (x, value number) -> (N, F).
Fill = Callable[[Tensor, int], Tensor]


@dataclass(frozen=True)
class AttributeResult(Outcome):
    """Guesses of a sensitive field for N records. ``posterior`` (N, V): how likely the attacker finds each value; ``guess`` (N,) int64:
    the likeliest. ``queries``: answers of the model that were used. ``truth`` (N,) int64, if known, is used for scoring alone.
    """

    posterior: Tensor
    queries: int
    truth: Tensor | None = None
    threat: str = "19_model_inversion"

    @property
    def guess(self) -> Tensor:
        """The likeliest value of each record, (N,) int64; of equal ones the first."""
        return self.posterior.argmax(1)

    @property
    def right(self) -> Tensor:
        """(N,) bool: the guess is the truth. Raises ValueError without ``truth``."""
        if self.truth is None:
            raise ValueError("whether a guess is right takes the truth: infer_attribute(..., truth=...)")
        return self.guess == self.truth.to(self.guess.device)

    @property
    def metrics(self) -> dict[str, Rate | float]:
        """Fields guessed right, of all records; nothing without the truth."""
        return {} if self.truth is None else {"guessed right": Rate(int(self.right.sum()), len(self.truth), "records")}

    @property
    def costs(self) -> dict[str, float]:
        """The queries."""
        return {"queries": self.queries}

    def on(self, rows: Tensor) -> AttributeResult:
        """Return the result on some records (indices or booleans), e.g. those of members of the training set."""
        return replace(self, posterior=self.posterior[rows], truth=None if self.truth is None else self.truth[rows])

    def advantage(self, other: AttributeResult, *, seed: int = 0) -> tuple[float, tuple[float, float]]:
        """Return how many more fields, as a share of the records, this attacker guesses right than ``other`` does, with a 95 % interval.

        Pairs of guesses about the same record are resampled together (bootstrap). Raises ValueError for other records.
        """
        if self.truth is None or other.truth is None or not torch.equal(self.truth, other.truth):
            raise ValueError("an advantage compares guesses about the same records; the truths of the two results differ or are missing")
        gain = (self.right.double() - other.right.double()).cpu().numpy()
        draws = np.random.default_rng(seed).integers(0, len(gain), (2000, len(gain)))
        low, high = np.quantile(gain[draws].mean(1), [0.025, 0.975])
        return float(gain.mean()), (float(low), float(high))


def infer_attribute(
    model: Callable[[Tensor], Tensor], x: Tensor, y: Tensor, fill: Fill, prior: Tensor, *, confusion: Tensor | None = None,
    truth: Tensor | None = None,
) -> AttributeResult:  # fmt: skip
    """Guess the field by ``argmax_v p(y | f(x with v)) * prior(v)``: try every value, and ask how well the model then explains y.

    ``model``: records (B, F) -> logits or log-probabilities (B, K), e.g. ``endpoint.as_model()``. ``x`` (N, F): the records as the attacker
    knows them; what stands in the sensitive field is overwritten. ``y`` (N,) int64: the label that the attacker knows. ``fill``: writes
    value number v. ``prior``: (V,) marginals, or (N, V) from whatever is known without the model. ``confusion``: (K, K), row "true label",
    column "model's answer": then the answer alone is used, as from a service that names labels; otherwise its probability of y.
    Fredrikson et al. 2014 (USENIX Security) and 2015 (CCS), section 4; as probabilities: Mehnaz et al. 2022, arXiv 2201.09370.
    Raises ValueError for shapes that do not fit and for priors that are no probabilities.
    """
    values = prior.shape[-1]
    if prior.shape not in ((values,), (len(x), values)) or len(y) != len(x):
        raise ValueError(f"prior must be (V,) or ({len(x)}, V) and y ({len(x)},), got {tuple(prior.shape)} and {tuple(y.shape)}")
    sums = prior.double().sum(-1).flatten()
    if bool(((sums - 1).abs() > 1e-4).any()) or float(prior.min()) < 0:
        raise ValueError(f"prior must hold probabilities that sum to 1, got rows that sum to {sums[:3].tolist()}")
    likelihood = []
    with held_still(model), torch.no_grad():
        for value in range(values):
            log_p = torch.cat([model(part) for part in torch.split(fill(x, value), 1024)]).double().log_softmax(1)
            if confusion is None:
                likelihood.append(log_p.gather(1, y.to(log_p.device)[:, None])[:, 0].exp())
            else:
                likelihood.append(confusion.to(log_p)[y.to(log_p.device), log_p.argmax(1)])
    joint = torch.stack(likelihood, 1) * prior.to(likelihood[0])
    total = joint.sum(1, keepdim=True)
    weights = torch.where(total > 0, joint / total.clamp_min(1e-300), prior.to(joint).expand_as(joint))  # all impossible: the prior stays
    return AttributeResult(weights, values * len(x), truth)


def from_prior(prior: Tensor, count: int, *, truth: Tensor | None = None) -> AttributeResult:
    """Return the guesses of somebody who never asks the model: ``prior`` (V,) or (N, V). The baseline of every attribute inference."""
    return AttributeResult(prior.double().expand(count, prior.shape[-1]), 0, truth)


def confusion_of(model: Callable[[Tensor], Tensor], x: Tensor, y: Tensor, classes: int) -> Tensor:
    """Return (K, K): how often each true label (row) gets each answer (column), one count added everywhere; rows sum to 1."""
    with held_still(model), torch.no_grad():
        answer = torch.cat([model(part).argmax(1) for part in torch.split(x, 1024)])
    counts = torch.ones(classes, classes, dtype=torch.float64)
    counts.index_put_((y.cpu(), answer.cpu()), torch.ones(len(y), dtype=torch.float64), accumulate=True)
    return counts / counts.sum(1, keepdim=True)


def impute(known: Tensor, field: Tensor, x: Tensor, values: int, *, categorical: Sequence[int] = (), seed: int = 0) -> Tensor:
    """Return (N, V): how likely each value is for records x (N, F), learned from the attacker's own records and without the model.

    ``known`` (M, F) and ``field`` (M,) int64: records of other people for whom the attacker knows the field; both tables must hold only
    what is known of the target. ``categorical``: columns that are numbers of categories, written as indicators. Logistic regression.
    The honest baseline: Jayaraman, Evans 2022, arXiv 2209.01292. Raises ValueError when only one value occurs in ``field``.
    """
    from sklearn.linear_model import LogisticRegression

    seen = sorted(set(field.tolist()))
    if len(seen) < 2:
        raise ValueError(f"only the value {seen} occurs among the {len(field)} known records: nothing to learn an imputation from")
    table, target = (_indicators(part, known, categorical) for part in (known, x))
    reader = LogisticRegression(max_iter=1000, random_state=seed).fit(table, field.cpu().numpy())
    guesses = np.zeros((len(x), values))
    guesses[:, reader.classes_] = reader.predict_proba(target)
    return torch.from_numpy(guesses)


def _indicators(x: Tensor, reference: Tensor, categorical: Sequence[int]) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    rest = [i for i in range(x.shape[1]) if i not in categorical]
    parts = [x[:, rest].double()]
    for column in categorical:
        levels = torch.tensor(sorted(set(reference[:, column].tolist())), dtype=x.dtype)
        parts.append((x[:, column, None] == levels).double())
    stacked: np.ndarray[tuple[int, ...], np.dtype[np.float64]] = torch.cat(parts, 1).cpu().numpy()
    return stacked


__all__ = ["AttributeResult", "Fill", "confusion_of", "from_prior", "impute", "infer_attribute"]
