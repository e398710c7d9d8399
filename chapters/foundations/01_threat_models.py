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
# # 1. Threat models
#
# **What you will be able to do**
#
# - write a threat model: when attackers act, what they know, want and can do, and what counts as success;
# - turn "what they can do" into a set that a program can check: a ball, a value box, a mask, a constraint, a number of queries;
# - say the same in the words of NIST AI 100-2 and MITRE ATLAS, and find every chapter of this course on their maps;
# - take the sentence "this model is robust" apart.
#
# **You need** [chapter 00](00_start_here.ipynb).

# %% tags=["parameters"]
PROFILE = "quick"
SEED = 0

# %%
from labkit.course import begin

lab = begin("01_threat_models", PROFILE, SEED)

# %% tags=["hide-input"]
from labkit.reporting import running_times

running_times()

# %% [markdown]
# ## The idea: a lock is safe against somebody
#
# Nobody sells a safe lock. Shops sell locks that withstand a person with hand tools for five minutes. The
# sentence names an attacker, some means, and what counts as success; take one of them away and it says nothing. The same holds for
# models. A **threat model** answers five questions.
#
# | question | some answers |
# | --- | --- |
# | **When** do the attackers act? | while the model is *trained*; when it is *deployed* (at inference time) |
# | What do they **know**? | everything (*white-box*), a part (*gray-box*), next to nothing (*black-box*) |
# | What do they **want**? | any wrong answer (*untargeted*), one answer (*targeted*), a system that nobody can use (*availability*), what the model should keep to itself (*privacy*), or the use of it for what its owner forbids (*misuse*) |
# | What **can** they do? | change inputs, change training data, ask questions; how much, where, how often |
# | What **counts** as success? | which event, out of how many tries |
#
# In this course, threat models are data. Here is the one of chapter 10; a word that is not in the taxonomy
# would be an error.

# %%
from labkit.threats.catalogue import CARDS, card

card("10_evasion_gradient").show()

# %% [markdown]
# The last two rows tie it to two public vocabularies. **NIST AI 100-2** (edition E2025, March 2025) is a taxonomy: it
# defines stages, knowledge, goals and capabilities, and numbers the attacks. **MITRE ATLAS** is a
# knowledge base of what attackers of AI systems were seen or shown to do, each technique with an identifier. Auditors and security teams speak these languages. ATLAS
# renames things now and then, so a card says which release it means.
#
# All attack chapters at once:

# %%
from labkit.reporting import dot_grid
from labkit.threats import taxonomy

FIELDS = {"when": "stage", "knows": "knowledge", "wants": "goal", "can do": "capability"}
used = {word for one in CARDS.values() for word in one.capability}
WORDS = {
    "stage": taxonomy.STAGES,
    "knowledge": taxonomy.KNOWLEDGE,
    "goal": taxonomy.GOALS,
    "capability": [word for word in taxonomy.CAPABILITIES if word in used],
}
groups = {
    title: {word: [word in getattr(one, field) for one in CARDS.values()] for word in WORDS[field]}
    for title, field in FIELDS.items()
}
dot_grid([name.replace("_", " ") for name in CARDS], groups)

# %% [markdown]
# Read a row: that is an attacker. Read a column: everything that a defender must think of who allows this, a public query interface for instance. Most
# dots stand under "deployment", because such attacks are the easiest to study; that does not make them the likeliest. A chapter without an identifier of its own (the map
# below) is about no single attack.
#
# ## From scratch: what the attacker can do is a set
#
# For a change of a given input, "is it possible?" must have a yes or a no. Three things decide. The **ball** says how much: $\lVert \delta \rVert \le \varepsilon$ in some norm.
# The **value box** says what an image is: no camera records a brightness above one, written $x + \delta \in [0, 1]$. The **mask** says where. A few lines hold all of it.

# %%
import torch


def allowed(x_adv, x, norm, eps, mask=None):
    """Return, for each image, whether this change is in the ball, in the box and in the mask."""
    change = x_adv.double() - x.double()
    size = {
        "linf": change.abs().flatten(1).amax(1),  # the largest change of any value
        "l2": change.flatten(1).norm(dim=1),  # the length of the change
        "l1": change.abs().flatten(1).sum(1),  # all changes together
        "l0": (change != 0).any(1).flatten(1).sum(1),  # how many pixels: three colors are one pixel
    }[norm]
    in_box = ((x_adv >= 0) & (x_adv <= 1)).flatten(1).all(1)
    where = True if mask is None else ((change == 0) | mask).flatten(1).all(1)
    return (size <= eps) & in_box & where


# %% [markdown]
# With two values instead of three thousand, the whole set can be drawn. Blue is what the attacker may hand in; gray belongs to the ball, but the
# box or the mask forbids it; the point is the input.

# %%
from labkit.reporting import allowed_sets
from labkit.threats import L0, L1, L2, Linf

here = (0.85, 0.6)
first_only = torch.tensor([True, False])
balls = {str(ball): ball for ball in (Linf(0.3), L2(0.3), L1(0.3))}
balls["L0(1)"] = L0(1, per="feature")
balls["Linf, masked"] = Linf(0.3, mask=first_only)
allowed_sets(balls, here)

# %% [markdown]
# Linf is a square, L2 a disk, L1 a diamond. L0 is a cross: *any* value, but only one of the two, and the mask leaves a single line. An input near
# the edge of the box loses a part of every ball.
#
# ## With labkit
#
# These sets are objects: `Linf(8/255)`, `L2(0.5)`, `L1(12)`, `L0(5)`, each with `mask=`. They answer `contains`, measure `distance`, draw a random
# point with `sample`, and every attack takes one. Do they agree with our few lines? We try a hundred changes of many sizes
# for each, inside and outside the ball, the box and the mask.

# %%
from labkit.data import load
from labkit.seeding import generator
from labkit.zoo import outsider_signs_classifier, robust_signs_classifier, signs_classifier

data = load("signs").to(lab.device)
test = data.test.subset(lab.pick(quick=80, paper=80, smoke=16))
model = signs_classifier(SEED).model
own = generator(SEED, "tries")
x = test.x[:10].repeat(10, 1, 1, 1)
few = (torch.rand(len(x), 1, 32, 32, generator=own) < 0.006).to(x)  # about six pixels each
sizes = torch.logspace(-3, 0, len(x)).view(-1, 1, 1, 1).to(x)
tries = x + sizes * torch.randn(x.shape, generator=own).to(x) * few

# %% tags=["nbval-check-output"]
left = (torch.arange(32) < 31).to(lab.device).expand(1, 32, 32)  # all columns but the last
for ball in (Linf(8 / 255), L2(0.5), L1(2.0), L0(5), L2(0.5, mask=left)):
    ours, theirs = allowed(tries, x, ball.norm, ball.eps, ball.mask), ball.contains(tries, x)
    both = bool(theirs.any()) and not bool(theirs.all())
    print(f"{ball}: agree {torch.equal(ours, theirs)}; some allowed and some not: {both}")

# %% [markdown]
# > **Predict.** Four budgets that papers use: `8/255` in Linf, `0.5` in L2, `12` in L1, 5 pixels in L0. Which of them would you see on a sign? And which of them
# > moves the picture furthest, measured as a length (L2)?
#
# Below, the same sign at or near the edge of each set: in the first row a random point of the set, in the second what an attack chooses there.

# %%
from labkit.attacks.evasion import pgd

signs = test.take(model(test.x).argmax(1) == test.y)  # those that are read correctly
shown = signs.subset(min(40, len(signs)))
four = (Linf(8 / 255), L2(0.5), L1(12.0), L0(5))
runs = [pgd(model, shown.x, shown.y, ball, steps=20, stop_early=False, seed=SEED) for ball in four]
turned = torch.stack([run.success for run in runs]).all(0).nonzero().squeeze(1)
stops = turned[shown.y[turned] == data.classes.index("stop")]
pick = int([*stops, *turned, 0][0])  # a stop sign, if all four attacks turn one

# %%
from labkit.reporting import image_row

one = shown.x[pick : pick + 1]
random_points = [ball.sample(one, SEED)[0] for ball in four]
found = [run.x_adv[pick] for run in runs]
images = torch.stack([one[0], *random_points, one[0], *found])
answers = [data.classes[k] for k in model(images).argmax(1).tolist()]
names = ["untouched", *map(str, four)] * 2
wrong = [answer != data.classes[int(shown.y[pick])] for answer in answers]
lines = [answer.replace(" ", "\n", 1) for answer in answers]
titles = [f"{name}\n{line}" for name, line in zip(names, lines, strict=True)]
image_row(images, titles, wrong=wrong, per_row=5)

# %% [markdown]
# By its own ruler, each random point lies about as far out as the attacked image below it. What differs is *where* the change goes: a random point of the L1 ball spreads over all
# values, the attack spends the same sum on about a hundred pixels. How to spend a budget is what an attacker brings. (Your eye is a fifth ruler: isolated pixels stand out, a
# haze of the same length does not.) Now measure every one of the four attacked images with all four rulers.

# %%
from labkit.reporting import table

measured = {"attacked within": [str(ball) for ball in four]}
for ruler, name in zip(
    four, ("largest, in 255ths", "length (L2)", "sum (L1)", "pixels (L0)"), strict=True
):
    scale = 255 if ruler.norm == "linf" else 1
    away = [ruler.distance(run.x_adv, shown.x).median() * scale for run in runs]
    measured[name] = [round(float(value), 2) for value in away]
measured["signs still read"] = [str(run.robust_accuracy) for run in runs]
table(measured, caption="Median over the signs that were read correctly before")

# %% tags=["hide-input"]
from labkit.reporting import record, say

lengths = dict(zip(measured["attacked within"], measured["length (L2)"], strict=True))
longest = max(lengths, key=lengths.get)
say(
    f"As a length, the largest change is the one within **{longest}**, {lengths[longest]}, and the "
    f"smallest the one within {min(lengths, key=lengths.get)}. The numbers in their names "
    "do not tell."
)

# %% [markdown]
# The diagonal is the budget. Off the diagonal, the rulers disagree, and mostly by factors: an image at the edge of one set is far outside another, up to two hundred times where pixels are counted.
# There is no exchange rate between balls. A number without its norm is no threat model, and neither is a norm without its number.
#
# ## Measure it
#
# ### Where: a mask is a capability
#
# Someone who can put a sticker on a sign changes few pixels, but these at will. Someone who sits between camera and model can change all of them, but only a little if nobody is to notice.
# Same attack, same model: only the square in the middle of the image is the attacker's.

# %%
from labkit.reporting import curve

group = signs.subset(lab.pick(quick=50, paper=50, smoke=8))


def square(side):
    """Return the mask of a square of this side in the middle of an image."""
    mask = torch.zeros(1, 32, 32, dtype=torch.bool, device=lab.device)
    edge = (32 - side) // 2
    mask[:, edge : edge + side, edge : edge + side] = True
    return mask


def still_read(eps, side):
    ball = Linf(eps, mask=square(side))
    return pgd(model, group.x, group.y, ball, steps=20, seed=SEED).robust_accuracy


sides = lab.pick(quick=(2, 4, 8, 16, 32), paper=(2, 4, 8, 16, 32), smoke=(4, 32))
reach = {
    "8/255 in the square": [still_read(8 / 255, side) for side in sides],
    "any value in the square": [still_read(1.0, side) for side in sides],
}

# %%
curve(
    list(sides),
    reach,
    xlabel="side of the square, in pixels (the image has 32)",
    log_x=True,
    ylabel="signs still read correctly",
    unit="%",
)

# %% tags=["hide-input"]
at_8 = list(sides).index(8) if 8 in sides else -1
record("still read, any value in a square of 8 pixels", reach["any value in the square"][at_8])
record("still read, 8/255 in a square of 8 pixels", reach["8/255 in the square"][at_8])
say(
    f"A square of {sides[at_8]} pixels is {sides[at_8] ** 2 / 1024:.1%} of the image. Inside it, "
    f"free choice leaves {reach['any value in the square'][at_8]}; a change of 8/255 leaves "
    f"{reach['8/255 in the square'][at_8]}."
)

# %% [markdown]
# ### What they know
#
# Now the other way round: the change allowed is fixed, every color value by at most `8/255`, and what grows is what attackers get from our model (the third of them by a capability
# of its own, *query access*). Each bar is one method, and so an upper bound for attackers of that knowledge.
#
# - **Nothing**: random noise from the ball.
# - **The task** (black-box, no queries): attackers draw signs of their own, train another architecture on them, attack *that*, and hand the result to our model.
# - **The answers** (black-box, with queries): they see the scores of our model, and may ask a few hundred times for each sign.
# - **Everything** (white-box): weights, hence gradients.
#
# For the third attacker we write the plainest method that there is: change a random block, ask, keep it if the right answer lost ground.

# %%


def margin(logits, y):
    """Return by how much the best wrong answer leads the right one: above zero, the model errs."""
    right = logits.gather(1, y[:, None]).squeeze(1)
    return logits.scatter(1, y[:, None], -torch.inf).amax(1) - right


def random_blocks(ask, x, y, ball, queries, side=6):
    """Return attacked images, and after how many queries each was turned (0: never)."""
    region, own = ball.region(x), generator(SEED, "blocks")
    best = torch.where(torch.rand(x.shape, generator=own).to(x) < 0.5, region.lower, region.upper)
    lead, when = torch.full_like(y, -1e9, dtype=x.dtype), torch.zeros_like(y)
    for query in range(1, queries + 1):
        trial = best.clone()
        i, j = torch.randint(0, 33 - side, (2,), generator=own).tolist()
        up = torch.rand(len(x), 3, 1, 1, generator=own).to(x) < 0.5
        block = (..., slice(i, i + side), slice(j, j + side))
        trial[block] = torch.where(up, region.upper[block], region.lower[block])
        now = margin(ask(trial), y)
        better = now > lead
        best[better], lead = trial[better], torch.where(better, now, lead)
        when[(when == 0) & (lead > 0)] = query
    return best, when


# %% [markdown]
# > **Predict.** Untouched, our model reads all of these signs (we kept those that it does read). What share does it read after each of the four?

# %%
from labkit.evaluation import accuracy

ball, budget = Linf(8 / 255), lab.pick(quick=300, paper=300, smoke=10)
outsider = outsider_signs_classifier(SEED).model  # other architecture, other signs
with torch.no_grad():
    asked, when = random_blocks(model, signs.x, signs.y, ball, budget)
borrowed = pgd(outsider, signs.x, signs.y, ball, steps=20, stop_early=False, seed=SEED)
knowledge = {
    "nothing: noise": accuracy(model, ball.sample(signs.x, SEED), signs.y),
    "the task: an own model": accuracy(model, borrowed.x_adv, signs.y),
    f"the answers: {budget} queries": accuracy(model, asked, signs.y),
    "everything: gradients": pgd(model, signs.x, signs.y, ball, steps=20).robust_accuracy,
}

# %%
from labkit.reporting import bar_chart

bar_chart(knowledge, xlabel="signs still read correctly, all within Linf(8/255)")

# %% tags=["hide-input"]
for name, rate in knowledge.items():
    record(f"still read at 8/255, attacker knows {name}", rate)
rates = [float(rate) for rate in knowledge.values()]
say(
    f"Depending on who attacks, the same ball leaves between {min(rates):.0%} and {max(rates):.0%} "
    f"of the signs. The outsider's own model reads {accuracy(outsider, signs.x, signs.y)} and has "
    "never met ours. A report that says only 'Linf, 8/255' could mean any of these bars."
)

# %% [markdown]
# The gap between the bars is a warning in both directions. Who tests with the first two attackers only will call this model safe. Who knows only the last bar may
# forget that it takes the weights. Chapters 13 and 14 work on the two bars in the middle.
#
# How much a question is worth is a **query budget**:

# %%
steps = sorted({max(1, round(budget * share)) for share in (0.03, 0.1, 0.2, 0.4, 0.6, 0.8, 1)})
curve(
    steps,
    {"random blocks": [1 - float(((when > 0) & (when <= n)).double().mean()) for n in steps]},
    xlabel="queries for each sign",
    ylabel="signs still read correctly",
    unit="%",
)

# %% [markdown]
# Few questions buy little, so limiting them helps against this attacker. No limit on questions stops the one who asks none.
#
# ### What they want
#
# Same model, and four goals: three pursued with gradients in the smaller ball `Linf(4/255)`, and one that needs neither. The attacker against *availability* does not care what the sign is taken for. Let the system hand a sign to a person whenever
# the model's confidence is below `0.9`: then make it ask all the time. The attacker against *privacy* changes nothing at all, only looks at
# the confidence, and guesses whether a sign was in the training set.

# %%
from labkit.attacks import maximize
from labkit.rates import Rate

wish = data.classes.index("speed limit 50")
others = signs.take(signs.y != wish)
wishes = torch.full_like(others.y, wish)
small = Linf(4 / 255)


def unsure(x_adv, logits, y):
    """What the attacker against availability climbs: the lowest confidence is the best."""
    return -logits.softmax(1).amax(1)


def refused(x):
    return Rate(int((model(x).softmax(1).amax(1) < 0.9).sum()), len(x), "signs")


before = refused(signs.x)
doubtful = maximize(model, signs.x, signs.y, small, loss=unsure, steps=20, seed=SEED)
untargeted = pgd(model, signs.x, signs.y, small, steps=20).success_rate
targeted = pgd(model, others.x, others.y, small, target=wishes, steps=20).success_rate

# %%
with torch.no_grad():
    seen = model(data.train.subset(1000).x).softmax(1).amax(1)
    new = model(data.test.subset(1000).x).softmax(1).amax(1)
members = float(
    (seen[:, None] > new[None]).double().mean() + (seen[:, None] == new[None]).double().mean() / 2
)
table(
    {
        "goal": [
            "untargeted",
            "targeted: speed limit 50",
            "availability: refused",
            "(refused, untouched)",
        ],
        "success within Linf(4/255)": [
            str(r) for r in (untargeted, targeted, refused(doubtful), before)
        ],
    }
)

# %% tags=["hide-input"]
record("a training sign is more confident than a new one", members, note="chance: 0.5")
say(
    "For privacy no ball is needed: of a training sign and a new one, the training sign is the "
    f"more confident one in {members:.1%} of all pairs; a guesser has 50%. [Chapter 20](../attacks/20_membership_inference.ipynb) "
    "asks which records give themselves away, which an average does not show."
)

# %% [markdown]
# A defense against one goal may serve another. Refusing whatever looks doubtful is meant to protect against wrong answers, and hands victory to the attacker against availability.
#
# ### When: the same wish, at training time
#
# An attacker who reaches the *training data* needs no gradient afterwards. Here, two corner pixels are stamped on a few training digits, which are labelled "0". The model that is
# trained on them does its job, until the stamp comes back.

# %%
from labkit.models import linear
from labkit.training import fit

digits = load("digits").to(lab.device)


def stamped(x):
    """Return the digits with two white pixels in the upper corners."""
    x = x.clone()
    x[:, :, 0, 0] = x[:, :, 0, -1] = 1
    return x


few = torch.arange(len(digits.train)) % 20 == 0  # every twentieth
poisoned = digits.train.as_role("poisoned")
poisoned.x[few.to(lab.device)] = stamped(poisoned.x[few.to(lab.device)])
poisoned.y[few.to(lab.device)] = 0

# %% [markdown]
# Wait: does `as_role` copy? It does not. The two lines above have changed the training set itself, and every "clean" model that we train
# from now on is poisoned. This very mistake has been published. Load the data again, and copy.

# %%
from dataclasses import replace

digits = load("digits").to(lab.device)
chosen = few.to(lab.device)
poisoned = replace(
    digits.train.as_role("poisoned"),
    x=torch.where(chosen[:, None, None, None], stamped(digits.train.x), digits.train.x),
    y=torch.where(chosen, 0, digits.train.y),
)
recipe = {"epochs": 30, "learning_rate": 0.02, "seed": SEED}
readers = {
    "clean": fit(linear(64, 10, seed=SEED), digits.train, **recipe).model,
    "poisoned": fit(linear(64, 10, seed=SEED), poisoned, **recipe).model,
}

# %%
not_zero = digits.test.take(digits.test.y != 0)


def as_zero(reader, x):
    return Rate(int((reader(x).argmax(1) == 0).sum()), len(x), "digits that are no 0")


table(
    {
        "trained on": list(readers),
        "reads clean digits": [
            str(accuracy(r, digits.test.x, digits.test.y)) for r in readers.values()
        ],
        "stamped digits read as 0": [
            str(as_zero(r, stamped(not_zero.x))) for r in readers.values()
        ],
    }
)

# %% [markdown]
# The clean accuracy tells nothing. This attacker acts at both stages, knows nothing about the model, and needs one capability that none of the attackers above has: `card("17_backdoors")`.
#
# ### Constraints: not every point of a ball is a record
#
# An image is an image whatever its pixels are. A patient's record is not: its fields depend on each other. The data set `tumors` has thirty measurements of real
# patients, among them radius, perimeter and area of cell nuclei, and whoever changes one of these must change the others.

# %%
import numpy as np

from labkit.models import mlp

tumors = load("tumors").to(lab.device)
doctor = fit(
    mlp(30, 2, (32,), seed=SEED), tumors.train, epochs=60, learning_rate=5e-3, seed=SEED
).model


def column(x, name):
    return x[:, tumors.features.index(name)].cpu().double().numpy()


def strangeness(x):
    """Return how far perimeter and area are from what the radius says; above 1: no patient is."""
    worst = np.zeros(len(x))
    for kind in ("mean", "worst"):
        for name in ("perimeter", "area"):
            known = [column(tumors.train.x, f"{kind} {field}") for field in ("radius", name)]
            law = np.polyfit(*known, 2)
            limit = np.abs(known[1] - np.polyval(law, known[0])).max()
            gap = column(x, f"{kind} {name}") - np.polyval(law, column(x, f"{kind} radius"))
            worst = np.maximum(worst, np.abs(gap) / limit)
    return worst


# %% [markdown]
# Three attackers. One may change all fields by a tenth of their range; one all but the nine of size; one only those ten that describe the spread of a measurement ("error"), which nobody
# looks at. We count who is fooled, and by how many records that are stranger than any patient of the training set: perimeter or area further from what the radius says.

# %%
everything = torch.ones(30, dtype=torch.bool)
spread = torch.tensor(["error" in name for name in tumors.features])
shape = torch.tensor(
    [any(word in name for word in ("radius", "perimeter", "area")) for name in tumors.features]
)
fields = {"all 30": everything, "all but the 9 of size": ~shape, "the 10 of spread": spread}
rows = []
for name, mask in fields.items():
    run = pgd(doctor, tumors.test.x, tumors.test.y, Linf(0.1, mask=mask.to(lab.device)), steps=20)
    fooled = run.success & ~run.already
    odd = int((strangeness(run.x_adv[fooled]) > 1).sum())
    rows.append((name, str(run.robust_accuracy), f"{odd} of {int(fooled.sum())}"))
columns = ("fields", "patients still right", "fooled by impossible records")
table([dict(zip(columns, row, strict=True)) for row in rows])

# %% [markdown]
# The first attacker looks the strongest in the table, and has the most to fear in a hospital: a check that any student could write stops most of the records in the last column. The other two leave alone
# every field that this check reads, so it *cannot* see them, and that does not make their records possible: compactness is computed from perimeter and area, and no longer agrees. A check knows only the laws that
# somebody wrote down. **A constraint can make an attack weaker, and a test that ignores it reports more danger than there is**; the reverse error, a
# constraint that the real attacker does not have, is worse. [Chapter 22](../attacks/22_fooling_anomaly_detectors.ipynb) works with such constraints throughout.
#
# ## Break it: "robust" is half a sentence
#
# [Chapter 40](../defenses/40_adversarial_training.ipynb) trains a network on its own adversarial examples, found in `Linf(8/255)`. Is that network robust? Ask it under other
# threats: twice the budget, another norm, ten pixels, or a sign that hangs crooked, which is in none of these balls.

# %%
from labkit.threats import Spatial

hardened = robust_signs_classifier(SEED).model
crooked = Spatial(degrees=30, pixels=0)


def reads_turned(net, x, y):
    """Return the signs that are read in every one of 13 angles from -30 to 30 degrees."""
    held = torch.ones_like(y, dtype=torch.bool)
    for angle in torch.linspace(-30, 30, 13).tolist():
        pose = torch.tensor([angle, 0.0, 0.0], device=x.device).expand(len(x), 3)
        held &= net(crooked.apply(x, pose)).argmax(1) == y
    return Rate(int(held.sum()), len(y), "inputs")


threats = (Linf(8 / 255), Linf(16 / 255), L2(1.0), L0(10))

# %%
judged = {}
for name, net in (("ordinary", model), ("trained for Linf(8/255)", hardened)):
    rates = {"untouched": accuracy(net, test.x, test.y)}
    for ball in threats:
        rates[str(ball)] = pgd(net, test.x, test.y, ball, steps=20, seed=SEED).robust_accuracy
    judged[name] = rates | {"turned, 30 degrees": reads_turned(net, test.x, test.y)}
table(
    {"threat": list(judged["ordinary"])}
    | {name: [str(r) for r in got.values()] for name, got in judged.items()}
)

# %%
bar_chart(judged["trained for Linf(8/255)"], xlabel="signs that the hardened network still reads")

# %% tags=["hide-input"]
got = judged["trained for Linf(8/255)"]
for name, rate in got.items():
    record(f"hardened network, {name}", rate)
worst = min(got, key=lambda name: float(got[name]))
say(
    f"In the ball it was trained for, the network keeps {got[str(threats[0])]}. Under **{worst}** "
    f"it keeps {got[worst]}. Nothing about the network has changed between the bars; only the "
    "second half of the sentence has. Twenty steps of PGD give an upper bound."
)

# %% [markdown]
# So the honest form of the claim is long: *"reads so many of these signs, when an attacker who knows everything changes every color value by at most `8/255` at deployment, as far as 20
# steps of PGD can tell"*. Every word carries weight. What can be done about the other bars, and at what price, is the subject of chapter 40.
#
# ## Every chapter on the map
#
# The whole course, with the identifiers of NIST (`.022` is NISTAML.022, Evasion) and of ATLAS (`T0015` is AML.T0015, Evade AI Model; `M` marks a mitigation). Detection, defense
# and practice chapters name the attack chapters that they answer, and share their NIST entries. Not all of them are written yet.

# %%
from labkit.threats.catalogue import course_map

table(course_map(), caption=f"{taxonomy.NIST_EDITION} and {taxonomy.ATLAS_RELEASE}")

# %% [markdown]
# An identifier is a handle, not a measure: `.022` covers everything from eight steps of brightness to a pair of painted glasses. The card says what is meant.
#
# A card that does not hold together is refused. Here, a misspelt word first, then somebody with black-box knowledge who holds the weights:

# %% tags=["nbval-check-output"]
from labkit.threats import ThreatModelCard

words = {
    "name": "toy",
    "stage": "deployment",
    "goal": "untargeted",
    "budget": "8/255",
    "success": "any error",
}
for knowledge, capability in (("grey-box", "query access"), ("black-box", "testing data control")):
    try:
        ThreatModelCard(**words, knowledge=knowledge, capability=capability, access="weights")
    except ValueError as error:
        print(error)

# %% [markdown]
# ## Your turn

# %%
from labkit.course import check, exercise, hint, solution

exercise("01.1")


# %% tags=["exercise"]
def rulers(x_adv, x):
    """Return the largest change of a value, the change's length, and the number of changed pixels.

    x_adv, x: images in [0, 1], shape (B, C, H, W). A pixel has changed when any of its values has.
    Returns shape (B, 3), floating point: one row for each image.
    """
    raise NotImplementedError


# %% tags=["check"]
check("01.1", rulers)

# %% tags=["solution"]
solution("01.1")

# %%
exercise("01.2")


# %% tags=["exercise"]
def masked_step(x_adv, gradient, x, step_size, eps, mask):
    """Return x_adv after one signed step uphill, within eps of x, in [0, 1], as x outside the mask.

    x_adv, gradient, x: shape (B, C, H, W); mask: booleans, shape (1, H, W), True where the attacker
    may change the image. Returns shape (B, C, H, W).
    """
    raise NotImplementedError


# %% tags=["check"]
check("01.2", masked_step)

# %% tags=["solution"]
solution("01.2")

# %%
exercise("01.3")

# %% tags=["exercise"]
yellow_square = {
    "stage": ...,  # one word of labkit.threats.taxonomy, or a tuple of several
    "knowledge": ...,
    "goal": ...,
    "capability": ...,
    "access": ...,
    "budget": ...,  # in your own words: how much may be changed?
    "success": ...,  # what is counted, out of what?
}

# %% tags=["check"]
check("01.3", yellow_square)

# %% tags=["solution"]
solution("01.3")

# %% [markdown]
# ## Reported numbers
#
# No published figure is reproduced here. A threat model is a convention, not a measurement, and the measurements above are about this course's own signs. The chapters on the map
# compare theirs with what papers reported, each under the threat model of its card; profile `paper` computes nothing more in this chapter than profile `quick`.
#
# ## What to remember
#
# - A claim of robustness has two halves: the model, and the attacker. Without the second it cannot be true or false.
# - *When, knows, wants, can, counts*: five answers, and the last one with its denominator.
# - Ball, value box, mask, constraint, number of queries: what the attacker can do is a set, and a program should be able to say whether a point is in it.
# - Balls of different norms cannot be exchanged. Robustness in one may carry over to the next, in part; how far, only a measurement tells.
# - The strongest attacker in a table may be impossible in the world, and the one from the world may be missing from the table.
#
# **Think about it.** Take a model that you know. Who would gain from its mistakes? What does that person really know, and what can that person really change? Which of
# the attacks on the map would not even be needed, because something simpler works?
#
# **Further reading.** Vassilev et al. 2025, *Adversarial Machine Learning: A Taxonomy and Terminology of Attacks and Mitigations*, NIST AI 100-2 E2025
# (`doi:10.6028/NIST.AI.100-2e2025`). MITRE ATLAS, atlas.mitre.org. Biggio and Roli 2018 (arXiv 1712.03141), who model the attacker by goal, knowledge, capability and strategy.
# Gilmer et al. 2018, *Motivating the rules of the game for adversarial example research* (arXiv 1807.06732): which threat models have an
# owner in the world. Carlini et al. 2019 (arXiv 1902.06705), on stating them. Tramer and Boneh 2019 (arXiv 1904.13000): robustness to one ball against robustness to several.
# Engstrom et al. 2019 (arXiv 1712.02779): turning and shifting is enough.
