"""Adversarial objectives against hand-written loops, closed forms, and the bookkeeping that goes wrong silently."""

import pytest
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, kl_div, log_softmax, softmax

from labkit.data.dataset import Split
from labkit.defenses import Adversarial, Free, Trades
from labkit.defenses.adversarial import kl
from labkit.models import linear, mlp, small_convnet
from labkit.seeding import derive, generator
from labkit.threats import L1, L2, Linf
from labkit.training import Natural, StepState, fit


def batch(n=12, shape=(6,), classes=3, seed=0, dtype=torch.float32):
    source = torch.Generator().manual_seed(seed)
    return torch.rand(n, *shape, generator=source, dtype=dtype), torch.randint(0, classes, (n,), generator=source)


def convnet():
    model = small_convnet(1, 3, 8, width=2)
    with torch.no_grad():
        for _ in range(3):
            model(batch(32, (1, 8, 8), seed=9)[0])
    return model.train()


def statistics(model):
    return {name: tensor.clone() for name, tensor in model.named_buffers()}


def unchanged(model, before):
    return all(torch.equal(tensor, before[name]) for name, tensor in model.named_buffers())


# Madry ------------------------------------------------------------------------------------------------------------------------------


def madry_by_hand(model, x, y, start, eps, step, steps):
    x_adv = start
    for _ in range(steps):
        leaf = x_adv.detach().requires_grad_(True)
        (grad,) = torch.autograd.grad(cross_entropy(model(leaf), y), leaf)
        x_adv = torch.min(torch.max(leaf.detach() + step * grad.sign(), x - eps), x + eps).clamp(0, 1)
    return cross_entropy(model(x_adv), y)


@pytest.mark.parametrize("random_start", [False, True])
@pytest.mark.parametrize(("steps", "step_size"), [(1, None), (7, None), (5, 0.03)])
def test_adversarial_training_is_madrys_loop(random_start, steps, step_size):
    model, (x, y) = mlp(6, 3, (16,)).double(), batch(dtype=torch.float64)
    threat, state = Linf(0.1), StepState(step=5, seed=3)
    start = threat.sample(x, derive(3, "inner", 5), 0) if random_start else x
    step = step_size or (0.1 if steps == 1 else 2.5 * 0.1 / steps)
    expected = madry_by_hand(model, x, y, start, 0.1, step, steps)
    objective = Adversarial(threat, steps=steps, step_size=step_size, random_start=random_start)
    found = objective.loss(model, x, y, state)
    torch.testing.assert_close(found, expected)
    ours, theirs = (torch.autograd.grad(value, list(model.parameters())) for value in (found, expected))
    torch.testing.assert_close(ours, theirs)
    assert found > cross_entropy(model(x), y)


def test_every_step_starts_elsewhere_and_repeatably():
    model, (x, y) = mlp(6, 3, (16,)), batch()
    losses = [float(Adversarial(Linf(0.1), steps=1, step_size=0.01).loss(model, x, y, StepState(step=s, seed=e)).detach())
              for s, e in ((0, 0), (1, 0), (0, 1), (0, 0))]  # fmt: skip
    assert len(set(losses)) == 3
    assert losses[0] == losses[3]


def test_the_clean_share():
    model, (x, y) = mlp(6, 3, (16,)), batch()
    attacked, clean = (float(Adversarial(Linf(0.1), clean=c).loss(model, x, y, StepState()).detach()) for c in (0.0, 1.0))
    assert clean == pytest.approx(float(cross_entropy(model(x), y).detach()))
    mixed = float(Adversarial(Linf(0.1), clean=0.25).loss(model, x, y, StepState()).detach())
    assert mixed == pytest.approx(0.75 * attacked + 0.25 * clean)


@pytest.mark.parametrize("eps", [0.05, 0.3])
def test_linear_model_linf_closed_form(eps):
    """For logits (0, w.x + b) the worst point of the Linf ball takes eps * ||w||_1 from the margin (box wide enough not to matter)."""
    model, (x, y) = linear(6, 2).double(), batch(classes=2, dtype=torch.float64)
    w = model[1].weight[1] - model[1].weight[0]
    sign = 2.0 * y - 1
    margin = sign * (x @ w + model[1].bias[1] - model[1].bias[0])
    shrunk = margin - eps * w.abs().sum()
    expected = binary_cross_entropy_with_logits(shrunk, torch.ones_like(shrunk))
    found = Adversarial(Linf(eps, -5.0, 5.0), steps=10).loss(model, x, y, StepState())
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(torch.autograd.grad(found, model[1].weight)[0], torch.autograd.grad(expected, model[1].weight)[0])


@pytest.mark.parametrize(("threat", "dual"), [(L2(0.4, -5.0, 5.0), 2), (L1(0.4, -5.0, 5.0), torch.inf)])
def test_linear_model_other_norms_closed_form(threat, dual):
    model, (x, y) = linear(6, 2).double(), batch(classes=2, dtype=torch.float64)
    w = (model[1].weight[1] - model[1].weight[0]).detach()
    margin = ((2.0 * y - 1) * (x @ w + model[1].bias[1] - model[1].bias[0])).detach()
    expected = nn.functional.softplus(-(margin - threat.eps * torch.linalg.vector_norm(w, dual))).mean()
    found = Adversarial(threat, steps=20, random_start=False).loss(model, x, y, StepState()).detach()
    torch.testing.assert_close(found, expected)


def test_batch_norm_is_at_rest_in_eval_mode_and_moves_in_train_mode():
    x, y = batch(16, (1, 8, 8))
    model = convnet()
    before = statistics(model)
    count = int(before["2.num_batches_tracked"])
    Adversarial(Linf(0.1), steps=3, mode="eval").loss(model, x, y, StepState())
    assert all(part.training for part in model.modules())
    assert int(model[2].num_batches_tracked) == count + 1, "only the outer forward pass, at the points found, is in training mode"
    # What that one pass does to the statistics is known: the same pass alone.
    model = convnet()
    Adversarial(Linf(0.1), steps=3, mode="train").loss(model, x, y, StepState())
    assert all(part.training for part in model.modules())
    assert int(model[2].num_batches_tracked) == count + 3 + 1
    assert not unchanged(model, before)


def test_the_inner_loop_in_eval_mode_sees_the_running_statistics():
    model, (x, y) = convnet(), batch(16, (1, 8, 8))
    twin = convnet().eval()
    threat, state = Linf(0.1), StepState(seed=2)
    start = threat.sample(x, derive(2, "inner", 0), 0)
    x_adv = start
    for _ in range(4):
        leaf = x_adv.detach().requires_grad_(True)
        (grad,) = torch.autograd.grad(cross_entropy(twin(leaf), y, reduction="sum"), leaf)
        x_adv = torch.min(torch.max(leaf.detach() + 2.5 * 0.1 / 4 * grad.sign(), x - 0.1), x + 0.1).clamp(0, 1)
    expected = cross_entropy(twin.train()(x_adv), y)
    torch.testing.assert_close(Adversarial(threat, steps=4).loss(model, x, y, state), expected, rtol=1e-4, atol=1e-5)


def test_layers_that_the_user_froze_stay_in_evaluation_mode():
    x, y = batch(16, (1, 8, 8))
    for objective in (Adversarial(Linf(0.1), steps=2), Trades(Linf(0.1), steps=2)):
        model = convnet()
        model[2].eval()
        before = int(model[2].num_batches_tracked)
        objective.loss(model, x, y, StepState())
        assert not model[2].training
        assert int(model[2].num_batches_tracked) == before
        assert model[6].training


OBJECTIVES = {
    "adversarial": Adversarial(Linf(0.1), steps=3),
    "in training mode": Adversarial(Linf(0.1), steps=3, mode="train"),
    "trades": Trades(Linf(0.1), steps=3),
    "free": Free(Linf(0.1), replays=1),
}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_no_stale_gradients(name):
    """The update is made of this step's gradient only: neither the inner loop's nor what someone left behind."""
    x, y = batch()
    moved = []
    for stale in (None, 1e6):
        model = mlp(6, 3, (16,))
        if stale is not None:
            for p in model.parameters():
                p.grad = torch.full_like(p, stale)
        OBJECTIVES[name].step(model, torch.optim.SGD(model.parameters(), 0.1), x, y, StepState())
        moved.append([p.detach().clone() for p in model.parameters()])
    torch.testing.assert_close(moved[0], moved[1], rtol=0, atol=0)


@pytest.mark.parametrize("name", ["adversarial", "in training mode", "trades"])
def test_the_inner_loop_leaves_no_gradient_on_parameters_or_data(name):
    model, (x, y) = mlp(6, 3, (16,)), batch()
    OBJECTIVES[name].loss(model, x, y, StepState())
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    assert x.grad is None
    assert not x.requires_grad


@pytest.mark.parametrize("objective", [kind(Linf(0.1), steps=10, precision="bfloat16") for kind in (Adversarial, Trades)])
def test_the_inner_loop_in_bfloat16(objective):
    model, (x, y) = convnet(), batch(16, (1, 8, 8))
    value = objective.loss(model, x, y, StepState())
    assert value.dtype == torch.float32
    exact = type(objective)(Linf(0.1), steps=10).loss(convnet(), x, y, StepState())
    clean = cross_entropy(convnet()(x), y)
    # The same search up to signs of tiny gradients. TRADES begins where all gradients are tiny, and loses a good part (see its notes).
    low, high = (0.95, 1.05) if isinstance(objective, Adversarial) else (0.3, 1.1)
    assert low <= float(((value - clean) / (exact - clean)).detach()) <= high
    assert all(p.dtype == torch.float32 for p in model.parameters())


# TRADES -----------------------------------------------------------------------------------------------------------------------------


def trades_by_hand(model, x, y, noise, eps, step, steps, beta):
    """Follows the authors' published loop: sums over the batch inside, the divergence per input outside."""
    model.eval()
    x_adv = x + 0.001 * noise
    for _ in range(steps):
        leaf = x_adv.detach().requires_grad_(True)
        inner = kl_div(log_softmax(model(leaf), 1), softmax(model(x), 1), reduction="sum")
        (grad,) = torch.autograd.grad(inner, leaf)
        x_adv = torch.min(torch.max(leaf.detach() + step * grad.sign(), x - eps), x + eps).clamp(0, 1)
    model.train()
    natural = cross_entropy(model(x), y)
    return natural + beta * kl_div(log_softmax(model(x_adv), 1), softmax(model(x), 1), reduction="sum") / len(x)


@pytest.mark.parametrize("beta", [1.0, 6.0])
@pytest.mark.parametrize(("steps", "step_size"), [(10, 0.007), (3, None)])
def test_trades_is_the_papers_loop(beta, steps, step_size):
    x, y = batch(dtype=torch.float64)
    x = 0.1 + 0.8 * x  # away from the box, which the projection of the noisy start would cut
    model = mlp(6, 3, (16,)).double().train()
    state = StepState(step=4, seed=2)
    noise = torch.randn(x.shape, generator=generator(derive(2, "trades", 4)), dtype=x.dtype)
    expected = trades_by_hand(model, x, y, noise, 0.031, step_size or 2.5 * 0.031 / steps, steps, beta)
    found = Trades(Linf(0.031), beta=beta, steps=steps, step_size=step_size).loss(model, x, y, state)
    torch.testing.assert_close(found, expected)
    ours, theirs = (torch.autograd.grad(value, list(model.parameters())) for value in (found, expected))
    torch.testing.assert_close(ours, theirs)
    assert model.training


def test_trades_inner_loop_leaves_the_running_statistics_alone():
    model, (x, y) = convnet(), batch(16, (1, 8, 8))
    before = int(model[2].num_batches_tracked)
    Trades(Linf(0.1), steps=3).loss(model, x, y, StepState())
    assert int(model[2].num_batches_tracked) == before + 2, "one pass over the clean batch, one over the attacked"


def test_trades_with_beta_zero_is_natural_training():
    data = Split(*batch(40), "train", "toy")
    models = [fit(mlp(6, 3, (16,)), data, epochs=2, batch_size=16, objective=aim, cache=False).model
              for aim in (Natural(), Trades(Linf(0.1), beta=0.0, steps=2))]  # fmt: skip
    torch.testing.assert_close(*(list(model.parameters()) for model in models))


def test_kl_is_torchs_kl_div():
    source = torch.Generator().manual_seed(0)
    p = (torch.randn(20, 5, generator=source, dtype=torch.float64) * 3).softmax(1).requires_grad_(True)
    logits = (torch.randn(20, 5, generator=source, dtype=torch.float64) * 3).requires_grad_(True)
    expected = kl_div(log_softmax(logits, 1), p, reduction="none").sum(1)
    torch.testing.assert_close(kl(p, logits), expected)
    for variable in (p, logits):
        ours, theirs = (torch.autograd.grad(value.sum(), variable, retain_graph=True)[0] for value in (kl(p, logits), expected))
        torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(kl(softmax(logits, 1), logits), torch.zeros(20, dtype=torch.float64), atol=1e-12, rtol=0)


def test_kl_of_certain_answers_is_finite_with_its_gradient():
    logits = torch.tensor([[1e4, 0.0, 0.0]], requires_grad=True)
    value = kl(torch.tensor([[0.0, 1.0, 0.0]]), logits)
    assert float(value.detach()) == pytest.approx(1e4)
    assert bool(torch.autograd.grad(value.sum(), logits)[0].isfinite().all())
    certain = softmax(logits, 1)
    assert bool(torch.autograd.grad(kl(certain, logits).sum(), logits)[0].isfinite().all())


# Free -------------------------------------------------------------------------------------------------------------------------------


def free_by_hand(model, batches, eps, replays, rate):
    """One tensor of noise for the largest batch, updated in place and carried on; SGD without momentum."""
    noise = torch.zeros_like(batches[0][0])
    for x, y in batches:
        for _ in range(replays):
            leaf = (x + noise[: len(x)]).clamp(0, 1).requires_grad_(True)
            *grads, at_input = torch.autograd.grad(cross_entropy(model(leaf), y), [*model.parameters(), leaf])
            with torch.no_grad():
                for p, g in zip(model.parameters(), grads, strict=True):
                    p -= rate * g
                noise[: len(x)] += eps * at_input.sign()
                noise.clamp_(-eps, eps)
    return noise


def test_free_training_is_the_papers_loop_with_a_smaller_last_batch():
    batches = [batch(12, seed=1, dtype=torch.float64), batch(12, seed=2, dtype=torch.float64), batch(5, seed=3, dtype=torch.float64),
               batch(12, seed=4, dtype=torch.float64)]  # fmt: skip
    model, twin = mlp(6, 3, (16,)).double(), mlp(6, 3, (16,)).double()
    optimizer, state = torch.optim.SGD(model.parameters(), 0.1), StepState()
    objective = Free(Linf(0.1), replays=3)
    for x, y in batches:
        objective.step(model, optimizer, x, y, state)
        assert state.memory["delta"].shape == (12, 6)
        assert float(state.memory["delta"].abs().max()) <= 0.1
        assert not state.memory["delta"].requires_grad
    noise = free_by_hand(twin, batches, 0.1, 3, 0.1)
    torch.testing.assert_close(list(model.parameters()), list(twin.parameters()))
    torch.testing.assert_close(state.memory["delta"], noise)
    assert float(noise.abs().max()) == 0.1


def test_a_small_first_batch_grows_the_memory():
    model, state = mlp(6, 3, (16,)), StepState()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    objective = Free(Linf(0.1), replays=2)
    objective.step(model, optimizer, *batch(4, seed=1), state)
    kept = state.memory["delta"].clone()
    objective.step(model, optimizer, *batch(9, seed=2), state)
    assert state.memory["delta"].shape == (9, 6)
    assert kept.shape == (4, 6)


class Counting(torch.optim.SGD):
    """Counts updates."""

    updates = 0

    def step(self, closure=None):
        self.updates += 1
        return super().step(closure)


@pytest.mark.parametrize("replays", [1, 4])
def test_every_replay_updates_the_weights_once(replays):
    model, (x, y) = mlp(6, 3, (16,)), batch()
    optimizer = Counting(model.parameters(), 0.1)
    value = Free(Linf(0.1), replays=replays).step(model, optimizer, x, y, StepState())
    assert optimizer.updates == replays
    assert value == value


def test_the_first_replay_sees_the_clean_batch_and_the_mean_loss_is_returned():
    model, (x, y) = mlp(6, 3, (16,)), batch()
    clean = float(cross_entropy(model(x), y).detach())
    assert Free(Linf(0.1), replays=1).step(model, torch.optim.SGD(model.parameters(), 0.1), x, y, StepState()) == pytest.approx(clean)


@pytest.mark.parametrize(
    ("threat", "replays", "error"),
    [(L2(0.5), 4, TypeError), (Linf(0.1), 0, ValueError), (Linf(), 4, ValueError), (Linf(0.1, mask=torch.ones(6)), 4, ValueError)],
)
def test_free_refuses(threat, replays, error):
    with pytest.raises(error):
        Free(threat, replays=replays)


# Does it defend? --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("objective", [Adversarial(Linf(0.15), steps=5), Trades(Linf(0.15), steps=5), Free(Linf(0.15))])
def test_training_prefers_the_feature_that_an_attacker_cannot_turn(objective):
    """Feature 0 is right 9 times in 10 and far apart; features 1 to 100 agree with the label always, but by less than eps."""
    from labkit.attacks.evasion import pgd

    source = torch.Generator().manual_seed(0)
    y = torch.arange(400) % 2
    robust = torch.where(torch.rand(400, generator=source) < 0.9, y, 1 - y)
    fragile = 0.5 + 0.05 * (2 * y[:, None] - 1) + 0.01 * torch.randn(400, 100, generator=source)
    data = Split(torch.cat([0.1 + 0.8 * robust[:, None].float(), fragile], 1), y, "train", "two kinds of features")
    options = {"epochs": 20, "batch_size": 50, "learning_rate": 0.03, "cache": False}
    natural, defended = fit(linear(101, 2), data, **options), fit(linear(101, 2), data, objective=objective, **options)
    under = [float(pgd(t.model, data.x, data.y, Linf(0.15), steps=10).robust_accuracy) for t in (natural, defended)]
    assert under[0] < 0.2
    assert under[1] > 0.7
