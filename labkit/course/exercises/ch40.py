"""Exercises of chapter 40: one step of adversarial training, and the curve that gives catastrophic overfitting away."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import torch

from labkit.course.exercises.framework import Exercise, Mistake
from labkit.course.exercises.probe import call, close, expect, images, network, number

Attack = Callable[[torch.nn.Module, torch.Tensor, torch.Tensor], torch.Tensor]


def adversarial_step(model: torch.nn.Module, optimizer: torch.optim.Optimizer, x: torch.Tensor, y: torch.Tensor, attack: Attack) -> float:
    """Train the model for one step on attacked images, and return the loss as a number.

    x: images in [0, 1], shape (B, C, H, W); y: shape (B,). attack(model, x, y) returns attacked images; it uses backward(), so it
    leaves gradients in the parameters. The attack must see the model in evaluation mode, so that it does not touch the BatchNorm
    statistics; the training step itself runs in training mode, and the model is left in it.
    """
    raise NotImplementedError


def _step_solved(model: torch.nn.Module, optimizer: torch.optim.Optimizer, x: torch.Tensor, y: torch.Tensor, attack: Attack) -> float:
    model.eval()
    x_adv = attack(model, x, y)
    model.train()
    optimizer.zero_grad()  # after the attack: it left gradients behind
    loss = torch.nn.functional.cross_entropy(model(x_adv), y)
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return loss.item()


def _step_attack_in_train_mode(
    model: torch.nn.Module, optimizer: torch.optim.Optimizer, x: torch.Tensor, y: torch.Tensor, attack: Attack
) -> float:
    model.train()
    x_adv = attack(model, x, y)
    optimizer.zero_grad()
    loss = torch.nn.functional.cross_entropy(model(x_adv), y)
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return loss.item()


def _step_on_clean(model: torch.nn.Module, optimizer: torch.optim.Optimizer, x: torch.Tensor, y: torch.Tensor, attack: Attack) -> float:
    model.eval()
    attack(model, x, y)
    model.train()
    optimizer.zero_grad()
    loss = torch.nn.functional.cross_entropy(model(x), y)
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return loss.item()


def _step_leaks(model: torch.nn.Module, optimizer: torch.optim.Optimizer, x: torch.Tensor, y: torch.Tensor, attack: Attack) -> float:
    optimizer.zero_grad()
    model.eval()
    x_adv = attack(model, x, y)
    model.train()
    loss = torch.nn.functional.cross_entropy(model(x_adv), y)
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return loss.item()


def _step_stays_in_eval(
    model: torch.nn.Module, optimizer: torch.optim.Optimizer, x: torch.Tensor, y: torch.Tensor, attack: Attack
) -> float:
    model.eval()
    x_adv = attack(model, x, y)
    optimizer.zero_grad()
    loss = torch.nn.functional.cross_entropy(model(x_adv), y)
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return loss.item()


def _step_never_steps(model: torch.nn.Module, optimizer: torch.optim.Optimizer, x: torch.Tensor, y: torch.Tensor, attack: Attack) -> float:
    model.eval()
    x_adv = attack(model, x, y)
    model.train()
    optimizer.zero_grad()
    loss = torch.nn.functional.cross_entropy(model(x_adv), y)
    loss.backward()  # type: ignore[no-untyped-call]
    return loss.item()


def _examine_step(answer: object) -> None:
    x, y = images((12, 1, 3, 3), seed=21), torch.arange(12) % 3
    start = network(9, 3, seed=22, norm=True).train()
    modes: list[bool] = []

    def attack(model: torch.nn.Module, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        modes.append(model.training)
        point = x.detach().clone().requires_grad_()
        torch.nn.functional.cross_entropy(model(point), y).backward()  # type: ignore[no-untyped-call]
        assert point.grad is not None
        return (x + 0.1 * point.grad.sign()).clamp(0, 1)

    def run(step: object) -> tuple[torch.nn.Module, object]:
        model = copy.deepcopy(start)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
        loss = call(step, model, optimizer, x, y, attack, names="model optimizer x y attack", pure=False)
        return model, loss

    def same(a: torch.nn.Module, b: torch.nn.Module) -> bool:
        return all(close(p, q, 1e-6) for p, q in zip(a.parameters(), b.parameters(), strict=True))

    before, count = (x.clone(), y.clone()), len(modes)
    model, loss = run(answer)
    expect(torch.equal(x, before[0]) and torch.equal(y, before[1]), "The batch itself was changed in place.")
    expect(len(modes) > count, "The attack was never called.")
    expect(
        not any(modes[count:]),
        "The attack saw the model in training mode: its forward passes moved the BatchNorm statistics, and it attacked another "
        "function than "
        "the one you deploy. Call `model.eval()` before it.",
    )
    expect(not same(model, start), "The weights are the same as before: `optimizer.step()` is missing.")
    expect(
        not same(model, run(_step_on_clean)[0]),
        "The step trained on the clean images: the attacked ones were computed and thrown away. The loss needs `model(x_adv)`.",
    )
    expect(
        not same(model, run(_step_leaks)[0]),
        "The attack's own gradients were still in the parameters when you called `backward()`, and were added to yours. "
        "`optimizer.zero_grad()` belongs *after* the attack.",
    )
    expect(
        not same(model, run(_step_stays_in_eval)[0]),
        "The training pass ran in evaluation mode: BatchNorm used old statistics and learned nothing. Call `model.train()` after the "
        "attack.",
    )
    expect(model.training, "The model was left in evaluation mode; the next step expects training mode.")
    reference, expected = run(_step_solved)
    expect(same(model, reference), "The weights after the step differ from those of one step on the cross-entropy of the attacked batch.")
    expect(
        not isinstance(loss, torch.Tensor) or not loss.requires_grad,
        "The loss that you return keeps the whole graph alive: return `loss.item()`.",
    )
    value, wanted = number(loss, "The loss"), number(expected, "The loss")
    expect(abs(value - wanted) < 1e-4, f"You return a loss of {value:.4f}; the attacked batch had {wanted:.4f} before the step.")


def collapse_epoch(fgsm_accuracy: Sequence[float], pgd_accuracy: Sequence[float]) -> int:
    """Return the epoch in which catastrophic overfitting sets in, counted from 0; -1 when it never does.

    fgsm_accuracy, pgd_accuracy: accuracy under the attack trained on (FGSM) and under PGD after each epoch, from 0 to 1. It is the
    first epoch whose PGD accuracy is below half of the best before it, while its FGSM accuracy did not fall from the epoch before.
    """
    raise NotImplementedError


def _collapse_solved(fgsm_accuracy: Sequence[float], pgd_accuracy: Sequence[float]) -> int:
    for epoch in range(1, len(pgd_accuracy)):
        collapsed = pgd_accuracy[epoch] < max(pgd_accuracy[:epoch]) / 2
        if collapsed and fgsm_accuracy[epoch] >= fgsm_accuracy[epoch - 1]:
            return epoch
    return -1


def _collapse_lowest(fgsm_accuracy: Sequence[float], pgd_accuracy: Sequence[float]) -> int:
    return min(range(len(pgd_accuracy)), key=lambda epoch: pgd_accuracy[epoch])


def _collapse_from_one(fgsm_accuracy: Sequence[float], pgd_accuracy: Sequence[float]) -> int:
    for epoch in range(1, len(pgd_accuracy)):
        if pgd_accuracy[epoch] < max(pgd_accuracy[:epoch]) / 2 and fgsm_accuracy[epoch] >= fgsm_accuracy[epoch - 1]:
            return epoch + 1
    return -1


def _collapse_any_drop(fgsm_accuracy: Sequence[float], pgd_accuracy: Sequence[float]) -> int:
    for epoch in range(1, len(pgd_accuracy)):
        if pgd_accuracy[epoch] < max(pgd_accuracy[:epoch]) / 2:
            return epoch
    return -1


def _collapse_in_fgsm(fgsm_accuracy: Sequence[float], pgd_accuracy: Sequence[float]) -> int:
    for epoch in range(1, len(fgsm_accuracy)):
        if fgsm_accuracy[epoch] < max(fgsm_accuracy[:epoch]) / 2:
            return epoch
    return -1


def _collapse_step_by_step(fgsm_accuracy: Sequence[float], pgd_accuracy: Sequence[float]) -> int:
    for epoch in range(1, len(pgd_accuracy)):
        if pgd_accuracy[epoch] < pgd_accuracy[epoch - 1] / 2 and fgsm_accuracy[epoch] >= fgsm_accuracy[epoch - 1]:
            return epoch
    return -1


def _examine_collapse(answer: object) -> None:
    def found(fgsm: list[float], pgd: list[float]) -> int:
        return int(number(call(answer, list(fgsm), list(pgd), names="fgsm_accuracy pgd_accuracy"), "The epoch"))

    fgsm, pgd = [0.30, 0.41, 0.47, 0.52, 0.88, 0.95, 0.97], [0.25, 0.36, 0.41, 0.44, 0.06, 0.02, 0.01]
    epoch = found(fgsm, pgd)
    expect(epoch != 5, "You count epochs from 1. The list's first entry is epoch 0.")
    expect(epoch != 6, "Epoch 6 has the lowest PGD accuracy, but the collapse happened before: find where it sets in.")
    expect(
        epoch != -1,
        "Under PGD the accuracy goes from 0.44 to 0.06 in epoch 4, and you find nothing. The FGSM curve alone hides it: it *rises*.",
    )
    expect(epoch == 4, f"You return {epoch}; from epoch 3 to 4 PGD accuracy falls from 0.44 to 0.06 while FGSM accuracy jumps.")
    healthy = found([0.3, 0.4, 0.5, 0.55], [0.25, 0.35, 0.42, 0.40])
    expect(healthy == -1, f"These curves are healthy (PGD from 0.42 to 0.40), and you report epoch {healthy}; return -1.")
    both = found([0.30, 0.45, 0.15, 0.40, 0.90], [0.25, 0.40, 0.10, 0.35, 0.03])
    expect(
        both != 2,
        "In epoch 2 *both* curves fall: training stumbled. Catastrophic overfitting looks like success to the attack that is trained on.",
    )
    expect(both == 4, f"Both curves fall in epoch 2 and recover; the collapse is in epoch 4. You return {both}.")
    slow = found([0.40, 0.50, 0.60, 0.75, 0.90], [0.30, 0.40, 0.28, 0.17, 0.10])
    expect(
        slow == 3,
        f"Here the fall takes several epochs (0.40, 0.28, 0.17, 0.10): compare with the *best* so far, not the epoch before. You "
        f"return {slow}.",
    )


EXERCISES = (
    Exercise(
        id="40.1",
        title="One step of adversarial training",
        difficulty=2,
        minutes=15,
        statement=(
            "Write `adversarial_step(model, optimizer, x, y, attack)`: attack the batch, then train on the result. Five lines, and "
            "their order "
            "matters: the attack sees the model in evaluation mode and leaves its gradients behind; the training pass needs training "
            "mode and "
            "clean gradients."
        ),
        stub=adversarial_step,
        solution=_step_solved,
        examine=_examine_step,
        hints=(
            "Write the usual training step first (zero_grad, forward, backward, step). Where does the attack go?",
            "Before it `model.eval()`, after it `model.train()`: the BatchNorm statistics should come from the training pass alone.",
            "The attack calls `backward()`, which fills the parameters' `.grad`. What must happen between the attack and your own "
            "`backward()`?",
        ),
        mistakes=(
            Mistake("attacks in training mode", _step_attack_in_train_mode, "saw the model in training mode"),
            Mistake("trains on the clean images", _step_on_clean, "trained on the clean images"),
            Mistake("lets the attack's gradients leak", _step_leaks, "belongs *after* the attack"),
            Mistake("stays in evaluation mode", _step_stays_in_eval, "ran in evaluation mode"),
            Mistake("never steps", _step_never_steps, "`optimizer.step()` is missing"),
        ),
    ),
    Exercise(
        id="40.2",
        title="Spot catastrophic overfitting",
        difficulty=1,
        minutes=10,
        statement=(
            "Fast adversarial training can collapse within one epoch, and its own training curve will not tell. Write "
            "`collapse_epoch(fgsm_accuracy, pgd_accuracy)`: the first epoch whose PGD accuracy is below half of the best before it, "
            "although the "
            "FGSM accuracy did not fall from the epoch before; -1 when there is none. Epochs count from 0."
        ),
        stub=collapse_epoch,
        solution=_collapse_solved,
        examine=_examine_collapse,
        hints=(
            "Two conditions must hold in the same epoch: one about the PGD curve, one about the FGSM curve.",
            "`max(pgd_accuracy[:epoch])` is the best value before that epoch.",
            "Loop from epoch 1, return the first epoch in which both hold, and -1 after the loop.",
        ),
        mistakes=(
            Mistake("takes the lowest point", _collapse_lowest, "lowest PGD accuracy"),
            Mistake("counts from one", _collapse_from_one, "count epochs from 1"),
            Mistake("takes any fall", _collapse_any_drop, "*both* curves fall"),
            Mistake("looks at the FGSM curve", _collapse_in_fgsm, "hides it"),
            Mistake("compares with the epoch before only", _collapse_step_by_step, "takes several epochs"),
        ),
    ),
)
