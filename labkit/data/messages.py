"""``messages``: short texts, wanted ones (ham) and unwanted ones (spam), filled from templates that were written for the course."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import torch

from labkit.data.cards import CARDS
from labkit.data.dataset import Dataset, Role
from labkit.data.images import stride
from labkit.data.text import TextSplit, encode
from labkit.seeding import numpy_generator

CLASSES = ("ham", "spam")
TRAIN, TEST, SPAM = 3_000, 1_000, 0.3
NEW = 6  # every sixth template is kept for the test split
LENGTH = 256  # bytes
FORMAT = 1  # raise it with every change of the texts

# Alternatives for what stands in braces in a template; they may hold braces themselves.
_FILL = {
    "name": "Anna|Ben|Carla|David|Ella|Finn|Grace|Hugo|Ines|Jonas|Kate|Liam|Mia|Noah|Olga|Paul|Rosa|Sam|Tara|Uma|Victor|Will|Yara|Zoe",
    "kin": "mum|dad|sis|grandma|my brother|my sister|aunt {name}|uncle {name}",
    "hello": "hi|hey|hello|hiya|yo|morning|good evening|hi {name}|hey {name}|hello {name}",
    "bye": "xx|x|:)|😊|👍|❤|see you|bye|love you|cheers|thanks|thank you|ttyl|take care|cu|",
    "day": "Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday|tomorrow|today|tonight|this weekend|next week",
    "time": "at {hour}|around {hour}|after work|after school|before lunch|in the evening|later|in a bit|in {small} minutes|at noon",
    "hour": "7|8|9|10|11|12|1|2|3|4|5|6|6:30|7:15|9:45",
    "small": "5|10|15|20|30|45",
    "place": "the station|the cafe|the library|the gym|my place|your house|the office|the park|school|the bus stop|the shop|town|the pool",
    "meal": "pizza|curry|soup|noodles|pasta|salad|sandwiches|pancakes|fish and chips|tacos|rice and beans",
    "thing": "keys|umbrella|charger|book|laptop|jacket|notes|wallet|bike lock|glasses|guitar|homework",
    "film": "the new film|that series|the match|the concert|the quiz show|the documentary|the play",
    "prize": "a {amount} voucher|a new phone|a free holiday|a tablet|{amount} cash|a weekend in Paris|a luxury car|a gift card|"
    "tickets for the final|a games console|a year of free fuel",
    "amount": "$100|$250|$500|$750|$900|$1000|$1500|$2000|$5000|£100|£250|£400|£500|£900|£1000|£2000",
    "price": "$2|$3|$4|$5|$8|$12|$15|$20|$25|$30|£3|£5|£8|£10|£12|£20",
    "phone": "0800{four}{three}|0906{four}{three}|0871{four}{three}|07{three}{four}{two}|{five}",
    "two": "12|24|37|48|55|61|73|89|90",
    "three": "114|203|297|345|418|522|634|709|881|956",
    "four": "1020|2231|3345|4718|5526|6093|7114|8002|9471",
    "five": "80122|80880|81303|83355|85023|86688|87077|88066",
    "code": "KL{three}|WIN{two}|CASH{two}|GO{three}|YES{two}|SAVE{two}",
    "link": "www.{site}.example/{code}|{site}.example|http://{site}.example/r{three}",
    "site": "prizes-now|get-it-free|fastcash|mobile-deals|bonus-club|your-parcel|secure-login|vip-offers|ringtones|loan-help",
    "shop": "MegaMart|PhoneWorld|CityBank|QuickPost|TopTel|FreshFoods|StarCinema|EasyLoans|BookNook|FitClub",
    "urgent": "URGENT|IMPORTANT|ATTENTION|FINAL NOTICE|WARNING|LAST CHANCE|Notice|Reminder",
    "winner": "You have won|You've won|You have been selected to receive|Congratulations, you won|You are the lucky winner of|"
    "Your number was drawn for|You are awarded|We are pleased to award you",
    "claim": "To claim call {phone}|Call {phone} now to claim|Claim now at {link}|Text {code} to {five} to claim|Reply YES to claim|"
    "Collect it at {link}|Ring {phone} today",
    "hurry": "Offer ends {day}|Valid 24 hours only|Only today|Hurry, limited stock|Do not miss out|Expires {day}|Act now|Today only|",
    "small print": "T&Cs apply|18+ only|Cost {two}p per min|Std rates apply|To stop text STOP|No purchase needed|Opt out: text END|",
    "deal": "half price|two for one|{two}% off|free delivery|the best price|a special discount|free minutes and texts|no fees",
    "goods": "ringtones|phones|watches|sunglasses|trainers|insurance|broadband|loans|credit cards|games|tickets|diet pills|perfume",
    "feel": "so tired|really happy|a bit sick|bored|starving|super busy|fine now|much better|so excited|late again|stuck in traffic",
    "chore": "pick up the kids|feed the cat|call the bank|buy milk|water the plants|book the tickets|pay the rent|clean the kitchen|"
    "return the parcel|send the form|charge my phone|renew my card",
    "reply": "ok|okay|sure|no problem|fine|cool|great|lol|haha|yes|nope|sorry|not yet|of course|maybe",
}  # fmt: skip
_HAM = (
    "{hello}, are you free {day} {time}?", "{reply}, see you {time} at {place} {bye}",
    "{hello} running late, be there in {small} minutes", "can you {chore} on your way home? {bye}", "{reply} I will {chore} {day}",
    "did you watch {film} last night? it was great", "I'm {feel}, can we talk {day}?",
    "{hello} I left my {thing} at {place}, did you see it?", "happy birthday {name}! have a lovely day {bye}",
    "what do you want for dinner, {meal} or {meal}?", "{kin} is asking if you come {day}", "{reply}. call me when you get to {place}",
    "meeting moved to {day} {time}, please tell {name}", "we are at {place}, where are you?", "{hello} do you have {name}'s number?",
    "thanks for {day}, the {meal} was amazing {bye}", "I can't find my {thing} anywhere", "bus is late again, {feel} {bye}",
    "{name} won the game, you should have seen it!", "do you need a lift to {place} {day}?",
    "I owe you {price} for {meal}, will pay you back {day}", "{reply}, just finished work. want to get {meal}?",
    "how did the exam go? {bye}", "miss you, call me {time}", "{hello} it is {name}, this is my new number, please save it",
    "please send me the notes for {day}", "going to bed now, {feel}. night {bye}", "shall we book tickets for {film} {day}? {price} each",
    "{kin} says thank you for the card {bye}", "do you still want my old phone? it is free if you pick it up",
    "the doctor can see you {day} {time}, reply yes if that is ok", "your parcel from {shop} comes {day} {time}",
    "your table at {shop} is booked for {day} {time}", "{shop}: your code is {four}. do not tell it to anybody",
    "I won {price} on a scratch card, dinner is on me!", "can you call the bank about the card? it is urgent",
    "free {time}? there is an offer on {meal} at {shop}", "reminder: {chore} before {day} {bye}",
    "{hello} the shop has two for one on {meal}, shall I get some?",
    "the link for the meeting {day} is in your mail, text me if it does not work",
    "my phone died, call {kin} on the old number if it is urgent", "{shop} has {deal} on {goods} {day}, want to go together? {bye}",
    "{reply} but it cost me {amount} to fix the car", "don't pay for {film}, {name} has free tickets",
    "you can reach me on {phone} {day} {bye}", "the pictures of {day} are at {link}, have a look",
    "{reply}, text me the code {code} and I'll order it online", "congratulations on the new job! call me {time}",
    "can you ring {shop} on {phone} about the {thing}?", "the {thing} was only {price} at {link}, good deal or not?",
    "you have to claim the money for the tickets from work, it was {amount}",
    "my prize for the quiz is {prize}, can you believe it {bye}",
)  # fmt: skip
_SPAM = (
    "{urgent}! {winner} {prize}! {claim}. {hurry}. {small print}", "{winner} {prize}. {claim}. {small print}",
    "FREE {goods}! Text {code} to {five}. {small print}", "{shop}: {deal} on all {goods}. {hurry}. Order at {link}",
    "Get {amount} cash today, bad credit ok. Call {phone}. {small print}", "Dear customer, {winner} {prize}. {claim}. {hurry}",
    "{urgent}: your {shop} account is locked. Log in at {link} to keep it",
    "Your parcel from {shop} is waiting. Pay {price} at {link} or it goes back {day}",
    "{deal} on {goods}, this week only at {link}. {small print}", "You have 1 new message. Call {phone} to listen. {small print}",
    "Someone has a crush on you! Find out who: text {code} to {five}. {small print}",
    "Last chance to win {prize}! Text {code} to {five} now. {hurry}",
    "Your phone is due a free upgrade. Call {phone} {hurry}. {small print}",
    "Need cash? {shop} lends up to {amount}, {deal}. Reply YES or visit {link}",
    "Meet new friends in your area tonight! Text {code} to {five}. {small print}",
    "{shop} survey: answer 3 questions and get {prize}. {link}", "Congratulations {name}! {claim}. Your prize is {prize}",
    "Work from home and earn {amount} a week. No experience. Call {phone}",
    "{hello}, you still have {amount} unclaimed from {shop}. {claim}", "Lose weight fast with our {goods}, {deal}. Order {day}: {link}",
    "{urgent}! We tried to call you about {prize}. {claim}. {small print}", "The taxman owes you a refund of {amount}. {claim}",
    "Exclusive offer for you: {goods} with {deal}. {hurry}. {link}",
    "{hello} {kin}, my phone died, this is my new number. can you pay {amount} for me {day}?",
    "{hello}, is this you in the video? {link}", "{hello}, it was great to meet you at {place}, see my pictures at {link} {bye}",
    "{hello} want to make {amount} a week from home? ask me how {bye}",
    "I made {amount} {day} with this app, you should try it {link} {bye}", "{reply}, here is the link for the free tickets: {link}",
    "{hello} I am {name} from {shop}, are you free {day} {time} to talk about your loan?",
    "{hello} {kin} gave me your number, call me on {phone} {time} {bye}", "can you send me the code that you got {day}? I need it {bye}",
    "{reply}, but first pay {price} at {link} and I will send the {thing} {day}",
    "{hello} I can't find your number, text me on {phone} {bye}", "I'm {feel}, talk to me {time}? my pictures are at {link}",
)  # fmt: skip
_SLANG = {
    "you": "u", "are": "r", "your": "ur", "to": "2", "for": "4", "please": "pls", "thanks": "thx", "tomorrow": "tmrw", "tonight": "2nite",
    "and": "n", "see": "c", "great": "gr8", "later": "l8r", "because": "cos", "before": "b4", "at": "@", "text": "txt", "with": "wiv",
    "okay": "k", "the": "da", "have": "hav", "about": "bout", "love": "luv", "message": "msg", "now": "nw", "very": "v",
}  # fmt: skip
_SLOT = re.compile(r"\{([a-z ]+)\}")


def load(*, size: int | None = None, seed: int = 0, smoke: bool = False) -> Dataset:
    """Return texts as bytes, (N, 256) in [0, 1]; ``data.train.text`` and ``data.test.text`` read them. Three of ten are spam.

    All texts are different. ``size`` keeps at most that many of each split, at a constant stride; ``seed`` draws other texts.
    Raises ValueError for size < 1.
    """
    texts, labels = draw(TRAIN, numpy_generator(seed, "messages", "train", FORMAT), NEW)
    more, theirs = draw(TEST, numpy_generator(seed, "messages", "test", FORMAT), seen=texts)
    texts, labels = texts + more, labels + theirs
    card, most = CARDS["messages"], min(size or 64, 64) if smoke else size

    def split(role: Role, first: int, count: int) -> TextSplit:
        index = stride(count, most)
        return TextSplit(encode([texts[first + i] for i in index], LENGTH), torch.tensor([labels[first + i] for i in index]),
                         role, f"messages {role}", torch.from_numpy(index))  # fmt: skip

    return Dataset("messages", split("train", 0, TRAIN), split("test", TRAIN, TEST), CLASSES,
                   licence=card.licence, citation=card.citation, description=card.description)  # fmt: skip


def draw(count: int, rng: np.random.Generator, without: int = 0, seen: Sequence[str] = ()) -> tuple[list[str], list[int]]:
    """Return ``count`` different texts, none of them in ``seen``, and their labels, 1 for spam.

    ``without``: every so-manieth template is not used: those are the new stories and campaigns that only the test split holds.
    """
    known = set(seen)
    found: dict[str, int] = {}
    while len(found) < count:
        spam = int(rng.random() < SPAM)
        text = write(spam, rng, without)
        if text not in known and len(text.encode()) <= LENGTH:
            found.setdefault(text, spam)
    return list(found), list(found.values())


def write(spam: int, rng: np.random.Generator, without: int = 0) -> str:
    """Return one message. Its writer may be lazy (slang, no capitals), loud (all capitals) or clumsy (typing errors)."""
    templates = [one for i, one in enumerate(_SPAM if spam else _HAM) if not without or i % without != without - 1]
    text = templates[rng.integers(len(templates))]
    while slot := _SLOT.search(text):
        choices = _FILL[slot[1]].split("|")
        text = text[: slot.start()] + choices[rng.integers(len(choices))] + text[slot.end() :]
    text = re.sub(r"\s+([.,!?])", r"\1", " ".join(text.split()))
    text = re.sub(r"([.,!?:])[.,]+", r"\1", text).strip(" ,")
    lazy, loud, clumsy = rng.random(3)
    words = text.split()
    if lazy < (0.25 if spam else 0.4):
        words = [_SLANG.get(word.lower(), word) if rng.random() < 0.7 else word for word in words]
        words = words if spam else [word.lower() for word in words]
    elif loud < (0.15 if spam else 0.02):
        words = [word.upper() for word in words]
    elif not spam and words[0].isalpha():
        words[0] = words[0].capitalize()
    if clumsy < 0.3:
        words = [_mistyped(word, rng) if rng.random() < 0.08 else word for word in words]
    return " ".join(words)


def _mistyped(word: str, rng: np.random.Generator) -> str:
    """Return a word with one slip of the finger: two letters swapped, one left out, one doubled."""
    if len(word) < 4 or not word.isalpha():
        return word
    at, kind = int(rng.integers(1, len(word) - 1)), int(rng.integers(3))
    if kind == 0:
        return word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    return word[:at] + word[at + 1 :] if kind == 1 else word[:at] + word[at] + word[at:]


__all__ = ["CLASSES", "FORMAT", "LENGTH", "SPAM", "TEST", "TRAIN", "draw", "load", "write"]
