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
# # 13. Transfer: attack a model that you do not have
#
# **What you will be able to do**
#
# - fool a model whose weights, architecture and training data you do not know, through a **surrogate** of your own;
# - measure who fools whom, with a denominator that means something and with baselines that could embarrass you;
# - make examples that transfer better: momentum, input diversity, shifts, several surrogates;
# - build a surrogate out of nothing but a service's answers, and say what stops all this.
#
# **You need** [chapter 10](10_evasion_gradient.ipynb): gradient attacks, momentum.

# %% tags=["parameters"]
PROFILE = "quick"
SEED = 0

# %%
from labkit.course import begin

lab = begin("13_transfer", PROFILE, SEED)

# %% tags=["hide-input"]
from labkit.reporting import running_times

running_times()

# %% [markdown]
# ## The idea: whoever learns the same task errs alike
#
# A sign reader runs in a car. You have neither its weights nor its training images; you cannot take its gradient. But you can photograph
# signs and train a reader of your own. If both learned to separate the same classes, their boundaries lie in similar places, and what
# crosses yours may well cross theirs. An example made on one model that fools another is said to **transfer**. The model it is made on is
# the **surrogate**; the one it is meant for is the **victim**.
#
# Three clouds of points make a task small enough to draw. Surrogate and victim see different points and are built differently: a linear
# model here, a network with two hidden layers there.

# %%
import torch

from labkit.data.dataset import Split
from labkit.seeding import generator


def clouds(n, who):
    """Return n points in three clouds, (n, 2) in [0, 1], drawn anew for everyone who asks."""
    y = torch.arange(n) % 3
    centers = torch.tensor([[0.25, 0.3], [0.7, 0.25], [0.5, 0.75]])
    noise = torch.randn(n, 2, generator=generator(SEED, who))
    return Split((centers[y] + 0.1 * noise).clamp(0, 1), y, "train", who)


# %%
from labkit.models import linear, mlp
from labkit.training import fit

quick = {"epochs": 60, "batch_size": 30, "seed": SEED, "device": "cpu"}
mine = fit(linear(2, 3, seed=SEED), clouds(90, "attacker"), learning_rate=0.1, **quick).model
theirs = fit(
    mlp(2, 3, (32, 32), seed=SEED + 1), clouds(90, "owner"), learning_rate=0.02, **quick
).model

# %%
from labkit.reporting import decision_regions

points = clouds(18, "test")
eps = 0.2
sides = {"the surrogate: linear": mine, "the victim: a deeper network": theirs}
decision_regions(sides, points.x, points.y, eps=eps)

# %% [markdown]
# The squares are what an attacker may reach; a point is filled where its whole square has its color. Where a square leaves its color on
# the left, it mostly does so on the right too, and on the same side.
#
# ## From scratch: climb on one model, look at another
#
# The attack is the momentum method of chapter 10. Only the last line is new: *success is judged on a model that the loop never saw*.

# %%
from torch.nn.functional import cross_entropy


def transfer_from_scratch(surrogate, victim, x, y, eps, steps=10):
    """Climb the surrogate's loss with momentum; return the points and who is fooled by them."""
    x_adv, velocity = x.clone(), torch.zeros_like(x)
    for _ in range(steps):
        x_adv.requires_grad_(True)
        loss = cross_entropy(surrogate(x_adv), y, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, x_adv)
        velocity = velocity + gradient / gradient.abs().mean(1, keepdim=True)
        x_adv = x_adv.detach() + eps / steps * velocity.sign()
        x_adv = x_adv.clamp(x - eps, x + eps).clamp(0, 1)
    return x_adv, victim(x_adv).argmax(1) != y


moved, fooled = transfer_from_scratch(mine, theirs, points.x, points.y, eps)

# %%
decision_regions(sides, moved, points.y)

# %% tags=["hide-input"]
from labkit.reporting import rate, say

own = rate(mine(moved).argmax(1) != points.y, "points")
say(
    f"The points after the attack; hollow means misread. The surrogate misreads {own}, "
    f"and the victim, whose gradient nobody asked for, {rate(fooled, 'points')}."
)

# %% [markdown]
# ## With labkit
#
# Every attack takes `victim=`. The gradients come from the first model, success, `already` and every rate from the victim.

# %%
from labkit.attacks.evasion import mi_fgsm
from labkit.threats import Linf

found = mi_fgsm(mine, points.x, points.y, Linf(eps), steps=10, victim=theirs)
print(found)

# %% tags=["nbval-check-output"]
before = theirs(points.x).argmax(1) != points.y  # misread anyway: labkit leaves those alone
same = torch.isclose(found.x_adv, moved, atol=1e-5).all(1) | before
print("the same points as from scratch:", bool(same.all()))
print("the same victims:               ", bool((found.success == (fooled | before)).all()))

# %% [markdown]
# One thing is different from an attack on a model in hand. There, an input leaves as soon as it is misread: it then stands just behind
# the boundary. *Just behind your boundary is often just before theirs.* With `victim=`, every input runs on to the last step.
#
# ## Measure it
#
# ### Seven readers of traffic signs
#
# The training images are split: one half is the attacker's, the other the owner's. On them we train what people might train: a linear
# model, a fully connected network (MLP), three convnets of which two share their data, and a residual network. The seventh is the robust
# reader of [chapter 40](../defenses/40_adversarial_training.ipynb), trained on attacks.

# %%
from labkit.data import load

signs = load("signs").to(lab.device)
even = torch.arange(len(signs.train)) % 2 == 0
attacker, owner = signs.train.take(even), signs.train.take(~even)
test = signs.test.subset(lab.pick(quick=200, paper=200, smoke=32))

# %%
from torch import nn

from labkit.models import Normalize, PreActBlock, small_convnet
from labkit.models.layers import seeded


@seeded
def residual():
    """Return a small residual network for 32x32 color images."""
    front = [Normalize([0.5] * 3, [0.25] * 3), nn.Conv2d(3, 16, 3, 2, 1, bias=False)]
    blocks = [PreActBlock(16, 32, 2), PreActBlock(32, 64, 2)]
    tail = [nn.BatchNorm2d(64), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*front, *blocks, *tail, nn.Linear(64, 10))


# %%
from labkit.zoo import robust_signs_classifier

thorough = {"epochs": lab.pick(quick=8, paper=8, smoke=1), "batch_size": 64, "learning_rate": 5e-3}
gentle = thorough | {"learning_rate": 1e-3}
plans = {
    "linear": (linear(3072, 10, seed=SEED + 1), attacker, gentle),
    "MLP": (mlp(3072, 10, seed=SEED + 2), attacker, gentle),
    "convnet A": (small_convnet(seed=SEED + 3), attacker, thorough),
    "convnet B": (small_convnet(seed=SEED + 4), attacker, thorough),
    "convnet C": (small_convnet(seed=SEED + 5), owner, thorough),
    "residual": (residual(seed=SEED + 6), owner, thorough),
}
models = {
    name: fit(net, data, seed=SEED, label=f"training {name}", **how).model
    for name, (net, data, how) in plans.items()
}
models["robust"] = robust_signs_classifier(SEED).model

# %%
from labkit.evaluation import accuracy
from labkit.reporting import bar_chart

bar_chart(
    {name: accuracy(model, test.x, test.y) for name, model in models.items()},
    xlabel="test signs read correctly",
)

# %% [markdown]
# ### Who fools whom
#
# Each model is attacked once, within 16/255, the size that papers on transfer use: twice that of chapter 10, and visible if you look for
# it. Its examples are then shown to all seven.
#
# > **Predict.** The attack breaks nearly every sign on the model it is made on. How many of convnet A's examples will fool convnet B, which had the
# > same data and differs in its initial weights only: nearly all, half, or under a third? Which of the seven makes the best surrogate?

# %%
from functools import partial

from labkit.attacks.evasion import transfer_matrix

climb = partial(mi_fgsm, steps=10, layout="channels_last")  # the layout saves time, nothing else
threat = Linf(16 / 255)
matrix = transfer_matrix(models, test.x, test.y, climb, threat)

# %%
from labkit.reporting import heatmap

heatmap(
    matrix.matrix(),
    matrix.sources,
    matrix.victims,
    unit="%",
    label="fooled, of those read rightly before",
    row_label="made on",
    column_label="shown to",
)

# %% tags=["hide-input"]
from labkit.reporting import record

cells = matrix.matrix()
off = cells[~torch.eye(len(cells), dtype=torch.bool)]
nearby = matrix.rate("convnet A", "convnet B")
elsewhere = (cells.sum(1) - cells.diag()) / (len(cells) - 1)
means = dict(zip(matrix.sources, elsewhere.tolist(), strict=True))
best = max(means, key=means.get)
record("transfer from convnet A to convnet B, 16/255", nearby)
record("convnet A attacked with its own gradient, 16/255", matrix.rate("convnet A", "convnet A"))
say(
    f"The diagonal is the model in hand: {float(cells.diag().mean()):.0%} on average. Off the diagonal it is {float(off.mean()):.0%}. "
    f"From A to B, same data and same architecture: {nearby}. Averaged over the six other models, the best surrogate is "
    f"**{best}** ({means[best]:.0%}), the worst **{min(means, key=means.get)}** ({min(means.values()):.0%})."
)

# %% [markdown]
# Two things to keep. *Transfer is much weaker than an attack on the model in hand*: a model that falls to its own gradient may still make a poor surrogate. And the best surrogate need not be the most accurate or the most similar one: look at the row of the robust network (part of its lead may be its data), whose
# gradients follow the shapes of the signs more than their fine grain. Springer et al. 2021 found the same: a little robustness makes a
# good surrogate.
#
# ### What to divide by
#
# A cell counts the signs that the *victim* read rightly before. Papers also count only those that *both* read rightly, or simply all. For
# a weak surrogate the answers differ, and with a weak victim "all" counts errors that nobody attacked.

# %%
from labkit.reporting import table

pairs = [("linear", "convnet C"), ("convnet A", "linear"), ("convnet A", "residual")]


def over_all(source, victim):
    wrong = matrix.fooled[matrix.sources.index(source), matrix.victims.index(victim)]
    return rate(wrong, "signs")


table(
    {
        "made on": [source for source, _ in pairs],
        "shown to": [victim for _, victim in pairs],
        "victim right before": [str(matrix.rate(*pair)) for pair in pairs],
        "both right before": [str(matrix.rate(*pair, "both")) for pair in pairs],
        "all signs": [str(over_all(*pair)) for pair in pairs],
    }
)

# %% [markdown]
# This course takes the first: the harm is the victim's, and all surrogates are then compared on the same signs.
#
# ### Is it the example that transfers, or any change of that size?
#
# From here on the victim is the **residual** network: another architecture, another half of the data. Two baselines: random noise, uniform within the same limit and so half as large on average, and **somebody else's change**: the perturbation that was made for the next sign in the list.

# %%
from labkit.attacks.evasion import mismatched
from labkit.evaluation import logits_of

victim = models["residual"]
right = logits_of(victim, test.x).argmax(1) == test.y


def misread(x_adv):
    """Return, for each sign that the victim read rightly before, whether it is misread now."""
    return (logits_of(victim, x_adv).argmax(1) != test.y)[right]


made_on_a = matrix.x_adv["convnet A"]
shown = {
    "random noise": threat.sample(test.x, seed=SEED),
    "another sign's change": mismatched(made_on_a, test.x, threat),
    "made on convnet A": made_on_a,
    "made on the victim": matrix.x_adv["residual"],
}
bars = {name: rate(misread(x_adv), "signs read rightly before") for name, x_adv in shown.items()}
bar_chart(bars, xlabel="signs that the residual network misreads")

# %% tags=["hide-input"]
stranger = bars["another sign's change"]
say(
    f"Noise turns {bars['random noise']}, another sign's change {stranger}, and the transferred example "
    f"{bars['made on convnet A']}. Where the last is well above the second, it is the *fit* of change and sign that "
    "transfers, not the texture."
)

# %%
from labkit.reporting import attack_figure

hit = (logits_of(victim, made_on_a).argmax(1) != test.y) & right
some = hit.nonzero().squeeze(1)[:2]
attack_figure(test.x[some], made_on_a[some], model=victim, classes=signs.classes, y=test.y[some])

# %% [markdown]
# The answers are those of the residual network, which took no part in making these images.
#
# ### Why it works: gradients that agree
#
# An example transfers if the direction that hurts one model hurts the other. For a small change the loss grows by the product of change
# and gradient, so let us measure directly how far two models' gradients agree: the cosine of the angle between them, averaged over the
# signs. Two random directions in so many dimensions have a cosine of practically zero.


# %%
def gradients(model):
    """Return each sign's input gradient as a vector of length one, (N, D)."""
    leaf = test.x.clone().requires_grad_(True)
    loss = cross_entropy(model(leaf), test.y, reduction="sum")
    return nn.functional.normalize(torch.autograd.grad(loss, leaf)[0].flatten(1), dim=1)


directions = {name: gradients(model) for name, model in models.items()}
agree = torch.tensor(
    [[float((a * b).sum(1).mean()) for b in directions.values()] for a in directions.values()]
)

# %%
heatmap(
    agree.round(decimals=2).where(~torch.eye(len(agree), dtype=torch.bool), torch.nan),
    list(models),
    list(models),
    label="mean cosine of the input gradients",
)

# %% tags=["hide-input"]
import numpy as np

pairwise = agree[~torch.eye(len(agree), dtype=torch.bool)]
ranks = [np.argsort(np.argsort(np.asarray(values))) for values in (pairwise, off)]
correlation = float(np.corrcoef(*ranks)[0, 1])
record(
    "rank correlation of gradient agreement and transfer rate, over pairs of models",
    correlation,
    note=f"{len(off)} pairs of {len(models)} models",
)
say(
    f"Over the {len(off)} ordered pairs of models, the rank correlation between agreement and transfer rate is {correlation:.2f}. "
    "The pairs share models, so no interval is given."
)

# %% [markdown]
# Agreement is symmetric and transfer is not, so agreement cannot be all. Demontis et al. 2019 name two more parts: how large the
# *victim's* gradients are (a robust model's are small, so nobody fools it), and how much the *surrogate's* loss varies (a wild surrogate
# sends you its own way). Does it also hold sign by sign? We sort the signs by how well convnet A's gradient agrees with the victim's.

# %%
fit_of = (directions["convnet A"] * directions["residual"]).sum(1)[right]
order = fit_of.argsort()
thirds = dict(zip(("least agreement", "middle", "most agreement"), order.chunk(3), strict=True))
turned = misread(made_on_a)
bar_chart(
    {name: rate(turned[part], "signs read rightly before") for name, part in thirds.items()},
    xlabel="signs that convnet A's examples turn on the residual network",
)

# %% tags=["hide-input"]
low, high = (
    rate(turned[part], "signs") for part in (thirds["least agreement"], thirds["most agreement"])
)
overlap = low.interval[1] > high.interval[0] and high.interval[1] > low.interval[0]
verdict = "overlap: so few signs decide nothing" if overlap else "do not overlap"
say(
    f"Signs on which the gradients agree least: {low}. On which they agree most: {high}. "
    f"The intervals {verdict}. A caution: signs near the boundary may both agree more and fall more easily."
)

# %% [markdown]
# ### Better surrogates: do not trust the fine grain
#
# What fails to transfer is what only the surrogate cares about. Each of these tricks hides some of that from the attack:
#
# - **momentum** (Dong et al. 2018): a running sum of gradients; what is said once is outvoted by what is said always;
# - **input diversity** (Xie et al. 2019): every step, the surrogate sees the image a little smaller, at a random place;
# - **shifts** (Dong et al. 2019): the gradient is averaged over small shifts of the image (in practice the gradient of the unshifted image is blurred, which is nearly the same);
# - **Nesterov's look ahead** (Lin et al. 2020): the gradient is taken where the momentum leads.
#
# Random draws belong to the image, not to the batch: the same sign gets the same sizes and places wherever it stands.

# %%
from labkit.attacks.evasion import bim

recipes = {
    "plain steps (BIM)": partial(bim, steps=10, layout="channels_last"),
    "momentum": climb,
    "momentum, look ahead": partial(climb, nesterov=True),
    "momentum, input diversity": partial(climb, diversity=0.5),
    "the same, stronger": partial(climb, diversity=0.7, smallest=0.75),
    "momentum, shifts": partial(climb, shifts=5),
    "all of it": partial(climb, diversity=0.7, smallest=0.75, shifts=5, nesterov=True),
}

# %%
target_only = {"residual": victim}


def outcomes(surrogate, attack, ball=threat):
    """Return, for each sign the victim had right, whether examples made on a surrogate turn it."""
    shown_to = transfer_matrix({"it": surrogate}, test.x, test.y, attack, ball, victims=target_only)
    return shown_to.outcomes("it", "residual")


made = {name: outcomes(models["convnet A"], attack) for name, attack in recipes.items()}
bar_chart(
    {name: rate(hits, "signs read rightly before") for name, hits in made.items()},
    xlabel="signs turned on the residual network, made on convnet A",
)

# %% [markdown]
# The bars' intervals overlap, but the bars are not independent: every recipe was tried on the *same* signs. The right question is paired:
# on how many signs does a recipe win where plain steps fail, and the reverse?

# %%
from labkit.reporting import bootstrap


def paired(hits, baseline):
    """Return the gain in points over a baseline on the same signs, with a bootstrap interval."""
    a, b = hits.double().cpu().numpy(), baseline.double().cpu().numpy()
    low, high = bootstrap(lambda a, b: float((a - b).mean()), a, b, seed=SEED)
    return f"{100 * (a - b).mean():+.1f} points ({100 * low:+.1f} to {100 * high:+.1f})"


plain = made["plain steps (BIM)"]
table(
    {
        "recipe": list(made)[1:],
        "turns only here": [int((hits & ~plain).sum()) for hits in list(made.values())[1:]],
        "turns only with BIM": [int((plain & ~hits).sum()) for hits in list(made.values())[1:]],
        "gain over BIM": [paired(hits, plain) for hits in list(made.values())[1:]],
    }
)

# %% [markdown]
# The settings beyond the papers' own (`smallest`, a window of five pixels) were found by trying a few on these signs, which flatters them
# a little. On the surrogate itself there is nothing to gain: the diagonal of the heat map is full already.
#
# ### Several surrogates
#
# If a change must fool two models that agree on little else, it has to use what they share. `ensemble` fuses models in one of three ways:
# the mean of the logits, of the probabilities, or of the losses.

# %%
from labkit.attacks.evasion import ensemble

team = [models["convnet A"], models["convnet B"]]
fused = {"one surrogate": made["momentum"]}
for how in ("logits", "probabilities", "losses"):
    both = ensemble(team, fuse=how)
    fused[f"two, {how}"] = outcomes(both, partial(climb, loss=both.loss))
strongest = ensemble([*team, models["MLP"]])
strong = transfer_matrix(
    {"it": strongest}, test.x, test.y, recipes["all of it"], threat, victims=target_only
)
fused["three, all tricks"] = strong.outcomes("it", "residual")

# %%
bar_chart(
    {name: rate(hits, "signs read rightly before") for name, hits in fused.items()},
    xlabel="signs turned on the residual network",
)

# %% tags=["hide-input"]
record(
    "transfer to the residual network, three surrogates and all tricks, 16/255",
    rate(fused["three, all tricks"], "signs read rightly before"),
)
say(
    f"Two surrogates instead of one: {paired(fused['two, logits'], fused['one surrogate'])}. "
    f"All tricks on three surrogates, against all tricks on one: {paired(fused['three, all tricks'], made['all of it'])}. "
    f"Against the plain attack we began with: {paired(fused['three, all tricks'], plain)}."
)

# %% [markdown]
# ### A wished answer is another matter
#
# So far any wrong answer counted. Now the attacker wishes for one particular wrong answer, drawn at random for each sign.
#
# > **Predict.** Three surrogates and all tricks turned a good part of the victim's signs when any wrong answer would do. When one of the nine wrong answers
# > is wished for, how much of that is left: half, a third, or nothing?

# %%
draw = torch.randint(1, 10, test.y.shape, generator=generator(SEED, "wishes")).to(test.y)
wish = (test.y + draw) % 10
aimed = transfer_matrix(
    {"team": strongest},
    test.x,
    test.y,
    recipes["all of it"],
    threat,
    victims={"surrogates": strongest, "residual": victim},
    target=wish,
)
luck = (logits_of(victim, strong.x_adv["it"]).argmax(1) == wish)[right]
hits = {
    "surrogates: the wished answer": aimed.rate("team", "surrogates"),
    "victim: the wished answer": aimed.rate("team", "residual"),
    "victim: the wished answer, no wish": rate(luck, "signs"),
    "victim: any wrong answer, no wish": rate(fused["three, all tricks"], "signs"),
}
bar_chart(hits, xlabel="signs")

# %% tags=["hide-input"]
record(
    "wished answer transferred to the residual network, 16/255", hits["victim: the wished answer"]
)
say(
    f"The victim gives the wished answer on {hits['victim: the wished answer']}. The same attack without a wish hits that "
    f"answer by luck on {float(luck.double().mean()):.0%}, and any wrong answer on "
    f"{float(fused['three, all tricks'].double().mean()):.0%}."
)

# %% [markdown]
# Liu et al. 2017 saw on ImageNet, with a thousand answers to choose from, that *chosen* wrong answers hardly transfer from a single model, and that an ensemble changes this: as here, some arrive. To
# push an image across the nearest boundary is easy in every model; which class lies behind it is more each model's own affair.
#
# ### How large a change?

# %%
from labkit.reporting import curve

sizes = (4, 8, 16, 24)
lines = {
    "noise": lambda ball: misread(ball.sample(test.x, seed=SEED)),
    "one surrogate, BIM": lambda ball: outcomes(
        models["convnet A"], recipes["plain steps (BIM)"], ball
    ),
    "three, all tricks": lambda ball: outcomes(strongest, recipes["all of it"], ball),
    "model in hand, BIM": lambda ball: outcomes(victim, recipes["plain steps (BIM)"], ball),
}
rates = {
    name: [rate(run(Linf(k / 255)), "signs read rightly before") for k in sizes]
    for name, run in lines.items()
}

# %%
curve(
    list(sizes),
    rates,
    xlabel="allowed change of every color value, in steps of 255",
    ylabel="signs turned on the victim",
    unit="%",
)

# %% [markdown]
# Read it sideways: how much larger must a transferred change be to do what an attack on the model in hand does? That factor is what
# hiding the weights buys, and the tricks of this chapter have already eaten part of it.
#
# ## Break it, fix it
#
# ### Hide the data too? A surrogate from answers alone
#
# Suppose the attacker has no labelled data: some photographs of signs, and a service that answers with a class name. Papernot et al. 2017
# let the *service* label them, train a copy, and then take one step from each point in the direction in which the copy's score for the service's answer rises fastest: $x + \lambda\,
# \mathrm{sign}\, \partial F_{O(x)} / \partial x$, one new point beside every old one. Every question is counted.


# %%
def service(x):
    """The victim as strangers see it: images in, class numbers out."""
    return logits_of(victim, x).argmax(1)


used = torch.zeros(len(signs.test), dtype=torch.bool)
used[test.indices] = True
photographs = signs.test.take(~used).subset(lab.pick(quick=200, paper=200, smoke=20)).x

# %%
from labkit.attacks.extraction import substitute

recipe = {"epochs": lab.pick(quick=12, paper=12, smoke=1), "batch_size": 32, "learning_rate": 5e-3}
copies = {}
for rounds in range(4):
    builder = partial(small_convnet, seed=SEED + 7)
    copies[rounds] = substitute(service, photographs, builder, rounds=rounds, seed=SEED, **recipe)

# %%
stolen = {n: outcomes(copy.model, recipes["all of it"]) for n, copy in copies.items()}
table(
    {
        "rounds": list(copies),
        "questions asked": [copy.queries for copy in copies.values()],
        "answers like the service": [
            str(copy.fidelity(test.x, service(test.x))) for copy in copies.values()
        ],
        "fools the service": [str(rate(hits, "signs")) for hits in stolen.values()],
    }
)

# %% tags=["hide-input"]
last = max(copies)
record(
    "transfer from a copy learned from labels only",
    rate(stolen[last], "signs read rightly before"),
    note=f"{copies[last].queries} questions",
)
say(
    f"With {copies[last].queries:,} questions, no labels and no gradient of the victim's, the attacker turns "
    f"{rate(stolen[last], 'signs')}. The added points against the photographs alone: {paired(stolen[last], stolen[0])}. "
    f"With {len(attacker):,} labelled images it was {float(made['all of it'].double().mean()):.0%}; "
    f"another sign's change of the same size turns {float(stranger):.0%}."
)

# %% [markdown]
# What can the owner do? Counting and watching catch the *added* points, which are unlike photographs: chapter 37 (planned) turns that into an alarm. But compare the first row of the table: the ordinary photographs alone already
# did much of it, and no alarm can tell them from a customer's. [Chapter 18](18_model_extraction.ipynb) asks how faithful such a copy can become.
#
# ### What stops transfer
#
# The column "robust" of the heat map: training on attacks. What stops attacks on the model in hand stops transferred ones as well. Its
# threat was 8/255; so here it is at that size, against the strongest surrogates we have and against an attacker who has it in hand.

# %%
robust = models["robust"]
limit = Linf(8 / 255)
rivals = {
    "convnet A, momentum": (models["convnet A"], climb),
    "three surrogates, all tricks": (strongest, recipes["all of it"]),
    "the robust model in hand": (robust, climb),
}
stand = {
    name: transfer_matrix({"it": source}, test.x, test.y, attack, limit, victims={"robust": robust})
    for name, (source, attack) in rivals.items()
}
bar_chart(
    {name: found.rate("it", "robust") for name, found in stand.items()},
    xlabel="signs turned on the robust network at 8/255",
)

# %% [markdown]
# Compare the last bar with the others. **Whoever reports robustness against transferred examples only has measured the wrong attacker**:
# the adaptive one has the model, or trains a copy that is robust as well. Transfer is the attack you must survive *at least*; it also
# exposes masked gradients: if transferred examples do better than the model's own gradient, that gradient is broken ([chapter
# 10](10_evasion_gradient.ipynb), chapter 41 (planned)).
#
# ## Your turn

# %%
from labkit.course import check, exercise, hint, solution

exercise("13.1")


# %% tags=["exercise"]
def transfer_rate(before, after, y):
    """Return how often an attack made elsewhere fools a victim, of the inputs it had right before.

    before, after: the victim's answers to clean and attacked inputs; y: true classes; shape (B,).
    Returns a number from 0 to 1.
    """
    raise NotImplementedError


# %% tags=["check"]
check("13.1", transfer_rate)

# %% tags=["solution"]
solution("13.1")

# %%
exercise("13.2")


# %% tags=["exercise"]
def momentum(velocity, gradient, decay):
    """Return decay * velocity plus the gradient, divided per image by its mean absolute value.

    velocity, gradient: shape (B, C, H, W). An image whose gradient is zero everywhere keeps
    decay * velocity. Returns shape (B, C, H, W).
    """
    raise NotImplementedError


# %% tags=["check"]
check("13.2", momentum)

# %% tags=["solution"]
solution("13.2")

# %%
exercise("13.3")


# %% tags=["exercise"]
def committee_gradient(models, x, y):
    """Return the gradient in x of the cross-entropy of the models' *mean logits*.

    models: callables from (B, C, H, W) to logits (B, K); x: (B, C, H, W); y: true classes, (B,).
    An image's gradient must not depend on how many others are in the batch. Leaves x and the
    models' gradients as they were. Returns shape (B, C, H, W).
    """
    raise NotImplementedError


# %% tags=["check"]
check("13.3", committee_gradient)

# %% tags=["solution"]
solution("13.3")

# %% [markdown]
# ## Reported numbers
#
# Three published results, on the real MNIST. In profile `quick` nothing is computed here: you see what the papers reported and what this
# course measured when it last ran the profile `paper`. These papers count *all* attacked images, those misread before included.
#
# **Papernot et al. 2017** attacked two commercial services that cannot be asked again. So this is an *analogue*: our own stand-in for the
# service answers labels only. 150 images of the test set are the seeds and are left out of the evaluation; $\lambda = 0.1$; questions
# stop at 6,400 (six doublings of 100 points would make exactly that many; six of 150 would make 9,600, so the last round here takes a
# random part). The stand-in is Madry's network, trained for one epoch on a quarter of the images; the copy has two other convolutions.
# For Amazon's service, a logistic regression, both sides are one, and 100 seeds are doubled three times.

# %%
from labkit.attacks import evasion
from labkit.models import advertorch_lenet5, madry_mnist, published_lenet5
from labkit.reporting import compare

smoke = lab.profile == "smoke"
mnist = None if lab.profile == "quick" else load("mnist", smoke=smoke).to(lab.device)
big = Linf(0.3)


def steal_and_fool(oracle, builder, seeds, rounds, budget, **training):
    """Return the queries and, for each test image but the seeds, whether the oracle misreads it."""
    chosen = torch.zeros(len(mnist.test), dtype=torch.bool)
    chosen[mnist.test.subset(seeds).indices] = True
    rest = mnist.test.take(~chosen)
    copy = substitute(
        lambda x: logits_of(oracle, x).argmax(1),
        mnist.test.x[chosen],
        builder,
        rounds=rounds,
        budget=budget,
        seed=SEED,
        **training,
    )
    attacked = evasion.fgsm(copy.model, rest.x, rest.y, big, victim=oracle)
    return copy.queries, attacked.success


# %%
services = {}
if mnist is not None:
    stand_in = fit(
        madry_mnist(authors_weights=False, seed=SEED),
        mnist.train.subset(lab.pick(quick=15000, paper=15000, smoke=64)),
        epochs=1,
        seed=SEED,
        label="the service",
    ).model
    service_accuracy = accuracy(stand_in, mnist.test.x, mnist.test.y)
    say(f"The stand-in reads {service_accuracy} (the paper's service: 94.97 %).")
    services["metamind"] = steal_and_fool(
        stand_in,
        partial(advertorch_lenet5, seed=SEED + 1),
        lab.pick(quick=150, paper=150, smoke=10),
        6,
        lab.pick(quick=6400, paper=6400, smoke=60),
        epochs=lab.pick(quick=10, paper=10, smoke=1),
        batch_size=64,
        learning_rate=2e-3,
    )


# %%
def shaken(x):
    """Return x with every value moved by 0.3 up or down at random: the baseline of these papers."""
    up = torch.rand(x.shape, generator=generator(SEED, "shaken")) < 0.5
    return (x + 0.3 * torch.where(up, 1.0, -1.0).to(x)).clamp(0, 1)


if mnist is not None:
    noisy = rate(logits_of(stand_in, shaken(mnist.test.x)).argmax(1) != mnist.test.y, "images")
    say(f"Random changes of the same size: the stand-in misreads {noisy}.")

# %%
if mnist is not None:
    regression = fit(
        linear(784, 10, seed=SEED),
        mnist.train,
        epochs=lab.pick(quick=5, paper=5, smoke=1),
        seed=SEED,
    ).model
    services["amazon-ml-lr-substitute"] = steal_and_fool(
        regression,
        partial(linear, 784, 10, seed=SEED + 1),
        lab.pick(quick=100, paper=100, smoke=10),
        3,
        None,
        epochs=40,
        batch_size=64,
        learning_rate=5e-3,
    )

# %%
asked, turned_all = services.get("metamind", (None, None))
compare("bb-substitute-metamind", "metamind", outcomes=turned_all, kind="analogue")
compare("bb-substitute-metamind", "queries-metamind", asked, kind="analogue")
_, turned_all = services.get("amazon-ml-lr-substitute", (None, None))
compare("bb-substitute-metamind", "amazon-ml-lr-substitute", outcomes=turned_all, kind="analogue")

# %% [markdown]
# **Papernot et al. 2016** showed examples to other *techniques*: trees and nearest neighbors have no gradient, and fall all the same. We
# train on 50,000 images and judge every fifth test image. The network is the published LeNet5 of Ding et al. 2019 (trained on all
# 60,000); the support vector machine is linear, trained by stochastic gradient; the nearest neighbors are five.
#
# What misses is all that goes from the network to linear models and to itself, and from the regression to the network: the published
# LeNet5 is easier to fool, by its own gradient and by others', than what the paper reports of its network, whose training we do not know.
# (The reported numbers are recalled, not yet confirmed.) The rest hits, trees and neighbors included, which were never asked anything.
# But before you believe in that transfer, run the profile `paper` and look at the last column of its table: *random* changes of this size
# already mislead the tree on most images, and linear models on about as many as not. At `eps=0.3`, a rate without this baseline says
# little.

# %%
readers, crafted = {}, {}
if mnist is not None:
    from sklearn.linear_model import SGDClassifier
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.tree import DecisionTreeClassifier

    lessons = mnist.train.subset(lab.pick(quick=50000, paper=50000, smoke=64))
    exam = mnist.test.subset(lab.pick(quick=2000, paper=2000, smoke=32))
    lenet = published_lenet5("clntrained", smoke=smoke).to(lab.device)
    how = {"epochs": lab.pick(quick=10, paper=10, smoke=1), "seed": SEED}
    softmax = fit(linear(784, 10, seed=SEED), lessons, **how).model
    flat, labels = lessons.x.flatten(1).cpu().numpy(), lessons.y.cpu().numpy()
    others = {
        "svm": SGDClassifier(loss="hinge", alpha=1e-5, max_iter=20, tol=None, random_state=SEED),
        "dt": DecisionTreeClassifier(random_state=SEED),
        "knn": KNeighborsClassifier(5),
    }
    readers = {name: reader.fit(flat, labels) for name, reader in others.items()}

# %%
if mnist is not None:
    truth = exam.y.cpu().numpy()
    made_by = {
        name: transfer_matrix({"it": net}, exam.x, exam.y, evasion.fgsm, big).x_adv["it"]
        for name, net in (("dnn", lenet), ("lr", softmax))
    }
    for source, step in (made_by | {"noise": shaken(exam.x)}).items():
        columns = step.flatten(1).cpu().numpy()
        crafted[source] = {
            "dnn": logits_of(lenet, step).argmax(1) != exam.y,
            "lr": logits_of(softmax, step).argmax(1) != exam.y,
        }
        for name, reader in readers.items():
            crafted[source][name] = torch.from_numpy(reader.predict(columns) != truth)

# %%
if mnist is not None:
    table(
        {"shown to": list(crafted["noise"])}
        | {
            f"from {name}": [str(rate(w, "images")) for w in row.values()]
            for name, row in crafted.items()
        },
        caption="misread, of all images",
    )

# %%
for source in ("dnn", "lr"):
    for shown_to in ("dnn", "lr", "svm", "dt", "knn"):
        wrong = crafted.get(source, {}).get(shown_to)
        compare("bb-transfer-matrix", f"from-{source}-{shown_to}", outcomes=wrong, kind="retrained")

# %% [markdown]
# **Madry et al. 2018** keep a leaderboard of attacks on a robust network whose weights were secret. Ours is an *analogue*: the robust
# LeNet5 that Ding et al. 2019 published stands for the secret network, their ordinary LeNet5 for the public one. The leaderboard's surprise is
# what to look for: here one large step transfers better than many small ones.

# %%
held = {}
if mnist is not None:
    secret = published_lenet5("advtrained", smoke=smoke).to(lab.device)
    fifth = mnist.test.subset(lab.pick(quick=2000, paper=2000, smoke=32))
    steps = lab.pick(quick=40, paper=40, smoke=2)
    tries = {
        "fgsm": evasion.fgsm,
        "pgd": partial(evasion.pgd, steps=steps, step_size=0.01, seed=SEED),
    }
    for name, attack in tries.items():
        held[name] = ~attack(lenet, fifth.x, fifth.y, big, victim=secret).success

# %%
for name in ("fgsm", "pgd"):
    figure = f"{name}-on-the-naturally-trained-public-net"
    compare("bb-madry-mnist-challenge", figure, outcomes=held.get(name), kind="analogue")

# %% [markdown]
# ## What to remember
#
# - A model that you cannot see can be attacked through one that you can. Secrecy raises the price; it is not a defense.
# - Transfer is far weaker than an attack on the model in hand, and a wished answer transfers less often than any wrong one.
# - Momentum, diversity, shifts and several surrogates all mean one thing: to keep the attack from using what only the surrogate cares about. Which of them helps has to be measured on your own task.
# - Judge on the victim, say what you divide by, compare on the same inputs, and show noise and mismatched changes beside it: they may explain most of it.
# - A few hundred answers, labels only, are enough to build a surrogate that does better than these baselines.
#
# **Think about it.** Your company's model is secret, and a rival publishes a robust model for the same task. Has your risk changed? Whom
# would you tell?
#
# **Further reading.** Szegedy et al. 2014 (arXiv 1312.6199) saw transfer first. Papernot et al. 2016 and 2017 (arXiv 1605.07277,
# 1602.02697): across techniques, and the substitute. Liu et al. 2017 (arXiv 1611.02770): ensembles, which first made chosen answers transfer.
# Dong et al. 2018 (arXiv 1710.06081): momentum. Xie et al. 2019 (arXiv 1803.06978): input diversity. Dong et al. 2019 (arXiv 1904.02884):
# shifts. Lin et al. 2020 (arXiv 1908.06281): looking ahead. Demontis et al. 2019 (arXiv 1809.02861): why. Springer et al. 2021 (arXiv
# 2106.02105): a little robustness goes a long way. Tramèr et al. 2018 (arXiv 1705.07204): training against transferred examples.
