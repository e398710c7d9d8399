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
# # 19. Model inversion
#
# **What you will be able to do**
#
# - draw a face out of a face reader, with its weights or with its answers alone, and let an independent judge say whether it is the right one;
# - say why the same attack returns noise on a convolutional network, and what a prior from public pictures changes;
# - guess a private field of a record from a model's answer, and find out whether the model had any part in it;
# - read an input and its label out of a shared gradient, exactly, and say what noise on the gradient hides, and from whom.
#
# **You need** [chapter 10](10_evasion_gradient.ipynb) (descent on the input) and [chapter 14](14_query_attacks.ipynb) (gradients from answers).

# %% tags=["parameters"]
PROFILE = "quick"
SEED = 0

# %%
from labkit.course import begin

lab = begin("19_model_inversion", PROFILE, SEED)

# %% tags=["hide-input"]
from labkit.reporting import running_times

running_times()

# %% tags=["hide-input"]
import torch

torch.set_num_threads(1)  # thousands of steps on tiny tensors: a second thread would only wait

# %% [markdown]
# ## The idea: a model is made of its training data
#
# A company trains a network to recognize its twenty employees and offers it as a service. The pictures never leave the house. But the network
# answers "how much does this look like person 3?" for *any* picture, so you can look for the picture that looks like person 3 *most*.
#
# This chapter runs inference backwards in three places: from a **class** to a picture, from an **answer** to a field of the record, and from a
# **gradient** to the batch. Who attacks, and what counts as success:

# %%
from labkit.threats.catalogue import card

card("19_model_inversion").show()

# %%
from labkit.data import faces, load

data = load("faces", seed=SEED).to(lab.device)  # private: trains the attacked model
others = load("faces", seed=SEED + 1).to(lab.device)  # the same people again: for judges
public = faces.strangers(seed=SEED).to(lab.device)  # 60 other people, known to everybody
people = torch.arange(len(data.classes), device=lab.device)
mean_face = public.x.mean(0)

# %%
from labkit.reporting import image_row

shown = [0, 1, 3, 6, 12, 18]
own = torch.stack([data.train.x[data.train.y == k].mean(0) for k in shown])
image_row(
    torch.cat([data.train.x[shown], public.x[:6]]),
    [*(data.classes[k] for k in shown), *["a stranger"] * 6],
    per_row=6,
    size=1.1,
)

# %% [markdown]
# The people are drawn by the course: nobody's face is private here. Above: one training picture of six of them, and six
# strangers. Nobody in the public set is one of the twenty, but strangers are drawn by the same program, in the same poses and the same light. That is the best case for an attacker who uses them.
#
# ## From scratch: climb the probability
#
# Softmax regression gives person $k$ the score $w_k \cdot x + b_k$. The slope of $\log p_y$ along the picture is known in closed form:
#
# $$\nabla_x \log p_y(x) = w_y - \sum_k p_k(x) \, w_k.$$
#
# Begin with the mean public face (the paper begins with zeros), follow the slope of $p_y$, stay inside $[0, 1]$, stop when the model is convinced. That is **MI-Face** (Fredrikson et al. 2015).

# %%
from labkit.models import linear, mlp, small_convnet, strided_convnet
from labkit.training import fit

size = data.train.x[0].numel()
smoke = lab.profile == "smoke"
simple = fit(
    linear(size, 20, seed=SEED),
    data.train,
    epochs=lab.pick(quick=60, paper=60, smoke=2),
    learning_rate=5e-3,
    weight_decay=1e-3,
    seed=SEED,
    label="softmax regression",
).model


# %%
def mi_face(weight, bias, target, x, steps, step_size=0.1, enough=0.99):
    """Climb the target's probability of a softmax regression, from the picture x (D,)."""
    x, best, surest = x.clone(), x, 0.0
    for _ in range(steps + 1):
        p = (weight @ x + bias).softmax(0)
        if p[target] > surest:
            best, surest = x, p[target]
        if p[target] >= enough:
            break
        slope = p[target] * (weight[target] - p @ weight)  # of p, not of log p
        x = (x + step_size * slope).clamp(0, 1)
    return best


# %% [markdown]
# ## With labkit
#
# `invert` does this for many classes side by side and for any model; `Pixels` says that the search runs over the pixels, and where it begins. Both must find the
# same pictures.

# %%
from labkit.attacks.inversion import Pixels, invert

steps = lab.pick(quick=400, paper=400, smoke=5)
over_pixels = Pixels((1, 32, 32), begin=mean_face)
found = invert(simple, people, over_pixels, steps=steps)
layer = simple[1]
with torch.no_grad():
    ours = [mi_face(layer.weight, layer.bias, k, mean_face.flatten(), steps) for k in shown]
ours = torch.stack(ours).view(-1, 1, 32, 32)

# %% tags=["nbval-check-output"]
print("the same pictures:", torch.allclose(ours, found.x[shown], atol=1e-3))
print("why it stopped:", sorted(set(found.stopped)))

# %%
image_row(torch.cat([found.x[shown], own]), [*["inverted"] * 6, *["mean of 60"] * 6], size=1.1)

# %% [markdown]
# Above what came out, below the mean of each one's sixty training pictures. You can tell glasses, beards, hairlines. Why does it work at all? Plain gradient descent only ever *adds pictures to the weights*: each step moves $w_y$ along
# $\sum_i ([y_i = y] - p_y(x_i)) \, x_i$, the pictures of $y$ minus those taken for $y$. Begun at zeros, the weights **are** a weighted sum of training pictures, and the very first
# step, over all pictures, is the person's mean minus everybody's mean. Our model begins at random numbers (which weight decay washes out) and is trained by Adam, which stretches
# each pixel's step: for it this is the idea, not an identity.
#
# ## Measure it
#
# ### Who judges?
#
# "You can tell" is no measurement. The model itself cannot judge: it is convinced by construction. We ask two others, who never met the attack:
#
# - **a judge network** of another architecture, trained on *other pictures* of the twenty;
# - **the nearest mean**: whose mean picture, over yet other pictures, is closest, light set aside?
#
# and a number: **likeness**, the correlation with what sets the person apart from the average face. One picture for everybody gets 1 of 20 and likeness 0.

# %%
from labkit.attacks.inversion import identify, likeness, nearest_mean

judge = fit(
    strided_convnet(1, 20, 32, seed=SEED + 5),
    others.train,
    epochs=lab.pick(quick=15, paper=15, smoke=1),
    batch_size=64,
    learning_rate=4e-3,
    shift=2,
    seed=SEED + 5,
    label="the judge",
).model
gallery = others.test if not smoke else others.train
nearest = nearest_mean(gallery, 20)


def judged(x):
    """What the two judges say of twenty pictures, one of each person."""
    heard = identify(judge, x, people)
    return {
        "judge network": heard.within(1),
        "its mean rank": heard.mean_rank,
        "nearest mean": identify(nearest, x, people).within(1),
        "likeness": float(likeness(x, people, gallery, 20).mean()),
    }


# %%
from labkit.reporting import table
from labkit.seeding import generator

noise = torch.rand(20, 1, 32, 32, generator=generator(SEED, "noise")).to(lab.device)
true_mean = torch.stack([data.train.x[data.train.y == k].mean(0) for k in range(20)])
one_each = torch.stack([data.train.x[data.train.y == k][0] for k in range(20)])
rows = {
    "noise": noise,
    "the mean public face": mean_face.expand(20, -1, -1, -1),
    "a random stranger each": public.x[:20],
    "inverted softmax regression": found.x,
    "one true picture each": one_each,
    "each one's true mean": true_mean,
}
table([{"pictures": name, **judged(x)} for name, x in rows.items()])

# %% tags=["hide-input"]
from labkit.reporting import record, say

guessed, real = judged(rows["the mean public face"]), judged(found.x)
record("named by the judge network, softmax regression inverted", real["judge network"])
record("named by the nearest mean, softmax regression inverted", real["nearest mean"])
say(
    f"The judge network names {real['judge network']}, the nearest mean {real['nearest mean']}; of the mean "
    f"face, one in twenty is right by definition ({guessed['judge network'].k} of 20), at a mean rank of {guessed['its mean rank']:.1f}. The last two rows show how "
    f"the judges take real pictures: on a single true one the nearest mean is right for {judged(one_each)['nearest mean'].k} of 20, at a likeness of {judged(one_each)['likeness']:.2f}, since pose and light move every pixel. "
    "Both of these favor pictures that look like an *average*; a true picture is no ceiling for them."
)

# %% [markdown]
# ### Deeper networks
#
# The same attack on a network with a hidden layer of sigmoids, and on a convolutional one. We descend $-\log p$ instead of $1 - p$: the slope of $1 - p$
# is the same times $p$, and where the class is far, $p$ is nothing.
#
# > **Predict.** The convolutional network is the most accurate of the three. Is its inversion the best likeness? How sure will the model be of what it gets?

# %%
deep = fit(
    mlp(size, 20, hidden=(256,), activation=torch.nn.Sigmoid, seed=SEED),
    data.train,
    epochs=lab.pick(quick=40, paper=40, smoke=2),
    learning_rate=3e-3,
    seed=SEED,
    label="one hidden layer",
).model
conv = fit(
    small_convnet(1, 20, 32, seed=SEED),
    data.train,
    epochs=lab.pick(quick=12, paper=12, smoke=1),
    batch_size=64,
    learning_rate=5e-3,
    seed=SEED,
    label="convolutional",
).model
targets = {"softmax regression": simple, "one hidden layer": deep, "convolutional": conv}

# %%
from labkit.evaluation import accuracy

lines, plain = [], {}
for name, model in targets.items():
    plain[name] = invert(model, people, over_pixels, steps=steps, loss="log")
    right = accuracy(model, data.test.x, data.test.y)
    sure = {"accuracy": right, "model convinced": plain[name].convinced}
    lines.append({"inverted": name, **sure, **judged(plain[name].x)})
table(lines, caption="descent over pixels, from the mean public face")

# %%
names = [
    f"{name}\n{k + 1}" for name in ("softmax", "hidden layer", "convolutional") for k in shown
]
image_row(torch.cat([run.x[shown] for run in plain.values()]), names, size=1.1)

# %% tags=["hide-input"]
record("named by the judge network, convolutional, pixels", lines[2]["judge network"])
record("likeness, convolutional, pixels", lines[2]["likeness"], n=20)
say(
    f"The convolutional network is convinced of {lines[2]['model convinced']}, after a median of {int(plain['convolutional'].steps.median())} steps, and "
    f"the likeness is {lines[2]['likeness']:.2f} against {lines[0]['likeness']:.2f} for softmax regression and {lines[1]['likeness']:.2f} for the hidden layer. What you see is an *adversarial example*: the "
    f"mean face with a pattern on it. The judge names {lines[2]['judge network'].k} of 20, a guess 1; whether you would recognize anybody, look for yourself. **Confidence is no evidence of likeness.**"
)

# %% [markdown]
# Nothing failed. The descent did what it was told: find *a* picture that the model takes for person 3. Most of those pictures are no faces. In softmax
# regression the nearest one lies along a sum of training pictures. A convolutional network has countless directions in which a class is
# close ([chapter 2](../foundations/02_why_models_break.ipynb)), and the descent takes the first. What is missing is the knowledge that the answer is a face.
#
# ### Priors: what everybody knows about faces
#
# - **Few edges** (total variation): neighboring pixels differ little, or it costs.
# - **Smoothing**: after every step each pixel is mixed with the mean of its surroundings.
# - **Eigenfaces**: search only among weighted sums of the main differences between *public* faces, and prefer small weights. It is a linear generator;
#   GMI (Zhang et al. 2020) does the same with a GAN.
#
# Public pictures may do the work without any search. So there is a new baseline: **the public picture that the model likes best** for each person.
# All searches below have the same number of steps and go on until the model is very sure. Step lengths and weights are the better ones of a few, tried
# on these same people: each row is its prior's good day.

# %%
from labkit.attacks.inversion import Eigenfaces, smooth

eigenfaces = Eigenfaces.fit(public.x, 30, weight=0.02)
unit = {"loss": "log", "unit": True}
long = {"steps": lab.pick(quick=60, paper=60, smoke=3), "confidence": 0.9999, **unit}
with torch.no_grad():
    liked = public.x[conv(public.x).log_softmax(1).argmax(0)]


def over_conv(tv=0.0, share=0.0):
    """Search over pixels, with a price for edges, or a share of smoothing after every step."""
    prior = Pixels((1, 32, 32), begin=mean_face, tv=tv)
    return invert(
        conv, people, prior, step_size=2.0, process=lambda x: smooth(x, share), **long
    ).x


# %%
dreamt = invert(conv, people, eigenfaces, step_size=0.2, **long)
by_prior = {
    "the mean public face": mean_face.expand(20, -1, -1, -1),
    "the public picture it likes best": liked,
    "pixels": over_conv(),
    "few edges": over_conv(tv=1.0),
    "a little smoothing": over_conv(share=0.1),
    "much smoothing": over_conv(share=0.9),
    "eigenfaces": dreamt.x,
}
table([{"convolutional network, prior": name, **judged(x)} for name, x in by_prior.items()])

# %%
from labkit.reporting import bar_chart

bar_chart(
    {name: judged(x)["judge network"] for name, x in by_prior.items()},
    xlabel="people named by the judge network",
    chance=1 / 20,
)

# %%
smoothed = by_prior["much smoothing"]
image_row(
    torch.cat([smoothed[shown], liked[shown], dreamt.x[shown], data.train.x[shown]]),
    [
        f"{what}{k + 1}"
        for what in ("smoothed\n", "liked best\n", "eigenfaces\n", "person ")
        for k in shown
    ],
    size=1.1,
)

# %% tags=["hide-input"]
told_apart = {name: judged(x) for name, x in by_prior.items()}
with_prior, best_public = told_apart["eigenfaces"], told_apart["the public picture it likes best"]
bare, weak, strong = (
    told_apart[name] for name in ("pixels", "a little smoothing", "much smoothing")
)
record("named by the judge network, convolutional, eigenfaces", with_prior["judge network"])
record("named by the judge network, the public picture liked best", best_public["judge network"])
record("likeness, convolutional, eigenfaces", with_prior["likeness"], n=20)
say(
    f"Of 20 people the judge names {bare['judge network'].k} from bare pixels, {weak['judge network'].k} with a little smoothing, {strong['judge network'].k} with much, and "
    f"{with_prior['judge network'].k} with eigenfaces; the likeness goes {bare['likeness']:.2f}, {weak['likeness']:.2f}, {strong['likeness']:.2f}, {with_prior['likeness']:.2f}. "
    "Before you say that a prior does not help, try it stronger. "
    f"And merely *picking* the stranger whom the model likes best gets {best_public['judge network'].k} at a likeness of {best_public['likeness']:.2f}: over 20 people the intervals in the "
    "figure are wide, so look at them before you rank the best three by names."
)
say(
    f"The judges do not agree: from bare pixels the network names {bare['judge network'].k} and the nearest mean {bare['nearest mean'].k}; with much smoothing {strong['judge network'].k} and "
    f"{strong['nearest mean'].k}; with eigenfaces {with_prior['judge network'].k} and {with_prior['nearest mean'].k}. Look at the smoothed row: would *you* have named them? "
    "The judge is a convolutional network too, and a pattern made for one network may convince another ([chapter 13](13_transfer.ipynb)). A study should name its judge, and have two."
)

# %% [markdown]
# ### With answers alone
#
# A service gives no gradient, but pairs of answers do ([chapter 14](14_query_attacks.ipynb)). The number of *dimensions* sets the price: over pixels it is 1,024, in the
# prior's coordinates 30. The baseline again needs no search: ask once about each of the six hundred
# public pictures (drawn with the same 30 numbers), and keep for each person the one whose answer is highest. That costs 30 queries for each person.

# %%
from labkit.attacks.inversion import invert_by_queries
from labkit.endpoint import Endpoint
from labkit.reporting import curve

first_answers = Endpoint(deep)
codes = eigenfaces.encode(public.x)  # as 30 numbers each: a little blurred, like what is searched
drawn = eigenfaces.decode(codes)
picked = drawn[first_answers.as_model()(drawn).argmax(0)]
by_picking = f"picked ({first_answers.queries / 20:.0f} queries)"
turns = lab.pick(quick=(5, 15, 40), paper=(5, 15, 40), smoke=(1, 2))
spent, named = [], {"pixels": [], "eigenfaces": []}
for count in turns:
    for name, prior, length in (("pixels", over_pixels, 1.0), ("eigenfaces", eigenfaces, 0.3)):
        service = Endpoint(deep)
        probes = {"pairs": 5, "sigma": 0.01, "steps": count, "step_size": length, "unit": True}
        asked = invert_by_queries(
            service.as_model(), people, prior, confidence=0.9999, seed=SEED, **probes
        )
        named[name].append(judged(asked.x)["judge network"])
    spent.append(service.queries / 20)
curve(
    spent,
    named | {by_picking: [judged(picked)["judge network"]] * len(spent)},
    xlabel="queries for each person",
    ylabel="people named by the judge",
    unit="%",
)

# %% tags=["nbval-check-output"]
print("queries on the attacker's list and on the service's:", asked.costs, service.queries)

# %% tags=["hide-input"]
record("named after the last step of queries, eigenfaces", named["eigenfaces"][-1])
picking = judged(picked)
record("named by picking among the public pictures, answers alone", picking["judge network"])
say(
    f"The attacked network is the one with a hidden layer. After {spent[-1]:.0f} answers for each person the search over eigenfaces has {named['eigenfaces'][-1]} named, the search over pixels "
    f"{named['pixels'][-1].k} of 20. Picking has {picking['judge network']}, for {first_answers.queries / 20:.0f} queries; with {spent[0]:.0f} the eigenfaces stood at {named['eigenfaces'][0].k}. "
    f"In *likeness* the search ends at {judged(asked.x)['likeness']:.2f}, picking at {picking['likeness']:.2f}."
)

# %% [markdown]
# ### Attribute inference: one field of a record
#
# The first inversion attack (Fredrikson et al. 2014) had no faces. A model recommends the dose of a drug from a patient's gene and a few plain facts. The attacker knows the
# plain facts and the dose that the patient takes, and wants the **gene**: try each value, and see which one makes the model recommend that dose,
#
# $$\hat v = \arg\max_v \; p_{\text{model}}(y \mid x \text{ with } v) \; \Pr(v).$$
#
# Our clinic is made up, so that the truth is known. Origin shifts the gene; gene, age, weight and another drug shift the dose.


# %%
def clinic(count, name):
    """Patients (N, 7): gene (0, 1, 2), origin (0, 1, 2), age, weight, drug, smoker; and doses."""
    source = generator(SEED, "clinic", name)
    origin = torch.multinomial(torch.tensor([0.6, 0.25, 0.15]), count, True, generator=source)
    share = torch.tensor([[0.37, 0.47, 0.16], [0.80, 0.18, 0.02], [0.02, 0.18, 0.80]])[origin]
    gene = torch.multinomial(share, 1, generator=source)[:, 0]
    age, weight, drug, smoker, rest = torch.rand(5, count, generator=source)
    drug, smoker = (drug < 0.2).float(), (smoker < 0.25).float()
    dose = 1.5 - 0.9 * gene - 0.9 * age + 0.9 * weight - 0.8 * drug + 0.35 * smoker
    dose = dose + 0.35 * (2 * rest - 1) * 3**0.5
    onehot = torch.nn.functional.one_hot
    known = torch.stack([age, weight, drug, smoker], 1)
    x = torch.cat([onehot(gene, 3), onehot(origin, 3), known], 1).float()
    return x, torch.bucketize(dose, torch.tensor([-0.2, 0.8])), gene


def with_gene(x, value):
    """Write a gene into the records."""
    x = x.clone()
    x[:, :3] = 0
    x[:, value] = 1
    return x


# %%
from labkit.data.dataset import Split

patients, new = clinic(300, "trained on"), clinic(1500, "new")
elsewhere = clinic(4000, "elsewhere")  # the attacker's own
doser = fit(
    mlp(10, 3, (64, 64), seed=SEED),
    Split(patients[0], patients[1], "train", "clinic"),
    epochs=lab.pick(quick=400, paper=400, smoke=2),
    batch_size=64,
    learning_rate=5e-3,
    seed=SEED,
    device="cpu",
    label="the dosing model",
).model

# %%
from labkit.attacks.inversion import confusion_of, from_prior, impute, infer_attribute


def attackers(group, own):
    """Guessers of the gene: with or without the model, with or without `own` other records."""
    x, y, gene = group
    theirs, onehot = [part[:own] for part in elsewhere], torch.nn.functional.one_hot
    marginal = torch.bincount(elsewhere[2], minlength=3).double() / len(elsewhere[2])
    often = confusion_of(doser, theirs[0], theirs[1], 3)  # what the model says to each true dose
    facts = impute(theirs[0][:, 3:], theirs[2], x[:, 3:], 3)  # from origin, age, ...
    told, known = (torch.cat([t[0][:, 3:], onehot(t[1], 3)], 1) for t in (theirs, group))
    and_dose = impute(told, theirs[2], known, 3)  # ... and the dose: no model needed
    return {
        "most frequent": from_prior(marginal, len(x), truth=gene),
        "model": infer_attribute(doser, x, y, with_gene, marginal, truth=gene),
        "model, class alone": infer_attribute(
            doser, x, y, with_gene, marginal, confusion=often, truth=gene
        ),
        "imputation": from_prior(and_dose, len(x), truth=gene),
        "model + imputation": infer_attribute(doser, x, y, with_gene, facts, truth=gene),
    }


# %%
groups = {"trained on": patients, "new": new}
owned = lab.pick(quick=(10, 1000, 4000), paper=(10, 1000, 4000), smoke=(30, 1000))
guesses = {own: {name: attackers(one, own) for name, one in groups.items()} for own in owned}
at_1000 = guesses[1000]
table(
    [
        {"patients": name, **{who: one.metrics["guessed right"] for who, one in guess.items()}}
        for name, guess in at_1000.items()
    ],
    caption="genes guessed right; imputation has 1,000 records of other patients",
)

# %% [markdown]
# Which baseline is honest decides the story. How genes, ages and doses go together is a fact about *people*; a doctor could know it. What only the model knows is about its *training
# patients*. So what does the model add to imputation, for attackers with few or many records of other people?

# %%
gains = {
    name: [
        at[name]["model + imputation"].advantage(at[name]["imputation"])
        for at in guesses.values()
    ]
    for name in groups
}
curve(
    owned,
    {name: [value for value, _ in pairs] for name, pairs in gains.items()},
    bands={
        name: list(zip(*(span for _, span in pairs), strict=True))
        for name, pairs in gains.items()
    },
    xlabel="records of other patients that the attacker has",
    ylabel="what the model adds: share of genes",
    log_x=True,
)

# %% tags=["hide-input"]


def told(pair):
    """Write a difference in points with its interval."""
    value, (low, high) = pair
    return f"{100 * value:+.1f} points ({100 * low:+.1f} to {100 * high:+.1f})"


usual_guess = at_1000["new"]["most frequent"]
over_usual = [
    at_1000["new"][who].advantage(usual_guess) for who in ("model", "model, class alone")
]
for name, pairs in gains.items():
    record(
        f"advantage of the model over imputation, patients {name}",
        pairs[1][0],
        interval=pairs[1][1],
    )
say(
    f"Over a guess from the frequencies the model gains {told(over_usual[0])} on patients whom it never saw; a service that names its class and hides its probabilities still "
    f"gives {told(over_usual[1])}. But anybody can guess who has records of *other* patients. Added to imputation from {owned[1]:,} such records, the model gains "
    f"{told(gains['new'][1])} on new patients and {told(gains['trained on'][1])} on those it was trained on. (The intervals are over patients, for this one model.)"
)
say(
    f"With {owned[0]} records the gain on new patients is {told(gains['new'][0])}, with {owned[-1]:,} {told(gains['new'][-1])}; on the patients it was trained on, "
    f"{told(gains['trained on'][-1])}. For new patients the model stands in for data that the attacker lacks. What the patients it was trained on lose "
    "*beyond* the new ones is most likely what it learned by heart. Jayaraman and Evans (2022) compared attacks with imputation on real tables: attacks through answers were hardly ever ahead; "
    "an attack of their own on the *weights* was, for some records."
)

# %% [markdown]
# On real records the trap is deeper. In the tumor data, call one measurement private: is the *worst radius* above the median? Ask a model that tells benign from malignant:

# %%
tumors = load("tumors")
field = tumors.features.index("worst radius")
middle = tumors.train.x[:, field].median()
half, rest = (tumors.train.take(torch.arange(i, len(tumors.train), 2)) for i in (0, 1))
reader = fit(mlp(30, 2, (32,), seed=SEED), half, epochs=60, seed=SEED, device="cpu").model
theirs, large = ((part.x[:, field] > middle).long() for part in (rest, tumors.test))
levels = [rest.x[:, field][theirs == v].mean() for v in (0, 1)]


def with_radius(x, value):
    """Write a typical small or large radius into the records."""
    x = x.clone()
    x[:, field] = levels[value]
    return x


# %%
open_fields = [i for i in range(30) if i != field]
usual = torch.stack([torch.bincount(theirs[rest.y == c], minlength=2) for c in (0, 1)])
filled = impute(rest.x[:, open_fields], theirs, tumors.test.x[:, open_fields], 2)
asked_about = (reader, tumors.test.x, tumors.test.y, with_radius)
no_model = {
    "most frequent value": usual.sum(0) / len(rest),
    "diagnosis": (usual / usual.sum(1, keepdim=True))[tumors.test.y],
    "29 measurements": filled,
}
guessers = {name: from_prior(p, len(large), truth=large) for name, p in no_model.items()}
for name, p in (("diagnosis", torch.tensor([0.5, 0.5])), ("diagnosis, 29 measurements", filled)):
    guessers[f"{name}, model"] = infer_attribute(*asked_about, p, truth=large)
table(
    [{"guess from": name, **one.metrics} for name, one in guessers.items()],
    caption="worst radius above the median?",
)

# %% tags=["hide-input"]
most, plainly, imputed, by_model, on_top = guessers.values()
record("worst radius guessed, most frequent value", most.metrics["guessed right"])
record("worst radius guessed, the diagnosis alone", plainly.metrics["guessed right"])
record("worst radius guessed, model", by_model.metrics["guessed right"])
record("worst radius guessed, imputation", imputed.metrics["guessed right"])
differ = int((by_model.guess != plainly.guess).sum())
say(
    f"Against the most frequent value ({most.metrics['guessed right'].k} of {len(large)}) the model seems to leak: {by_model.metrics['guessed right'].k}. But its attacker *knows the diagnosis*, "
    f'and malignant tumors are large. Whoever says "large" for each malignant one and asks nobody is right for {plainly.metrics["guessed right"].k}; the two guess differently for {differ} patients. '
    f"The model's advantage over the diagnosis is {told(by_model.advantage(plainly))}; over imputation from the other 29 measurements, to which it is added, {told(on_top.advantage(imputed))}. "
    "None of these patients was in the model's training data."
)

# %% [markdown]
# ### Gradients that leak
#
# In federated training nobody sends pictures; everybody sends *gradients*. Look at the first linear layer, $z = W x + b$. By the chain rule
#
# $$\frac{\partial L}{\partial W_{ij}} = \frac{\partial L}{\partial b_i} \, x_j, \qquad\text{so}\qquad x = \frac{\partial L / \partial W_i}{\partial L / \partial b_i}$$
#
# for every row $i$ that is not zero. With one picture in the batch the picture *is in the message*. And the label: the gradient of the last bias is $p_k - [k = y]$, negative at $y$ alone.

# %%
from labkit.attacks.inversion import (
    input_of_linear,
    label_from_bias,
    label_from_weight,
    psnr,
    shared_gradient,
)

digits = load("digits")
pupil = mlp(64, 10, (32,), seed=SEED).double()
senders = digits.train.subset(lab.pick(quick=100, paper=100, smoke=4))
exact, labels = [], []
for x, y in zip(senders.x.double(), senders.y, strict=True):
    message = shared_gradient(pupil, x[None], y[None])
    exact.append(float((input_of_linear(message[0], message[1]) - x.flatten()).abs().max()))
    labels.append(label_from_bias(message[-1]) == label_from_weight(message[-2]) == int(y))

# %% tags=["nbval-check-output"]
print("largest error of any pixel below 1e-6:", max(exact) < 1e-6)
print("labels read:", sum(labels), "of", len(labels))

# %% [markdown]
# No search, no approximation. A convolution shares its weights over places, so its layer gives no such simple equation. **Deep leakage** (DLG, Zhu et al. 2019) searches instead: for an input *and* a
# label whose gradient is the one that was seen, by L-BFGS. iDLG (Zhao et al. 2020) reads the label first. The network needs second derivatives, hence sigmoids.
#
# What makes it harder? **Larger batches**: one gradient, eight pictures, in no order. And does **training** the network protect?

# %%
from labkit.attacks.inversion import deep_leakage, labels_present
from labkit.models.layers import seeded


@seeded
def lenet(channels, classes, flat, strides):
    """These papers' LeNet: convolutions of twelve 5x5 filters, sigmoids, uniform weights."""
    body, inside = [], channels
    for stride in strides:
        body += [torch.nn.Conv2d(inside, 12, 5, stride, padding=2), torch.nn.Sigmoid()]
        inside = 12
    net = torch.nn.Sequential(*body, torch.nn.Flatten(), torch.nn.Linear(flat, classes))
    for parameter in net.parameters():
        torch.nn.init.uniform_(parameter, -0.5, 0.5)
    return net


fresh = lenet(1, 10, 12 * 16, (2, 1), seed=SEED)
learned = fit(
    lenet(1, 10, 12 * 16, (2, 1), seed=SEED),
    digits.train,
    epochs=lab.pick(quick=30, paper=30, smoke=1),
    learning_rate=3e-3,
    seed=SEED,
    device="cpu",
    label="the trained sigmoid network",
).model

# %%
from labkit.rates import Rate

one_by_one = digits.train.subset(lab.pick(quick=12, paper=12, smoke=2))
total = lab.pick(quick=8, paper=8, smoke=2)  # of them, in one batch
rounds, patience = lab.pick(quick=(8, 30), paper=(8, 30), smoke=(1, 1))


def leak(model, x, y, steps, read=None, seed=SEED):
    """Deep leakage on one gradient; `read` takes the labels from it, else they are searched too."""
    sent = shared_gradient(model, x, y)
    labels = None if read is None else read(sent)
    again = {"starts": 2, "enough": 1e-6}  # a second beginning, where the first is a dead end
    run = deep_leakage(model, sent, x.shape, labels=labels, steps=steps, seed=seed, **again)
    return run.scored(x, y)


# %%
each = list(enumerate(zip(one_by_one.x.split(1), one_by_one.y.split(1), strict=True), SEED))
batch = (one_by_one.x[:total], one_by_one.y[:total])


def idlg_reads(sent):
    """The label of one picture, from the last layer."""
    return torch.tensor([label_from_weight(sent[-2])])


leaks = {
    "DLG, one by one": [leak(fresh, *one, rounds, seed=i) for i, one in each],
    "iDLG, one by one": [leak(fresh, *one, rounds, idlg_reads, seed=i) for i, one in each],
    f"a batch of {total}, untrained": [leak(fresh, *batch, patience, lambda sent: batch[1])],
    f"a batch of {total}, trained": [leak(learned, *batch, patience, lambda sent: batch[1])],
}


def tally(runs):
    """Pictures recovered, the median PSNR, what the search left, and what it took."""
    back = torch.cat([run.psnr for run in runs])
    return {
        "recovered (20 dB)": Rate(int((back >= 20).sum()), len(back), "pictures"),
        "median PSNR, dB": float(back.median()),
        "largest mismatch": max(run.mismatch for run in runs),
        "gradients each": sum(run.gradients for run in runs) / len(back),
    }


leaked = {name: tally(runs) for name, runs in leaks.items()}
table([{"attack": name, **line} for name, line in leaked.items()])

# %%
back = leaks[f"a batch of {total}, trained"][0].x
captions = [*["sent"] * total, *["recovered"] * total]
image_row(torch.cat([batch[0], back]), captions, per_row=total, size=1)

# %% tags=["hide-input"]
dlg, idlg, at_once, at_once_trained = (line["recovered (20 dB)"] for line in leaked.values())
record("recovered by DLG, one by one", dlg)
record("recovered by iDLG, one by one", idlg)
in_batch = set(batch[1].tolist())
hidden_in = [
    len(in_batch - set(labels_present(shared_gradient(net, *batch)[-1])))
    for net in (fresh, learned)
]
say(
    f"One by one, DLG recovers {dlg} and iDLG {idlg}. A search may end in a dead end; with one picture the attacker sees it by the mismatch, and here begins a second time. "
    f"Of the {total} pictures in *one* batch {at_once.k} come back from the untrained network and {at_once_trained.k} from the trained one. They stand or fall together: "
    "eight in one batch are one trial, not eight, so do not rank the two. What they show is that neither training nor a batch of eight protects by itself. "
    f"The batch's labels were given to the search; of its {len(in_batch)} different ones, all but {hidden_in[0]} (trained: {hidden_in[1]}) can be read from the last bias, as its negative entries."
)
say(
    f"These pictures are tiny: {sum(p.numel() for p in fresh.parameters()):,} numbers are sent about 64 pixels. For photographs, batch normalization and large batches it is much harder "
    "than these figures suggest (Huang et al. 2021), and papers often attack networks that were never trained."
)

# %% [markdown]
# ## Break it, fix it
#
# ### The service says less
#
# Against the inversion by queries the owner can round, name only the likeliest class with its probability, or the label alone. Attackers: a **careless** one (probes at `sigma = 0.01`) and one who
# **knows** (begins at the public face whose answer for the person is highest, and probes far away); beside the latter stands their **start alone**. And two who need **labels** only: one asks for the label of each of
# the six hundred public faces and **averages** those with the same label, in the prior's coordinates; the other draws faces from the prior until one is
# taken for the person, then **walks** away from wherever the answer changes (BREP-MI, Kahla et al. 2022).
# The settings of the one who knows and of the walk were chosen after a few trials judged on these same people, so their rows are the attackers' good days.

# %%
from functools import partial

from labkit.attacks.inversion import invert_by_labels

says = {
    "all digits": {},
    "2 decimals": {"decimals": 2},
    "1 decimal": {"decimals": 1},
    "top class": {"answers": "top", "top": 1},
    "label": {"answers": "labels"},
}
probing = {"pairs": 5, "step_size": 0.3, "unit": True, "confidence": 0.9999, "seed": SEED}
search = partial(invert_by_queries, steps=turns[-1], **probing)
grid, blind = torch.full((5, len(says)), torch.nan), {}
spent_by = {}
for column, (kind, options) in enumerate(says.items()):
    service = Endpoint(deep, **options)
    begun = codes[service.as_model()(drawn).argmax(0)]  # 600 queries for all
    spent_by["start alone"] = service.queries / 20
    knowing = search(service.as_model(), people, eigenfaces, sigma=1.0, start=begun)
    spent_by["knows"] = max(spent_by.get("knows", 0), service.queries / 20)
    if kind == "all digits":
        careless = asked  # the same search as above
    else:
        careless = search(service.as_model(), people, eigenfaces, sigma=0.01)
    spent_by["careless"] = max(spent_by.get("careless", 0), int(careless.queries.sum()) / 20)
    blind[kind] = int(careless.blind.sum())
    for row, x in enumerate((careless.x, eigenfaces.decode(begun), knowing.x)):
        grid[row, column] = float(judged(x)["judge network"])

# %%
once = Endpoint(deep, answers="labels")
label = once(drawn)
same = torch.nn.functional.one_hot(label, 20).to(codes).T
averaged = eigenfaces.decode(same @ codes / same.sum(1, keepdim=True).clamp_min(1))
only = Endpoint(deep, answers="labels")
walk = lab.pick(quick=1000, paper=1000, smoke=60)
walked = invert_by_labels(
    only, people, eigenfaces, queries=walk, samples=20, step=1.0, within=1.0, seed=SEED
)
for row, x in ((3, averaged), (4, walked.x)):  # one run each; it serves for every column
    grid[row, -1] = float(judged(x)["judge network"])
spent_by |= {"labels, averaged": once.queries / 20, "labels, walk": only.queries / 20}

# %%
from labkit.reporting import heatmap

attackers_in_order = ("careless", "start alone", "knows", "labels, averaged", "labels, walk")
heatmap(
    grid,
    [f"{name} ({spent_by[name]:.0f} queries)" for name in attackers_in_order],
    list(says),
    unit="%",
    label="people named",
    column_label="the service says",
    title="named by the judge network, of 20 people",
)

# %% tags=["hide-input"]
by_walk, by_average = judged(walked.x), judged(averaged)
careless_k, start_k, knows_k = (
    [round(float(cell) * 20) for cell in grid[row]] for row in range(3)
)
record("named through labels only, public faces averaged", by_average["judge network"])
record("named through labels only, walk away from the boundary", by_walk["judge network"])
say(
    f"At one decimal the careless attacker is blind from the start for {blind['1 decimal']} of 20 people, and the judge names {careless_k[2]}. The one who knows gets "
    f"{knows_k[2]}, but the start alone has {start_k[2]}: over the five columns the search adds {', '.join(str(b - a) for a, b in zip(start_k, knows_k, strict=True))} people to the start. "
    f"Through labels alone the walk gets {by_walk['judge network']} at a likeness of {by_walk['likeness']:.2f}, with {only.queries / 20:.0f} queries for each person; to average the public faces that get the label "
    f"takes {once.queries / 20:.0f} and gets {by_average['judge network']} at {by_average['likeness']:.2f}. With good public faces, much of the work is done by the public faces. "
    '(Label attackers are drawn once, under "label"; they would do the same whatever else is said.)'
)
say(
    "Saying less stops the careless; it does not end the leak, because the model *has to* tell people apart, and telling them apart is what is being read. "
    "Intervals over 20 people are wide: compare 10 with 12 and you compare noise."
)

# %% [markdown]
# ### Noise on the gradient
#
# Clipping a gradient scales it: $\partial L / \partial W_i$ and $\partial L / \partial b_i$ alike. Their quotient stays, and so does the picture. **Noise** does not cancel, but it has a price: the model learns from the same noisy
# messages. Sixteen participants send one digit each per round, clipped to length 1, with noise of deviation $\sigma$ on every number; the server averages and takes a step.
#
# An attacker who knows about the noise does not trust one row. Every row of $(\partial W, \partial b)$ is a multiple of $(x, 1)$: their **main direction** (the first singular vector) has
# the least noise, and its last number, which has to be 1, gives the scale.
#
# That attacker still knows nothing about digits. Two more ask for less than a sharp picture, and use that they have the model: they can work out what *any* digit would have sent. One holds a **list of
# candidates** (the whole training set) and wants to know which of them was sent: the one whose message is nearest. The other only wants the **label**: the class whose mean message, over test digits that nobody
# sends, is nearest.

# %%
from labkit.attacks.inversion import clipped, noised

clean_message = shared_gradient(pupil, senders.x[:1].double(), senders.y[:1])
short = clipped(clean_message, 0.01)

# %% tags=["nbval-check-output"]
same = torch.allclose(input_of_linear(short[0], short[1]), senders.x[0].flatten().double())
print("clipped to 0.01, and still the same picture:", same)

# %%
from torch.func import functional_call, grad, vmap
from torch.nn.functional import cross_entropy


def train_noisily(sigma, rounds, senders=16, rate=1.0):
    """Federated training of a small network on digits; returns what it gets right in the test set."""
    net, source = mlp(64, 10, (32,), seed=SEED), generator(SEED, "federated", str(sigma))
    weights = {name: p.detach().clone() for name, p in net.named_parameters()}

    def loss(weights, x, y):
        return cross_entropy(functional_call(net, weights, (x[None],)), y[None])

    each = vmap(grad(loss), in_dims=(None, 0, 0))
    for turn in range(rounds):
        chosen = torch.randint(len(digits.train), (senders,), generator=source)
        sent = each(weights, digits.train.x[chosen], digits.train.y[chosen])
        length = torch.stack([g.flatten(1).square().sum(1) for g in sent.values()]).sum(0).sqrt()
        for name, g in sent.items():
            scale = (1 / length).clamp(max=1).view(-1, *[1] * (g.ndim - 1))
            noise = sigma * torch.randn(g.shape, generator=source)
            step = rate * (1 - turn / rounds)  # ever smaller steps average the noise out
            weights[name] = weights[name] - step * (scale * g + noise).mean(0)
    with torch.no_grad():
        return functional_call(net, weights, (digits.test.x,)).argmax(1) == digits.test.y


# %%
def messages_of(split):
    """What would be sent about each digit: its gradient, clipped to length 1."""
    pairs = zip(split.x.double(), split.y, strict=True)
    return [clipped(shared_gradient(pupil, x[None], y[None]), 1.0) for x, y in pairs]


def flat(messages):
    """Messages as rows of numbers (N, D)."""
    return torch.stack([torch.cat([part.flatten() for part in one]) for one in messages])


messages, listed = messages_of(senders), flat(messages_of(digits.train))
of_test = flat(messages_of(digits.test))
of_class = torch.stack([of_test[digits.test.y == k].mean(0) for k in range(10)])

# %%
noises = lab.pick(
    quick=(0.0, 0.008, 0.015, 0.03, 0.1, 0.3, 1.0), smoke=(0.0, 0.1), paper=(0.0, 0.1)
)
learning = lab.pick(quick=300, paper=300, smoke=3)
learns, seen = [], {"one row": [], "all rows": [], "picked": [], "label": []}
for sigma in noises:
    right = train_noisily(sigma, learning)
    learns.append(Rate(int(right.sum()), len(right), "test digits"))
    sent = [noised(message, sigma, seed=i) for i, message in enumerate(messages)]
    hits = {}
    for name, way in (("one row", "best"), ("all rows", "all")):
        read = torch.stack([input_of_linear(g[0], g[1], rows=way) for g in sent]).clamp(0, 1)
        hits[name] = psnr(read.view(senders.x.shape), senders.x) >= 20
    nearest_one = digits.train.x[torch.cdist(flat(sent), listed).argmin(1)]
    hits["picked"] = (nearest_one == senders.x).flatten(1).all(1)
    hits["label"] = torch.cdist(flat(sent), of_class).argmin(1) == senders.y
    for name, hit in hits.items():
        seen[name].append(Rate(int(hit.sum()), len(hit), "digits"))

# %%
at_zero = min(rates[0].k for rates in seen.values())
curve(
    noises[1:],
    {name: rates[1:] for name, rates in seen.items()} | {"accuracy": learns[1:]},
    xlabel="noise on each number of a message",
    ylabel=f"share of {len(senders)} digits; test accuracy",
    unit="%",
    log_x=True,
    title=f"without noise: the weakest reads {at_zero}, accuracy {float(learns[0]):.0%}",
)

# %% tags=["hide-input"]
apart = [a.k - b.k for a, b in zip(seen["all rows"], seen["one row"], strict=True)]
place = apart.index(max(apart))
cheap = max(i for i, rate in enumerate(learns) if float(rate) >= float(learns[0]) - 0.02)
for way, rates in seen.items():
    record(f"told from gradients with noise {noises[cheap]:g}, {way}", rates[cheap])
record(f"accuracy of training with noise {noises[cheap]:g}", learns[cheap])
record("accuracy of training without noise", learns[0])
say(
    f"Without noise the weakest attacker reads {at_zero} of {len(senders)}. At a noise of {noises[place]:g} one row still reads {seen['one row'][place].k} and all rows together "
    f"{seen['all rows'][place].k}: whoever tunes the noise on the attacker with one row tunes it too low. "
    f"The largest noise that costs at most two points of accuracy is {noises[cheap]:g}: the model has {learns[cheap]}, against {learns[0]} without noise. "
    f"A bargain? At that noise all rows read {seen['all rows'][cheap].k}, but the sent digit is picked out of {len(listed):,} candidates {seen['picked'][cheap].k} times of {len(senders)}, and its label is read {seen['label'][cheap].k} times. "
    "**A picture that cannot be drawn is not yet private.**"
)
say(
    f"At a noise of {noises[-1]:g}, {seen['picked'][-1].k} of {len(senders)} are picked and {seen['label'][-1].k} labels read (a guess is right for one in ten), and the model has {learns[-1]}. "
    "Averaging over the senders keeps the model alive. It would also help an attacker who sees the *same* digit in "
    "many rounds. What noise *guarantees* against every attacker, and at which price, is the subject of chapter 48."
)

# %% [markdown]
# | the owner | stops | does not stop |
# | --- | --- | --- |
# | rounds, or says labels only | careless probing | attackers who begin at public faces, probe far away, or walk by labels; guessing a field from the class alone |
# | clips gradients | nothing here: the quotient stays | |
# | sums many participants before anybody looks (secure aggregation), larger batches | the exact leak from one message | whoever can be alone in a batch; a server that chooses the weights so that single pictures stand out (Fowl et al. 2022, Boenisch et al. 2021) |
# | adds noise to gradients | sharp pictures, if it is enough noise, at a price in accuracy | attackers who fit all rows together, average over rounds, or compare with what candidates would have sent |
# | overfits less | what the model learned by heart about single people | what is a fact about everybody |
#
# ## Your turn

# %%
from labkit.course import check, exercise, hint, solution

exercise("19.1")


# %% tags=["exercise"]
def slope(weight, bias, x, target):
    """Return the gradient of log p_target at a picture x, for softmax regression.

    weight: shape (K, D); bias: (K,); x: (D,), one flattened picture; target: a class number. Returns shape (D,).
    """
    raise NotImplementedError


# %% tags=["check"]
check("19.1", slope)

# %% tags=["solution"]
solution("19.1")

# %%
exercise("19.2")


# %% tags=["exercise"]
def read_input(weight_gradient, bias_gradient):
    """Return the input of a linear layer, shape (D,), from the gradients of its weight (M, D) and its bias (M,).

    The batch held one sample. Some of the M outputs may not have been active: their gradients are zero.
    """
    raise NotImplementedError


# %% tags=["check"]
check("19.2", read_input)

# %% tags=["solution"]
solution("19.2")

# %%
exercise("19.3")


# %% tags=["exercise"]
def guess_field(probabilities, y, prior):
    """Return the likeliest value of the private field for each record, shape (N,), int64.

    probabilities: shape (N, V, K), the model's answer for record n with value v in the field; y: the label that the
    attacker knows, (N,); prior: how frequent each value is, (V,).
    """
    raise NotImplementedError


# %% tags=["check"]
check("19.3", guess_field)

# %% tags=["solution"]
solution("19.3")

# %% [markdown]
# ## Reported numbers
#
# In profile `quick` nothing is computed here: you see what the papers reported and what this course measured when it last ran the profile `paper`.
#
# **Fredrikson et al. 2015** let people on Mechanical Turk pick, out of a few, the person whose picture had been reconstructed: right about 75 % of the time, skilled workers up to 95 % (cited as we recall the paper, not measured).
# A human study cannot be repeated here. What can be is the classification error of their three models on the AT&T faces: softmax regression, a hidden layer of 3,000
# sigmoids, and a stack of two denoising autoencoders (1,000 and 300 units). Seven pictures of each person train, three test; the paper has 40 people, our copy of the data 38. Which three
# pictures were held out, and for how long they trained, the paper does not say.

# %%
from labkit.models.layers import Normalize
from labkit.reporting import compare

computing = lab.profile != "quick"
att = load("att_faces", smoke=smoke).to(lab.device) if computing else None
pixels, hidden = 112 * 92, lab.pick(quick=3000, paper=3000, smoke=8)
sgd = {"batch_size": 32, "optimizer": "sgd", "seed": SEED, "cache": False}
epochs = lab.pick(quick=12, paper=12, smoke=1)
scale = Normalize([0.44], [0.19])  # the mean and the spread of the training pictures
errors, att_models = {}, {}
if computing:
    for name, factor in (("softmax", 0.0), ("softmax, random start", 1.0)):
        flat = linear(pixels, 38, seed=SEED)
        with torch.no_grad():
            for parameter in flat.parameters():
                parameter.mul_(factor)  # Theano's examples begin at zeros, PyTorch at random
        net = torch.nn.Sequential(scale, *flat)
        slow = {"epochs": 4 * epochs, "learning_rate": 1e-3, "label": name, **sgd}
        att_models[name] = fit(net, att.train, **slow).model
    att_models["mlp"] = fit(
        torch.nn.Sequential(scale, *mlp(pixels, 38, (hidden,), torch.nn.Sigmoid, seed=SEED)),
        att.train,
        epochs=epochs,
        learning_rate=0.01,
        label="MLP",
        **sgd,
    ).model

# %%
from dataclasses import dataclass, replace

from labkit.training import Objective


@dataclass(frozen=True)
class Denoising(Objective):
    """Bring back what was masked: the squared error of the restored input."""

    masked: float = 0.3

    def loss(self, model, x, y, state):
        """Return the mean squared error on inputs with a share of their values set to zero."""
        source = generator(state.seed, "mask", state.step)
        keep = torch.rand(x.shape, generator=source).to(x) >= self.masked
        return (model(x * keep) - x.flatten(1)).square().mean()


def autoencoder(values, units, seed):
    """One layer of the stack and the way back, each with sigmoids."""
    into, back = mlp(values, units, (), seed=seed), mlp(units, values, (), seed=seed + 1)
    return torch.nn.Sequential(*into, torch.nn.Sigmoid(), back[1], torch.nn.Sigmoid())


# %%
if computing:
    seen_by_layer, layers = att.train, [torch.nn.Flatten()]
    widths = lab.pick(quick=(1000, 300), paper=(1000, 300), smoke=(8, 4))
    for units in widths:
        restorer = fit(
            autoencoder(seen_by_layer.x[0].numel(), units, SEED),
            seen_by_layer,
            objective=Denoising(),
            epochs=epochs,
            batch_size=32,
            seed=SEED,
            cache=False,
            label=f"denoising, {units} units",
        ).model
        layers += [restorer[1], restorer[2]]
        with torch.no_grad():
            seen_by_layer = replace(seen_by_layer, x=restorer[:3](seen_by_layer.x))
    stack = torch.nn.Sequential(*layers, linear(widths[-1], 38, seed=SEED)[1])
    tuned = {"epochs": 3 * epochs, "batch_size": 32, "seed": SEED, "cache": False}
    att_models["dae"] = fit(stack, att.train, label="DAE", **tuned).model

# %%
for name, model in att_models.items():
    with torch.no_grad():
        errors[name] = (model(att.test.x).argmax(1) != att.test.y).cpu()
cut = {"people": "38 of 40 (s1, s2 missing)", "held out": "pictures 2, 5, 8 of each"}
ways = {
    "softmax": {"epochs": f"{4 * epochs}, SGD"},
    "mlp": {"epochs": f"{epochs}, SGD"},
    "dae": {"epochs": f"{epochs} for each layer, {3 * epochs} together, Adam"},
}
for name, way in ways.items():
    compare(
        "mi-fredrikson-error", name, outcomes=errors.get(name), kind="reduced", settings=cut | way
    )

# %% [markdown]
# And the attack itself on those models: profile `paper` runs it, and no figures of it are kept in this notebook. It is judged by the nearest mean over the held-out pictures (chance is 1 of 38) and begins at the mean of all training
# pictures, which is private here: an attacker would begin at a public mean. No picture is shown: these are real people. When we ran it:
#
# - **Softmax regression** begun at zeros (as Theano's examples did) and begun at random (as PyTorch does) had the same test error; of the first nearly everybody was named, of the second hardly anybody, though the
#   model was convinced of every picture. A short training without weight decay never washes the random start out. The leak depends on details that nobody reports.
# - **The autoencoders** were convinced of *none* of their pictures, and the nearest mean named everybody from them. That a model is sure proves no likeness; that it is unsure proves no protection.
#   (Their fine-tuning was changed twice after we had seen training and test errors, both times because it had not converged: take the error above as optimistic. It still lies above the paper's, maybe for lack of training.)

# %%
if computing:
    everybody = torch.arange(38, device=lab.device)
    average = att.train.x.mean(0)
    held_out = att.test if not smoke else replace(att.test, x=att.train.x[:38], y=everybody)
    by_mean = nearest_mean(held_out, 38)
    for name, model in att_models.items():
        pushes = {"steps": lab.pick(quick=30, paper=30, smoke=2), "step_size": 2.0}
        flipped = invert(model, everybody, Pixels((1, 112, 92), begin=average), **pushes, **unit)
        told_by = identify(by_mean, flipped.x, everybody)
        record(f"AT&T: model convinced, {name}", flipped.convinced)
        record(f"AT&T: named by the nearest mean, {name}", told_by.within(1))
        alike = likeness(flipped.x, everybody, held_out, 38)
        record(f"AT&T: likeness, {name}", float(alike.mean()), n=38)
else:
    say("Not run in profile `quick`. To see it: `labkit run 19 --profile paper` (minutes).")

# %% [markdown]
# **Zhao et al. 2020** (iDLG) count how often the label is read from the gradient of one picture, on a LeNet with sigmoids and random weights. It is algebra, so it has to be every time; for CIFAR-100 and LFW, which
# are not at hand, CIFAR-10 and the AT&T faces stand in. DLG's label comes out of the search.


# %%
def labels_read(split, net):
    """Whether the label is read from each picture's own gradient."""
    hits = []
    for i in range(len(split)):
        message = shared_gradient(net, split.x[i : i + 1], split.y[i : i + 1])
        hits.append(label_from_weight(message[-2]) == int(split.y[i]))
    return torch.tensor(hits)


# %%
outcomes, few_labels = {}, lab.pick(quick=1000, paper=1000, smoke=8)
if computing:
    mnist, cifar = load("mnist", smoke=smoke), load("cifar10", smoke=smoke)
    sixtieth = mnist.train.subset(few_labels)
    gray = lenet(1, 10, 12 * 7 * 7, (2, 2, 1), seed=SEED)
    outcomes["idlg-mnist"] = labels_read(sixtieth, gray)
    color = lenet(3, 10, 12 * 8 * 8, (2, 2, 1), seed=SEED)
    outcomes["idlg-cifar-100"] = labels_read(cifar.train.subset(few_labels), color)
    portrait = replace(att.train, x=att.train.x.cpu(), y=att.train.y.cpu())
    wide = lenet(1, 38, 12 * 28 * 23, (2, 2, 1), seed=SEED)
    outcomes["idlg-lfw"] = labels_read(portrait, wide)
every = {
    "images": f"every {60_000 // few_labels}th of the training set",
    "weights": "random, uniform",
}
compare(
    "mi-idlg", "idlg-mnist", outcomes=outcomes.get("idlg-mnist"), kind="retrained", settings=every
)
for figure, instead in (("idlg-cifar-100", "CIFAR-10"), ("idlg-lfw", "AT&T faces, 38 people")):
    found_out = outcomes.get(figure) if lab.profile != "quick" else None
    compare("mi-idlg", figure, outcomes=found_out, kind="analogue", settings={"data": instead})

# %%
if computing:
    dozen = mnist.train.subset(lab.pick(quick=16, paper=16, smoke=2))
    hits = []
    for i in range(len(dozen)):
        x, y = dozen.x[i : i + 1], dozen.y[i : i + 1]
        sent, most = shared_gradient(gray, x, y), lab.pick(quick=15, paper=15, smoke=1)
        run = deep_leakage(gray, sent, x.shape, steps=most, seed=SEED + i)
        hits.append(bool(run.scored(x, y).right_labels.all()))
    outcomes["dlg-mnist"] = torch.tensor(hits)
less = {"images": "16, every 3,750th", "L-BFGS": "at most 15 rounds of 20"}
compare("mi-idlg", "dlg-mnist", outcomes=outcomes.get("dlg-mnist"), kind="reduced", settings=less)

# %% [markdown]
# ## What to remember
#
# - A model that tells people apart holds what tells them apart. How much comes out depends on the attacker's prior; a prior that seems useless may only be set too weak.
# - The attacked model's confidence proves nothing. Judge by several others, with the mean face and the best public face as baselines, and say how many people.
# - Attribute inference: the baseline is imputation by somebody with the same background data and *no* model. What remains above it, the model leaked.
# - A gradient of one picture *is* the picture: exactly, for a linear layer with a bias. Clipping does not hide it. Noise that blurs it may still tell which picture it was, and its label, to somebody with the model and a list.
#
# **Think about it.** The dosing model gives a gene away that the patient kept private, and so does any table of genes and doses. Which of the two is a breach, and whose?
#
# **Further reading.** Fredrikson et al. 2014 (USENIX Security), 2015 (CCS): the attacks. Zhang et al. 2020 (arXiv 1911.07135): priors from a GAN. Kahla et al. 2022 (arXiv 2203.01925): by labels.
# Mehnaz et al. 2022 (arXiv 2201.09370), Jayaraman and Evans 2022 (arXiv 2209.01292): attribute inference and its baselines. Phong et al. 2018 (IEEE TIFS), Zhu et al. 2019 (arXiv 1906.08935),
# Zhao et al. 2020 (arXiv 2001.02610), Geiping et al. 2020 (arXiv 2003.14053), Huang et al. 2021 (arXiv 2112.00059): leaking gradients.
# Fowl et al. 2022 (arXiv 2110.13057), Boenisch et al. 2021 (arXiv 2112.02918): a server that is not honest.
