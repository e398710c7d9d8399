"""Run injections against any chat model and judge every reply."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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
    return {name: _run(model, cases, name, attack) for name, attack in attacks.items()}


def _run(model: ChatModel, cases: Sequence[Case], name: str, attack: Attack) -> InjectionResult:
    sent = [attack(case.document, case.instruction) for case in cases]
    said = replies(model, [case.messages(document) for case, document in zip(cases, sent, strict=True)])
    judged = list(zip(cases, said, sent, strict=True))
    return InjectionResult(
        name, model.name, sent, said,
        success=[case.obeyed(reply, document) for case, reply, document in judged],
        utility=[case.useful(reply, document) for case, reply, document in judged],
        added=[_length(document) - _length(case.document) for case, _, document in judged],
        queries=len(cases),
        held=[written(case.canary, reply) for case, reply in zip(cases, said, strict=True)],
    )  # fmt: skip


def _length(text: str) -> int:
    """Count words, a line end as one: the small language has a word for it."""
    return len(text.split()) + text.count("\n")
