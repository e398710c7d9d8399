"""What all evasion attacks share, so that an attack's body is the algorithm and nothing else.

``@attack`` turns a body ``(search, *, options)`` into a function ``(model, x, y, threat, *, options)``: it checks the inputs, holds
the model still, cuts the inputs into chunks, and verifies every outcome with one fresh forward pass of the user's own model. A body
follows one order: forward, judge, remember, gradient, step, project; ``Search`` does the first four in one call.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, Protocol

import torch
from torch import Tensor

from labkit.attacks.checks import check_inputs, check_logits
from labkit.attacks.goals import Goal, Targeted, Untargeted
from labkit.attacks.losses import LOSSES
from labkit.attacks.result import AttackResult
from labkit.attacks.views import Model, held_still, original
from labkit.device import model_device
from labkit.progress import progress as show_progress
from labkit.seeding import sample_keys
from labkit.threats import Ball

P = ParamSpec("P")
Loss = str | Callable[[Tensor, Tensor, Tensor], Tensor]
COMMON = ("target", "goal", "loss", "victim", "stop_early", "batch_size", "precision", "seed", "trace", "progress")


class AttackFunction(Protocol):
    """An attack as users call it."""

    __name__: str

    def __call__(self, model: Model, x: Tensor, y: Tensor, threat: Ball, **options: Any) -> AttackResult: ...


class Search:
    """One chunk of inputs under attack: what is still in play, what was found, and what it cost.

    ``x``, ``y``, ``region`` hold the inputs in play (a fooled input leaves at once). ``y`` is the label that the loss refers to:
    the wanted one for a targeted goal. Positions in the whole chunk are in ``index``.
    """

    def __init__(
        self, model: Model, judge: Model, x: Tensor, y: Tensor, threat: Ball, goal: Goal, loss: Loss,
        *, stop_early: bool = True, precision: str = "float32", seed: int = 0, trace: bool = False,
    ) -> None:  # fmt: skip
        self.model, self.judge, self.threat, self.goal, self.precision, self.seed = model, judge, threat, goal, precision, seed
        self._loss = _as_function(loss)
        # A view or a surrogate says nothing final about the model that counts: then nobody leaves early.
        self.leaving = stop_early and judge is model
        self._all_x, self._all_y = x, y
        self.best = x.clone()
        self.done = torch.zeros(len(x), dtype=torch.bool, device=x.device)
        self.already = self.done.clone()
        self.forwards = torch.zeros(len(x), dtype=torch.int64, device=x.device)
        self.backwards = self.forwards.clone()
        self.flags = {"zero_gradient": self.done.clone(), "non_finite": self.done.clone()}
        self.losses: list[Tensor] = []
        self._tracing, self._clean_known, self._at_clean, self._run_begins, self._answers_checked = trace, False, False, True, False
        self._passes = [0, 0]  # forward and backward passes that all inputs in play made since the counts were last brought up to date
        self._keys: list[int] | None = None
        self._reset()

    def __len__(self) -> int:
        return len(self.x)

    def _reset(self) -> None:
        """Put every input that is not done back into play."""
        self._count()
        self.index = (~self.done).nonzero().squeeze(1)
        if len(self.index) == len(self._all_x):
            self.x, self.y = self._all_x, self._all_y
        else:
            self.x, self.y = self._all_x[self.index], self._all_y[self.index]
        self.region = self.threat.region(self.x)

    def start(self, *, random: bool, stream: int | str = 0) -> Tensor:
        """Begin a run: return the starting points of all inputs that are not done yet, (B, ...).

        A run that starts at the clean inputs learns from its own first forward pass which of them met the goal before;
        any other spends one forward pass on that question, once.
        """
        first = not self._clean_known
        # In low precision the first pass of the run would not do: what was wrong before is a fact about the float32 model.
        ask = random or not self.leaving or self.precision != "float32"
        if first and ask:
            self._ask_clean()
        if not first or bool(self.done.any()):
            self._reset()
        self._at_clean = first and not ask
        self._clean_known = self._run_begins = True
        if not random:
            return self.x.clone()
        if self._keys is None:
            self._keys = sample_keys(self._all_x, self.seed)
        return self.region.sample([self._keys[i] for i in self.index.tolist()], stream)

    def _ask_clean(self) -> None:
        with torch.no_grad():
            logits = self.judge(self._all_x)
            check_logits(logits, self._all_y, self.goal.targeted)
            met = self._met(self._all_x, logits, self._all_y)
        self.forwards += 1
        self.already, self.done = met, met.clone()

    def _count(self) -> None:
        """Write down the passes that the inputs in play have made together: two tensors per run instead of two per step."""
        forwards, backwards = self._passes
        if forwards or backwards:
            self.forwards[self.index] += forwards
            self.backwards[self.index] += backwards
        self._passes = [0, 0]

    def _met(self, x_adv: Tensor, logits: Tensor, y: Tensor) -> Tensor:
        return self.goal.met(x_adv, logits, y) & ~logits.isnan().any(1)

    def loss(self, x_adv: Tensor, logits: Tensor) -> Tensor:
        """Return what the attacker climbs, (B,): the loss at ``y``, or its negative for a targeted goal."""
        value = self._loss(x_adv, logits, self.y)
        return -value if self.goal.targeted else value

    def gradient(self, x_adv: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """Forward, judge, remember, gradient: return ``(x_adv, grad, *state)`` of the inputs that stay in play.

        One forward pass and one backward pass to the input only; parameters get no gradient. Inputs that meet the goal here are
        remembered and leave; ``state`` (per-sample tensors of the attack) is cut down with them.
        """
        if not len(x_adv):
            return x_adv, x_adv, *state
        with torch.enable_grad():
            leaf = x_adv.detach().requires_grad_(True)
            logits = self._forward(leaf)
            if not self._answers_checked:
                check_logits(logits, self.y, self.goal.targeted)
                self._answers_checked = True
            value = self.loss(leaf, logits)
        if not value.requires_grad:
            raise ValueError("the loss does not depend on the input through autograd: does the model detach, round or run under no_grad?")
        with torch.no_grad():
            self._passes[0] += 1
            leave = self._leaving(x_adv, logits, value) if self.leaving else None
            if self._tracing:
                self._note(value)
            if leave is not None and bool(leave.all()):
                return self._drop(leave, x_adv, x_adv, *state)
            (grad,) = torch.autograd.grad(value, leaf, torch.ones_like(value))
            if leave is not None:
                x_adv, grad, *state = self._drop(leave, x_adv, grad, *state)  # type: ignore[assignment]
            self._passes[1] += 1  # not for those who just left: alone, they would have cost no backward pass
            if self._run_begins:
                self._flag_start(grad)
            self._at_clean = self._run_begins = False
        return x_adv, grad, *state

    def _forward(self, leaf: Tensor) -> Tensor:
        if self.precision == "float32":
            return self.model(leaf)
        with torch.autocast(leaf.device.type, torch.bfloat16):
            logits = self.model(leaf)
        return logits.float()

    def _leaving(self, x_adv: Tensor, logits: Tensor, value: Tensor) -> Tensor | None:
        """Return which inputs leave here, or None if all stay; remember what was found."""
        broken = value.isnan()
        if not bool((self.goal.met(x_adv, logits, self.y) | broken).any()):  # the usual case, in as few operations as it can
            return None
        met = self._met(x_adv, logits, self.y)
        if self.precision != "float32" and bool(met.any()):  # found in low precision: only float32 counts
            with torch.no_grad():
                sure = self._met(x_adv[met], self.judge(x_adv[met]), self.y[met])
            self.forwards[self.index[met]] += 1
            met[met.clone()] = sure
        found = self.index[met]
        if len(found):
            self.best[found], self.done[found] = self.region.take(met).settle_(x_adv[met]), True
        if self._at_clean:
            self.already[found] = True
        lost = self.index[broken & ~met]
        self.flags["non_finite"][lost], self.done[lost] = True, True
        return met | broken

    def _drop(self, leave: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
        self._count()
        stay = (~leave).nonzero().squeeze(1)
        self.index, self.x, self.y, self.region = self.index[stay], self.x[stay], self.y[stay], self.region.take(stay)
        return tuple(tensor[stay] for tensor in tensors)

    def _flag_start(self, grad: Tensor) -> None:
        largest = grad.flatten(1).abs().amax(1)
        self.flags["zero_gradient"][self.index] |= largest == 0
        self.flags["non_finite"][self.index] |= ~largest.isfinite()

    def _note(self, value: Tensor) -> None:
        row = torch.full((len(self._all_x),), torch.nan, dtype=value.dtype, device=value.device)
        row[self.index] = value
        self.losses.append(row)

    def finish(self, x_adv: Tensor, *, last: bool = True) -> None:
        """End a run: keep its last points for the inputs still in play; unless it is the last run, judge them now."""
        if not len(x_adv):
            return
        x_adv = self.region.settle_(x_adv)
        if last:
            self.best[self.index] = x_adv
            return
        with torch.no_grad():
            met = self._met(x_adv, self.judge(x_adv), self.y)
        self._passes[0] += 1
        self.best[self.index] = x_adv
        self.done[self.index[met]] = True


def _as_function(loss: Loss) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    if callable(loss):
        return loss
    if loss not in LOSSES:
        raise ValueError(f"unknown loss {loss!r}; known: {', '.join(LOSSES)}, or any callable (x_adv, logits, y) -> (B,)")
    named = LOSSES[loss]
    return lambda x_adv, logits, y: named(logits, y)


def attack(body: Callable[Concatenate[Search, P], None]) -> AttackFunction:
    """Make an attack out of its algorithm. The options that every attack takes besides its own:

    ``target`` (B,) int64: the wanted answers; ``goal``: another goal than "any wrong answer"; ``loss``: "cross_entropy", "margin",
    "dlr" or any callable (x_adv, logits, y) -> (B,); ``victim``: the model that success is judged on, for transfer;
    ``stop_early``: whether an input leaves as soon as it meets the goal, or runs on and so becomes a more confident mistake;
    ``batch_size``: inputs per chunk (default 128 on a CPU, 1024 elsewhere); ``precision``: "float32", or "bfloat16" for the search
    only; ``seed``; ``trace``: keep the losses of every step; ``progress``: show a bar.
    """
    own = [p for p in inspect.signature(body).parameters.values() if p.kind is p.KEYWORD_ONLY]

    @wraps(body, assigned=("__module__", "__name__", "__qualname__", "__doc__"))
    def run(
        model: Model, x: Tensor, y: Tensor, threat: Ball, *, target: Tensor | None = None, goal: Goal | None = None,
        loss: Loss = "cross_entropy", victim: Model | None = None, stop_early: bool = True, batch_size: int | None = None,
        precision: str = "float32",
        seed: int = 0, trace: bool = False, progress: bool = False, **options: Any,
    ) -> AttackResult:  # fmt: skip
        name = body.__name__
        if unknown := sorted(set(options) - {p.name for p in own}):
            raise TypeError(f"{name} has no option {unknown[0]!r}; its options: {', '.join([p.name for p in own] + list(COMMON))}")
        if precision not in ("float32", "bfloat16"):
            raise ValueError(f"precision must be 'float32' or 'bfloat16', got {precision!r}")
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
                search = Search(model, judge, chunk.detach().to(device), aims.to(device), threat, wanted, loss,
                                stop_early=stop_early, precision=precision, seed=seed, trace=trace)  # fmt: skip
                if len(chunk):
                    body(search, **options)  # type: ignore[call-arg]
                parts.append(_verified(search, labels.to(device)))
        meta = {"attack": name, "targeted": wanted.targeted, "seed": seed, "precision": precision, "options": _plain(options),
                "seconds": time.perf_counter() - begin, "device": str(device), "torch": torch.__version__}  # fmt: skip
        return _back_to(AttackResult.concatenate(parts), caller, meta)

    run.__signature__ = _signature(run, own)  # type: ignore[attr-defined]
    return run


def _verified(search: Search, labels: Tensor) -> AttackResult:
    """Judge what was found by one fresh forward pass of the model that counts, in full precision."""
    x, x_adv = search._all_x, search.best
    search._count()
    if len(x):
        logits = search.judge(x_adv)
        check_logits(logits, search._all_y, search.goal.targeted)
        search.forwards += 1
        search.flags["non_finite"] |= logits.isnan().any(1)
        success = search._met(x_adv, logits, search._all_y) | search.already
        prediction = logits.argmax(1)
    else:
        success, prediction = search.done, search._all_y
    inside = search.threat.contains(x_adv, x)
    if not bool(inside.all()):
        count = f"{int((~inside).sum())} of {len(x)}"
        raise RuntimeError(f"{count} results lie outside {search.threat}: an error in the attack, please report it")
    trace = {"loss": torch.stack(search.losses)} if search.losses else {}
    return AttackResult(x, labels, x_adv, success, search.already, search.threat.distance(x_adv, x), prediction,
                        search.forwards, search.backwards, search.threat, search.flags, trace)  # fmt: skip


def _back_to(result: AttackResult, device: torch.device, meta: dict[str, Any]) -> AttackResult:
    values: dict[str, Any] = {name: value.to(device) if isinstance(value, Tensor) else value for name, value in vars(result).items()}
    values["flags"] = {name: flag.to(device) for name, flag in result.flags.items()}
    values["trace"] = {name: row.to(device) for name, row in result.trace.items()}
    return AttackResult(**{**values, "meta": meta})


def _plain(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value if isinstance(value, str | int | float | bool | None) else repr(value) for name, value in options.items()}


def _signature(run: Callable[..., AttackResult], own: list[inspect.Parameter]) -> inspect.Signature:
    shared = inspect.signature(run, follow_wrapped=False)
    parameters = [p for p in shared.parameters.values() if p.kind is not p.VAR_KEYWORD]
    positional = [p for p in parameters if p.kind is not p.KEYWORD_ONLY]
    return shared.replace(parameters=[*positional, *own, *(p for p in parameters if p.kind is p.KEYWORD_ONLY)])


__all__ = ["AttackFunction", "Loss", "Search", "attack"]
