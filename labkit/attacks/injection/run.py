"""Run injections against any chat model and judge every reply."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice

from labkit.attacks.injection.case import Case
from labkit.attacks.injection.judge import written
from labkit.attacks.injection.result import InjectionResult
from labkit.attacks.injection.texts import Attack
from labkit.models.chat.protocol import ChatModel, replies


def run_injections(model: ChatModel, cases: Sequence[Case], attacks: Mapping[str, Attack]) -> dict[str, InjectionResult]:
    """Return, for each attack by name, what the model replied to each case with the attacked document, judged by the case's rules.

    Every reply is one query. Raises ValueError without cases or attacks.
    """
    if not cases or not attacks:
        raise ValueError(f"{len(cases)} cases and {len(attacks)} attacks: there is nothing to run")
    sent = {name: [attack(case.document, case.instruction) for case in cases] for name, attack in attacks.items()}
    asked = [case.messages(document) for documents in sent.values() for case, document in zip(cases, documents, strict=True)]
    said = iter(replies(model, asked))  # all of them at once, for a model that can
    return {name: _judged(model, cases, name, documents, list(islice(said, len(cases)))) for name, documents in sent.items()}


def _judged(model: ChatModel, cases: Sequence[Case], name: str, sent: list[str], said: list[str]) -> InjectionResult:
    judged = list(zip(cases, said, sent, strict=True))
    return InjectionResult(
        name, model.name, sent, said,
        success=[case.obeyed(reply, document) for case, reply, document in judged],
        utility=[case.useful(reply, document) for case, reply, document in judged],
        added=[_length(document) - _length(case.document) for case, _, document in judged],
        queries=len(cases),
        held=[written(case.canary, reply) for case, reply, _ in judged],
    )  # fmt: skip


def _length(text: str) -> int:
    """Count words, a line end as one: the small language has a word for it."""
    return len(text.split()) + text.count("\n")
