"""What an injection hands back: what was sent, what came back, and who got what they wanted."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from labkit.attacks.outcome import Outcome
from labkit.rates import Rate


@dataclass(frozen=True)
class InjectionResult(Outcome):
    """An attack on a chat model, case by case; all lists have one entry per case.

    ``attack``, ``model``: their names. ``sent``: the text that the attacker had a hand in (document or user's turn). ``replies``: what
    the model said. ``success``: the attacker's instruction was carried out. ``utility``: the user's task was done. ``added``: words that
    the attacker added, line ends among them. ``place``: where they were written. ``queries``: questions to the model; ``forwards`` and
    ``backwards``: single prompts passed through a white-box model, by whatever search made the attack. ``held``: the canary (or a word of
    the secret) stands in the reply, whatever else does: the loose judge, whose successes need not be obedience.
    """

    attack: str
    model: str
    sent: list[str]
    replies: list[str]
    success: list[bool]
    utility: list[bool]
    added: list[int]
    place: Literal["document", "user"] = "document"
    queries: int = 0
    forwards: int = 0
    backwards: int = 0
    held: list[bool] = field(default_factory=list)
    threat: str = field(default="21_prompt_injection")

    def __post_init__(self) -> None:
        sizes = {name: len(getattr(self, name)) for name in ("sent", "replies", "success", "utility", "added")}
        if self.held:
            sizes["held"] = len(self.held)
        if len(set(sizes.values())) > 1:
            raise ValueError(f"one entry per case is needed in each list, got {sizes}")

    def __len__(self) -> int:
        return len(self.replies)

    @property
    def success_rate(self) -> Rate:
        """How often the attacker's instruction was carried out, of all cases."""
        return Rate(sum(self.success), len(self), "cases")

    @property
    def utility_rate(self) -> Rate:
        """How often the user's task was done all the same, of all cases."""
        return Rate(sum(self.utility), len(self), "cases")

    @property
    def held_rate(self) -> Rate:
        """How often the canary stands in the reply, of all cases. Raises ValueError when nobody looked."""
        if len(self.held) != len(self):
            raise ValueError(f"nobody looked for the canary in these {len(self)} replies: the list `held` has {len(self.held)} entries")
        return Rate(sum(self.held), len(self), "cases")

    @property
    def metrics(self) -> dict[str, Rate | float]:
        """Attack success and utility. They need not add up to one: a confused model serves nobody."""
        return {"attack success": self.success_rate, "utility": self.utility_rate}

    @property
    def costs(self) -> dict[str, float]:
        """Queries, and for white-box attacks forwards and backwards."""
        counts = {"queries": self.queries, "forwards": self.forwards, "backwards": self.backwards}
        return {name: float(count) for name, count in counts.items() if count}
