"""Data cards: what each data set is, whose it is, and what it must not be taken for."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Card:
    """What a reader must know of a data set before a number computed on it means anything."""

    name: str
    title: str
    description: str
    splits: str
    inputs: str
    licence: str
    citation: str
    origin: str
    caveats: str

    def markdown(self) -> str:
        """Return the card as Markdown."""
        rows = {
            "splits": self.splits, "inputs": self.inputs, "origin": self.origin,
            "licence": self.licence, "cite": self.citation, "mind": self.caveats,
        }  # fmt: skip
        lines = [f"## {self.title} (`{self.name}`)", "", self.description, ""]
        return "\n".join([*lines, *(f"- **{key}**: {text}" for key, text in rows.items()), ""])


_LIST = [
    Card(
        name="signs",
        title="Signs",
        description="Ten traffic signs, drawn with random pose, light, shadow, wear, blur and noise over real photographs: "
        "the course's running example.",
        splits="6,500 train and 2,000 test, balanced (every ten consecutive samples hold each class once); "
        "the backgrounds of train and test come from regions of the photographs that share no pixel",
        inputs="32x32 RGB in [0, 1]",
        licence="Apache-2.0 (drawn by labkit); the background photographs are CC BY 2.0: china.jpg by danielbuechele (flickr, "
        "photo 6061409035), flower.jpg by vultilion (flickr, photo 6056698931), both as bundled with scikit-learn",
        citation="this course; photographs from scikit-learn (Pedregosa et al., JMLR 12, 2011)",
        origin="procedural, from a seed; built on first use and cached",
        caveats="a drawing, not the road: two photographs stand for the whole world, so accuracy here says nothing about a "
        "car's; another version of Pillow or NumPy may change single pixels, and with them the fingerprint",
    ),
    Card(
        name="digits",
        title="Digits",
        description="Handwritten digits of 13 people, reduced to 8x8 counts of ink: real data small enough to train on in a second.",
        splits="1,438 train and 359 test: of each class every fifth sample is test (stratified, fixed, independent of any seed)",
        inputs="8x8 gray in [0, 1] (counts of 0 to 16, divided by 16)",
        licence="CC BY 4.0 (UCI Machine Learning Repository)",
        citation="E. Alpaydin, C. Kaynak: Optical recognition of handwritten digits. UCI Machine Learning Repository, 1998, "
        "doi 10.24432/C50P49; the copy of its test part in scikit-learn",
        origin="bundled with scikit-learn",
        caveats="a writer may stand in both splits: the file does not tell who wrote which digit",
    ),
    Card(
        name="tumors",
        title="Tumors",
        description="Breast masses of 569 patients, 30 measurements of cell nuclei each: malignant (0) or benign (1).",
        splits="456 train and 113 test: of each class every fifth sample is test (stratified, fixed, independent of any seed)",
        inputs="30 features in [0, 1]: scaled by the smallest and largest value of the training split, test values clipped to it",
        licence="CC BY 4.0 (UCI Machine Learning Repository)",
        citation="W. Wolberg, O. Mangasarian, N. Street, W. Street: Breast cancer Wisconsin (diagnostic). UCI Machine Learning "
        "Repository, 1993, doi 10.24432/C5DW2B",
        origin="bundled with scikit-learn",
        caveats="real patients of one clinic, for exercise only; clipping hides test patients outside the training range",
    ),
    Card(
        name="flows",
        title="Flows",
        description="Network connections at a company's border: six honest kinds and four kinds of attack, with the fields and rules "
        "that a real attacker has to respect (`labkit.data.flows.SCHEMA`).",
        splits="6,000 train, 5 % of them attacks, and 2,000 test, 20 % attacks, each kind of attack as often; independent draws",
        inputs="17 fields in [0, 1], counts and durations on a logarithmic scale; the schema decodes them into packets, bytes, seconds",
        licence="Apache-2.0 (drawn by labkit)",
        citation="this course",
        origin="procedural, from a seed: log-normal sizes and durations per kind, a clock, and rules that make the fields agree",
        caveats="a model of traffic and not traffic: kinds are cleaner than life, so error rates here say nothing about a real network",
    ),
    Card(
        name="transactions",
        title="Transactions",
        description="Card payments, honest ones and four kinds of fraud, with the fields and rules that a fraudster has to respect "
        "(`labkit.data.transactions.SCHEMA`).",
        splits="8,000 train, 2 % of them fraud, and 3,000 test, 10 % fraud, each kind of fraud as often; independent customers",
        inputs="20 fields in [0, 1], amounts and counts on a logarithmic scale; the schema decodes them into currency, hours, kilometers",
        licence="Apache-2.0 (drawn by labkit)",
        citation="this course",
        origin="procedural, from a seed: each customer has a usual amount and a rhythm; each kind of fraud departs from them its own way",
        caveats="a model of spending and not spending; fraud is far rarer and more varied in life",
    ),
    Card(
        name="heartbeats",
        title="Heartbeats",
        description="Single beats of an electrocardiogram in four classes, a sum of five waves with a heart, a lead and noise of its own.",
        splits="3,000 train and 1,000 test, seven of ten normal; independent draws",
        inputs="140 samples at 200 a second, shape (1, 140), in [0, 1], which stands for -1.5 to 2.5 millivolts",
        licence="Apache-2.0 (drawn by labkit)",
        citation="this course; the idea of a beat as a sum of Gaussian waves: McSharry et al., IEEE Trans. Biomed. Eng. 50 (2003), 289-294",
        origin="procedural, from a seed; drawn whenever it is loaded",
        caveats="drawn waves and no patient: good for learning about attacks on sensors, useless for medicine",
    ),
    Card(
        name="sounds",
        title="Sounds",
        description="Ten spoken commands (yes, no, up, down, left, right, on, off, stop, go) of made-up voices, synthesized from formants.",
        splits="1,500 train and 500 test, balanced; every sound has a voice, a tempo and a room noise of its own",
        inputs="half a second at 8,000 samples a second, shape (1, 4000), in [-1, 1]",
        licence="Apache-2.0 (spoken by labkit)",
        citation="this course",
        origin="procedural, from a seed; spoken on first use and cached",
        caveats="a synthesizer of a hundred lines: a person understands most words, nobody would take them for a person's",
    ),
    Card(
        name="messages",
        title="Messages",
        description="Short texts, wanted ones (ham) and unwanted ones (spam), filled from templates "
        "with slang, capitals and typing errors.",
        splits="3,000 train and 1,000 test, three of ten spam; all texts differ, and every sixth template appears in test only",
        inputs="the bytes of the text, at most 256, divided by 255 and followed by zeros; `data.test.text` reads them",
        licence="Apache-2.0 (written for labkit)",
        citation="this course",
        origin="procedural, from a seed; written whenever it is loaded",
        caveats="English by formula: far fewer words and turns than people use, so a filter that is good here is not good on a phone; "
        "addresses end in .example, and numbers are made up",
    ),
    Card(
        name="faces",
        title="Faces",
        description="Twenty made-up people, drawn with varying pose, expression and light: inversion without a real person's face.",
        splits="1,200 train and 400 test, balanced: sixty and twenty pictures of each person; independent draws",
        inputs="32x32 gray in [0, 1]",
        licence="Apache-2.0 (drawn by labkit)",
        citation="this course",
        origin="procedural (Pillow), from a seed; drawn on first use and cached",
        caveats="drawings: people differ in fewer ways than in life; nothing here measures what an attack does to real faces",
    ),
    Card(
        name="assistant",
        title="Assistant",
        description="Conversations in a small instruction language: a secret to keep or to share, a task, a document to do it on, and the "
        "reply that follows by a rule. A small language model learns it in a minute or two.",
        splits="18,000 train and 1,000 test, three turns each; independent draws",
        inputs="two rows of 84 numbers, shape (2, 84): the words of the conversation (`VOCABULARY` names them; 0 is padding), and 1 where "
        "a word belongs to a reply; the label is the last turn's task (of six)",
        licence="Apache-2.0 (written by labkit)",
        citation="this course",
        origin="procedural, from a seed and a documented grammar; drawn whenever it is loaded",
        caveats="seventy words and six tasks are no English: the shape of attacks and defenses carries over to large models, their numbers "
        "do not",
    ),
    Card(
        name="mnist",
        title="MNIST",
        description="Handwritten digits, the classic of the field.",
        splits="60,000 train and 10,000 test",
        inputs="28x28 gray in [0, 1]",
        licence="none stated by the authors; often given as CC BY-SA 3.0",
        citation="Y. LeCun, L. Bottou, Y. Bengio, P. Haffner: Gradient-based learning applied to document recognition. "
        "Proceedings of the IEEE 86(11), 1998",
        origin="`labkit data get mnist` (11.6 MB), or found in LABKIT_DATA",
        caveats="the first 5,000 test images are harder to certify than the last 5,000: take subsets with a stride; "
        "robustness here seldom carries over to natural images",
    ),
    Card(
        name="fashion_mnist",
        title="Fashion-MNIST",
        description="Clothes of an online shop in MNIST's format: a harder drop-in replacement.",
        splits="60,000 train and 10,000 test",
        inputs="28x28 gray in [0, 1]",
        licence="MIT",
        citation="H. Xiao, K. Rasul, R. Vollgraf: Fashion-MNIST: a novel image dataset for benchmarking machine learning "
        "algorithms. arXiv:1708.07747, 2017",
        origin="`labkit data get fashion_mnist` (30.9 MB), or found in LABKIT_DATA",
        caveats="shirt, T-shirt, pullover and coat overlap: no classifier is near 100 %",
    ),
    Card(
        name="cifar10",
        title="CIFAR-10",
        description="Small color photographs of ten kinds of animals and vehicles.",
        splits="50,000 train and 10,000 test",
        inputs="32x32 RGB in [0, 1]",
        licence="none stated; the author asks that the report be cited",
        citation="A. Krizhevsky: Learning multiple layers of features from tiny images. Technical report, University of Toronto, 2009",
        origin="`labkit data get cifar10` (170.5 MB), or found in LABKIT_DATA",
        caveats="a labelled part of the Tiny Images, a collection that its own authors withdrew in 2020 for its labels; "
        "train and test hold near-duplicates",
    ),
    Card(
        name="gtsrb",
        title="GTSRB",
        description="German traffic signs photographed from a car, 43 classes: the real counterpart of `signs`.",
        splits="39,209 train and 12,630 test from the official archives; 13,070 train (frames 0, 3, ... 27 of each track) "
        "and all 12,630 test from the 32x32 packing",
        inputs="32x32 RGB in [0, 1], the whole picture with its border, scaled without keeping the aspect ratio",
        licence="none stated; the authors ask for a citation, and that the test set be used for testing only",
        citation="J. Stallkamp, M. Schlipsing, J. Salmen, C. Igel: Man vs. computer: benchmarking machine learning algorithms "
        "for traffic sign recognition. Neural Networks 32, 2012",
        origin="`labkit data get gtsrb` (276.6 MB), or found in LABKIT_DATA",
        caveats="training images are frames of tracks (30 of one physical sign): cut a validation set by track, never by image; the "
        "two packings were scaled by different programs, so their pixels and fingerprints differ",
    ),
    Card(
        name="adult",
        title="Adult",
        description="Census records of 1994: does a person earn more than 50,000 dollars a year? The classic of tabular privacy attacks.",
        splits="32,561 train and 16,281 test, as published",
        inputs="108 columns in [0, 1]: six numbers, scaled by the training split, and one column for each value of eight attributes "
        "(`labkit.data.adult.columns()` says where each stands)",
        licence="CC BY 4.0 (UCI Machine Learning Repository)",
        citation="B. Becker, R. Kohavi: Adult. UCI Machine Learning Repository, 1996, doi 10.24432/C5XW20",
        origin="`labkit data get adult` (6.0 MB), or found in LABKIT_DATA",
        caveats="answers of real people of 1994, with race and sex among the attributes: a benchmark, nothing to decide about anybody "
        "with; one record in four earns more; an unknown value counts as a value of its own",
    ),
    Card(
        name="sms_spam",
        title="SMS Spam Collection",
        description="Real English text messages, ham and spam: the real counterpart of `messages`.",
        splits="4,129 train and 1,031 test: each message once, of each class every fifth is test (there is no official split)",
        inputs="the bytes of the text divided by 255 and followed by zeros; `data.test.text` reads them",
        licence='"free for all purposes" (J. M. Gomez Hidalgo, 2011)',
        citation="T. A. Almeida, J. M. Gomez Hidalgo, A. Yamakami: Contributions to the study of SMS spam filtering: new collection and "
        "results. ACM DocEng 2011",
        origin="found in LABKIT_DATA; from the UCI Machine Learning Repository, data set 228",
        caveats="spam of 2000 to 2011, ham mostly of students in Singapore; repeated messages (hundreds) are left out here, so numbers "
        "differ from papers that keep them; real people wrote them: quote none",
    ),
    Card(
        name="spoken_digits",
        title="Free Spoken Digits",
        description="The digits spoken in English by six people, fifty times each: the real counterpart of `sounds`.",
        splits="2,700 train and 300 test, the official split: recordings 0 to 4 of each digit and speaker are test",
        inputs="one second at 8,000 samples a second, shape (1, 8000), in [-1, 1]; longer recordings are cut, shorter ones end in silence",
        licence="CC BY-SA 4.0",
        citation="Z. Jackson and others: Free Spoken Digit Dataset. Zenodo, doi 10.5281/zenodo.1342401",
        origin="found in LABKIT_DATA; from the address above",
        caveats="the same six voices in train and test: it says nothing about new speakers",
    ),
    Card(
        name="ecg5000",
        title="ECG5000",
        description="Single heartbeats of one patient with heart failure, in five classes: the real counterpart of `heartbeats`.",
        splits="402 train and 98 test: of each class every fifth beat of the archive's training part is test",
        inputs="140 samples, shape (1, 140), in [0, 1], which stands for -8 to 8 standard deviations of the beat",
        licence="none stated by the archive, which asks for a citation; PhysioNet lists the recording as open access",
        citation="Y. Chen, Y. Hao, T. Rakthanmanon, J. Zakaria, B. Hu, E. Keogh: A general framework for never-ending learning from time "
        "series streams. DAMI 29(6), 2015; recording chf07 of PhysioNet's BIDMC database",
        origin="found in LABKIT_DATA; from the UCR time series archive",
        caveats="the archive's test part is not used, classes 3 to 5 have 31 beats together, and all are one person's",
    ),
    Card(
        name="att_faces",
        title="AT&T faces",
        description="Photographs of 38 people, ten of each, taken at the Olivetti Research Laboratory from 1992 to 1994: the real "
        "counterpart of `faces`.",
        splits="266 train and 114 test: of each person pictures 2, 5 and 8 are test (there is no official split)",
        inputs="112x92 gray in [0, 1]",
        licence="none beyond the request to give credit to Olivetti Research Laboratory",
        citation="F. Samaria, A. Harter: Parameterisation of a stochastic model for human face identification. IEEE Workshop on "
        "Applications of Computer Vision, 1994",
        origin="found in LABKIT_DATA",
        caveats="380 of the 400 pictures: people s1 and s2 are missing from the copy at hand; real, recognizable people: for the exercise "
        "only, publish no picture of them",
    ),
    Card(
        name="location30",
        title="Location-30",
        description="Which places 5,010 people visited, by their check-ins on a map: the small classic of membership inference.",
        splits="3,338 train and 1,672 test: of each group every third record is test (there is no official split)",
        inputs="446 values, 0 or 1: regions of the city and kinds of places that a person visited or not",
        licence="none stated by the repository",
        citation="R. Shokri, M. Stronati, C. Song, V. Shmatikov: Membership inference attacks against machine learning models. IEEE S&P "
        "2017; check-ins by D. Yang, D. Zhang, B. Qu: Participatory cultural mapping based on collective behavior data in location-based "
        "social networks. ACM TIST 7(3), 2016",
        origin="found in LABKIT_DATA; from the repository privacytrustlab/datasets",
        caveats="check-ins of real people, stripped of names: for the exercise only; the 30 groups are clusters that the authors computed "
        "from the same features, not facts about anybody",
    ),
    Card(
        name="nsl_kdd",
        title="NSL-KDD",
        description="Network connections recorded in 1998 in a simulated air force network, normal ones and attacks of four families: the "
        "real counterpart of `flows`.",
        splits="125,973 train and 22,544 test; the test split holds attack types that the training split lacks",
        inputs="122 fields in [0, 1]: 38 numbers, counts on a logarithmic scale, and three symbols as flags; the schema decodes them",
        licence="may be redistributed with citation (the institute's terms)",
        citation="M. Tavallaee, E. Bagheri, W. Lu, A. Ghorbani: A detailed analysis of the KDD CUP 99 data set. IEEE CISDA 2009",
        origin="found in LABKIT_DATA: `nsl-kdd/KDDTrain+.txt` and `KDDTest+.txt`, plain or packed with gzip; not downloaded",
        caveats="traffic of another age, and simulated; the rates follow from connections that the records do not hold, so no validator "
        "can check them; which family a test attack belongs to is our reading of the literature's lists",
    ),
]
CARDS: dict[str, Card] = {card.name: card for card in _LIST}
