"""
A second opinion on the gate's decisions: slow, plain, and written from docs/consent.md alone.

It takes the JSON form of records and shares no code with the adapter: it parses dates itself, keeps its own copy of
who may get what, and walks through the rules one by one, in the order in which the page states them. Where it and the
product differ, one of them is wrong.
"""

from __future__ import annotations

import calendar
import datetime as dt
import zoneinfo

SWEDEN = zoneinfo.ZoneInfo("Europe/Stockholm")
FOREVER_AGO = dt.datetime(1, 1, 2, tzinfo=dt.UTC)
NEVER = dt.datetime(9999, 12, 30, tzinfo=dt.UTC)

OUTSIDE = {"administrative", "name", "coordinator", "care-provider", "participation", "schedule", "activity"}
CARE = OUTSIDE | {
    "identity", "protection", "care-unit", "plan", "goal", "sick-leave", "rehabilitation-need", "consent",
    "consent-reference", "note",
}  # fmt: skip
MOST = {
    "forsakringskassan": {
        "administrative", "identity", "care-unit", "care-provider", "coordinator", "rehabilitation-need", "consent-reference",
    },
    "arbetsgivare": OUTSIDE,
    "arbetsformedlingen": OUTSIDE | {"identity"},
    "kommun": OUTSIDE | {"identity"},
    "samordningsforbund": OUTSIDE | {"identity"},
    "vard": CARE,
    "patient": CARE | {"block", "diagnosis"},
}  # fmt: skip
KINDS = {
    "forsakringskassan": ["FkSignal"],
    "vard": ["Intervention", "CarePlan", "Consent"],
    "patient": ["Intervention", "CarePlan", "Consent", "FkSignal", "Offer", "Block"],
}
PURPOSES = {"forsakringskassan": "rehabilitation-need", "patient": "patient-request"}


def interval(text):
    """First and last instant of a date or time as FHIR writes it."""
    if "T" in text:
        start = dt.datetime.fromisoformat(text)
        return start, start if "." in text else start + dt.timedelta(microseconds=999999)
    numbers = [int(part) for part in text.split("-")]
    year, month, day = [*numbers, None, None][:3]
    first = dt.datetime(year, month or 1, day or 1, tzinfo=SWEDEN)
    last_month = month or 12
    last_day = day or calendar.monthrange(year, last_month)[1]
    after = dt.date(year, last_month, last_day) + dt.timedelta(days=1)
    midnight = dt.datetime(after.year, after.month, after.day, tzinfo=SWEDEN).astimezone(dt.UTC)
    return first.astimezone(dt.UTC), midnight - dt.timedelta(microseconds=1)


def stretch(period):
    """A period as two instants; nothing at all is everything."""
    period = period or {}
    start = interval(period["start"])[0] if "start" in period else FOREVER_AGO
    end = interval(period["end"])[1] if "end" in period else NEVER
    return start, end


def same_person(one, other):
    def plain(identity):
        return identity["kind"], identity["number"].replace("-", "").upper()

    return plain(one["identity"]) == plain(other["identity"])


def same_hsa(one, other):
    return one is not None and other is not None and one.upper() == other.upper()


def newest_versions(records):
    """The newest version of each record; and the names of those that are there twice with different contents."""
    best, twice = {}, set()
    for record in records:
        name = (record["id"]["system"], record["id"]["value"])
        held = best.get(name)
        if held is None or record["version"] > held[0]["version"]:
            best[name] = [record]
            twice.discard(name)
        elif record["version"] == held[0]["version"] and record not in held:
            held.append(record)
            twice.add(name)
    return [(record, name in twice) for name, group in best.items() for record in group]


def decide(consents, blocks, record, recipient, purpose, senders, now):  # noqa: C901  the order of the page, in one piece
    """
    ("permit", categories) or ("deny", reason). ``recipient``: type, organisation_number, hsa_id, provider_hsa_id,
    patient, allows_protected. For a permission that is missing, the reason is ("missing", kind).
    """
    kind = recipient["type"]
    if kind not in MOST:
        return "deny", "UNKNOWN_RECIPIENT"
    if kind == "patient" and recipient["patient"] is None:
        return "deny", "UNKNOWN_RECIPIENT"
    if kind != "patient" and recipient["organisation_number"] is None and recipient["hsa_id"] is None:
        return "deny", "UNKNOWN_RECIPIENT"
    if not any(same_hsa(record["provider"]["hsa_id"], sender) for sender in senders):
        return "deny", "WRONG_TENANT"
    patient = record["patient"]
    if kind == "patient" and not same_person(patient, {"identity": recipient["patient"]}):
        return "deny", "WRONG_PATIENT"
    if record["record"] not in KINDS.get(kind, ["Intervention", "CarePlan"]):
        return "deny", "RECORD_NOT_FOR_RECIPIENT"
    if purpose != PURPOSES.get(kind, "coordination"):
        return "deny", "PURPOSE_NOT_FOR_RECIPIENT"
    known = [patient] + [each["patient"] for each in consents + blocks]
    shielded = kind == "patient" or (kind == "vard" and recipient["allows_protected"])
    if any("protected" in person for person in known) and not shielded:
        return "deny", "PROTECTED_IDENTITY"
    if any("deceased" in person for person in known):
        return "deny", "DECEASED"

    stopping = {block["kind"] for block, _ in newest_versions(blocks) if block_stops(block, record, recipient, now)}
    if stopping:
        return "deny", "BLOCKED_INNER" if "inner" in stopping else "BLOCKED_OUTER"

    mine = []
    for consent, twice in newest_versions(consents):
        if consent["state"] == "entered-in-error" or not same_person(consent["patient"], patient):
            continue
        if not same_hsa(consent["provider"]["hsa_id"], record["provider"]["hsa_id"]):
            continue
        mine.append((consent, twice))
    closed = set()
    for consent, twice in mine:
        if consent["state"] == "withdrawn" or interval(consent["given_on"])[0] > now:
            continue
        if not stretch(consent.get("period"))[0] <= now <= stretch(consent.get("period"))[1]:
            continue
        if twice:
            return "deny", "CONSENT_UNINTERPRETABLE"
    for consent, _ in mine:
        if consent["state"] != "refused" or not in_force(consent, now) or not for_purpose(consent, purpose):
            continue
        if kind != "patient" and refused_to(consent, recipient):
            if not consent.get("categories") or "administrative" in consent["categories"]:
                return "deny", "CONSENT_REFUSED"
            closed |= set(consent["categories"])
    if kind == "patient":
        return "permit", MOST[kind] - closed

    counted = [consent for consent, _ in mine if begun(consent, now)]
    if kind != "vard":
        standing = [
            consent
            for consent in counted
            if lasts(consent, counted, "interventions", lambda each: each["state"] == "given" and in_force(each, now))
        ]
        if not standing:
            return "deny", ("missing", "interventions")
    opener = {"vard": "interventions", "forsakringskassan": "inform-fk"}.get(kind, "collaborate")

    def opens(consent):
        return (
            consent["state"] == "given"
            and in_force(consent, now)
            and for_purpose(consent, purpose)
            and given_for(consent, recipient)
        )

    open_categories = set()
    found = False
    for consent in counted:
        if lasts(consent, counted, opener, opens):
            found = True
            allowed = set(CARE | {"block", "diagnosis"})
            for each in [consent, *newer_or_tied(consent, counted)]:
                if each.get("categories"):
                    allowed &= set(each["categories"]) | {"administrative"}
            open_categories |= allowed
    if not found:
        return "deny", ("missing", opener)
    return "permit", (MOST[kind] & open_categories) - closed


def in_force(consent, now):
    start, end = stretch(consent.get("period"))
    return consent["state"] in {"given", "refused"} and interval(consent["given_on"])[0] <= now and start <= now <= end


def begun(consent, now):
    """A consent replaces others only when its time has come; a withdrawn one at once."""
    if consent["state"] == "withdrawn":
        return True
    return interval(consent["given_on"])[0] <= now and stretch(consent.get("period"))[0] <= now


def for_purpose(consent, purpose):
    return not consent.get("purposes") or purpose in consent["purposes"]


def acted(consent):
    """When the patient last spoke: gave, refused or withdrew."""
    given = interval(consent["given_on"])
    withdrawn = interval(consent["withdrawn"]["on"]) if consent["state"] == "withdrawn" else given
    return max(given[0], withdrawn[0]), max(given[1], withdrawn[1])


def newer_or_tied(consent, others):
    found = []
    for other in others:
        if other is consent or other["kind"] != consent["kind"] or other["state"] == "refused":
            continue
        if "recipient" in other and not (
            "recipient" in consent and same_actor(other["recipient"], consent["recipient"])
        ):
            continue
        if acted(other)[1] >= acted(consent)[0]:
            found.append(other)
    return found


def lasts(consent, others, kind, says):
    """Whether a consent of the kind says yes and no later one, or one that may be later, says otherwise."""
    if consent["kind"] != kind or not says(consent):
        return False
    later = newer_or_tied(consent, others)
    return all(acted(other)[0] <= acted(consent)[1] and says(other) for other in later)


def same_actor(one, other):
    if one["category"] != other["category"]:
        return False
    if "organisation_number" in one and one["organisation_number"] == other.get("organisation_number"):
        return True
    return "hsa_id" in one and same_hsa(one["hsa_id"], other.get("hsa_id"))


def given_for(consent, recipient):
    if "recipient" in consent:
        return consent["kind"] != "shared-records" and names(consent["recipient"], recipient) == "yes"
    return recipient["type"] == {"interventions": "vard", "inform-fk": "forsakringskassan"}.get(consent["kind"])


def refused_to(consent, recipient):
    if consent["kind"] == "shared-records":
        return False
    if "recipient" in consent:
        return names(consent["recipient"], recipient) != "no"
    return consent["kind"] == "interventions" or recipient["type"] == "forsakringskassan"


def names(actor, recipient):
    """yes, no, or unknown when the two are known by numbers of different kinds only."""
    if actor["category"] != recipient["type"]:
        return "no"
    number, hsa = actor.get("organisation_number"), actor.get("hsa_id")
    if number is not None and number == recipient["organisation_number"]:
        return "yes"
    if same_hsa(hsa, recipient["hsa_id"]):
        return "yes"
    comparable = (number is not None and recipient["organisation_number"] is not None) or (
        hsa is not None and recipient["hsa_id"] is not None
    )
    return "no" if comparable else "unknown"


def block_stops(block, record, recipient, now):  # noqa: C901  likewise
    if recipient["type"] == "patient" or not same_person(block["patient"], record["patient"]):
        return False
    if interval(block["set_on"])[0] > now:
        return False
    care = recipient["type"] == "vard"
    if block["kind"] == "inner" and "unit" in block:
        if "unit" in record and not same_hsa(block["unit"]["hsa_id"], record["unit"]["hsa_id"]):
            return False
        if "unit" not in record and not same_hsa(block["provider"]["hsa_id"], record["provider"]["hsa_id"]):
            return False
        if care and same_hsa(block["unit"]["hsa_id"], recipient["hsa_id"]):
            return False
    else:
        if not same_hsa(block["provider"]["hsa_id"], record["provider"]["hsa_id"]):
            return False
        if block["kind"] == "outer" and care and same_hsa(block["provider"]["hsa_id"], recipient["provider_hsa_id"]):
            return False
    start, end = stretch(block.get("information_period"))
    first, last = known_dates(record)
    if last < start or first > end:
        return False
    for lift in block.get("lifts", []):
        lift_start, lift_end = stretch(lift["period"])
        for_the_unit = care and "professional" not in lift and same_hsa(lift["unit"]["hsa_id"], recipient["hsa_id"])
        if for_the_unit and lift_start <= now <= lift_end:
            return False
    return True


def known_dates(record):
    """The whole time that a record speaks of, from its earliest to its latest."""
    found = []
    for name in ("authored_on", "created_on", "given_on", "noted_on", "offered_on", "set_on"):
        if name in record:
            found.append(interval(record[name]))
            break
    found += [stretch(record[name]) for name in ("planned", "performed") if name in record]
    if record["record"] == "CarePlan":
        found += [stretch(record["period"])] if "period" in record else []
        found += [stretch(each["period"]) for each in record.get("sick_leave", [])]
        found += [stretch(each["planned"]) for each in record.get("activities", []) if "planned" in each]
        found += [interval(each) for each in record.get("follow_ups", [])]
    return min(first for first, _ in found), max(last for _, last in found)


# the rule trees, in the words yes, no and unknown


def matches(rule, asked):
    """``rule``: effect, optional attributes, children. ``asked``: what is known; a missing key is not known."""
    seen = []
    if "period" in rule:
        start, end = rule["period"]
        late = start is not None and asked["now"] < start
        past = end is not None and asked["now"] > end
        seen.append("no" if late or past else "yes")
    if "actors" in rule:
        seen.append(any_of([actor_matches(actor, asked) for actor in rule["actors"]]))
    for name in ("purposes", "actions"):
        if name in rule:
            one = asked.get(name[:-1])
            seen.append("unknown" if one is None else "yes" if one in rule[name] else "no")
    for name in ("types", "codes", "labels"):
        if name in rule:
            known = asked.get(name)
            seen.append("unknown" if not known else "yes" if set(known) & set(rule[name]) else "no")
    if "data" in rule:
        answers = []
        for meaning, references in rule["data"]:
            known = asked.get(meaning)
            answers.append("unknown" if not known else "yes" if set(known) & set(references) else "no")
        seen.append(any_of(answers))
    if "data_period" in rule:
        seen.append(dated(rule["data_period"], asked.get("dates")))
    return all_of(seen)


def actor_matches(actor, asked):
    party = asked["party"]
    if "kind" in actor and actor["kind"] != party.get("kind"):
        return "no"
    if not actor.get("references") and not actor.get("identifiers"):
        return "yes" if "kind" in actor else "unknown"
    compared = False
    if actor.get("references") and (party.get("references") or party.get("groups")):
        compared = True
        if set(actor["references"]) & (set(party.get("references", [])) | set(party.get("groups", []))):
            return "yes"
    for system, value in actor.get("identifiers", []):
        for other_system, other_value in party.get("identifiers", []):
            if system == other_system:
                compared = True
                if value == other_value:
                    return "yes"
    return "no" if compared else "unknown"


def dated(period, dates):
    if dates is None:
        return "unknown"
    start, end = (period[0] or FOREVER_AGO), (period[1] or NEVER)
    first, last = (dates[0] or FOREVER_AGO), (dates[1] or NEVER)
    if start <= first and last <= end:
        return "yes"
    return "no" if last < start or end < first else "unknown"


def all_of(answers):
    for worst in ("no", "unknown"):
        if worst in answers:
            return worst
    return "yes"


def any_of(answers):
    for best in ("yes", "unknown"):
        if best in answers:
            return best
    return "no"


def tree(rule, asked):
    """permit, deny or None."""
    match = matches(rule, asked)
    if match == "no" or (match == "unknown" and rule["effect"] == "permit"):
        return None
    said = [tree(child, asked) for child in rule.get("children", [])]
    if "deny" in said:
        return "deny"
    return "permit" if "permit" in said else rule["effect"]


def flat(rule, asked):
    """The other dialect: every rule for itself, within the periods above it; one that forbids wins."""
    said = []

    def walk(each, above):
        limits = [*above, each["period"]] if "period" in each else above
        alone = {name: value for name, value in each.items() if name not in {"children", "period"}}
        inside = all(matches({"period": limit}, asked) == "yes" for limit in limits)
        said.append(tree(alone, asked) if inside else None)
        for child in each.get("children", []):
            walk(child, limits)

    walk(rule, [])
    return "deny" if "deny" in said else "permit" if "permit" in said else None
