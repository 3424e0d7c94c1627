"""Consents of other systems over a small alphabet that often collides, and the questions that are asked of them."""

from __future__ import annotations

import copy

from hypothesis import strategies as st

NOW = "2026-06-01T12:00:00+02:00"
WHY, ACT = "http://terminology.hl7.org/CodeSystem/v3-ActReason", "http://terminology.hl7.org/CodeSystem/v3-ActCode"
DOES = "http://terminology.hl7.org/CodeSystem/consentaction"
TREAT, RESEARCH = {"system": WHY, "code": "TREAT"}, {"system": WHY, "code": "HRESCH"}
PSY, SPI = {"system": ACT, "code": "PSY"}, {"system": ACT, "code": "SPI"}
CLINIC, OTHER = {"reference": "Organization/1"}, {"reference": "Organization/2"}
NUMBER = {"system": "urn:oid:2.5.4.97", "value": "2321000016"}
OBSERVATION = {
    "resourceType": "Observation",
    "id": "o1",
    "code": {"coding": [{"system": "http://loinc.org", "code": "29463-7"}]},
    "subject": {"reference": "Patient/x"},
    "performer": [{"reference": "Organization/9"}],
    "hasMember": [{"reference": "Observation/o2"}],
    "effectiveDateTime": "2026-03",
}


def r4(provision, **more):
    usual = {"resourceType": "Consent", "id": "c1", "status": "active", "patient": {"reference": "Patient/x"}}
    return usual | {"dateTime": "2026-01-15", "provision": provision} | more


def r5(decision, *provisions, **more):
    usual = {"resourceType": "Consent", "id": "c1", "status": "active", "subject": {"reference": "Patient/x"}}
    nested = {"provision": list(provisions)} if provisions else {}
    return usual | {"date": "2026-01-15", "decision": decision} | nested | more


def actor(reference=None, **more):
    return {"role": {"text": "recipient"}, "reference": reference or CLINIC} | more


def question(*consents, **more):
    """Organization/1 asks for Patient/x for treatment; ``recipient`` and the parts of a request go where they belong."""
    parts = {
        name: more.pop(name)
        for name in ("purpose", "action", "category", "classes", "labels", "tenant", "patient")
        if name in more
    }
    recipient = {"references": ["Organization/1"], "identifiers": [], "groups": []} | more.pop("recipient", {})
    return {
        "id": "q",
        "now": NOW,
        "policy": "generic",
        "consents": list(consents),
        "request": {"patient": "Patient/x", "recipient": recipient, "purpose": [TREAT]} | parts,
    } | more  # fmt: skip


def few(values):
    return st.lists(st.sampled_from(values), min_size=1, max_size=2, unique_by=str)


periods = st.fixed_dictionaries(
    {}, optional={"start": st.sampled_from(["2026", "2026-06-01", "2026-07"]), "end": st.sampled_from(["2026-05", "2026-06", "2027"])}
).filter(bool)  # fmt: skip
references = st.sampled_from(
    [CLINIC, OTHER, {"reference": "https://a.example/fhir/Organization/1/_history/2"}, {"identifier": NUMBER}, {"reference": "Group/1"}]
)  # fmt: skip
concepts = st.sampled_from([PSY, SPI]).map(lambda coding: {"coding": [coding]})
attributes = {
    "period": periods,
    "actor": st.lists(references.map(actor), min_size=1, max_size=2),
    "purpose": few([TREAT, RESEARCH]),
    "action": few([{"coding": [{"system": DOES, "code": code}]} for code in ("access", "disclose")]),
    "securityLabel": few([PSY, SPI]),
    "code": st.lists(concepts, min_size=1, max_size=2),
    "dataPeriod": periods,
    "data": st.lists(
        st.fixed_dictionaries(
            {
                "meaning": st.sampled_from(["instance", "related", "dependents", "authoredby"]),
                "reference": st.sampled_from([{"reference": f"Observation/o{n}"} for n in (1, 2, 3)] + [{"reference": "Organization/9"}]),
            }
        ),
        min_size=1,
        max_size=2,
    ),
}  # fmt: skip
trees = st.recursive(
    st.fixed_dictionaries({}, optional=attributes),
    lambda children: st.fixed_dictionaries(
        {"provision": st.lists(children, min_size=1, max_size=2)}, optional=attributes
    ),
    max_leaves=4,
)
"""Provisions without their effects, in the elements that R4 and R5 share."""
effects = st.sampled_from(["permit", "deny"])
opposite = {"permit": "deny", "deny": "permit"}


def with_effects(tree, effect):
    """As R4 writes it, each child against its parent."""
    nested = [with_effects(child, opposite[effect]) for child in tree.get("provision", ())]
    return tree | {"type": effect} | ({"provision": nested} if nested else {})


permissions = trees.flatmap(lambda tree: effects.map(lambda effect: r4(with_effects(tree, effect))))
modern = st.builds(
    lambda decision, provisions, period, grantee: r5(
        decision, *provisions, **({"period": period} if period else {}), **({"grantee": [grantee]} if grantee else {})
    ),
    effects, st.lists(trees, max_size=2), st.none() | periods, st.none() | references,
)  # fmt: skip
times = st.sampled_from(["2025", "2026-01-15", "2026-06-01", "2026-06-02", "2027"])
lines = st.sampled_from([None, None, "a", "b"])


@st.composite
def consents(draw):
    """Readable ones, most of them in force, in both releases."""
    consent = copy.deepcopy(draw(permissions | modern))
    consent["dateTime" if "patient" in consent else "date"] = draw(times)
    consent["id"] = draw(st.sampled_from(["c1", "c2", "c3"]))
    if (line := draw(lines)) is not None:
        consent["identifier"] = [{"system": "urn:l", "value": line}]
    consent["status"] = draw(st.sampled_from(["active"] * 5 + ["inactive", "draft", "entered-in-error"]))
    return consent


@st.composite
def questions(draw, **fixed):
    recipient = {
        "references": draw(st.sampled_from([["Organization/1"], ["https://b.example/fhir/Organization/1"], []])),
        "identifiers": draw(st.sampled_from([[], [NUMBER], [NUMBER | {"value": "2321000024"}]])),
        "groups": draw(st.sampled_from([[], ["Group/1"]])),
    }
    return question(
        *draw(st.lists(consents(), max_size=3)),
        recipient=recipient,
        purpose=draw(st.sampled_from([[], [TREAT], [TREAT, RESEARCH]])),
        action=draw(st.sampled_from([None, {"system": DOES, "code": "access"}])),
        category=draw(st.sampled_from([None, [PSY]])),
        labels=draw(st.sampled_from([None, [PSY], [SPI]])),
        resource=draw(st.sampled_from([None, OBSERVATION])),
        **fixed,
    )


junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["", "active", "permit", "deny", "#p", "Patient/x", "9999-12-31", "0001"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["reference", "code", "type", "provision", "start"]), inner, max_size=2),
    max_leaves=6,
)  # fmt: skip


def places(value, at=()):
    """The path of everything in a JSON value."""
    yield at
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, child in inner:
        yield from places(child, (*at, step))


@st.composite
def spoiled(draw):
    """A consent with one to three places replaced by anything, or removed."""
    consent = copy.deepcopy(draw(consents()))
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(list(places(consent))[1:] or [("status",)]))
        holder = consent
        for step in path[:-1]:
            holder = holder[step]
        if draw(st.booleans()):
            del holder[path[-1]]
        else:
            holder[path[-1]] = draw(junk)
    return consent
