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
# # 20. Membership inference
#
# **What you will be able to do**
#
# - ask a model whether a record was in its training set, and say how sure the answer is;
# - write the likelihood-ratio attack (LiRA), and know what each of its parts brings;
# - judge such attacks by the members found at few false alarms, with intervals over *models*;
# - say who is at risk, what overfitting has to do with it, and which defenses only hide the numbers.
#
# **You need** [chapter 01](../foundations/01_threat_models.ipynb) for the threat model. [Chapter 14](14_query_attacks.ipynb) shows the `Endpoint` used near the end.

# %% tags=["parameters"]
PROFILE = "quick"
SEED = 0

# %%
from labkit.course import begin

lab = begin("20_membership_inference", PROFILE, SEED)

# %% tags=["hide-input"]
from labkit.reporting import running_times

running_times()

# %% [markdown]
# ## The idea: a model is surer of what it has seen
#
# A clinic trains a model on its patients. Whoever learns that *your* record was in the training set learns that you were a patient there. No
# image is stolen and no answer is turned: a yes or a no leaks. Auditors use the same attack to measure what a model gives away.

# %%
from labkit.threats.catalogue import card

card("20_membership_inference").show()

# %% [markdown]
# Our records are handwritten digits. As in life, some were entered wrongly: one in twenty gets a random wrong label. Nobody told the model.

# %%
import torch

from labkit.data import load
from labkit.seeding import generator

count = lab.pick(quick=1000, paper=1000, smoke=200)
pool = load("digits").train.subset(count)
x, truth, source = pool.x, pool.y, generator(SEED, "wrong labels")
wrong = torch.randperm(count, generator=source)[: count // 20]
y = truth.clone()
y[wrong] = (truth[wrong] + torch.randint(1, 10, (len(wrong),), generator=source)) % 10
mislabelled = torch.zeros(count, dtype=torch.bool).index_fill(0, wrong, True)

# %% [markdown]
# Now train many models, each on its own half of the pool. `members[m, i]` says whether model m had record i. Models 0 and 1 have
# complementary halves, so do 2 and 3, and so on: every record is in exactly half of the models.

# %%
from labkit.attacks.membership import balanced_members, train_shadows
from labkit.models import mlp

kept = (1, 2, 5, 10, 20)
members = balanced_members(lab.pick(quick=48, paper=48, smoke=8), count, SEED)


def build(seed):
    """A small network for 8x8 digits."""
    return mlp(64, 10, (128,), seed=seed)


shadows = train_shadows(build, x, y, members, epochs=40, keep=kept, seed=SEED)
logits = shadows.logits(x)  # (models, records, classes)

# %% tags=["hide-input"]
from labkit.reporting import record, say

right = logits.argmax(2) == y
accuracy = {
    "own": float(right[members].double().mean()),
    "other": float(right[~members].double().mean()),
}
record(
    "accuracy on own records, mean over models", accuracy["own"], n=int(members.sum()), unit="%"
)
record("accuracy on other records", accuracy["other"], n=int((~members).sum()), unit="%")
say(
    f"{len(shadows)} models of {count // 2} records each: {accuracy['own']:.1%} right on their own records, {accuracy['other']:.1%} on "
    "the other half of the pool (wrong labels count as right when they are repeated)."
)

# %% [markdown]
# That many trainings are affordable because they are one: `torch.func.vmap` sends a batch of its own through every network in a single pass. The
# networks are the same as if each had been trained alone, up to rounding. Small networks spend much of their time on overhead, which is shared now. How much faster is that?

# %%
from time import process_time

trial = {"epochs": 2, "seed": SEED, "cache": False}
some = members[: lab.pick(quick=16, paper=16, smoke=2)]


def timed(together):
    """Train a few models in one way or the other: processor seconds, and their logits."""
    begin = process_time()
    models = train_shadows(build, x, y, some, together=together, **trial)
    return process_time() - begin, models.logits(x)


runs = {how: [timed(how) for _ in range(3)] for how in (True, False)}
ratio_of_times = min(t for t, _ in runs[False]) / min(t for t, _ in runs[True])
apart = float((runs[True][0][1] - runs[False][0][1]).abs().max())

# %% tags=["hide-input"]
say(
    f"One by one, {len(some)} models take {ratio_of_times:.1f} times the processor time that they take together (here and now, the best of "
    f"three runs each; it varies with how busy the machine is); their logits differ by {apart:.0e} at most. In the course's own trials, not "
    "repeated here, batched convolutions gained nothing on a processor: `train_shadows` trains convolutional networks one by one there."
)

# %% [markdown]
# How sure is a model of a record's label? The scale matters. The probability $p$ is squeezed against 1; on the scale
# $\log\frac{p}{1-p}$ the values spread out, nearly like a bell. Below: one record per panel, one count per model. The first record is the
# median by how far training with it moves the mean; the other two are moved most among the right labels and among the wrong ones.

# %%
from matplotlib.figure import Figure

from labkit.attacks.membership import logit_score
from labkit.reporting import PALETTE, show

signal = logit_score(logits, y)  # (models, records)
shift = torch.stack(
    [signal[members[:, i], i].mean() - signal[~members[:, i], i].mean() for i in range(count)]
)
three = {
    "an ordinary digit": int(shift.argsort()[count // 2]),
    "an odd one": int(shift.masked_fill(mislabelled, -1).argmax()),
    "a wrong label": int(shift.masked_fill(~mislabelled, -1).argmax()),
}

# %%
fig = Figure(figsize=(7.2, 2.6), layout="constrained")
heights = {}
for axes, (name, i) in zip(fig.subplots(1, 3, sharey=True), three.items(), strict=True):
    groups = {
        "trained with it": signal[members[:, i], i],
        "without it": signal[~members[:, i], i],
    }
    heights[name] = [float(found.mean()) for found in groups.values()]
    edges = torch.linspace(*(float(end) for end in signal[:, i].aminmax()), 15).numpy()
    for color, (label, found) in zip(PALETTE, groups.items(), strict=False):
        axes.hist(found.numpy(), bins=edges, color=color, alpha=0.55, label=label)
    axes.set(title=name, xlabel="log p / (1 - p)")
fig.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=2, frameon=False)
fig.axes[0].set_ylabel("models")
alt = (
    "Histograms of the models' confidence in one record each, with it and without it. "
    + "; ".join(f"{name}: means {a:.1f} and {b:.1f}" for name, (a, b) in heights.items())
)
columns = {"mean over models": list(three)}
columns |= {word: [pair[k] for pair in heights.values()] for k, word in enumerate(groups)}
show(fig, alt=alt, data=columns)

# %% [markdown]
# A common threshold on confidence compares *records*: an easy digit is always sure, member or not. The question is another one:
# **is this model surer of this record than models that never saw it?**
#
# ## From scratch: the likelihood ratio
#
# That is **LiRA** (Carlini et al. 2022). For each record take the shadow models trained with it and those trained without it, fit a normal law to
# each group, and compare how likely both make the target's answer:
#
# $$\Lambda = \log \mathcal{N}(s;\, \mu_{in}, \sigma_{in}^2) - \log \mathcal{N}(s;\, \mu_{out}, \sigma_{out}^2).$$
#
# The center $\mu$ is a median below, as in the authors' code: one odd shadow model hardly moves it. (The last exercise takes the mean.)

# %%
from torch.distributions import Normal


def lira_from_scratch(signal, shadows, members):
    """Score each record: signal (N,), the target's; shadows (S, N); members (S, N) booleans."""
    scores = []
    for i in range(len(signal)):
        seen, unseen = shadows[members[:, i], i], shadows[~members[:, i], i]
        inside = Normal(seen.quantile(0.5), seen.std()).log_prob(signal[i])
        outside = Normal(unseen.quantile(0.5), unseen.std()).log_prob(signal[i])
        scores.append(inside - outside)
    return torch.stack(scores)


target, rest = signal[0], slice(2, None)  # the target, and all but it and its complement
by_hand = lira_from_scratch(target, signal[rest], members[rest])

# %% [markdown]
# Why is model 1 left out? It has every record that model 0 lacks. With it among the shadows, a record that the target had would be in one
# shadow model fewer than the others, and *counting* would give the truth away. Such leaks make attacks look better than they are.
#
# ## With labkit

# %%
from labkit.attacks.membership import MembershipResult, leave_out, lira

ours = lira(target, signal[rest], members[rest])
first = MembershipResult(ours, members[0], queries=count, trainings=len(members) - 2)

# %% tags=["nbval-check-output"]
print("the same scores:", torch.allclose(by_hand, ours))
try:
    leave_out(lira, signal, members, folds=len(members))
except ValueError as error:
    print(str(error).split(":")[0])
try:
    first.tpr_at(0.001)
except ValueError as error:
    print(str(error).split(". ")[0])

# %% [markdown]
# The last line refuses a number that one target cannot give: one false alarm in a thousand, counted on a few hundred non-members, is luck.
# `leave_out` makes every model the target once, with the others as its shadows, and pools the scores. Pooled scores are not
# independent: all scores about one model share its training. So the intervals below draw *models* again, not records. (The models
# share their shadow models and one pool of records as well, which no resampling of targets can see: read the intervals as too narrow, and as
# being about this pool.)
#
# ## Measure it
#
# ### Seven attackers
#
# - **gap**: "member if the model is right" (the baseline: no shadow models, one query);
# - **loss**: the loss against one threshold for all (Yeom et al. 2018);
# - **Shokri**: per class, a small network learns to tell shadow models' answers about members from the others (Shokri et al. 2017);
# - **RMIA**: does the target favor this record, compared with reference models and with the rest of the pool (Zarifzadeh et al. 2024)?
# - **LiRA offline**: only shadow models *without* the record: how far above them is the target?
# - **LiRA online**, with a variance for each record, or one for all.
#
# All of them know each record as it was entered, a wrong label included.
#
# > **Predict.** Sort the seven by AUC, the chance that a member scores higher than a non-member. Then by the share of members they find when
# > only one non-member in a thousand may be accused. Is it the same order?

# %%
from functools import partial

from labkit.attacks.membership import correct, log_probability, rmia, shadow_attack

log_p = log_probability(logits, y)
shokri = partial(shadow_attack, y=y, epochs=lab.pick(quick=10, paper=10, smoke=1), seed=SEED)
units = torch.arange(len(members)) // 2
results = {
    "gap": MembershipResult.of(correct(logits, y), members, units=units),
    "loss": MembershipResult.of(log_p, members, units=units),
    "Shokri": leave_out(shokri, logits, members, folds=2),
    "RMIA": leave_out(rmia, log_p, members),
    "LiRA offline": leave_out(partial(lira, online=False), signal, members),
    "LiRA online": leave_out(lira, signal, members),
    "LiRA, one variance": leave_out(partial(lira, variance="global"), signal, members),
}

# %%
from labkit.reporting import table

few, fewer = lab.pick(quick=(0.01, 0.001), paper=(0.01, 0.001), smoke=(0.1, 0.05))
numbers = {
    "AUC": lambda roc: roc.auc,
    "best accuracy": lambda roc: roc.balanced_accuracy,
    f"TPR at {few:.0%} FPR": lambda roc: roc.tpr_at(few),
    f"TPR at {fewer:.1%} FPR": lambda roc: roc.tpr_at(fewer),
}
draws = lab.pick(quick=100, paper=100, smoke=20)
spans = {name: found.intervals(numbers, resamples=draws) for name, found in results.items()}


def cell(value, span, points):
    """A number and its interval, in points of a hundred or as a fraction."""
    write = (lambda v: f"{100 * v:.1f}") if points else (lambda v: f"{v:.3f}")
    return f"{write(value)} ({write(span[0])} to {write(span[1])})"


def compared(results, spans, numbers, caption):
    """One row per attack, one column per number; 95 % intervals over models."""
    columns = {
        what if what == "AUC" else f"{what}, %": [
            cell(number(found.roc), spans[name][what], what != "AUC")
            for name, found in results.items()
        ]
        for what, number in numbers.items()
    }
    table({"attack": list(results)} | columns, caption=f"{caption}; 95 % intervals over models")


count_out = int((~members).sum())
caption = f"{len(members)} target models, {count_out:,} scores of non-members"
compared(results, spans, numbers, caption)

# %% [markdown]
# The wrong labels are ours, and they are easy prey. Here are the same models and scores once more, with every wrong label left out, among members and
# non-members alike:


# %%
def only(found, chosen):
    """The part of a result that is about the chosen records of the pool."""
    some = chosen[found.records]
    kept = (found.scores, found.members, found.targets, found.records, found.units)
    return MembershipResult(*(values[some] for values in kept))


honest = {name: only(found, ~mislabelled) for name, found in results.items()}
fair = {what: number for what, number in numbers.items() if what != "best accuracy"}
honest_spans = {name: found.intervals(fair, resamples=draws) for name, found in honest.items()}
right_out = int((~honest["loss"].members).sum())
compared(honest, honest_spans, fair, f"right labels only: {right_out:,} scores of non-members")

# %% tags=["hide-input"]
for name, found in results.items():
    record(f"AUC, {name}", found.auc, interval=spans[name]["AUC"])
strict = list(numbers)[3]
for name in ("loss", "LiRA online"):
    value = numbers[strict](results[name].roc)
    record(f"{strict}, {name}", value, interval=spans[name][strict], unit="%")
    value = numbers[strict](honest[name].roc)
    span = honest_spans[name][strict]
    record(f"{strict}, right labels only, {name}", value, interval=span, unit="%")

# %%
from labkit.reporting import roc_curves

grid = [0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.03, 0.1, 0.3, 1.0]
grid = [rate for rate in grid if rate * float((~members).sum()) >= 5]
shown = ("loss", "Shokri", "RMIA", "LiRA offline", "LiRA online", "LiRA, one variance")
bands = {}
for name in ("loss", "LiRA, one variance"):
    at = {rate: partial(lambda roc, rate: roc.tpr_at(rate), rate=rate) for rate in grid}
    edges = results[name].intervals(at, resamples=draws)
    bands[name] = (grid, [low for low, _ in edges.values()], [high for _, high in edges.values()])
roc_curves(
    {name: (results[name].roc.fpr, results[name].roc.tpr) for name in shown},
    start=grid[0],
    bands=bands,
)

# %% tags=["hide-input"]
lax = "AUC"
by = {
    what: sorted(results, key=lambda name: -numbers[what](results[name].roc))
    for what in (lax, strict)
}
found_by = {name: numbers[strict](results[name].roc) for name in results}
right_by = {name: numbers[strict](honest[name].roc) for name in honest}
best = by[strict][0]
say(
    f"By AUC: {'; '.join(by[lax])}. By the strict rate: {'; '.join(by[strict])}. (Neighbors whose intervals overlap may change places in "
    f"another run.) At {fewer:.1%} false alarms the loss threshold finds {found_by['loss']:.2%} of the members, where guessing finds "
    f"{fewer:.1%}, and {best} finds {found_by[best]:.2%}; with right labels only they find {right_by['loss']:.2%} and {right_by[best]:.2%}, and the most is "
    f"found by {max(right_by, key=right_by.get)}: {max(right_by.values()):.2%}. An average over all records hides the "
    "few of whom the attacker is certain; on the logarithmic axes they have room. The shaded bands are 95 % intervals, drawn "
    "for two of the attacks. (The gap attack has one threshold only, at an FPR of "
    f"{float(results['gap'].roc.fpr[1]):.0%}: whoever asks for less gets nothing.)"
)

# %% [markdown]
# ### What a shadow model buys
#
# Shadow models are the price of the attack. With few of them a variance for each record is a guess, and one for all is better; RMIA
# was made to live with one or two reference models.

# %%
from typing import NamedTuple


class Estimate(NamedTuple):
    """A number with its interval, as the charts take it."""

    value: float
    interval: tuple


def first_few(attack, size):
    """The same attack with fewer shadow models (complementary pairs stay together)."""
    return lambda targets, others, inside: attack(targets, others[:size], inside[:size])


every = lab.pick(quick=(4, 8, 16, 32, 46), paper=(4, 8, 16, 32, 46), smoke=(4, 6))
strong, at_few = partial(lira, variance="global"), list(numbers.values())[2]
attacks = {
    "variance for each": (lira, signal),
    "one variance": (strong, signal),
    "RMIA": (rmia, log_p),
}
bought = {name: [] for name in attacks}
for name, (attack, answers) in attacks.items():
    for size in every:
        found = leave_out(first_few(attack, size), answers, members)
        span = found.interval(at_few, resamples=draws // 2)
        bought[name].append(Estimate(found.tpr_at(few), span))

# %%
from labkit.reporting import curve

fig = Figure(figsize=(7.2, 3.6), layout="constrained")
axes, ylabel = fig.subplots(), f"members found at {few:.0%} FPR"
curve(every, bought, xlabel="shadow models", ylabel=ylabel, unit="%", log_x=True, ax=axes)
dashed = {"color": "#777777", "linestyle": "--", "linewidth": 1}
axes.axhline(few, **dashed)
place = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points"}
below = {"xytext": (-4, -4), "ha": "right", "va": "top", "fontsize": 8.5, "color": "#555555"}
axes.annotate(f"guessing: {few:.0%}", (1, few), **place, **below)
columns = {name: [round(100 * e.value, 2) for e in found] for name, found in bought.items()}
ends = "; ".join(f"{name} from {found[0]:g} to {found[-1]:g}" for name, found in columns.items())
alt = f"Percent of members found with {every[0]} to {every[-1]} shadow models: {ends}."
show(fig, alt=alt, data={"shadow models": list(every)} | columns)

# %% tags=["hide-input"]
pair_only = leave_out(first_few(rmia, 2), log_p, members).tpr_at(few)
least, all_of = (
    {name: bought[name][0].value for name in bought},
    {n: bought[n][-1].value for n in bought},
)
say(
    f"With {every[0]} shadow models a variance for each record finds {least['variance for each']:.1%}, one variance "
    f"{least['one variance']:.1%}, RMIA {least['RMIA']:.1%}; with {every[-1]} they find {all_of['variance for each']:.1%}, "
    f"{all_of['one variance']:.1%} and {all_of['RMIA']:.1%}. RMIA with only two models, one that had the record and one that had not, finds "
    f"{pair_only:.1%}. Offline attacks may train their shadow models before they know whom they will ask about; online ones have to train with the record itself."
)

# %% [markdown]
# ### Who is at risk?
#
# The score of a record, averaged over the models that had it, minus the average over those that had not: how much it betrays itself. Below
# are the most exposed records of the pool; crosses mark wrong labels.

# %%
from labkit.reporting import image_row

exposure = results["LiRA online"].exposure()
order = exposure.argsort(descending=True)
row = lab.pick(quick=12, paper=12, smoke=6)
rows = {
    "the most exposed": order[:row],
    "the most exposed with a right label": order[~mislabelled[order]][:row],
    "from the middle": order[count // 2 : count // 2 + row],
}


def name_of(i):
    """The label that the record was entered with."""
    return f"as {int(y[i])}"


first_row, second_row, last_row = rows.values()
titles = [name_of(i) for i in first_row]
image_row(x[first_row], titles, wrong=mislabelled[first_row].tolist(), per_row=6, size=1.0)

# %% [markdown]
# Leave the wrong labels out, and look at the most exposed of the rest:

# %%
image_row(x[second_row], [name_of(i) for i in second_row], per_row=6, size=1.0)

# %% [markdown]
# And, for comparison, records from the middle of the list:

# %%
titles = [name_of(i) for i in last_row]
image_row(x[last_row], titles, wrong=mislabelled[last_row].tolist(), per_row=6, size=1.0)

# %%
from labkit.rates import Rate

top = mislabelled[order[: len(wrong)]]
strictest = results["LiRA online"]
threshold = strictest.roc.thresholds[strictest.roc.fpr <= fewer][-1]
caught = strictest.called(float(threshold)) & strictest.members
of_wrong = mislabelled[strictest.records]
shares = {
    "wrong labels": Rate(
        int((caught & of_wrong).sum()), int((strictest.members & of_wrong).sum()), "members"
    ),
    "all other records": Rate(
        int((caught & ~of_wrong).sum()), int((strictest.members & ~of_wrong).sum()), "members"
    ),
}

# %% tags=["hide-input"]
record("wrong labels among the most exposed records", int(top.sum()), note=f"of {len(top)}")
say(
    f"Of the {len(top)} most exposed records {int(top.sum())} have a wrong label; of all {count} in the pool, {len(wrong)}. At {fewer:.1%} false "
    f"alarms LiRA finds {float(shares['wrong labels']):.0%} of the {shares['wrong labels'].n:,} members with a wrong label and "
    f"{float(shares['all other records']):.1%} of the {shares['all other records'].n:,} others (each record counts once for every model that "
    f"had it). So {shares['wrong labels'].k:,} of the {int(caught.sum()):,} members that it finds are mistakes that we planted, "
    "and the table of right labels is the one to compare with other pools. What a model cannot explain by the other records it must learn by heart, and "
    "what it learns by heart it gives away: privacy is lost by the unusual first. An average over everybody says little about them."
)

# %% [markdown]
# ### The cause: overfitting, in doses
#
# The **gap** is the accuracy on a model's own records minus that on the others. Part of it is planted here: a model gets a wrong label right
# mostly by learning it by heart. Three ways to change the gap: train longer, train on more records, or punish large weights. Each point
# below is a group of models, attacked. (The points of the epochs are half of the models from above, at earlier times.)
#
# > **Predict.** Which attacker follows the gap more closely, the loss threshold or LiRA? Is anything found where the gap is nearly zero?


# %%
test, half = load("digits").test, lab.pick(quick=24, paper=24, smoke=8)


def dose(models, x, y):
    """What a group of models gives away: numbers, with intervals over the models."""
    said, inside, pairs = models.logits(x), models.members, torch.arange(len(models)) // 2
    hit = (said.argmax(2) == y).double()
    measured = {"gap": float(hit[inside].mean() - hit[~inside].mean())}
    measured["test"] = float((models.logits(test.x).argmax(2) == test.y).double().mean())
    loss = MembershipResult.of(log_probability(said, y), inside, units=pairs)
    ratio = leave_out(strong, logit_score(said, y), inside)
    for name, found, number in (("loss", loss, numbers["AUC"]), ("LiRA", ratio, at_few)):
        span = found.interval(number, resamples=draws // 2)
        measured[name] = Estimate(number(found.roc), span)
    return measured


# %%
def group(records, **settings):
    """Models trained on half of a part of the pool, and that part."""
    part = torch.arange(records) * count // records
    design = balanced_members(half, records, SEED)
    return train_shadows(build, x[part], y[part], design, seed=SEED, **settings), x[part], y[part]


sizes = lab.pick(quick=(200, 400), paper=(200, 400), smoke=(120,))
decays = lab.pick(quick=(1e-3, 1e-2), paper=(1e-3, 1e-2), smoke=(1e-2,))
as_many = shadows.first(half)
doses = {
    "epochs": {e: dose(as_many.at(e), x, y) for e in (*kept, 40)},
    "records": {n // 2: dose(*group(n)) for n in sizes},
    "weight decay": {w: dose(*group(count, weight_decay=w)) for w in decays},
}

# %%
fig = Figure(figsize=(7.2, 3.4), layout="constrained")
titles = {"loss": "AUC of the loss threshold", "LiRA": f"members LiRA finds at {few:.0%} FPR, %"}
for axes, (attacker, title) in zip(fig.subplots(1, 2), titles.items(), strict=True):
    scale, guess = (1, 0.5) if attacker == "loss" else (100, 100 * few)
    for i, (cause, points) in enumerate(doses.items()):
        middle = scale * torch.tensor([point[attacker].value for point in points.values()])
        ends = scale * torch.tensor([point[attacker].interval for point in points.values()]).T
        bars = torch.stack([middle - ends[0], ends[1] - middle]).clamp_min(0)
        look = {"color": PALETTE[i], "marker": "os^"[i], "linewidth": 0.9, "capsize": 2}
        gaps = [100 * point["gap"] for point in points.values()]
        axes.errorbar(gaps, middle, yerr=bars, label=cause, **look)
    axes.axhline(guess, label="guessing", **dashed)
    axes.set(xlabel="gap, points: own minus other records", title=title)
    axes.set_ylim(bottom=0 if attacker == "LiRA" else None)
    axes.legend(fontsize=8.5, frameon=False)

# %%
flat = [(cause, k, point) for cause, points in doses.items() for k, point in points.items()]
columns = {
    "changed": [cause for cause, _, _ in flat],
    "to": [f"{k:g}" for _, k, _ in flat],
    "gap, points": [f"{100 * p['gap']:.1f}" for _, _, p in flat],
    "AUC, loss": [f"{p['loss'].value:.3f}" for _, _, p in flat],
    "TPR, LiRA, %": [f"{100 * p['LiRA'].value:.1f}" for _, _, p in flat],
    "test accuracy, %": [f"{100 * p['test']:.1f}" for _, _, p in flat],
}
alt = "What the loss threshold and LiRA find against the gap, for three ways to change the gap."
show(fig, alt=alt, data=columns)


# %% tags=["hide-input"]
def ranks(name):
    """Places by size, for a rank correlation; points of the gap are plain numbers."""
    values = [p[name] if name == "gap" else p[name].value for _, _, p in flat]
    return torch.tensor(values).argsort().argsort().double()


follow = {
    name: float(torch.corrcoef(torch.stack([ranks("gap"), ranks(name)]))[0, 1]) for name in titles
}
calm = min((p for _, _, p in flat), key=lambda p: p["gap"])
say(
    f"Over these {len(flat)} groups the rank correlation with the gap is {follow['loss']:.2f} for the loss threshold and "
    f"{follow['LiRA']:.2f} for LiRA; with so few groups, some of them the same models at other times, a small difference between the two "
    f"says nothing. Compare two single points: after 1 epoch the gap is {100 * doses['epochs'][1]['gap']:.1f} points and LiRA finds "
    f"{doses['epochs'][1]['LiRA'].value:.1%}; after 5 epochs {100 * doses['epochs'][5]['gap']:.1f} points and {doses['epochs'][5]['LiRA'].value:.1%}. "
    f"At the smallest gap ({100 * calm['gap']:.1f} points) the loss threshold has an AUC of {calm['loss'].value:.3f} and LiRA finds "
    f"{calm['LiRA'].value:.2%} (95 % interval {calm['LiRA'].interval[0]:.2%} to {calm['LiRA'].interval[1]:.2%}) at {few:.0%} false alarms, "
    f"where guessing finds {few:.0%}. Each group is attacked with shadow models that were trained like its targets, {half - 2} for each target."
)

# %% [markdown]
# ## Fix it: what helps, and what only hides the numbers
#
# First, **say less**. Here are all models behind an `Endpoint`: with all digits, softened (logits divided by ten), rounded, or with labels
# only. Who knows of the softening multiplies the log-probabilities by ten and normalizes again: "softened, undone". The careless attacker takes the loss of what is said. LiRA lets its *shadow models speak the same way* and compares like with like. Where only
# labels come back, it asks about noisy copies of the record and counts how much noise the right answer survives (Choquette-Choo et al. 2021).

# %%
from labkit.attacks.membership import noise_margin
from labkit.endpoint import Endpoint

services = {  # divide logits by, options of the service, the attacker multiplies by
    "all digits": (1, {}, 1),
    "softened": (10, {}, 1),
    "softened, undone": (10, {}, 10),
    "two decimals": (1, {"decimals": 2}, 1),
    "one decimal": (1, {"decimals": 1}, 1),
}


def heard(index, softening, options):
    """What one model's service says of the pool, as log-probabilities: one query per record."""
    model = shadows.model(index)
    return Endpoint(lambda z: model(z) / softening, **options).as_model()(x)


less, two_decimals = {}, None
for name, (softening, options, undo) in services.items():
    said = undo * torch.stack([heard(m, softening, options) for m in range(len(members))])
    careless = MembershipResult.of(log_probability(said, y), members, units=units)
    two_decimals = said if name == "two decimals" else two_decimals
    less[name] = careless, leave_out(strong, logit_score(said, y), members)

# %%
copies = lab.pick(quick=16, paper=16, smoke=2)


def labels_of(z):
    """All models' labels: each has a service of its own in life."""
    return shadows.logits(z).argmax(2)


margin = noise_margin(labels_of, x, y, sigma=0.25, copies=copies, seed=SEED)
less["labels only"] = results["gap"], leave_out(strong, margin, members, queries=copies)
table(
    {
        "the service says": list(less),
        "careless: AUC": [f"{careless.auc:.3f}" for careless, _ in less.values()],
        f"careless: TPR at {few:.0%} FPR, %": [
            f"{100 * c.tpr_at(few):.1f}" for c, _ in less.values()
        ],
        "LiRA: queries": [copies if name == "labels only" else 1 for name in less],
        "LiRA: AUC": [f"{adapted.auc:.3f}" for _, adapted in less.values()],
        f"LiRA: TPR at {few:.0%} FPR, %": [
            cell(a.tpr_at(few), a.interval(at_few, resamples=draws // 2), True)
            for _, a in less.values()
        ],
    },
    caption="careless: the loss of what is said, one query; with labels only, the gap attack",
)

# %% tags=["hide-input"]
each = leave_out(lira, logit_score(two_decimals, y), members).tpr_at(few)
said_by = {name: adapted.tpr_at(few) for name, (_, adapted) in less.items()}
for name, value in said_by.items():
    record(f"LiRA when the service says: {name}, TPR at {few:.0%} FPR", value, unit="%")
say(
    f"At {few:.0%} false alarms LiRA finds {said_by['all digits']:.1%} of the members when it hears all digits, "
    f"{said_by['softened']:.1%} through softened answers as they come, {said_by['softened, undone']:.1%} when it undoes the softening, {said_by['two decimals']:.1%} and {said_by['one decimal']:.1%} through two "
    f"decimals and one, and {said_by['labels only']:.1%} from labels alone, for {copies} queries a record instead of one. Softening takes "
    "nothing away: ten times the softened log-probabilities are those of the first row again, up to a constant that "
    "normalizing removes, and the number ten can be found by trying. An attacker who does not undo it measures on another scale, on which the "
    "normal laws fit better or worse. Rounding cuts off the far "
    "ends of the scale. One variance for all records can gain by that, for the records that swing most no longer set it (a guess that we did "
    f"not test); a variance for each record finds {each:.1%} through two decimals and {results['LiRA online'].tpr_at(few):.1%} through all digits. What the model remembers is the same in every row."
)

# %% [markdown]
# Second, **train otherwise**. Stopping early and weight decay shrink what is learned by heart. Some points of the figure above again,
# with what they cost in accuracy on digits that no model had, all labels right. (These are groups of
# half as many models as in the first tables: compare the rows with each other.)

# %%
picked = {f"{e} epochs": doses["epochs"][e] for e in (40, 10, 5)}
picked |= {f"weight decay {w:g}": point for w, point in doses["weight decay"].items()}
table(
    {
        "training": list(picked),
        "test accuracy, %": [f"{100 * p['test']:.1f}" for p in picked.values()],
        "gap, points": [f"{100 * p['gap']:.1f}" for p in picked.values()],
        "AUC, loss": [f"{p['loss'].value:.3f}" for p in picked.values()],
        f"LiRA's TPR at {few:.0%} FPR, %": [cell(*p["LiRA"], True) for p in picked.values()],
    }
)

# %% tags=["hide-input"]
base = picked["40 epochs"]
safest = min(picked, key=lambda name: picked[name]["LiRA"].value)
say(
    f"The safest row here ({safest}) takes LiRA from {base['LiRA'].value:.1%} to {picked[safest]['LiRA'].value:.1%} and test accuracy "
    f"from {base['test']:.1%} to {picked[safest]['test']:.1%} (mean over the models, on {len(test)} digits). The most accurate row is "
    f"{max(picked, key=lambda name: picked[name]['test'])}: where labels are wrong, learning less by heart need not cost accuracy. "
    "None of these rows is a promise: a better attack may find what this one missed."
)

# %% [markdown]
# | the owner | stops | does not stop |
# | --- | --- | --- |
# | softens | no attack: all digits can be turned back | every attack above |
# | rounds | a threshold on the loss at few false alarms, which was close to guessing before | shadow models that speak the same way |
# | says labels only | whoever asks once per record | whoever asks more often |
# | stops early, decays weights, gets more records | much of the average | the unusual record |
# | trains with differential privacy | every attack, up to a stated bound | nothing beyond that bound; it costs accuracy (chapter 48, planned) |
#
# ## Your turn

# %%
from labkit.course import check, exercise, hint, solution

exercise("20.1")


# %% tags=["exercise"]
def confidence(logits, y):
    """Return log(p / (1 - p)) for the probability p of the class y, shape (N,), float64, finite however sure the model is.

    logits: shape (N, K); y: shape (N,).
    """
    raise NotImplementedError


# %% tags=["check"]
check("20.1", confidence)

# %% tags=["solution"]
solution("20.1")

# %%
exercise("20.2")


# %% tags=["exercise"]
def found_at(scores, members, fpr):
    """Return the largest share of members that any threshold finds while at most a share `fpr` of the non-members is called member.

    scores: shape (N,), higher = more likely a member; members: (N,) booleans. A record is called a member when its score >= threshold.
    """
    raise NotImplementedError


# %% tags=["check"]
check("20.2", found_at)

# %% tags=["solution"]
solution("20.2")

# %%
exercise("20.3")


# %% tags=["exercise"]
def ratio(signal, shadows, members):
    """Return the log likelihood ratio of membership for each record, shape (N,).

    signal: (N,), the target's confidence in each record; shadows: (S, N), the shadow models'; members: (S, N) booleans, which shadow
    model was trained with which record. Two normal laws per record, with mean and standard deviation of the models with and without it.
    """
    raise NotImplementedError


# %% tags=["check"]
check("20.3", ratio)

# %% tags=["solution"]
solution("20.3")

# %% [markdown]
# ## Reported numbers
#
# In profile `quick` nothing is computed here: you see what the papers reported and what this course measured when it last ran the profile `paper`.
#
# **Shokri et al. 2017**, Table II. The target there was a service whose inside nobody knows, so another model on the same data is an
# analogue. **Location**: 1,600 records train the target, 1,600 others are the non-members; ten shadow models of the same size learn from
# the records that are left, so few that any two of them share most (the paper: sixty shadow models). **Precision**: of the records called members, how
# many are. Compare it with the gap attack, which needs no shadow model: its precision is train accuracy / (train accuracy + test accuracy),
# and $1 / (1 + \text{test accuracy})$ where all training records are learned.

# %%
from torch import nn

from labkit.reporting import compare

computing, smoke = lab.profile != "quick", lab.profile == "smoke"


def one_target(x, y, own, crowd, build, **recipe):
    """Train a target and a crowd of shadow models; return truth, Shokri's scores, log p, hits."""
    order = torch.randperm(len(x), generator=generator(SEED, "target and shadows"))
    mine, free = order[: 2 * own], order[2 * own :]  # members and non-members; all others
    target_has = (torch.arange(2 * own) < own)[None]
    target = train_shadows(
        build, x[mine], y[mine], target_has, seed=SEED, label="target", **recipe
    )
    theirs = torch.zeros(crowd, len(free), dtype=torch.bool)
    for m, has in enumerate(theirs):
        has[torch.randperm(len(free), generator=generator(SEED, "shadow", m))[:own]] = True
    others = train_shadows(build, x[free], y[free], theirs, seed=SEED + 1, **recipe)
    said, epochs = target.logits(x[mine]), lab.pick(quick=20, paper=20, smoke=1)
    scores = shadow_attack(
        said, others.logits(x[free]), theirs, y[mine], shadow_y=y[free], epochs=epochs, seed=SEED
    )
    return (
        target_has[0],
        scores[0],
        log_probability(said, y[mine])[0],
        correct(said, y[mine])[0] > 0,
    )


# %%
location = {}
if computing:
    places = load("location30", smoke=smoke)
    both = [
        torch.cat([part.x, part.y[:, None].float()], 1) for part in (places.train, places.test)
    ]
    people = torch.cat(both)
    inside, scores, _, hit = one_target(
        people[:, :-1].contiguous(),
        people[:, -1].long(),
        lab.pick(quick=1600, paper=1600, smoke=16),
        lab.pick(quick=10, paper=10, smoke=6),
        lambda seed: mlp(446, 30, (128,), activation=nn.Tanh, seed=seed),
        epochs=lab.pick(quick=100, paper=100, smoke=2),
        batch_size=100,
        learning_rate=1e-3,
    )
    shokri_location = MembershipResult(scores, inside)
    location = {
        "location-train-accuracy": hit[inside],
        "location-test-accuracy": hit[~inside],
        "location-attack-precision": inside[shokri_location.called(0.0)],
    }

# %%
ours_is = {"network": "446-128-30, tanh, Adam, 100 epochs", "shadow models": "10 (60)"}
for kind_of in ("train-accuracy", "test-accuracy", "attack-precision"):
    figure = f"location-{kind_of}"
    outcomes = location.get(figure)
    compare("mia-shokri-table2", figure, outcomes=outcomes, kind="analogue", settings=ours_is)

# %% tags=["hide-input"]
from labkit.reporting.comparing import look_up
from labkit.reporting.reproduced import entry

precise, tested = (
    look_up("mia-shokri-table2", f"location-{what}")[1]
    for what in ("attack-precision", "test-accuracy")
)
test_accuracy = {"the paper's": tested.value} if tested else {}
if computing:
    gap_attack = MembershipResult(hit.double(), inside)
    record("Location: precision of the gap attack", gap_attack.precision(1.0))
    record("Location: recall of Shokri's attack", shokri_location.recall(0.0))
    test_accuracy["our"] = float(hit[~inside].double().mean())
elif measured := entry("mia-shokri-table2", "location-test-accuracy"):
    test_accuracy["our"] = measured["value"]
gap_finds = {who: 1 / (1 + share) for who, share in test_accuracy.items()}

# %% tags=["hide-input"]
say(
    "By the formula the gap attack, without any shadow model, has a precision of "
    + " and of ".join(f"{share:.3f} on {who} target" for who, share in gap_finds.items())
    + f". The tolerance fixed for Shokri's attack ({precise.tolerance['analogue'] if precise else 'see above'}) begins close to that: its "
    "lower bound is weak, for an attack that used nothing but the gap would miss it narrowly or not at all. Read the measured precision against "
    "the gap attack's, not against the bound."
)

# %% [markdown]
# **MNIST**, the row where little is found: 10,000 records for the target, as many for each of three shadow models. On the same target, the
# attack of **Yeom et al. 2018**: whoever has a loss of at most the average training loss is called a member; one query and no shadow model. Their
# network is another one, so this, too, is an analogue. The recall says how many training losses lie below their own mean: it depends on the network.
# Hold both precisions against the gap attack's, by the formula above.

# %%
mnist_found = {}
if computing:
    digits, own = load("mnist", smoke=smoke).train, lab.pick(quick=10_000, paper=10_000, smoke=16)
    part = digits.subset(min(4 * own, len(digits)))
    inside, scores, log_of, hit = one_target(
        part.x,
        part.y,
        own,
        lab.pick(quick=3, paper=3, smoke=6),
        lambda seed: mlp(784, 10, (64,), seed=seed),
        epochs=lab.pick(quick=20, paper=20, smoke=1),
        batch_size=100,
        learning_rate=1e-3,
    )
    below = log_of >= log_of[inside].mean()  # a loss of at most the average
    mnist_found = {
        "mnist-train-accuracy": hit[inside],
        "mnist-test-accuracy": hit[~inside],
        "mnist-attack-precision": inside[MembershipResult(scores, inside).called(0.0)],
        "precision-mnist": inside[below],
        "recall-all-three": below[inside],
    }

# %%
network = {"network": "784-64-10, Adam, 20 epochs"}
for figure in ("mnist-train-accuracy", "mnist-test-accuracy", "mnist-attack-precision"):
    settings = network | {"shadow models": "3"}
    found = mnist_found.get(figure)
    compare("mia-shokri-table2", figure, outcomes=found, kind="analogue", settings=settings)
for figure in ("precision-mnist", "recall-all-three"):
    settings = network | {"data": "MNIST"}
    found = mnist_found.get(figure)
    compare("mia-yeom", figure, outcomes=found, kind="analogue", settings=settings)

# %% [markdown]
# **Carlini et al. 2022** trained hundreds of wide residual networks on CIFAR-10, which no laptop repeats. What the chapter shows on digits is the *shape*
# of their table: accuracies of one size, and rates at few false alarms that lie far apart.

# %%
from labkit.reporting import cited

table_one = {
    f"{who}-cifar-10-{what}": f"{name}: {told}"
    for who, name in (("yeom", "loss threshold"), ("shokri", "Shokri"), ("lira", "LiRA"))
    for what, told in (
        ("balanced-accuracy", "balanced accuracy"),
        ("tpr-at-0.1-percent-fpr", "TPR at 0.1 % FPR"),
    )
}
cited("mia-lira-table1", table_one, label="CIFAR-10, 256 shadow models", value="reported")

# %%
variants = {
    "online": "online",
    "online-fixed-variance": "online, one variance",
    "offline": "offline",
    "offline-fixed-variance": "offline, one variance",
    "global-threshold": "one threshold for all",
}
rows = {f"{key}-tpr-at-0.1-percent-fpr": name for key, name in variants.items()}
cited("mia-lira-16shadow", rows, label="CIFAR-10, 16 shadow models", value="TPR at 0.1 % FPR")

# %% [markdown]
# ## What to remember
#
# - Being in a training set can be a secret. A model's confidence gives it away, record by record.
# - Compare the target with models that did and did not see *this* record. One threshold for all compares easy records with hard ones.
# - Judge an attack by the members it finds at few false alarms; say how many non-members the rate rests on, and draw *models* again for the interval.
# - Overfitting is the cause on average. The unusual record is at risk even when the average looks safe.
# - Rounding and labels change the price of asking. Only training decides what there is to find.
#
# **Think about it.** A hospital wants to publish a model and asks you for one number that says "nobody is at risk". Which number would you refuse to give,
# and what would you offer instead?
#
# **Further reading.** Shokri et al. 2017 (arXiv 1610.05820): shadow models. Yeom et al. 2018 (arXiv 1709.01604): overfitting and advantage. Carlini et al.
# 2022 (arXiv 2112.03570): LiRA, and how to judge attacks. Zarifzadeh et al. 2024 (arXiv 2312.03262): RMIA. Choquette-Choo et al. 2021 (arXiv 2007.14321): labels only.
