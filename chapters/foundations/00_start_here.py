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
# # Start here
#
# **What you will be able to do**
#
# - make a neural network read a stop sign as a speed limit, in ten lines;
# - say how large the change was, and how often the attack works, with the right denominator;
# - find your way around this course: chapters, exercises, progress, and the two profiles.
#
# **You need** Python and a little PyTorch: tensors, a model, a loss. No GPU, no network.

# %% tags=["parameters"]
PROFILE = "quick"
SEED = 0

# %%
from labkit.course import begin

lab = begin("00_start_here", PROFILE, SEED)

# %% tags=["hide-input"]
from labkit.reporting import running_times

running_times()

# %% [markdown]
# ## A model that reads traffic signs
#
# The course's running example is a small convolutional network that reads ten kinds of traffic sign.
# The signs are drawn by the course itself, at random angles, in random light, over pieces of two real photographs.

# %%
from labkit.data import load
from labkit.zoo import signs_classifier

data = load("signs").to(lab.device)
trained = signs_classifier(SEED)
model = trained.model

# %% tags=["hide-input"]
from labkit.evaluation import accuracy
from labkit.reporting import say

clean = accuracy(model, data.test.x, data.test.y)
say(f"The network was {trained}. On signs that it never saw, it reads **{clean}** correctly.")

# %%
from labkit.reporting import image_row

few = data.test.subset(12)
answers = model(few.x).argmax(1)
image_row(
    few.x, [data.classes[k] for k in answers.tolist()], wrong=(answers != few.y).tolist(), per_row=6
)

# %% [markdown]
# Above each sign stands what the network answers. Now take one stop sign, and one wish: the network shall read
# a speed limit.

# %%
import torch

stop, limit = data.classes.index("stop"), data.classes.index("speed limit 50")
signs = data.test.take(data.test.y == stop)  # all stop signs of the test set
x = signs.x[model(signs.x).argmax(1) == stop][:1]  # (1, 3, 32, 32), values in [0, 1]
wish = torch.tensor([limit], device=lab.device)

# %% [markdown]
# > **Predict.** Every pixel has three color values between 0 and 255. Let every value change by
# > a few of 255 steps at most. On how many of 100 stop signs will the network then read "speed limit 50": about 5, about 50, or nearly all?
# > And with random noise within the same limit? Write your guesses down before you go on.
#
# ## From scratch: the attack, in ten lines
#
# Training asks: *how should the weights change, so that the loss falls?* The attack asks the same of the **input**. Ten times it
# takes the gradient of the loss for the wished answer, moves every color value one small step downhill, and then pulls
# the image back so that no value is more than 8 steps of 255 away from where it was.

# %%
from torch.nn.functional import cross_entropy

eps, step = 8 / 255, 2 / 255
x_adv = x.clone()
for _ in range(10):
    x_adv.requires_grad_(True)
    loss = cross_entropy(model(x_adv), wish)  # small when the network answers as we wish
    (gradient,) = torch.autograd.grad(loss, x_adv)
    x_adv = x_adv.detach() - step * gradient.sign()
    x_adv = x_adv.clamp(x - eps, x + eps).clamp(0, 1)

# %%
from labkit.reporting import attack_figure

attack_figure(x, x_adv, model=model, classes=data.classes, y=torch.tensor([stop]))

# %% tags=["hide-input"]
with torch.no_grad():
    before, after = model(x).softmax(1)[0], model(x_adv).softmax(1)[0]
largest = float((x_adv - x).abs().max()) * 255
say(
    f"The network now answers **{data.classes[int(after.argmax())]}** with a probability of "
    f"{float(after.max()):.1%}; before, it said {data.classes[int(before.argmax())]} with {float(before.max()):.1%}. "
    f"No color value moved by more than {largest:.0f} steps of 255. The third picture shows the change enlarged: "
    "at its true size you would not look twice."
)

# %% [markdown]
# An input that was changed on purpose so that a model errs is an **adversarial example**. To find it during use, with the
# model already trained, is called **evasion**; wishing for one particular answer makes the attack **targeted**.
#
# ## With labkit
#
# The same attack is one call. `Linf(8/255)` is the **threat**: what the attacker may change. The result is checked by
# a fresh look at the network, and it knows what was counted.

# %%
from labkit.attacks.evasion import pgd
from labkit.threats import Linf

ten_lines = {"steps": 10, "step_size": 2 / 255, "random_start": False}
wishes = torch.full_like(signs.y, limit)
result = pgd(model, signs.x, signs.y, Linf(8 / 255), target=wishes, **ten_lines)

# %% [markdown]
# Does it find what the ten lines found? For our stop sign, both must agree that the wish is granted.

# %% tags=["nbval-check-output"]
one = pgd(model, x, torch.full_like(wish, stop), Linf(8 / 255), target=wish, **ten_lines)
print("from scratch:", data.classes[int(model(x_adv).argmax())])
print("labkit:      ", data.classes[int(one.prediction)])

# %% [markdown]
# ## Measure it
#
# One picture proves little: perhaps we were lucky, or perhaps *any* small change confuses this network. So we take every stop
# sign of the test set, and beside the attack we put a **baseline**: random noise within the same limit.

# %%
from labkit.rates import Rate
from labkit.reporting import bar_chart

noisy = Linf(8 / 255).sample(signs.x, seed=SEED)
as_limit = Rate(int((model(noisy).argmax(1) == limit).sum()), len(signs), "stop signs")
wrong = Rate(int((model(noisy).argmax(1) != stop).sum()), len(signs), "stop signs")
shares = {"noise: any wrong answer": wrong, "noise: the wished answer": as_limit}
bar_chart(
    shares | {"attack: the wished answer": result.success_rate}, xlabel="share of the stop signs"
)

# %%
from labkit.reporting import record

record("stop sign read as a speed limit, PGD 8/255", result.success_rate)
record("stop sign read as a speed limit, random noise 8/255", as_limit)

# %% tags=["hide-input"]
say(
    f"The attack reaches its wish on {result.success_rate}. Noise of the same size does on {as_limit}. "
    "The interval says how far the true rate may lie from the measured one, given that so few signs were tried. "
    "**A rate without its denominator means nothing**: this course always shows both."
)

# %% [markdown]
# *Inputs not met before* are those on which the wish was not granted already: the attack cannot take credit for the others.
#
# The gap between the bars is what this course is about. The network is not fragile: noise leaves it in peace. It is fragile
# *in a few directions*, and the gradient points to them.
#
# ## Break it, fix it
#
# Can it be repaired? Partly. [Chapter 40](../defenses/40_adversarial_training.ipynb) trains a network on its own adversarial examples, and pays
# for it with some accuracy. [Chapter 10](../attacks/10_evasion_gradient.ipynb) explains the attack and makes it stronger;
# [chapter 32](../detection/32_confidence.ipynb) asks whether the network's own doubt gives an attack away. Each of these chapters ends by turning the
# tables: an attack meets what stops it, a defense meets an attacker who knows it.
#
# ## How the course works
#
# - **Run it.** Every number in these pages was computed by the cell above it, or names the paper or the run it comes from. Change a number, run the cell again, and see.
# - **Predict, run, compare.** Where a result may surprise you, you are asked for a guess first.
# - **Your turn.** Exercises have a stub, a check that knows the usual mistakes, three hints and a folded solution.
# - **Two profiles.** `PROFILE = "quick"` is what you are reading: small, offline, on any laptop. `PROFILE = "paper"` uses
#   the papers' own data and settings, and compares with what they reported.
# - **Nothing can break.** You work on a copy. `labkit reset 0` gives you this chapter afresh and keeps yours aside.
#
# Where does this notebook run?

# %%
from labkit.device import describe

print(describe(lab.device))

# %% [markdown]
# ## Your turn
#
# Two short ones. Replace the line with `raise NotImplementedError`, run the cell, then run the check.

# %%
from labkit.course import check, exercise, hint, solution

exercise("00.1")


# %% tags=["exercise"]
def linf_distance(x_adv, x):
    """Return how far each image was moved: the largest change of any of its values.

    x_adv, x: images in [0, 1], shape (B, C, H, W). Returns shape (B,).
    """
    raise NotImplementedError


# %% tags=["check"]
check("00.1", linf_distance)

# %% [markdown]
# Stuck? `hint("00.1")` gives one hint at a time, three in all; `solution("00.1")` shows ours, folded.

# %% tags=["solution"]
solution("00.1")

# %%
exercise("00.2")


# %% tags=["exercise"]
def robust_accuracy(predicted_clean, predicted_adv, y):
    """Return the share of all images that the model gets right both as they are and after the attack.

    predicted_clean, predicted_adv, y: class numbers, shape (B,). Returns a number from 0 to 1.
    """
    raise NotImplementedError


# %% tags=["check"]
check("00.2", robust_accuracy)

# %% tags=["solution"]
solution("00.2")

# %% [markdown]
# ## Reported numbers
#
# This chapter reproduces no paper: its signs are the course's own, so no published figure speaks of them. The first comparisons
# with published figures are in chapter 10.
#
# ## What to remember
#
# - An attack is gradient descent on the *input*: the same loss, the same gradient, another variable.
# - A small change can move the answer where the attacker wishes, while noise within the same limit does next to nothing.
# - State what the attacker may change (the threat), what counts as success, and out of how many.
#
# **Think about it.** The change above is invisible *to you*. Is that what matters to the passengers of the car? Which changes
# that you *can* see would still be accepted on a real street?
#
# **Further reading.** Szegedy et al. 2014, *Intriguing properties of neural networks* (arXiv 1312.6199), found the effect;
# Biggio et al. 2013, *Evasion attacks against machine learning at test time* (arXiv 1708.06131), had attacked classifiers by gradient a year before;
# Biggio and Roli 2018, *Wild patterns* (arXiv 1712.03141), tells the history.
