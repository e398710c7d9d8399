"""What all evasion attacks share, so that an attack's body is the algorithm and nothing else.

``@attack`` turns a body ``(search, *, options)`` into a function ``(model, x, y, threat, *, options)``: it checks the inputs, holds
the model still, cuts the inputs into chunks, and verifies every outcome with one fresh forward pass of the user's own model. A body
follows one order: forward, judge, remember, gradient, step, project; its ``Search`` (or, for the smallest change, ``Closest``) does the
first four in one call.
"""

from __future__ import annotations

import inspect
import math
import time
from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, overload

import torch
from torch import Tensor

from labkit.attacks.checks import check_inputs, check_logits
from labkit.attacks.closest import Closest
from labkit.attacks.goals import Goal, Targeted, Untargeted
from labkit.attacks.metered import OutOfQueries
from labkit.attacks.result import AttackResult
from labkit.attacks.search import Loss, Search
from labkit.attacks.views import Model, held_still, original
from labkit.device import model_device
from labkit.progress import progress as show_progress
from labkit.threats import Ball, Records

P = ParamSpec("P")
S = TypeVar("S", bound=Search, contravariant=True)
COMMON = ("target", "goal", "loss", "victim", "stop_early", "batch_size", "precision", "layout", "seed", "trace", "progress")
NORMS = ("linf", "l2", "l1", "l0")


class AttackFunction(Protocol):
    """An attack as users call it. ``norms``: the norms it is defined for; ``minimal``: it looks for the smallest change;
    ``needs``: "gradients", "scores" (the model's logits or probabilities) or "decisions" (its answers only)."""

    __name__: str
    norms: tuple[str, ...]
    minimal: bool
    needs: str

    def __call__(self, model: Model, x: Tensor, y: Tensor, threat: Ball | Records = ..., **options: Any) -> AttackResult: ...


@overload
def attack(body: Callable[Concatenate[Any, P], None]) -> AttackFunction: ...
@overload
def attack(
    *, norms: tuple[str, ...] = ..., default: Ball | None = ..., needs: str = ..., loss: Loss = ..., without: tuple[str, ...] = ...
) -> Callable[[Callable[Concatenate[Any, P], None]], AttackFunction]: ...
def attack(
    body: Callable[..., None] | None = None, *, norms: tuple[str, ...] = NORMS, default: Ball | None = None, needs: str = "gradients",
    loss: Loss = "cross_entropy", without: tuple[str, ...] = (),
) -> Any:  # fmt: skip
    """Make an attack out of its algorithm. The options that every attack takes besides its own:

    ``target`` (B,) int64: the wanted answers; ``goal``: another goal than "any wrong answer"; ``loss``: "cross_entropy", "margin",
    "dlr" or any callable (x_adv, logits, y) -> (B,); ``victim``: the model that success is judged on, for transfer;
    ``stop_early``: whether an input leaves as soon as it meets the goal, or runs on and so becomes a more confident mistake;
    ``batch_size``: inputs per chunk (default 128 on a CPU, 1024 elsewhere); ``precision``: "float32", or "bfloat16" for the search
    only; ``layout``: "given", or "channels_last" to run the model on images in that memory format, which many CPUs and GPUs do
    faster; ``seed``; ``trace``: keep the losses of every step; ``progress``: show a bar.

    ``norms``: those the attack is defined for. ``default``: the threat when the caller gives none; an attack with one looks for the
    smallest change (its body gets a ``Closest``), and a budget, if any, decides afterwards. ``needs``: what it uses of the model.
    ``loss``: its default loss. ``without``: common options that mean nothing to it, and are refused.
    """
    if body is None:
        return lambda named: attack_from(named, norms, default, needs, loss, without)
    return attack_from(body, norms, default, needs, loss, without)


def attack_from(
    body: Callable[..., None], norms: tuple[str, ...], default: Ball | None, needs: str, usual_loss: Loss, without: tuple[str, ...]
) -> AttackFunction:
    """Do what ``attack`` says."""
    own = [p for p in inspect.signature(body).parameters.values() if p.kind is p.KEYWORD_ONLY]
    common = [name for name in COMMON if name not in (*without, *(("stop_early",) if default is not None else ()))]
    name, kind = body.__name__, Search if default is None else Closest

    @wraps(body, assigned=("__module__", "__name__", "__qualname__", "__doc__"))
    def run(
        model: Model, x: Tensor, y: Tensor, threat: Ball | None = default, *, target: Tensor | None = None, goal: Goal | None = None,
        loss: Loss = usual_loss, victim: Model | None = None, stop_early: bool = True, batch_size: int | None = None,
        precision: str = "float32", layout: str = "given",
        seed: int = 0, trace: bool = False, progress: bool = False, **options: Any,
    ) -> AttackResult:  # fmt: skip
        if unknown := sorted(set(options) - {p.name for p in own}):
            raise TypeError(f"{name} has no option {unknown[0]!r}; its options: {', '.join([p.name for p in own] + common)}")
        given = {"target": target is not None, "goal": goal is not None, "loss": loss != usual_loss, "victim": victim is not None,
                 "stop_early": not stop_early, "precision": precision != "float32", "trace": trace}  # fmt: skip
        if refused := [option for option, used in given.items() if used and option not in common]:
            raise TypeError(f"{name} has no option {refused[0]!r}; its options: {', '.join([p.name for p in own] + common)}")
        if precision not in ("float32", "bfloat16"):
            raise ValueError(f"precision must be 'float32' or 'bfloat16', got {precision!r}")
        if layout not in ("given", "channels_last"):
            raise ValueError(f"layout must be 'given' or 'channels_last', got {layout!r}")
        threat = _usable(name, threat, norms, default)
        aim = check_inputs(x, y, threat, target, goal)
        wanted: Goal = goal or (Targeted() if target is not None else Untargeted())
        judge = original(victim if victim is not None else model)
        caller, device = x.device, model_device(model, x)
        if batch_size is not None and batch_size < 1:
            raise ValueError(f"batch_size must be 1 or more, got {batch_size}")
        size = batch_size or (128 if device.type == "cpu" else 1024)
        begin, parts = time.perf_counter(), []
        with held_still(model, judge), torch.no_grad():
            chunks = [(x[i : i + size], y[i : i + size], aim[i : i + size]) for i in range(0, max(len(x), 1), size)]
            for chunk, labels, aims in show_progress(chunks, name) if progress else chunks:
                images = _laid_out(chunk.detach().to(device), layout)
                search = kind(model, judge, images, aims.to(device), threat, wanted, loss,
                              stop_early=stop_early, precision=precision, seed=seed, trace=trace)  # fmt: skip
                if len(chunk):
                    try:
                        body(search, **options)
                    except OutOfQueries:  # the endpoint answers no more: what was found so far is the result
                        search.flags["out_of_queries"] = torch.zeros_like(search.done).index_fill_(0, search.index, True)
                parts.append(_verified(search, labels.to(device)))
        meta = {"attack": name, "targeted": wanted.targeted, "seed": seed, "precision": precision, "options": _plain(options),
                "needs": needs, "minimal": default is not None, "verifying": 0 if search.metered else 1,
                "seconds": time.perf_counter() - begin, "device": str(device), "torch": torch.__version__}  # fmt: skip
        return _back_to(AttackResult.concatenate(parts), caller, meta)

    run.__signature__ = _signature(run, own, common)  # type: ignore[attr-defined]
    run.norms, run.minimal, run.needs = norms, default is not None, needs  # type: ignore[attr-defined]
    return run  # type: ignore[return-value]


def _usable(name: str, threat: Ball | None, norms: tuple[str, ...], default: Ball | None) -> Ball:
    if not isinstance(threat, Ball | Records):
        raise TypeError(f"threat must be a norm ball such as Linf(8/255), got {type(threat).__name__}: {threat!r}")
    if threat.norm not in norms:
        raise ValueError(f"{name} is defined for {', '.join(norms)}, got {threat}")
    if math.isinf(threat.eps) and default is None and isinstance(threat, Ball):  # a record has limits without one
        raise ValueError(f"this attack needs a budget: {type(threat).__name__}(eps) instead of {type(threat).__name__}()")
    return threat


def _laid_out(x: Tensor, layout: str) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last) if layout == "channels_last" and x.ndim == 4 else x


def _verified(search: Search, labels: Tensor) -> AttackResult:
    """Judge what was found by one fresh forward pass of the model that counts, in full precision."""
    search._count()
    x, x_adv = search._all_x, search.best
    inside = search.threat.contains(x_adv, x)
    if not bool(inside.all()):
        count = f"{int((~inside).sum())} of {len(x)}"
        raise RuntimeError(f"{count} results lie outside {search.threat}: an error in the attack, please report it")
    success, prediction = _judged(search, x_adv)
    if isinstance(search, Closest):
        x_adv, success, prediction = search.pushed(success, prediction)
    distance = search.threat.distance(x_adv, x)
    if isinstance(search, Closest):
        distance = torch.where(success, distance, torch.inf)
    trace = {"loss": torch.stack(search.losses)} if search.losses else {}
    return AttackResult(x, labels, x_adv, success, search.already, distance, prediction,
                        search.forwards, search.backwards, search.threat, search.flags, trace)  # fmt: skip


def _judged(search: Search, x_adv: Tensor) -> tuple[Tensor, Tensor]:
    if search.metered or not len(x_adv):  # a metered judge has answered already, and was paid for it
        return search.done, search.answer
    logits = search.judge(x_adv)
    check_logits(logits, search._all_y, search.goal.targeted)
    search.forwards += 1
    search.flags["non_finite"] |= logits.isnan().any(1)
    return search._met(x_adv, logits, search._all_y) | search.already, logits.argmax(1)


def _back_to(result: AttackResult, device: torch.device, meta: dict[str, Any]) -> AttackResult:
    values: dict[str, Any] = {name: value.to(device) if isinstance(value, Tensor) else value for name, value in vars(result).items()}
    values["flags"] = {name: flag.to(device) for name, flag in result.flags.items()}
    values["trace"] = {name: row.to(device) for name, row in result.trace.items()}
    return AttackResult(**{**values, "meta": meta})


def _plain(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value if isinstance(value, str | int | float | bool | None) else repr(value) for name, value in options.items()}


def _signature(run: Callable[..., AttackResult], own: list[inspect.Parameter], common: list[str]) -> inspect.Signature:
    shared = inspect.signature(run, follow_wrapped=False)
    positional = [p for p in shared.parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
    positional = [p.replace(default=inspect.Parameter.empty) if p.name == "threat" and p.default is None else p for p in positional]
    return shared.replace(parameters=[*positional, *own, *(shared.parameters[name] for name in common)])


__all__ = ["COMMON", "AttackFunction", "Closest", "Loss", "Search", "attack"]
