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
# # 16. Poisoning
#
# **What you will be able to do**
#
# - falsify a chosen part of a training set and measure, with intervals, what it does to the model that learns from it;
# - differentiate *through training*: say in which direction one training point must move to hurt most;
# - make poisons whose labels are all true, and say when they work and when they do not;
# - judge a check of training data by an attacker who knows it.
#
# **You need** [chapter 10](10_evasion_gradient.ipynb). The models here are small; one chapter later the same access to the data plants a backdoor.

# %% tags=["parameters"]
PROFILE = "quick"
SEED = 0

# %%
from labkit.course import begin

lab = begin("16_poisoning", PROFILE, SEED)

# %% tags=["hide-input"]
from labkit.reporting import running_times

running_times()

# %% tags=["hide-input"]
import sklearn.linear_model  # loads the libraries that are limited below
import torch
from threadpoolctl import threadpool_limits

threadpool_limits(1)  # hundreds of tiny models: a second thread would only wait for the first
torch.set_num_threads(1)

# %% [markdown]
# ## The idea: a model believes its data
#
# An evasion attack leaves the model alone and changes the input. Poisoning does the reverse. The attacker reaches some *training* data, once: a clerk falsifies
# records, a scraper picks up a prepared image, a customer labels wrongly on purpose. The owner of the model does the rest, by training as always.
# Nothing about the patient who is misread later was ever touched.
#
# The running story: 569 real patients (the Wisconsin breast cancer data), and someone who writes "benign" into records of malignant tumors.

# %%
from sklearn.linear_model import LogisticRegression

from labkit.attacks.poisoning import PoisonedData, flip_labels
from labkit.data import load

tumors = load("tumors")
malignant, benign = tumors.classes.index("malignant"), tumors.classes.index("benign")
sick = int((tumors.train.y == malignant).sum())
half = flip_labels(tumors.train, sick // 2, source=malignant, target=benign, seed=SEED)
two = [tumors.features.index(name) for name in ("worst radius", "worst concave points")]


def on_two_features(split):
    """Train a logistic regression on two of the thirty measurements; return it as a model."""
    machine = LogisticRegression(C=100.0).fit(split.x[:, two].numpy(), split.y.numpy())
    weight, bias = (
        torch.from_numpy(part).float() for part in (machine.coef_, machine.intercept_)
    )
    return lambda z: torch.cat([torch.zeros(len(z), 1), z @ weight.T + bias], dim=1)


# %%
from labkit.reporting import decision_regions

some = tumors.test.subset(90)
decision_regions(
    {
        "trained on true records": on_two_features(tumors.train),
        "half the malignant falsified": on_two_features(half.data),
    },
    some.x[:, two],
    some.y,
    labels=("worst radius", "worst concave points"),
)

# %% [markdown]
# Blue circles are malignant tumors, orange squares benign ones, all of them new patients with their true labels; hollow marks are misread. The boundary
# moved into the malignant tumors, because for the model half of the records there said "benign".
#
# The result of every attack in this chapter is `PoisonedData`: what the victim trains on, which rows are poisoned, and what they were before. Its split
# has a *role*, so that nobody takes it for a clean baseline:

# %% tags=["nbval-check-output"]
print(half.rate.k, "of", half.rate.n, "records;", int(half.changed_y.sum()), "labels are false")
try:
    half.data.require("train", purpose="a clean baseline")
except ValueError as error:
    print(error)

# %%
from labkit.threats.catalogue import card

card("16_poisoning").show()

# %% [markdown]
# ## From scratch: what one training point does
#
# Which *direction* should a poison move? Take a support vector machine with labels $y_j = \pm 1$:
#
# $$f(z) = \sum_j \beta_j K(x_j, z) + b, \qquad \beta_j = \alpha_j y_j, \qquad 0 \le \alpha_j \le C.$$
#
# The attacker wants the hinge loss on validation data, $L = \sum_k \max(0, 1 - y_k f(z_k))$, to rise. When a training point $x_c$ moves, the trained machine moves too: $\beta$ and $b$ depend on $x_c$.
# Biggio, Nelson and Laskov (2012) read off how. The points *on the margin*, the set $S$ with $0 < \alpha_i < C$, satisfy $f(x_i) = y_i$ exactly; and $\sum_j \beta_j = 0$.
# Both hold before and after a move so small that no point enters or leaves the margin. So their derivatives vanish, and the third equation says what that does to the loss:
#
# $$K_{SS} \, d\beta_S + 1 \, db = -\beta_c \, dK_{Sc}, \qquad 1^T d\beta_S = 0, \qquad dL = -\sum_{k:\, y_k f(z_k) < 1} y_k \, df(z_k).$$
#
# No training is repeated: a linear system says what training *would* do. Here it is for a linear kernel, for the *mean* loss, and for a point at its bound $\alpha_c = C$, where poisons usually end up:

# %%
from sklearn.svm import SVC


def slope_from_scratch(x, y, c, z, y_z):
    """Return dL/dx_c, retraining included: linear SVM, C = 1; L is the mean hinge loss on z."""
    machine = SVC(C=1.0, kernel="linear", tol=1e-8).fit(x, y)
    beta = torch.zeros(len(x)).double()
    beta[machine.support_] = torch.from_numpy(machine.dual_coef_[0])
    S = ((beta.abs() > 1e-9) & (beta.abs() < 1 - 1e-9)).nonzero().squeeze(1)
    f = z @ x.T @ beta + float(machine.intercept_[0])
    pull = torch.where(y_z * f < 1, -y_z, 0.0) / len(z)  # dL/df
    system = torch.ones(len(S) + 1, len(S) + 1).double()
    system[:-1, :-1], system[-1, -1] = x[S] @ x[S].T, 0.0
    slope = torch.zeros_like(x[c])
    for d in range(x.shape[1]):  # move x_c along coordinate d: dK(x_i, x_c) = x_i[d]
        right = -torch.cat([beta[c] * x[S, d], torch.zeros(1).double()])
        change = torch.linalg.solve(system, right)
        df = z @ x[S].T @ change[:-1] + change[-1] + beta[c] * z[:, d]
        slope[d] = pull @ df
    return slope


# %% [markdown]
# ## With labkit
#
# `poison_gradient` does it for both kernels and for any row, with one solve for all coordinates. Both must agree with each other, and with the honest but slow way:
# move the point a little, *train again*, look at the loss.

# %%
from labkit.attacks.poisoning import poison_gradient
from labkit.attacks.poisoning.svm import kernel, solve
from labkit.seeding import generator


def cloud(count, name):
    """Two overlapping clouds of points in five dimensions, labels -1 and 1."""
    y = torch.where(torch.arange(count) % 2 == 0, -1.0, 1.0).double()
    x = torch.randn(count, 5, generator=generator(SEED, name), dtype=torch.float64)
    return x + 0.6 * y[:, None] * torch.tensor([1.0, 0.5, 0, 0, 0]).double(), y


(x, y), (z, y_z) = cloud(40, "training"), cloud(60, "validation")


def retrained(rows):
    """Train on these rows."""
    return solve(rows, y, kernel(rows, rows, None), 1.0, None, (0, 1), tol=1e-8)


trained = retrained(x)
c = int((trained.beta.abs() == 1).nonzero()[0])
loss, theirs = poison_gradient(trained, c, z, y_z)
ours, by_force, h = slope_from_scratch(x, y, c, z, y_z), torch.zeros(5).double(), 1e-5
for d in range(5):
    ends = [
        retrained(x.index_put((torch.tensor(c), torch.tensor(d)), x[c, d] + s)) for s in (h, -h)
    ]
    up, down = ((1 - y_z * m.decide(z)).clamp(min=0).mean() for m in ends)
    by_force[d] = (up - down) / (2 * h)

# %% tags=["nbval-check-output"]
print("from scratch and labkit:", torch.allclose(ours, theirs, atol=1e-5))
print("labkit and training again:", torch.allclose(theirs, by_force, atol=1e-5))

# %% [markdown]
# With the gradient, climb. In two dimensions you can see everything: the color is the validation loss *after training with a poison at that place*, computed by training
# once for each pixel. Each line is the path of one poison. It starts (dot) as another ordinary point with a flipped label; the star is the best place on its way.

# %%
from labkit.attacks.poisoning import fit_svm, poison_svm
from labkit.data.dataset import Split


def flat(count, role):
    """Two clouds in the plane, left and right."""
    y = torch.arange(count) % 2
    noise = torch.randn(count, 2, generator=generator(SEED + 3, "flat", role))
    x = torch.stack([3.0 * y - 1.5, torch.zeros(count)], dim=1) + noise
    return Split(x.clamp(-4, 4), y, role, f"flat {role}")


few, judge = flat(20, "train"), flat(400, "validation")
kernels = {"linear kernel": None, "RBF kernel": 0.5}
starts = few.x[few.y == 1][::3]
move = {"label": 0, "steps": 80, "step_size": 0.1, "bounds": (-4.0, 4.0)}
climbs = {
    name: [poison_svm(few, judge, gamma=g, start=start, **move) for start in starts]
    for name, g in kernels.items()
}

# %%
side = lab.pick(quick=20, paper=20, smoke=5)
ticks = torch.linspace(-4, 4, side)
surfaces = {}
for name, g in kernels.items():
    losses = [
        fit_svm(PoisonedData.adding(few, point[None], torch.tensor([0])).data, gamma=g).hinge(
            judge
        )
        for point in torch.cartesian_prod(ticks, ticks)
    ]
    surfaces[name] = torch.tensor(losses).reshape(side, side)

# %%
from matplotlib.figure import Figure

from labkit.reporting import PALETTE, show

fig = Figure(figsize=(7.2, 3.4), layout="constrained")
for axes, (name, surface) in zip(fig.subplots(1, 2), surfaces.items(), strict=True):
    colors = axes.imshow(surface.T, origin="lower", extent=(-4, 4, -4, 4), cmap="cividis")
    for label, marker in ((0, "o"), (1, "s")):
        color = PALETTE[label]
        axes.scatter(
            *few.x[few.y == label].T, s=26, marker=marker, color=color, edgecolor="white"
        )
    star = {"color": "white", "ms": 15, "markeredgecolor": "black", "clip_on": False}
    for climb in climbs[name]:
        path = climb.trace["path"][0]
        axes.plot(*path.T, color="white", lw=1.6)
        axes.plot(*path[0], "o", color="white", ms=7, markeredgecolor="black")
        axes.plot(*climb.data.x[-1], "*", **star)
    axes.set(title=name, xlabel="first value", ylabel="second value")
    axes.grid(visible=False)
    fig.colorbar(colors, ax=axes, shrink=0.85, label="validation loss")
tracks = {name: [one.trace["loss"][0] for one in found] for name, found in climbs.items()}
rise = {"kernel": [name for name, found in tracks.items() for _ in found]}
rise |= {"at the start": [float(t[0]) for found in tracks.values() for t in found]}
rise |= {"at the star": [float(t.max()) for found in tracks.values() for t in found]}
show(
    fig,
    alt="Validation loss after training with one poison at each place, for two kernels, with "
    f"the two classes and {len(starts)} paths of a poison, from flipped points (dots) to stars.",
    data=rise,
)

# %% tags=["hide-input"]
from labkit.reporting import record, say

for name, found in tracks.items():
    without = fit_svm(few, gamma=kernels[name]).hinge(judge)
    begins, tops = [float(t[0]) for t in found], [float(t.max()) for t in found]
    record(f"validation loss with one climbing poison, {name}, best start", max(tops))
    record(f"validation loss with one climbing poison, {name}, worst start", min(tops))
    say(
        f"With the {name} the loss is {without:.3f} without a poison. The {len(found)} flipped points have {min(begins):.3f} to {max(begins):.3f}, "
        f"their stars {min(tops):.3f} to {max(tops):.3f}. The highest of the {side * side} pixels has {float(surfaces[name].max()):.3f}; "
        "a star between two pixels may lie above it."
    )

# %% [markdown]
# The poison carries the label of the blue circles. Compare the stars with the highest pixel: where a climb ends depends on where it starts. The surface has more than one hill. It is flat where the poison
# is no support vector and has no gradient, and it has kinks where a point enters or leaves the margin. An attacker with time tries several starts and keeps the best.
#
# ## Measure it
#
# ### Falsified records, missed diagnoses
#
# Accuracy is the wrong number here. What counts is the **false-negative rate**: of the patients with a malignant tumor, how many does the model call benign? Four clerks falsify
# records. The share is of *all* records for the first clerk, and of the malignant ones for the other three; so at the same share the first falsifies more than twice as many:
#
# - *any record*: labels flipped both ways at random (an accident more than an attack);
# - *random malignant*: malignant becomes benign, chosen at random;
# - *nearest* and *farthest*: the malignant ones closest to the boundary of a clean model, and those deepest inside.
#
# > **Predict.** Which of the four does most harm? Where does the harm of *nearest* end up, compared with *random*?
#
# Each repetition draws the split into training and test patients anew *and* the falsified records. The bands are confidence intervals of the mean over repetitions: they say how much luck there is in the drawing, not what other
# hospitals would see.

# %%
import numpy as np

everyone = torch.cat([tumors.train.x, tumors.test.x]), torch.cat([tumors.train.y, tumors.test.y])


def patients(seed):
    """Draw 80 % of all patients for training, per class; scale by the training patients alone."""
    x, y = everyone
    keep = torch.zeros(len(y), dtype=torch.bool)
    for label in (malignant, benign):
        rows = (y == label).nonzero().squeeze(1)
        order = torch.randperm(len(rows), generator=generator(seed, "patients", label))
        keep[rows[order[: len(rows) * 4 // 5]]] = True
    z = (x - x[keep].mean(0)) / x[keep].std(0)
    number = torch.arange(len(y))
    train = Split(z[keep], y[keep], "train", "patients", number[keep])
    return train, Split(z[~keep], y[~keep], "test", "new patients", number[~keep])


def learn(split):
    """Logistic regression on all thirty measurements."""
    split.require("train", "poisoned", purpose="learning")
    return LogisticRegression(solver="newton-cholesky").fit(split.x.numpy(), split.y.numpy())


def missed(machine, test):
    """Which of the malignant tumors are called benign, (N,) booleans."""
    return machine.predict(test.x[test.y == malignant].numpy()) == benign


# %%
shares = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]
repeats = lab.pick(quick=20, paper=20, smoke=2)
orders = ("any record", "random malignant", "nearest", "farthest")
rates = {order: np.zeros((repeats, len(shares))) for order in orders}
alarms = {order: np.zeros((repeats, len(shares))) for order in orders}


def clerk(train, order, share, margins, seed):
    """Falsify: a share of all records, or of the malignant ones."""
    if order == "any record":
        return flip_labels(train, round(share * len(train)), seed=seed)
    count = round(share * int((train.y == malignant).sum()))
    ways = {"source": malignant, "target": benign, "seed": seed}
    if order == "random malignant":
        return flip_labels(train, count, **ways)
    return flip_labels(train, count, order=order, margins=margins, **ways)


for r in range(repeats):
    train, test = patients(SEED + r)
    signed = learn(train).decision_function(train.x.numpy()) * np.where(train.y == benign, 1, -1)
    for order in orders:
        for s, share in enumerate(shares):
            found = clerk(train, order, share, torch.from_numpy(signed), SEED + r)
            machine = learn(found.data)
            rates[order][r, s] = missed(machine, test).mean()
            healthy = test.x[test.y == benign].numpy()
            alarms[order][r, s] = (machine.predict(healthy) == malignant).mean()

# %%
from labkit.reporting import bootstrap, curve


def mean_of(values):
    """Means over the repetitions, and their 95 % bootstrap intervals."""
    spans = [bootstrap(np.mean, column, seed=SEED, resamples=500) for column in values.T]
    return values.mean(0).tolist(), tuple(map(list, zip(*spans, strict=True)))


summary = {order: mean_of(values) for order, values in rates.items()}
curve(
    shares,
    {order: mean for order, (mean, _) in summary.items()},
    bands={order: band for order, (_, band) in summary.items()},
    xlabel="share of records falsified (any record: of all; others: of the malignant ones)",
    ylabel="malignant tumors missed",
    unit="%",
)

# %% tags=["hide-input"]
at = shares.index(0.3)
for order, (mean, (low, high)) in summary.items():
    record(
        f"malignant tumors missed, 30 % falsified, {order}",
        mean[at],
        interval=(low[at], high[at]),
        n=repeats,
        unit="%",
    )
clean_mean, (clean_low, clean_high) = (
    summary["farthest"][0][0],
    (summary["farthest"][1][0][0], summary["farthest"][1][1][0]),
)
worst, mildest = (pick(orders[1:], key=lambda o: summary[o][0][at]) for pick in (max, min))
say(
    f"With true records {clean_mean:.1%} of the malignant tumors are missed (95 % interval of the mean {clean_low:.1%} to {clean_high:.1%}, "
    f"{repeats} repetitions with about 43 malignant test patients each). With 30 % of the malignant records falsified it is "
    + ", ".join(f"{summary[o][0][at]:.1%} ({o})" for o in orders[1:])
    + f"; {summary['any record'][0][at]:.1%} when 30 % of *all* labels are flipped at random, which falsifies "
    f"more than twice as many records. Of the three aimed clerks, '{worst}' does most harm and '{mildest}' least."
)
say(
    f"The other error: at 30 %, false alarms among benign tumors are {alarms['farthest'][:, at].mean():.1%} ('farthest') and "
    f"{alarms['random malignant'][:, at].mean():.1%} ('random malignant'), {alarms['farthest'][:, 0].mean():.1%} with true records; "
    f"for 'any record' they are {alarms['any record'][:, at].mean():.1%}."
)

# %% [markdown]
# Why does it matter *which* records? A likely reason: a model that was unsure near the boundary is not surprised by a wrong label there. A label that is wrong far inside its class pulls with all its weight: in logistic regression, each record pulls
# in proportion to the model's surprise. And flips that go *one way* move the boundary; flips both ways partly cancel, until, at half of all records, the labels say nothing any more.
#
# ### One patient
#
# The attacker may not want many errors but *one*: this patient's tumor shall be missed. The patient's own record is not in the training set, but the clerk knows it, and falsifies the malignant records *around* it,
# the most similar ones first. Only patients whom the clean model reads correctly are chosen, so with no falsified record none is missed, by construction; the chart begins at ten. (A few patients are drawn twice, in
# different repetitions; the intervals treat them as independent.)
#
# > **Predict.** Some 170 of 454 training records are malignant. How many must be falsified until half of such attacks succeed?

# %%
from labkit.rates import Rate

counts = [0, 10, 20, 30, 40, 60, 80]
victims = []
for r in range(lab.pick(quick=8, paper=8, smoke=1)):
    train, test = patients(SEED + r)
    called = torch.from_numpy(learn(train).predict(test.x.numpy()))
    found = ((test.y == malignant) & (called == malignant)).nonzero().squeeze(1)
    victims += [(train, test, int(i)) for i in found[:: len(found) // 4][:4]]

hits = {way: np.zeros((len(victims), len(counts)), dtype=bool) for way in ("around", "random")}
others = np.zeros((len(victims), len(counts)))
for v, (train, test, i) in enumerate(victims):
    for k, count in enumerate(counts):
        ways = {"source": malignant, "target": benign, "seed": SEED + v}
        near = flip_labels(train, count, order="around", around=test.x[i], **ways)
        for way, found in (("around", near), ("random", flip_labels(train, count, **ways))):
            machine = learn(found.data)
            hits[way][v, k] = machine.predict(test.x[i : i + 1].numpy())[0] == benign
            if way == "around":
                others[v, k] = missed(machine, test).mean()

# %%
chosen = {
    f"records {way}": [Rate(int(h.sum()), len(h), "patients") for h in m.T]
    for way, m in hits.items()
}
curve(
    counts[1:],
    {
        "most similar records": chosen["records around"][1:],
        "random records": chosen["records random"][1:],
    },
    xlabel="malignant records falsified",
    ylabel="chosen patients missed",
    unit="%",
)

# %% tags=["hide-input"]
k = counts.index(30)
record("chosen patient missed, 30 similar records falsified", chosen["records around"][k])
record("chosen patient missed, 30 random records falsified", chosen["records random"][k])
say(
    f"With 30 records falsified around the patient: {chosen['records around'][k]}. With 30 random malignant ones: {chosen['records random'][k]}. "
    f"The attack is not surgical: with those 30, {others[:, k].mean():.1%} of *all* malignant test patients are missed on average, the chosen one included; "
    f"{others[:, 0].mean():.1%} without."
)

# %% [markdown]
# The curve of the most similar records answers the question: look where it crosses the middle. The price is in the last sentence: the same model misses other patients too.
#
# ### One invented record
#
# Flips take inputs as they are. With `poison_svm` the attacker also chooses the input. Victim: a linear machine that tells two digits apart, 100 training images. *One* more image is
# added, with the label of the second digit. Baseline: the same image as it was, a plain flip of a random image. Each pair has only some 70 test images, the same in every draw:
# one image more or less is over one point of error, and the intervals cover the draw of the training images alone.


# %%
def pair(data, first, second, seed, size, judges):
    """Draw training and validation images of two digits; the test images are held out by the data set."""
    parts = (data.train, data.test)
    pool, test = (part.take((part.y == first) | (part.y == second)) for part in parts)
    order = torch.randperm(len(pool), generator=generator(seed, "pair", first, second))
    train, validation = pool.take(order[:size]), pool.take(order[size : size + judges])
    return train, validation.as_role("validation"), test


def wrong_on(split, test):
    """The share of test images that a linear machine trained on this split gets wrong."""
    return float((fit_svm(split).predict(test.x) != test.y).double().mean())


def one_point(data, pairs, seeds, size, judges, steps, step_size):
    """Return, for each pair, the test errors (seeds, 3): clean, one flip, one poison; and one poisoned set."""
    errors, example = {}, {}
    for first, second in pairs:
        rows = []
        for seed in seeds:
            train, validation, test = pair(data, first, second, seed, size, judges)
            ways = {"label": second, "seed": seed, "step_size": step_size}
            flip = poison_svm(train, validation, steps=0, **ways)
            made = poison_svm(train, validation, steps=steps, **ways)
            rows.append([wrong_on(split, test) for split in (train, flip.data, made.data)])
            example.setdefault(f"{first} or {second}", made)
        errors[f"{first} or {second}"] = np.array(rows)
    return errors, example


# %%
digits, pairs = load("digits"), ((7, 1), (9, 8), (4, 0))
again = range(SEED, SEED + lab.pick(quick=5, paper=5, smoke=1))
steps = lab.pick(quick=60, paper=60, smoke=2)
errors, example = one_point(digits, pairs, again, 100, 150, steps, 0.2)

# %%
from labkit.reporting import image_row, table

images, titles = [], []
for one in example.values():
    images += [one.original_x[-1], one.data.x[-1]]
    before, after = int(one.original_y[-1]), int(one.data.y[-1])
    titles += [f"a {before}, as it was", f"the poison,\ncalled {after}"]
image_row(
    torch.stack(images),
    titles,
    alt="Three digits as they were, each followed by the poison made from it: "
    + ", ".join(errors),
)

# %%
from labkit.reporting import percent


def with_interval(values):
    """A mean over repetitions and its bootstrap interval, as text."""
    low, high = bootstrap(np.mean, values, seed=SEED, resamples=500)
    return f"{percent(values.mean())} ({percent(low)} to {percent(high)})"


columns = ("clean", "one flipped label", "one poison")
fresh = [len(pair(digits, *two_digits, SEED, 100, 150)[2]) for two_digits in pairs]
table(
    {"pair": list(errors)}
    | {c: [with_interval(e[:, i]) for e in errors.values()] for i, c in enumerate(columns)},
    caption=f"test error of a linear SVM on {min(fresh)} to {max(fresh)} test images; 101 training images, "
    f"means over {len(again)} draws with 95 % intervals",
)

# %% tags=["hide-input"]
overall = np.concatenate(list(errors.values())).mean(0)
for column, value in zip(columns, overall, strict=True):
    record(f"SVM test error, three pairs of digits, {column}", float(value), unit="%")
say(
    f"One image in 101. Over the three pairs the mean error is {overall[0]:.1%} without it, {overall[1]:.1%} with a flipped label and "
    f"{overall[2]:.1%} with the poison. Each poison cost {int(example['7 or 1'].costs['trainings'])} trainings of the machine. These images "
    "have 64 pixels; the same attack on MNIST, with 784, is at the end of the chapter."
)

# %% [markdown]
# The poison is hardly a digit any more: gray and bright pixels stand where nobody writes. The box of pixel values is the only thing that held it.
#
# ### Labels that are all true
#
# A falsified label can be found by anyone who looks. **Clean-label** poisons carry the label that a person would give. The trick of **feature collision** (Shafahi et al. 2018): many owners do not
# train a network; they take a published one, freeze it, and train a new last layer on its features $f$. So make an image that looks like the *base* $b$ and has the features of the *target* $t$:
#
# $$\min_x \; \lVert f(x) - f(t) \rVert^2 + \beta \lVert x - b \rVert^2.$$
#
# Labelled as what it looks like, it drags the last layer's boundary across the target. Our owner takes the course's sign reader, cuts off its last layer, and trains a new one: stop sign, or limit 50?

# %%
from labkit.attacks.poisoning import collide
from labkit.threats import Linf
from labkit.zoo import signs_classifier

signs, reader = load("signs"), signs_classifier(SEED).model.cpu()
features = reader[:-1]  # everything but the last layer: 1,024 features
stop, limit = signs.classes.index("stop"), signs.classes.index("speed limit 50")
trials = lab.pick(quick=24, paper=24, smoke=3)
targets, bases = (
    signs.test.take(signs.test.y == label).subset(trials).x for label in (stop, limit)
)
budgets = {"within 16/255": (Linf(16 / 255), 0.0), "beta alone": (Linf(), 0.1)}
made, traces = {}, {}
for name, (threat, beta) in budgets.items():
    made[name], traces[name] = collide(
        features, bases, targets, beta=beta, steps=100, step_size=1e-4, threat=threat
    )


def lengths(images):
    """How far images are from their bases (L2), shape (N,)."""
    return (images - bases).flatten(1).norm(dim=1)


noise = (torch.rand(bases.shape, generator=generator(SEED, "noise")) - 0.5).sign() * 16 / 255
made["random noise"], wanted = (bases + noise).clamp(0, 1), lengths(made["beta alone"])
for _ in range(20):  # what the box cuts off is made up for by longer noise
    noise = noise * (wanted / lengths((bases + noise).clamp(0, 1))).view(-1, 1, 1, 1)
made["noise as long as beta alone"] = (bases + noise).clamp(0, 1)

# %%
shown = torch.stack([bases[0], made["within 16/255"][0], made["beta alone"][0], targets[0]])
image_row(
    shown,
    ["base: limit 50", "poison, 16/255", "poison, by beta", "target: stop"],
    per_row=4,
    alt="Four traffic signs: the base, a limit 50; the two poisons made from it; the target, a stop.",
)

# %% [markdown]
# The sign is still round, red and white, and you would label both poisons as a limit. But the changes are easy to see on so small an image. The second poison has no limit on a single pixel, and some of its pixels change
# several times as much as 16/255: `beta` is a price, not a bound. This is how far their features came:

# %%
gaps = {name: t["features"].mean(1).tolist() for name, t in traces.items()}
curve(range(101), gaps, xlabel="step", ylabel="distance to the target's features")

# %% [markdown]
# And this is what the *intact* reader, with its own last layer, takes the poisons for. Anybody who has it can look:

# %%
with torch.no_grad():
    taken_for = {
        name: reader(images).argmax(1) for name, images in {"the bases": bases, **made}.items()
    }
called_stop = {
    name: Rate(int((calls == stop).sum()), trials, "images") for name, calls in taken_for.items()
}
table(
    {
        "images": list(called_stop),
        "mean L2 change": ["-", *(f"{float(lengths(x).mean()):.2f}" for x in made.values())],
        "the intact reader says stop": [f"{r.k} of {r.n}" for r in called_stop.values()],
    }
)

# %% tags=["hide-input"]
for name, rate in called_stop.items():
    record(f"the intact reader says stop, {name}", rate)
record("mean L2 change, beta alone", float(wanted.mean()))

# %% [markdown]
# An owner who lets the published network read new images sees where label and answer disagree. Noise of the same length is the control: it is not the size of the change that does it.
#
# Now the owner's side. The poison joins the training images, labelled "limit 50", as it looks. Success: the retrained last layer calls the target, an unchanged stop sign that nobody trained on, a limit.
#
# > **Predict.** The paper reports that one poison always suffices. On what does that depend: how many training images there are? How strictly the last layer fits them?


# %%
def last_layer(images_per_class, C):
    """Return a function: a poison (None: none) and targets -> which targets are called a limit?"""
    rows = [
        (signs.train.y == label).nonzero().squeeze(1)[:images_per_class]
        for label in (stop, limit)
    ]
    with torch.no_grad():
        known = features(signs.train.x[torch.cat(rows)])
    scale = 10 / known.norm(dim=1).mean()
    y = np.repeat([0, 1], [len(part) for part in rows])

    def caught(poison, targets):
        x, labels = known * scale, y
        with torch.no_grad():
            asked = features(targets) * scale
            if poison is not None:
                x, labels = torch.cat([x, features(poison[None]) * scale]), np.append(y, 1)
        machine = LogisticRegression(C=C, max_iter=300).fit(x.numpy(), labels)
        return machine.predict(asked.numpy()).astype(bool).tolist()

    return caught


# %%
sizes = lab.pick(quick=(50, 200, 450), paper=(50, 200, 450), smoke=(50,))
penalties = {"fits all": 1000.0, "regularized": 1.0}  # C of the logistic regression
transfer = {}
for kind, C in penalties.items():
    for size in sizes:
        judge_it = last_layer(size, C)
        transfer["no poison", kind, size] = Rate(sum(judge_it(None, targets)), trials, "targets")
        for name, poisons in made.items():
            if name in budgets or size == sizes[0]:
                fell = [judge_it(p, t[None])[0] for p, t in zip(poisons, targets, strict=True)]
                transfer[name, kind, size] = Rate(sum(fell), trials, "targets")
            if (name, kind, size) == ("beta alone", "fits all", sizes[0]):
                as_the_paper = torch.tensor(fell)

# %%
curve(
    [2 * size for size in sizes],
    {
        f"{name}, {kind}": [transfer[name, kind, size] for size in sizes]
        for name in budgets
        for kind in penalties
    },
    xlabel="training images of the last layer",
    ylabel="targets misread after one poison",
    unit="%",
)

# %% tags=["hide-input"]
for key, rate in transfer.items():
    record(f"targets misread, {key[0]}, {key[1]}, {2 * key[2]} images", rate)
easy = transfer["beta alone", "fits all", sizes[0]]
hard = transfer["within 16/255", "regularized", sizes[-1]]
say(
    f"One poison. Where the last layer fits {2 * sizes[0]} images with 1,024 features exactly: {easy}. With {2 * sizes[-1]} "
    f"images, a regularized layer and a poison within 16/255: {hard}. Controls, {2 * sizes[0]} images fitted exactly: without a poison "
    f"{transfer['no poison', 'fits all', sizes[0]]}; a base with random noise of 16/255 {transfer['random noise', 'fits all', sizes[0]]}; "
    f"with random noise as long as the poisons by beta alone {transfer['noise as long as beta alone', 'fits all', sizes[0]]}."
)

# %% [markdown]
# The same attack, and anything from always to hardly ever. A layer with more features than images can carve out one point, and where the poison comes close enough, more images alone help little. A regularized layer, with many images, has to be convinced. A success rate of poisoning means nothing
# without the victim's training beside it (Schwarzschild et al. 2021 made that a benchmark).
#
# ### The owner trains everything
#
# And if the owner trains the *whole* network? Then the features that the poison was made for do not exist any more. The same poisons ("beta alone"), half of the targets, a network trained from scratch. It is a mild test: one poison at a time.
# For networks that are trained as a whole, the authors use many poisons for one target, each with a faint copy of the target blended in.

# %%
from labkit.models import small_convnet
from labkit.training import fit

half_of_them = range(0, trials, 2)
chosen_rows = [(signs.train.y == label).nonzero().squeeze(1)[:100] for label in (stop, limit)]
own = signs.train.take(torch.cat(chosen_rows))
recipe = {
    "epochs": lab.pick(quick=10, paper=10, smoke=1),
    "batch_size": 32,
    "learning_rate": 3e-3,
}


def trained_from_scratch(split, seed):
    """A whole network of the reader's kind, fresh weights."""
    return fit(
        small_convnet(seed=seed), split, seed=seed, device="cpu", label="victim", **recipe
    ).model


clean_victim = trained_from_scratch(own, SEED)
scratch, control = [], []
for i in half_of_them:
    poison = made["beta alone"][i : i + 1]
    attacked = PoisonedData.adding(own, poison, torch.tensor([limit]), base_x=bases[i : i + 1])
    victim = trained_from_scratch(attacked.data, SEED)
    scratch.append(int(victim(targets[i : i + 1]).argmax()) == limit)
    control.append(int(clean_victim(targets[i : i + 1]).argmax()) == limit)

# %%
from labkit.reporting import bar_chart

frozen = last_layer(100, 1000.0)
on_frozen = [frozen(made["beta alone"][i], targets[i : i + 1])[0] for i in half_of_them]
untouched_layer = frozen(None, targets[::2])
ends = {
    "frozen features": Rate(sum(on_frozen), len(on_frozen), "targets"),
    "frozen, no poison": Rate(sum(untouched_layer), len(on_frozen), "targets"),
    "trained from scratch": Rate(sum(scratch), len(scratch), "targets"),
    "from scratch, no poison": Rate(sum(control), len(control), "targets"),
}
bar_chart(ends, xlabel="targets misread as limit 50 (200 training images)")

# %% tags=["hide-input"]
for name, rate in ends.items():
    record(f"feature collision, {name}", rate)
say(
    f"On frozen features: {ends['frozen features']}; without a poison {ends['frozen, no poison']}. Trained from scratch: {ends['trained from scratch']}; "
    f"without a poison {ends['from scratch, no poison']}, where one clean network reads all of them."
)

# %% [markdown]
# ### Gradient matching
#
# To survive training from scratch, aim at what all trainings share: the *gradient*. If the poisons' gradient points where the gradient of a mislabelled target would point,
# every step on the poisons is a step towards the error (Geiping et al. 2021, "Witches' Brew"). So the attacker maximizes a cosine, on a model of their own:
#
# $$\max_{\lVert \delta \rVert_\infty \le \varepsilon} \; \cos\Bigl( \nabla_\theta \tfrac{1}{P} \sum_i \ell(x_i + \delta_i, y_i), \; \nabla_\theta \ell(t, y_{\text{wish}}) \Bigr).$$
#
# Where the answer is known: a copy of the target with the wished label has the cosine one; on two classes, the true label has exactly minus one.

# %% tags=["nbval-check-output"]
from labkit.attacks.poisoning import alignment, gradient_matching
from labkit.models import linear, mlp

toy, t = linear(64, 2, seed=1), digits.test.x[0]
print(
    "the target itself, wished label:", round(alignment(toy, t[None], torch.tensor([1]), t, 1), 4)
)
print(
    "the target itself, other label: ", round(alignment(toy, t[None], torch.tensor([0]), t, 1), 4)
)

# %% [markdown]
# Victim: a small network on `digits`, trained from scratch, with a seed that the attacker does not know. The attacker knows the rest: the training images, the architecture and the recipe.
# The poisons are true digits of the wished class, changed by at most `eps = 0.4` in each of 64 pixels, far more than anyone would overlook. It is every second image of that class, or the *whole* class, a tenth of all training images: a very strong attacker.
#
# What else does that do to the victim? So three numbers for each attack: targets hit, test accuracy, and the **recall** of the wished class, the share of its test images that are still recognized.
# Controls: random changes of the same size, no poison at all, and, for scale, *mislabelled copies* of the target, which no clean-label rule allows.
#
# %%
plan = {"epochs": 20, "batch_size": 128, "learning_rate": 1e-2, "device": "cpu"}
hidden = (64,)


def student(split, seed):
    """A network with 64 hidden units, trained from scratch."""
    return fit(mlp(64, 10, hidden, seed=seed), split, seed=seed, label="victim", **plan).model


attacker = student(digits.train, SEED + 100)
right = (attacker(digits.test.x).argmax(1) == digits.test.y).nonzero().squeeze(1)
number = lab.pick(quick=32, paper=32, smoke=2)
order = torch.randperm(len(right), generator=generator(SEED, "targets"))
aims = right[order[:number]].tolist()
wishes = [(int(digits.test.y[i]) + 1 + k % 9) % 10 for k, i in enumerate(aims)]
seeds = [SEED + k % 4 for k in range(number)]  # one victim for each target, four seeds in turn
eps, parts = 0.4, ("half the class", "whole class")


def effect(victim, i, wish):
    """Return whether target i is called the wish, the test accuracy, the recall of the wish."""
    with torch.no_grad():
        calls = victim(digits.test.x).argmax(1)
    good = (calls == digits.test.y).double()
    return [int(calls[i]) == wish, float(good.mean()), float(good[digits.test.y == wish].mean())]


# %%
from labkit.progress import progress

names = ("matched gradients", "random changes")
seen, cosines = {(name, part): [] for name in names for part in parts}, []
for k in progress(range(number), "targets"):
    i, wish = aims[k], wishes[k]
    sample, members = digits.test.x[i], (digits.train.y == wish).nonzero().squeeze(1)
    for part in parts:
        rows = members if part == "whole class" else members[::2]
        goal = (rows, sample, wish, attacker, Linf(eps))
        brew = gradient_matching(digits.train, *goal, steps=60, seed=SEED)
        cosines.append(float(brew.trace["alignment"].max()))
        shift = torch.rand(len(rows), 1, 8, 8, generator=generator(SEED, "shift", k)) - 0.5
        moved = (digits.train.x[rows] + eps * shift.sign()).clamp(0, 1)
        noisy = PoisonedData.changing(digits.train, rows, x=moved)
        for name, found in zip(names, (brew, noisy), strict=True):
            seen[name, part].append(effect(student(found.data, seeds[k]), i, wish))

# %%
copies = {"no poison": 0, "1 mislabelled copy": 1, "5 mislabelled copies": 5}
controls = {name: [] for name in copies}
for k, (i, wish) in enumerate(zip(aims, wishes, strict=True)):
    for name, n in copies.items():
        more, truth = digits.test.x[i].expand(n, 1, 8, 8), digits.test.y[i].expand(n)
        added = PoisonedData.adding(digits.train, more, torch.full((n,), wish), base_y=truth)
        split = added.data if n else digits.train
        controls[name].append(effect(student(split, seeds[k]), i, wish))

# %%
every = {", ".join(key): kept for key, kept in seen.items()} | controls
struck = {name: Rate(sum(e[0] for e in kept), number, "targets") for name, kept in every.items()}
bar_chart(struck, xlabel="targets hit")

# %%
table(
    {
        "victim's training data": list(every),
        "targets hit": [f"{rate.k} of {rate.n}" for rate in struck.values()],
        "test accuracy": [percent(np.mean([e[1] for e in kept])) for kept in every.values()],
        "recall of the wish": [percent(np.mean([e[2] for e in kept])) for kept in every.values()],
    },
    caption=f"means over {number} targets, one victim each; {len(digits.test)} test images",
)

# %%
shown = [x for r in rows[:2] for x in (digits.train.x[r], brew.data.x[r])]
titles = [f"a {wish}", f"its poison,\neps {eps}"] * 2
image_row(
    torch.stack([*shown, sample]),
    [*titles, "the target"],
    per_row=5,
    alt=f"Two true digits {wish}, each followed by its poison, and the target.",
)

# %% tags=["hide-input"]
for name, kept in every.items():
    record(f"gradient matching, targets hit, {name}", struck[name])
    recall = float(np.mean([e[2] for e in kept]))
    record(f"gradient matching, recall of the wish, {name}", recall, unit="%")
hit = [struck[f"{name}, {part}"] for name in names for part in parts]
say(
    f"The cosine reaches {np.mean(cosines):.2f} on average. With half the class changed the attack hits {hit[0]}; with the whole class {hit[1]}. "
    f"Random changes: {hit[2].k} of {hit[2].n} and {hit[3].k} of {hit[3].n}. One mislabelled copy: {struck['1 mislabelled copy']}; five: {struck['5 mislabelled copies']}."
)

# %% [markdown]
# Is the attack merely badly optimized? The authors start it eight times, at random places, and keep the best. So give it four starts for some of the targets:

# %%
gains = []
for i, wish in list(zip(aims, wishes, strict=True))[: lab.pick(quick=4, paper=4, smoke=1)]:
    members = (digits.train.y == wish).nonzero().squeeze(1)
    goal = (members, digits.test.x[i], wish, attacker, Linf(eps))
    tried = gradient_matching(digits.train, *goal, steps=60, restarts=4, seed=SEED)
    starts = tried.trace["alignment"].amax(dim=1)  # the best cosine of each start
    gains.append([float(starts[0]), float(starts.max())])

# %% tags=["hide-input"]
single, best = np.mean(gains, axis=0)
record("gradient matching, cosine gained by four starts", float(best - single), n=len(gains))
say(
    f"Whole class, {len(gains)} targets: the cosine is {single:.3f} from one start and {best:.3f} from the best of four."
)

# %% [markdown]
# The cosine is close to one either way. But it is measured at *one* set of weights, the attacker's, after training. The victim passes through others. And a cosine says nothing about the gradient's length, nor about the images of other classes,
# which pull as well. Each target has one victim here, so the intervals cover targets and victims together.
#
# Changing the whole class is not surgical: matched or random, it leaves the victim bad at that very class (last column), which any owner with a validation set sees. Changing half of it costs little, because the other half still shows the victim what the class looks like:
# nothing gives that attack away, except the images themselves. A person who looked would see the change. On CIFAR-10 the authors report much higher rates with far smaller changes and a smaller share of poisons (below).
#
# ## Break it, fix it: asking the neighbors
#
# Back to the clerk. A label that is false stands among neighbors that are true. So let every record be outvoted by its ten nearest neighbors (label sanitization, Paudice et al. 2018;
# they relabel where the neighbors who disagree reach a threshold). Here more than a share `threshold` of them must disagree: `threshold=0.5` is the bare majority, `threshold=0.7` means at least eight of ten.


# %%
def outvoted(split, threshold=0.5, k=10):
    """Flip every label that more than this share of the k nearest neighbors contradicts."""
    distance = torch.cdist(split.x, split.x).fill_diagonal_(float("inf"))
    nearest = distance.topk(k, largest=False).indices
    against = (split.y[nearest] != split.y[:, None]).double().mean(1) > threshold
    y = torch.where(against, 1 - split.y, split.y)
    return Split(split.x, y, split.role, f"{split.name}, outvoted", split.indices)


# %% [markdown]
# > **Predict.** An attacker who knows this check falsifies a *cluster*: the malignant records closest to the average malignant one. What does the majority say there? Does the stricter threshold help?

# %%
rounds = lab.pick(quick=10, paper=10, smoke=2)
checks = {"no check": None, "vote, 0.5": 0.5, "vote, 0.7": 0.7}
cases = [(who, check) for who in ("random", "cluster") for check in checks]
after = {case: np.zeros((rounds, len(shares))) for case in cases}
left = {check: np.zeros(rounds) for check in checks}
for r in range(rounds):
    train, test = patients(SEED + r)
    sick_rows = train.y == malignant
    for s, share in enumerate(shares):
        ways = {"source": malignant, "target": benign, "seed": SEED + r}
        count, middle = round(share * int(sick_rows.sum())), train.x[sick_rows].mean(0)
        found = {
            "random": flip_labels(train, count, **ways),
            "cluster": flip_labels(train, count, order="around", around=middle, **ways),
        }
        for who, check in cases:
            data = found[who].data
            if checks[check]:
                data = outvoted(data, checks[check])
            after[who, check][r, s] = missed(learn(data), test).mean()
            if count == 0:
                left[check][r] = int((data.y != train.y).sum())

# %%
from labkit.reporting.drawing import figure

checked = {case: mean_of(values) for case, values in after.items()}
fig = figure(width=7.4, height=3.6)
panels = fig.subplots(1, 2)
for axes, who in zip(panels, ("random", "cluster"), strict=True):
    curve(
        shares,
        {check: checked[who, check][0] for check in checks},
        bands={check: checked[who, check][1] for check in checks},
        xlabel="share of malignant records falsified",
        ylabel="malignant tumors missed" if who == "random" else "",
        title={"random": "random records", "cluster": "a cluster of records"}[who],
        unit="%",
        ax=axes,
    )
for axes in panels:
    axes.set_ylim(0, 1)
show(
    fig,
    alt="Malignant tumors missed over the share of falsified records, for random records (left) "
    "and a cluster (right), without a check and with votes of two thresholds.",
    data={"share": shares} | {f"{who}, {check}": checked[who, check][0] for who, check in cases},
)

# %% tags=["hide-input"]
k = shares.index(0.2)
for (who, check), (mean, (low, high)) in checked.items():
    record(
        f"malignant tumors missed, 20 % falsified, {who}, {check}",
        mean[k],
        interval=(low[k], high[k]),
        n=rounds,
        unit="%",
    )
for who in ("random", "cluster"):
    none, loose, strict = (checked[who, check][0][k] for check in checks)
    say(
        f"At 20 %, '{who}': {none:.1%} missed without a check, {loose:.1%} after the vote at 0.5, {strict:.1%} after the vote at 0.7."
    )
none, loose, strict = (checked["random", check][0][0] for check in checks)
say(
    f"On *true* records the vote changes {left['vote, 0.5'].mean():.0f} of 454 labels at 0.5 and {left['vote, 0.7'].mean():.0f} at 0.7: "
    f"{none:.1%} missed without it, {loose:.1%} and {strict:.1%} with it."
)

# %% [markdown]
# Where falsified records are the majority of a neighborhood, the vote *spreads* them. A check that assumes scattered errors belongs to a world without attackers. The stricter threshold changes fewer labels: less harm
# on true records, less spread, and less repair where many records are false. It moves the trade, it does not end it; and one attacker against one check is no verdict on all of them.
#
# The table puts together what this chapter measured, the papers below, and (in its last row, and for attackers who expect a check) plain reasoning:
#
# | the owner | stops | does not stop |
# | --- | --- | --- |
# | looks at labels (neighbors, second readers) | a part of scattered flips | clusters; poisons with true labels |
# | lets the intact network read new images, compares with their labels | most collisions of this chapter | attackers who expect this check |
# | regularizes *and* uses more data | most single poisons on frozen features | many falsified records |
# | trains from scratch | single poisons made for another network | flips; gradient matching (some targets here, most in its paper) |
# | keeps a trusted validation set, watches *both* error rates | nothing by itself, but notices one-sided damage | a single poison for a single input |
#
# [Chapter 17](17_backdoors.ipynb) needs a trigger in the input as well; chapter 49 is about cleaning training data, with attackers who know how.
#
# ## Your turn

# %%
from labkit.course import check, exercise, hint, solution

exercise("16.1")


# %% tags=["exercise"]
def missed_rate(predicted, y, malignant):
    """Return the share of malignant tumors that the model does not call malignant.

    predicted, y: labels, shape (N,); malignant: the label of malignant tumors.
    """
    raise NotImplementedError


# %% tags=["check"]
check("16.1", missed_rate)

# %% tags=["solution"]
solution("16.1")

# %%
exercise("16.2")


# %% tags=["exercise"]
def flip_farthest(y, margins, count, source, target):
    """Return the labels after `count` flips from `source` to `target`, of the `source` rows with the largest margins.

    y: labels, shape (N,), left as they are; margins: how clearly the attacker's model is right about each row,
    negative where it is wrong, shape (N,).
    """
    raise NotImplementedError


# %% tags=["check"]
check("16.2", flip_farthest)

# %% tags=["solution"]
solution("16.2")

# %%
exercise("16.3")


# %% tags=["exercise"]
def forward_backward(x, slope, base, step, beta):
    """Return the next image of a feature collision, with values in [0, 1].

    x, base: images, shape (B, C, H, W); slope: the gradient of |f(x) - f(target)|^2 at x. Forward: x - step * slope.
    Backward: from there, the z that minimizes |z - there|^2 / (2 step) + beta |z - base|^2. Then the box.
    """
    raise NotImplementedError


# %% tags=["check"]
check("16.3", forward_backward)

# %% tags=["solution"]
solution("16.3")

# %%
exercise("16.4")


# %% tags=["exercise"]
def cosine(ours, target):
    """Return the cosine of the angle between two gradients of a whole network.

    ours, target: one tensor for each parameter, with equal shapes. All parameters together are one long vector.
    """
    raise NotImplementedError


# %% tags=["check"]
check("16.4", cosine)

# %% tags=["solution"]
solution("16.4")

# %% [markdown]
# ## Reported numbers
#
# In profile `quick` nothing of the first part is computed here: you see what the papers reported and what this course measured when it last ran the profile `paper`.
#
# **Biggio, Nelson and Laskov 2012**, one poisoning point against a linear SVM on MNIST (7 or 1, 9 or 8, 4 or 0), 100 training and 500 validation images. The paper's figures are ranges
# over three exemplary runs, one for each pair; ours are means over fifteen, five draws for each pair.

# %%
from labkit.reporting import cited, compare

smoke, computing = lab.profile == "smoke", lab.profile != "quick"
mnist_errors = {}
if computing:
    mnist = load("mnist", smoke=smoke)
    draws, climb = (
        range(SEED, SEED + lab.pick(quick=5, paper=5, smoke=1)),
        lab.pick(quick=100, paper=100, smoke=2),
    )
    size, judges = lab.pick(quick=(100, 500), paper=(100, 500), smoke=(8, 4))
    mnist_errors, _ = one_point(mnist, pairs, draws, size, judges, climb, 0.3)
runs = np.concatenate(list(mnist_errors.values())) if computing else None
compare(
    "po-biggio-svm",
    "clean-error",
    outcomes=None if runs is None else runs[:, 0],
    kind="retrained",
)
compare(
    "po-biggio-svm",
    "error-after-one-poisoning-point",
    outcomes=None if runs is None else runs[:, 2],
    kind="retrained",
)

# %% tags=["hide-input"]
for name, found in mnist_errors.items():
    for i, column in enumerate(columns):
        record(
            f"MNIST {name}, SVM test error, {column}",
            float(found[:, i].mean()),
            n=len(found),
            unit="%",
        )

# %% [markdown]
# **Shafahi et al. 2018**: one poison, frozen features, dogs against fish. Ours is an analogue: signs, another network, the setting above in which the last layer fits everything.

# %%
compare(
    "po-poison-frogs",
    "transfer-learning-1-poison-success",
    outcomes=as_the_paper,
    kind="analogue",
    settings={
        "data": "signs, 100 training images",
        "network": "the course's sign reader",
        "trials": str(trials),
    },
)

# %% [markdown]
# **Schwarzschild et al. 2021** put feature collision (FC), convex polytope (CP) and two clean-label backdoors into one setting: 25 poisons, at most 8/255, CIFAR-10. Modest on frozen features, near nothing
# from scratch. **Geiping et al. 2021** report far more from scratch, though not on every network. Both need networks and hours that a laptop does not have.

# %%
cited(
    "po-toxic-benchmark",
    {
        "frozen-white-box-fc": "FC, frozen, white-box",
        "frozen-black-box-fc": "FC, frozen, black-box",
        "frozen-white-box-cp": "CP, frozen, white-box",
        "from-scratch-average-fc": "FC, from scratch",
        "from-scratch-average-cp": "CP, from scratch",
    },
    label="attack and victim",
    value="success",
)

# %%
on_benchmark = "on-the-toxic-benchmark-eps-8-from-scratch-25-2500-"
cited(
    "po-witches-brew",
    {
        "k-1-r-8": "CIFAR-10, ResNet-18, 1 % poisons, eps 16/255",
        on_benchmark + "resnet-18": "the benchmark above, from scratch, ResNet-18",
        on_benchmark + "mobilenetv2": "the benchmark above, from scratch, MobileNetV2",
        on_benchmark + "vgg11": "the benchmark above, from scratch, VGG11",
    },
    label="victim",
    value="success",
)

# %% [markdown]
# **Xiao et al. 2015** give label flips against SVMs as curves, on other data; no table to compare with.

# %%
cited(
    "po-label-flip-svm",
    {
        "random-20-percent-flips": "random flips",
        "error-after-adversarial-flips-of-20-percent": "chosen flips",
    },
    label="20 % of the labels",
    value="reported",
)

# %% [markdown]
# ## What to remember
#
# - Count errors where they hurt. One-sided flips hardly change the false alarms, and diagnoses are missed.
# - A gradient can go through training: conditions that hold before and after a change say what training would do.
# - True labels do not make data safe, but such attacks depend on the victim: frozen or trained, overfitted or regularized, few images or many. State all of it beside a success rate, and the controls.
# - A check of the data is a defense, and has an attacker who knows it.
#
# **Think about it.** Who can write into the data that your model is trained on next month? Which of them would notice if someone else did?
#
# **Further reading.** Biggio, Nelson and Laskov 2012 (arXiv 1206.6389): the gradient. Xiao et al. 2015 (arXiv 2206.00352): chosen label flips. Shafahi et al. 2018 (arXiv 1804.00792): feature collision.
# Paudice et al. 2018 (arXiv 1803.00992): label sanitization. Geiping et al. 2021 (arXiv 2009.02276): gradient matching. Schwarzschild et al. 2021 (arXiv 2006.12557): how toxic it really is.
