"""
Lines for `koord decide` over small alphabets that collide: few patients, actors, codes and dates, so that random consents meet
the question often, in both releases and dialects, with references in every spelling, and broken in every way that we know.

`lines` is fast and seeded, for millions; `some_lines` wraps it for hypothesis, which shrinks. A *plan* is a Consent before it has a
release: ``as_r4`` and ``as_r5`` write it.
"""

from __future__ import annotations

import copy
from random import Random

from hypothesis import strategies as st

HERE, ELSEWHERE = "https://fhir.region.example/R4", "https://elsewhere.example/fhir"
PERSON_SYSTEM, ORGANISATION_SYSTEM, HSA_SYSTEM = (
    f"urn:oid:{number}" for number in ("1.2.752.129.2.1.3.1", "2.5.4.97", "1.2.752.129.2.1.4.1")
)
CONSENT_SYSTEM = "https://region.example/consents"
ACT_CODE = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
PATIENTS = {
    "Patient/1": {"system": PERSON_SYSTEM, "value": "191212121212"},
    "Patient/2": {"system": PERSON_SYSTEM, "value": "195009072553"},
}
ACTORS = {
    "Organization/1": {"system": ORGANISATION_SYSTEM, "value": "2321000024"},
    "Organization/2": {"system": ORGANISATION_SYSTEM, "value": "2321000032"},
    "Practitioner/1": {"system": HSA_SYSTEM, "value": "TSTNMT2321000016-105P"},
    "Group/1": {"system": CONSENT_SYSTEM, "value": "team"},
    "RelatedPerson/1": {"system": PERSON_SYSTEM, "value": "199008252398"},
}
UUIDS = {
    name: f"urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6{number:02x}" for number, name in enumerate([*PATIENTS, *ACTORS])
}
KNOWN = PATIENTS | ACTORS

MARCH, OCTOBER, LEAP = "2026-03-29", "2026-10-25", "2028-02-29"
"""A day of 23 hours, one of 25, and one that most years lack."""
NOWS = [
    "2026-03-28T22:59:59.999999Z", "2026-03-28T23:00:00Z", "2026-03-29T10:00:00+02:00", "2026-03-29T21:59:59.999999Z",
    "2026-03-29T22:00:00Z", "2026-06-01T10:00:00+02:00", "2026-10-24T22:00:00Z", "2026-10-25T22:59:59.999999Z",
    "2026-10-25T23:00:00Z", "2028-02-28T23:00:00Z", "2028-02-29T22:59:59.999999Z", "2028-02-29T23:00:00Z",
]  # fmt: skip
DATES = [
    "2025", "2026", "2026-03", "2026-03-28", MARCH, "2026-03-29T10:00:00+02:00", "2026-03-29T08:00:00.5Z", OCTOBER,
    "2026-12-31", "2028-02", LEAP,
]  # fmt: skip
GIVEN = ["2024", "2025", "2025-06-01", "2026-03-28", MARCH, "2026-03-29T10:00:00+02:00", OCTOBER, "2029"]

CODINGS = {
    "purposes": [
        {"system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": "TREAT"},
        {"system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": "HRESCH"},
        {"code": "TREAT"},
    ],
    "actions": [
        {"system": "http://terminology.hl7.org/CodeSystem/consentaction", "code": "access"},
        {"system": "http://terminology.hl7.org/CodeSystem/consentaction", "code": "disclose", "display": "Disclose"},
    ],
    "types": [
        {"system": "http://hl7.org/fhir/resource-types", "code": "Observation"},
        {"system": "http://hl7.org/fhir/fhir-types", "code": "CarePlan"},
        {"system": "urn:ietf:bcp:13", "code": "application/hl7-cda+xml"},
    ],
    "codes": [
        {"system": "http://loinc.org", "code": "8480-6"},
        {"system": "http://snomed.info/sct", "code": "734163000"},
        {"system": "http://loinc.org", "code": "734163000"},
    ],
    "labels": [
        {"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "R"},
        {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "PSY"},
    ],
}


# plans


def plan(chance, *, alternating=False):
    """A Consent without a release. With ``alternating`` it can be written in both, and means the same."""
    form = {"status": "active" if chance.random() < 0.93 else chance.choice(["draft", "inactive", "entered-in-error"])}
    if chance.random() < 0.5:
        form["identifier"] = [
            {"system": CONSENT_SYSTEM, "value": chance.choice("ab")} for _ in range(1 + (chance.random() < 0.1))
        ]
    form["patient"] = spelled(chance, "Patient/1" if chance.random() < 0.93 else "Patient/2", logical=0.1)
    if chance.random() < 0.8:
        form["dated"] = chance.choice(GIVEN[:3] if chance.random() < 0.6 else GIVEN)
    if chance.random() < 0.25:
        names = (
            ["Patient/1"]
            if chance.random() < 0.6
            else chance.sample(["Patient/1", "Patient/2", "Practitioner/1", "RelatedPerson/1"], 2)
        )
        form["givers"] = [spelled(chance, name) for name in names]
    if chance.random() < 0.15:
        form["verified"] = [chance.random() < 0.7 for _ in range(1 + (chance.random() < 0.2))]
    bare = alternating or chance.random() < 0.4
    form["rule"] = rule(chance, "permit" if chance.random() < 0.75 else "deny", 1, alternating=bare, bare=bare)
    return form


def rule(chance, effect, level, *, alternating, bare=False):
    form = {"effect": effect}
    often = 0.12 if level == 1 else 0.22
    if chance.random() < often * 1.5:
        form["period"] = period(chance)
    if chance.random() < often * 2:
        form["actors"] = [actor(chance) for _ in range(1 + (chance.random() < 0.3))]
    if not bare:
        for name, codings in CODINGS.items():
            if chance.random() < often:
                form[name] = chance.sample(codings, 1 + (chance.random() < 0.4))
        if chance.random() < often / 2:
            form["dataPeriod"] = period(chance)
        if chance.random() < often / 2:
            form["data"] = [data(chance) for _ in range(1 + (chance.random() < 0.3))]
    if level < 4 and chance.random() < (0.5, 0.35, 0.3)[level - 1]:
        form["children"] = []
        for _ in range(chance.choice([1, 1, 2, 3])):
            other = "deny" if effect == "permit" else "permit"
            said = other if alternating else chance.choice(["permit", "deny"])
            form["children"].append(rule(chance, said, level + 1, alternating=alternating))
    return form


def period(chance):
    one, other = sorted(chance.sample(DATES, 2))
    shape = chance.random()
    return {"start": one} if shape < 0.35 else {"end": other} if shape < 0.7 else {"start": one, "end": other}


def actor(chance):
    name = "Organization/1" if chance.random() < 0.5 else chance.choice(list(ACTORS))
    return spelled(chance, name, logical=0.2)


def data(chance):
    meaning = chance.choice(["instance", "related", "dependents", "authoredby"])
    name = chance.choice(["Practitioner/1", "Organization/1"]) if meaning == "authoredby" else chance.choice(THINGS)
    return {"meaning": meaning, "reference": spelled(chance, name)}


THINGS = ["Observation/1", "Observation/2", "CarePlan/1", "Encounter/1"]


def spelled(chance, name, logical=0.0):
    """A Reference to what is called so, in one of the spellings that there are."""
    drawn = chance.random()
    if drawn < logical:
        return {"identifier": dict(KNOWN[name])}
    if drawn < 0.6:
        return {"reference": name}
    if drawn < 0.7:
        return {"reference": f"{HERE}/{name}"}
    if drawn < 0.78:
        return {"reference": f"{name}/_history/2", "display": "somebody"}
    if drawn < 0.83:
        return {"reference": f"{ELSEWHERE}/{name}"}
    if drawn < 0.86:
        return {"reference": f"{HERE.upper().replace('HTTPS', 'https').replace('/R4', '')}/R4/{name}/_history/1"}
    if drawn < 0.9:
        return {"reference": UUIDS.get(name, "urn:uuid:4f0e1a55-8a21-4b0c-93a8-7a2bd7a5d0ff")}
    if drawn < 0.93 and name in KNOWN:
        return {"reference": name, "identifier": dict(chance.choice(list(KNOWN.values())))}
    return {"reference": name, "type": name.split("/", maxsplit=1)[0]}


# plans as Consents


def as_r4(form, own="c1"):
    consent = _common(form, own) | {
        "scope": {
            "coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy"}]
        },
        "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
        "patient": form["patient"],
    }
    if "dated" in form:
        consent["dateTime"] = form["dated"]
    if "givers" in form:
        consent["performer"] = form["givers"]
    consent["provision"] = {"type": form["rule"]["effect"], **_inside(form["rule"], "R4")}
    return consent


def as_r5(form, own="c1"):
    """Of the root only what R5 has there: effect, period and actors; the effects of the others follow from it."""
    consent = _common(form, own) | {"subject": form["patient"], "decision": form["rule"]["effect"]}
    if "dated" in form:
        consent["date"] = form["dated"]
    if "givers" in form:
        consent["grantor"] = form["givers"]
    if "period" in form["rule"]:
        consent["period"] = form["rule"]["period"]
    if "actors" in form["rule"]:
        consent["grantee"] = form["rule"]["actors"]
    if "children" in form["rule"]:
        consent["provision"] = [_inside(child, "R5") for child in form["rule"]["children"]]
    return consent


def _common(form, own):
    consent = {"resourceType": "Consent", "id": own, "status": form["status"]}
    if "identifier" in form:
        consent["identifier"] = form["identifier"]
    if "verified" in form:
        consent["verification"] = [{"verified": each} for each in form["verified"]]
    return consent


def _inside(form, release):
    role = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "code": "IRCP"}]}
    provision = {name: form[name] for name in ("period", "dataPeriod", "data") if name in form}
    if "actors" in form:
        provision["actor"] = [{"role": role, "reference": each} for each in form["actors"]]
    for name, element in (("purposes", "purpose"), ("labels", "securityLabel")):
        if name in form:
            provision[element] = form[name]
    for name, element in (("actions", "action"), ("codes", "code")):
        if name in form:
            provision[element] = [{"coding": [each], "text": "said so"} for each in form[name]]
    if "types" in form:
        for each in form["types"]:
            kind = "documentType" if each["system"] == "urn:ietf:bcp:13" else "resourceType"
            provision.setdefault("class" if release == "R4" else kind, []).append(each)
    if "children" in form:
        provision["provision"] = [
            {**({"type": child["effect"]} if release == "R4" else {}), **_inside(child, release)}
            for child in form["children"]
        ]
    return provision


# what is wrong with some


def provisions(consent):
    """Its provisions on all levels, as far as they are of the form."""
    waiting, found = [consent.get("provision")], []
    while waiting:
        held = waiting.pop()
        if isinstance(held, list):
            waiting += held
        elif isinstance(held, dict):
            found.append(held)
            waiting.append(held.get("provision"))
    return found


def _set(name, *values):
    """In one of its provisions, or the Consent if there is none."""

    def broken(consent, chance):
        chance.choice(provisions(consent) or [consent])[name] = copy.deepcopy(chance.choice(values))

    return broken


def _set_top(name, *values):
    def broken(consent, chance):
        consent[name] = copy.deepcopy(chance.choice(values))

    return broken


def _drop(*names):
    def broken(consent, chance):
        for name in names:
            consent.pop(name, None)

    return broken


def _no_base(consent, chance):
    (consent["provision"] if "scope" in consent else consent).pop("type" if "scope" in consent else "decision", None)


def _odd_base(consent, chance):
    holder, name = (consent["provision"], "type") if "scope" in consent else (consent, "decision")
    holder[name] = chance.choice(["Permit", "opt-in", "", None, True, ["permit"]])


def _child_type(consent, chance):
    for provision in provisions(consent)[1:] or provisions(consent):
        if provision.pop("type", None) is None:
            provision["type"] = "permit"


def _deep(levels):
    def broken(consent, chance):
        """Nested so that the deepest rule is at this level."""
        four = "scope" in consent
        below = {"type": "deny"} if four else {"purpose": [CODINGS["purposes"][0]]}
        for _ in range(levels - 2):
            below = {"provision": [below], **({"type": "deny"} if four else {})}
        if four:
            consent["provision"]["provision"] = [below]
        else:
            consent["provision"] = [below]

    return broken


def _wide(number):
    def broken(consent, chance):
        """With this many provisions in all."""
        four = "scope" in consent
        child = {"purpose": [CODINGS["purposes"][1]], **({"type": "permit"} if four else {})}
        holder = consent["provision"] if four else consent
        holder["provision"] = [dict(child) for _ in range(number - four)]

    return broken


BAD_REFERENCES = [
    {"display": "Region Exempel"}, {"reference": "#org"}, {"reference": "#org", "identifier": dict(ACTORS["Organization/1"])},
    {"reference": ""}, {"reference": "Organization"}, {"reference": None}, {}, {"identifier": {"system": ORGANISATION_SYSTEM}},
    {"type": "Organization"}, {"identifier": {}}, {"reference": 1}, "Organization/1",
]  # fmt: skip


def _actor_references(consent, chance):
    bad = copy.deepcopy(chance.choice(BAD_REFERENCES))
    rules = provisions(consent)
    if "scope" not in consent and (not rules or chance.random() < 0.3):
        consent["grantee"] = [bad]
    else:
        chance.choice(rules)["actor"] = [{"role": {"text": "x"}, "reference": bad}]


def _patient_reference(consent, chance):
    consent["patient" if "scope" in consent else "subject"] = copy.deepcopy(chance.choice(BAD_REFERENCES))


def _giver(consent, chance):
    bad = chance.choice([[], [{}], {"reference": "Patient/1"}, ["Patient/1"], [{"reference": "Patient/1"}, []], None])
    consent["performer" if "scope" in consent else "grantor"] = copy.deepcopy(bad)


def _policy(consent, chance):
    if "scope" in consent:
        consent["policy"] = [{"uri": "https://elsewhere.example/policy"}]
    else:
        consent["policyBasis"] = {"url": "https://elsewhere.example/policy"}


def _date(consent, chance):
    bad = ["2026-13", "2026-02-30", "yesterday", "", 2026, "2026-03-29T10:00:00", None, "2026-3-1", "٢٠٢٦"]
    consent["dateTime" if "scope" in consent else "date"] = chance.choice(bad)


def _mixture(consent, chance):
    if "scope" in consent:
        consent.update(copy.deepcopy(chance.choice([
            {"decision": "permit"}, {"subject": {"reference": "Patient/1"}}, {"grantee": [{"reference": "Organization/1"}]},
            {"provision": [consent["provision"]]}, {"period": {"start": "2025"}}, {"date": "2025"},
        ])))  # fmt: skip
    else:
        consent.update(copy.deepcopy(chance.choice([
            {"patient": {"reference": "Patient/1"}}, {"scope": {"text": "privacy"}}, {"dateTime": "2025"},
            {"provision": {"type": consent["decision"]}}, {"performer": [{"reference": "Patient/1"}]},
        ])))  # fmt: skip


BAD_PERIODS = [
    {"start": "soon"}, {"start": "2026-02-30"}, {"end": "2025-02-29"}, {"start": 2026}, {}, "2026", [{"start": "2026"}], None,
    {"start": "2026", "stop": "2027"},
]  # fmt: skip
BAD_CODINGS = [
    [],
    [{}],
    [{"display": "care"}],
    {"code": "TREAT"},
    ["TREAT"],
    None,
    "TREAT",
    [{"code": 7}],
    [{"code": ""}],
    [None],
]
BAD_CONCEPTS = [
    [], [{}], [{"text": "everything"}], {"coding": [{"code": "x"}]}, ["x"], None, [{"coding": []}], [{"coding": [{}]}],
    [{"coding": {"code": "x"}}], [{"coding": [{"code": "8480-6", "system": 1}]}],
]  # fmt: skip
EXTENSION = [{"url": "https://elsewhere.example/not", "valueBoolean": True}]
BROKEN = {
    "modifier extension": _set("modifierExtension", EXTENSION),
    "modifier extension on the whole": _set_top("modifierExtension", EXTENSION),
    "modifier extension on a part": _set("actor", [{"reference": {"reference": "Organization/1"}, "modifierExtension": EXTENSION}]),
    "implicit rules": _set_top("implicitRules", "https://elsewhere.example/rules"),
    "status": _set_top("status", "Active", "aktiv", "", None, 1, "unknown", "proposed", "not-done", ["active"]),
    "no status": _drop("status"),
    "expression": _set("expression", {"language": "text/fhirpath", "expression": "true"}),
    "no base": _no_base,
    "odd base": _odd_base,
    "type of a child": _child_type,
    "period": _set("period", *BAD_PERIODS),
    "data period": _set("dataPeriod", *BAD_PERIODS, {"start": "2027", "end": "2026"}),
    "period of the whole": _set_top("period", *BAD_PERIODS),
    "date": _date,
    "actor": _set("actor", [{}], [{"role": {"text": "recipient"}}], [], {"reference": {"reference": "Organization/1"}}, None, [None]),
    "reference of an actor": _actor_references,
    "reference of the patient": _patient_reference,
    "giver": _giver,
    "no patient": _drop("patient", "subject"),
    "policy": _policy,
    "opposite policy rule": _set_top("policyRule", {"coding": [{"system": ACT_CODE, "code": each} for each in ("OPTIN", "OPTOUT")]}),
    "mixture": _mixture,
    "codings": lambda consent, chance: _set(chance.choice(["purpose", "securityLabel"]), *BAD_CODINGS)(consent, chance),
    "types": lambda consent, chance: _set("class" if "scope" in consent else "resourceType", *BAD_CODINGS)(consent, chance),
    "concepts": lambda consent, chance: _set(chance.choice(["code", "action"]), *BAD_CONCEPTS)(consent, chance),
    "data": _set("data", [], [{}], [{"meaning": "near", "reference": {"reference": "Observation/1"}}], [{"meaning": "instance"}],
                 [{"meaning": "instance", "reference": {"display": "this"}}], {"meaning": "instance"}, None),
    "provisions": _set("provision", [], {}, None, [None], "all", ["all"]),
    "a provision of the other release": lambda consent, chance: _set(
        "resourceType" if "scope" in consent else "class", [CODINGS["types"][0]])(consent, chance),
    "unknown element": _set("recipient", [{"reference": "Organization/1"}]),
    "unknown element of the whole": _set_top("exception", [{"type": "deny"}]),
    "verification": _set_top("verification", [], [{}], {"verified": True}, [{"verified": "true"}], None),
    "identifier": _set_top("identifier", [], {"value": "a"}, [{"value": 1}], None, ["a"]),
}  # fmt: skip
"""Each makes a Consent one that cannot be told; a few draws are harmless in one release."""

LARGE = {"deep": _deep(9), "very deep": _deep(100), "wide": _wide(501)}
EDGES = {"as deep as allowed": _deep(8), "as wide as allowed": _wide(500)}
"""Slow to read, therefore rare; the first are refused, the others just not."""


def consent(chance, own):
    """One Consent, whole or broken."""
    form = plan(chance)
    bare = form["rule"].keys() <= {"effect", "period", "actors", "children"}
    written = as_r5(form, own) if bare and chance.random() < 0.8 else as_r4(form, own)
    if "scope" in written and chance.random() < 0.1:
        written["policyRule"] = {
            "coding": [{"system": ACT_CODE, "code": chance.choice(["OPTIN", "OPTOUT", "hipaa-auth"])}]
        }
    drawn = chance.random()
    if drawn < 0.05:
        written = copy.deepcopy(written)
        chance.choice(list(BROKEN.values()))(written, chance)
    elif drawn < 0.0505:
        written = copy.deepcopy(written)
        chance.choice([*LARGE.values(), *EDGES.values()])(written, chance)
    return written


JUNK = [
    None,
    [],
    {},
    "",
    0,
    True,
    "x",
    -1.5,
    "#x",
    ["x"],
    [{}],
    [None],
    [[]],
    {"x": 1},
    {"reference": "x"},
    {"coding": []},
]


def spoiled(consent, chance):
    """A copy in which one value is something else, is gone, has a neighbour, or has another name."""
    consent = copy.deepcopy(consent)
    holder, key = chance.choice(list(_places(consent)))
    drawn = chance.random()
    if drawn < 0.6:
        holder[key] = copy.deepcopy(chance.choice(JUNK))
    elif isinstance(holder, list):
        holder.append(copy.deepcopy(chance.choice(JUNK)))
    elif drawn < 0.8:
        holder[f"{key}x"] = holder.pop(key)
    else:
        del holder[key]
    return consent


def _places(value):
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield value, key
        yield from _places(inner)


# questions


def request(chance):
    form = {"patient": "Patient/1" if chance.random() < 0.95 else f"{HERE}/Patient/1", "recipient": recipient(chance)}
    form["purpose"] = (
        None if chance.random() < 0.1 else chance.sample(CODINGS["purposes"], chance.choice([0, 1, 1, 1, 1, 2]))
    )
    form["action"] = None if chance.random() < 0.2 else chance.choice(CODINGS["actions"])
    for name, element in (("codes", "category"), ("types", "classes"), ("labels", "labels")):
        form[element] = None if chance.random() < 0.4 else chance.sample(CODINGS[name], chance.choice([0, 1, 1, 2]))
    return form


def recipient(chance):
    name = "Organization/1" if chance.random() < 0.7 else chance.choice(["Organization/2", "Practitioner/1"])
    form = {"references": [], "identifiers": [], "groups": []}
    if chance.random() < 0.85:
        form["references"].append(spelled(chance, name).get("reference", name))
    if chance.random() < 0.15:
        form["references"].append(UUIDS[name])
    if chance.random() < 0.5:
        form["identifiers"].append(dict(ACTORS[name]))
    if chance.random() < 0.15:
        form["groups"].append(chance.choice(["Group/1", f"{HERE}/Group/1"]))
    return form


def resource(chance):
    if chance.random() < 0.35:
        return None
    name = chance.choice(THINGS)
    kind, own = name.split("/")
    form = {"resourceType": kind, "id": own, "subject": {"reference": "Patient/1"}}
    if chance.random() < 0.1:
        del form["id"]
    if chance.random() < 0.5:
        form["code"] = {"coding": [chance.choice(CODINGS["codes"])]}
    if chance.random() < 0.4:
        form["category"] = [{"coding": [chance.choice(CODINGS["codes"])]}]
    if chance.random() < 0.4:
        form["meta"] = {"security": [chance.choice(CODINGS["labels"])]}
    if chance.random() < 0.4:
        form["author"] = chance.choice([spelled(chance, "Practitioner/1"), [spelled(chance, "Organization/1")]])
    if chance.random() < 0.3:
        form["encounter"] = spelled(chance, "Encounter/1")
    return form | resource_dates(chance)


def resource_dates(chance):
    drawn = chance.random()
    if drawn < 0.3:
        return {"effectiveDateTime": chance.choice(DATES)}
    if drawn < 0.5:
        return {"period": period(chance)}
    return {"created": chance.choice(DATES)} if drawn < 0.6 else {}


def known_actors(chance):
    """What the caller resolved: some of those there are, under some spelling."""
    form = {}
    for name, identifier in KNOWN.items():
        if chance.random() < 0.5:
            kind, own = name.split("/")
            key = name if chance.random() < 0.8 else chance.choice([UUIDS[name], f"{HERE}/{name}"])
            form[key] = {"resourceType": kind, "id": own, "identifier": [identifier]}
    return form


UNREADABLE = [
    {"now": "soon"}, {"now": "2026-03-29T10:00:00"}, {"now": None}, {"now": 1}, {"now": "2026-02-30T10:00:00Z"},
    {"policy": "other"}, {"policy": None}, {"dialect": "forest"}, {"consents": None}, {"consents": {}}, {"consents": [None]},
    {"consents": ["Consent"]}, {"recipient": {}}, {"consents": [[]]}, {"request": None}, {"request": []},
    {"request": {}}, {"actors": []}, {"actors": {"Organization/1": None}}, {"resource": []}, {"resource": "Observation/1"},
    {"request": {"patient": "Patient/1"}}, {"request": {"patient": 1, "recipient": {}}},
]  # fmt: skip


def lines(count, seed, same_world=3):
    """``count`` lines; ``same_world`` of them ask about the same consents."""
    chance = Random(seed)
    made = 0
    while made < count:
        consents = [consent(chance, f"c{number}") for number in range(chance.choice([0, 1, 1, 1, 1, 2, 2, 3]))]
        actors = known_actors(chance)
        for _ in range(min(same_world, count - made)):
            made += 1
            yield line(chance, consents, actors, f"{seed}-{made}")


def line(chance, consents, actors, own="1"):
    form = {
        "id": own, "now": chance.choice(NOWS), "policy": "generic", "dialect": "tree" if chance.random() < 0.6 else "pcf-flat",
        "consents": consents, "request": request(chance), "actors": actors, "resource": resource(chance),
    }  # fmt: skip
    if chance.random() < 0.01:
        form.update(copy.deepcopy(chance.choice(UNREADABLE)))
    return form


@st.composite
def some_lines(draw):
    return next(lines(1, draw(st.integers(min_value=0, max_value=2**32)), same_world=1))


def smaller(form):
    """Every line that lacks one part of this one: what to try for the smallest that still shows a difference."""

    def without(value):
        if isinstance(value, dict):
            for name in value:
                rest = {key: each for key, each in value.items() if key != name}
                yield rest
                yield from ({**value, name: inner} for inner in without(value[name]))
        elif isinstance(value, list):
            for place in range(len(value)):
                yield value[:place] + value[place + 1 :]
                yield from ([*value[:place], inner, *value[place + 1 :]] for inner in without(value[place]))

    for name in ("consents", "actors", "resource", "request"):
        yield from ({**form, name: inner} for inner in without(form[name]))
