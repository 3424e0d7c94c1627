"""
FHIR's invariants as functions, R4's and R5's: one row per element and key of the committed definitions.

Each takes the JSON object of the element on which the definitions state the invariant, and says whether it holds.
They never fail on an object of a wrong shape: that is reported elsewhere, and here counts as holding.
``AS_SCHEMA``, ``IN_CONTEXT`` and ``LEFT_OUT`` name the invariants that are kept in other places, or not, and why.
An invariant whose expression was only written anew in R5 has one row for both.
"""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from adapter.definitions import Release

Json = Mapping[str, Any]
Holds = Callable[[Json], bool]

_CLINICAL: Final = "http://terminology.hl7.org/CodeSystem/condition-clinical"
_VERIFICATION: Final = "http://terminology.hl7.org/CodeSystem/condition-ver-status"
UCUM: Final = "http://unitsofmeasure.org"
_ALMOST_A_SECOND: Final = timedelta(milliseconds=999)


def has(value: Json, *names: str) -> bool:
    """One of the elements exists, if only with extensions."""
    for name in names:  # noqa: SIM110  half the time of any(), and asked of every element
        if name in value or "_" + name in value:
            return True
    return False


def has_choice(value: Json, stem: str) -> bool:
    """A choice exists under any of its names."""
    return any(name.lstrip("_").startswith(stem) and name.lstrip("_")[len(stem) :][:1].isupper() for name in value)


def objects(value: Json, name: str) -> Iterator[Json]:
    """The objects under a name, whether it holds one or a list."""
    found = value.get(name)
    for each in found if isinstance(found, list) else (found,):
        if isinstance(each, dict):
            yield each


def is_after(start: Any, end: Any) -> bool:
    """
    A FHIR date, dateTime or instant lies after another one, or within it, so that no order can be told.

    Of two different precisions both are compared as far as both go, an instant as it is in UTC. FHIRPath has no answer where one is
    a part of the other, and HL7's validators take none as a broken invariant.
    """
    if not isinstance(start, str) or not isinstance(end, str):
        return False
    try:
        if "T" in start and "T" in end:
            return _instant(start) > _instant(end)
        one, other = _in_utc(start), _in_utc(end)
    except (ValueError, OverflowError):
        return False
    common = min(len(one), len(other))
    return one[:common] > other[:common] or (len(one) != len(other) and one[:common] == other[:common])


def _in_utc(text: str) -> str:
    return _instant(text).astimezone(UTC).isoformat() if "T" in text else text


def _instant(text: str) -> datetime:
    moment = datetime.fromisoformat(text.replace(":60", ":59"))
    if moment.tzinfo is None:
        raise ValueError("no time zone")
    return moment


def _may_be_in_order(o: Json) -> bool:
    """
    R5's per-1: the first instant that the start can mean is not after the last one that the end can.

    A day begins first at UTC+14 and ends last at UTC-12 (FHIRPath ``lowBoundary``, ``highBoundary``).
    """
    start, end = o.get("start"), o.get("end")
    if not isinstance(start, str) or not isinstance(end, str):
        return True
    try:
        return _first(start) <= _last(end)
    except (ValueError, OverflowError):
        return True


def _first(text: str) -> datetime:
    return _instant(text if "T" in text else f"{(text + '-01-01')[:10]}T00:00:00+14:00")


def _last(text: str) -> datetime:
    if "T" in text:
        return _instant(text) + (timedelta() if "." in text else _ALMOST_A_SECOND)
    year, month, *day = (text if len(text) > 4 else f"{text}-12").split("-")
    last = day[0] if day else monthrange(int(year), int(month))[1]
    return _instant(f"{year}-{month}-{last}T23:59:59-12:00") + _ALMOST_A_SECOND


def _distinct(values: Iterable[Any]) -> bool:
    listed = list(values)
    return len(set(map(str, listed))) == len(listed)


def _number(value: Any) -> Decimal | int | None:
    return value if isinstance(value, Decimal | int) and not isinstance(value, bool) else None


def _at_least(minimum: int, name: str) -> Holds:
    return lambda o: (number := _number(o.get(name))) is None or number >= minimum


def _not_both(one: str, other: str) -> Holds:
    return lambda o: not (has(o, one) and has(o, other))


def _needs(name: str, *needed: str) -> Holds:
    """If the first exists, so does one of the others."""
    return lambda o: not has(o, name) or has(o, *needed)


def _some(*names: str) -> Holds:
    return lambda o: has(o, *names)


def _exactly_one(one: str, other: str) -> Holds:
    return lambda o: has(o, one) != has(o, other)


def _coded_quantity(o: Json) -> bool:
    """Shared by age-1, cnt-3 and dis-1: a value has a code, and the code system is UCUM."""
    return (has(o, "code") or not has(o, "value")) and o.get("system", UCUM) == UCUM


def _age(o: Json) -> bool:
    number = _number(o.get("value"))
    return _coded_quantity(o) and (number is None or number > 0)


def _count(o: Json) -> bool:
    whole = "value" not in o or "." not in str(o["value"])
    return _coded_quantity(o) and o.get("code", "1") == "1" and whole


def _extension(o: Json) -> bool:
    return has(o, "extension") != has_choice(o, "value")


def _parameter(o: Json) -> bool:
    value, resource, part = has_choice(o, "value"), "resource" in o, "part" in o
    return (part and not value and not resource) or (not part and value != resource)


def _ratio(o: Json) -> bool:
    return has(o, "numerator") == has(o, "denominator") and (has(o, "numerator") or has(o, "extension"))


def _range(o: Json) -> bool:
    low, high = next(objects(o, "low"), {}), next(objects(o, "high"), {})
    comparable = all(low.get(name) == high.get(name) for name in ("system", "code", "unit"))
    smallest, largest = _number(low.get("value")), _number(high.get("value"))
    return not comparable or smallest is None or largest is None or smallest <= largest


def _timing_offset(o: Json) -> bool:
    when = o.get("when")
    return "offset" not in o or (isinstance(when, list) and not {"C", "CM", "CD", "CV"} & set(map(str, when)))


def _trigger(o: Json) -> bool:
    kind = str(o.get("type", ""))
    if kind == "named-event":
        return has(o, "name")
    if kind == "periodic":
        return has_choice(o, "timing")
    return not kind.startswith("data-") or has(o, "data")


def _no_home(o: Json) -> bool:
    return o.get("use") != "home"


def _none_at_home(name: str) -> Holds:
    return lambda o: all(map(_no_home, objects(o, name)))


def _consent_scope(code: str) -> Holds:
    """ppc-2 to ppc-5 compare with a system called 'something', as R4 has them."""

    def holds(o: Json) -> bool:
        scope = next(objects(o, "scope"), {})
        named = any(c.get("system") == "something" and c.get("code") == code for c in objects(scope, "coding"))
        return has(o, "patient") or not named

    return holds


def _is_coded(o: Json, name: str, system: str, *codes: str) -> bool:
    concept = next(objects(o, name), {})
    return any(c.get("system") == system and c.get("code") in codes for c in objects(concept, "coding"))


def _abated(o: Json) -> bool:
    """con-4: what has abated is not active."""
    ended = _is_coded(o, "clinicalStatus", _CLINICAL, "resolved", "remission", "inactive")
    return not has_choice(o, "abatement") or ended


def _in_error(o: Json) -> bool:
    """con-5: what was entered in error has no clinical status."""
    return not _is_coded(o, "verificationStatus", _VERIFICATION, "entered-in-error") or "clinicalStatus" not in o


def _bundle_entries(part: str, *types: str) -> Holds:
    """Entries have this part exactly in bundles of these types."""
    return lambda o: all((part in entry) == (o.get("type") in types) for entry in objects(o, "entry"))


def _bundle_first(kind: str, resource_type: str) -> Holds:
    def holds(o: Json) -> bool:
        first = next(objects(next(objects(o, "entry"), {}), "resource"), {})
        return o.get("type") != kind or first.get("resourceType") == resource_type

    return holds


def _bundle_identifier(o: Json) -> bool:
    identifier = next(objects(o, "identifier"), {})
    return o.get("type") != "document" or (has(identifier, "system") and has(identifier, "value"))


def _bundle_urls(o: Json) -> bool:
    if o.get("type") == "history":
        return True
    located = [entry for entry in objects(o, "entry") if "fullUrl" in entry]
    return _distinct((e["fullUrl"], _version(e)) for e in located)


def _version(entry: Json) -> Any:
    return next(objects(next(objects(entry, "resource"), {}), "meta"), {}).get("versionId")


def _entry_url(o: Json) -> bool:
    return "/_history/" not in str(o.get("fullUrl", ""))


def _only_in(name: str, *types: str) -> Holds:
    return lambda o: not has(o, name) or o.get("type") in types


def _capability_kind(o: Json) -> bool:
    """cpb-15: a capability has software and no implementation."""
    return o.get("kind") != "capability" or (not has(o, "implementation") and has(o, "software"))


def _capability_requirements(o: Json) -> bool:
    return o.get("kind") != "requirements" or not has(o, "implementation", "software")


def _capability_endpoint(o: Json) -> bool:
    return o.get("kind") == "instance" or not any("endpoint" in messaging for messaging in objects(o, "messaging"))


def _search_entries(o: Json) -> bool:
    return o.get("type") == "searchset" or not any("search" in entry for entry in objects(o, "entry"))


def _all_entries(holds: Holds, *types: str) -> Holds:
    """In bundles of these types, this holds of every entry."""
    return lambda o: o.get("type") not in types or all(map(holds, objects(o, "entry")))


def _method(entry: Json) -> Any:
    return next(objects(entry, "request"), {}).get("method")


def _only_a_resource(entry: Json) -> bool:
    return "resource" in entry and "request" not in entry and "response" not in entry


def _resource_with_method(entry: Json) -> bool:
    """There is a resource where the method sends one, and only there."""
    return (_method(entry) in ("POST", "PATCH", "PUT")) == ("resource" in entry)


def _bundle_located(o: Json) -> bool:
    """bdl-15: in bundles of other types than these, every entry has a place, if it is not new."""
    if o.get("type") in ("transaction", "transaction-response", "batch", "batch-response"):
        return True
    return all(has(entry, "fullUrl") or _method(entry) == "POST" for entry in objects(o, "entry"))


def _bundle_issues(o: Json) -> bool:
    """bdl-16, as it is written: one issue, which is no error."""
    outcome = next(objects(o, "issues"), None)
    return outcome is None or [i.get("severity") for i in objects(outcome, "issue")] in (["information"], ["warning"])


def _bundle_self(o: Json) -> bool:
    links = [link for link in objects(o, "link") if link.get("relation") == "self" and has(link, "url")]
    return o.get("type") != "searchset" or bool(links)


def _fulfilling(o: Json) -> bool:
    """tsk-1: only a Task that fulfils another request is restricted."""
    fulfils = _is_coded(o, "code", "http://hl7.org/fhir/CodeSystem/task-code", "fulfill")
    return "restriction" not in o or (fulfils and "focus" in o)


def _ratio_range(o: Json) -> bool:
    low_or_high, denominator = has(o, "lowNumerator", "highNumerator"), has(o, "denominator")
    return low_or_high == denominator and (denominator or has(o, "extension"))


def _expression_name(o: Json) -> bool:
    name = o.get("name")
    return not isinstance(name, str) or re.fullmatch("[A-Za-z][A-Za-z0-9_]{0,63}", name) is not None


def _other_principal(o: Json) -> bool:
    """prov-1, as far as one resource tells: nobody acts on behalf of the same reference."""
    who, principal = next(objects(o, "who"), {}), next(objects(o, "onBehalfOf"), {})
    return "reference" not in who or who["reference"] != principal.get("reference")


def _no_contained(name: str) -> Holds:
    """Nothing of this name in the meta of contained resources (dom-4, dom-5)."""
    return lambda o: not any(has(meta, name) for inner in objects(o, "contained") for meta in objects(inner, "meta"))


_BOTH: Final[dict[tuple[str, str], Holds]] = {
    ("Age", "age-1"): _age,
    ("Attachment", "att-1"): _needs("data", "contentType"),
    ("Bundle", "bdl-1"): _only_in("total", "searchset", "history"),
    ("Bundle", "bdl-2"): _search_entries,
    ("Bundle", "bdl-7"): _bundle_urls,
    ("Bundle", "bdl-9"): _bundle_identifier,
    ("Bundle", "bdl-10"): lambda o: o.get("type") != "document" or "timestamp" in o,
    ("Bundle", "bdl-11"): _bundle_first("document", "Composition"),
    ("Bundle", "bdl-12"): _bundle_first("message", "MessageHeader"),
    ("Bundle.entry", "bdl-5"): _some("resource", "request", "response"),
    ("Bundle.entry", "bdl-8"): _entry_url,
    ("CapabilityStatement", "cpb-1"): _some("rest", "messaging", "document"),
    ("CapabilityStatement", "cpb-2"): _some("description", "software", "implementation"),
    ("CapabilityStatement", "cpb-3"): _capability_endpoint,
    ("CapabilityStatement", "cpb-7"): lambda o: _distinct(
        (d.get("profile"), d.get("mode")) for d in objects(o, "document")
    ),
    ("CapabilityStatement", "cpb-14"): lambda o: o.get("kind") != "instance" or has(o, "implementation"),
    ("CapabilityStatement", "cpb-15"): _capability_kind,
    ("CapabilityStatement", "cpb-16"): _capability_requirements,
    ("CapabilityStatement.rest", "cpb-9"): lambda o: _distinct(r.get("type") for r in objects(o, "resource")),
    ("CapabilityStatement.rest.resource", "cpb-12"): lambda o: _distinct(
        p.get("name") for p in objects(o, "searchParam")
    ),
    ("Condition.stage", "con-1"): _some("summary", "assessment"),
    ("ContactPoint", "cpt-2"): _needs("value", "system"),
    ("Count", "cnt-3"): _count,
    ("DataRequirement.codeFilter", "drq-1"): _exactly_one("path", "searchParam"),
    ("DataRequirement.dateFilter", "drq-2"): _exactly_one("path", "searchParam"),
    ("Distance", "dis-1"): _coded_quantity,
    ("DomainResource", "dom-2"): lambda o: not any("contained" in inner for inner in objects(o, "contained")),
    ("DomainResource", "dom-4"): lambda o: _no_contained("versionId")(o) and _no_contained("lastUpdated")(o),
    ("DomainResource", "dom-5"): _no_contained("security"),
    ("Duration", "drt-1"): lambda o: not has(o, "code") or (o.get("system") == UCUM and has(o, "value")),
    ("Expression", "exp-1"): _some("expression", "reference"),
    ("Extension", "ext-1"): _extension,
    ("Goal.target", "gol-1"): lambda o: not has_choice(o, "detail") or has(o, "measure"),
    ("Organization", "org-1"): _some("identifier", "name"),
    ("Parameters.parameter", "inv-1"): _parameter,
    ("Patient.contact", "pat-1"): _some("name", "telecom", "address", "organization"),
    ("Quantity", "qty-3"): _needs("code", "system"),
    ("Range", "rng-2"): _range,
    ("Ratio", "rat-1"): _ratio,
    ("Task", "inv-1"): lambda o: not is_after(o.get("authoredOn"), o.get("lastModified")),
    ("Timing.repeat", "tim-1"): _needs("duration", "durationUnit"),
    ("Timing.repeat", "tim-2"): _needs("period", "periodUnit"),
    ("Timing.repeat", "tim-4"): _at_least(0, "duration"),
    ("Timing.repeat", "tim-5"): _at_least(0, "period"),
    ("Timing.repeat", "tim-6"): _needs("periodMax", "period"),
    ("Timing.repeat", "tim-7"): _needs("durationMax", "duration"),
    ("Timing.repeat", "tim-8"): _needs("countMax", "count"),
    ("Timing.repeat", "tim-9"): _timing_offset,
    ("Timing.repeat", "tim-10"): _not_both("timeOfDay", "when"),
    ("TriggerDefinition", "trd-1"): lambda o: not (has(o, "data") and has_choice(o, "timing")),
    ("TriggerDefinition", "trd-2"): _needs("condition", "data"),
    ("TriggerDefinition", "trd-3"): _trigger,
}
_R4: Final[dict[tuple[str, str], Holds]] = {
    ("AuditEvent.entity", "sev-1"): _not_both("name", "query"),
    ("Bundle", "bdl-3"): _bundle_entries("request", "batch", "transaction", "history"),
    ("Bundle", "bdl-4"): _bundle_entries("response", "batch-response", "transaction-response", "history"),
    ("CarePlan.activity", "cpl-3"): _not_both("detail", "reference"),
    ("Condition", "con-4"): _abated,
    ("Condition", "con-5"): _in_error,
    ("Condition.evidence", "con-2"): _some("code", "detail"),
    ("Consent", "ppc-1"): _some("policy", "policyRule"),
    ("Consent", "ppc-2"): _consent_scope("patient-privacy"),
    ("Consent", "ppc-3"): _consent_scope("research"),
    ("Consent", "ppc-4"): _consent_scope("adr"),
    ("Consent", "ppc-5"): _consent_scope("treatment"),
    ("Organization.address", "org-2"): _no_home,
    ("Organization.telecom", "org-3"): _no_home,
    ("Period", "per-1"): lambda o: not is_after(o.get("start"), o.get("end")),
}
_R5: Final[dict[tuple[str, str], Holds]] = {
    ("Availability.availableTime", "av-1"): lambda o: (
        o.get("allDay") is not True or not has(o, "availableStartTime", "availableEndTime")
    ),
    ("Bundle", "bdl-3a"): _all_entries(_only_a_resource, "document", "message", "searchset", "collection"),
    ("Bundle", "bdl-3b"): _all_entries(
        lambda e: "request" in e and "response" in e and _resource_with_method(e), "history"
    ),
    ("Bundle", "bdl-3c"): _all_entries(
        lambda e: _method(e) is not None and _resource_with_method(e), "transaction", "batch"
    ),
    ("Bundle", "bdl-3d"): _all_entries(lambda e: "response" in e, "transaction-response", "batch-response"),
    ("Bundle", "bdl-13"): _bundle_first("subscription-notification", "SubscriptionStatus"),
    ("Bundle", "bdl-14"): _all_entries(lambda e: _method(e) != "PATCH", "history"),
    ("Bundle", "bdl-15"): _bundle_located,
    ("Bundle", "bdl-16"): _bundle_issues,
    ("Bundle", "bdl-17"): lambda o: o.get("type") != "document" or "issues" not in o,
    ("Bundle", "bdl-18"): _bundle_self,
    ("CapabilityStatement", "cpb-4"): lambda o: _distinct(r["mode"] for r in objects(o, "rest") if "mode" in r),
    ("Condition", "con-3"): _abated,
    ("Dosage", "dos-1"): lambda o: not has(o, "asNeededFor") or o.get("asNeeded") is not False,
    ("Expression", "exp-2"): _expression_name,
    ("Organization.contact", "org-3"): _none_at_home("telecom"),
    ("Organization.contact", "org-4"): _none_at_home("address"),
    ("Period", "per-1"): _may_be_in_order,
    ("Provenance.agent", "prov-1"): _other_principal,
    ("RatioRange", "ratrng-1"): _ratio_range,
    ("Reference", "ref-2"): _some("reference", "identifier", "display", "extension"),
    ("SampledData", "sdd-1"): _exactly_one("interval", "offsets"),
    ("Task", "tsk-1"): _fulfilling,
}
INVARIANTS: Final[Mapping[Release, Mapping[tuple[str, str], Holds]]] = {"R4": _BOTH | _R4, "R5": _BOTH | _R5}
"""Release → element and key → what must hold of its JSON object."""

AS_SCHEMA: Final = {
    ("Element", "ele-1"): "no empty objects: minProperties, dependentSchemas, and the pairing of primitives",
    ("Element.extension", "ele-1"): "the same",
    ("SimpleQuantity", "sqty-1"): "the comparator is not a property of the shape",
}
IN_CONTEXT: Final = {
    ("DomainResource", "dom-3"): "contained resources are referred to: needs the whole resource",
    ("Narrative.div", "txt-1"): "adapter.validation.narrative",
    ("Narrative.div", "txt-2"): "adapter.validation.narrative",
    ("Reference", "ref-1"): "fragments lead to a contained resource: needs the whole resource",
}
_LEFT_OUT_OF_BOTH: Final = {
    ("DomainResource", "dom-6"): "a warning: what we send has no narrative, so that none can leak",
    ("CareTeam.participant", "ctm-1"): "needs the resource that a reference leads to, which is seldom there",
}
LEFT_OUT: Final[Mapping[Release, Mapping[tuple[str, str], str]]] = {
    "R4": _LEFT_OUT_OF_BOTH
    | {
        ("CapabilityStatement", "cpb-0"): "a warning about a name for code generators",
        ("Condition", "con-3"): "a warning about problem lists",
    },
    "R5": _LEFT_OUT_OF_BOTH
    | {
        ("CapabilityStatement", "cnl-0"): "a warning about a name for code generators",
        ("CapabilityStatement.url", "cnl-1"): "a warning about a canonical address",
        ("CareTeam.participant", "ctm-2"): "a warning about a participant without a member",
        ("Coding", "cod-1"): "a warning: we send no display; what others send without a code is lost by name",
        ("Condition", "con-2"): "a warning about problem lists",
        ("DocumentReference", "docRef-1"): "a warning, which needs the resource that a reference leads to",
        ("DocumentReference", "docRef-2"): "the same",
        ("Identifier", "ident-1"): "a warning: a reference may name a system and hide the number",
        ("Provenance.agent", "prov-2"): "needs the resource that a reference leads to, which is seldom there",
        ("Provenance.agent", "prov-3"): "the same",
        (
            "RatioRange",
            "ratrng-2",
        ): "holds always: it asks a Quantity for a value of its own, which only primitives have",
    },
}
