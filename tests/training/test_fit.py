"""``fit``: learns, remembers, resumes exactly, keeps its hands off everything else, and says what it did."""

import logging
import re
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from labkit.data.dataset import Split, WrongRole
from labkit.defenses import Adversarial, Free, Trades
from labkit.models import mlp, small_convnet
from labkit.threats import Linf
from labkit.training import Natural, Recipe, fit
from labkit.training import fit as fit_function
from tests.training.conftest import blobs, pictures

module = sys.modules[fit_function.__module__]
CHECKOUT = Path(__file__).resolve().parents[2]


def net(seed=0):
    return mlp(2, 3, (16,), seed=seed)


def weights_of(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def equal(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def right(model, data):
    with torch.no_grad():
        return float((model(data.x).argmax(1) == data.y).double().mean())


# What training does ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("schedule", ["constant", "cosine", "one_cycle"])
def test_it_learns_an_easy_problem(optimizer, schedule):
    rate = 0.02 if optimizer == "adam" else 0.2
    trained = fit(net(), blobs(), epochs=15, batch_size=16, optimizer=optimizer, learning_rate=rate, schedule=schedule, cache=False)
    assert right(trained.model, blobs(90, seed=1)) == 1.0
    assert len(trained.history) == 15
    assert trained.history[-1]["loss"] < 0.2 < trained.history[0]["loss"]
    assert [line["epoch"] for line in trained.history] == list(range(1, 16))


def test_one_epoch_of_sgd_by_hand():
    """Batches in the order of the seed, a smaller last one, its weight in the mean loss, the linear schedule, and weight decay."""
    from labkit.seeding import generator

    data, model, twin = blobs(10), net(), net()
    recipe = Recipe(epochs=1, batch_size=4, optimizer="sgd", learning_rate=0.1, weight_decay=0.01, momentum=0.9)
    trained = fit(model, data, recipe, cache=False, seed=3)
    order = torch.randperm(10, generator=generator(3, "order", 0))
    speed = [torch.zeros_like(p) for p in twin.parameters()]
    total = 0.0
    # Three steps: up over round(0.3 * 3) = 1 step, down over 2: the rate is multiplied by 1, 1, 1/2.
    for rate, index in zip((0.1, 0.1, 0.05), (order[:4], order[4:8], order[8:]), strict=True):
        loss = nn.functional.cross_entropy(twin(data.x[index]), data.y[index])
        total += float(loss.detach()) * len(index)
        for p, v, g in zip(twin.parameters(), speed, torch.autograd.grad(loss, list(twin.parameters())), strict=True):
            with torch.no_grad():
                v.mul_(0.9).add_(g + 0.01 * p)
                p -= rate * v
    for p, q in zip(trained.model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(p, q)
    assert trained.history[0]["loss"] == pytest.approx(total / 10)


@pytest.mark.parametrize("epochs", [1, 2, 7])
@pytest.mark.parametrize("per_epoch", [1, 3, 10])
def test_one_cycle_goes_up_once_and_down_once(epochs, per_epoch):
    recipe = Recipe(epochs=epochs, learning_rate=1.0, optimizer="sgd", schedule="one_cycle")
    optimizer = module._optimizer(nn.Linear(1, 1), recipe)
    schedule = module._schedule(optimizer, recipe, per_epoch)
    rates = []
    for _ in range(epochs * per_epoch):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    top = rates.index(max(rates))
    assert max(rates) == pytest.approx(1.0)
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert all(rate > 0 for rate in rates), "a step with rate zero is a wasted step"


def test_a_trained_model_is_ready_to_use():
    model = small_convnet(1, 2, 8, width=2)
    trained = fit(model, pictures(), epochs=1, batch_size=16, learning_rate=0.01, cache=False)
    assert trained.model is model
    assert not any(part.training for part in model.modules())
    assert all(p.requires_grad for p in model.parameters())
    assert all(p.grad is None for p in model.parameters())
    assert all(p.is_contiguous() for p in model.parameters())


def test_frozen_weights_stay_frozen():
    model = net()
    model[1].requires_grad_(False)
    before = weights_of(model)
    recipe = Recipe(epochs=2, optimizer="sgd", learning_rate=0.1, weight_decay=0.1)
    fit(model, blobs(), recipe, objective=Adversarial(Linf(0.05), steps=2), cache=False)
    assert [p.requires_grad for p in model.parameters()] == [False, False, True, True]
    assert torch.equal(model[1].weight, before["1.weight"])
    assert not torch.equal(model[3].weight, before["3.weight"])


AIMS = [Natural(), Adversarial(Linf(0.05), steps=2), Trades(Linf(0.05), steps=2), Free(Linf(0.05), replays=2)]


@pytest.mark.parametrize("objective", AIMS, ids=lambda aim: type(aim).__name__)
def test_the_global_random_state_is_neither_used_nor_changed(objective):
    def model():
        return nn.Sequential(net(), nn.Dropout(0.3))

    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = fit(model(), blobs(), epochs=2, objective=objective, cache=False)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(6)
    second = fit(model(), blobs(), epochs=2, objective=objective, cache=False)
    assert equal(weights_of(first.model), weights_of(second.model))


def test_the_data_stays_as_it_was():
    data = blobs()
    x, y = data.x.clone(), data.y.clone()
    fit(net(), data, epochs=1, objective=Free(Linf(0.05), replays=2), cache=False)
    assert torch.equal(data.x, x)
    assert torch.equal(data.y, y)


# The cache ------------------------------------------------------------------------------------------------------------------------


def test_the_second_time_it_is_loaded_and_says_so(own_cache):
    first = fit(net(), blobs(), epochs=2)
    second = fit(net(), blobs(), epochs=2)
    assert (first.loaded, second.loaded) == (False, True)
    assert second.seconds == first.seconds > 0, "the seconds that training took, not those of loading"
    assert second.history == first.history
    assert second.key == first.key
    assert equal(weights_of(first.model), weights_of(second.model))
    assert not second.model.training
    assert all(p.requires_grad and p.grad is None for p in second.model.parameters())
    assert "trained in" in str(first)
    assert "loaded from the cache" in str(second)
    assert second.path == own_cache / f"{first.key}.safetensors"
    assert sorted(path.suffix for path in own_cache.iterdir() if path.suffix != ".lock") == [".safetensors"]


def test_without_the_cache_nothing_is_read_or_written(own_cache):
    first = fit(net(), blobs(), epochs=2, cache=False)
    assert first.path is None
    assert not first.loaded
    fit(net(), blobs(), epochs=2)
    again = fit(net(), blobs(), epochs=2, cache=False)
    assert not again.loaded
    assert again.key == first.key
    assert equal(weights_of(first.model), weights_of(again.model))


CHANGES = {
    "seed": {"seed": 1},
    "data": {"data": blobs(seed=1)},
    "role": {"data": blobs(role="poisoned")},
    "labels": {"data": Split(blobs().x, (blobs().y + 1) % 3, "train", "blobs")},
    "initial weights": {"model": lambda: net(1)},
    "architecture": {"model": lambda: mlp(2, 3, (16,), activation=nn.Tanh)},
    "frozen layer": {"model": lambda: frozen(0)},
    "other frozen layer": {"model": lambda: frozen(3)},
    "objective": {"objective": Natural(0.1)},
    "threat": {"objective": Adversarial(Linf(0.1), steps=1)},
    "threat's box": {"objective": Adversarial(Linf(0.1, low=-1.0), steps=1)},
    "epochs": {"epochs": 2},
    "batch size": {"batch_size": 64},
    "optimizer": {"optimizer": "sgd"},
    "learning rate": {"learning_rate": 0.002},
    "weight decay": {"weight_decay": 0.1},
    "momentum": {"momentum": 0.8},
    "schedule": {"schedule": "cosine"},
}


def frozen(which):
    model = net()
    model[which or 1].requires_grad_(False)
    return model


def test_whatever_changes_the_result_changes_the_key():
    def key(change):
        options = {"epochs": 1, "batch_size": 128, **change}
        build, data = options.pop("model", net), options.pop("data", blobs())
        return fit(build(), data, cache=False, **options).key

    keys = {name: key(change) for name, change in {"nothing": {}, **CHANGES}.items()}
    assert len(set(keys.values())) == len(keys), keys
    assert key({}) == keys["nothing"]
    assert all(re.fullmatch("[0-9a-f]{16}", value) for value in keys.values())


def test_the_versions_are_part_of_the_key(monkeypatch):
    before = fit(net(), blobs(), epochs=1, cache=False).key
    monkeypatch.setattr(module, "VERSION", module.VERSION + 1)
    between = fit(net(), blobs(), epochs=1, cache=False).key
    monkeypatch.setattr(Natural, "version", 2)
    after = fit(net(), blobs(), epochs=1, cache=False).key
    assert len({before, between, after}) == 3


@pytest.mark.parametrize("change", [{"seed": 1}, {"data": blobs(seed=1)}, {"model": lambda: net(1)}, {"epochs": 3}])
def test_another_training_is_not_loaded(change):
    fit(net(), blobs(), epochs=2)
    options = {"epochs": 2, **change}
    build, data = options.pop("model", net), options.pop("data", blobs())
    assert not fit(build(), data, **options).loaded


def test_flip_and_shift_are_part_of_the_key():
    def key(**options):
        return fit(small_convnet(1, 2, 8, width=2), pictures(8), epochs=1, cache=False, **options).key

    assert len({key(), key(flip=True), key(shift=1), key(shift=2)}) == 4


@pytest.mark.parametrize("content", [b"", b"nonsense", None])
def test_a_damaged_cached_model_is_trained_again(own_cache, caplog, content):
    first = fit(net(), blobs(), epochs=2)
    broken = first.path.read_bytes()[:-20] if content is None else content
    first.path.write_bytes(broken)
    with caplog.at_level(logging.WARNING):
        second = fit(net(), blobs(), epochs=2)
    assert not second.loaded
    assert "damaged" in caplog.text
    assert equal(weights_of(first.model), weights_of(second.model))
    assert first.path.with_suffix(".damaged").read_bytes() == broken
    assert fit(net(), blobs(), epochs=2).loaded


# Interruptions --------------------------------------------------------------------------------------------------------------------


class Interrupted(BaseException):
    """Somebody pressed the button."""


def interrupt(monkeypatch, *, epoch, batch):
    """Make the training stop as if interrupted, before it sees the given batch of the given epoch (both from 0)."""
    real, calls = module._augmented, []

    def counting(x, recipe, source):
        calls.append(1)
        if len(calls) == epoch * 4 + batch + 1:
            raise Interrupted
        return real(x, recipe, source)

    monkeypatch.setattr(module, "_augmented", counting)


def dropout_net():
    return nn.Sequential(*small_convnet(1, 2, 8, width=2)[:-1], nn.Dropout(0.4), nn.Linear(8, 2))


def built():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return dropout_net()


RUNS = {
    "adam, one cycle": {},
    "adam, cosine": {"schedule": "cosine"},
    "sgd, one cycle, decay": {"optimizer": "sgd", "weight_decay": 0.01},
    "sgd, cosine": {"optimizer": "sgd", "schedule": "cosine"},
    "sgd, constant": {"optimizer": "sgd", "schedule": "constant"},
    "flips and shifts": {"flip": True, "shift": 1},
    "channels first": {"channels_last": False},
    "adversarial": {"objective": Adversarial(Linf(0.1), steps=2)},
    "adversarial in training mode": {"objective": Adversarial(Linf(0.1), steps=2, mode="train")},
    "trades": {"objective": Trades(Linf(0.1), steps=2)},
    "free": {"objective": Free(Linf(0.1), replays=2)},
}


@pytest.mark.parametrize("name", RUNS)
@pytest.mark.parametrize(("epoch", "batch"), [(1, 2), (2, 0)])
def test_an_interrupted_training_resumes_to_the_very_same_weights(own_cache, monkeypatch, caplog, name, epoch, batch):
    data, options = pictures(38), {"epochs": 3, "batch_size": 10, "learning_rate": 0.01, "seed": 4, **RUNS[name]}
    straight = fit(built(), data, cache=False, **options)
    with monkeypatch.context() as patch:
        interrupt(patch, epoch=epoch, batch=batch)
        with pytest.raises(Interrupted):
            fit(built(), data, **options)
    assert len(list(own_cache.glob("*.checkpoint"))) == 1
    with caplog.at_level(logging.WARNING):
        resumed = fit(built(), data, **options)
    assert f"resumes after epoch {epoch} of 3" in caplog.text
    assert not resumed.loaded
    assert equal(weights_of(straight.model), weights_of(resumed.model))
    assert [line["loss"] for line in resumed.history] == [line["loss"] for line in straight.history]
    assert resumed.seconds == resumed.history[-1]["seconds"] > resumed.history[0]["seconds"]
    assert list(own_cache.glob("*.checkpoint")) == []
    assert fit(built(), data, **options).loaded


def test_what_trains_in_a_moment_writes_no_checkpoints(monkeypatch):
    monkeypatch.setattr(module, "CHECKPOINT_SECONDS", 60.0)
    monkeypatch.setattr(module.store, "save_checkpoint", lambda *_: pytest.fail("a checkpoint was written"))
    assert len(fit(net(), blobs(40), epochs=3, batch_size=10).history) == 3


def test_an_interruption_in_the_first_epoch_leaves_nothing(own_cache, monkeypatch):
    with monkeypatch.context() as patch:
        interrupt(patch, epoch=0, batch=1)
        with pytest.raises(Interrupted):
            fit(net(), blobs(40), epochs=2, batch_size=10)
    assert [path for path in own_cache.iterdir() if path.suffix != ".lock"] == []
    assert not fit(net(), blobs(40), epochs=2, batch_size=10).loaded


def test_a_damaged_checkpoint_means_starting_over(own_cache, monkeypatch, caplog):
    straight = fit(net(), blobs(40), epochs=3, batch_size=10, cache=False)
    with monkeypatch.context() as patch:
        interrupt(patch, epoch=2, batch=1)
        with pytest.raises(Interrupted):
            fit(net(), blobs(40), epochs=3, batch_size=10)
    (checkpoint,) = own_cache.glob("*.checkpoint")
    checkpoint.write_bytes(checkpoint.read_bytes()[:-100])
    with caplog.at_level(logging.WARNING):
        again = fit(net(), blobs(40), epochs=3, batch_size=10)
    assert "starting over" in caplog.text
    assert len(again.history) == 3
    assert equal(weights_of(straight.model), weights_of(again.model))


def test_two_processes_train_the_same_recipe_once(tmp_path):
    """Both are told to start together; the lock lets one train, and the other finds the result."""
    script = textwrap.dedent("""
        import sys, time
        from pathlib import Path
        import torch
        torch.set_num_threads(1)
        from labkit.models import mlp
        from labkit.training import fit, Natural
        from tests.training.conftest import blobs
        me, other = map(Path, sys.argv[1:])
        me.touch()
        while not other.exists():
            time.sleep(0.01)
        trained = fit(mlp(2, 3, (16,)), blobs(), epochs=40, batch_size=4)
        print("loaded" if trained.loaded else "trained", trained.key, float(sum(p.double().sum() for p in trained.model.parameters())))
    """)
    flags = [tmp_path / "one", tmp_path / "two"]
    runs = [
        subprocess.Popen([sys.executable, "-c", script, str(mine), str(other)], cwd=CHECKOUT, stdout=subprocess.PIPE, text=True)
        for mine, other in (flags, flags[::-1])
    ]
    said = sorted(run.communicate(timeout=120)[0].split() for run in runs)
    assert [run.returncode for run in runs] == [0, 0]
    assert [line[0] for line in said] == ["loaded", "trained"]
    assert said[0][1:] == said[1][1:]


# What it refuses ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["test", "queried", "validation"])
def test_other_roles_are_refused(own_cache, role):
    with pytest.raises(WrongRole, match=role):
        fit(net(), blobs(role=role), epochs=1)
    assert not own_cache.exists()


@pytest.mark.parametrize("role", ["train", "poisoned", "shadow"])
def test_roles_that_may_be_trained_on(role):
    fit(net(), blobs(role=role), epochs=1, cache=False)


def test_an_empty_split():
    with pytest.raises(ValueError, match="'blobs' is empty"):
        fit(net(), blobs(0), epochs=1)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_loss_that_blows_up_is_an_error_and_leaves_no_model(own_cache, optimizer):
    with pytest.raises(FloatingPointError, match=r"learning rate 1e\+37"):
        fit(net(), blobs(), epochs=5, batch_size=8, optimizer=optimizer, learning_rate=1e37, schedule="constant")
    assert list(own_cache.glob("*.safetensors")) == []


def test_a_loss_that_is_nan_from_the_start():
    data = blobs()
    data.x[3] = float("nan")
    with pytest.raises(FloatingPointError, match="nan in epoch 1"):
        fit(net(), data, epochs=1, cache=False)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 0}, "got 0"), ({"batch_size": 0}, "and 0"), ({"learning_rate": 0.0}, "positive"), ({"learning_rate": -1.0}, r"-1\.0"),
        ({"optimizer": "rmsprop"}, "'rmsprop'"), ({"schedule": "step"}, "'step'"), ({"flip": True}, "images"), ({"shift": 1}, "images"),
    ],
)  # fmt: skip
def test_wrong_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        fit(net(), blobs(), **{"epochs": 1, **settings})


def test_an_unknown_setting():
    with pytest.raises(TypeError, match="epoch_count"):
        fit(net(), blobs(), epoch_count=3)


# Augmentation ---------------------------------------------------------------------------------------------------------------------


def augmented(x, seed=0, **settings):
    return module._augmented(x, Recipe(**settings), torch.Generator().manual_seed(seed))


def moved(image, down, right):
    """The image moved by whole pixels, zeros behind it; written with loops."""
    out = torch.zeros_like(image)
    height, width = image.shape[1:]
    for i in range(height):
        for j in range(width):
            if 0 <= i - down < height and 0 <= j - right < width:
                out[:, i, j] = image[:, i - down, j - right]
    return out


@pytest.mark.parametrize("shape", [(200, 3, 4, 6), (200, 1, 5, 5)])
def test_each_image_is_flipped_by_itself(shape):
    x = torch.rand(shape, generator=torch.Generator().manual_seed(1))
    out = augmented(x, flip=True)
    kept = (out == x).flatten(1).all(1)
    flipped = (out == x.flip(3)).flatten(1).all(1)
    assert bool((kept ^ flipped).all())
    assert 70 < int(flipped.sum()) < 130, "about half of them"


@pytest.mark.parametrize("pad", [1, 2])
def test_each_image_is_shifted_by_itself(pad):
    x = torch.rand(300, 2, 4, 5, generator=torch.Generator().manual_seed(2)) + 0.1
    places = [(down, right) for down in range(-pad, pad + 1) for right in range(-pad, pad + 1)]
    seen = set()
    for image, out in zip(x, augmented(x, shift=pad), strict=True):
        found = [place for place in places if torch.equal(moved(image, *place), out)]
        assert len(found) == 1
        seen.update(found)
    assert seen == set(places), "every shift happens"


def test_both_together_and_repeatably():
    x = torch.rand(50, 1, 6, 6, generator=torch.Generator().manual_seed(3))
    first, second, other = augmented(x, flip=True, shift=1), augmented(x, flip=True, shift=1), augmented(x, seed=1, flip=True, shift=1)
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    assert first.shape == x.shape
    assert torch.equal(augmented(x), x)


# What a version trains --------------------------------------------------------------------------------------------------------------

#: VERSION -> the weights of two trained models, summed with a different factor each (so that an exchange shows too).
PINNED = {1: {"mlp, adam": 1.0660125173623383, "convnet, sgd, flips, shifts": 5.342960545662601}}


def checksum(model):
    flat = torch.cat([p.detach().double().flatten() for p in model.parameters()])
    return float((flat * torch.linspace(-1, 1, len(flat), dtype=torch.float64)).sum())


def test_a_version_trains_what_it_always_trained():
    """In float64, so that other processors and thread counts agree far below the tolerance."""
    points, images = blobs(), pictures()
    points, images = replace(points, x=points.x.double()), replace(images, x=images.x.double())
    moving = Recipe(epochs=2, batch_size=16, optimizer="sgd", learning_rate=0.02, schedule="cosine", flip=True, shift=1)
    models = {
        "mlp, adam": fit(net().double(), points, epochs=3, batch_size=16, learning_rate=0.01, cache=False, seed=7).model,
        "convnet, sgd, flips, shifts": fit(small_convnet(1, 2, 8, width=2).double(), images, moving, cache=False, seed=7).model,
    }
    now = {name: checksum(model) for name, model in models.items()}
    assert now == pytest.approx(PINNED.get(module.VERSION, {}), abs=1e-5), (
        "the same recipe now trains other weights, so every cached model would be wrong under its key: raise VERSION and update PINNED "
        f"with {now} under the new number"
    )
