"""Words of like meaning for the vocabulary of ``messages``, written for the course; not a dictionary of English."""

from __future__ import annotations

from labkit.attacks.discrete.neighbors import table

# A word, and after the mark what may stand for it.
_GROUPS = """
free > complimentary gratis unpaid costless
won > gained earned received landed
win > gain earn get land
winner > champion victor
prize > reward gift award present
award > give grant present
awarded > given granted
claim > collect get fetch request
collect > fetch get
call > ring phone dial contact
ring > call phone
text > message write send
reply > answer respond write
cash > money funds pounds
voucher > coupon ticket card
offer > deal bargain proposal
offers > deals bargains
deal > offer bargain
discount > reduction bargain
urgent > pressing important critical
important > urgent vital serious
attention > listen notice hello
warning > caution alert
final > last closing
notice > note message
reminder > note memo
congratulations > congrats cheers hooray
selected > chosen picked
lucky > fortunate happy
customer > client friend buyer
dear > hello hi
hurry > quick fast soon
limited > scarce small few
stock > supply store
valid > good open
expires > ends stops closes
ends > stops closes finishes
act > move go
now > today soon immediately
today > tonight now
exclusive > special private
special > great extra
account > profile login
locked > closed blocked frozen
log > sign
visit > see open
order > buy get
upgrade > newer model
loan > credit advance
loans > credits advances
lends > gives offers
lend > give
credit > money
cost > price charge
apply > count hold
stop > end quit
purchase > buying payment
needed > required necessary
survey > poll questions
questions > things points
answer > reply
earn > make get
week > seven days
work > job
experience > skill practice
parcel > package packet box
waiting > ready here
pay > send give
someone > somebody
meet > find see
friends > people mates
area > town place
tonight > later
lose > drop shed
weight > pounds kilos
fast > quickly soon
best > top finest
half > fifty percent
price > cost
phone > mobile handset cell
phones > mobiles handsets
number > digits line
ringtones > tones melodies
tickets > seats passes
holiday > trip break vacation
car > vehicle motor
luxury > fancy posh
refund > repayment money
taxman > tax office
unclaimed > waiting open
money > funds cash
pictures > photos pics snaps
video > clip film
link > page address
app > program tool
try > test use
great > good lovely nice
see > view find
talk > speak chat
about > on regarding
want > wish like
can > could may
you > ya u
your > ur yr
you've > you have
have > got
are > r
tried > wanted attempted
pleased > glad happy
receive > get
new > fresh brand-new latest
only > just
day > date
hours > h hrs
chance > opportunity shot
miss > skip lose
message > note mail
messages > notes mails
listen > hear
customers > clients
delivery > shipping
minutes > mins
texts > messages
fees > charges
insurance > cover
cards > plastic
code > key word
died > broke
mum > mom mother
dad > father pop
gave > handed sent
send > mail pass
year > twelve months
gift > present
exam > test
get > grab take
join > enter
entry > entrance
guaranteed > sure certain
mobile > phone handset
service > help
contact > reach call
per > a each
min > minute
std > standard usual
rates > prices
"""


def _read(groups: str) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for line in groups.strip().splitlines():
        word, _, others = line.partition(" > ")
        found[word] = _PHRASES.get(word) or tuple(others.split())
    return found


# Replacements of more than one word.
_PHRASES = {
    "week": ("fortnight", "seven days"), "half": ("fifty percent",), "you've": ("you have", "youve"), "year": ("twelve months",),
    "taxman": ("tax office", "treasury"), "upgrade": ("newer model", "renewal"), "log": ("sign",),
    "win": ("gain", "earn", "get", "take home"),
    "free": ("complimentary", "gratis", "at no cost", "on the house"), "prize": ("reward", "gift", "award"),
    "call": ("ring", "phone", "dial", "get in touch on"), "text": ("message", "write", "send"), "hurry": ("quick", "be fast", "move"),
}  # fmt: skip
#: A word and what may stand for it.
SYNONYMS = _read(_GROUPS)
#: The same as neighbors, in the writing of the word.
synonyms = table(SYNONYMS)

__all__ = ["SYNONYMS", "synonyms"]
