"""Input that is wrong or hostile, by name: functions that make the bytes, since some are large. Used by tests and a benchmark."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from lxml import etree

from adapter.wire import xml

TASK = {"resourceType": "Task", "status": "requested", "intent": "order"}
BUNDLE = {
    "resourceType": "Bundle",
    "type": "collection",
    "entry": [{"fullUrl": "urn:uuid:0b7c9f4e-5a6d-4d9f-8a1e-3f2b1c0d9e8f", "resource": TASK}],
}


class Bad(NamedTuple):
    """What is said of it, and what makes it."""

    codes: tuple[str, ...]
    make: Callable[[], bytes]


GOOD = (json.dumps(BUNDLE).encode(), xml.write(BUNDLE))


def misspelt(resource, count, random):
    """The XML of a resource with so many unknown elements in places where elements may stand."""
    root = etree.fromstring(xml.write(resource))
    within = [each for each in root.iter("{http://hl7.org/fhir}*") if each.get("value") is None and is_object(each)]
    for number in range(count):
        child = etree.Element(f"{{http://hl7.org/fhir}}misspelt{number}", value="Tolvan")
        random.choice(within).insert(random.randrange(3), child)
    return etree.tostring(root, encoding="utf-8")


def is_object(element):
    """It holds elements, and not a resource."""
    return len(element) > 0 and not etree.QName(element[0]).localname[0].isupper()


NAMESPACE = b'xmlns="http://hl7.org/fhir"'
DEEP = 10_000
MANY = 200_000
LARGE = 50_000_000
ENTRY = b'{"resource":' + json.dumps(TASK).encode() + b"}"
XML_ENTRY = b'<entry><resource><Task><status value="requested"/><intent value="order"/></Task></resource></entry>'


def _task(more: bytes) -> bytes:
    return b'{"resourceType":"Task","status":"requested","intent":"order",' + more + b"}"


def _xml_task(more: bytes = b"", attributes: bytes = b"") -> bytes:
    return (
        b"<Task " + NAMESPACE + attributes + b">" + more + b'<status value="requested"/><intent value="order"/></Task>'
    )


def _filled(start: bytes, item: bytes, between: bytes, end: bytes, size: int) -> bytes:
    """As many items as make up this size."""
    return start + between.join([item] * (size // len(item + between))) + end


def _broken(data: bytes, size: int) -> bytes:
    """Two bytes that are no UTF-8 at the end of a long text."""
    return data + b" " * (size - len(data)) + b"\xc3("


_BUNDLE = (b'{"resourceType":"Bundle","type":"collection","entry":[', b"]}")
_XML_BUNDLE = (b"<Bundle " + NAMESPACE + b'><type value="collection"/>', b"</Bundle>")
_EXTENSION = b'"extension":[{"url":"urn:x",'

BAD_INPUT = {
    "not FHIR, an object": Bad(("cli.neither",), lambda: b'{"patient": "Tolvan", "status": 7}'),
    "not FHIR, a list of 2 MB": Bad(("wire.nodes",), lambda: _filled(b"[", b'{"a":"Tolvan"}', b",", b"]", 2_000_000)),
    "not FHIR, XML": Bad(("wire.namespace", "wire.text"), lambda: b"<patient><name>Tolvan</name></patient>"),
    "another resource type": Bad(("fhir.resource-type",), lambda: b'{"resourceType": "Tolvan", "status": "x"}'),
    "another resource type, XML": Bad(("wire.resource-type",), lambda: b"<Tolvan " + NAMESPACE + b"/>"),
    "a type of FHIR that is not known here": Bad(
        ("fhir.resource-type",), lambda: b'{"resourceType": "MolecularSequence", "coordinateSystem": 1}'
    ),
    "a type of FHIR that is not known here, XML": Bad(
        ("wire.resource-type",), lambda: b"<MolecularSequence " + NAMESPACE + b"/>"
    ),
    "a profile that nobody knows": Bad(
        ("profile.unknown",),
        lambda: _task(b'"meta":{"profile":["https://koord.example/fhir/StructureDefinition/none"]}'),
    ),
    "a Bundle of 50 MB": Bad(("wire.too-long",), lambda: _filled(_BUNDLE[0], ENTRY, b",", _BUNDLE[1], LARGE)),
    "a Bundle of 50 MB, XML": Bad(
        ("wire.too-long",), lambda: _filled(_XML_BUNDLE[0], XML_ENTRY, b"", _XML_BUNDLE[1], LARGE)
    ),
    "lists, 10 000 deep": Bad(("wire.depth",), lambda: _task(b'"note":' + b"[" * DEEP + b"]" * DEEP)),
    "objects, 10 000 deep": Bad(("wire.depth",), lambda: _task(b'"note":' + b'{"a":' * DEEP + b"1" + b"}" * DEEP)),
    "extensions, 10 000 deep": Bad(("wire.depth",), lambda: _task((_EXTENSION * DEEP)[:-1] + b"}]" * DEEP)),
    "an open list, 5 million deep": Bad(("wire.nodes",), lambda: b"[" * 5_000_000),
    "elements, 10 000 deep, XML": Bad(
        ("wire.depth",), lambda: _xml_task(b"<contained><Task>" * DEEP + b"</Task></contained>" * DEEP)
    ),
    "a narrative, 10 000 deep, XML": Bad(
        ("wire.depth",),
        lambda: _xml_task(
            b'<text><status value="additional"/><div xmlns="http://www.w3.org/1999/xhtml">'
            + b"<b>" * DEEP
            + b"</b>" * DEEP
            + b"</div></text>"
        ),
    ),
    "200 000 properties": Bad(("wire.names",), lambda: _task(b",".join(b'"a%d":1' % n for n in range(MANY)))),
    "200 000 attributes, XML": Bad(
        ("wire.attributes",), lambda: _xml_task(attributes=b"".join(b' a%d="1"' % n for n in range(MANY)))
    ),
    "200 000 namespaces, XML": Bad(
        ("wire.attributes",), lambda: _xml_task(attributes=b"".join(b' xmlns:a%d="u"' % n for n in range(MANY)))
    ),
    "200 000 unknown elements, XML": Bad(("wire.nodes",), lambda: _xml_task(b"<a/>" * MANY)),
    "200 000 times the same element, XML": Bad(("wire.nodes",), lambda: _xml_task(b'<status value="x"/>' * MANY)),
    "140 000 unknown elements, XML": Bad(("wire.unknown-element",), lambda: _xml_task(b"<a/>" * 140_000)),
    "140 000 times the same element, XML": Bad(("wire.repeated",), lambda: _xml_task(b'<status value="x"/>' * 140_000)),
    "140 000 times text where none may stand, XML": Bad(
        ("wire.text", "wire.unknown-element"), lambda: _xml_task(b"<a>b</a>" * 140_000)
    ),
    "broken UTF-8": Bad(("wire.encoding",), lambda: b'{"resourceType": "Task\xff"}'),
    "broken UTF-8 after 5 MB": Bad(("wire.encoding",), partial(_broken, json.dumps(TASK).encode(), 5_000_000)),
    "broken UTF-8, XML": Bad(("wire.encoding",), lambda: _xml_task(b'<description value="\xe5"/>')),
    "broken UTF-8 after 5 MB, XML": Bad(("wire.encoding",), partial(_broken, _xml_task(), 5_000_000)),
    "another encoding": Bad(("wire.bom",), lambda: json.dumps(TASK).encode("utf-16")),
    "another encoding, XML": Bad(
        ("wire.encoding",), lambda: '<?xml version="1.0" encoding="UTF-16"?><Task/>'.encode("utf-16")
    ),
    "a Bundle of 50 000 wrong entries": Bad(
        ("fhir.code", "fhir.invariant", "fhir.missing"),
        lambda: _filled(_BUNDLE[0], b'{"resource":{"resourceType":"Task","status":"x"}}', b",", _BUNDLE[1], 2_500_000),
    ),
    "a Bundle of 28 000 wrong entries, XML": Bad(
        ("fhir.code", "fhir.invariant"),
        lambda: _filled(
            _XML_BUNDLE[0],
            b'<entry><resource><Task><status value="x"/><intent value="y"/></Task></resource></entry>',
            b"",
            _XML_BUNDLE[1],
            2_450_000,
        ),
    ),
    "60 000 wrong values": Bad(("fhir.type",), lambda: _task(b'"note":[' + b",".join([b'{"text":1}'] * 60_000) + b"]")),
    "100 000 profiles": Bad(
        ("profile.unknown",),
        lambda: _task(b'"meta":{"profile":[' + b",".join(b'"urn:x:%d"' % n for n in range(100_000)) + b"]}"),
    ),
    "30 000 contained resources that nothing refers to": Bad(
        ("fhir.missing",),
        lambda: _task(
            b'"contained":[' + b",".join(b'{"resourceType":"Task","id":"t%d"}' % n for n in range(30_000)) + b"]"
        ),
    ),
    "30 000 extensions that nobody knows": Bad(
        ("fhir.extension-unknown",),
        lambda: _task(
            b'"extension":[' + b",".join([b'{"url":"https://koord.example/fhir/x","valueCode":"a"}'] * 30_000) + b"]"
        ),
    ),
    "30 000 unknown names": Bad(
        ("fhir.missing", "fhir.unknown-element"),
        lambda: _task(b'"note":[' + b",".join(b'{"x%d":1}' % n for n in range(30_000)) + b"]"),
    ),
    "30 000 dangling references": Bad(
        ("fhir.dangling", "fhir.invariant"),
        lambda: _filled(
            _BUNDLE[0],
            b'{"resource":{"resourceType":"Task","status":"requested","intent":"order","for":{"reference":"urn:uuid:x"}}}',
            b",",
            _BUNDLE[1],
            3_300_000,
        ),
    ),
    "a text of 5 MB for every format": Bad(
        ("fhir.format",),
        lambda: _task(b'"authoredOn":"' + b"2" * 2_000_000 + b'","implicitRules":"' + b" " * 2_900_000 + b'"'),
    ),
}
