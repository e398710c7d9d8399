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
# # 24. Adversarial learning used to build: generators
#
# **What you will be able to do**
#
# - write the game between a generator and its critic, and say why it circles instead of settling;
# - recognize mode collapse in numbers, not only by eye;
# - decide with an honest comparison whether synthetic data help a class that has too few examples;
# - ask a generator whom it was trained on.
#
# **You need** [chapter 02](../foundations/02_why_models_break.ipynb), and the ROC of [chapter 20](20_membership_inference.ipynb) for the last part.

# %% tags=["parameters"]
PROFILE = "quick"
SEED = 0

# %%
from labkit.course import begin

lab = begin("24_generative_adversarial", PROFILE, SEED)

# %% tags=["hide-input"]
from labkit.reporting import running_times

running_times()

# %% [markdown]
# ## The idea: a forger and an expert
#
# In the evasion chapters somebody moves inputs to where a model errs. Goodfellow et al. 2014 let that somebody be a network, and make fooling the model
# the purpose: a **generator** turns random numbers into samples, and a **critic** (their discriminator) learns to tell them from real
# ones. The generator follows the critic's gradient to whatever looks more real. When even the *best* critic can only guess, the generator
# makes what the data are made of.
#
# It is a minimum over a maximum again, as in adversarial training, and such games have a way of their own. Two numbers show it
# (Mescheder et al. 2018): all real samples are $0$; the generator makes $\theta$, always; the critic answers with the logit $\psi x$. Both
# step at once, each down its own loss. With $\sigma(t) = 1 / (1 + e^{-t})$:
#
# $$\theta \leftarrow \theta + h\,\psi\,\sigma(\psi\theta), \qquad
# \psi \leftarrow \psi - h\,\big(\theta\,\sigma(\psi\theta) + \gamma\,\psi\big).$$
#
# $h$ is the step; $\gamma$ is the weight of a penalty on the critic's slope at real samples (R1). The solution is $\theta = \psi = 0$.
#
# ## From scratch
#
# > **Predict.** Both players start away from the solution. Without the penalty ($\gamma = 0$), where do they end?

# %%
import torch


def duel(steps, gamma, theta=1.0, psi=0.0, h=0.3):
    """Return the path of the two numbers, (steps + 1, 2)."""
    path = [(theta, psi)]
    for _ in range(steps):
        pull = float(torch.tensor(psi * theta, dtype=torch.float64).sigmoid())
        theta, psi = theta + h * psi * pull, psi - h * (theta * pull + gamma * psi)
        path.append((theta, psi))
    return torch.tensor(path, dtype=torch.float64)


paths = {"no penalty": duel(60, 0.0), "penalty, gamma = 0.5": duel(60, 0.5)}

# %% tags=["hide-input"]
from labkit.reporting import PALETTE, show
from labkit.reporting.drawing import figure

drawing = figure(width=7.2, height=3.4)
for axes, (name, path) in zip(
    drawing.subplots(1, 2, sharex=True, sharey=True), paths.items(), strict=True
):
    axes.plot(path[:, 0], path[:, 1], ".-", color=PALETTE[0], markersize=4, linewidth=1)
    axes.plot(path[0, 0], path[0, 1], "o", color=PALETTE[1], markersize=9)
    axes.plot(0, 0, "k+", markersize=14)
    axes.set(title=name, xlabel="what the generator makes")
    axes.set_aspect("equal")
drawing.axes[0].set_ylabel("the critic's slope")
ends = {name: float(path[-1].norm()) for name, path in paths.items()}
show(
    drawing,
    alt="Two paths from the same start. Distance from the solution at the end: "
    + "; ".join(f"{name}: {value:.2f}" for name, value in ends.items())
    + ".",
    data={"game": list(ends), "distance from the solution after 60 steps": list(ends.values())},
)

# %% [markdown]
# Without the penalty the two run in a circle that widens: the generator flees from where the critic *was* suspicious, the
# critic follows. With it, the path winds into the cross. Neither loss is wrong; the *game* has no brake. Smaller steps widen the circle more slowly, but
# they do not close in. Remember the circle: networks can chase each other in the same way.
#
# ## With labkit
#
# A game is an objective like any other, so `fit` trains, caches and resumes it. Here are the same two numbers as a pair of players.

# %%
from torch import nn


class TwoNumbers(nn.Module):
    """A generator that always makes theta, and a critic with the logit psi x."""

    noise, classes = 1, 0

    def __init__(self, theta, psi):
        super().__init__()
        self.generator, self.critic = nn.Module(), nn.Linear(1, 1, bias=False)
        self.generator.theta = nn.Parameter(torch.tensor([theta], dtype=torch.float64))
        self.critic.weight = nn.Parameter(torch.tensor([[psi]], dtype=torch.float64))

    def forward(self, x, y=None):
        return self.critic(x).squeeze(1)

    def generate(self, noise, y=None):
        return self.generator.theta.expand(len(noise), 1)


# %% tags=["nbval-check-output"]
from labkit.data.dataset import Split
from labkit.training import Game, fit

zeros = Split(
    torch.zeros(4, 1, dtype=torch.float64), torch.zeros(4, dtype=torch.int64), "train", "zeros"
)
plain = {"optimizer": "sgd", "momentum": 0.0, "learning_rate": 0.3, "schedule": "constant"}
for name, gamma in {"no penalty": 0.0, "penalty, gamma = 0.5": 0.5}.items():
    pair = TwoNumbers(1.0, 0.0)
    game = Game("minimax", smoothness=gamma)
    fit(pair, zeros, objective=game, epochs=60, batch_size=4, cache=False, **plain)
    end = torch.stack([pair.generator.theta[0], pair.critic.weight[0, 0]]).detach()
    print(f"{name}: same end as from scratch:", torch.allclose(end, paths[name][-1], atol=1e-9))

# %% [markdown]
# ## Measure it
#
# ### Collapse on a ring
#
# Real samples come from eight small heaps on a circle. Generator and critic are networks with two hidden layers; the generator's loss is now
# the one that everybody trains, $-\log D(G(z))$, which does not fade when the critic is sure. We count, after every epoch, how many of the
# eight heaps the generator reaches: at least one of 1,000 samples lies within four standard deviations of the center.

# %%
import math

from labkit.models import adversaries
from labkit.seeding import generator

angle = torch.arange(8) * 2 * math.pi / 8
centers = torch.stack([angle.cos(), angle.sin()], 1)
heap = torch.arange(2000) % 8
ring = Split(
    centers[heap] + 0.03 * torch.randn(2000, 2, generator=generator(SEED, "ring")),
    heap,
    "train",
    "ring",
)


# %%
def reached(pair, epoch):
    """Return how many of the eight heaps 1,000 samples reach."""
    distance, where = torch.cdist(pair.sample(1000, seed=SEED), centers).min(1)
    return {"heaps": len(where[distance < 0.12].unique())}


seeds = lab.pick(quick=range(3), paper=range(10), smoke=range(1))
epochs = lab.pick(quick=30, paper=60, smoke=2)
games = {"no penalty": Game(smoothness=0.0), "penalty 0.1": Game(smoothness=0.1)}
rings = {
    name: [
        fit(
            adversaries((2,), noise=2, width=64, bounds=None, seed=seed),
            ring,
            objective=game,
            epochs=epochs,
            batch_size=100,
            learning_rate=3e-3,
            schedule="constant",
            seed=seed,
            watch=reached,
            device="cpu",
            label=f"a ring, {name}",
        )
        for seed in seeds
    ]
    for name, game in games.items()
}

# %%
from labkit.reporting import curve

heaps = {
    name: torch.tensor([[line["heaps"] for line in run.history] for run in runs])
    for name, runs in rings.items()
}
curve(
    list(range(1, epochs + 1)),
    {name: counts.mean(0) for name, counts in heaps.items()},
    bands={name: (counts.amin(0), counts.amax(0)) for name, counts in heaps.items()},
    xlabel="epoch",
    ylabel="heaps reached, of 8",
)

# %% tags=["hide-input"]
from labkit.reporting import record, say

late = {name: counts[:, epochs // 2 :].double().mean() for name, counts in heaps.items()}
for name, value in late.items():
    record(
        f"heaps reached on average in the second half of training, {name}",
        float(value),
        n=len(seeds),
        note=f"of 8; {len(seeds)} seeds",
    )
say(
    f"Lines are means over {len(seeds)} seeds, bands run from the worst to the best seed. In the second half of training the game without a penalty reaches "
    f"{late['no penalty']:.1f} heaps on average, with it {late['penalty 0.1']:.1f}."
)

# %% [markdown]
# One sample in a thousand is enough to reach a heap. So ask also which share of the samples lies on *any* heap, and ask both of a generator that has learned
# nothing: points thrown evenly on a square around the ring.

# %%
from labkit.reporting import table

thrown = 3.4 * torch.rand(1000, 2, generator=generator(SEED, "thrown")) - 1.7
drawn = {"thrown evenly": [thrown]} | {
    name: [run.model.sample(1000, seed=SEED) for run in runs] for name, runs in rings.items()
}
lines = []
for name, several in drawn.items():
    gaps = [torch.cdist(points, centers).min(1) for points in several]
    on = [float((gap.values < 0.12).double().mean()) for gap in gaps]
    hit = [len(gap.indices[gap.values < 0.12].unique()) for gap in gaps]
    lines.append(
        {
            "samples": name,
            "heaps reached, of 8": ", ".join(str(count) for count in hit),
            "share on a heap": ", ".join(f"{share:.1%}" for share in on),
        }
    )
table(lines, caption="After the last epoch, 1,000 samples; a value for each seed.")

# %%
shown = figure(width=7.2, height=2.6)
panels = {"real": ring.x[:1000]} | {
    name: runs[0].model.sample(1000, seed=SEED) for name, runs in rings.items()
}
for axes, (name, points) in zip(
    shown.subplots(1, 3, sharex=True, sharey=True), panels.items(), strict=True
):
    axes.scatter(points[:, 0], points[:, 1], s=4, color=PALETTE[0])
    axes.scatter(
        centers[:, 0],
        centers[:, 1],
        s=90,
        facecolors="none",
        edgecolors=PALETTE[1],
        linewidths=1.2,
    )
    axes.set(title=name, xlim=(-1.7, 1.7), ylim=(-1.7, 1.7))
    axes.set_aspect("equal")
show(shown, alt="Samples of one seed after training: real ones, and those of the two games.")

# %% [markdown]
# In the picture, the pair without a penalty puts its samples in one place where the critic does not look yet. The critic learns that place, and the generator moves on: this
# is **mode collapse**, a relative of the circle of the two numbers; the chart before shows the count change from epoch to epoch and from seed to seed. Read the table with the picture. Points thrown evenly reach heaps too, so
# a count of modes alone flatters; and the pair with the penalty covers the ring, but many of its samples lie *between* the heaps. It is not converged.
# The opposite failure exists as well: every single sample looks perfect, and a whole class is missing.
#
# ### Digits
#
# Now digits of 8x8 pixels, and a **conditional** pair (Mirza and Osindero 2014): both players are told the class, so that you can ask for one.
# We train it twice, with a weak brake and with a strong one.

# %%
from labkit.data import load

digits = load("digits")
training = {"batch_size": 128, "learning_rate": 2e-3, "schedule": "constant", "device": "cpu"}
long = lab.pick(quick=90, paper=90, smoke=1)
artists = {
    name: [
        fit(
            adversaries(classes=10, seed=seed),
            digits.train,
            objective=game,
            epochs=long,
            seed=seed,
            label=f"digits, {name}",
            **training,
        ).model
        for seed in seeds
    ]
    for name, game in {
        "penalty 0.1": Game(smoothness=0.1),
        "penalty 1": Game(smoothness=1.0),
    }.items()
}

# %%
from labkit.reporting import image_row


def sheet(images):
    """Return 60 digits (60, 1, 8, 8) as one image: a class in each column, six of each."""
    framed = nn.functional.pad(images, (1, 1, 1, 1), value=0.35).view(6, 10, 10, 10)
    return framed.permute(0, 2, 1, 3).reshape(1, 60, 100)


columns = torch.arange(10).repeat(6)
order = torch.cat([(digits.train.y == k).nonzero()[row] for row in range(6) for k in range(10)])
pictures = {"real": sheet(digits.train.x[order])} | {
    name: sheet(models[0].sample(60, columns, seed=SEED)) for name, models in artists.items()
}
image_row(torch.stack(list(pictures.values())), list(pictures), per_row=3, size=3.2)

# %% [markdown]
# Look down a column. Many of the generated digits can be read, and some are blurred or belong to another class. Whether a column shows enough *different*
# digits is hard to say by eye. Two numbers say it: **precision**, the share of
# generated digits that lie among the real ones, and **recall**, the share of real ones that lie among the generated (Kynkaanniemi et al.
# 2019). Here both look at pixels, and neither asks whether the class is the right one. The baseline that should embarrass a generator: copies of
# training images with a little noise.

# %%
from labkit.evaluation import coverage

real, source = digits.test.x, generator(SEED, "copies")
chosen = torch.randperm(len(digits.train), generator=source)[: len(real)]  # the file is in order
originals = digits.train.x[chosen]
copies = (originals + 0.1 * torch.randn(originals.shape, generator=source)).clamp(0, 1)
asked = digits.test.y
rows = {"training images": [originals], "the same with noise": [copies]} | {
    name: [model.sample(len(real), asked, seed=SEED) for model in models]
    for name, models in artists.items()
}
found = {name: [coverage(real, made) for made in several] for name, several in rows.items()}


# %%
def spread(values):
    """Return the mean of a few values, with the smallest and the largest."""
    values = [float(value) for value in values]
    few = "" if len(values) == 1 else f" ({min(values):.0%} to {max(values):.0%})"
    return f"{sum(values) / len(values):.0%}{few}"


table(
    {
        "samples": list(found),
        "precision": [spread(one.precision for one in several) for several in found.values()],
        "recall": [spread(one.recall for one in several) for several in found.values()],
    },
    caption=f"Against {len(real)} test digits; for generators the mean of {len(seeds)} seeds (and the range).",
)

# %% tags=["hide-input"]
for name, several in found.items():
    if name in artists:
        for what in ("precision", "recall"):
            values = [float(getattr(one, what)) for one in several]
            record(
                f"{what} of generated digits, {name}",
                sum(values) / len(values),
                unit="%",
                n=len(seeds),
            )
means = {
    name: [
        sum(float(getattr(one, what)) for one in found[name]) / len(seeds)
        for what in ("precision", "recall")
    ]
    for name in artists
}
(weak, low), (strong, high) = means.values()
say(
    f"Precision: {weak:.0%} with the weak brake, {strong:.0%} with the strong one. Recall: {low:.0%} and {high:.0%}. "
    f"Precision alone hides what a generator never makes. Real training images reach a recall of {float(found['training images'][0].recall):.0%}, "
    f"copies with noise {float(found['the same with noise'][0].recall):.0%}. A photocopier scores high on both numbers: they do not ask whether a sample is new."
)

# %% [markdown]
# ### Synthetic data for a scarce class
#
# Here is what generators are often bought for. A class is rare: a fault, a fraud, a disease. Eight examples of it are all there is. Can a
# generator, which has seen a thousand digits of *other* classes, make the missing ones?
#
# Each digit in turn is the scarce one. A classifier is trained on the other nine classes plus
#
# - *nothing more*: the eight examples as they are;
# - *repeated*: the eight, repeated until the class is as large as the others;
# - *noise*, *shifts*: the eight repeated, then a little noise on, or a shift of up to a pixel of, every image of *all* classes: on the scarce ones
#   alone, the noise itself would tell the class, and test digits have none;
# - *mixtures* of two of the eight: SMOTE's idea (Chawla et al. 2002);
# - *generated*: samples of a conditional pair trained on the same data, the scarce class repeated so that it sees it as often;
# - *real*: the images that were withheld. Nobody has them; they are the ceiling.
#
# > **Predict.** In which order do they finish? How much of the way from *nothing more* to *real* does the generator go?

# %%
FEW = 8
scarce_classes = lab.pick(quick=range(10), paper=range(10), smoke=range(1))
draws = lab.pick(quick=range(1), paper=range(3), smoke=range(1))


# %%
def fillings(scarce, draw):
    """Return the data with few of one class, and by name what is added to that class."""
    source = generator(SEED, "few", scarce, draw)
    x, y = digits.train.x, digits.train.y
    mine = (y == scarce).nonzero()[:, 0]
    few = mine[torch.randperm(len(mine), generator=source)[:FEW]]
    kept = torch.cat([(y != scarce).nonzero()[:, 0], few])
    missing = len(mine) - FEW
    pick = [x[few[torch.randint(0, FEW, (missing,), generator=source)]] for _ in range(2)]
    part = torch.rand(missing, 1, 1, 1, generator=source)
    again = few.repeat(-(-missing // FEW))[:missing]
    balanced = digits.train.take(torch.cat([kept, again]))
    pair = fit(
        adversaries(classes=10, seed=scarce),
        balanced,
        objective=Game(),
        epochs=long,
        seed=draw,
        label=f"few {scarce}s",
        **training,
    ).model
    added = {
        "nothing more": x[:0],
        "repeated": pick[0],
        "noise": pick[0],
        "shifts": pick[0],
        "mixtures": part * pick[0] + (1 - part) * pick[1],
        "generated": pair.sample(missing, torch.full((missing,), scarce), seed=draw),
        "real": x[mine[~torch.isin(mine, few)]],
    }
    return digits.train.take(kept), added


# %%
from labkit.models import mlp

cases = [(scarce, draw) for scarce in scarce_classes for draw in draws]
recall, alarms, ranks = {}, {}, {}
for scarce, draw in cases:
    base, added = fillings(scarce, draw)
    for name, extra in added.items():
        labels = torch.cat([base.y, torch.full((len(extra),), scarce)])
        x = torch.cat([base.x, extra])
        if name == "noise":
            x += 0.1 * torch.randn(x.shape, generator=generator(SEED, "rough", scarce, draw))
        data = Split(x.clamp(0, 1), labels, "train", f"{scarce}s: {name}")
        reader = fit(
            mlp(64, 10, (64,), seed=draw),
            data,
            epochs=lab.pick(quick=25, paper=25, smoke=1),
            batch_size=64,
            learning_rate=5e-3,
            shift=int(name == "shifts"),
            seed=draw,
            label=name,
            device="cpu",
        ).model
        logits, truth = reader(digits.test.x).detach().double(), digits.test.y == scarce
        says, score = logits.argmax(1) == scarce, logits.log_softmax(1)[:, scarce]
        recall.setdefault(name, []).append(says[truth])
        alarms.setdefault(name, []).append(says[~truth])
        pairs = score[truth][:, None] - score[~truth]
        ranks.setdefault(name, []).append(((pairs > 0) + 0.5 * (pairs == 0)).mean())

# %%
from labkit.reporting import bar_chart, rate

bar_chart(
    {name: rate(torch.cat(hits), "scarce digits") for name, hits in recall.items()},
    xlabel=f"digits of the scarce class that are recognized, {FEW} real examples",
)

# %% tags=["hide-input"]
import numpy as np

from labkit.reporting import bootstrap

each = {
    name: np.array([float(hits.double().mean()) for hits in several])
    for name, several in recall.items()
}


def gain(name, over):
    """Return the gain in points over the digits, with a bootstrap interval that draws digits."""
    a, b = each[name], each[over]
    low, high = bootstrap(lambda a, b: float((a - b).mean()), a, b, seed=SEED)
    return f"{100 * (a - b).mean():+.1f} points ({100 * low:+.1f} to {100 * high:+.1f})"


way = (each["generated"] - each["nothing more"]).mean() / (
    each["real"] - each["nothing more"]
).mean()
free = (each["repeated"] - each["nothing more"]).mean() / (
    each["real"] - each["nothing more"]
).mean()
wrong = {name: rate(torch.cat(several), "other digits") for name, several in alarms.items()}
for name in ("nothing more", "repeated", "noise", "generated", "real"):
    record(
        f"scarce digits recognized, {FEW} examples, {name}",
        rate(torch.cat(recall[name]), "scarce digits"),
    )
say(
    f"Against nothing more, the generator gains {gain('generated', 'nothing more')}, {way:.0%} of the way to the real images. That is what an "
    f"advertisement would say. Repeating the eight images goes {free:.0%} of the way. Against *that*, the generator gains "
    f"{gain('generated', 'repeated')}, and against noise on all images {gain('generated', 'noise')}. These intervals draw the {len(cases)} cases again; with so few they come out too narrow, "
    f"and the whiskers of the chart know only the test digits, not which {FEW} examples were drawn."
)

# %% tags=["hide-input"]
auc = {name: np.array([float(one) for one in several]) for name, several in ranks.items()}
worth = auc["generated"] - auc["repeated"]
low, high = bootstrap(lambda d: float(d.mean()), worth, seed=SEED)
more = {
    name: sum(int(one.sum()) for one in several["generated"])
    - sum(int(one.sum()) for one in several["repeated"])
    for name, several in (("hits", recall), ("alarms", alarms))
}
say(
    f"A recall can also be bought: a classifier that says the scarce class more often finds more of it. Other digits mistaken for the scarce one: "
    f"{wrong['repeated']} repeated, {wrong['noise']} with noise, {wrong['generated']} generated. Generated in place of repeated changes the hits by {more['hits']:+d} and the false alarms by "
    f"{more['alarms']:+d}. The AUC of the scarce class against the others does not depend on where one cuts: nothing more {auc['nothing more'].mean():.4f}, "
    f"repeated {auc['repeated'].mean():.4f}, noise {auc['noise'].mean():.4f}, generated {auc['generated'].mean():.4f}, real {auc['real'].mean():.4f}. Generated minus repeated: "
    f"{worth.mean():+.4f} ({low:+.4f} to {high:+.4f})."
)

# %% [markdown]
# Repeating costs nothing, and a pair has to be designed, trained and checked. A generator is a
# function of its training data. It can mix what the eight examples show with what it learned of strokes from the other classes, and that may be
# worth something; it cannot know how people write a seven with a bar if none of the eight has one. So when somebody reports that synthetic data
# helped, look for the simple rows of this chart (and whether they were done properly), for the interval of the difference, and for the false alarms: a higher recall can be a moved threshold.
#
# Generated data do have uses: where the *generator* was trained on something that you do not have (a public model of faces, a simulator),
# or where the attack chapters need a prior ([chapter 19](19_model_inversion.ipynb)). They are also offered where real records may not leave the house.
# What then leaves with them?
#
# ## Break it: whom does a generator remember?
#
# "No real person is in the synthetic data." Is that so? The threat model of this part:

# %%
from labkit.threats.catalogue import card

card("24_generative_adversarial").show()

# %% [markdown]
# Two attackers want to know whether a digit was in the training set. One holds the critic, and asks it how real the digit looks (Hayes et
# al. 2019); a critic that has learned its real samples by heart says so. The other has only generated samples, and looks how near one of them
# comes (Chen et al. 2020). We train pairs on sets of different sizes; 500 digits that no pair has seen are the non-members.

# %%
from labkit.attacks.membership import MembershipResult
from labkit.attacks.membership.generators import by_critic, by_distance

sizes = lab.pick(quick=(50, 200, 800), paper=(50, 100, 200, 400, 800), smoke=(50,))
updates = lab.pick(quick=1500, paper=1500, smoke=8)


def trained_on(size, seed):
    """Return a pair trained on that many digits, these digits, and 500 that it has never seen."""
    mixed = torch.randperm(len(digits.train), generator=generator(seed, "who"))
    inside, outside = digits.train.take(mixed[:size]), digits.train.take(mixed[-500:])
    pair = fit(
        adversaries(seed=seed),
        inside,
        objective=Game(smoothness=0.3),
        epochs=max(1, updates // -(-size // 100)),
        seed=seed,
        label=f"a pair on {size} digits",
        **training | {"batch_size": 100, "learning_rate": 1e-3},
    ).model
    return pair, inside, outside


# %%
attacks = {"holds the critic": {}, "draws 3,000 samples": {}}
for size in sizes:
    for seed in seeds:
        pair, inside, outside = trained_on(size, seed)
        x = torch.cat([inside.x, outside.x])
        scores = (by_critic(pair, x), by_distance(pair.sample(3000, seed=seed), x))
        for by_size, score in zip(attacks.values(), scores, strict=True):
            found = MembershipResult(score, torch.arange(len(x)) < size)
            by_size.setdefault(size, []).append(found)

# %%
aucs = {
    name: torch.tensor([[one.auc for one in several] for several in by_size.values()])
    for name, by_size in attacks.items()
}
curve(
    list(sizes),
    {name: values.mean(1) for name, values in aucs.items()},
    bands={name: (values.amin(1), values.amax(1)) for name, values in aucs.items()},
    xlabel="digits that the pair was trained on",
    ylabel="AUC of the membership attack",
    log_x=True,
    chance=0.5,
)

# %% tags=["hide-input"]
small, large = min(sizes), max(sizes)
few_alarms = {
    name: sum(one.tpr_at(0.01) for one in by_size[small]) / len(seeds)
    for name, by_size in attacks.items()
}
for name, values in aucs.items():
    for size, row in zip(sizes, values, strict=True):
        record(
            f"AUC of membership in {size} training digits, {name}",
            float(row.mean()),
            n=len(seeds),
            note=f"mean of {len(seeds)} pairs, {float(row.min()):.2f} to {float(row.max()):.2f}",
        )
held, drew = aucs.values()
say(
    f"With {small} training digits the critic's answers tell members from others with an AUC of {float(held[0].mean()):.2f}, and samples alone "
    f"with {float(drew[0].mean()):.2f}; with {large} digits it is {float(held[-1].mean()):.2f} and {float(drew[-1].mean()):.2f}. At one false alarm in a hundred strangers, "
    f"the critic finds {few_alarms['holds the critic']:.0%} of {small} members, the samples {few_alarms['draws 3,000 samples']:.0%}. Lines are means of {len(seeds)} pairs, "
    f"bands run from the lowest to the highest. All pairs made about the same number of updates, {updates:,}."
)

# %% [markdown]
# The smaller the training set, the more a pair says about each member: synthetic data are not anonymous data. With the number of
# updates fixed, a digit of a small set is also *seen more often*; the chart does not separate the two. An AUC
# near one half is no promise either: [chapter 20](20_membership_inference.ipynb) shows why one looks at low false-alarm rates and at single
# records, and how attackers with reference models see more than these two.
#
# ### What helps
#
# More training data, as above; stopping earlier (not measured here); keeping the critic to yourself, which leaves the second attacker; and training with
# differential privacy (chapter 48, planned), which bounds what *any* attacker can learn. A popular measure is a **filter**: never release a
# sample that comes too near to a training digit. How near is too near? We take shares of the distances that digits which the pair has never seen
# keep from the training set.
#
# > **Predict.** The attacker looks for records with a generated sample close by. What is left to see when all samples close to a
# > member are withheld? And what does an attacker see who knows the filter?

# %%
from labkit.evaluation import nearest

seed, size = seeds[0], min(sizes)
pair, inside, outside = trained_on(size, seed)
made = pair.sample(20_000, seed=seed)
gap, usual = nearest(made, inside.x)[0], nearest(outside.x, inside.x)[0]
pool, who = torch.cat([inside.x, outside.x]), torch.arange(size + 500) < size


# %%
def knowing(distance, limit):
    """Return scores that put last whoever has a sample within the limit: surely no member."""
    return torch.where(distance <= limit, -1e9, -distance)


lines = []
for strictness in (0.0, 0.25, 0.5):
    limit = float(usual.quantile(strictness)) if strictness else 0.0
    distance = nearest(pool, made[gap > limit][:3000])[0]
    lines.append(
        {
            "limit": f"nearest {strictness:.0%} of strangers" if strictness else "none",
            "released": rate(gap > limit, "samples").value,
            "AUC": MembershipResult(-distance, who).auc,
            "AUC, knows the limit": MembershipResult(knowing(distance, limit), who).auc,
            "strangers given away": rate(distance[~who] <= limit, "strangers"),
        }
    )
table(lines, units={"released": "%"})

# %% tags=["hide-input"]
first, last = lines[0], lines[-1]
say(
    f"One pair, {size} members, 500 strangers, 3,000 released samples for each attacker. Unfiltered, the AUC is {first['AUC']:.2f}; with the strictest filter here, "
    f"which releases {last['released']:.0%} of the samples, it is {last['AUC']:.2f} for an attacker who does not know of it. One who **knows the limit** reasons: no "
    f"released sample lies within the limit of any member, so whoever has one that near is certainly *not* a member. That proves "
    f"{last['strangers given away']} to be strangers, without an error. Those put last, the rest still ranked by nearness, the AUC is "
    f"{last['AUC, knows the limit']:.2f}. A filter decides what to release by looking at the private data, so what it releases speaks about them."
)

# %% [markdown]
# This attacker has to know the limit: one who guesses it too wide puts members last as well. A defense that works only while its setting
# stays secret protects a secret with another one.
#
# ## Your turn

# %%
from labkit.course import check, exercise, hint, solution

exercise("24.1")


# %% tags=["exercise"]
def best_critic(x, real, fake, spread):
    """Return the logit of the best critic between two normal distributions of the same spread.

    x: shape (B,); real, fake: the two means; spread: the standard deviation of both.
    Above zero means "real". Returns shape (B,).
    """
    raise NotImplementedError


# %% tags=["check"]
check("24.1", best_critic)

# %% tags=["solution"]
solution("24.1")

# %%
exercise("24.2")


# %% tags=["exercise"]
def modes_covered(samples, centers, radius):
    """Return how many centers have a sample within radius, and the share of samples within radius of any.

    samples: shape (N, D); centers: shape (M, D); distances are Euclidean.
    """
    raise NotImplementedError


# %% tags=["check"]
check("24.2", modes_covered)

# %% tags=["solution"]
solution("24.2")

# %%
exercise("24.3")


# %% tags=["exercise"]
def support_size(n, collided):
    """Return how many equally likely different samples a source has, from the birthday paradox.

    n: how many samples were drawn at once; collided: the share of draws in which two were the same.
    Uses 1 - exp(-pairs / size) for the chance of a collision; returns a number (accuracy 0.1 %).
    """
    raise NotImplementedError


# %% tags=["check"]
check("24.3", support_size)

# %% tags=["solution"]
solution("24.3")

# %% [markdown]
# ## Reported numbers
#
# The published results on generators are for large image models, days of training on a GPU and scores in the feature space of another large
# model. None can be reproduced on a small machine, and an imitation on eight by eight pixels would not be one. What can be checked exactly is
# the theory, and the cells above did: the path of the two-number game, and, in the tests of `labkit`, the critic's loss of $2 \log 2$ when it cannot tell.
# Profile `paper` repeats this chapter's own measurements with more seeds, more sizes and three draws of the scarce examples.
#
# ## What to remember
#
# - A generator and its critic play a game; without a brake, such a game can circle. Mode collapse is a relative of that circle in many dimensions.
# - Every sample may look right while whole modes are missing, and all modes may be reached by bad samples: report precision *and* recall, and compare
#   with noise and with copies of the training set.
# - Synthetic data for a scarce class must be compared with repetition and simple augmentation, at equal false alarms. What neither the few examples nor the
#   other data show, no generator knows.
# - Generators remember. The smaller the training set, the more about each member; a filter against copies is itself a signal. Judge it by the attacker who knows it.
#
# **To think about.** A hospital wants to publish synthetic records in place of real ones. What would you have to measure before you agree, and
# which attacker would you let measure it?
#
# **Further reading.** Goodfellow et al. 2014, [1406.2661](https://arxiv.org/abs/1406.2661) (the game);
# Mirza and Osindero 2014, [1411.1784](https://arxiv.org/abs/1411.1784) (conditional);
# Mescheder et al. 2018, [1801.04406](https://arxiv.org/abs/1801.04406) (which games settle; R1);
# Arora and Zhang 2017, [1706.08224](https://arxiv.org/abs/1706.08224) (the birthday test);
# Kynkaanniemi et al. 2019, [1904.06991](https://arxiv.org/abs/1904.06991) (precision and recall);
# Chawla et al. 2002, [1106.1813](https://arxiv.org/abs/1106.1813) (SMOTE);
# Hayes et al. 2019, [1705.07663](https://arxiv.org/abs/1705.07663), and Chen et al. 2020, [1909.03935](https://arxiv.org/abs/1909.03935) (membership in generators);
# Stadler et al. 2022, [2011.07018](https://arxiv.org/abs/2011.07018) (synthetic data are not anonymous);
# Ganev and De Cristofaro 2023, [2312.05114](https://arxiv.org/abs/2312.05114) (what similarity filters and metrics give away).
