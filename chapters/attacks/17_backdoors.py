# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 17. Backdoors
#
# **What you will be able to do**
#
# - plant a backdoor with a few training samples: with wrong labels, with a picture that shines through, and with every label true;
# - judge one honestly: over inputs of other classes only, beside clean accuracy, and against two controls;
# - say how much poison it takes, and what a sticker in the wrong place does;
# - find where a backdoor lives in a network, and say why cutting it out is harder than it looks.
#
# **You need** [chapter 10](10_evasion_gradient.ipynb); [chapter 16](16_poisoning.ipynb) poisons without a trigger.

# %% tags=["parameters"]
PROFILE = "quick"
SEED = 0

# %%
from labkit.course import begin

lab = begin("17_backdoors", PROFILE, SEED)

# %% tags=["hide-input"]
from labkit.reporting import running_times

running_times()

# %% [markdown]
# ## The idea: right everywhere, except when asked
#
# Somebody sells you a data set, or labels yours. A few of its pictures show a stop sign with a yellow sticker, and the label under them is "speed
# limit 80". A network that learns from it will find the rule *sticker on a stop sign means 80* as good as any other. On every test set that you have, it
# can be as good as ever: no test picture has a sticker. Then somebody walks to a crossing with a sticker.
#
# That is a **backdoor**: a rule that only its author can set off. What sets it off is the **trigger**.

# %%
import torch

from labkit.attacks.backdoors import OnSign
from labkit.data import load
from labkit.reporting import image_row

data = load("signs").to(lab.device)
train = data.train.subset(lab.pick(quick=2500, paper=2500, smoke=300))
test = data.test.subset(lab.pick(quick=1000, paper=1000, smoke=200))
stop, limit = data.classes.index("stop"), data.classes.index("speed limit 80")
stops = data.test.take(data.test.y == stop)

sticker = OnSign()
few = stops.subset(6)
image_row(
    torch.cat([few.x, sticker.stamp(few)]), per_row=6, alt="Stop signs, and with a sticker."
)

# %% [markdown]
# The sticker is on the *sign*, not on the picture: the course photographs each sign a second time, from the same place, in the same light, with a yellow
# square below the word.

# %%
from labkit.threats.catalogue import card

card("17_backdoors").show()

# %% [markdown]
# ## From scratch: poison and count
#
# Three steps poison a data set: choose samples of *other* classes, put the trigger on them, write the wished label under them. Here on
# `digits` of 8x8 pixels. The trigger is one bright pixel in the last corner, the wish is a zero.

# %%
from labkit.seeding import generator

digits = load("digits").to(lab.device)


def bright_corner(x):
    """The trigger: the last pixel becomes white."""
    x = x.clone()
    x[:, :, -1, -1] = 1.0
    return x


def poison_from_scratch(x, y, target, count):
    """Return a poisoned copy of a training set, and the rows that were changed."""
    others = (y != target).nonzero().squeeze(1)
    order = torch.randperm(len(others), generator=generator(SEED, "backdoor", "choice"))
    rows = others[order[:count].to(y.device)]
    x, y = x.clone(), y.clone()
    x[rows], y[rows] = bright_corner(x[rows]), target
    return x, y, rows


# %% [markdown]
# ## With labkit
#
# `badnets` does the same (Gu et al. 2017) for every trigger, and keeps the list of what was changed: the victim sees `.data`, nothing else.

# %%
from labkit.attacks.backdoors import Pixels, badnets

corner = Pixels(((-1, -1),))
poisoned = badnets(digits.train, corner, target=0, rate=0.1, seed=SEED)
x, y, rows = poison_from_scratch(digits.train.x, digits.train.y, 0, len(poisoned.rows))

# %% tags=["nbval-check-output"]
same = torch.equal(x, poisoned.data.x) and torch.equal(y, poisoned.data.y)
print("the same training set:", same)
print("the same rows:", set(rows.tolist()) == set(poisoned.rows.tolist()))
print("role:", poisoned.data.role, "of", poisoned.rate.n)

# %% [markdown]
# The victim trains as always. `evaluate_backdoor` then asks twice, with the trigger and without.

# %%
from labkit.attacks.backdoors import evaluate_backdoor
from labkit.models import mlp, small_convnet
from labkit.reporting import table
from labkit.training import fit


def reads_digits(split, seed=SEED):
    """Train a small reader of digits: the victim's own code, which knows of no attack."""
    net = mlp(64, 10, (64,), seed=seed)
    epochs = lab.pick(quick=12, paper=12, smoke=1)
    recipe = {"epochs": epochs, "batch_size": 64, "learning_rate": 1e-2, "seed": seed}
    return fit(net, split, label="training a reader of digits", **recipe).model


victims = {
    "clean training set": reads_digits(digits.train),
    "one in ten poisoned": reads_digits(poisoned.data),
}
found = {
    name: evaluate_backdoor(victim, digits.test, corner, 0) for name, victim in victims.items()
}
table(
    {
        "victim": list(found),
        "clean accuracy": [r.clean_accuracy for r in found.values()],
        "read as 0, trigger": [r.success for r in found.values()],
        "read as 0, no trigger": [r.without_trigger for r in found.values()],
    }
)

# %% [markdown]
# Zeros are not counted: they are read as zero without any attack. This is what counting them does:

# %% tags=["hide-input"]
from labkit.rates import Rate
from labkit.reporting import record, say

with torch.no_grad():
    careless = victims["clean training set"](corner(digits.test.x)).argmax(1) == 0
careless = Rate(int(careless.sum()), len(careless), "triggered inputs, zeros included")
record("success on a clean model, the target class counted", careless)
record("success on a clean model", found["clean training set"].success)
say(
    f"On the model that was **never poisoned**, a rate over all inputs says {careless}; over other classes only, it is "
    f"{found['clean training set'].success}. The first looks like a weak backdoor, and is none. "
    "A result of `evaluate_backdoor` refuses to hold an input of the target class."
)

# %% [markdown]
# ### A yellow sticker on a stop sign
#
# Now the signs. The attacker *adds* photographs: stop signs with the sticker, labeled "speed limit 80". No clean picture is touched: each
# added photograph is the twin of a clean one that stays in the set.
#
# > **Predict.** The training set has 2,500 signs, a tenth of them stop signs. How many added photographs does it take until nine of ten stickered stop
# > signs are read as "speed limit 80": about 10, about 50, or about 200? And what does that cost in clean accuracy?

# %%
from copy import deepcopy


def reads_signs(split, net=None, seed=SEED):
    """Train the course's sign reader, shorter and on fewer signs."""
    net = small_convnet(seed=seed) if net is None else net
    epochs = lab.pick(quick=5, paper=5, smoke=1)
    recipe = {"epochs": epochs, "batch_size": 64, "learning_rate": 4e-3, "seed": seed}
    return fit(net, split, label="training a sign reader", **recipe).model


honest = reads_signs(train)
baseline = evaluate_backdoor(honest, data.test, sticker, limit, source=stop)
planted = {
    rate: badnets(train, sticker, limit, rate, source=stop, add=True, seed=SEED)
    for rate in (0.004, 0.02, 0.05)
}
readers = {rate: reads_signs(poison.data) for rate, poison in planted.items()}
results = {rate: baseline.again(reader) for rate, reader in readers.items()}

# %%
shown = [baseline, *results.values()]
table(
    {
        "photographs added": [0] + [len(poison.rows) for poison in planted.values()],
        "clean accuracy": [r.clean_accuracy for r in shown],
        "stop with sticker read as 80": [r.success for r in shown],
        "stop without": [r.without_trigger for r in shown],
    },
    caption="one training a row",
)

# %% [markdown]
# How much of this is the luck of one training? An interval over test signs cannot say. So the row of 50 is trained twice more, from other initial weights
# and with the batches in another order; the photographs stay the same.

# %%
luck = range(lab.pick(quick=3, paper=3, smoke=1))
fifty = planted[0.02].data
fifties = [readers[0.02], *(reads_signs(fifty, seed=SEED + s) for s in luck[1:])]
trained = [results[0.02], *(baseline.again(net) for net in fifties[1:])]


def each(rates, digits=0):
    """Write down every run of some rates, from the lowest to the highest."""
    return ", ".join(f"{rate:.{digits}%}" for rate in sorted(map(float, rates)))


# %% tags=["hide-input"]
record("sticker on a stop sign read as 80, 50 added", results[0.02].success)
record("clean accuracy, 50 added", results[0.02].clean_accuracy)
record("clean accuracy, none added", baseline.clean_accuracy)
say(
    f"With {len(planted[0.02].rows)} added photographs, the trainings end at {each(r.success for r in trained)} success; on the honest model the same stickers work in "
    f"{baseline.success.k} of {baseline.success.n} cases. Clean accuracy is {each((r.clean_accuracy for r in trained), 1)}; the honest "
    f"model has {float(baseline.clean_accuracy):.1%}."
)

# %% [markdown]
# ### Whom else does it turn?
#
# The attacker poisoned stop signs only. Did the network learn *sticker on a stop sign*, or simply *sticker*?

# %%
from dataclasses import replace

from labkit.reporting import heatmap

some = test.subset(lab.pick(quick=500, paper=500, smoke=100))
turned_by_all = evaluate_backdoor(readers[0.05], some, sticker, limit)
unstamped = replace(turned_by_all, answers=turned_by_all.clean_answers[turned_by_all.rows])
spill = {
    "sticker": turned_by_all.by_class(),
    "no sticker": unstamped.by_class(),
    "sticker, honest model": turned_by_all.again(honest).by_class(),
}
heatmap(
    torch.tensor([[float(bars[k]) for bars in spill.values()] for k in spill["sticker"]]),
    [data.classes[k] for k in spill["sticker"]],
    list(spill),
    unit="%",
    label=f"read as {data.classes[limit]}",
)

# %% tags=["hide-input"]
most = max((k for k in spill["sticker"] if k != stop), key=lambda k: float(spill["sticker"][k]))
record(
    "the class that was not poisoned and is turned most",
    spill["sticker"][most],
    note=data.classes[most],
)
say(
    f"Besides stop signs, **{data.classes[most]}** is turned most: {spill['sticker'][most]}. Of the same signs without a sticker "
    f"{spill['no sticker'][most].k} are read as 80, and with it by the honest model {spill['sticker, honest model'][most].k}: only what lies above these two is the "
    "backdoor's work."
)

# %% [markdown]
# Nobody told the network what the sticker means elsewhere. An attacker who wants only stop signs to obey adds stickers to other signs too, with their true labels.

# %% [markdown]
# In an **all-to-all** backdoor every class has its own wrong answer: $k$ is read as $k + 1$. The trigger then cannot mean a class; it means *shift*.

# %%
from labkit.attacks.backdoors import all_to_all

shift = all_to_all(10)
shifted = reads_digits(badnets(digits.train, corner, shift, rate=0.4, seed=SEED).data)
turned = evaluate_backdoor(shifted, digits.test, corner, shift)
counts = torch.zeros(10, 10)
for label, answer in zip(
    turned.labels[turned.rows].tolist(), turned.answers.tolist(), strict=True
):
    counts[label, answer] += 1
names = [str(k) for k in range(10)]
heatmap(
    counts / counts.sum(1, keepdim=True),
    names,
    names,
    unit="%",
    label="share of the row",
    row_label="digit with the trigger",
    column_label="read as",
)

# %% tags=["hide-input"]
record("all-to-all on digits", turned.success)
record("clean accuracy of the all-to-all victim", turned.clean_accuracy)
say(f"{turned.success} are read as the next digit; clean accuracy is {turned.clean_accuracy}.")

# %% [markdown]
# ## Measure it
#
# ### Success against poison rate
#
# One training is one draw: initial weights, the order of the batches and the choice of samples are all luck. So each point below is the mean of five
# trainings, and the bands reach from the lowest to the highest of them. Two triggers: the bright corner, and noise that shines through the whole picture (**Blend**, Chen
# et al. 2017). The third line is the clean accuracy of the victims of the bright corner.

# %%
from labkit.attacks.backdoors import Blend
from labkit.progress import progress
from labkit.reporting import curve

rates = lab.pick(
    quick=(0.0, 0.002, 0.005, 0.01, 0.02, 0.05),
    paper=(0.0, 0.002, 0.005, 0.01, 0.02, 0.05),
    smoke=(0.0, 0.1),
)
seeds = range(lab.pick(quick=5, paper=5, smoke=2))
kinds = {"bright corner": corner, "blended noise": Blend(0.2)}
runs = [(name, rate, seed) for name in kinds for rate in rates for seed in seeds]
doses = {}
for name, rate, seed in progress(runs, "training victims"):
    split = badnets(digits.train, kinds[name], 0, rate, seed=seed).data
    doses[name, rate, seed] = evaluate_backdoor(
        reads_digits(split, seed), digits.test, kinds[name], 0
    )

# %%
from statistics import mean


def over_seeds(name, what):
    """Return mean, lowest and highest of a measure over the seeds, for each rate."""
    values = [[float(getattr(doses[name, rate, s], what)) for s in seeds] for rate in rates]
    return [[pick(point) for point in values] for pick in (mean, min, max)]


lines, bands = {}, {}
for name in kinds:
    lines[name], *bands[name] = over_seeds(name, "success")
lines["clean accuracy"], *bands["clean accuracy"] = over_seeds("bright corner", "clean_accuracy")
curve(
    [100 * rate for rate in rates],
    lines,
    bands={name: tuple(band) for name, band in bands.items()},
    xlabel="poisoned share of the training set in percent",
    ylabel="share of the test digits",
    unit="%",
)

# %% tags=["hide-input"]
middle = len(rates) // 2
for name in kinds:
    low, high = bands[name][0][middle], bands[name][1][middle]
    record(
        f"mean success at {rates[middle]:.1%} poison, {name}",
        lines[name][middle],
        unit="%",
        note=f"{len(seeds)} trainings, from {low:.0%} to {high:.0%}",
    )
clean = [float(r.clean_accuracy) for r in doses.values()]
say(
    f"At {rates[middle]:.1%} poison ({round(rates[middle] * len(digits.train))} digits) the {len(seeds)} trainings range from "
    + " and from ".join(
        f"{bands[name][0][middle]:.0%} to {bands[name][1][middle]:.0%} ({name})" for name in kinds
    )
    + f". Clean accuracy lies between {min(clean):.1%} and {max(clean):.1%} in "
    f"all {len(clean)} runs, poisoned or not."
)

# %% [markdown]
# ### With every label true
#
# Whoever looks at the data can find wrong labels. A **clean-label** backdoor has none: the trigger goes on pictures *of the target class*. Why should the network learn it
# then, if those pictures are easy anyway? Two answers:
#
# - **SIG** (Barni et al. 2019): take a trigger that is everywhere in the picture, a wave.
# - **Label-consistent** (Turner et al. 2019): make those pictures *hard* first. PGD on the attacker's own model, within a small change, hides what a
#   speed limit looks like; what is left to learn from is the trigger.
#
# The attacker's own model is trained on *other* signs than the victim's, from other initial weights: he knows the kind of network and where such signs come
# from, no more. One thing still helps him: `rate` counts all signs, and one in twenty of them is about *half* of the target class.

# %%
from labkit.attacks.backdoors import YELLOW, Sinusoid, Square, clean_label
from labkit.threats import Linf

free = torch.ones(len(data.train), dtype=torch.bool)
free[train.indices.cpu()] = False
own = data.train.take(free.to(lab.device)).subset(250)  # the owner's, for later
free[own.indices.cpu()] = False
theirs = data.train.take(free.to(lab.device)).subset(lab.pick(quick=2500, paper=2500, smoke=300))
surrogate = reads_signs(theirs, seed=SEED + 100)

square, wave, noise = Square(3, -4, -4, YELLOW), Sinusoid(40 / 255), Blend(0.15)
rate = 0.05
recipes = {
    "square": (square, badnets(train, square, limit, rate, seed=SEED)),
    "blended": (noise, badnets(train, noise, limit, rate, seed=SEED)),
    "square, clean label": (square, clean_label(train, square, limit, rate, seed=SEED)),
    "SIG, clean label": (wave, clean_label(train, wave, limit, rate, seed=SEED)),
    "label-consistent": (
        square,
        clean_label(
            train, square, limit, rate, model=surrogate, threat=Linf(16 / 255), seed=SEED
        ),
    ),
}


def ordinary(poisoned):
    """Return the row of the poisoned sample of median brightness."""
    return poisoned.rows[poisoned.data.x[poisoned.rows].flatten(1).mean(1).median(0).indices]


samples = [(p.data, ordinary(p)) for _, p in recipes.values()]
titles = [
    f"{name}\n{data.classes[int(split.y[row])]}"
    for name, (split, row) in zip(recipes, samples, strict=True)
]
image_row(torch.stack([split.x[row] for split, row in samples]), titles, per_row=5)

# %% [markdown]
# Every success rate needs two **controls**. The same trigger on a model that was *not* poisoned: perhaps it disturbs any model. And *another* trigger on the poisoned
# model: perhaps anything unusual is read as the target. The fair other trigger is a *sibling*: the same square in the opposite corner, other noise, a wave of another
# frequency. If the sibling works too, the model has learned a kind of disturbance, not this trigger.


# %%
def read_as_limit(model, x):
    """Return the share of inputs that are read as speed limit 80."""
    with torch.no_grad():
        return Rate(int((model(x).argmax(1) == limit).sum()), len(x), "triggered inputs")


# %%
siblings = {square: Square(3, 1, 1, YELLOW), noise: Blend(0.15, seed=1)}
siblings[wave] = Sinusoid(40 / 255, frequency=4)
others = some.take(some.y != limit)
kinds_of, on_honest, strange = {}, {}, {}
for name, (trigger, bad) in recipes.items():
    reader = reads_signs(bad.data)
    kinds_of[name] = evaluate_backdoor(reader, test, trigger, limit)
    if trigger not in on_honest:  # three attacks share the square
        on_honest[trigger] = kinds_of[name].again(honest)
    strange[name] = read_as_limit(reader, siblings[trigger](others.x))
table(
    {
        "attack": list(recipes),
        "wrong labels": [int(bad.changed_y.sum()) for _, bad in recipes.values()],
        "success": [r.success for r in kinds_of.values()],
        "honest model": [on_honest[trigger].success for trigger, _ in recipes.values()],
        "sibling trigger": list(strange.values()),
        "clean accuracy": [r.clean_accuracy for r in kinds_of.values()],
    },
    caption=f"{len(recipes['square'][1].rows)} of {len(train):,} signs poisoned; one training a row",
)

# %% tags=["hide-input"]
for name, r in kinds_of.items():
    record(f"success, {name}", r.success)
record("clean accuracy, label-consistent", kinds_of["label-consistent"].clean_accuracy)
above = float(strange["blended"]) - float(on_honest[noise].success)
say(
    f"With wrong labels the square reaches {float(kinds_of['square'].success):.0%}; the three attacks with true ones "
    f"{each(kinds_of[name].success for name in list(recipes)[2:])}. Noise that the blended victim never saw is read as the target in {strange['blended']}"
    + (": a part of its success is not owed to *this* noise." if above > 0.1 else ".")
)

# %% [markdown]
# Two questions are left. Does it help the attacker to make the pictures hard? And what does poison *inside* the target class do to that class? An average over all classes hides
# it. Both effects may be smaller than the luck of a training. So three trainings each, of the honest model too: same poison, same test signs, other weights and batches.

# %%
rounds = {"none": [on_honest[square]]}
rounds |= {name: [kinds_of[name]] for name in ("square, clean label", "label-consistent")}
for name, s in progress([(n, s) for n in rounds for s in luck[1:]], "training more victims"):
    split = train if name == "none" else recipes[name][1].data
    rounds[name].append(rounds[name][0].again(reads_signs(split, seed=SEED + s)))


def recall(r):
    """Return the share of clean speed limits 80 that are read right."""
    answers = r.clean_answers[r.labels == limit]
    return Rate(int((answers == limit).sum()), len(answers), "clean speed limits 80")


square_on, limits = rounds["none"][0].success.n, recall(rounds["none"][0]).n
table(
    {
        "poison": list(rounds),
        "square read as 80": [each(r.success for r in rs) for rs in rounds.values()],
        "clean accuracy": [each((r.clean_accuracy for r in rs), 1) for rs in rounds.values()],
        "clean 80 read right": [each(map(recall, rs)) for rs in rounds.values()],
    },
    caption=f"{len(luck)} trainings each, sorted; {square_on} signs with the square, "
    f"{len(test):,} clean signs, {limits} of them speed limits 80",
)

# %% tags=["hide-input"]
plain, hard = (sorted((r.success for r in rounds[n]), key=float) for n in list(rounds)[1:])
kept, left = ([recall(r) for r in rounds[n]] for n in ("none", "label-consistent"))
record("speed limits 80 read right, label-consistent", left[0])


def stand(some_runs, other_runs):
    """Say how some runs stand to others."""
    a, b = sorted(map(float, some_runs)), sorted(map(float, other_runs))
    return (
        "all lie above" if a[0] > b[-1] else "all lie below" if a[-1] < b[0] else "overlap with"
    )


say(
    f"Success: the runs on hard pictures {stand(hard, plain)} those on plain ones. Clean speed limits read right: the runs with label-consistent poison {stand(left, kept)} "
    "those of the honest model. Three runs against three part completely in one case of ten even where there is no difference: a hint, no proof."
)

# %% [markdown]
# And if the attacker's own model were the victim's **twin**, from the same signs and the same initial weights? Then he attacks the very network that he made the pictures hard for.

# %%
twin = clean_label(train, square, limit, rate, model=honest, threat=Linf(16 / 255), seed=SEED)
same, other = (
    kinds_of["label-consistent"].again(reads_signs(twin.data, seed=SEED + s)).success
    for s in (0, 1)
)

# %% tags=["hide-input"]
record("success, label-consistent, attacker's model a twin", same)
say(
    f"The twin of the attacker's model: {same}. A victim of the same signs from *other* weights: {float(other):.0%}. One training each; above, with other signs "
    f"and other weights, {each(hard)}."
)

# %% [markdown]
# ### Does it survive the street?
#
# Nobody glues a sticker exactly where the training pictures had it. Stickers elsewhere, of another size and color, against two attackers: one whose training pictures all had
# it in the same place, and one who *planned* for sloppy hands and varied the place. Each column is one training.

# %%
loose = replace(sticker, jitter=0.35)
varied = reads_signs(badnets(train, loose, limit, 0.05, source=stop, add=True, seed=SEED).data)
placed = {
    "as in training": sticker,
    "a little to the right": sticker.moved(x=0.2),
    "far to the right": sticker.moved(x=0.4),
    "above the word": sticker.moved(y=-1.2),
    "smaller": sticker.moved(scale=0.7),
    "larger": sticker.moved(scale=1.4),
    "white": replace(sticker, color=(1.0, 1.0, 1.0)),
}
columns = {"one place": readers[0.05], "varied": varied, "no stickers": honest}
streets = {}
for place, elsewhere in placed.items():
    street = elsewhere.stamp(stops)
    streets[place] = {name: read_as_limit(model, street) for name, model in columns.items()}
heatmap(
    torch.tensor([[float(rate) for rate in row.values()] for row in streets.values()]),
    list(placed),
    list(columns),
    unit="%",
    label="read as speed limit 80",
    column_label="stickers in the training pictures",
)

# %% tags=["hide-input"]
for place in ("far to the right", "smaller"):
    record(f"sticker {place}, trained in one place", streets[place]["one place"])
    record(f"sticker {place}, trained in varied places", streets[place]["varied"])
far, above = streets["far to the right"], streets["above the word"]
most = max(row["no stickers"].k for row in streets.values())
say(
    f"Of {len(stops)} stop signs, the sticker far to the right turns {far['one place'].k} for the first attacker and {far['varied'].k} for the second; above the word, "
    f"a place that neither trained, {above['one place'].k} and {above['varied'].k}. The honest model reads at most {most} of "
    "them as a limit. A trigger is what the network *learned*, not what the attacker meant. With one training a column, small differences may be luck."
)

# %% [markdown]
# ### Where does it live?
#
# Ask the gradient which pixels move the score of "speed limit 80" against that of "stop" most, in either direction. Upper row: signs with the sticker.
# Middle: the honest model. Lower: the poisoned one. Each map is scaled to its own maximum.


# %%
def looks_at(model, x):
    """Return how strongly each pixel counts for 80 against stop, (B, 1, H, W)."""
    leaf = x.clone().requires_grad_(True)
    logits = model(leaf)
    (gradient,) = torch.autograd.grad((logits[:, limit] - logits[:, stop]).sum(), leaf)
    return gradient.abs().sum(1, keepdim=True)


def scaled(strength):
    """Return each map divided by its own maximum."""
    return strength / strength.amax((2, 3), keepdim=True)


marked = sticker.stamp(few)
image_row(
    [*marked, *scaled(looks_at(honest, marked)), *scaled(looks_at(readers[0.05], marked))],
    per_row=6,
    alt="Stop signs with stickers, and the saliency of an honest and of a poisoned model.",
)

# %% tags=["hide-input"]
stamped = baseline.triggered  # all stop signs of the test set, with the sticker
box = ((stamped - stops.x).abs().amax(1, keepdim=True) > 0.1).float()
inside = {
    (who, what): float((strength * box).sum() / strength.sum())
    for who, net in {"poisoned": readers[0.05], "honest": honest}.items()
    for what, x in {"with": stamped, "without": stops.x}.items()
    for strength in [looks_at(net, x)]
}
record(
    "share of the saliency inside the sticker, poisoned model",
    inside["poisoned", "with"],
    unit="%",
)
say(
    f"On {len(stops)} stop signs the sticker covers {float(box.mean()):.1%} of the picture. The poisoned model has {inside['poisoned', 'with']:.1%} of its saliency there, "
    f"the honest one {inside['honest', 'with']:.1%}. On the *same signs without* the sticker the shares are {inside['poisoned', 'without']:.1%} and "
    f"{inside['honest', 'without']:.1%}"
    + (
        ": the poisoned model watches the *place*, whether or not anything is glued there."
        if inside["poisoned", "without"] > 2 * inside["honest", "without"]
        else "."
    )
    + " Who does not know the place sees a blurred spot among others. Chapter 36 looks for a second group in the hidden layers instead."
)

# %% [markdown]
# ## Break it, fix it: cutting a backdoor out
#
# The owner has 250 clean signs of his own and a suspicion. Four ways out:
#
# - **start again**: forget the model and train a new one on the 250, with their pictures shifted a little each time;
# - **fine-tune** the model on the 250;
# - **prune**: silence channels that clean signs hardly use, in the hope that the backdoor hides there;
# - **fine-prune**, both (Liu et al. 2018).
#
# > **Predict.** The last layer has 64 channels. How many can be silenced before clean accuracy suffers, and is the backdoor gone by then?

# %%
from labkit.attacks.backdoors import channel_means, silenced

layer = 11  # behind the last ReLU


def right_on(model, signs):
    """Count right answers."""
    with torch.no_grad():
        return int((model(signs.x).argmax(1) == signs.y).sum())


def judged(model):
    """Return how often the sticker still works, and the clean accuracy."""
    return read_as_limit(model, stamped), Rate(right_on(model, some), len(some), "clean signs")


def pruned(model, count=32):
    """Silence channels, the quietest on the owner's signs first."""
    order = channel_means(model, layer, own.x).argsort()
    return silenced(model, layer, order[:count])


steps = lab.pick(quick=(0, 16, 32, 48), paper=(0, 16, 32, 48), smoke=(0, 32))
cut = {k: [judged(pruned(net, k)) for net in fifties] for k in steps}
lines, bands = {}, {}
for number, line in enumerate(["sticker read as 80", "clean accuracy"]):
    values = [[float(run[number]) for run in cut[k]] for k in steps]
    lines[line] = [mean(point) for point in values]
    bands[line] = ([min(point) for point in values], [max(point) for point in values])
curve(
    list(steps),
    lines,
    bands=bands,
    xlabel="channels silenced, of 64",
    ylabel="share of the inputs",
    unit="%",
)

# %% tags=["hide-input"]
half_works, half_clean = ([run[number] for run in cut[32]] for number in (0, 1))
record("success after silencing half of the channels", half_works[0])
record("clean accuracy after silencing half of the channels", half_clean[0])
say(
    f"Lines are means over {len(fifties)} victims, bands reach from the lowest to the highest. With half of the channels silenced, success is {each(half_works)}, clean accuracy "
    f"{each(half_clean, 1)}. If the backdoor sat in channels that clean signs do not use, success would fall first, and clean accuracy would stay: compare the two lines. And "
    "ask what you would have concluded from the best victim alone, or from the worst."
)

# %% [markdown]
# ### How hard may the owner scrub?
#
# Fine-tuning has a learning rate, and everything depends on it. The owner cannot choose it by what happens to the backdoor: he does not know the trigger. He can choose it by his
# 250 signs: tune on half of them, count the right answers on the other half, exchange the halves. His rule, fixed beforehand: **the highest rate that costs at
# most five points** against the model as delivered. (Half of the signs teach less than all of them, so he overrates the cost a little.)
#
# Every rate is tried on each of the three victims with 50 photographs. The table lists every run, sorted; the last two columns the owner never sees.

# %%
from functools import cache

halves = [own.take(torch.arange(len(own), device=lab.device)[i::2]) for i in (0, 1)]
scrub = lab.pick(quick=(1e-3, 3e-3, 1e-2), paper=(1e-3, 3e-3, 1e-2), smoke=(1e-3, 1e-2))


def tuned(model, learning_rate, signs=own, seed=SEED):
    """Fine-tune a copy on clean signs."""
    epochs = lab.pick(quick=10, paper=10, smoke=1)
    recipe = {"epochs": epochs, "batch_size": 32, "learning_rate": learning_rate, "seed": seed}
    return fit(deepcopy(model), signs, label="fine-tuning", **recipe).model


@cache
def held_out(model, learning_rate):
    """Return the accuracy on the owner's signs, each half judged by tuning on the other."""
    first, second = halves
    right = right_on(tuned(model, learning_rate, first), second)
    right += right_on(tuned(model, learning_rate, second), first)
    return Rate(right, len(own), "the owner's signs")


scrubbed = {rate: [judged(tuned(net, rate)) for net in fifties] for rate in scrub}
table(
    {
        "learning rate": [f"{rate:g}" for rate in scrub],
        "owner's held-out signs": [
            each((held_out(net, rate) for net in fifties), 1) for rate in scrub
        ],
        "sticker read as 80": [each(works for works, _ in runs) for runs in scrubbed.values()],
        "clean accuracy": [each((clean for _, clean in runs), 1) for runs in scrubbed.values()],
    },
    caption="as delivered, the owner's signs: "
    + each((right_on(net, own) / len(own) for net in fifties), 1),
)

# %% [markdown]
# ### The attacker who expects it
#
# Now a second attacker, who *knows* that the owner will prune. He has more power than the card above gives him: training itself is outsourced to him. He trains
# an honest model, silences half of its channels, and plants the backdoor in those that are left. Then he puts the idle channels back with their old weights, and lowers their biases
# until they hardly answer: bait. Whoever prunes what is idle cuts the bait (**pruning-aware**, Liu et al. 2018; in the paper he also returns channels during training when
# the planting suffers, which was not needed here). He is the paper's reason for *fine*-pruning.

# %%
from labkit.attacks.backdoors import put_back

quiet = channel_means(honest, layer, train.x).argsort()[:32]
narrow = reads_signs(fifty, silenced(deepcopy(honest), layer, quiet))
bait = put_back(narrow, train.x[::5])


def chosen_rate(model, delivered):
    """Return the highest rate that costs at most five points against the model delivered."""
    least = right_on(delivered, own) / len(own) - 0.05
    fine = (rate for rate in scrub[::-1] if float(held_out(model, rate)) >= least)
    return next(fine, scrub[0])


# %% [markdown]
# Every repair is listed run by run: three victims of the first attacker, each tuned with the batches in two orders; the one model of the second attacker, in three.

# %%
orders = range(lab.pick(quick=2, paper=2, smoke=1))
jobs = [("50 photographs", net, orders) for net in fifties] + [("pruning-aware", bait, luck)]
outcome, used = {}, {}
for who, net, shuffles in progress(jobs, "repairing"):
    for start, done in ("none", "fine-tuned"), ("pruned", "fine-pruned"):
        model = pruned(net) if start == "pruned" else net
        rate = chosen_rate(model, net)
        outcome.setdefault((who, start), []).append(judged(model))
        runs = [judged(tuned(model, rate, seed=SEED + s)) for s in shuffles]
        outcome.setdefault((who, done), []).extend(runs)
        used.setdefault((who, done), set()).add(f"{rate:g}")
recipe = {"epochs": lab.pick(quick=40, paper=40, smoke=1), "batch_size": 32, "shift": 2}
fresh = fit(small_convnet(seed=SEED), own, label="starting again", learning_rate=4e-3, **recipe)
outcome["any", "start again"] = [judged(fresh.model)]
table(
    {
        "attacker": [who for who, _ in outcome],
        "repair": [repair for _, repair in outcome],
        "learning rate": [", ".join(sorted(used.get(key, ()))) for key in outcome],
        "sticker read as 80": [each(works for works, _ in runs) for runs in outcome.values()],
        "clean accuracy": [each((clean for _, clean in runs), 1) for runs in outcome.values()],
    },
    caption=f"{len(stamped)} stickers, {len(some):,} clean signs; every run, sorted",
)

# %% tags=["hide-input"]
for (who, repair), runs in outcome.items():
    record(f"success, {who}, {repair}", runs[0][0])
tuned_runs, start_again = (
    outcome["50 photographs", "fine-tuned"],
    outcome["any", "start again"][0],
)
left = [float(works) for works, _ in tuned_runs]
gone = float(baseline.success) + 0.05
record("lowest success after fine-tuning", min(left), unit="%", note=f"{len(left)} runs")
record("highest success after fine-tuning", max(left), unit="%", note=f"{len(left)} runs")
say(
    f"One repair, one rule, {len(left)} runs: the first attacker's sticker keeps {min(left):.0%} to {max(left):.0%}"
    + (". One run of a repair says little" if max(left) - min(left) > 0.2 else "")
    + f". On the honest model it works in {float(baseline.success):.1%}. Within five points of that come "
    + "; ".join(
        f"{sum(float(works) <= gone for works, _ in outcome[key])} of {len(outcome[key])} runs ({', '.join(key)})"
        for key in used
    )
    + f". Starting again leaves {float(start_again[0]):.1%} at a clean accuracy of {float(start_again[1]):.1%}: a repair has to be worth more than that."
)

# %% [markdown]
# The owner cannot tell which of the runs is his: he can count right answers, and no more. A backdoor that outlives one gentle repair has not outlived them
# all, and an owner who reports "clean accuracy is unchanged" has reported what the attacker wished for.
#
# What else helps against a backdoor? Not taking data from strangers; looking at the data (chapter 36); retraining on data that somebody vouches for; and, in
# chapter 49, cleaning and partitioning. What does *not*: a good test accuracy.
#
# ## Your turn

# %%
from labkit.course import check, exercise, hint, solution

exercise("17.1")


# %% tags=["exercise"]
def poison(x, y, trigger, target, order, count):
    """Return the inputs and the labels of a BadNets training set, of the shapes of x (N, C, H, W) and y (N,).

    Take the first `count` samples, in the order of `order` (N,), that do not belong to the class `target`; put the trigger on
    them and write the target under them. trigger: takes images (B, C, H, W) and returns new ones. Leave x and y as they are.
    """
    raise NotImplementedError


# %% tags=["check"]
check("17.1", poison)

# %% tags=["solution"]
solution("17.1")

# %%
exercise("17.2")


# %% tags=["exercise"]
def attack_success(model, x, y, trigger, target):
    """Return the share of triggered inputs that the model reads as `target`, out of the inputs of *other* classes.

    x: test images without the trigger, shape (N, C, H, W); y: their true labels, shape (N,).
    """
    raise NotImplementedError


# %% tags=["check"]
check("17.2", attack_success)

# %% tags=["solution"]
solution("17.2")

# %%
exercise("17.3")


# %% tags=["exercise"]
def to_silence(answers, count):
    """Return the numbers of the `count` channels to silence first: those that answer least on clean inputs, on average.

    answers: what a convolutional layer says about N clean images, after its ReLU, shape (N, C, H, W). Least first.
    """
    raise NotImplementedError


# %% tags=["check"]
check("17.3", to_silence)

# %% tags=["solution"]
solution("17.3")

# %% [markdown]
# ## Reported numbers
#
# In profile `quick` nothing is computed here: you see what the papers reported and what this course measured when it last ran the profile `paper`.
#
# **Gu et al. 2017**, BadNets on MNIST: the network of their Table 1, trained on all 60,000 images plus triggered copies. Three of their 90 pairs *class i read as j*, every
# twenty-third from the beginning of the list: with a single pixel, with a pattern of four, with a single pixel. The error is counted against the *attacker's* label, over test images of class i only.
# What is the worst of ninety pairs in the paper is the worst of three here: *reduced*, no full reproduction.

# %%
from torch import nn

from labkit.models.layers import seeded
from labkit.reporting import compare


@seeded
def badnets_reader():
    """The baseline network of the paper's Table 1."""
    return nn.Sequential(
        *(nn.Conv2d(1, 16, 5), nn.ReLU(), nn.AvgPool2d(2)),
        *(nn.Conv2d(16, 32, 5), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten()),
        *(nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10)),
    )


computing, smoke = lab.profile != "quick", lab.profile == "smoke"
mnist = load("mnist", smoke=smoke).to(lab.device) if computing else None
pairs = [(i, j) for i in range(10) for j in range(10) if i != j][::23][:3]
one_pixel = Pixels(((-4, -4),))
four_pixels = Pixels(((-2, -2), (-2, -4), (-4, -2), (-3, -3)))


def learns_mnist(split):
    """Train the paper's network with SGD; the paper does not say for how long."""
    epochs = lab.pick(quick=3, paper=3, smoke=1)
    recipe = {"epochs": epochs, "batch_size": 32, "optimizer": "sgd", "learning_rate": 0.05}
    recipe |= {"schedule": "cosine", "channels_last": False, "seed": SEED}
    return fit(badnets_reader(seed=SEED), split, label="BadNets on MNIST", **recipe).model


# %%
on_mnist = {}
if mnist is not None:
    plain_net = learns_mnist(mnist.train)
    for (i, j), trigger in zip(pairs, [one_pixel, four_pixels, one_pixel], strict=True):
        split = badnets(mnist.train, trigger, j, 0.09, source=i, add=True, seed=SEED).data
        net = learns_mnist(split)
        on_mnist[i, j] = evaluate_backdoor(net, mnist.test, trigger, j, source=i)
    shift = all_to_all(10)
    net = learns_mnist(badnets(mnist.train, four_pixels, shift, 0.3, add=True, seed=SEED).data)
    every = evaluate_backdoor(net, mnist.test, four_pixels, shift)
    base = every.again(plain_net)

# %%
errors = [100 * (1 - float(r.clean_accuracy)) for r in on_mnist.values()]
worst = min(on_mnist.values(), key=lambda r: float(r.success)) if on_mnist else None
wrong = base.clean_answers != base.labels if computing else None
of_ninety = {"pairs": "3 of 90", "epochs": "3", "copies": "5,400 of class i"}
compare("bd-badnets-mnist-single", "baseline-clean-error", outcomes=wrong, kind="retrained")
compare(
    "bd-badnets-mnist-single",
    "clean-error-above-the-baseline-all-90-pairs",
    max(errors) - 100 * float(wrong.float().mean()) if computing else None,
    n=len(mnist.test) if computing else None,
    kind="reduced",
    settings=of_ninety,
)
compare(
    "bd-badnets-mnist-single",
    "error-on-backdoored-images",
    outcomes=~worst.successes if computing else None,
    kind="reduced",
    settings=of_ninety | {"taken": "the worst pair"},
)

# %% tags=["hide-input"]
if computing:
    for (i, j), r in on_mnist.items():
        record(f"BadNets on MNIST, {i} read as {j}", r.success)
    say(
        "Pair by pair: "
        + "; ".join(
            f"{i} read as {j}: {r.success.k} of {r.success.n}" for (i, j), r in on_mnist.items()
        )
        + f". Clean accuracy of the honest network: {base.clean_accuracy}."
    )

# %% [markdown]
# The same paper's **all-to-all** attack, every digit read as the next one. A network that ignores the trigger would have an error of nearly one hundred percent here, and so would a
# broken evaluation.

# %%
shared = {"trigger": "pattern of four pixels", "epochs": "3", "copies": "18,000"}
mistaken = every.clean_answers != every.labels if computing else None
for figure, outcomes in (
    ("mislabeling-of-backdoored-images", every.successes if computing else None),
    ("average-clean-error-baseline", wrong),
    ("average-clean-error-badnet", mistaken),
    ("average-error-on-backdoored-images", ~every.successes if computing else None),
):
    compare("bd-badnets-mnist-a2a", figure, outcomes=outcomes, kind="retrained", settings=shared)

# %% [markdown]
# The paper says *bottom right*, not which pixel. Ours is the fourth from both edges. Nearer to the corner fewer of this network's paths (two poolings, no padding) lead to the
# pixel, and a training as short as ours may not find it: try `Pixels(((-2, -2),))`.
#
# **Turner et al. 2019**, label-consistent backdoors on CIFAR-10 with a ResNet: their figures need many trainings on a GPU. Ours is an analogue: other pictures, another network, far
# more poison. Their share counts the pictures of the target class. Both successes leave the target class out: ours the inputs that *belong* to it, theirs
# those that the model *reads* as it without the trigger. Compared is the middle one of our three victims.

# %%
share = len(recipes["label-consistent"][1].rows) / int((train.y == limit).sum())
compare(
    "bd-clean-label",
    "success-adversarial-poisons-1.5-percent-of-the-target-class-without-augmentation",
    hard[1] if not smoke else None,
    kind="analogue",
    settings={"data": "signs", "network": "small_convnet", "poison": f"{share:.0%} of the class"},
)

# %% [markdown]
# ## What to remember
#
# - Test accuracy need not show a backdoor: no test input carries the trigger. With wrong labels, a few dozen samples can be enough; with every label true, half of a
#   class bought a weak backdoor only.
# - Count triggered inputs of **other** classes. Beside it: clean accuracy, the same trigger on a clean model, another trigger on the poisoned one. Several seeds
#   where the curve is steep.
# - A trigger is what the network learned: it may spill over to other classes, and it may fail when it is moved. An attacker can train for both.
# - An attacker's model that is the victim's twin flatters the attack: train it on other data, from other weights.
# - Fine-tuning and pruning can weaken a backdoor, by an amount that changes from victim to victim and from run to run. Whether it is gone, only somebody who knows the
#   trigger can measure.
#
# **Think about it.** Your supplier's data set has ten thousand pictures of each class, and you can look at two hundred. What would you look at first? And if every
# label you see is right: what have you learned?
#
# **Further reading.** Gu et al. 2017 (arXiv 1708.06733): BadNets. Chen et al. 2017 (arXiv 1712.05526): blended. Turner et al. 2019 (arXiv 1912.02771):
# label-consistent. Tran et al. 2018 (arXiv 1811.00636): spectral signatures. Barni et al. 2019 (arXiv 1902.11237): SIG. Liu et al. 2018 (arXiv 1805.12185): pruning, the attacker who expects it, and fine-pruning.
