"""The course's threat models: a card for every attack chapter, and the place of every chapter on NIST's and ATLAS's maps.

``card("14_query_attacks")`` is what a chapter shows. Detection, defense and practice chapters have no attacker of their own: they name the
attack chapters that they answer (``against``), and inherit their identifiers.
"""

from __future__ import annotations

from dataclasses import dataclass

from labkit.threats.card import ThreatModelCard
from labkit.threats.taxonomy import ATLAS, near

_EVADE = ("AML.T0043.000", "AML.T0044", "AML.T0015")

_CARDS = (
    ThreatModelCard(
        "10_evasion_gradient", "deployment", "white-box", ("untargeted", "targeted"), "testing data control", "weights",
        "every value by at most eps (Linf 8/255), or a limit on the length (L2, L1) or the number (L0) of changes, inside [0, 1]",
        "a wrong answer, or the wished one; out of the inputs that did not have it before", ("NISTAML.022",), _EVADE,
    ),
    ThreatModelCard(
        "11_evasion_minimal", "deployment", "white-box", ("untargeted", "targeted"), "testing data control", "weights",
        "none: the attack looks for the smallest change, and its size is the result",
        "the median size of the change that turns the answer, over all inputs that were right", ("NISTAML.022",), _EVADE,
    ),
    ThreatModelCard(
        "12_evasion_strong", "deployment", ("white-box", "black-box"), "untargeted", ("testing data control", "query access"),
        ("weights", "scores"), "one ball, stated beforehand (Linf, L2 or L1); 5,000 queries for the member that uses scores only",
        "any attack of the ensemble turns the answer; inputs that were wrong before count as fallen", ("NISTAML.022", "NISTAML.025"),
        (*_EVADE, "AML.T0043.001"),
    ),
    ThreatModelCard(
        "13_transfer", "deployment", ("black-box", "gray-box"), ("untargeted", "targeted"), "testing data control", "none",
        "one Linf ball; no query at all to the model that is attacked, models of the attacker's own instead",
        "the hidden model's answer is wrong, out of the inputs that it had right", ("NISTAML.025",),
        ("AML.T0005", "AML.T0005.000", "AML.T0043.002", "AML.T0015"),
    ),
    ThreatModelCard(
        "14_query_attacks", "deployment", "black-box", ("untargeted", "targeted"), ("query access", "testing data control"),
        ("scores", "labels"), "one ball, and a number of queries for each input",
        "a wrong answer within the budget of queries; success is a curve over queries, not one number", ("NISTAML.025",),
        ("AML.T0040", "AML.T0043.001", "AML.T0042", "AML.T0015"),
    ),
    ThreatModelCard(
        "15_physical_and_universal", "deployment", "white-box", ("untargeted", "targeted"), "testing data control", "weights",
        "a patch of any color in a bounded area, or one small change for all inputs; it has to survive pose, light and print",
        "the wished answer over signs and views that were not used to make it", ("NISTAML.022",),
        ("AML.T0043.000", "AML.T0041", "AML.T0008.003", "AML.T0015"),
    ),
    ThreatModelCard(
        "16_poisoning", "training", ("white-box", "gray-box"), ("availability", "targeted"), ("training data control", "label limit"),
        "weights", "a share of the training samples, with or without their labels",
        "test accuracy lost, or one chosen input misread, after the owner trains", ("NISTAML.013", "NISTAML.012", "NISTAML.024"),
        ("AML.T0010.002", "AML.T0020", "AML.T0031", "AML.T0059"),
    ),
    ThreatModelCard(
        "17_backdoors", ("training", "deployment"), "black-box", "targeted", ("training data control", "testing data control"), "none",
        "a share of the training samples, and a trigger pasted on inputs later",
        "triggered inputs of other classes that get the wished answer, with clean accuracy beside it", ("NISTAML.023", "NISTAML.021"),
        ("AML.T0020", "AML.T0018.000", "AML.T0043.004"),
    ),
    ThreatModelCard(
        "18_model_extraction", "deployment", "black-box", "privacy", "query access", ("scores", "labels"),
        "a number of queries, and what they cost", "agreement with the victim on inputs that were never queried (fidelity), and accuracy",
        ("NISTAML.031",), ("AML.T0040", "AML.T0024.002", "AML.T0005.001"),
    ),
    ThreatModelCard(
        "19_model_inversion", "deployment", ("black-box", "white-box"), "privacy", "query access", ("scores", "weights"),
        "a number of queries; for leaking gradients, one update of a shared training run",
        "how near the reconstruction comes to what was private, against a guess from public knowledge", ("NISTAML.032",),
        ("AML.T0040", "AML.T0024.001"),
    ),
    ThreatModelCard(
        "20_membership_inference", "deployment", ("black-box", "gray-box"), "privacy", "query access", ("scores", "labels"),
        "the records in question, and data of the same kind for shadow models",
        "members found at a low rate of false alarms (a ROC curve, not one accuracy)", ("NISTAML.033",),
        ("AML.T0040", "AML.T0024.000"),
    ),
    ThreatModelCard(
        "21_prompt_injection", "deployment", ("black-box", "white-box"), ("targeted", "privacy", "misuse"),
        ("query access", "resource control"), ("text", "weights"), "text in the user's turn, or in a document that the model reads",
        "the injected instruction is carried out, or the secret is written; checked by rule, not by impression",
        ("NISTAML.018", "NISTAML.015", "NISTAML.035"), ("AML.T0051.000", "AML.T0051.001", "AML.T0054", "AML.T0056", "AML.T0057"),
    ),
    ThreatModelCard(
        "22_fooling_anomaly_detectors", ("deployment", "training"), ("white-box", "black-box"), "untargeted",
        ("testing data control", "training data control", "query access"), ("weights", "scores", "labels"),
        "fields that the attacker controls, within what a real flow or payment can look like; a trickle of samples into retraining",
        "attack records scored as normal at the detector's false-alarm budget", ("NISTAML.022", "NISTAML.025", "NISTAML.024"),
        ("AML.T0043.000", "AML.T0043.001", "AML.T0020", "AML.T0015"),
    ),
    ThreatModelCard(
        "23_text_audio_sensors", "deployment", ("white-box", "black-box"), ("untargeted", "targeted"),
        ("testing data control", "query access"), ("weights", "scores"),
        "a number of words or characters; a loudness relative to the signal; an amplitude per sensor",
        "a wrong answer on inputs that keep their meaning to a person", ("NISTAML.022", "NISTAML.025"),
        ("AML.T0043.000", "AML.T0043.001", "AML.T0015"),
    ),
    ThreatModelCard(
        "24_generative_adversarial", "deployment", ("white-box", "black-box"), "privacy", "query access", ("weights", "none"),
        "records to judge, and the critic itself, or else a few thousand samples of the generator",
        "members ranked above records that were not trained on: the AUC over both", ("NISTAML.033",), ("AML.T0024.000",),
    ),
)  # fmt: skip
CARDS = {one.name: one for one in _CARDS}

_EVASION = ("10_evasion_gradient", "11_evasion_minimal", "12_evasion_strong")
_BLACK_BOX = ("13_transfer", "14_query_attacks")
_TRAINING = ("16_poisoning", "17_backdoors")
_ALL = tuple(CARDS)


@dataclass(frozen=True)
class Place:
    """A chapter on the map. ``against``: the attack chapters it is about; ``mitigations``: ATLAS's identifiers of what it does."""

    name: str
    against: tuple[str, ...]
    mitigations: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for attack in self.against:
            card(attack)
        for key in self.mitigations:
            if key not in ATLAS or not key.startswith("AML.M"):
                raise ValueError(f"{self.name}: {key!r} is no mitigation of ATLAS; {near(key, [k for k in ATLAS if '.M' in k])}")

    @property
    def stages(self) -> tuple[str, ...]:
        """The stages of the attacks, training first."""
        return tuple(stage for stage in ("training", "deployment") if any(stage in CARDS[name].stage for name in self.against))

    @property
    def nist(self) -> tuple[str, ...]:
        """The NIST identifiers of the attacks, sorted."""
        return tuple(sorted({key for name in self.against for key in CARDS[name].nist}))

    @property
    def atlas(self) -> tuple[str, ...]:
        """The ATLAS identifiers: the mitigations, then the attacks' techniques, sorted."""
        return (*self.mitigations, *sorted({key for name in self.against for key in CARDS[name].atlas}))


def card(name: str) -> ThreatModelCard:
    """Return the threat model of an attack chapter. Raises ValueError for any other name, with near ones."""
    if name not in CARDS:
        raise ValueError(f"no threat model is called {name!r}; {near(name, CARDS)}")
    return CARDS[name]


COURSE = (
    Place("00_start_here", ("10_evasion_gradient",)),
    Place("01_threat_models", _ALL),
    Place("02_why_models_break", ("10_evasion_gradient", "13_transfer")),
    *(Place(name, (name,)) for name in CARDS),
    Place("30_model_behaviour", ("16_poisoning", "12_evasion_strong"), ("AML.M0024",)),
    Place("31_input_anomalies", (*_EVASION, "22_fooling_anomaly_detectors"), ("AML.M0015",)),
    Place("32_confidence", _EVASION, ("AML.M0015",)),
    Place("33_statistics", _EVASION, ("AML.M0015",)),
    Place("34_gradients", _EVASION, ("AML.M0015",)),
    Place("35_consistency", _EVASION, ("AML.M0015", "AML.M0006")),
    Place("36_activations", (*_EVASION, "17_backdoors"), ("AML.M0015", "AML.M0008")),
    Place("37_real_time_monitoring", ("14_query_attacks", "18_model_extraction"), ("AML.M0024", "AML.M0004")),
    Place("38_detectors_under_attack", (*_EVASION, *_BLACK_BOX, "22_fooling_anomaly_detectors"), ("AML.M0015",)),
    Place("40_adversarial_training", _EVASION, ("AML.M0003",)),
    Place("41_gradient_masking", (*_EVASION, *_BLACK_BOX), ("AML.M0003",)),
    Place("42_defensive_distillation", ("10_evasion_gradient", "11_evasion_minimal"), ("AML.M0003",)),
    Place("43_ensembles", (*_EVASION, "13_transfer"), ("AML.M0006",)),
    Place("44_input_transformations", (*_EVASION, "15_physical_and_universal"), ("AML.M0010",)),
    Place("45_model_hardening", _EVASION, ("AML.M0003",)),
    Place("46_monitoring_and_rejection", (*_EVASION, *_BLACK_BOX), ("AML.M0015", "AML.M0024")),
    Place("47_certified", ("10_evasion_gradient", "12_evasion_strong"), ("AML.M0003",)),
    Place("48_private_training", ("18_model_extraction", "19_model_inversion", "20_membership_inference"), ("AML.M0002", "AML.M0004")),
    Place("49_clean_training_data", _TRAINING, ("AML.M0007", "AML.M0008")),
    Place("50_defending_language_models", ("21_prompt_injection",), ("AML.M0020", "AML.M0022")),
    Place("60_evaluating_defenses", (*_EVASION, *_BLACK_BOX)),
    Place("61_arena", _ALL),
    Place("62_healthcare", ("16_poisoning", "20_membership_inference", "10_evasion_gradient")),
    Place("63_finance", ("22_fooling_anomaly_detectors", "18_model_extraction")),
    Place("64_transportation", ("15_physical_and_universal", "13_transfer", "17_backdoors")),
    Place("65_cybersecurity", ("22_fooling_anomaly_detectors", "14_query_attacks")),
    Place("66_trade_offs", _EVASION, ("AML.M0003",)),
    Place("67_explaining_attacks", _EVASION),
    Place("68_automated_and_collaborative", (*_EVASION, *_TRAINING)),
    Place("69_your_own_model", (*_EVASION, *_BLACK_BOX)),
    Place("70_reported_numbers", _ALL),
    Place("71_governance", _ALL),
)


def place(name: str) -> Place:
    """Return where a chapter stands on the map. Raises ValueError for an unknown chapter, with near ones."""
    found = {one.name: one for one in COURSE}
    if name not in found:
        raise ValueError(f"the course has no chapter {name!r}; {near(name, found)}")
    return found[name]


def course_map() -> dict[str, list[str]]:
    """Return the map of all chapters as the columns of a table; identifiers without their prefixes NISTAML and AML.

    The last column has an attack chapter's techniques, and a detection or defense chapter's mitigations: the techniques that those
    answer stand in the rows of the attacks they name (all of them: ``place(name).atlas``).
    """
    return {
        "no.": [one.name[:2] for one in COURSE],
        "chapter": [one.name[3:].replace("_", " ") for one in COURSE],
        "when": [" and ".join(one.stages) for one in COURSE],
        "attacks of": ["all" if one.against == _ALL else ", ".join(name[:2] for name in one.against) for one in COURSE],
        "NIST AI 100-2": ["all" if one.against == _ALL else " ".join(key[7:] for key in one.nist) for one in COURSE],
        "ATLAS": [" ".join(key[4:] for key in (one.atlas if one.against == (one.name,) else one.mitigations)) for one in COURSE],
    }
