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
# # 23. Text, audio, sensors
#
# **What you will be able to do**
#
# - attack a text reader by replacing words or letters, with a search that is put together from four parts;
# - state how loud a change of a sound is, in decibels, and hear it;
# - attack a sensor with a change that the sensor could have produced;
# - say which parts of an attack stay the same from domain to domain, and which do not.
#
# **You need** [chapter 10](10_evasion_gradient.ipynb) and the section on budgets of
# [chapter 14](14_query_attacks.ipynb).

# %% tags=["parameters"]
PROFILE = "quick"
SEED = 0

# %%
from labkit.course import begin

lab = begin("23_text_audio_sensors", PROFILE, SEED)

# %% tags=["hide-input"]
from labkit.reporting import running_times

running_times()

# %%
from labkit.threats.catalogue import card

card("23_text_audio_sensors").show()

# %% [markdown]
# ## The idea: the same attack, another distance
#
# An attack climbs a loss inside a set of allowed changes. Nothing in that sentence is about images. In the chapters
# before, the images only gave the set: every value may move a little, and a person sees nothing. A word cannot move a little. A sound can, but an ear is
# not an eye. A heartbeat can, but a physician knows what a heart can do.
#
# Begin with text. `messages` holds short texts, wanted ones (*ham*) and *spam*:

# %%
import torch

from labkit.data import load
from labkit.reporting import table

data = load("messages")
chosen = [3, 10, 40, 66, 71, 90]
table(
    {
        "label": [data.classes[data.test.y[i]] for i in chosen],
        "text": [data.test.text[i] for i in chosen],
    }
)

# %% [markdown]
# A data set holds tensors: here the bytes of each text, which `.text` reads. A `Vocabulary` numbers the words that occur twice or more in
# the training texts; number one stands for every other word. The simplest reader gives each word a weight and adds up (a **bag of words**). A second one
# slides a small convolution over word vectors, so that neighbors count.

# %%
from labkit.data.text import Vocabulary
from labkit.models.text import TextClassifier, bag_of_words, word_convnet
from labkit.training import fit

words = Vocabulary.of(data.train.text)
numbered = words.split(data.train, length=48)
recipes = {
    "bag of words": (bag_of_words, {"epochs": 8, "learning_rate": 0.02, "weight_decay": 1e-3}),
    "convolution": (word_convnet, {"epochs": 6, "learning_rate": 5e-3}),
}
readers = {}
for name, (build, recipe) in recipes.items():
    net = fit(
        build(len(words), seed=SEED), numbered, batch_size=64, seed=SEED, label=name, **recipe
    )
    readers[name] = TextClassifier(words, net.model.cpu())

# %%
from labkit.reporting import Rate, record

answers = {}
for name, reader in readers.items():
    with torch.no_grad():
        answers[name] = reader(data.test.text).argmax(1)
    hits = answers[name] == data.test.y
    record(f"accuracy, {name}", Rate(int(hits.sum()), len(hits), "messages"))
    spam = data.test.y == 1
    record(f"spam caught, {name}", Rate(int(hits[spam].sum()), int(spam.sum()), "spam"))
    record(f"ham lost, {name}", Rate(int((~hits[~spam]).sum()), int((~spam).sum()), "ham"))

# %% [markdown]
# Every sixth template of a message is kept for the test split, so some of its stories occur in no training message. All spam is filled from 35 templates:
# messages come in families. The intervals of this chapter take them for independent and are too narrow; another set of templates could give rates well outside.
#
# In a bag of words nothing is hidden. This is all that it knows about one message (unknown words share one weight), and the bias, which is the same for every
# message. A sum above zero says spam:

# %%
from labkit.reporting import bar_chart

bag = readers["bag of words"]
weight = bag.network.embed.weight.detach()
evidence = weight[:, 1] - weight[:, 0]  # of each word, for spam
caught = data.test.take((spam & (answers["bag of words"] == 1)).nonzero().squeeze(1))
message = caught.text[10]
shares = {
    f"{i + 1}. {word}": round(float(evidence[words.number(word)]), 2)
    for i, word in enumerate(message.split())
}
bias = bag.network.bias.detach()
shares["bias"] = round(float(bias[1] - bias[0]), 2)
with torch.no_grad():
    shares["sum"] = round(float(bag([message]).diff()), 2)
bar_chart(shares, xlabel="evidence for spam (difference of the logits)")

# %% [markdown]
# ## From scratch: the best k words
#
# An attacker who may replace $k$ words, each by one of its synonyms, gains for each word the difference of two weights. The differences
# add up, so the best set is the $k$ largest: no search is needed, and nothing can be better.


# %%
def best_words_from_scratch(text, k, synonyms, evidence, number):
    """Return the text with the k replacements that lower the evidence for spam most."""
    found = text.split()
    offers = []
    for place, word in enumerate(found):
        for other in synonyms(word):
            new = sum(float(evidence[number(part)]) for part in other.split())
            offers.append((float(evidence[number(word)]) - new, place, other))
    offers.sort(key=lambda offer: -offer[0])
    used = set()
    for gain, place, other in offers:
        if gain > 0 and place not in used and len(used) < k:
            found[place] = other
            used.add(place)
    return " ".join(found)


# %% [markdown]
# ## With labkit
#
# `replace_words` does not know that weights add up. It is put together from four parts, as in TextAttack (Morris et al. 2020):
#
# | part | question | here |
# | --- | --- | --- |
# | goal | when has the attacker won? | any answer but the true one, or a wanted one |
# | neighbors | what may stand in a word's place? | synonyms, slips of the finger, letters that look alike |
# | constraints | what must not happen? | the budget; words that must stay; further rules |
# | search | what is asked next? | greedy, beam, by importance, by gradient, genetic, at random, all |
#
# The first three make up the threat; `Substitutions` implements the same base as the norm balls: it can say whether a text
# is allowed, and its distance is the number of words replaced. The spammer keeps the address and the numbers: without them the message earns nothing.

# %%
from functools import partial

from labkit.attacks.discrete import exhaustive, greedy, replace_words, synonyms
from labkit.threats import Substitutions


def must_stay(word):
    """Addresses, amounts, codes and telephone numbers."""
    return ".example" in word.lower() or any(letter.isdigit() for letter in word)


def offered(word):
    """Synonyms of the words that need not stay."""
    return () if must_stay(word) else synonyms(word)


threat = Substitutions(synonyms, words=2, fixed=must_stay)
some = caught.take(torch.arange(0, len(caught), 30))

# %%
ours = [best_words_from_scratch(text, 2, offered, evidence, words.number) for text in some.text]
quick_way = replace_words(bag, some.text, some.y, threat, search=greedy)
all_ways = replace_words(bag, some.text, some.y, threat, search=exhaustive)
with torch.no_grad():
    turned = bag(ours).argmax(1) != some.y

# %% tags=["nbval-check-output"]
print("messages:", len(some), "turned from scratch:", int(turned.sum()))
print("greedy turns the same messages:", torch.equal(quick_way.success, turned))
print("brute force turns no others:", torch.equal(all_ways.success, turned))

# %% tags=["hide-input"]
from labkit.reporting import say

say(
    f"Greedy asked {quick_way.mean_queries:.0f} times per message, brute force "
    f"{all_ways.mean_queries:.0f} times, the addition not at all. "
    "Greedy leaves as soon as the answer turns, so it may replace fewer words than the "
    "from-scratch version, which takes two wherever two help."
)

# %% [markdown]
# ## Measure it: text
#
# ### Searches
#
# On the convolution nothing adds up. Here are two baselines and five searches, each allowed three synonyms:
#
# - *at random* tries whole texts; *random order* takes the words in any order and keeps the best synonym of each;
# - *by importance* is TextFooler's way (Jin et al. 2020): leave each word out once to see how much hangs on it, then replace in that order;
# - *greedy* asks about every replacement and keeps the best, again and again; *beam of 4* goes on from the four best;
# - *genetic* (Alzantot et al. 2018) breeds texts: a child takes each word from one of two parents, and one more word is replaced even where that does not help yet;
# - *by gradient* is HotFlip's way (Ebrahimi et al. 2018): one gradient with respect to the word vectors estimates every replacement at once, and questions check the best of them.
#
# What is a query? Here: a text that the model was given. A text that a search asks about twice is answered from memory, and free. Some libraries count such
# questions; compare counts only where you know the rule.
#
# > **Predict.** The gradient sees the model from inside. On a bag of words it is exact. Will it find more than a search that only asks, on the convolution?

# %%
from labkit.attacks.discrete import at_random, beam, by_gradient, by_importance, genetic

count = lab.pick(quick=60, paper=60, smoke=6)
victims = data.test.take(spam.nonzero().squeeze(1))
victims = victims.subset(count)
deep = readers["convolution"]
searches = {
    "at random": partial(at_random, tries=40),
    "random order": partial(by_importance, rank="random"),
    "by importance": by_importance,
    "greedy": greedy,
    "beam of 4": partial(beam, width=4),
    "genetic": partial(genetic, population=10, generations=6),
    "by gradient": "gradient",
}


def let_through(result):
    """Spam that got through, of the spam that was caught before."""
    return Rate(int(result.turned.sum()), int((~result.already).sum()), "spam caught before")


# %%
three = Substitutions(synonyms, words=3, fixed=must_stay)
found = {}
for kind, reader in readers.items():
    for name, search in searches.items():
        way = partial(by_gradient, reader=reader) if search == "gradient" else search
        found[kind, name] = replace_words(
            reader, victims.text, victims.y, three, search=way, seed=SEED
        )

# %%
table(
    {
        "search": list(searches),
        **{
            f"{kind}: spam let through": [let_through(found[kind, s]) for s in searches]
            for kind in readers
        },
        "words replaced": [found["convolution", s].median_changed for s in searches],
        "queries": [f"{found['convolution', s].mean_queries:.0f}" for s in searches],
        "gradients": [int(found["convolution", s].gradients.sum()) for s in searches],
    },
    caption=f"Spam that got through, of the {count} in the sample that the reader caught "
    "before; at most three synonyms. "
    "Words (median over successes), queries (mean over all attacked) and gradients (total): "
    "convolution.",
)

# %% tags=["hide-input"]
for (kind, name), result in found.items():
    record(f"let through, three synonyms, {kind}, {name}", let_through(result))
hot, asks = found["convolution", "by gradient"], found["convolution", "greedy"]
count_of = {key: int(result.turned.sum()) for key, result in found.items()}
apart_by = [int((a.turned & ~b.turned).sum()) for a, b in ((asks, hot), (hot, asks))]
say(
    "On the bag of words the gradient's estimate is exact: it lets "
    f"{count_of['bag of words', 'by gradient']} messages through, greedy "
    f"{count_of['bag of words', 'greedy']}. On the convolution it is "
    f"{count_of['convolution', 'by gradient']} and {count_of['convolution', 'greedy']}, and of "
    f"the same messages greedy alone turns {apart_by[0]}, the gradient alone {apart_by[1]}. "
    "There it is a guess: from word to word is no small step. "
    f"It asks {hot.mean_queries:.0f} times per message, greedy {asks.mean_queries:.0f}. "
    f"Mind the baseline: 40 random tries let {count_of['convolution', 'at random']} through. Few "
    "words of a message have a synonym in our table, so there is little to search. Look at the "
    "intervals before you rank the searches."
)

# %% [markdown]
# ### Words or letters
#
# The reader knows a few hundred words. A word with two letters swapped is none of them, and a person reads over it (Gao et al. 2018, DeepWordBug). A letter from another
# alphabet that looks the same does not even show. All three kinds of replacement, searched by importance:

# %%
from labkit.attacks.discrete import look_alikes, typos
from labkit.reporting import curve

kinds = {"synonyms": synonyms, "slips of the finger": typos, "look-alike letters": look_alikes}
budgets = [1, 3, 5, 8]


def within(model, neighbors, k=3, search=by_importance):
    """The attack with at most k words replaced."""
    allowed = Substitutions(neighbors, words=k, fixed=must_stay)
    return replace_words(model, victims.text, victims.y, allowed, search=search, seed=SEED)


through = {name: [within(deep, kind, k) for k in budgets] for name, kind in kinds.items()}
curve(
    budgets,
    {name: [let_through(result) for result in results] for name, results in through.items()},
    xlabel="words that may be replaced",
    ylabel="spam let through",
    unit="%",
    log_x=True,
)

# %% [markdown]
# Is it the ranking of the words that does this, or the asking? Slips again, at most three, beside the two baselines. (A random order settles for the first
# three words that help at all; the random tries may begin anew each time.)

# %%
at_three = {name: results[budgets.index(3)] for name, results in through.items()}
beside = {
    "by importance": at_three["slips of the finger"],
    "random order": within(deep, typos, search=searches["random order"]),
    "40 random tries": within(deep, typos, search=searches["at random"]),
}
table(
    {
        "slips in three words": list(beside),
        "spam let through": [let_through(result) for result in beside.values()],
        "queries": [f"{result.mean_queries:.0f}" for result in beside.values()],
    },
    caption="Of the spam caught before; queries for each attacked message (mean).",
)

# %% tags=["hide-input"]
for name, result in at_three.items():
    record(f"let through, three words by importance, {name}", let_through(result))
for name, result in list(beside.items())[1:]:
    record(f"let through, three words, slips, {name}", let_through(result))
n_of = {name: int(result.turned.sum()) for name, result in beside.items()}
say(
    f"By importance {n_of['by importance']} messages get through, by 40 random tries "
    f"{n_of['40 random tries']}, in a random order {n_of['random order']}. What the ranking adds is "
    "the difference from these baselines, not the whole rate."
)

# %% [markdown]
# ### Does it still say the same?
#
# Read for yourself. These are successes, the changes marked:

# %%
from labkit.reporting.textchanges import text_changes

shown = {"synonyms": 4, "slips of the finger": 3, "look-alike letters": 2}
before, after, way = [], [], []
for name, most in shown.items():
    result = at_three[name]
    for i in result.turned.nonzero().squeeze(1).tolist()[::4][:most]:
        before.append(result.texts[i])
        after.append(result.texts_adv[i])
        way.append(name)
text_changes(before, after, {"by": way}, caption="Spam that the convolution lets through")

# %% [markdown]
# A person still sees spam, and often a strange sentence. The table of synonyms was written for this course, word by word, and ignores grammar. Papers measure
# likeness with other networks. Morris et al. 2020 (arXiv 2004.14174) asked people, tightened the thresholds until people agreed, and most
# of the reported success was gone.
#
# Here are rules instead of networks: no two neighboring words, and no word replaced by several. The budget is at most a tenth of the words, yet always one. Budget and rules
# are measured apart and together.

# %%
from labkit.attacks.discrete import apart


def single(old, new):
    """No word becomes several words."""
    return all(" " not in word for word in new)


strictness = {
    "neither": (None, []),
    "budget alone": (0.1, []),
    "rules alone": (None, [apart, single]),
    "both": (0.1, [apart, single]),
}
judged = {}
for name, (share, rules) in strictness.items():
    allowed = Substitutions(synonyms, share=share, fixed=must_stay)
    judged[name] = replace_words(
        deep, victims.text, victims.y, allowed, search=by_importance, constraints=rules
    )
table(
    {
        "limits": list(judged),
        "spam let through": [let_through(result) for result in judged.values()],
        "words replaced": [
            f"{result.share_changed:.0%}" if result.turned.any() else ""
            for result in judged.values()
        ],
    },
    caption="Synonyms. Budget: a tenth of the words, at least one. Rules: no two neighboring "
    "words, none replaced by several. Words: the mean share in the messages let through.",
)

# %% tags=["hide-input"]
for name, result in judged.items():
    record(f"let through, synonyms, {name}", let_through(result))
lost = {
    name: int(judged["neither"].turned.sum() - judged[name + " alone"].turned.sum())
    for name in ("budget", "rules")
}
say(
    f"Of the {int(judged['neither'].turned.sum())} messages that get through without limits, the "
    f"budget alone stops {lost['budget']}, the rules alone {lost['rules']}. A tenth of nearly "
    "every message here is a single word, and where one word changes the first rule forbids "
    "nothing. A success rate of a text attack means little until budget and rules are stated."
)

# %% [markdown]
# ### Fix it: a spelling corrector, and an attacker who knows it
#
# The corrector puts look-alike letters back and replaces an unknown word by the known one that is a single slip away. First on the texts that were made against
# the bare reader; then against attackers who attack *the corrected reader*.

# %%
from labkit.attacks.discrete import either, numerals, swaps, twice, unseen_blanks
from labkit.defenses.spelling import Corrected, Speller

guarded = Corrected(Speller(words), deep)
with torch.no_grad():
    clean = guarded(data.test.text).argmax(1) == data.test.y
    replay = {name: guarded(result.texts_adv).argmax(1) for name, result in at_three.items()}
knowing = {
    "synonyms": synonyms,
    "slips of the finger": typos,
    "look-alike letters": look_alikes,
    "two swaps in a word": twice(swaps),
    "synonyms or slips": either(synonyms, typos),
    "a digit for a letter": numerals,
    "a blank of no width": unseen_blanks,
}
aware = {name: within(guarded, neighbors) for name, neighbors in knowing.items()}

# %%
was_caught = ~at_three["synonyms"].already
replayed = {
    name: Rate(int((replay[name][was_caught] == 0).sum()), int(was_caught.sum()), "spam")
    for name in kinds
}
table(
    {
        "three words by": list(knowing),
        "bare reader": [let_through(at_three[name]) if name in kinds else "" for name in knowing],
        "the same texts, corrected": [replayed.get(name, "") for name in knowing],
        "attacker knows the corrector": [let_through(aware[name]) for name in knowing],
    },
    caption="Spam let through, of the spam caught before, without an attack, by the reader in "
    "question.",
)

# %% tags=["hide-input"]
accuracy = Rate(int(clean.sum()), len(clean), "messages")
record("accuracy, convolution behind the corrector", accuracy)
for name, result in aware.items():
    record(f"let through the corrector, {name}", let_through(result))
replay_slips, aware_slips = replayed["slips of the finger"], aware["slips of the finger"]
n_of = {name: int(result.turned.sum()) for name, result in aware.items()}
say(
    f"Behind the corrector the accuracy is {accuracy}. Of the slips made for the bare reader it "
    f"lets {replay_slips} through; of slips tried on the corrected reader "
    f"{let_through(aware_slips)}. Synonyms are spelled correctly ({n_of['synonyms']} messages), "
    f"two swaps in a word are beyond a single slip ({n_of['two swaps in a word']}), and whoever "
    f"mixes synonyms and slips gets {n_of['synonyms or slips']} through."
)

# %% [markdown]
# Do not trust the row of the look-alike letters: corrector and attack share one table, so every change is undone, whatever the
# reader. The last two rows use signs that the table does not hold, a digit for a letter and a blank that nobody sees; the corrector leaves alone what holds anything but
# letters.
#
# How do single slips pass a corrector of single slips? What was written, and what the corrector makes of it:

# %%
sly = aware["slips of the finger"]
passed = sly.turned.nonzero().squeeze(1).tolist()
mended = {i: guarded.corrector(sly.texts_adv[i]) for i in passed}
odd = sorted(passed, key=lambda i: mended[i].split() == sly.texts_adv[i].split())[:4]
text_changes(
    [sly.texts[i] for i in odd],
    [sly.texts_adv[i] for i in odd],
    {"after correction": [mended[i] for i in odd]},
)

# %% [markdown]
# A slip may lie one letter from two words, and the corrector takes the wrong one: the attacker lets it choose. Short words are left
# alone, because nearly every short word is a slip of another.
#
# A next corrector would drop what has no width and read digits within words as letters; its attackers would look for the sign that it forgot. Write both, add
# them, and measure.
#
# ## Measure it: audio
#
# `sounds` holds ten spoken commands, 4,000 samples each, at 8,000 samples a second. The reader computes a spectrogram and slides a convolution over it; the spectrogram
# is a layer, so gradients reach the waveform. Loudness is a ratio: the **signal-to-noise ratio** is
#
# $$\text{SNR} = 10 \log_{10} \frac{\sum_t x_t^2}{\sum_t \delta_t^2} \ \text{dB}.$$
#
# Twenty decibels mean a tenth of the amplitude. `Loudness.at(30)` is an L2 ball with a radius of its own for each sound; PGD runs in it unchanged.

# %%
from labkit.models.signals import sound_convnet

sounds = load("sounds").to(lab.device)
listener = fit(
    sound_convnet(seed=SEED), sounds.train, epochs=6, batch_size=64, learning_rate=5e-3, seed=SEED,
    device=lab.device, label="the listener",
).model  # fmt: skip
heard = sounds.test.subset(lab.pick(quick=32, paper=32, smoke=4))
with torch.no_grad():
    right = torch.cat([listener(x).argmax(1) for x in sounds.test.x.split(100)]) == sounds.test.y
record("accuracy, sounds", Rate(int(right.sum()), len(right), "sounds"))

# %% [markdown]
# > **Predict.** White noise at 20 dB below the voice is a clear hiss; people understand every word. How quiet can a chosen noise be
# > that makes the listener wrong on half of the words?

# %%
from labkit.attacks.evasion import pgd
from labkit.threats import Loudness
from labkit.threats.loudness import peak_db, snr, white_noise

levels = [45, 40, 35, 30, 20]
attacks, hiss = [], []
for db in levels:
    attacks.append(pgd(listener, heard.x, heard.y, Loudness.at(db), steps=20, seed=SEED))
    with torch.no_grad():
        good = listener(white_noise(heard.x, db, seed=SEED)).argmax(1) == heard.y
    hiss.append(Rate(int(good.sum()), len(heard), "sounds"))
curve(
    [-db for db in levels],
    {"white noise": hiss, "PGD": [result.robust_accuracy for result in attacks]},
    xlabel="loudness of the change beside the voice (dB)",
    ylabel="sounds still understood",
    unit="%",
    chance=0.1,
)

# %%
from labkit.attacks.evasion import ddn
from labkit.threats import L2

few = heard.subset(lab.pick(quick=12, paper=12, smoke=4))
smallest = ddn(listener, few.x, few.y, L2(low=-1.0, high=1.0), steps=60)
quietest = snr(smallest.x_adv, few.x)[smallest.success & ~smallest.already]

# %% tags=["hide-input"]
middle = float(quietest.quantile(0.5))
for db, result, noise in zip(levels, attacks, hiss, strict=True):
    record(f"understood under PGD at {db} dB", result.robust_accuracy)
    record(f"understood under white noise at {db} dB", noise)
record("median SNR of the smallest change (DDN)", middle, n=len(quietest), unit="dB")
say(
    f"White noise at {levels[-1]} dB leaves {hiss[-1]}. PGD at 30 dB leaves "
    f"{attacks[3].robust_accuracy}. The smallest change that DDN finds lies {middle:.0f} dB below "
    f"the voice in the median of only {len(quietest)} sounds, which range from "
    f"{float(quietest.min()):.0f} to {float(quietest.max()):.0f} dB: in the median its "
    f"amplitude is one part in {10 ** (middle / 20):.0f} of the voice's."
)

# %% [markdown]
# ### Listen
#
# One command, the attack at 30 dB, and the change alone, amplified until you hear it. Where no player appears: the spectrograms below show the same three.

# %%
from labkit.reporting.players import players

strong = attacks[3]
with torch.no_grad():
    said = listener(strong.x_adv).argmax(1)
i = int((strong.success & ~strong.already).nonzero()[2 % int(strong.success.sum())])
change = strong.x_adv[i] - heard.x[i]
factor = float(0.5 / change.abs().max())
names = [sounds.classes[heard.y[i]], sounds.classes[said[i]]]
trio = {
    f'"{names[0]}", as it was': heard.x[i],
    f'attacked: understood as "{names[1]}"': strong.x_adv[i],
    f"the change alone, {factor:.0f} times as loud": change * factor,
}
players(trio, rate=8_000)

# %%
from matplotlib.figure import Figure

from labkit.models.signals import Spectrogram
from labkit.reporting import show

view = Spectrogram(floor=1e-6)
fig = Figure(figsize=(7.6, 2.7), layout="constrained")
for axes, (title, wave) in zip(fig.subplots(1, 3, sharey=True), trio.items(), strict=True):
    picture = 10 / 2.302585 * view(wave.cpu()[None])[0, 0]
    axes.imshow(picture, origin="lower", aspect="auto", extent=(0, 0.5, 0, 4), vmin=-45, vmax=20)
    axes.set_title(title.replace(": ", ":\n").replace(", ", ",\n"), fontsize=9)
    axes.set_xlabel("seconds")
    axes.grid(False)
fig.axes[0].set_ylabel("kHz")
show(
    fig,
    alt=f"Three spectrograms. The word {names[0]} with its formants as bright bands; the attacked "
    "sound, with the same bands over a background that differs a little; the change alone, "
    "amplified, which spreads over all frequencies and the whole half second like a hiss.",
)

# %% [markdown]
# Part of what you see and hear is PGD's random start, which is white noise. In the pauses, where the voice covers nothing, it is easiest to hear.

# %% [markdown]
# ### Fix it: filter, round, compress, hiss; and attackers who know
#
# Four cheap fixes before the listener, and what an attacker who knows them does:
#
# | fix | what it does | who knows it |
# | --- | --- | --- |
# | low-pass | cuts what is above 2 kHz | differentiates it |
# | four bits | rounds to four bits instead of sixteen | takes the identity for the rounding on the way back (`bpda`) |
# | codec | drops, frame by frame, what is 20 dB below the loudest frequency | tries the identity, and the codec's own gradient, which takes the choice of what to drop as given |
# | hiss | adds noise of our own, drawn anew each time | averages over it (`eot`) |
#
# The listener is not trained again behind a fix, so the column *clean* shows what the fix costs. With two ways to attack, a sound counts as understood only if
# neither turns it. The last column is what *this* attacker leaves, an upper bound: another may leave less. Profile `paper` averages over more hisses, and longer.

# %%
from torch import nn

from labkit.attacks import bpda, eot
from labkit.defenses.signals import DropQuiet, Hiss, Lowpass, Quantize

fixes = {
    "low-pass": Lowpass(2_000, rate=8_000),
    "four bits": Quantize(4),
    "codec": DropQuiet(20),
    "hiss": Hiss(15),
}
itself = nn.Module.eval  # the guarded listener with its own gradient
draws, climbs = lab.pick(quick=(3, 20), paper=(8, 40), smoke=(1, 2))
ways = {  # and how many steps each is given
    "low-pass": {itself: 20},
    "four bits": {bpda: 20},
    "codec": {bpda: 20, itself: 40},
    "hiss": {partial(eot, samples=draws): climbs},
}
base = attacks[3]
rows, alone = [], {}
for name, fix in fixes.items():
    guarded_listener = nn.Sequential(fix, listener).to(lab.device).eval()
    tried = [
        pgd(way(guarded_listener), heard.x, heard.y, base.threat, steps=steps, seed=SEED)
        for way, steps in ways[name].items()
    ]
    alone[name] = [result.robust_accuracy for result in tried]
    held = ~torch.stack([result.success for result in tried]).any(0)
    torch.manual_seed(SEED)
    with torch.no_grad():
        plain = int((guarded_listener(heard.x).argmax(1) == heard.y).sum())
        again = int((guarded_listener(base.x_adv).argmax(1) == heard.y).sum())
    rates = [Rate(k, len(heard), "sounds") for k in (plain, again, int(held.sum()))]
    rows.append([name, *rates])

# %%
every = heard.take(torch.arange(0, len(heard), 3))
hissing = nn.Sequential(fixes["hiss"], listener).to(lab.device).eval()
as_loud = Loudness.at(15)  # as the hiss
louder = pgd(eot(hissing, samples=3), every.x, every.y, as_loud, steps=20, seed=SEED)
no_fix = pgd(listener, every.x, every.y, as_loud, steps=20, seed=SEED)
with torch.no_grad():
    blank = white_noise(every.x, 15, seed=SEED)
    drowned = Rate(int((listener(blank).argmax(1) == every.y).sum()), len(every), "sounds")
bare = Rate(int((~base.already).sum()), len(heard), "sounds")
rows = [["none", bare, base.robust_accuracy, base.robust_accuracy], *rows]
table(
    dict(
        zip(
            ["fix", "clean", "attacked, 30 dB", "attacker knows the fix"],
            zip(*rows, strict=True),
            strict=True,
        )
    ),
    caption=f"Sounds understood, of {len(heard)}. In the third column the sounds were made "
    "against the bare listener. The hiss is drawn once for each sound.",
)

# %% tags=["hide-input"]
for name, _, again, knows in rows[1:]:
    record(f"understood, {name}, attack on the bare listener", again)
    record(f"understood, {name}, attacker knows", knows)
best = max(rows[1:], key=lambda row: float(row[2]))
for way, rate in zip(("identity", "own gradient"), alone["codec"], strict=True):
    record(f"understood, codec, attacker knows, {way}", rate)
record("understood, hiss, attacker knows and is as loud (15 dB)", louder.robust_accuracy)
record("understood, no fix, attack at 15 dB", no_fix.robust_accuracy)
record("understood, no fix, white noise at 15 dB", drowned)
say(
    f"Of the sounds made for the bare listener, most are understood with the {best[0]}: "
    f"{best[2]}. Once the attacker knows it: {best[3]}. For the codec the identity alone leaves "
    f"{alone['codec'][0].k} sounds, its own gradient alone {alone['codec'][1].k}: an attacker's "
    "first idea is not the measure of a fix."
)
say(
    "The hiss is 15 dB louder than these attacks, and everybody hears it. An attack as loud as "
    f"the hiss, made with knowledge of it, leaves {louder.robust_accuracy.k} of {len(every)} "
    f"sounds. At that loudness the bare listener understands {no_fix.robust_accuracy.k} under "
    f"attack and {drowned.k} in white noise."
)

# %% [markdown]
# ## Measure it: a sensor
#
# `heartbeats` are single beats of an electrocardiogram, in four classes. Two things are new. The signal comes from a body through an instrument, and monitors filter it: what jumps from sample to
# sample is no heart. And the error has a price of its own: a beat that starts too early, in a lower chamber of the heart (a ventricle), and is read as normal is a warning that nobody gets.

# %%
from labkit.models.signals import signal_convnet

hearts = load("heartbeats").to(lab.device)
monitor = fit(
    signal_convnet(4, seed=SEED), hearts.train, epochs=5, batch_size=64, learning_rate=5e-3,
    seed=SEED, device=lab.device, label="the monitor",
).model  # fmt: skip
with torch.no_grad():
    read = monitor(hearts.test.x).argmax(1)
record("accuracy, heartbeats", Rate(int((read == hearts.test.y).sum()), len(read), "heartbeats"))
ill = hearts.test.take((hearts.test.y == 1).nonzero().squeeze(1))
ill = ill.subset(min(len(ill), lab.pick(quick=80, paper=80, smoke=4)))

# %% [markdown]
# The attacker wants premature beats read as *normal* and may move each sample by `0.1` millivolts (the tallest wave is over one). PGD uses that freedom sample by sample. The smooth
# attack (Han et al. 2020) climbs numbers $\theta$ in $x + S\theta$, where $S$ averages over bell curves: it cannot jump.

# %%
from labkit.attacks.evasion.smooth import smooth_pgd
from labkit.threats import Linf

millivolts = Linf(0.1 / 4)  # a value of 1 stands for 4 millivolts
normal = torch.zeros_like(ill.y)
known = {"target": normal, "steps": 40, "stop_early": False, "seed": SEED}
rough = pgd(monitor, ill.x, ill.y, millivolts, restarts=3, **known)
smooth = smooth_pgd(monitor, ill.x, ill.y, millivolts, **known)


# %%
def jitter(result):
    """The share of the change's power above 30 Hz, the mean over the beats."""
    power = torch.fft.rfft((result.x_adv - result.x).squeeze(1)).abs().square()
    hertz = torch.fft.rfftfreq(result.x.shape[-1], 1 / 200).to(power.device)
    return float((power[:, hertz > 30].sum(1) / power.sum(1)).mean())


k = (
    int((rough.success & smooth.success).nonzero()[0])
    if (rough.success & smooth.success).any()
    else 0
)
time = [t / 200 for t in range(140)]
fig = Figure(figsize=(7.6, 4.2), layout="constrained")
grid = fig.subplots(2, 2, sharex=True, sharey="row")
for column, (name, result) in enumerate({"PGD": rough, "smooth": smooth}.items()):
    grid[0, column].plot(time, 4 * ill.x[k, 0].cpu() - 1.5, color="#555555", lw=1, label="beat")
    grid[0, column].plot(
        time, 4 * result.x_adv[k, 0].cpu() - 1.5, label="attacked", color="#D55E00"
    )
    grid[1, column].plot(time, 4 * (result.x_adv - ill.x)[k, 0].cpu(), color="#D55E00")
    grid[0, column].set_title(
        f"{name}: read as {hearts.classes[int(result.prediction[k])]}", fontsize=10
    )
    grid[1, column].set_xlabel("seconds")
grid[0, 0].set_ylabel("millivolts")
grid[1, 0].set_ylabel("change (mV)")
grid[0, 0].legend()
show(
    fig,
    alt="Two attacked heartbeats above, the two changes below. The change of PGD jumps between "
    "plus and minus a tenth of a millivolt "
    "like a square wave; the smooth one rises and falls in slow waves.",
)

# %% [markdown]
# A low-pass at 30 Hz, much as monitors have one, comes before the reader: once before the same reader, and once before a second one that is trained on filtered
# beats, as a maker would train it. PGD and the smooth attack are made for the bare reader, and again by someone who knows the filter and the second reader.

# %%
from dataclasses import replace

filter30 = Lowpass(30, rate=200)
filtered = replace(hearts.train, x=filter30(hearts.train.x).clamp(0, 1))
inner = fit(
    signal_convnet(4, seed=SEED), filtered, epochs=5, batch_size=64, learning_rate=5e-3, seed=SEED,
    device=lab.device, label="the filtered monitor",
).model  # fmt: skip
safer = nn.Sequential(filter30, inner).to(lab.device).eval()


def missed(model, x):
    """Premature beats that are read as normal."""
    with torch.no_grad():
        return Rate(int((model(x).argmax(1) == 0).sum()), len(x), "premature beats")


# %%
from labkit.seeding import generator

signs = torch.randint(0, 2, ill.x.shape, generator=generator(SEED, "signs")).to(ill.x) * 2 - 1
noisy = (ill.x + millivolts.eps * signs).clamp(0, 1)
again = {
    "PGD": pgd(safer, ill.x, ill.y, millivolts, restarts=3, **known).x_adv,
    "smooth": smooth_pgd(safer, ill.x, ill.y, millivolts, **known).x_adv,
}
behind = nn.Sequential(filter30, monitor).to(lab.device).eval()  # the same reader
attacked = {"no attack": ill.x, "random signs": noisy, "PGD": rough.x_adv, "smooth": smooth.x_adv}
misses = {
    "change": list(attacked),
    "bare reader": [missed(monitor, x) for x in attacked.values()],
    "same reader, filtered": [missed(behind, x) for x in attacked.values()],
    "filter, own reader": [missed(safer, x) for x in attacked.values()],
    "attacker knows both": [missed(safer, again[n]) if n in again else "" for n in attacked],
    "share above 30 Hz": ["", "", f"{jitter(rough):.0%}", f"{jitter(smooth):.0%}"],
}
table(
    misses,
    caption="Ventricular premature beats read as normal, and how much of the change is jitter. "
    "The first three columns are about the same beats, made for the bare reader.",
)

# %% tags=["hide-input"]
for row, name in enumerate(attacked):
    record(f"premature read as normal, bare, {name}", misses["bare reader"][row])
    record(f"premature read as normal, filtered, {name}", misses["filter, own reader"][row])
    record(
        f"premature read as normal, same reader, filtered, {name}",
        misses["same reader, filtered"][row],
    )
    if name in again:
        record(
            f"premature read as normal, attacker knows the filter, {name}",
            misses["attacker knows both"][row],
        )
bare, own = misses["bare reader"], misses["filter, own reader"]
both = misses["attacker knows both"]
say(
    f"Of {len(ill)} premature beats, {bare[2].k} are missed under PGD and {bare[3].k} under the "
    f"smooth attack. Above 30 Hz, where the filter cuts, lies {jitter(rough):.0%} of the power "
    f"of PGD's change and {jitter(smooth):.0%} of the smooth one's. Behind filter and second "
    f"reader the same beats are missed {own[2].k} and {own[3].k} times. An attacker who knows "
    f"both gets {both[2].k} missed with PGD and {both[3].k} with the smooth attack."
)

# %% [markdown]
# ## What stays, and what changes
#
# | | images | text | sounds | heartbeats |
# | --- | --- | --- | --- | --- |
# | what may change | every value a little | a few words, each to a neighbor | the waveform, relative to its loudness | the waveform, smoothly |
# | distance | Linf, L2, ... | words replaced | decibels | millivolts, and smoothness |
# | projection | clip, rescale | none: only allowed states are visited | rescale per sound | smooth by construction |
# | gradient | of the pixels | of the word vectors: a hint, to be checked | through the spectrogram | through the smoothing |
# | search without it | estimate slopes | ask about neighbors | estimate slopes | estimate slopes |
# | what a person notices | little, at small eps | a strange word at once; whether the sense is kept | hiss, where the voice is silent | jumps no heart makes |
# | cheap fix, and who passes it | filters; who differentiates them | a corrector; who uses real words | filters, rounding; who uses BPDA and EOT | a low-pass; who changes slowly, or knows the filter |
#
# The goal, the success rate with its denominator, verified success, the baseline, and the attacker who knows the fix are the same in
# every column.
#
# ## Your turn

# %%
from labkit.course import check, exercise, hint, solution

exercise("23.1")


# %% tags=["exercise"]
def best_gain(gains, k):
    """Return the largest total gain that replacing at most k words can bring, when gains add up.

    gains: shape (words, neighbors): what each replacement gains alone; -inf where a word has fewer
    neighbors. Each word is replaced once or not at all.
    """
    raise NotImplementedError


# %% tags=["check"]
check("23.1", best_gain)

# %% tags=["solution"]
solution("23.1")

# %%
exercise("23.2")


# %% tags=["exercise"]
def decibels(x, x_adv):
    """Return the signal-to-noise ratio of each sound in decibels, shape (B,).

    That is 10 log10 of the power of the signal over the power of the change. x, x_adv: (B, 1, T).
    """
    raise NotImplementedError


# %% tags=["check"]
check("23.2", decibels)

# %% tags=["solution"]
solution("23.2")

# %%
exercise("23.3")


# %% tags=["exercise"]
def three_rates(right_before, right_after):
    """Return accuracy before, success rate of the attack, and accuracy under attack.

    right_before, right_after: booleans, shape (N,): was the text read correctly before, and after?
    Texts that were wrong before are skipped by the attack; nothing says that they stay wrong when
    they are asked about again.
    """
    raise NotImplementedError


# %% tags=["check"]
check("23.3", three_rates)

# %% tags=["solution"]
solution("23.3")

# %% [markdown]
# ## Reported numbers
#
# In profile `quick` only arithmetic is computed here: you see what the papers reported and what this course measured when it last
# ran the profile `paper`.
#
# **Morris et al. 2020** (TextAttack): the documentation explains its metrics with an example of 200 texts, 43 of them wrong before, 128 of the others
# turned. Texts that were wrong before are skipped: they count in both accuracies and in no success rate.

# %%
from labkit.attacks.discrete import SubstitutionResult
from labkit.reporting import cited, compare

ones = torch.ones(200, dtype=torch.int64)
order = torch.arange(200)
example = SubstitutionResult(
    *([["text"] * 200] * 2), ones, order < 171, order < 43, *([ones] * 6), three
)
for figure, rate in {
    "accuracy-200-samples-43-wrong": example.accuracy_before,
    "success-rate-128-of-157-attacked": example.success_rate,
    "after-attack-accuracy": example.accuracy_after,
}.items():
    compare("tx-textattack-metrics", figure, rate, kind="recomputed")

# %% [markdown]
# **Gao et al. 2018** (DeepWordBug) changed letters of the most important words, at most 30 letters of a text, and report what was
# left of the accuracy of a reader of Enron spam. Ours is an analogue: SMS Spam, the convolution from above, as many ham as spam
# messages, their ranking (an unknown word in each word's place) and their edits, of which we try each and keep the best. Thirty letters
# are few in an e-mail and reach most words of an SMS, so the attacker has more room here than in the paper.

# %%
from labkit.attacks.discrete import edits_at_most

computing, smoke = lab.profile != "quick", lab.profile == "smoke"
sms = load("sms_spam", smoke=smoke) if computing else None
bugged = None
if sms is not None:
    sms_words = Vocabulary.of(sms.train.text)
    sms_net = fit(
        word_convnet(len(sms_words), seed=SEED), sms_words.split(sms.train, 60), batch_size=64,
        epochs=lab.pick(quick=6, paper=6, smoke=1), learning_rate=3e-3, seed=SEED, label="SMS",
    ).model  # fmt: skip
    sms_reader = TextClassifier(sms_words, sms_net.cpu())
    each = lab.pick(quick=120, paper=120, smoke=3)
    parts = [sms.test.take((sms.test.y == k).nonzero().squeeze(1)).subset(each) for k in (0, 1)]
    bugged = replace_words(
        sms_reader,
        parts[0].text + parts[1].text,
        torch.cat([part.y for part in parts]),
        Substitutions(typos),
        search=partial(by_importance, rank="blank"),
        constraints=[edits_at_most(30)],
        progress=True,
    )

# %%
how = {"data": "SMS Spam, 120 ham and 120 spam", "model": "word convolution (word-LSTM)"}
for figure, outcomes in {
    "enron-spam-accuracy-before": None if bugged is None else ~bugged.already,
    "enron-spam-accuracy-after": None if bugged is None else ~bugged.success,
}.items():
    compare("tx-deepwordbug", figure, outcomes=outcomes, kind="analogue", settings=how)

# %% tags=["hide-input"]
if bugged is not None:
    halves = [slice(0, each), slice(each, None)]
    ham_turned, spam_turned = (
        Rate(int(bugged.turned[h].sum()), int((~bugged.already[h]).sum()), "messages")
        for h in halves
    )
    if ham_turned.n and spam_turned.n:
        record("SMS Spam, ham turned into spam by slips", ham_turned)
        record("SMS Spam, spam turned into ham by slips", spam_turned)
    say(
        f"By class: spam read as ham {spam_turned}, ham read as spam {ham_turned}. A slip makes "
        "a "
        "word unknown, and an unknown word speaks for ham or spam as it did in training. The "
        f"attack changed {bugged.share_changed:.0%} of the words of the turned messages and "
        "asked "
        f"{bugged.mean_queries:.0f} times for each attacked one."
    )

# %% [markdown]
# **Carlini and Wagner 2018** made a speech recognizer write any wanted sentence, with a change whose peak lies some 31 dB below the
# voice's. Ours is an analogue: ten digits spoken by six people, the listener from above, a random wrong digit as the target, and
# Carlini and Wagner's L2 attack on the waveform. Theirs bounds the peak of the change; ours keeps its power small, and the peak is only measured.

# %%
from labkit.attacks.evasion import carlini_wagner

spoken = None
if computing:
    digits = load("spoken_digits", smoke=smoke).to(lab.device)
    ear = fit(
        sound_convnet(seed=SEED), digits.train, epochs=lab.pick(quick=8, paper=8, smoke=1),
        batch_size=64, learning_rate=5e-3, seed=SEED, device=lab.device, label="digits",
    ).model  # fmt: skip
    clips = digits.test.subset(lab.pick(quick=50, paper=50, smoke=4))
    step = torch.randint(1, 10, clips.y.shape, generator=generator(SEED, "targets"))
    wanted = (clips.y + step.to(clips.y)) % 10
    rounds, steps = lab.pick(quick=(5, 300), paper=(5, 300), smoke=(1, 5))
    spoken = carlini_wagner(
        ear,
        clips.x,
        clips.y,
        L2(low=-1.0, high=1.0),
        target=wanted,
        search_steps=rounds,
        iterations=steps,
        progress=True,
    )

# %%
how = {"data": "50 spoken digits (Common Voice)", "model": "small convolution (DeepSpeech)"}
reached = peaks = None
if spoken is not None:
    reached, hit = spoken.success, spoken.success & ~spoken.already
    peaks = peak_db(spoken.x_adv, spoken.x)[hit] if bool(hit.any()) else None
compare("au-carlini", "targeted-success", outcomes=reached, kind="analogue", settings=how)
compare("au-carlini", "mean-distortion", outcomes=peaks, kind="analogue", settings=how)

# %% tags=["hide-input"]
if spoken is not None:
    with torch.no_grad():
        ok = torch.cat([ear(x).argmax(1) for x in digits.test.x.split(100)]) == digits.test.y
    record("accuracy, spoken digits", Rate(int(ok.sum()), len(ok), "recordings"))
    if spoken.success_rate.n:
        record("spoken digits read as the wanted digit", spoken.success_rate)
    loudness = snr(spoken.x_adv, spoken.x)[hit]
    if len(loudness):
        half = float(loudness.quantile(0.5))
        record("median SNR, targeted, spoken digits", half, unit="dB", n=len(loudness))

# %% [markdown]
# **Jin et al. 2020** (TextFooler) need BERT and word vectors of several gigabytes: not measured here.

# %%
cited(
    "tx-textfooler",
    {
        "bert-mr-accuracy-before": "BERT, film reviews, before",
        "bert-mr-accuracy-after": "BERT, film reviews, under attack",
        "bert-mr-words-changed": "words changed",
        "wordcnn-imdb-accuracy-before": "word convolution, IMDB, before",
        "wordcnn-imdb-accuracy-after": "word convolution, IMDB, under attack",
    },
    label="figure",
    value="reported",
)

# %% [markdown]
# The real heartbeats of ECG5000 come last. For this attack on them we know no reported number, so nothing is compared.

# %%
if computing:
    real = load("ecg5000", smoke=smoke).to(lab.device)
    clinic = fit(
        signal_convnet(5, seed=SEED), real.train, epochs=lab.pick(quick=20, paper=20, smoke=1),
        batch_size=32, learning_rate=5e-3, seed=SEED, device=lab.device, label="ECG5000",
    ).model  # fmt: skip
    fifth = Linf(0.2 / 16)  # 0.2 standard deviations of the beat; a value of 1 stands for 16
    for name, attack in {"PGD": pgd, "smooth": smooth_pgd}.items():
        result = attack(clinic, real.test.x, real.test.y, fifth, steps=40)
        record(f"ECG5000, read correctly under {name}", result.robust_accuracy)
    before_it = Rate(int((~result.already).sum()), len(result), "heartbeats")
    record("ECG5000, read correctly", before_it)

# %% [markdown]
# ## What to remember
#
# - An attack is a goal, a set of allowed changes and a search. Only the set is about images.
# - In text the set is the claim: a success rate without its neighbors, budget and constraints says nothing. Where gains add up, the
#   best replacements are known without a search.
# - Count what the model was asked, say whether repeated questions count, and put random changes beside the attack.
# - Loudness is relative: decibels for each sound, white noise of the same level as the baseline, and ears as a judge.
# - A sensor's signal has a shape of its own. A filter removes the part of a change that jumps. A smooth change passes whole, and an attacker who knows
#   the filter passes it with either.
# - Each fix is judged by the attacker who knows it, not by old attacks replayed.
#
# **Think about it.** Whose judgment should decide that an attacked message still says the same: a network's, a person's, or that of the
# one who falls for it? What would you measure?
#
# **Further reading.** Ebrahimi et al. 2018 (arXiv 1712.06751): HotFlip. Gao et al. 2018 (arXiv 1801.04354): DeepWordBug. Jin et al. 2020
# (arXiv 1907.11932): TextFooler. Alzantot et al. 2018 (arXiv 1804.07998): the genetic search. Morris et al. 2020 (arXiv 2005.05909): TextAttack; (arXiv 2004.14174): what its authors found when
# they asked people. Carlini and Wagner 2018 (arXiv 1801.01944): audio. Qin et al. 2019 (arXiv 1903.10346): below the threshold of hearing.
# Han et al. 2020 (arXiv 1905.05163): smooth attacks on electrocardiograms.
