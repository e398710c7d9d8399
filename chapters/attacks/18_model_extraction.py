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
# # 18. Stealing a model by asking it
#
# **What you will be able to do**
#
# - copy a regression *exactly* from a handful of answers, and a small neural network weight by weight;
# - make a useful copy of any classifier from a few hundred answers, and say whether it is *right* or *faithful*;
# - count what a copy costs in queries and in money, against what it would cost to do without;
# - say what rounding, labels only, limits and prices do against such a thief, and against one who knows them.
#
# **You need** [chapter 14](14_query_attacks.ipynb) (services that answer and count). [Chapter 13](13_transfer.ipynb) made a copy to fool its original; here the copy
# itself is the loot.

# %% tags=["parameters"]
PROFILE = "quick"
SEED = 0

# %%
from labkit.course import begin

lab = begin("18_model_extraction", PROFILE, SEED)

# %% tags=["hide-input"]
from labkit.reporting import running_times

running_times()

# %% [markdown]
# ## The idea: answers are equations
#
# Somebody paid for data, labels and training, and now sells answers. Each answer is a fact about the model's weights: an equation in which
# the weights are the unknowns. Enough equations, and the weights follow. Where there are too many unknowns to solve for, the answers still
# label training data, for less than people would ask.

# %%
from labkit.threats.catalogue import card

card("18_model_extraction").show()

# %% [markdown]
# A service on two numbers with four classes, small enough to see whole. It is a softmax regression, whose scores are straight in the inputs.
# Three questions are asked: once to a service that says probabilities, once to one that says labels.

# %%
import torch

from labkit.attacks.extraction import equation_solving, label_solving
from labkit.endpoint import Endpoint
from labkit.reporting import decision_regions, say
from labkit.seeding import generator

centers = torch.tensor([[0.2, 0.3], [0.7, 0.2], [0.8, 0.8], [0.35, 0.75]], dtype=torch.float64)


def toy(x):
    """Four classes, each around a center: the difference of two squared distances is linear."""
    return -20 * ((x.double()[:, None] - centers) ** 2).sum(2)


asked = torch.rand(3, 2, generator=generator(SEED, "toy"), dtype=torch.float64)
exact = equation_solving(Endpoint(toy), asked).model
told = toy(asked).argmax(1)


def guess(x):
    """What three labels leave an attacker: repeat the answer to the nearest question."""
    nearest = torch.cdist(x.double(), asked).argmin(1)
    return torch.nn.functional.one_hot(told[nearest], 4).double()


copies = {
    "the service": toy,
    "three probabilities": lambda x: exact(x.double()),
    "three labels": guess,
}
everywhere = torch.rand(1000, 2, generator=generator(SEED, "everywhere"), dtype=torch.float64)
agree = {
    name: float((copy(everywhere).argmax(1) == toy(everywhere).argmax(1)).double().mean())
    for name, copy in copies.items()
}
stated = "; ".join(f"{name}: {share:.0%} of the square" for name, share in agree.items())
decision_regions(
    copies, asked, told, alt=f"The service and two copies; agreement with the service: {stated}."
)

# %% tags=["hide-input"]
say(
    f"The copy from three probabilities answers as the service on {agree['three probabilities']:.0%} of the square, the copy from three "
    f"labels on {agree['three labels']:.0%}."
)

# %% [markdown]
# On the left the original, then two copies; the dots are the questions. Why are three vectors of probabilities enough, and three labels are not?
#
# ## From scratch: solve for the weights
#
# A softmax regression says $p_k = e^{w_k \cdot x + b_k} / \sum_j e^{w_j \cdot x + b_j}$. Take logarithms, and subtract their mean over the classes: the sum below
# is gone, and what stays is linear in the unknowns,
#
# $$\log p_k - \tfrac{1}{K} \sum_j \log p_j = w_k \cdot x + b_k \quad \text{(weights and biases centered over the classes).}$$
#
# With $d$ inputs there are $d + 1$ unknowns for each class, and *every answer gives one equation for every class*: $d + 1$ questions are
# enough, whatever they are, as long as they are not degenerate.


# %%
def copy_from_scratch(service, x):
    """Return weights over biases, shape (d + 1, K), from the answers to x, shape (n, d), n > d."""
    said = service(x)
    ratios = said.log() - said.log().mean(1, keepdim=True)
    known = torch.cat([x, torch.ones(len(x), 1, dtype=x.dtype)], 1)
    return torch.linalg.lstsq(known, ratios).solution


theta = copy_from_scratch(Endpoint(toy), asked)
ours = (everywhere @ theta[:-1] + theta[-1]).softmax(1)

# %% tags=["nbval-check-output"]
print("the same probabilities:", torch.allclose(ours, Endpoint(toy)(everywhere), atol=1e-9))

# %% [markdown]
# ## With labkit
#
# Now handwritten digits, 64 gray values, ten classes. The owner has 200 labelled images and trains two models: a softmax regression and a small network. Both are
# sold in float64. The thief has other images, without labels. The 359 test images judge; nobody trains on them or asks about them.

# %%
from labkit.data import load
from labkit.models import linear, mlp
from labkit.training import fit

digits = load("digits").to(lab.device)
mine = torch.arange(len(digits.train)) % 2 == 0
owner = digits.train.take(mine).subset(lab.pick(quick=200, paper=200, smoke=20))
pool, test = digits.train.take(~mine), digits.test  # the thief's images, and the judge's
how = {"epochs": 30, "batch_size": 32, "learning_rate": 5e-3, "seed": SEED}
longer = how | {"epochs": lab.pick(quick=150, paper=150, smoke=5), "learning_rate": 2e-2}
regression = fit(linear(64, 10, seed=SEED), owner, label="the owner's regression", **longer).model
network = fit(mlp(64, 10, (32,), seed=SEED), owner, label="the owner's network", **how).model
for model in (regression, network):
    model.double()

# %%
from labkit.reporting import record

x_test, odd = (
    test.x.double(),
    torch.rand(5000, 1, 8, 8, generator=generator(SEED, "odd")).double(),
)
odd = odd.to(x_test)
questions = torch.rand(65, 1, 8, 8, generator=generator(SEED, "questions")).to(x_test)
service = Endpoint(regression, price=1.50)  # our assumption: 1.50 for a thousand answers
stolen = equation_solving(service, questions)
paid = service.bill
on_digits = stolen.judged(x_test, Endpoint(regression)(x_test), test.y)
on_noise = stolen.judged(odd, Endpoint(regression)(odd))

# %% tags=["nbval-check-output"]
by_hand = copy_from_scratch(Endpoint(regression), questions.flatten(1))
weights = stolen.model[1].weight
print("the same weights as from scratch:", torch.allclose(weights, by_hand[:-1].T, atol=1e-6))
print("questions asked:", stolen.queries, "; counted by the service:", service.queries)

# %% tags=["hide-input"]
record("fidelity on digits, regression", on_digits.metrics["fidelity"])
record("fidelity on uniform inputs, regression", on_noise.metrics["fidelity"])
record("total variation on uniform inputs", on_noise.metrics["total variation"])
say(
    f"{stolen.queries} questions about *noise*, no digit among them: the copy answers as the original on {on_digits.metrics['fidelity']} "
    f"(digits) and {on_noise.metrics['fidelity']} (noise). Its probabilities differ by "
    f"{on_noise.metrics['total variation']:.1e} on average. The bill: {paid:.2f}. The paper counts one query for each unknown, "
    "650; but an answer with all ten probabilities is worth nine of them."
)

# %% [markdown]
# Two questions are asked of every copy from here on. **Accuracy**: is it right? **Fidelity**: does it say what the original says, errors included? Both are
# measured on inputs that were *never queried*: what was asked, the copy knows by heart. labkit refuses to score anything else:

# %% tags=["nbval-check-output"]
try:
    stolen.judged(questions[:10], Endpoint(regression)(questions[:10]))
except ValueError as error:
    print(error)

# %% [markdown]
# ## Measure it
#
# ### How many answers?
#
# > **Predict.** With 65 questions the copy is exact. What is it worth with 64? With 32?

# %%
from labkit.reporting import curve
from labkit.reporting import progress as shown

seeds = range(SEED, SEED + lab.pick(quick=5, paper=5, smoke=2))
counts, on = [8, 16, 32, 48, 60, 64, 65, 70, 80], {"digits": x_test, "uniform noise": odd}
reached = {name: torch.zeros(len(seeds), len(counts)) for name in on}
answers = {name: Endpoint(regression)(x) for name, x in on.items()}
for row, seed in enumerate(seeds):
    more = torch.rand(80, 1, 8, 8, generator=generator(seed, "more")).to(x_test)
    for column, n in enumerate(counts):
        found = equation_solving(Endpoint(regression), more[:n], partial=True)
        for name, x in on.items():
            reached[name][row, column] = float(found.fidelity(x, answers[name].argmax(1)))


# %%
def band(values):
    """Mean, smallest and largest over the seeds."""
    return values.mean(0).tolist(), (values.amin(0).tolist(), values.amax(0).tolist())


def over_seeds(x, by_name, xlabel, ylabel, **options):
    """Draw one line for each name, with a band from the worst to the best seed."""
    drawn = {name: band(values) for name, values in by_name.items()}
    means = {name: mean for name, (mean, _) in drawn.items()}
    edges = {name: edge for name, (_, edge) in drawn.items()}
    curve(x, means, xlabel=xlabel, ylabel=ylabel, bands=edges, unit="%", **options)


over_seeds(counts, reached, "questions", f"fidelity of the copy (range of {len(seeds)} seeds)")

# %% tags=["hide-input"]
at = {n: reached["uniform noise"][:, i] for i, n in enumerate(counts)}
common = answers["uniform noise"].argmax(1).bincount().max() / len(odd)
record("fidelity with 32 questions, noise", float(at[32].mean()), unit="%", note="mean of seeds")
say(
    f"One answer is the commonest on noise: who always repeats it agrees on {float(common):.0%}. "
    f"With 32 questions the copy agrees on {float(at[32].mean()):.0%} of the noise, with 64 on {float(at[64].mean()):.0%} "
    f"(seeds: {float(at[64].min()):.0%} to {float(at[64].max()):.0%}), with 65 on {float(at[65].min()):.0%} "
    "for the worst seed. More answers make the copy better on average; with as many answers as unknowns for each class it is exact."
)

# %% [markdown]
# ### Labels only
#
# A label is no equation, but the *place where it changes* is: there two classes are equal. **Bisection** finds the place: halve the line between two inputs with different labels, ask which half. Each
# halving costs a query and gives a bit. What follows is everything but one common factor: among the classes that the starting points
# show, the copy decides as the original does; its probabilities mean nothing (Lowd and Meek 2005 did this for two classes). Our starting
# points are the thief's digits, blended with a little noise: pixels that are black in every digit would otherwise give no equation.

# %%
noise = torch.rand(len(pool), 1, 8, 8, generator=generator(SEED, "blend")).to(x_test)
starts = (0.7 * pool.x.double() + 0.3 * noise)[::2]
by_labels, steps, most_likely = {}, (6, 12, 24), answers["uniform noise"].argmax(1)
for halvings in steps:
    service = Endpoint(regression, answers="labels", price=1.50)
    found = label_solving(service, starts, steps=halvings, classes=10, seed=SEED)
    like = found.fidelity(x_test, answers["digits"].argmax(1))
    by_labels[halvings] = found, service.bill, found.fidelity(odd, most_likely), like

# %%
from labkit.reporting import table


def brief(rate):
    """A rate for a narrow table: its share and its counts."""
    return f"{rate.value:.1%} ({rate.k:,} of {rate.n:,})"


table(
    {
        "service says": ["probabilities", *["labels"] * len(steps)],
        "halvings": ["none", *steps],
        "questions": [stolen.queries, *(found.queries for found, *_ in by_labels.values())],
        "bill": [f"{paid:.2f}", *(f"{bill:.2f}" for _, bill, *_ in by_labels.values())],
        "fidelity on digits": [
            brief(on_digits.metrics["fidelity"]),
            *(brief(like) for *_, like in by_labels.values()),
        ],
        "on noise": [
            brief(on_noise.metrics["fidelity"]),
            *(brief(on_odd) for *_, on_odd, _ in by_labels.values()),
        ],
    },
    caption="the same softmax regression, copied",
)

# %% tags=["hide-input"]
last, _, last_noise, last_digits = by_labels[steps[-1]]
record("fidelity from labels only, noise", last_noise)
record("fidelity from labels only, digits", last_digits)
say(
    f"Saying labels only made the theft dearer: {by_labels[steps[-2]][0].queries / stolen.queries:,.0f} times as many questions with "
    f"{steps[-2]} halvings, {last.queries / stolen.queries:,.0f} times with {steps[-1]}. The last copy agrees on {last_digits} (digits) and "
    f"{last_noise} (noise; who always repeats the commonest answer agrees on {float(common):.0%}). Its starting points showed "
    f"{last.labels[: len(starts)].unique().numel()} of 10 classes; a class that none of them shows is never the copy's answer."
)

# %% [markdown]
# ### A neural network, weight by weight
#
# A network with one hidden layer of ReLU units is straight between the points where a unit switches on or off. Along a line through input space, two tangents meet exactly at such a **crease** (the last
# exercise). Just before and just behind it, take the gradient: the difference is *one unit's weights*, up to a factor. Collect all units, subtract them, and what is left is linear
# (Jagielski et al. 2020; Carlini, Jagielski and Mironov 2020). The questions may be any numbers, far outside of what a digit can be.
#
# > **Predict.** The network has 64 inputs, 32 hidden units and 10 classes: about 2,400 weights. How many questions? How exact?

# %%
from labkit.attacks.extraction import relu_solving

service = Endpoint(network, price=1.50)
middle = torch.full((1, 8, 8), 0.5, dtype=torch.float64, device=x_test.device)
whole = relu_solving(service, middle, seed=SEED)
twin = whole.judged(x_test, Endpoint(network)(x_test), test.y)
with torch.no_grad():
    gap = network(odd) - network(odd)[:, -1:] - whole.model(odd)

# %%
from labkit.reporting import heatmap

shown_units = 8
mine_rows = torch.nn.functional.normalize(whole.model[1].weight.detach())
their_rows = torch.nn.functional.normalize(network[1].weight.detach())
alike = their_rows @ mine_rows.T
order = alike.argmax(1)[:shown_units]
heatmap(
    alike[:shown_units][:, order].round(decimals=2),
    [f"unit {i + 1}" for i in range(shown_units)],
    [str(int(j) + 1) for j in order],
    label="cosine of the weights",
    row_label="the original's first eight",
    column_label="the copy's units, in the matching order",
)

# %% tags=["hide-input"]
worst = float(gap.abs().max())
record("largest error of a log-ratio, network copied by its creases", worst)
record("questions for a network of 32 units", whole.queries)
say(
    f"{whole.queries:,} questions (bill {service.bill:.2f}): {whole.model[1].out_features} hidden units found, the original has {network[1].out_features}. On "
    f"{len(odd):,} fresh inputs the scores differ by at most {worst:.1e}; on the test digits the copy agrees on "
    f"{twin.metrics['fidelity']}. Match every unit of the original with the likest one of the copy: the smallest of these cosines is "
    f"{float(alike.amax(1).min()):.6f}. Where in the list a unit stands is of no meaning."
)

# %% [markdown]
# This needs float64, unrounded, and a network of exactly this kind. What works on *any* classifier is next.
#
# ### Distillation: the answers as training data
#
# Take inputs, let the service say what they are, train a copy on it. With probabilities the copy learns all that was said (cross-entropy with the
# vector in place of the label, the third exercise); with labels the winner only. The thief asks about digits, or about noise. The baseline
# does without the service: people label the same digits, and a copy learns from them.

# %%
from copy import deepcopy
from itertools import product

from labkit.attacks.extraction import Plan, distill_together

light = deepcopy(network).float()  # the same network, for inputs in float32
x, service_says = test.x, Endpoint(light)(test.x)
static = torch.rand(len(pool), 1, 8, 8, generator=generator(SEED, "static")).to(x)


def people(images):
    """The true labels, as people would give them: no service is asked."""
    return pool.y[torch.cdist(images.flatten(1), pool.x.flatten(1)).argmin(1)]


ways = {
    "probabilities": (Endpoint(light), pool.x),
    "labels": (Endpoint(light, answers="labels"), pool.x),
    "people's labels": (people, pool.x),
    "noise, probabilities": (Endpoint(light), static),
}

# %% [markdown]
# Every copy is trained for the same number of steps, whatever the number of questions. `distill` makes one copy; `distill_together` makes many
# in one pass, each as if it were alone.

# %%
budgets = lab.pick(quick=(40, 80, 160, 320, 640), paper=(40, 80, 160, 320, 640), smoke=(40, 80))
steps_each, three = lab.pick(quick=4000, paper=4000, smoke=2), seeds[:3]


def plan(way, budget, seed):
    """Return what one thief wants to do."""
    return Plan(*way, mlp(64, 10, (64,), seed=seed + 100), budget, seed)


tried = list(product(ways, budgets, three))
made = distill_together([plan(ways[name], b, s) for name, b, s in tried], steps=steps_each)
learned = {
    one: copy.judged(x, service_says, test.y) for one, copy in zip(tried, made, strict=True)
}

# %% [markdown]
# Papernot et al. 2017 had few inputs, and labels only. Their **Jacobian augmentation** lets the copy ask: train it on forty digits, move each digit a small step to
# where the copy's answer changes fastest, ask about the new images, train again. Every round doubles the questions; the digits stay forty.
# (A tenth for each of 784 pixels, the paper's step, is as long a way as $0.35$ for each of 64; `period=2` turns the step around after every two rounds, as their second
# paper advises. The step is not tuned: a quarter does somewhat better here.)

# %%
from functools import partial

from labkit.attacks.extraction import substitute

forty = "labels, 40 digits moved"
for budget, seed in shown(list(product(budgets, three)), "copies that ask"):
    found = substitute(
        Endpoint(light, answers="labels"),
        learned["labels", 40, seed].x,
        partial(mlp, 64, 10, (64,), seed=seed + 100),
        rounds=budgets.index(budget),
        step=0.35,
        period=2,
        seed=seed,
        epochs=lab.pick(quick=100, paper=100, smoke=1),
        batch_size=32,
        learning_rate=5e-3,
    )
    learned[forty, budget, seed] = found.judged(x, service_says, test.y)


# %%
def grid(metric, name):
    """Return one metric for all seeds and budgets, shape (seeds, budgets)."""
    return torch.tensor(
        [[float(learned[name, b, s].metrics[metric]) for b in budgets] for s in three]
    )


names = [*ways, forty]
fidelities = {name: grid("fidelity", name) for name in names}
spread = f"range of {len(three)} seeds"
over_seeds(budgets, fidelities, "questions", f"fidelity ({spread})", log_x=True, chance=0.1)

# %% [markdown]
# > **Predict.** The people's labels are *right*, the service errs on some digits. Which copy is more accurate? Which is more faithful?

# %%
accuracies = {name: grid("accuracy", name) for name in names}
with torch.no_grad():
    owner_right = float((service_says.argmax(1) == test.y).double().mean())
over_seeds(budgets, accuracies, "questions", f"accuracy ({spread})", log_x=True)

# %% tags=["hide-input"]
big, soft, own = budgets[-1], "probabilities", "people's labels"
for name in names:
    record(
        f"fidelity with {big} questions, {name}",
        float(fidelities[name][:, -1].mean()),
        unit="%",
        note="mean of seeds",
    )
    record(
        f"accuracy with {big} questions, {name}",
        float(accuracies[name][:, -1].mean()),
        unit="%",
        note="mean of seeds",
    )
say(
    f"The service itself is right on {owner_right:.1%} of {len(test)} test digits. With {big} questions the copy from probabilities agrees "
    f"with it on {float(fidelities[soft][:, -1].mean()):.1%} and is right on {float(accuracies[soft][:, -1].mean()):.1%}: it has copied "
    f"the errors too. The copy from people's labels is right on {float(accuracies[own][:, -1].mean()):.1%} and agrees with the service on "
    f"{float(fidelities[own][:, -1].mean()):.1%}."
)
say(
    f"Who is told labels only agrees on {float(fidelities['labels'][:, -1].mean()):.1%}; who owns forty digits and moves them, on "
    f"{float(fidelities[forty][:, 0].mean()):.1%} with the first {budgets[0]} questions and on {float(fidelities[forty][:, -1].mean()):.1%} with {big}; "
    f"who has no digit and asks about noise, on {float(fidelities['noise, probabilities'][:, -1].mean()):.1%}."
)

# %% [markdown]
# Which copy would you want? To **replace** the service, the accurate one. To **attack** it (find inputs that it misreads, learn who was in its training data), the faithful one. Whoever
# looks at accuracy only would take people's labels for the better theft.
#
# > **Predict.** Is noise a protection? Was the training long enough to tell? And what if the service rounds to one decimal?

# %%
told = ways | {"one decimal": (Endpoint(light, decimals=1), pool.x)}
lengths, after = lab.pick(quick=(200, 1000, 4000), paper=(200, 1000, 4000), smoke=(1, 2)), {}
for length in lengths:
    many = [plan(told[name], big, seed) for name, seed in product(told, three)]
    trained = distill_together(many, steps=length)
    agree = [float(copy.fidelity(x, service_says.argmax(1))) for copy in trained]
    after[length] = torch.tensor(agree).view(len(told), len(three)).mean(1).tolist()
table(
    {"told": list(told)}
    | {f"{n:,} steps": [f"{share:.1%}" for share in after[n]] for n in lengths},
    caption=f"fidelity after so many steps of training; {big} questions, means over {len(three)} seeds",
)

# %% tags=["hide-input"]
noisy, coarse = [[after[n][list(told).index(name)] for n in lengths] for name in list(told)[-2:]]
record("fidelity from one decimal, best length", max(coarse), unit="%", note="mean of seeds")
say(
    f"Between {lengths[0]} and {lengths[-1]:,} steps the copy made of noise goes from {noisy[0]:.1%} to {noisy[-1]:.1%}, the one told one decimal from "
    f"{coarse[0]:.1%} to {coarse[-1]:.1%}."
)

# %% [markdown]
# Judged by the first column, questions about noise look harmless; they are not. Exact answers reward patience. Rounded ones can be learned *too* well: what the copy
# then fits is the rounding. Before you say that a defense stops a thief, let the thief train longer, and shorter.
#
# ### What a copy costs
#
# The owner's price list and ours: an answer costs $0.0015$, a label by a person $0.05$ (both are assumptions). The owner paid for 200 labels. The thief's
# images cost nothing here.

# %%
middle_budget = budgets[-2]
rows = {"fidelity": [], "accuracy": [], "questions": [], "cost": []}
for name in (soft, "labels", own):
    both = [learned[name, middle_budget, s].metrics for s in three]
    rows["fidelity"].append(f"{sum(float(m['fidelity']) for m in both) / len(both):.1%}")
    rows["accuracy"].append(f"{sum(float(m['accuracy']) for m in both) / len(both):.1%}")
    rows["questions"].append("none" if name == own else middle_budget)
    rows["cost"].append(f"{middle_budget * (0.05 if name == own else 0.0015):.2f}")
rows["fidelity"].append(f"{float(twin.metrics['fidelity']):.1%}")
rows["accuracy"].append(f"{float(twin.metrics['accuracy']):.1%}")
rows["questions"].append(whole.queries)
rows["cost"].append(f"{service.bill:.2f}")
table(
    {"way": [soft, "labels", own, "creases, float64"]} | rows,
    caption=f"the owner's network, copied; {len(test)} test digits, means over {len(three)} seeds (creases: one copy)",
)

# %% [markdown]
# Exactness is dear, and a few hundred answers come close to it for small change. Only people's labels make a copy that is *clearly* more right than the service, and they cost the most.
#
# ### The copy as a weapon
#
# [Chapter 13](13_transfer.ipynb) attacked through surrogates. How much better is a stolen one? PGD on each copy, shown to the original; random signs of the same size as the baseline. There is
# one copy of each kind here, so a few digits more or less between two copies mean nothing.

# %%
from labkit.attacks.evasion import pgd
from labkit.rates import Rate
from labkit.reporting import bar_chart
from labkit.threats import Linf

ball = Linf(0.15)
surrogates = {
    f"{name}, {middle_budget}": learned[name, middle_budget, SEED].model
    for name in (own, "labels", soft)
}
surrogates |= {"creases": deepcopy(whole.model).float(), "the original itself": light}

# %%
right = service_says.argmax(1) == test.y
targets = test.take(right)
random_way = torch.rand(targets.x.shape, generator=generator(SEED, "random way")).to(x) < 0.5
shaken = (targets.x + 0.15 * (2.0 * random_way - 1)).clamp(0, 1)
read = "digits read rightly"
flips = int((light(shaken).argmax(1) != targets.y).sum())
turned = {"random signs": Rate(flips, len(targets), read)}
for name, copy in surrogates.items():
    made = pgd(copy, targets.x, targets.y, ball, steps=10, seed=SEED, victim=light)
    turned[name] = Rate(int(made.success.sum()), len(targets), read)
bar_chart(turned, xlabel="digits turned on the original")

# %% tags=["hide-input"]
for name, hits in turned.items():
    record(f"turned on the original, attack on: {name}", hits)
say(
    f"Random signs of this size turn {turned['random signs'].value:.0%}; PGD on the copy made of people's labels "
    f"{turned[f'{own}, {middle_budget}'].value:.0%}, on the copy made of probabilities {turned[f'{soft}, {middle_budget}'].value:.0%}, on the "
    f"copied weights {turned['creases'].value:.0%}; with the original in hand {turned['the original itself'].value:.0%}."
)

# %% [markdown]
# ## Break it, fix it: what the owner can do
#
# **Round.** A probability of `0.0003` said as `0.00` has no logarithm, and `0.01` may be anything from half of that to one and a half. The careless thief
# solves the equations all the same (least squares, zeros read as half the last digit). One who *knows* weighs each number by
# how well it is known: the regression that makes the rounded answers **likeliest**. Both ask far more than the exact copy needed. The table shows the
# fidelity on noise, mean of the seeds.

# %%
kinds, rounding = {"equations": 650, "likelihood": 650, "likelihood, more": 2600}, (4, 3, 2, 1)
held = torch.zeros(len(seeds), len(kinds), len(rounding))
for i, seed in enumerate(seeds):
    many = torch.rand(2600, 1, 8, 8, generator=generator(seed, "many")).to(x_test)
    for j, (name, n) in enumerate(kinds.items()):
        n = lab.pick(quick=n, paper=n, smoke=80)
        for k, decimals in enumerate(rounding):
            method = {"method": name.split(",")[0], "decimals": decimals}
            found = equation_solving(Endpoint(regression, decimals=decimals), many[:n], **method)
            held[i, j, k] = float(found.fidelity(odd, answers["uniform noise"].argmax(1)))

# %%
columns = {
    f"{d} decimals" if d > 1 else "1 decimal": [f"{float(v):.1%}" for v in held.mean(0)[:, k]]
    for k, d in enumerate(rounding)
}
table(
    {"thief": [name.split(",")[0] for name in kinds], "questions": list(kinds.values())}
    | columns,
    caption=f"fidelity where the service rounds; means over {len(seeds)} seeds",
)

# %% tags=["hide-input"]
record(
    "fidelity at two decimals, careless",
    float(held[:, 0, 2].mean()),
    unit="%",
    note="650 questions",
)
record(
    "fidelity at two decimals, likelihood",
    float(held[:, 1, 2].mean()),
    unit="%",
    note="650 questions",
)
say(
    f"At two decimals the careless thief ends at {float(held[:, 0, 2].mean()):.1%} (seeds {float(held[:, 0, 2].min()):.1%} to "
    f"{float(held[:, 0, 2].max()):.1%}), the careful one with the same 650 answers at {float(held[:, 1, 2].mean()):.1%} "
    f"({float(held[:, 1, 2].min()):.1%} to {float(held[:, 1, 2].max()):.1%}), with 2,600 at {float(held[:, 2, 2].mean()):.1%}. "
    "The better of the two, not the first that comes to mind, says what rounding is worth."
)

# %% [markdown]
# **Check, and say less.** The attack on creases is exact and brittle. Give it the same network through four services. The last of them *clips*: numbers below 0 or
# above 1 become 0 or 1, as in an image, so all that can be asked lies in a box. It is attacked twice. The second attacker *knows* of the box, shrinks every
# question fifty times toward the center of the box, and reads the copy through the same lens.

# %%
clipping = Endpoint(lambda z: network(z.clamp(0, 1)))
guarded = {
    "float64, everything": Endpoint(network),
    "rounded to 6 decimals": Endpoint(network, decimals=6),
    "labels": Endpoint(network, answers="labels"),
    "clips inputs to the box": clipping,
    "clips, and the attacker knows": lambda z: clipping(0.5 + 0.02 * (z - 0.5)),
}
fate = {"service": [], "the attack says": [], "questions": [], "digits": [], "noise": []}
for name, ask in guarded.items():
    knows = "knows" in name
    try:
        found = relu_solving(ask, middle, seed=SEED, lines=12, reach=5.0 if knows else 10.0)
    except ValueError as error:
        row = name, str(error).split(";")[0].split(":")[0], "", "no copy", "no copy"
    else:
        lens = [(z - 0.5) / 0.02 + 0.5 if knows else z for z in (x_test, odd)]
        with torch.no_grad():
            said = [network(z).argmax(1) for z in (x_test, odd)]
        shares = [f"{found.fidelity(z, s).value:.1%}" for z, s in zip(lens, said, strict=True)]
        row = name, "complete" if found.complete else "not complete", found.queries, *shares
        fidelity_behind_a_clip = found.fidelity(lens[0], said[0])
    for column, value in zip(fate, row, strict=True):
        fate[column].append(value)
table(fate, caption="the attack on creases; fidelity of its copies on digits and on noise")

# %% tags=["hide-input"]
record("fidelity behind a clip, attacker knows", fidelity_behind_a_clip)
say(
    f"The attacker who knows of the clip needs {fate['questions'][-1]:,} questions and agrees on {fidelity_behind_a_clip} (digits); the one who does "
    f"not spends {fate['questions'][-2]:,} and agrees on {fate['digits'][-2]}."
)

# %% [markdown]
# Rounding turns straight lines into stairs. Clipping adds creases of its own, two for every input, and ruins an attack that was not told. One that
# was told stays inside the box, where there are no such creases, and is *cheaper*: units that never switch near the center of the box
# need not be found, and hardly ever decide. A defense is judged against the attacker who knows it.
#
# **Sell less.** A limit per account, the same for every attack. What was answered before the service closes, the thief keeps. (Bisection
# begins with fewer starting points here, so that some answers are left for halving.)

# %%
cap = lab.pick(quick=250, paper=250, smoke=70)


def distilled(ask):
    """Return a copy from as many answers as come, 640 at most."""
    fresh = mlp(64, 10, (64,), seed=SEED + 100)
    return distill_together([Plan(ask, pool.x, fresh, 640, SEED)], steps=steps_each)[0]


some = partial(label_solving, starts=starts[::6], steps=12, classes=10, seed=SEED)
limited = {
    "equations (regression)": (regression, partial(equation_solving, x=questions), x_test),
    "bisection (regression)": (regression, some, x_test),
    "creases (network)": (network, partial(relu_solving, center=middle, seed=SEED), x_test),
    "distillation (network)": (light, distilled, x),
}
left = {"attack": [], "answers got": [], "complete": [], "fidelity on digits": []}
for name, (victim, attack, judges) in limited.items():
    found = attack(Endpoint(victim, limit=cap))
    agrees = found.judged(judges, Endpoint(victim)(judges)).metrics["fidelity"]
    row = name, found.queries, found.complete, brief(agrees)
    for column, value in zip(left, row, strict=True):
        left[column].append(value)
table(left, caption=f"the service closes after {cap} answers")

# %% [markdown]
# The equations were done before the limit came. Bisection has 584 differences to find, and so few labels do not determine them: it guesses. The creases used up their
# answers on a first line. Distillation does not need to finish: every answer makes the copy a little better.
#
# **Watch.** Look at the questions themselves: `result.x` has them in the order asked. How far is each from the nearest one asked before?

# %%
logs = {
    "distillation: digits": learned[soft, big, SEED].x,
    "Jacobian augmentation": learned[forty, big, SEED].x,
    "noise, for equations": questions,
    "bisection": by_labels[24][0].x[-2000:],
    "creases": whole.x[:2000],
}
near = {}
for name, log in logs.items():
    rows = log.flatten(1).double()
    apart = torch.cdist(rows, rows, compute_mode="donot_use_mm_for_euclid_dist")
    before = apart.masked_fill(torch.ones_like(apart).triu().bool(), torch.inf).amin(1)[1:]
    near[name] = before
table(
    {
        "questions": list(near),
        "nearest before: median": [f"{float(v.median()):.2g}" for v in near.values()],
        "smallest": [f"{float(v.min()):.2g}" for v in near.values()],
    },
    caption="distance of a question to the nearest one asked before (L2)",
)

# %% [markdown]
# (Of bisection you see the last 2,000 questions, of creases the first.) Bisection and creases ask nearly the same again and again; augmentation steps back onto its own questions;
# noise lies farther apart than digits do. A detector can learn that (PRADA, chapter 37 (planned)). The row on top looks like a customer, because it *is* what a customer asks.
#
# | the owner | stops | does not stop |
# | --- | --- | --- |
# | rounds | exact copies | careless solvers (less faithful), likelihood, more questions, distillation |
# | says labels only | equations, creases | bisection (dearer), distillation (somewhat dearer) |
# | checks inputs | questions that no customer asks | distillation with real inputs |
# | limits, prices | whoever needs thousands of answers | 65 questions; thieves with ten accounts |
# | watches | bisection, creases, augmentation | a thief who asks like a customer |
# | does not sell answers at all | all of it | |
#
# The middle column is about the attacks of this chapter, as they were run here. Stronger ones exist: Chen et al. 2024 recover the weights of small ReLU
# networks from labels alone, at a far higher price.
#
# What cannot be prevented can be *priced*: a copy is worth stealing only while answers are cheaper than labels.
#
# ## Your turn

# %%
from labkit.course import check, exercise, hint, solution

exercise("18.1")


# %% tags=["exercise"]
def steal(ask, x):
    """Return weights and bias of a logistic regression, (d + 1,), the bias last, from its answers about x, shape (d + 1, d).

    ask: takes inputs (B, d) and returns the probability of the second class, (B,), p = 1 / (1 + exp(-(w.x + b))).
    Ask once about all of x.
    """
    raise NotImplementedError


# %% tags=["check"]
check("18.1", steal)

# %% tags=["solution"]
solution("18.1")

# %%
exercise("18.2")


# %% tags=["exercise"]
def fidelity(copy, victim, truth, queried):
    """Return how often a copy answers as the victim does, on inputs that were never queried.

    copy, victim, truth: the copy's answers, the victim's, and the true classes, shape (N,); queried: booleans (N,), True where
    the attacker asked the victim while making the copy.
    """
    raise NotImplementedError


# %% tags=["check"]
check("18.2", fidelity)

# %% tags=["solution"]
solution("18.2")

# %%
exercise("18.3")


# %% tags=["exercise"]
def soft_loss(logits, answers):
    """Return the cross-entropy of a copy with what the service said: its mean over the batch, a tensor of one number.

    logits: the copy's, shape (B, K), not normalized; answers: the service's probabilities, shape (B, K).
    """
    raise NotImplementedError


# %% tags=["check"]
check("18.3", soft_loss)

# %% tags=["solution"]
solution("18.3")

# %%
exercise("18.4")


# %% tags=["exercise"]
def bend(f, low, high, step):
    """Return where a function of one number bends, from four values of it.

    f: takes numbers, shape (B,), and returns values, shape (B,); it is straight but for a single bend, between low + step and high - step.
    Ask at both ends and one step inside: the two tangents meet at the bend.
    """
    raise NotImplementedError


# %% tags=["check"]
check("18.4", bend)

# %% tags=["solution"]
solution("18.4")

# %% [markdown]
# ## Reported numbers
#
# In profile `quick` nothing is computed here: you see what the papers reported and what this course measured when it last ran the profile `paper`.
#
# **Tramèr et al. 2016** copied a softmax regression of the same 1,797 digits from Amazon's service with 650 queries, one for each unknown. Ours is
# scikit-learn's regression on our training split. 65 questions with all ten probabilities are enough; agreement is judged on the test digits and on 10,000 uniform inputs
# together.

# %%
from labkit.reporting import compare

smoke, computing = lab.profile == "smoke", lab.profile != "quick"


def regression_of(split, classes):
    """Return scikit-learn's logistic regression, default settings, as a network in float64."""
    from sklearn.linear_model import LogisticRegression

    flat = split.x.flatten(1).double().cpu().numpy()
    fitted = LogisticRegression(max_iter=1000).fit(flat, split.y.cpu().numpy())
    net = linear(flat.shape[1], classes).double()
    weight, bias = torch.from_numpy(fitted.coef_), torch.from_numpy(fitted.intercept_)
    if classes == 2:  # scikit-learn keeps the second class's score only
        weight = torch.cat([torch.zeros_like(weight), weight])
        bias = torch.cat([torch.zeros_like(bias), bias])
    with torch.no_grad():
        net[1].weight.copy_(weight)
        net[1].bias.copy_(bias)
    return net


def steal_and_compare(net, inputs, count, **options):
    """Return the queries, and whether the copy agrees on each input and on 10,000 uniform ones."""
    d = inputs.flatten(1).shape[1]
    rows = torch.rand(count, d, generator=generator(SEED, "rows"), dtype=torch.float64)
    fresh = torch.rand(10_000, d, generator=generator(SEED, "fresh"), dtype=torch.float64)
    found = equation_solving(Endpoint(net), rows, **options)
    with torch.no_grad():
        same = [net(z).argmax(1) == found.model(z).argmax(1) for z in (inputs.double(), fresh)]
    return found.queries, *same


# %%
queries, same = None, None
if computing:
    net = regression_of(digits.train, 10)
    queries, near_data, uniform = steal_and_compare(net, x_test, 65)
    same = torch.cat([near_data, uniform])
ours = {"service": "local, float64", "training": "scikit-learn's defaults, 1,438 digits"}
for figure, outcome in (("queries", None), ("agreement", same)):
    value = queries if figure == "queries" else None
    compare(
        "ex-tramer-lr",
        f"digits-on-amazon-{figure}",
        value,
        outcomes=outcome,
        kind="retrained",
        settings=ours,
    )

# %% [markdown]
# On **Adult** (census records, 108 columns) the thief needed 1,485 queries at Amazon. There the service cut the numbers into bins: each bin is an unknown of its own, and the
# authors' code searches for the edges of the bins by halving, which costs queries too. A plain logistic regression has 109 unknowns. The paper's other
# experiment with this data predicts the attribute *race* from the rest: five classes, 105 columns, $5 \cdot 106 = 530$ unknowns. It took as many queries for a perfect copy, and half as many for
# nearly one. With all five probabilities used as equations, 106 would do.

# %%
adult = load("adult", smoke=smoke) if computing else None
queries, same = None, None
if adult is not None:
    net = regression_of(adult.train, 2)
    queries, near_data, uniform = steal_and_compare(net, adult.test.x, 109)
    same = torch.cat([near_data, uniform])
plain = {"service": "local, float64, numbers not cut into bins"}
compare("ex-tramer-lr", "adult-on-amazon-queries", queries, kind="analogue", settings=plain)
compare(
    "ex-tramer-lr",
    "binary-lr-d-plus-1-queries-agreement",
    outcomes=same,
    kind="retrained",
    settings=plain,
)

# %%
from dataclasses import replace


def race_from_the_rest(split):
    """Return a split whose classes are the five values of race, and income joins the inputs."""
    from labkit.data.adult import columns

    place = columns()["race"]
    income = torch.nn.functional.one_hot(split.y, 2).to(split.x)
    rest = torch.cat([split.x[:, : place.start], split.x[:, place.stop :], income], 1)
    return replace(split, x=rest, y=split.x[:, place].argmax(1))


agreement = {}
if adult is not None:
    learn_race, judge_race = race_from_the_rest(adult.train), race_from_the_rest(adult.test)
    net = regression_of(learn_race, 5)
    for count in (265, 530):
        _, near_data, uniform = steal_and_compare(net, judge_race.x, count)
        agreement[f"{count}-queries-test-agreement"] = near_data
        agreement[f"{count}-queries-uniform-agreement"] = uniform

# %%
for figure in (
    "530-queries-test-agreement",
    "530-queries-uniform-agreement",
    "265-queries-uniform-agreement",
):
    compare(
        "ex-tramer-lr",
        f"softmax-530-unknowns-{figure}",
        outcomes=agreement.get(figure),
        kind="retrained",
    )

# %% [markdown]
# **Carlini, Jagielski and Mironov 2020** copied a network with 784 inputs and 128 hidden units, trained on MNIST, through one output number. Ours has this size and tells digits below five from the others (how theirs was trained
# we do not know, hence *analogue*); the output number is the log-ratio of its two probabilities. Our errors are the largest over 10,000 test images and 5,000 uniform ones;
# theirs are stated for *all* inputs, which asks for more. The small network is the one of this chapter, judged on its 5,000 uniform inputs.

# %%
import math

small_error, big_error, asked_big = worst if computing else None, None, None
if computing:
    mnist = load("mnist", smoke=smoke).to(lab.device)
    above = replace(mnist.train, y=(mnist.train.y >= 5).long())
    wide = lab.pick(quick=128, paper=128, smoke=6)
    hundred_thousand = fit(
        mlp(784, 2, (wide,), seed=SEED),
        above.subset(lab.pick(quick=20_000, paper=20_000, smoke=64)),
        epochs=lab.pick(quick=3, paper=3, smoke=1),
        batch_size=64,
        learning_rate=2e-3,
        seed=SEED,
        label="784-128-1",
    ).model.double()
    gray = torch.full((1, 28, 28), 0.5, dtype=torch.float64, device=lab.device)
    copied = relu_solving(Endpoint(hundred_thousand), gray, seed=SEED, log=False)
    asked_big = copied.queries

# %%
if computing:
    uniform = torch.rand(5000, 1, 28, 28, generator=generator(SEED, "wide")).to(mnist.test.x)
    judges = torch.cat([mnist.test.x, uniform]).double()
    with torch.no_grad():
        scores = hundred_thousand(judges)
        big_error = float(
            (scores[:, :1] - scores[:, 1:] - copied.model(judges)[:, :1]).abs().max()
        )
    say(
        f"{copied.model[1].out_features} units, complete: {copied.complete}; {asked_big:,} questions are 2 to the power "
        f"{math.log2(asked_big):.1f}, the error 2 to the power {math.log2(big_error):.1f}; scores reach {float(scores.abs().max()):.0f}."
    )
trained = {"training": "20,000 images, 3 epochs", "output": "log-ratio of two classes"}
small_net = {"network": "64-32-10 on digits", "output": "log-ratios of ten classes"}
for figure, value, settings in (
    ("small-nets-worst-case-error", small_error, small_net),
    ("100k-parameter-mnist-net-queries", asked_big, trained),
    ("100k-parameter-mnist-net-worst-case-error", big_error, trained),
):
    compare("ex-cryptanalytic", figure, value, kind="analogue", settings=settings)

# %% [markdown]
# **Orekondy et al. 2019** distilled large photograph classifiers with photographs of other things. Their networks and data do not fit here, and a small stand-in would not tell
# anything about them, so the numbers are only cited. Papernot et al. 2017's substitute is compared in [chapter 13](13_transfer.ipynb).

# %%
from labkit.reporting import cited

cited(
    "ex-knockoff",
    {
        f"relative-accuracy-{name.lower()}": name
        for name in ("Caltech256", "CUBS", "Indoor", "Diabetic")
    },
    label="data set",
    value="accuracy of the copy, relative to the victim's",
)

# %% [markdown]
# ## What to remember
#
# - An answer is an equation. A softmax regression of $d$ inputs falls to $d + 1$ answers with probabilities, exactly; a small ReLU network to some thousands.
# - Labels only, rounding and limits raise the price. Judge them against the thief who knows them: likelihood, bisection, several accounts.
# - Accuracy and fidelity are different goals. A copy made of answers repeats the errors; a copy made of true labels repeats fewer.
# - Score copies on inputs that were never queried. Count every query, and put the bill beside the price of honest labels. A thief who trained too briefly proves no defense.
#
# **Think about it.** A competitor trains on your service's answers, a hundred thousand of them, all asked by real customers through a browser plug-in. Nothing unusual is in your
# logs. Is it theft? What in your contract, your price list or your answers would you change?
#
# **Further reading.** Tramèr et al. 2016 (arXiv 1609.02943): equations, trees, networks, real services. Lowd and Meek 2005 (KDD): labels only. Papernot et al. 2017 (arXiv 1602.02697):
# substitutes. Orekondy et al. 2019 (arXiv 1812.02766): any network, other data. Jagielski et al. 2020 (arXiv 1909.01838): accuracy against fidelity, exact copies. Carlini, Jagielski and Mironov 2020
# (arXiv 2003.04884): deeper networks by differential cryptanalysis. Chen et al. 2024 (arXiv 2409.11646): networks from labels alone. Juuti et al. 2019 (arXiv 1805.02628): PRADA, watching the questions.
