"""Exercises of chapter 10: one gradient step, its L2 sister, and an attack that chooses its answer."""

from __future__ import annotations

import torch

from labkit.course.exercises.framework import Exercise, Mistake
from labkit.course.exercises.probe import NotYet, alike, call, close, expect, images, input_gradient, network, tensor


def fgsm(model: torch.nn.Module, x: torch.Tensor, y: torch.Tensor, eps: float) -> torch.Tensor:
    """Return the images after one step of size eps against the true labels.

    x: images in [0, 1], shape (B, C, H, W); y: class numbers, shape (B,). Returns images in [0, 1], shape (B, C, H, W),
    and leaves x, the model and its gradients as they were.
    """
    raise NotImplementedError


def _fgsm_solved(model: torch.nn.Module, x: torch.Tensor, y: torch.Tensor, eps: float) -> torch.Tensor:
    point = x.detach().clone().requires_grad_()
    loss = torch.nn.functional.cross_entropy(model(point), y)
    (gradient,) = torch.autograd.grad(loss, point)
    return (x + eps * gradient.sign()).clamp(0, 1)


def _fgsm_unclamped(model: torch.nn.Module, x: torch.Tensor, y: torch.Tensor, eps: float) -> torch.Tensor:
    point = x.detach().clone().requires_grad_()
    (gradient,) = torch.autograd.grad(torch.nn.functional.cross_entropy(model(point), y), point)
    return x + eps * gradient.sign()


def _fgsm_downhill(model: torch.nn.Module, x: torch.Tensor, y: torch.Tensor, eps: float) -> torch.Tensor:
    point = x.detach().clone().requires_grad_()
    (gradient,) = torch.autograd.grad(torch.nn.functional.cross_entropy(model(point), y), point)
    return (x - eps * gradient.sign()).clamp(0, 1)


def _fgsm_clamped_to_eps(model: torch.nn.Module, x: torch.Tensor, y: torch.Tensor, eps: float) -> torch.Tensor:
    point = x.detach().clone().requires_grad_()
    (gradient,) = torch.autograd.grad(torch.nn.functional.cross_entropy(model(point), y), point)
    return (x + eps * gradient.sign()).clamp(-eps, eps)


def _fgsm_unsigned(model: torch.nn.Module, x: torch.Tensor, y: torch.Tensor, eps: float) -> torch.Tensor:
    point = x.detach().clone().requires_grad_()
    (gradient,) = torch.autograd.grad(torch.nn.functional.cross_entropy(model(point), y), point)
    return (x + eps * gradient).clamp(0, 1)


def _fgsm_marks_x(model: torch.nn.Module, x: torch.Tensor, y: torch.Tensor, eps: float) -> torch.Tensor:
    x.requires_grad_()
    (gradient,) = torch.autograd.grad(torch.nn.functional.cross_entropy(model(x), y), x)
    return (x + eps * gradient.sign()).clamp(0, 1).detach()


def _fgsm_fills_parameters(model: torch.nn.Module, x: torch.Tensor, y: torch.Tensor, eps: float) -> torch.Tensor:
    point = x.detach().clone().requires_grad_()
    torch.nn.functional.cross_entropy(model(point), y).backward()  # type: ignore[no-untyped-call]
    assert point.grad is not None
    return (x + eps * point.grad.sign()).clamp(0, 1)


def _examine_fgsm(answer: object) -> None:
    eps = 0.1
    x, y = images((5, 1, 4, 4), seed=2), torch.tensor([0, 1, 2, 0, 1])
    model = network(16, 3, seed=3)
    x_adv = tensor(call(answer, model, x, y, eps, names="model x y eps"), (5, 1, 4, 4), "The result")
    gradient = input_gradient(model, x, y)
    if not close(x_adv.clamp(0, 1), x_adv):
        low, high = float(x_adv.min()), float(x_adv.max())
        if low >= -eps - 1e-6 and high <= eps + 1e-6:
            raise NotYet("You clamped the image itself to plus or minus eps: it is nearly black now. Only the *change* is bounded by eps.")
        raise NotYet(f"Values from {low:.2f} to {high:.2f} are outside [0, 1]: no camera records such pixels. Clamp the result.")
    expect(not close(x_adv, x), "The images came back unchanged.")
    moved = float((x_adv - x).abs().max())
    right = (x + eps * gradient.sign()).clamp(0, 1)
    if alike(x_adv, (x - eps * gradient.sign()).clamp(0, 1)):
        raise NotYet("The step goes downhill: it makes the right answer *more* certain. An untargeted attack increases the loss.")
    if any(close(x_adv, (x + eps * g).clamp(0, 1)) for g in (gradient, gradient / len(x))):
        raise NotYet(
            "You added the gradient itself. Then pixels with small gradients hardly move, though each may move by eps: take the sign."
        )
    expect(moved <= eps + 1e-5, f"Some pixel moved by {moved:.3f}, more than eps = {eps}.")
    expect(moved >= eps - 1e-5, f"The largest change is {moved:.4f}; with one full step it should be eps = {eps}.")
    agreeing = float(((x_adv - right).abs() < 1e-5).double().mean())
    expect(agreeing > 0.95, f"Only {agreeing:.0%} of the pixels are where a signed step uphill on the cross-entropy with `y` puts them.")
    other = tensor(call(answer, model, x[:1], y[:1], 0.0, names="model x y eps"), (1, 1, 4, 4), "The result")
    expect(close(other, x[:1]), "With eps = 0 the image must come back as it was.")


def l2_step(x_adv: torch.Tensor, gradient: torch.Tensor, x: torch.Tensor, step_size: float, eps: float) -> torch.Tensor:
    """Return x_adv after one L2 step uphill, projected back to the ball of radius eps around x, then to [0, 1].

    x_adv, gradient, x: shape (B, C, H, W). Every image moves by step_size (in L2) along its own gradient; one whose gradient is
    zero stays where it is. Returns shape (B, C, H, W).
    """
    raise NotImplementedError


def _l2_solved(x_adv: torch.Tensor, gradient: torch.Tensor, x: torch.Tensor, step_size: float, eps: float) -> torch.Tensor:
    length = gradient.flatten(1).norm(dim=1).clamp_min(1e-12).view(-1, 1, 1, 1)
    delta = x_adv + step_size * gradient / length - x
    distance = delta.flatten(1).norm(dim=1).clamp_min(1e-12).view(-1, 1, 1, 1)
    return (x + delta * (eps / distance).clamp_max(1)).clamp(0, 1)  # type: ignore[no-any-return]


def _l2_batch_norm(x_adv: torch.Tensor, gradient: torch.Tensor, x: torch.Tensor, step_size: float, eps: float) -> torch.Tensor:
    delta = x_adv + step_size * gradient / gradient.norm() - x
    distance = delta.flatten(1).norm(dim=1).clamp_min(1e-12).view(-1, 1, 1, 1)
    return (x + delta * (eps / distance).clamp_max(1)).clamp(0, 1)  # type: ignore[no-any-return]


def _l2_on_the_sphere(x_adv: torch.Tensor, gradient: torch.Tensor, x: torch.Tensor, step_size: float, eps: float) -> torch.Tensor:
    length = gradient.flatten(1).norm(dim=1).clamp_min(1e-12).view(-1, 1, 1, 1)
    delta = x_adv + step_size * gradient / length - x
    distance = delta.flatten(1).norm(dim=1).clamp_min(1e-12).view(-1, 1, 1, 1)
    return (x + delta * eps / distance).clamp(0, 1)  # type: ignore[no-any-return]


def _l2_divides_by_zero(x_adv: torch.Tensor, gradient: torch.Tensor, x: torch.Tensor, step_size: float, eps: float) -> torch.Tensor:
    length = gradient.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    delta = x_adv + step_size * gradient / length - x
    distance = delta.flatten(1).norm(dim=1).clamp_min(1e-12).view(-1, 1, 1, 1)
    return (x + delta * (eps / distance).clamp_max(1)).clamp(0, 1)  # type: ignore[no-any-return]


def _l2_unprojected(x_adv: torch.Tensor, gradient: torch.Tensor, x: torch.Tensor, step_size: float, eps: float) -> torch.Tensor:
    length = gradient.flatten(1).norm(dim=1).clamp_min(1e-12).view(-1, 1, 1, 1)
    return (x_adv + step_size * gradient / length).clamp(0, 1)  # type: ignore[no-any-return]


def _l2_unclamped(x_adv: torch.Tensor, gradient: torch.Tensor, x: torch.Tensor, step_size: float, eps: float) -> torch.Tensor:
    length = gradient.flatten(1).norm(dim=1).clamp_min(1e-12).view(-1, 1, 1, 1)
    delta = x_adv + step_size * gradient / length - x
    distance = delta.flatten(1).norm(dim=1).clamp_min(1e-12).view(-1, 1, 1, 1)
    return x + delta * (eps / distance).clamp_max(1)  # type: ignore[no-any-return]


def _examine_l2(answer: object) -> None:
    def step(x_adv: torch.Tensor, gradient: torch.Tensor, step_size: float, eps: float) -> torch.Tensor:
        given = call(answer, x_adv, gradient, x, step_size, eps, names="x_adv gradient x step_size eps")
        return tensor(given, tuple(x.shape), "The result")

    own = torch.Generator().manual_seed(5)
    x = torch.rand((4, 1, 3, 3), generator=own) * 0.2 + 0.4  # in the middle: the bounds play no part yet
    gradient = torch.randn(x.shape, generator=own) * torch.tensor([1.0, 10.0, 0.1, 3.0]).view(-1, 1, 1, 1)
    lengths = (step(x, gradient, 0.1, 0.3) - x).flatten(1).norm(dim=1)
    if close(lengths, torch.full((4,), 0.3)):
        raise NotYet(
            "After a step of 0.1 every image stands at distance 0.3, on the sphere. Projection only pulls back what is *outside* the ball."
        )
    if lengths.max() > 2 * lengths.min() and close(lengths.norm(), torch.tensor(0.1)):
        raise NotYet(
            "The batch as a whole moved by 0.1, so that an image with a large gradient takes the step from the others. Use one norm "
            "per image."
        )
    for i, length in enumerate(lengths.tolist()):
        expect(
            abs(length - 0.1) < 1e-4, f"Image {i} moved by {length:.4f} in L2; step_size was 0.1. Divide its gradient by its own L2 norm."
        )
    uphill = ((step(x, gradient, 0.1, 0.3) - x) * gradient).flatten(1).sum(1)
    expect((uphill > 0).all(), "The step goes against the gradient: this would lower the loss.")
    far = x + 0.1 * torch.ones_like(x)  # at distance 0.3 already
    reached = (step(far, gradient, 0.2, 0.3) - x).flatten(1).norm(dim=1)
    expect(
        (reached <= 0.3 + 1e-4).all(),
        f"An image ends at distance {float(reached.max()):.3f}, outside the ball of radius 0.3: project after the step.",
    )
    expect(close(step(far, gradient, 0.2, 0.3), _l2_solved(far, gradient, x, 0.2, 0.3), 1e-4), "The projection should shrink the "
    "change along its own "
           "direction: multiply it by eps / distance where the distance exceeds eps.")  # fmt: skip
    flat = gradient.clone()
    flat[2] = 0
    try:
        quiet = step(x, flat, 0.1, 0.3)
    except NotYet as reason:
        raise NotYet(
            "One image has the gradient zero, and your result is NaN there: 0 / 0. Keep the norm away from zero, as in `clamp_min(1e-12)`."
        ) from reason
    expect(close(quiet[2], x[2]), "An image whose gradient is zero has no direction to go: it should stay where it is.")
    x = images((4, 1, 3, 3), seed=6)
    edge = step(x, gradient, 0.4, 0.4)
    expect(
        close(edge.clamp(0, 1), edge), f"Pixels reach {float(edge.max()):.2f} and {float(edge.min()):.2f}: bring the result back to [0, 1]."
    )
    expect(
        close(edge, _l2_solved(x, gradient, x, 0.4, 0.4), 1e-4),
        "Near black and white pixels the result is off: clamp to [0, 1] last, and only there.",
    )


def targeted_pgd(
    model: torch.nn.Module, x: torch.Tensor, y: torch.Tensor, target: torch.Tensor, eps: float, step_size: float, steps: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return images within eps (Linf) of x that the model should take for ``target``, and where that worked.

    x: images in [0, 1], shape (B, C, H, W); y: true labels and target: wanted labels, shape (B,). Start at x, take ``steps``
    signed steps of step_size. Returns (x_adv, success) with shapes (B, C, H, W) and (B,), success being boolean.
    """
    raise NotImplementedError


def _targeted_solved(
    model: torch.nn.Module, x: torch.Tensor, y: torch.Tensor, target: torch.Tensor, eps: float, step_size: float, steps: int
) -> tuple[torch.Tensor, torch.Tensor]:
    x_adv = x.detach().clone()
    for _ in range(steps):
        x_adv.requires_grad_()
        loss = torch.nn.functional.cross_entropy(model(x_adv), target)
        (gradient,) = torch.autograd.grad(loss, x_adv)
        x_adv = x_adv.detach() - step_size * gradient.sign()  # down: towards the target
        x_adv = (x + (x_adv - x).clamp(-eps, eps)).clamp(0, 1)
    with torch.no_grad():
        return x_adv, model(x_adv).argmax(1) == target


def _targeted_away(
    model: torch.nn.Module, x: torch.Tensor, y: torch.Tensor, target: torch.Tensor, eps: float, step_size: float, steps: int
) -> tuple[torch.Tensor, torch.Tensor]:
    x_adv = x.detach().clone()
    for _ in range(steps):
        x_adv.requires_grad_()
        (gradient,) = torch.autograd.grad(torch.nn.functional.cross_entropy(model(x_adv), target), x_adv)
        x_adv = (x + (x_adv.detach() + step_size * gradient.sign() - x).clamp(-eps, eps)).clamp(0, 1)
    return x_adv, model(x_adv).argmax(1) == target


def _targeted_at_truth(
    model: torch.nn.Module, x: torch.Tensor, y: torch.Tensor, target: torch.Tensor, eps: float, step_size: float, steps: int
) -> tuple[torch.Tensor, torch.Tensor]:
    x_adv = x.detach().clone()
    for _ in range(steps):
        x_adv.requires_grad_()
        (gradient,) = torch.autograd.grad(torch.nn.functional.cross_entropy(model(x_adv), y), x_adv)
        x_adv = (x + (x_adv.detach() - step_size * gradient.sign() - x).clamp(-eps, eps)).clamp(0, 1)
    return x_adv, model(x_adv).argmax(1) == target


def _targeted_any_change(
    model: torch.nn.Module, x: torch.Tensor, y: torch.Tensor, target: torch.Tensor, eps: float, step_size: float, steps: int
) -> tuple[torch.Tensor, torch.Tensor]:
    x_adv = x.detach().clone()
    for _ in range(steps):
        x_adv.requires_grad_()
        (gradient,) = torch.autograd.grad(torch.nn.functional.cross_entropy(model(x_adv), target), x_adv)
        x_adv = (x + (x_adv.detach() - step_size * gradient.sign() - x).clamp(-eps, eps)).clamp(0, 1)
    return x_adv, model(x_adv).argmax(1) != y


def _targeted_untargeted(
    model: torch.nn.Module, x: torch.Tensor, y: torch.Tensor, target: torch.Tensor, eps: float, step_size: float, steps: int
) -> tuple[torch.Tensor, torch.Tensor]:
    x_adv = x.detach().clone()
    for _ in range(steps):
        x_adv.requires_grad_()
        (gradient,) = torch.autograd.grad(torch.nn.functional.cross_entropy(model(x_adv), y), x_adv)
        x_adv = (x + (x_adv.detach() + step_size * gradient.sign() - x).clamp(-eps, eps)).clamp(0, 1)
    return x_adv, model(x_adv).argmax(1) == target


def _targeted_unprojected(
    model: torch.nn.Module, x: torch.Tensor, y: torch.Tensor, target: torch.Tensor, eps: float, step_size: float, steps: int
) -> tuple[torch.Tensor, torch.Tensor]:
    x_adv = x.detach().clone()
    for _ in range(steps):
        x_adv.requires_grad_()
        (gradient,) = torch.autograd.grad(torch.nn.functional.cross_entropy(model(x_adv), target), x_adv)
        x_adv = (x_adv.detach() - step_size * gradient.sign()).clamp(0, 1)
    return x_adv, model(x_adv).argmax(1) == target


def _examine_targeted(answer: object) -> None:
    eps, step_size, steps = 0.1, 0.025, 8
    model = network(16, 4, seed=6, hidden=24, scale=2.0)
    x = images((24, 1, 4, 4), seed=8)
    y = model(x).argmax(1)
    target = (y + 3) % 4  # chosen so that some images change to a third answer
    found = call(answer, model, x, y, target, eps, step_size, steps, names="model x y target eps step_size steps")
    expect(isinstance(found, tuple) and len(found) == 2, "Return two things: `x_adv, success`.")
    x_adv, success = tensor(found[0], tuple(x.shape), "`x_adv`"), found[1]
    expect(
        isinstance(success, torch.Tensor) and success.dtype == torch.bool and success.shape == y.shape,
        f"`success` should be a boolean tensor of shape {tuple(y.shape)}: one answer for each image.",
    )
    far = float((x_adv - x).abs().max())
    expect(far <= eps + 1e-5, f"A pixel has moved by {far:.2f}, outside eps = {eps}: project after *every* step.")
    expect(close(x_adv.clamp(0, 1), x_adv), "Some pixels have left [0, 1]: clamp after every step.")
    expect(not close(x_adv, x), "The images came back unchanged.")
    arguments = (model, x, y, target, eps, step_size, steps)
    if alike(x_adv, _targeted_away(*arguments)[0], 0.8):
        raise NotYet("The loss towards the target *rises*: you climb where you should descend. With a target, small loss means success.")
    if alike(x_adv, _targeted_at_truth(*arguments)[0], 0.8):
        raise NotYet(
            "The steps lead towards the true label `y`: the images are now more surely what they always were. The loss needs `target`."
        )
    if alike(x_adv, _targeted_untargeted(*arguments)[0], 0.8):
        raise NotYet("This is the untargeted attack: it flees from `y`, wherever that leads. Descend the loss with `target` as the label.")
    prediction = model(x_adv).argmax(1)
    wrong_goal = torch.equal(success, prediction != y) and not torch.equal(success, prediction == target)
    expect(
        not wrong_goal,
        "`success` is true wherever the prediction changed. A targeted attack succeeds only where the answer *is* the target.",
    )
    expect(
        torch.equal(success, prediction == target),
        "`success` disagrees with a fresh look: it must be judged on the images that you return.",
    )
    ours, best = int(success.sum()), int(_targeted_solved(*arguments)[1].sum())
    expect(
        ours >= best - 1,
        f"{ours} of {len(y)} images reach their target; {best} can. Are all {steps} steps taken, each from where the last one ended?",
    )


EXERCISES = (
    Exercise(
        id="10.1",
        title="One step: FGSM",
        difficulty=1,
        minutes=10,
        statement=(
            "Write `fgsm(model, x, y, eps)`: one step that moves every pixel by `eps` in the direction in which the loss grows,\n\n"
            r"$$x^{adv} = \mathrm{clip}_{[0,1]}\big(x + \varepsilon \, \mathrm{sign}\, \nabla_x L(f(x), y)\big),$$"
            "\n\nand leave no trace: neither in `x` nor in the model's parameters."
        ),
        stub=fgsm,
        solution=_fgsm_solved,
        examine=_examine_fgsm,
        hints=(
            "You need the gradient with respect to the *input*, so the input has to ask for it: work on a copy with `requires_grad_()`.",
            "`torch.autograd.grad(loss, point)` returns a tuple with one gradient, and writes nothing into the parameters.",
            "Then one line: add `eps` times the gradient's sign to `x`, and clamp the result to [0, 1].",
        ),
        mistakes=(
            Mistake("forgets the clamp", _fgsm_unclamped, "outside [0, 1]"),
            Mistake("steps downhill", _fgsm_downhill, "goes downhill"),
            Mistake("clamps the image to eps", _fgsm_clamped_to_eps, "clamped the image itself"),
            Mistake("uses the gradient without its sign", _fgsm_unsigned, "take the sign"),
            Mistake("leaves x requiring gradients", _fgsm_marks_x, "`x` still tracks gradients"),
            Mistake("leaves gradients in the parameters", _fgsm_fills_parameters, "gradients in the model's parameters"),
        ),
    ),
    Exercise(
        id="10.2",
        title="A step and a projection in L2",
        difficulty=2,
        minutes=15,
        statement=(
            "In L2 the budget is a ball, not a box. Write `l2_step(x_adv, gradient, x, step_size, eps)`: move every image by "
            "`step_size` along "
            "its *own* normalized gradient, pull it back into the ball of radius `eps` around `x` if it left, and clamp to [0, 1] last."
        ),
        stub=l2_step,
        solution=_l2_solved,
        examine=_examine_l2,
        hints=(
            "One norm per image: `gradient.flatten(1).norm(dim=1)` has shape (B,); `.view(-1, 1, 1, 1)` lets it divide a batch of images.",
            "A gradient can be exactly zero. What does your division give then? `clamp_min` keeps the norm away from zero.",
            "Inside the ball nothing is to be done: scale the change by `(eps / distance).clamp_max(1)`.",
        ),
        mistakes=(
            Mistake("normalizes over the batch", _l2_batch_norm, "The batch as a whole"),
            Mistake("projects onto the sphere", _l2_on_the_sphere, "on the sphere"),
            Mistake("divides by a zero norm", _l2_divides_by_zero, "0 / 0"),
            Mistake("does not project", _l2_unprojected, "outside the ball"),
            Mistake("does not clamp", _l2_unclamped, "bring the result back to [0, 1]"),
        ),
    ),
    Exercise(
        id="10.3",
        title="Choose the answer: targeted PGD",
        difficulty=3,
        minutes=20,
        statement=(
            "Write `targeted_pgd(model, x, y, target, eps, step_size, steps)`: PGD in Linf that starts at `x` and makes the model answer "
            "`target`. Return the images and, for each, whether it worked. The true labels `y` are handed to you; decide whether you "
            "need them."
        ),
        stub=targeted_pgd,
        solution=_targeted_solved,
        examine=_examine_targeted,
        hints=(
            "Untargeted attacks climb the loss of the true label. What should happen to the loss of the *target*?",
            "After every step: bring the change back to [-eps, eps], then the image back to [0, 1].",
            "Success is decided at the end, by one fresh forward pass on the images you return: is the answer the target?",
        ),
        mistakes=(
            Mistake("climbs the target's loss", _targeted_away, "climb where you should descend"),
            Mistake("descends towards the true label", _targeted_at_truth, "towards the true label"),
            Mistake("counts any change as success", _targeted_any_change, "wherever the prediction changed"),
            Mistake("runs the untargeted attack", _targeted_untargeted, "flees from `y`"),
            Mistake("never projects", _targeted_unprojected, "project after *every* step"),
        ),
    ),
)
