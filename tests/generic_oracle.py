"""
A second opinion on decisions about consents of unknown origin: slow, plain, and sharing no code with the adapter.

It takes a line as `koord decide` reads it, policy "generic", and walks through the rules one by one. R4 and R5 Consents are
read into one plain form of rules: dicts with the keys effect, period, actors, purposes, actions, types, codes, labels, data,
data_period and children. Where it and the product differ, one of them is wrong.

Where the rules leave something open, this takes the stricter reading:

* A patient who is missing, contained or known by a display only refuses the consent; one who cannot be compared leaves a source of
  denial. Only what is surely this patient's own word permits. It replaces another consent with the same identifier, and so does
  what cannot be read, for it may be that.
* Elements that no release knows, empty arrays and objects, nulls, and concepts without a code may narrow or widen what a consent
  says; one that has them on the way to its rules is refused. (An empty R5 provision is an exception without limits.) So is every
  policy address.
* A proxy is a related person who does not ask, with verifications that all say yes.
* Of two consents with a shared identifier whose dates cannot tell which is newer, each permits only what the other does too.
* A relative reference is equal to an absolute one with the same type and id; two absolute ones at different servers are not.
  A urn: can be compared with another only, unless it leads to a resource; identifiers within one system only.
* An empty list of categories, classes or labels tells as little as none.
* Depth is that of the rules: an R5 Consent is itself the first of its rules, as an R4 Consent's root provision is.
"""

from __future__ import annotations

import calendar
import datetime as dt
import functools
import re
import zoneinfo

SWEDEN = zoneinfo.ZoneInfo("Europe/Stockholm")
EVER = (dt.datetime(1, 1, 2, tzinfo=dt.UTC), dt.datetime(9999, 12, 30, tzinfo=dt.UTC))
MICROSECOND = dt.timedelta(microseconds=1)

STATUS = {
    "R4": {"draft", "proposed", "active", "rejected", "inactive", "entered-in-error"},
    "R5": {"draft", "active", "inactive", "not-done", "entered-in-error"},
}
EVERYWHERE = {"id", "extension"}
TOP = EVERYWHERE | {
    "resourceType", "meta", "language", "text", "contained", "identifier", "status", "category", "sourceAttachment",
    "sourceReference", "verification", "provision",
}  # fmt: skip
TOP_ONLY = {
    "R4": {"scope", "patient", "dateTime", "performer", "organization", "policy", "policyRule"},
    "R5": {
        "subject", "date", "period", "grantor", "grantee", "manager", "controller", "regulatoryBasis", "policyBasis",
        "policyText", "decision",
    },
}  # fmt: skip
INSIDE = EVERYWHERE | {
    "period", "actor", "action", "securityLabel", "purpose", "code", "dataPeriod", "data", "provision",
}  # fmt: skip
INSIDE_ONLY = {"R4": {"type", "class"}, "R5": {"documentType", "resourceType"}}
DATES = [
    "effectiveDateTime", "effectivePeriod", "effectiveInstant", "occurrenceDateTime", "occurrencePeriod", "performedDateTime",
    "performedPeriod", "onsetDateTime", "onsetPeriod", "abatementDateTime", "abatementPeriod", "period", "date", "authoredOn",
    "recordedDate", "created", "issued",
]  # fmt: skip
TYPE_SYSTEMS = ("http://hl7.org/fhir/resource-types", "http://hl7.org/fhir/fhir-types")


class Unreadable(Exception):
    """The line is not of the form."""


class Refused(Exception):
    """The consent may say something that nobody can tell."""


def answer(line):
    """(decision, reason) for one line."""
    try:
        asked = question(line)
    except Unreadable:
        return "deny", "UNREADABLE"
    said = [decide(line["consents"], {**asked, "purpose": purpose}) for purpose in asked["purposes"] or [None]]
    for worst in (("deny", "CONSENT_UNINTERPRETABLE"), ("deny", "CONSENT_REFUSED"), ("no-consent", "NO_CONSENT")):
        if worst in said:
            return worst
    return "permit", "PERMITTED"


def decide(consents, asked):
    """The same for one purpose, or none declared."""
    held = [(consent, *heard(consent, asked)) for consent in consents]
    if any(verdict == "refused" for _, verdict, _ in held):
        return "deny", "CONSENT_UNINTERPRETABLE"
    if any(verdict == "deny" for _, verdict, _ in held):
        return "deny", "CONSENT_REFUSED"
    counted = [(consent, verdict == "permit" and gave) for consent, verdict, gave in held if replaces(consent, asked)]
    for consent, permits in counted:
        if permits and all(yes and not newer(other, consent) for other, yes in counted if rivals(other, consent)):
            return "permit", "PERMITTED"
    return "no-consent", "NO_CONSENT"


def heard(consent, asked):
    """What a consent says: refused, deny, permit or nothing; and whether a permission would be the patient's own."""
    if out(consent, asked):
        return "nothing", False
    try:
        rule = as_rule(consent)
    except Refused:
        return "refused", False
    patient = consent.get("patient", consent.get("subject"))
    if contradicts_itself(patient, asked):
        return "refused", False
    if of_somebody_else(asked):
        return "nothing", False
    walk = {"tree": tree, "pcf-flat": flat}[asked["dialect"]]
    of_patient = same(patient, asked["patient"], asked) == "yes"
    return walk(rule, asked) or "nothing", of_patient and given_by_patient(consent, asked)


# which consents are looked at


def release(consent):
    """R4, R5, or None for a mixture or what could be both."""
    four = bool(TOP_ONLY["R4"] & consent.keys()) or isinstance(consent.get("provision"), dict)
    five = bool(TOP_ONLY["R5"] & consent.keys()) or isinstance(consent.get("provision"), list)
    return "R4" if four and not five else "R5" if five and not four else None


def out(consent, asked):
    """Inactive, another patient's, dated later, or past or not begun; unless something changes its whole meaning."""
    status = consent.get("status")
    if isinstance(status, str) and status in statuses(consent) and status != "active":
        return True
    patients = [consent[name] for name in ("patient", "subject") if name in consent]
    if patients and all(same(patient, asked["patient"], asked) == "no" for patient in patients):
        return True
    if changed(consent):
        return False
    if dated(consent)[0] > asked["now"]:
        return True
    periods = root_periods(consent)
    return bool(periods) and not min(each[0] for each in periods) <= asked["now"] <= max(each[1] for each in periods)


def statuses(consent):
    """Those of its release."""
    form = release(consent)
    return STATUS[form] if form else STATUS["R4"] & STATUS["R5"]


def changed(consent):
    """Whether it has implicit rules, or a modifier extension anywhere outside what it contains."""
    waiting = [{name: value for name, value in consent.items() if name != "contained"}]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            if "modifierExtension" in value:
                return True
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)
    return "implicitRules" in consent


def dated(consent):
    """First and last instant that it may be dated at; without a date it is the oldest, with a broken one it may be any."""
    found = [consent[name] for name in ("dateTime", "date") if name in consent]
    if not found:
        return EVER[0], EVER[0]
    try:
        spans = [interval(each) for each in found]
    except Refused:
        return EVER
    return min(span[0] for span in spans), max(span[1] for span in spans)


def root_periods(consent):
    """The period of the whole, where either release has it; one that cannot be read keeps nothing out."""
    provision = consent.get("provision")
    found = [each["period"] for each in (consent, provision) if isinstance(each, dict) and "period" in each]
    try:
        return [span(each) for each in found]
    except Refused:
        return []


def given_by_patient(consent, asked):
    """By the patient, or by a proxy with a verification and nobody who asks; where no giver is named, by the patient."""
    named = {"performer", "grantor"} & consent.keys()
    givers = [giver for name in named for giver in many(consent[name])]
    if not named or any(same(giver, asked["patient"], asked) == "yes" for giver in givers):
        return True
    checks = many(consent.get("verification"))
    verified = bool(checks) and all(check.get("verified") is True for check in checks)
    asks = any(same(giver, asked["party"], asked) == "yes" for giver in givers)
    return verified and not asks and any(is_proxy(giver, asked) for giver in givers)


def is_proxy(giver, asked):
    """A related person."""
    place = normal(giver.get("reference"))
    kinds = {resource.get("resourceType") for resource in resources_at(place, asked)}
    if place and place[0] == "thing":
        kinds.add(place[2].split("/")[0])
    return "RelatedPerson" in kinds


def contradicts_itself(patient, asked):
    """Whether it is this patient's reference with another number of the same system."""
    here = same_place(normal(patient.get("reference")), normal(asked["patient"]["references"][0]))
    compared = [
        same_number(each, own) for each in listed(patient.get("identifier")) for own in asked["patient"]["identifiers"]
    ]
    return here == "yes" and "no" in compared and "yes" not in compared


def of_somebody_else(asked):
    """Whether the resource says that it is about another patient."""
    resource = asked["resource"]
    about = [resource[name] for name in ("subject", "patient") if name in resource]
    if resource.get("resourceType") == "Patient" and "id" in resource:
        about.append({"reference": f"Patient/{resource['id']}"})
    return any(same(each, asked["patient"], asked) == "no" for each in about)


def replaces(consent, asked):
    """
    Whether it counts among those of which the newest permits: this patient's own word, or perhaps that, once it holds. What has
    been taken back is so whenever it was to hold.
    """
    if consent.get("status") in ("draft", "proposed", "entered-in-error"):
        return False
    early = dated(consent)[0] > asked["now"] or any(asked["now"] < start for start, _ in root_periods(consent))
    taken_back = [each for each in ("inactive", "rejected", "not-done") if each in statuses(consent)]
    if early and consent.get("status") not in taken_back:
        return False
    patients = [consent[name] for name in ("patient", "subject") if name in consent]
    about = [same(patient, asked["patient"], asked) for patient in patients]
    if about and set(about) == {"no"}:
        return False
    try:
        as_rule(consent | {"status": "active"} if consent.get("status") in taken_back else consent)
    except Refused:
        return True
    return contradicts_itself(patients[0], asked) or ("yes" in about and given_by_patient(consent, asked))


def rivals(one, other):
    """Whether one shares an identifier with the other and is not surely older."""
    return one is not other and bool(names(one) & names(other)) and dated(one)[1] >= dated(other)[0]


def newer(one, other):
    return dated(one)[0] > dated(other)[1]


def names(consent):
    """The consent's identifiers."""
    return {(each.get("system"), each["value"]) for each in listed(consent.get("identifier")) if "value" in each}


def listed(identifiers):
    """Identifiers that are of the form."""
    if isinstance(identifiers, dict):
        identifiers = [identifiers]
    if not isinstance(identifiers, list):
        return []
    return [
        each
        for each in identifiers
        if isinstance(each, dict) and isinstance(each.get("value", ""), str) and isinstance(each.get("system", ""), str)
    ]


# from a Consent to rules


def as_rule(consent):
    """The rule tree of a Consent that has all that it needs and nothing that is unknown; Refused otherwise."""
    form = release(consent)
    if (
        form is None
        or consent.get("resourceType") != "Consent"
        or changed(consent)
        or consent.get("status") != "active"
    ):
        raise Refused
    only(consent, TOP | TOP_ONLY[form])
    if "identifier" in consent:
        for each in objects(consent["identifier"]):
            text(each.get("value", "-"))
    for check in objects(consent["verification"]) if "verification" in consent else []:
        if not isinstance(check.get("verified"), bool):
            raise Refused
    moment = {"R4": "dateTime", "R5": "date"}[form]
    if moment in consent:
        interval(consent[moment])
    whose = {"R4": "patient", "R5": "subject"}[form]
    usable(consent.get(whose))
    for name in {"performer", "grantor"} & consent.keys():
        objects(consent[name])
    known_policy(consent)
    rule = root_of_r4(consent) if form == "R4" else root_of_r5(consent)
    if count(rule) - (form == "R5") > 500:
        raise Refused
    return rule


def known_policy(consent):
    """No policy is known."""
    for policy in objects(consent["policy"]) if "policy" in consent else []:
        if "uri" in policy:
            raise Refused
    if "policyBasis" in consent and (
        not isinstance(consent["policyBasis"], dict) or consent["policyBasis"].keys() & {"url", "reference"}
    ):
        raise Refused


def root_of_r4(consent):
    provision = consent.get("provision")
    if not isinstance(provision, dict):
        raise Refused
    base = provision.get("type")
    says = {"permit": "OPTIN", "deny": "OPTOUT"}
    if base not in ("permit", "deny"):
        raise Refused
    if "policyRule" in consent:
        if not isinstance(consent["policyRule"], dict):
            raise Refused
        codings = objects(consent["policyRule"]["coding"]) if "coding" in consent["policyRule"] else []
        told = {coding_of(coding)[1] for coding in codings} & set(says.values())
        if told - {says[base]}:
            raise Refused
    return rule_of(provision, "R4", base, 1)


def root_of_r5(consent):
    base = consent.get("decision")
    if base not in ("permit", "deny"):
        raise Refused
    rule = {"effect": base, "children": []}
    if "period" in consent:
        rule["period"] = span(consent["period"])
    if "grantee" in consent:
        rule["actors"] = [usable(each) for each in objects(consent["grantee"])]
    if "provision" in consent:
        rule["children"] = children_of(consent["provision"], "R5", base, 2)
    return rule


def children_of(provisions, form, effect, level):
    if level > 8:
        raise Refused
    children = []
    for child in objects(provisions, empty=form == "R5"):
        if form == "R5":
            children.append(rule_of(child, form, "deny" if effect == "permit" else "permit", level))
        elif child.get("type") in ("permit", "deny"):
            children.append(rule_of(child, form, child["type"], level))
        else:
            raise Refused
    return children


CODED = {
    "purpose": "purposes",
    "securityLabel": "labels",
    "class": "types",
    "resourceType": "types",
    "documentType": "types",
}
CONCEPTS = {"action": "actions", "code": "codes"}


def rule_of(provision, form, effect, level):  # noqa: C901  one element after another
    only(provision, INSIDE | INSIDE_ONLY[form])
    rule = {"effect": effect, "children": []}
    for element, name in (("period", "period"), ("dataPeriod", "data_period")):
        if element in provision:
            rule[name] = span(provision[element])
            if rule[name][0] > rule[name][1]:
                raise Refused
    if "actor" in provision:
        rule["actors"] = [actor_of(each) for each in objects(provision["actor"])]
    if "data" in provision:
        rule["data"] = [data_of(each) for each in objects(provision["data"])]
    for element, name in CODED.items():
        if element in provision:
            rule.setdefault(name, set()).update(coding_of(each) for each in objects(provision[element]))
    for element, name in CONCEPTS.items():
        for concept in objects(provision[element]) if element in provision else []:
            rule.setdefault(name, set()).update(coding_of(each) for each in objects(concept.get("coding")))
    if "provision" in provision:
        rule["children"] = children_of(provision["provision"], form, effect, level + 1)
    return rule


def actor_of(actor):
    only(actor, EVERYWHERE | {"role", "reference"})
    return usable(actor.get("reference"))


def data_of(data):
    only(data, EVERYWHERE | {"meaning", "reference"})
    if data.get("meaning") not in ("instance", "related", "dependents", "authoredby"):
        raise Refused
    return data["meaning"], usable(data.get("reference"))


def count(rule):
    found, level = 0, [rule]
    while level:
        found += len(level)
        level = [child for each in level for child in each["children"]]
    return found


def only(element, names_known):
    """Nothing but these, the text beside a primitive included."""
    if any(name.removeprefix("_") not in names_known for name in element):
        raise Refused


def objects(value, *, empty=False):
    """A list of at least one object, none of them empty unless that says something."""
    if (
        not isinstance(value, list)
        or not value
        or not all(isinstance(each, dict) and (each or empty) for each in value)
    ):
        raise Refused
    return value


def text(value):
    if not isinstance(value, str) or not value:
        raise Refused
    return value


def coding_of(coding):
    return (text(coding["system"]) if "system" in coding else None), text(coding.get("code"))


def usable(reference):
    """A reference that can be told from others: not only a display, not into the Consent itself."""
    if not isinstance(reference, dict):
        raise Refused
    if "reference" in reference and normal(reference["reference"]) is None:
        raise Refused
    identifier = reference.get("identifier")
    if "identifier" in reference and (not isinstance(identifier, dict) or not text(identifier.get("value"))):
        raise Refused
    if not reference.keys() & {"reference", "identifier"}:
        raise Refused
    return reference


# references and identifiers


RESTFUL = re.compile(
    r"(?:((?i:https?))://([^/?#\s]+)((?:/[^/?#\s]+)*?)/)?([A-Z][A-Za-z]+)/([A-Za-z0-9.-]{1,64})(?:/_history/[^/?#\s]+)?"
)
PLAIN_URL = re.compile(r"((?i:https?))://([^/?#\s]+)((?:/[^/?#\s]+)*)/?")


def normal(reference):
    """(kind, server, rest) of a reference in any spelling; None if it is none."""
    return _normal(reference) if isinstance(reference, str) else None


@functools.cache
def _normal(reference):
    if reference.lower().startswith("urn:") and len(reference) > 4 and not re.search(r"\s", reference):
        return "urn", None, reference.lower() if reference.lower().startswith("urn:uuid:") else reference
    if found := RESTFUL.fullmatch(reference):
        scheme, host, path, kind, own = found.groups()
        return "thing", scheme and f"{scheme.lower()}://{host.lower()}{path}", f"{kind}/{own}"
    if found := PLAIN_URL.fullmatch(reference):
        scheme, host, path = found.groups()
        return "url", None, f"{scheme.lower()}://{host.lower()}{path}"
    return None


def same_place(one, other):
    """yes, no or unknown for two normal references."""
    if one is None or other is None or (one[0] == "urn") != (other[0] == "urn"):
        return "unknown"
    if one[0] != other[0] or one[2] != other[2]:
        return "no"
    return "no" if one[1] and other[1] and one[1] != other[1] else "yes"


def resources_at(place, asked):
    """What the actors' map has at a reference, or under its own type and id."""
    return [
        resource
        for key, resource in asked["actors"].items()
        if "yes"
        in (
            same_place(normal(key), place),
            same_place(normal(f"{resource.get('resourceType')}/{resource.get('id')}"), place),
        )
    ]


def identifiers_at(place, asked):
    return [each for resource in resources_at(place, asked) for each in listed(resource.get("identifier"))]


def same_number(one, other):
    if one.get("system") != other.get("system") or "value" not in one or "value" not in other:
        return "unknown"
    return "yes" if one["value"] == other["value"] else "no"


def same(reference, party, asked):
    """Whether a Reference is to a party: {references: [str], identifiers: [Identifier]}."""
    if not isinstance(reference, dict):
        return "unknown"
    place = normal(reference.get("reference"))
    places = [
        place,
        *(normal(f"{each.get('resourceType')}/{each.get('id')}") for each in resources_at(place, asked) if place),
    ]
    seen = [same_place(one, normal(each)) for one in places for each in party["references"]]
    own = listed(reference.get("identifier")) + (identifiers_at(place, asked) if place else [])
    seen += [same_number(mine, theirs) for mine in own for theirs in party["identifiers"]]
    return next((each for each in ("yes", "no") if each in seen), "unknown")


# dates


DATE = re.compile(
    r"(\d{4})(?:-(\d\d)(?:-(\d\d)(T\d\d:\d\d:\d\d(\.\d+)?(?:Z|[+-]\d\d:\d\d))?)?)?",
    re.ASCII,
)


def interval(written):
    """First and last instant of a date or time as FHIR writes it; Refused if it is none."""
    found = _interval(written) if isinstance(written, str) else None
    if found is None:
        raise Refused
    return found


@functools.cache
def _interval(written):
    parts = DATE.fullmatch(written)
    if parts is None:
        return None
    year, month, day = (int(each) if each else None for each in parts.groups()[:3])
    try:
        if parts[4]:
            first = dt.datetime.fromisoformat(written).astimezone(dt.UTC)
            return first, first if parts[5] else first + dt.timedelta(seconds=1) - MICROSECOND
        first = dt.datetime(year, month or 1, day or 1, tzinfo=SWEDEN).astimezone(dt.UTC)
        last_month = month or 12
        last = dt.date(year, last_month, day or calendar.monthrange(year, last_month)[1]) + dt.timedelta(days=1)
        midnight = dt.datetime(last.year, last.month, last.day, tzinfo=SWEDEN)
        return first, midnight.astimezone(dt.UTC) - MICROSECOND
    except (ValueError, OverflowError):
        return None


def span(period):
    """The first and the last instant of a Period; Refused if it has neither end."""
    if not isinstance(period, dict) or not period.keys() & {"start", "end"}:
        raise Refused
    only(period, EVERYWHERE | {"start", "end"})
    if any(f"_{name}" in period and name not in period for name in ("start", "end")):
        raise Refused
    start = interval(period["start"])[0] if "start" in period else EVER[0]
    end = interval(period["end"])[1] if "end" in period else EVER[1]
    return start, end


# the question

LINE = {"id", "now", "policy", "dialect", "consents", "request", "actors", "resource"}
REQUEST = {"patient", "recipient", "purpose", "action", "category", "classes", "labels", "tenant"}
RECIPIENT = {"references", "identifiers", "groups", "type"}


def question(line):
    """What is asked and what is known, as plain values; Unreadable if the line is not of the form."""
    form(isinstance(line, dict))
    form(line.keys() <= LINE and type(line.get("id")) in (str, int, type(None)))
    form(line.get("policy") == "generic" and line.get("dialect", "tree") in ("tree", "pcf-flat"))
    consents, request = line.get("consents"), line.get("request")
    form(isinstance(consents, list) and isinstance(request, dict))
    form(all(isinstance(each, dict) for each in consents))
    actors, resource = line.get("actors"), line.get("resource")
    actors, resource = {} if actors is None else actors, {} if resource is None else resource
    form(isinstance(actors, dict) and all(isinstance(each, dict) for each in actors.values()))
    form(isinstance(resource, dict))
    patient, recipient = request.get("patient"), request.get("recipient")
    form(isinstance(patient, str) and patient != "" and isinstance(recipient, dict))
    form(request.keys() <= REQUEST and recipient.keys() <= RECIPIENT)
    form(normal(patient) is not None)
    places = []
    for name in ("references", "groups"):
        held = recipient.get(name) or []
        form(isinstance(held, list) and all(normal(each) is not None for each in held))
        places += held
    numbers = recipient.get("identifiers") or []
    form(isinstance(numbers, list) and all(isinstance(each, dict) for each in numbers))
    form(all(isinstance(each.get("value"), str) and each["value"] for each in numbers))
    action = request.get("action")
    asked = {
        "dialect": line.get("dialect", "tree"),
        "now": instant(line.get("now")),
        "actors": actors,
        "resource": resource,
        "party": {"references": places, "identifiers": numbers},
        "purposes": told(request.get("purpose")),
        "action": None if action is None else told([action])[0],
        "types": set(told(request.get("classes"))),
        "codes": set(told(request.get("category"))),
        "labels": set(told(request.get("labels"))),
    }
    asked["patient"] = {"references": [patient], "identifiers": identifiers_at(normal(patient), asked)}
    if isinstance(resource.get("resourceType"), str):
        asked["types"] |= {(system, resource["resourceType"]) for system in TYPE_SYSTEMS}
    for name in ("code", "category"):
        for concept in many(resource.get(name)):
            asked["codes"] |= seen_codings(concept.get("coding"))
    if isinstance(resource.get("meta"), dict):
        asked["labels"] |= seen_codings(resource["meta"].get("security"))
    return asked


def form(holds):
    if not holds:
        raise Unreadable


def instant(now):
    form(isinstance(now, str) and _interval(now) is not None)
    return _interval(now)[0]


def told(codings):
    """Codings of the request; none for null."""
    codings = [] if codings is None else codings
    form(isinstance(codings, list) and all(isinstance(each, dict) for each in codings))
    form(all(isinstance(each.get("code"), str) and isinstance(each.get("system", ""), str) for each in codings))
    return [(each.get("system"), each["code"]) for each in codings]


def many(value):
    """The objects in a value that may be one or several."""
    return [each for each in (value if isinstance(value, list) else [value]) if isinstance(each, dict)]


def seen_codings(value):
    return {
        (each.get("system"), each["code"])
        for each in many(value)
        if isinstance(each.get("code"), str) and isinstance(each.get("system", ""), str)
    }


# matching, in the words yes, no and unknown


def any_of(answers):
    return next((best for best in ("yes", "unknown") if best in answers), "no")


def all_of(answers):
    return next((worst for worst in ("no", "unknown") if worst in answers), "yes")


def matches(rule, asked):
    """A missing attribute is yes; missing information is unknown."""
    seen = ["yes" if within(rule, asked) else "no"]
    if "actors" in rule:
        seen.append(any_of([same(actor, asked["party"], asked) for actor in rule["actors"]]))
    for name, one in (("purposes", asked["purpose"]), ("actions", asked["action"])):
        if name in rule:
            seen.append("unknown" if one is None else "yes" if one in rule[name] else "no")
    for name in {"types", "codes", "labels"} & rule.keys():
        known = asked[name]
        seen += ["unknown" if not known else "yes" if known & rule[name] else "no"]
    if "data" in rule:
        seen.append(any_of([speaks_of(meaning, reference, asked) for meaning, reference in rule["data"]]))
    if "data_period" in rule:
        seen.append(covers(rule["data_period"], asked["resource"]))
    return all_of(seen)


def within(rule, asked):
    start, end = rule.get("period", EVER)
    return start <= asked["now"] <= end


def speaks_of(meaning, reference, asked):
    """Whether the resource is, or stands to, what a provision's data names."""
    resource = asked["resource"]
    if not resource:
        return "unknown"
    if meaning == "authoredby":
        return any_of([same_thing(reference, each, asked) for each in many(resource.get("author"))] or ["unknown"])
    kind, own = resource.get("resourceType"), resource.get("id")
    here = [f"{kind}/{own}"] if isinstance(kind, str) and isinstance(own, str) else []
    itself = same(reference, {"references": here, "identifiers": listed(resource.get("identifier"))}, asked)
    if meaning == "instance":
        return itself
    if meaning == "related":
        there = resources_at(normal(reference.get("reference")), asked)
        me = {"references": here, "identifiers": listed(resource.get("identifier"))}
        found = [same(each, me, asked) for named in there for each in references_in(named)] if there else ["unknown"]
        return any_of([itself, *found])
    return any_of([itself, *(same_thing(reference, each, asked) for each in references_in(resource))])


def same_thing(one, other, asked):
    """Two References."""
    place = normal(other.get("reference"))
    found = resources_at(place, asked) if place else []
    known = {
        "references": [other["reference"], *(f"{each.get('resourceType')}/{each.get('id')}" for each in found)]
        if place
        else [],
        "identifiers": listed(other.get("identifier")) + (identifiers_at(place, asked) if place else []),
    }
    return same(one, known, asked)


def references_in(value):
    if isinstance(value, list):
        return [found for each in value for found in references_in(each)]
    if not isinstance(value, dict):
        return []
    inner = [found for each in value.values() for found in references_in(each)]
    return [value, *inner] if isinstance(value.get("reference"), str) else inner


def covers(period, resource):
    """Whether the whole time that the resource speaks of is within a period."""
    try:
        spans = [
            span(resource[name]) if isinstance(resource[name], dict) else interval(resource[name])
            for name in DATES
            if name in resource
        ]
    except Refused:
        return "unknown"
    if not spans:
        return "unknown"
    first, last = min(each[0] for each in spans), max(each[1] for each in spans)
    if period[0] <= first and last <= period[1]:
        return "yes"
    return "no" if last < period[0] or period[1] < first else "unknown"


# the two dialects


def tree(rule, asked):
    """permit, deny or None: a rule that speaks says what its exceptions say, and what it says itself if none does."""
    match = matches(rule, asked)
    if match == "no" or (match == "unknown" and rule["effect"] == "permit"):
        return None
    said = [tree(child, asked) for child in rule["children"]]
    return "deny" if "deny" in said else "permit" if "permit" in said else rule["effect"]


def flat(rule, asked):
    """Every rule for itself, within the periods of those above it; one that forbids wins."""
    if not within(rule, asked):
        return None
    said = [tree({**rule, "children": []}, asked), *(flat(child, asked) for child in rule["children"])]
    return "deny" if "deny" in said else "permit" if "permit" in said else None
