"""The real gate over small worlds: ask it, and look at what it clears or withholds."""

from __future__ import annotations

import copy
from datetime import UTC, datetime
from functools import cache

from consent_worlds import NUMBERS, PROVIDER, PURPOSES, UNIT, actor, good_consents, intervention, plan, signal
from hypothesis import HealthCheck, settings

from adapter import domain as d
from adapter.consent import policy
from adapter.consent.decide import Reason
from adapter.consent.gate import Cleared, Gate, Withheld
from adapter.mapping import Mapper, Package
from adapter.tables import load
from adapter.wire import json as wire_json
from adapter.wire import xml as wire_xml
from adapter.wire.media import media_of

JUNE = datetime(2026, 6, 1, tzinfo=UTC)
KEY = b"k" * 32
OUTSIDE = ["arbetsgivare", "arbetsformedlingen", "kommun", "samordningsforbund"]
SENT = ["forsakringskassan", *OUTSIDE, "vard", "patient"]
FORMS = ["json", "xml", "json R5", "xml R5"]
"""In which form and, where it is not R4, in which release something leaves."""
slow = settings(suppress_health_check=list(HealthCheck), deadline=None, max_examples=12)


@cache
def mapper():
    return Mapper(load(), load)


def in_form(form):
    """A form as a recipient has it."""
    name, _, release = form.partition(" ")
    return {"format": name, "release": release or "R4"}


def gate(made_by=None, key=KEY):
    return Gate(senders=[PROVIDER.hsa_id], id_key=key, mapper=made_by or mapper(), seal_key=KEY)


def clear(record, to, *, consents=None, blocks=(), through=None, now=JUNE, **more):
    snapshot = policy.Snapshot(
        record.patient.identity, 7, tuple(good_consents(to) if consents is None else consents), tuple(blocks)
    )
    asked = {
        "purpose": PURPOSES.get(to.type, d.Purpose.COORDINATION),
        "request_id": "r-1",
        "correlation_id": "c-1",
    } | more
    return (through or gate()).clear(record, destination=to, snapshot=snapshot, now=now, **asked)


def sent(*args, **kwargs) -> Cleared:
    result = clear(*args, **kwargs)
    assert isinstance(result, Cleared), result.faults
    return result


def reason(*args, **kwargs) -> Reason:
    result = clear(*args, **kwargs)
    assert isinstance(result, Withheld)
    assert not result.decision.permitted
    return result.reason


def resources(cleared):
    media = media_of(cleared.content_type)
    seen = wire_json.read(cleared.body) if media.form == "json" else wire_xml.read(cleared.body, release=media.release)
    return [entry["resource"] for entry in seen["entry"]]


def addressed_to(to):
    """An intervention or plan with something for this recipient, and something for others."""
    mine = actor(to.type if to.type in set(d.ActorCategory) else "kommun", to.organisation_number or NUMBERS[0])
    others = [
        actor("kommun" if to.type != "kommun" else "arbetsgivare", NUMBERS[1], UNIT.hsa_id),
        actor("arbetsformedlingen", "2321000131"),
        actor(mine.category, "2321000131"),
    ]
    met = (d.Meeting(actor=mine, contact="Bo Ek"), *(d.Meeting(actor=each, contact="Hemlig") for each in others))
    activities = (
        d.Activity(text="Möte på plats", state="planned", actor=mine),
        *(d.Activity(text="Hemlig", state="planned", actor=each) for each in (*others, None)),
    )
    return [intervention(met=met), plan(activities=activities, participants=(mine, *others))]


def records_for(to):
    return [signal()] if to.type == "forsakringskassan" else addressed_to(to)


def leaking(change):
    """A mapper whose rows write what they must not: ``change`` alters the resources that the real one made."""

    class Leaking(Mapper):
        def of(self, release):
            return Leaking(load(release))

        def to_fhir(self, *args, **kwargs):
            package = super().to_fhir(*args, **kwargs)
            changed = [copy.deepcopy(each) for each in package.resources]
            change(changed)
            return Package(tuple(changed))

    return Leaking(mapper().tables)


def put(place, value, kind=None):
    """A change that writes a value at a place in the first resource of a kind."""

    def change(resources):
        for resource in resources:
            if kind in {None, resource["resourceType"]}:
                node, *path = resource, *place.split(".")
                for step in path[:-1]:
                    node = node.setdefault(step, {})
                    node = node[0] if isinstance(node, list) else node
                node[path[-1]] = value
                return

    return change


def add(resource):
    """A change that puts one more resource into the package."""
    return lambda resources: resources.append(resource)
