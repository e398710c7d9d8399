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
# image is stolen and no answer is changed: a yes or a no leaks. Auditors use the same attack to measure what a model gives away.

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
# networks are the same as if each had been trained alone, up to rounding. How much faster is that?

# %%
from time import process_time

some = members[: lab.pick(quick=16, paper=16, smoke=2)]


def timed(together):
    """Train a few models in one way or the other: processor seconds, and their logits."""
    start = process_time()
    how = {"together": together, "epochs": 2, "seed": SEED, "cache": False}
    models = train_shadows(build, x, y, some, **how)
    return process_time() - start, models.logits(x)


runs = {how: [timed(how) for _ in range(2)] for how in (True, False)}
ratio_of_times = min(t for t, _ in runs[False]) / min(t for t, _ in runs[True])
apart = float((runs[True][0][1] - runs[False][0][1]).abs().max())

# %% tags=["hide-input"]
say(
    f"One by one, {len(some)} models take {ratio_of_times:.1f} times the processor time that they take together (the better of two runs each; it "
    f"varies with how busy the machine is); their logits differ by {apart:.0e} at most. Small networks spend much of their time on overhead, "
    "which is shared now. Convolutions gained nothing on a processor in the course's own trials: `train_shadows` trains them one by one there."
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
# That is **LiRA** (Carlini et al. 2022). The attacker asks one model, the **target**, and trains others like it, the **shadow models**. For each
# record take the shadow models trained with it and those trained without it, fit a normal law to each group, and compare how likely both make the
# target's answer $s$:
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
# The last line refuses a number that one target cannot give: one false alarm in a thousand, counted on a few hundred non-members, is luck. So
# `leave_out` makes every model the target once, with the others as its shadows, and pools the scores. Pooled scores are not
# independent: all scores about one model share its training. The intervals below therefore draw *models* again, not records. (The models
# share their shadow models and one pool of records, too, which this cannot see: read the intervals as too narrow, and as being about this pool.)
#
# ## Measure it
#
# ### Seven attackers
#
# - **gap**: "member if the model is right" (the baseline: no shadow models, one query);
# - **loss**: the loss against one threshold for all (Yeom et al. 2018);
# - **Shokri**: per class, a small network learns to tell shadow models' answers about members from the others (Shokri et al. 2017);
# - **RMIA**: does the target favor this record, compared with reference models (with it and without) and with the rest of the pool
#   (Zarifzadeh et al. 2024)?
# - **LiRA offline**: only shadow models *without* the record: how far above them is the target?
# - **LiRA online**, with a variance for each record, or one for all.
#
# All of them know each record as it was entered, a wrong label included, and ask about it once. (LiRA's authors also ask about shifted
# and mirrored copies.)
#
# The **FPR** (false-positive rate) is the share of non-members that are called members, the **TPR** the share of members that are.
#
# > **Predict.** Sort the seven by AUC, the chance that a member scores higher than a non-member. Then by the TPR at an FPR of one in a thousand. Is
# > it the same order?

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
draws = lab.pick(quick=200, paper=200, smoke=20)


def cell(value, span, points):
    """A number and its interval, in points of a hundred or as a fraction."""
    write = (lambda v: f"{100 * v:.1f}") if points else (lambda v: f"{v:.3f}")
    return f"{write(value)} ({write(span[0])} to {write(span[1])})"


def compared(results, caption):
    """Show one row per attack, one column per number; return the 95 % intervals over models."""
    spans = {name: found.intervals(numbers, resamples=draws) for name, found in results.items()}
    columns = {
        what if what == "AUC" else f"{what}, %": [
            cell(number(found.roc), spans[name][what], what != "AUC")
            for name, found in results.items()
        ]
        for what, number in numbers.items()
    }
    caption = f"{caption} scores of non-members, {len(members)} target models"
    table({"attack": list(results)} | columns, caption=f"{caption}; 95 % intervals over models")
    return spans


_ = compared(results, f"all records: {int((~members).sum()):,}")

# %% [markdown]
# The wrong labels are ours, and they are easy prey. So **from here on they are left out of the count**, among members and non-members alike, unless
# the text says otherwise. The models were still trained on them, and the attacks still see them. The same table again:


# %%
def only(found, chosen):
    """The part of a result that is about the chosen records of the pool."""
    some = chosen[found.records]
    kept = (found.scores, found.members, found.targets, found.records, found.units)
    return MembershipResult(*(values[some] for values in kept))


right_label = ~mislabelled
honest = {name: only(found, right_label) for name, found in results.items()}
right_out = int((~honest["loss"].members).sum())
honest_spans = compared(honest, f"right labels only: {right_out:,}")

# %% tags=["hide-input"]
strict = list(numbers)[3]
for name in ("loss", "LiRA online"):
    value, span = numbers[strict](honest[name].roc), honest_spans[name][strict]
    record(f"{strict}, right labels only, {name}", value, interval=span, unit="%")

# %%
from labkit.reporting import roc_curves

grid = [0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.03, 0.1, 0.3, 1.0]
grid = [rate for rate in grid if rate * right_out >= 5]
shown = ("loss", "Shokri", "RMIA", "LiRA offline", "LiRA online", "LiRA, one variance")
bands = {}
for name in ("loss", "LiRA, one variance"):
    at = {rate: partial(lambda roc, rate: roc.tpr_at(rate), rate=rate) for rate in grid}
    edges = honest[name].intervals(at, resamples=draws)
    bands[name] = (grid, [low for low, _ in edges.values()], [high for _, high in edges.values()])
roc_curves(
    {name: (honest[name].roc.fpr, honest[name].roc.tpr) for name in shown},
    start=grid[0],
    bands=bands,
)

# %% tags=["hide-input"]
by = {
    what: sorted(honest, key=lambda name: -numbers[what](honest[name].roc))
    for what in ("AUC", strict)
}
best = by[strict][0]
rates = {
    (which, name): numbers[strict](found[name].roc)
    for which, found in (("right", honest), ("all", results))
    for name in ("loss", best)
}
say(
    f"By AUC: {'; '.join(by['AUC'])}. By the strict rate: {'; '.join(by[strict])}. (Neighbors whose intervals overlap may change places in "
    f"another run.) At {fewer:.1%} false alarms, where guessing finds {fewer:.1%} of the members, the loss threshold finds {rates['right', 'loss']:.2%} "
    f"and {best} {rates['right', best]:.2%}; with the wrong labels counted {rates['all', 'loss']:.2%} and {rates['all', best]:.2%}. An average over all "
    "records hides the few of whom the attacker is certain; on the logarithmic axes they have room. The shaded bands are 95 % intervals, drawn "
    f"for two of the attacks. (The gap attack has one threshold only, at an FPR of {float(honest['gap'].roc.fpr[1]):.0%}: whoever asks for less "
    "gets nothing.)"
)

# %% [markdown]
# ### What a shadow model buys
#
# Shadow models are the price of the attack. RMIA was made to live with one or two of them; LiRA has a mean and a variance to learn from them.
#
# > **Predict.** With four shadow models, which is better: a variance for each record, or one for all?

# %%
from typing import NamedTuple


class Estimate(NamedTuple):
    """A number with its interval, as the charts take it."""

    value: float
    interval: tuple


def first_few(attack, size):
    """The same attack with fewer shadow models (complementary pairs stay together)."""
    return lambda targets, others, inside: attack(targets, others[:size], inside[:size])


def judged(attack, answers):
    """Attack every model with the others; keep the scores of the records that count."""
    return only(leave_out(attack, answers, members), right_label)


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
        found = judged(first_few(attack, size), answers)
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
pair_only = judged(first_few(rmia, 2), log_p).tpr_at(few)
ends = [
    ", ".join(f"{name} {found[end].value:.1%}" for name, found in bought.items())
    for end in (0, -1)
]
say(
    f"With {every[0]} shadow models LiRA and RMIA find: {ends[0]}. With {every[-1]}: {ends[1]}. RMIA with only two models, one that had the record and one that had not, finds "
    f"{pair_only:.1%}. Offline attacks may train their shadow models before they know whom they will ask about; online ones have to train with the record itself."
)

# %% [markdown]
# ### Who is at risk?
#
# The score of a record, averaged over the models that had it, minus the average over those that had not: how much it betrays itself. All
# records count again. Top row: the most exposed of the pool; crosses mark wrong labels. Middle row: the most exposed with a right label. Bottom row,
# for comparison: from the middle of the list.

# %%
from labkit.reporting import image_row

strictest = results["LiRA online"]
order = strictest.exposure().argsort(descending=True)
ranked = (order[:6], order[right_label[order]][:6], order[count // 2 : count // 2 + 6])
three_rows = torch.cat(ranked)
titles = [f"as {int(label)}" for label in y[three_rows]]
image_row(x[three_rows], titles, wrong=mislabelled[three_rows].tolist(), per_row=6, size=1.0)

# %%
from labkit.rates import Rate

top = mislabelled[order[: len(wrong)]]
threshold = strictest.roc.thresholds[strictest.roc.fpr <= fewer][-1]
caught = strictest.called(float(threshold)) & strictest.members
of_wrong = mislabelled[strictest.records]
shares = {
    name: Rate(int((caught & chosen).sum()), int((strictest.members & chosen).sum()), "members")
    for name, chosen in (("wrong labels", of_wrong), ("all other records", ~of_wrong))
}

# %% tags=["hide-input"]
record("wrong labels among the most exposed records", int(top.sum()), note=f"of {len(top)}")
say(
    f"Of the {len(top)} most exposed records {int(top.sum())} have a wrong label; of all {count} in the pool, {len(wrong)}. At {fewer:.1%} false "
    f"alarms LiRA finds {float(shares['wrong labels']):.0%} of the {shares['wrong labels'].n:,} members with a wrong label and "
    f"{float(shares['all other records']):.1%} of the {shares['all other records'].n:,} others (each record counts once for every model that "
    f"had it). So {shares['wrong labels'].k:,} of the {int(caught.sum()):,} members that it finds are mistakes that we planted, "
    "and that is why the later tables leave them out. What a model cannot explain by the other records it must learn by heart, and "
    "what it learns by heart it gives away: privacy is lost by the unusual first. An average over everybody says little about them."
)

# %% [markdown]
# ### The cause: overfitting, in doses
#
# The **gap** is the accuracy on a model's own records minus that on the others (right labels only). Three ways to change it: train longer,
# train on more records, or punish large weights. Each point below is a group of models, attacked by the loss threshold and by RMIA, which lived
# well with few models, with shadow models that were trained like the targets. (The points of the epochs are half of the models from above, at earlier times.)
#
# > **Predict.** Does the smallest gap mean the smallest risk? Is anything found where the gap is nearly zero?


# %%
test, half = load("digits").test, lab.pick(quick=24, paper=24, smoke=8)


def dose(models, x, y, counted):
    """What a group of models gives away: numbers, with intervals over the models."""
    said, inside, pairs = models.logits(x), models.members, torch.arange(len(models)) // 2
    hit, own = (said.argmax(2) == y).double()[:, counted], inside[:, counted]
    measured = {"gap": float(hit[own].mean() - hit[~own].mean())}
    measured["test"] = float((models.logits(test.x).argmax(2) == test.y).double().mean())
    log_p = log_probability(said, y)
    everyone = leave_out(rmia, log_p, inside)
    found = {"loss": MembershipResult.of(log_p, inside, units=pairs), "RMIA": everyone}
    found = {name: only(attacked, counted) for name, attacked in found.items()}
    for name, number in (("loss", numbers["AUC"]), ("RMIA", at_few)):
        span = found[name].interval(number, resamples=draws // 2)
        measured[name] = Estimate(number(found[name].roc), span)
    threshold = found["RMIA"].roc.thresholds[found["RMIA"].roc.fpr <= few][-1]
    measured["wrong"] = float(only(everyone, ~counted).recall(float(threshold)))
    return measured


# %%
def group(records, **settings):
    """Models trained on half of a part of the pool, and what they give away."""
    part = torch.arange(records) * count // records
    design = balanced_members(half, records, SEED)
    models = train_shadows(build, x[part], y[part], design, seed=SEED, **settings)
    return dose(models, x[part], y[part], right_label[part])


sizes = lab.pick(quick=(200, 400), paper=(200, 400), smoke=(120,))
decays = lab.pick(quick=(1e-3, 1e-2), paper=(1e-3, 1e-2), smoke=(1e-2,))
as_many = shadows.first(half)
doses = {
    "epochs": {e: dose(as_many.at(e), x, y, right_label) for e in (*kept, 40)},
    "records": {n // 2: group(n) for n in sizes},
    "weight decay": {w: group(count, weight_decay=w) for w in decays},
}

# %%
fig = Figure(figsize=(7.2, 3.4), layout="constrained")
titles = {"loss": "AUC of the loss threshold", "RMIA": f"members RMIA finds at {few:.0%} FPR, %"}
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
    axes.set_ylim(bottom=0 if attacker == "RMIA" else None)
    axes.legend(fontsize=8.5, frameon=False)

# %%
flat = [(cause, k, point) for cause, points in doses.items() for k, point in points.items()]
columns = {
    "changed": [cause for cause, _, _ in flat],
    "to": [f"{k:g}" for _, k, _ in flat],
    "gap, points": [f"{100 * p['gap']:.1f}" for _, _, p in flat],
    "AUC, loss": [f"{p['loss'].value:.3f}" for _, _, p in flat],
    "TPR, RMIA, %": [f"{100 * p['RMIA'].value:.1f}" for _, _, p in flat],
    "test accuracy, %": [f"{100 * p['test']:.1f}" for _, _, p in flat],
}
alt = "What the loss threshold and RMIA find against the gap, for three ways to change the gap."
show(fig, alt=alt, data=columns)


# %% tags=["hide-input"]
calm, *_, wild = sorted((p for _, _, p in flat), key=lambda p: p["gap"])
early, later = doses["epochs"][1], doses["epochs"][5]
say(
    f"At the smallest gap ({100 * calm['gap']:.1f} points) the loss threshold has an AUC of {calm['loss'].value:.3f} and RMIA finds "
    f"{calm['RMIA'].value:.2%} (95 % interval {calm['RMIA'].interval[0]:.2%} to {calm['RMIA'].interval[1]:.2%}), where guessing finds {few:.0%}. "
    f"At the largest ({100 * wild['gap']:.1f} points) it is {wild['loss'].value:.3f}, and {wild['RMIA'].value:.1%}. "
    f"Now compare two points: after 1 epoch the gap is {100 * early['gap']:.1f} points and RMIA finds {early['RMIA'].value:.1%}; after 5 epochs "
    f"{100 * later['gap']:.1f} points and {later['RMIA'].value:.1%}."
)

# %% [markdown]
# ## Fix it: what helps, and what only hides the numbers
#
# First, **say less**. Here are all models behind an `Endpoint`: with all digits, softened (logits divided by ten), rounded, or with labels
# only. The careless attacker takes the loss of what is said. LiRA multiplies softened log-probabilities by ten again, and otherwise lets its *shadow
# models speak the same way* and compares like with like.
#
# Labels alone are a signal too: right or wrong. Who may ask more often asks about noisy copies of the record, and counts how much noise the right
# answer survives (Choquette-Choo et al. 2021). How much noise to add is the attacker's choice.
#
# > **Predict.** Which of these services is safest? Is any of them worse than saying all digits?

# %%
from labkit.attacks.membership import noise_margin
from labkit.endpoint import Endpoint

# divide logits by, options of the service
services = {
    "all digits": (1, {}),
    "softened": (10, {}),
    "two decimals": (1, {"decimals": 2}),
    "one decimal": (1, {"decimals": 1}),
}


def heard(index, softening, options):
    """What one model's service says of the pool, as log-probabilities: one query per record."""
    model = shadows.model(index)
    return Endpoint(lambda z: model(z) / softening, **options).as_model()(x)


careless, adapted, highest = {}, {}, {}
for name, (softening, options) in services.items():
    said = torch.stack([heard(m, softening, options) for m in range(len(members))])
    heard_by_all = MembershipResult.of(log_probability(said, y), members, units=units)
    careless[name] = only(heard_by_all, right_label)
    measured = logit_score(softening * said, y)
    highest[name] = float(measured.max())
    adapted[name] = 1, judged(strong, measured)

# %% [markdown]
# Next the labels: asked once, then with two amounts of noise.

# %%
copies = lab.pick(quick=16, paper=16, smoke=2)


def labels_of(z):
    """All models' labels: each has a service of its own in life."""
    return shadows.logits(z).argmax(2)


adapted["labels, asked once"] = 1, judged(strong, correct(logits, y))
for sigma in (0.1, 0.25):
    margin = noise_margin(labels_of, x, y, sigma=sigma, copies=copies, seed=SEED)
    adapted[f"labels, noise {sigma}"] = copies, judged(strong, margin)
careless |= {name: honest["gap"] for name in adapted if name not in careless}

# %%
table(
    {
        "the service says": list(adapted),
        "careless: AUC": [f"{found.auc:.3f}" for found in careless.values()],
        f"careless: TPR at {few:.0%} FPR, %": [
            f"{100 * found.tpr_at(few):.1f}" for found in careless.values()
        ],
        "LiRA: queries": [queries for queries, _ in adapted.values()],
        "LiRA: AUC": [f"{found.auc:.3f}" for _, found in adapted.values()],
        f"LiRA: TPR at {few:.0%} FPR, %": [
            cell(found.tpr_at(few), found.interval(at_few, resamples=draws // 2), True)
            for _, found in adapted.values()
        ],
    },
    caption="right labels only; careless: the loss of what is said, or with labels the gap attack",
)

# %% [markdown]
# Whoever hears all digits can round them, too: rounding cannot tell an attacker more. If LiRA finds more through two decimals than through all
# digits, then its use of the digits is at fault. A test: keep all digits, and cut the scale off where two decimals end it.

# %%
end = highest["two decimals"]
cut_off = judged(strong, signal.clamp(max=end))

# %% tags=["hide-input"]
said_by = {name: found.tpr_at(few) for name, (_, found) in adapted.items()}
say(
    f"At {few:.0%} false alarms LiRA finds {said_by['all digits']:.1%} of the members when it hears all digits, {said_by['softened']:.1%} when it "
    f"undoes the softening, {said_by['two decimals']:.1%} and {said_by['one decimal']:.1%} through two decimals and one. "
    f"With all digits, cut off at {end:.1f}, it finds {cut_off.tpr_at(few):.1%}: beyond that point this LiRA, with one variance for all, "
    f"{'loses more by the differences than it learns from them' if cut_off.tpr_at(few) > said_by['all digits'] else 'still learns something'}. "
    f"(RMIA compares probabilities, which end at one; from all digits it finds {honest['RMIA'].tpr_at(few):.1%}.)"
)
say(
    f"From labels it finds {said_by['labels, asked once']:.1%} for one query a record, and for {copies} queries {said_by['labels, noise 0.1']:.1%} "
    f"with noise of 0.1 and {said_by['labels, noise 0.25']:.1%} with 0.25. An attack with the wrong amount of noise makes the service look "
    "safer than it is. (We picked 0.1 on these same models: a finer choice was not made.) What the model remembers is the same in every row."
)

# %% [markdown]
# Second, **train otherwise**. Stopping early and weight decay shrink what is learned by heart. Some points of the figure above again,
# with what they cost in accuracy on digits that no model had. The last column: of the members with a *wrong* label, how many RMIA finds at the
# threshold of the column before. (These groups have half as many models as the first tables: compare the rows with each other.)

# %%
picked = {f"{e} epochs": doses["epochs"][e] for e in (40, 10, 5)}
picked |= {f"weight decay {w:g}": point for w, point in doses["weight decay"].items()}
table(
    {
        "training": list(picked),
        "test accuracy, %": [f"{100 * p['test']:.1f}" for p in picked.values()],
        "gap, points": [f"{100 * p['gap']:.1f}" for p in picked.values()],
        f"RMIA's TPR at {few:.0%} FPR, %": [cell(*p["RMIA"], True) for p in picked.values()],
        "wrong labels found, %": [f"{100 * p['wrong']:.0f}" for p in picked.values()],
    }
)

# %% tags=["hide-input"]
base = picked["40 epochs"]
safest = min(picked, key=lambda name: picked[name]["RMIA"].value)
best_row = max(picked, key=lambda name: picked[name]["test"])
say(
    f"The safest row here ({safest}) takes RMIA from {base['RMIA'].value:.1%} to {picked[safest]['RMIA'].value:.1%} and test accuracy "
    f"from {base['test']:.1%} to {picked[safest]['test']:.1%} (mean over the models, on {len(test)} digits); the wrong labels found go from "
    f"{base['wrong']:.0%} to {picked[safest]['wrong']:.0%}. The most accurate row is {best_row}. None of these rows is a promise: a better attack "
    "may find what this one missed."
)

# %% [markdown]
# | the owner | stops | does not stop |
# | --- | --- | --- |
# | softens | no attack: all digits can be turned back | every attack above |
# | rounds | a threshold on the loss at few false alarms, which was close to guessing before | shadow models that speak the same way |
# | says labels only | the same threshold | shadow models, even with one label per record; more labels tell more |
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
# many are. Compare it with the gap attack, which needs no shadow model: its precision is train accuracy / (train accuracy + test accuracy).
# (One target each, so the intervals below are over records: they say nothing of another training.)

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

if computing:
    gap_attack = MembershipResult(hit.double(), inside)
    record("Location: precision of the gap attack", gap_attack.precision(1.0))
    record("Location: recall of Shokri's attack", shokri_location.recall(0.0))


def gap_precision(data, outcomes):
    """The gap attack's precision by the paper's two accuracies, and by ours."""
    names, pairs = [f"{data}-{part}-accuracy" for part in ("train", "test")], {}
    told = [look_up("mia-shokri-table2", name)[1] for name in names]
    stored = [entry("mia-shokri-table2", name) for name in names]
    if all(told):
        pairs["the paper's"] = [figure.value for figure in told]
    if outcomes:
        pairs["our"] = [float(outcomes[name].double().mean()) for name in names]
    elif all(stored):
        pairs["our"] = [found["value"] for found in stored]
    return " and ".join(
        f"{own / (own + other):.3f} on {who} target" for who, (own, other) in pairs.items()
    )


bound = look_up("mia-shokri-table2", "location-attack-precision")[1]
bound = bound.tolerance["analogue"] if bound else "see above"
say(
    f"By the formula the gap attack has a precision of {gap_precision('location', location)}. The tolerance fixed for Shokri's attack "
    f"({bound}) begins close to that, so its lower bound is weak. Read the measured precision against the gap attack's, not against the bound."
)

# %% [markdown]
# **MNIST**, the row where little is found: 10,000 records for the target, as many for each of three shadow models. On the same target, the
# attack of **Yeom et al. 2018**: whoever has a loss of at most the average training loss is called a member; one query and no shadow model. Their
# network is another one, so this, too, is an analogue. The recall says how many training losses lie below their own mean: it depends on the network.

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

# %% tags=["hide-input"]
say(
    f"Here the gap attack has a precision of {gap_precision('mnist', mnist_found)}: read the precisions of both attacks against that."
)

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
# - Judge a defense by the strongest attack you have: one badly set knob makes any service look safe.
# - Overfitting is the cause on average. The unusual record is at risk even when the average looks safe.
# - Rounding and labels change the price of asking. Only training decides what there is to find.
#
# **Think about it.** A hospital wants to publish a model and asks you for one number that says "nobody is at risk". Which number would you refuse to give,
# and what would you offer instead?
#
# **Further reading.** Shokri et al. 2017 (arXiv 1610.05820): shadow models. Yeom et al. 2018 (arXiv 1709.01604): overfitting and advantage. Carlini et al.
# 2022 (arXiv 2112.03570): LiRA, and how to judge attacks. Zarifzadeh et al. 2024 (arXiv 2312.03262): RMIA. Choquette-Choo et al. 2021 (arXiv 2007.14321): labels only.
