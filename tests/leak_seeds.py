"""
Seeded leaks inside the gate: for every channel, ways in which what is denied could reach the bytes or what goes with them.

Each is planted into the real gate by patching a mapping row or a step, and writes a ``secret`` that differs between two
worlds. ``listed``: it uses a place that the recipient may have, or no place at all, so that the last look cannot see it
and only the comparison of two worlds does.
"""

from __future__ import annotations

import logging
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import SimpleNamespace
from uuid import NAMESPACE_OID, uuid5

from consent_worlds import OTHER
from gate_world import add, gate, leaking, put

from adapter.consent import gate as module
from adapter.consent.gate import Gate
from adapter.mapping import transaction
from adapter.wire import json, xml


@dataclass(frozen=True)
class Seed:
    """``plant(monkeypatch, secret)`` gives a gate that leaks the secret."""

    channel: int
    plant: Callable[..., Gate]
    listed: bool = False


def text(secret):
    return secret


def number(secret):
    return 1 if "alfa" in secret else 2


def flag(secret):
    return number(secret) == 1


def day(secret):
    return f"2026-01-0{number(secret)}"


def instant(secret):
    return f"{day(secret)}T00:00:00Z"


def name(secret):
    return str(uuid5(NAMESPACE_OID, secret))


def data(secret):
    return b64encode(secret.encode()).decode()


def row(channel, place, make, kind="Task", *, listed=False):
    """A mapping row that writes ``make(secret)`` at a place."""
    return Seed(channel, lambda _, secret: gate(leaking(put(place, make(secret), kind))), listed)


def whole(channel, make):
    """A mapping row that adds a resource."""
    return Seed(channel, lambda _, secret: gate(leaking(add({"id": name("one more"), **make(secret)}))))


def around(channel, change, *, listed=False):
    """A Bundle with more than the resources: ``change(bundle, secret)``."""

    def plant(monkeypatch, secret):
        def made(package):
            bundle = transaction(package)
            change(bundle, secret)
            return bundle

        monkeypatch.setattr(module, "transaction", made)
        return gate()

    return Seed(channel, plant, listed)


def written(channel, to_json, to_xml, *, listed=False):
    """Bytes that say more than the resources: ``to_json(body, secret)``, ``to_xml(body, secret)``."""

    def plant(monkeypatch, secret):
        def as_json(content):
            return to_json(json.write(content), secret)

        def as_xml(content, **more):
            return to_xml(xml.write(content, **more), secret)

        monkeypatch.setattr(module, "json", SimpleNamespace(write=as_json))
        monkeypatch.setattr(module, "xml", SimpleNamespace(write=as_xml))
        return gate()

    return Seed(channel, plant, listed)


def sealed(channel, change):
    """What goes with the bytes: ``change(secret)`` gives fields of the sealed contents."""

    def plant(monkeypatch, secret):
        contents = module._Attempt.contents

        def changed(self, *args):
            return replace(contents(self, *args), **change(secret))

        monkeypatch.setattr(module._Attempt, "contents", changed)
        return gate()

    return Seed(channel, plant, listed=True)


def _ids_of_content(monkeypatch, secret):
    monkeypatch.setattr(Gate, "_ids", lambda *_: lambda kind, key: name(kind + key + secret))
    return gate()


def _logged(monkeypatch, secret):
    decision = Gate.decision

    def telling(self, *args):
        logging.getLogger("adapter.consent").info("decided", extra={"about": secret})
        return decision(self, *args)

    monkeypatch.setattr(Gate, "decision", telling)
    return gate()


def _looked_at_twice(monkeypatch, secret):
    validate = module.validate

    def again(*args, **named):
        for _ in range(number(secret) - 1):
            validate(*args, **named)
        return validate(*args, **named)

    monkeypatch.setattr(module, "validate", again)
    return gate()


def _reversed(bundle, secret):
    if flag(secret):
        bundle["entry"].reverse()


def _before_the_end(body, secret):
    end = body.rindex(b"</Bundle>")
    return body[:end] + secret + body[end:]


DIV = '<div xmlns="http://www.w3.org/1999/xhtml"{}>{}</div>'
OTHERS = "https://other.example/e"
OURS = "https://koord.example/fhir/StructureDefinition/"
NUMBER = "http://electronichealth.se/identifier/personnummer"

SEEDS = {
    "narrative": row(1, "text", lambda s: {"status": "generated", "div": DIV.format("", s)}),
    "narrative in contained": row(
        1,
        "contained",
        lambda s: [{"resourceType": "Basic", "id": "x", "text": {"status": "generated", "div": DIV.format("", s)}}],
    ),
    "narrative in a section": whole(
        1,
        lambda s: {
            "resourceType": "Composition",
            "section": [{"text": {"status": "generated", "div": DIV.format("", s)}}],
        },
    ),
    "display": row(2, "code.coding.display", text),
    "text of a code": row(2, "code.text", text),
    "user selected": row(2, "code.coding.userSelected", flag),
    "translation": row(2, "code.coding", lambda s: [{"system": OTHERS, "code": name(s)}] * 2, listed=True),
    "display of a reference": row(3, "requester.display", text),
    "type of a reference": row(3, "requester.type", text),
    "identifier of a reference": row(3, "requester.identifier", lambda s: {"value": s}),
    "contained, and referred to by nothing": row(
        4, "contained", lambda s: [{"resourceType": "Patient", "id": "x", "name": [{"text": s}]}]
    ),
    "extension": row(5, "extension", lambda s: [{"url": OTHERS, "valueString": s}]),
    "extension by its url": row(5, "extension", lambda s: [{"url": f"{OTHERS}/{name(s)}", "valueBoolean": True}]),
    "our extension in another place": row(5, "extension", lambda s: [{"url": f"{OURS}sick-leave", "valueString": s}]),
    "our extension by a short url": row(5, "extension", lambda s: [{"url": "version", "valuePositiveInt": number(s)}]),
    "modifier extension": row(5, "modifierExtension", lambda s: [{"url": OTHERS, "valueString": s}]),
    "extension of a primitive": row(5, "_status", lambda s: {"extension": [{"url": OTHERS, "valueString": s}]}),
    "padding with nulls": row(5, "name", lambda s: [{"given": [None] * number(s)}], "Practitioner"),
    "id of an element": row(6, "code.id", lambda s: data(s).rstrip("=")),
    "attribute in xhtml": row(6, "text", lambda s: {"status": "generated", "div": DIV.format(f' title="{s}"', "x")}),
    "comment": written(
        6, lambda body, s: body + f"/*{s}*/".encode(), lambda body, s: _before_the_end(body, f"<!--{s}-->".encode())
    ),
    "processing instruction": written(
        6, lambda body, s: body + f"//{s}".encode(), lambda body, s: _before_the_end(body, f"<?x {s}?>".encode())
    ),
    "one more identifier": row(7, "identifier", lambda s: [{"system": "urn:x", "value": s}] * 2, listed=True),
    "assigner": row(7, "identifier.assigner", lambda s: {"display": s}),
    "period of an identifier": row(7, "identifier.period", lambda s: {"start": day(s)}),
    "ids made of the content": Seed(8, _ids_of_content, listed=True),
    "id of the bundle": around(8, lambda bundle, s: bundle.update(id=name(s))),
    "fullUrl": around(8, lambda bundle, s: bundle["entry"][0].update(fullUrl=f"urn:uuid:{name(s)}")),
    "versionId": row(9, "meta", lambda s: {"versionId": str(number(s))}),
    "lastUpdated": row(9, "meta", lambda s: {"lastUpdated": instant(s)}),
    "source": row(9, "meta", lambda s: {"source": f"urn:uuid:{name(s)}"}),
    "profile": row(9, "meta", lambda s: {"profile": [f"{OTHERS}/{name(s)}"]}),
    "label": row(9, "meta", lambda s: {"security": [{"system": OTHERS, "code": data(s).rstrip("=")}]}),
    "total": around(10, lambda bundle, s: bundle.update(total=number(s))),
    "link": around(10, lambda bundle, s: bundle.update(link=[{"relation": "next", "url": f"{OTHERS}?{number(s)}"}])),
    "order of the entries": around(10, _reversed, listed=True),
    "score": around(10, lambda bundle, s: bundle["entry"][0].update(search={"score": number(s) / 2})),
    "data-absent-reason": row(
        11,
        "_description",
        lambda s: {
            "extension": [
                {
                    "url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason",
                    "valueCode": "masked" if flag(s) else "unknown",
                }
            ]
        },
    ),
    "a thing that is there or not": row(
        11,
        "owner",
        lambda s: {"identifier": {"system": "urn:x", "value": "1"}} if flag(s) else {"identifier": {}},
        listed=True,
    ),
    "how many there are": row(11, "input", lambda s: [{"type": {"text": "x"}, "valueBoolean": True}] * number(s)),
    "attachment": row(12, "photo", lambda s: [{"contentType": "image/png", "data": data(s)}], "Patient"),
    "hash and size of an attachment": row(12, "photo", lambda s: [{"size": number(s), "hash": data(s)}], "Patient"),
    "title of an attachment": row(12, "photo", lambda s: [{"title": s}], "Patient"),
    "binary": whole(12, lambda s: {"resourceType": "Binary", "contentType": "text/plain", "data": data(s)}),
    "signature over everything": row(
        13,
        "signature",
        lambda s: [
            {
                "type": [{"system": "urn:iso-astm:E1762-95:2013", "code": "1.2.840.10065.1.12.1.1"}],
                "when": "2026-01-01T00:00:00Z",
                "who": {"identifier": {"value": "x"}},
                "data": data(s),
            }
        ],
        "Provenance",
    ),
    "audit event": whole(13, lambda s: {"resourceType": "AuditEvent", "recorded": instant(s), "outcomeDesc": s}),
    "note": row(14, "note", lambda s: [{"text": s}]),
    "description": row(14, "description", text),
    "reason": row(14, "statusReason", lambda s: {"text": s}),
    "reason in R5": row(14, "statusReason", lambda s: {"concept": {"text": s}}),
    "medical reason in R5": row(14, "reason", lambda s: [{"concept": {"text": s}}]),
    "who performed it, in R5": row(14, "performer", lambda s: [{"actor": {"identifier": {"value": s}}}]),
    "input": row(14, "input", lambda s: [{"type": {"text": "x"}, "valueString": s}]),
    "output": row(14, "output", lambda s: [{"type": {"text": "x"}, "valueString": s}]),
    "reference to what is denied": row(15, "focus", lambda s: {"reference": f"Task/{name(s)}"}),
    "reference to a condition": row(15, "reasonReference", lambda s: {"reference": f"Condition/{name(s)}"}),
    "focus of a message header": whole(
        15,
        lambda s: {
            "resourceType": "MessageHeader",
            "eventUri": "urn:x",
            "source": {"endpoint": "urn:x"},
            "focus": [{"reference": f"Task/{name(s)}"}],
        },
    ),
    "included": whole(15, lambda s: {"resourceType": "Goal", "description": {"text": s}}),
    "length of the body": written(
        20, lambda body, s: body + b" " * number(s), lambda body, s: body + b"\n" * number(s)
    ),
    "one more step": Seed(21, _looked_at_twice, listed=True),
    "log line": Seed(22, _logged, listed=True),
    "entry for what was withheld": around(
        23, lambda bundle, s: bundle["entry"].extend([{"response": {"status": "403"}}] * number(s))
    ),
    "name of the file": sealed(25, lambda s: {"content_type": f'application/fhir+json; name="{s}"'}),
    "correlation": sealed(25, lambda s: {"correlation_id": s}),
    "another patient": whole(26, lambda s: {"resourceType": "Patient", "birthDate": day(s)}),
    "another's number": row(
        26, "identifier", lambda s: [{"system": NUMBER, "value": OTHER.number[: 11 + flag(s)]}], "Patient"
    ),
    "link between patients": row(
        26, "link", lambda s: [{"other": {"identifier": {"value": s}}, "type": "seealso"}], "Patient"
    ),
    "relative": whole(26, lambda s: {"resourceType": "RelatedPerson", "name": [{"text": s}]}),
    "the consent": whole(
        28,
        lambda s: {"resourceType": "Consent", "status": "active", "policyRule": {"text": s}},
    ),
    "reference to the consent": row(
        28,
        "extension",
        lambda s: [{"url": f"{OURS}consent", "valueReference": {"identifier": {"value": s}}}],
        listed=True,
    ),
    "name said twice": written(
        29,
        lambda body, s: body.replace(b"{", b'{"resourceType":"%s",' % s.encode(), 1),
        lambda body, s: _before_the_end(body, b'<id value="a"/><id value="%s"/>' % s.encode()),
    ),
    "namespace that nobody uses": written(
        29,
        lambda body, s: body.replace(b"{", b'{"xmlns:x":"%s",' % s.encode(), 1),
        lambda body, s: body.replace(b"<Bundle", b'<Bundle xmlns:x="%s"' % name(s).encode(), 1),
    ),
    "byte order mark": written(
        29,
        lambda body, s: b"\xef\xbb\xbf" * flag(s) + body,
        lambda body, s: b"\xef\xbb\xbf" * flag(s) + body,
    ),
    "escapes": written(
        29,
        lambda body, s: body.replace(b'"resourceType"', b'"\\u0072esourceType"', number(s)),
        lambda body, s: body.replace(b'value="', b'value = "', number(s)),
        listed=True,
    ),
    "when the consent was given": row(30, "recorded", instant, "Provenance", listed=True),
    "when the consent ends": row(30, "executionPeriod", lambda s: {"end": day(s)}, listed=True),
    "element that nobody knows": row(31, "shoeSize", text),
    "resource that nobody knows": whole(31, lambda s: {"resourceType": "Gossip", "text": s}),
}
