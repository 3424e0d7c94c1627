"""The strict XML reader and writer: nothing lost between JSON and XML, and everything that is not FHIR refused."""

from __future__ import annotations

import gc
import json as standard_json
import time
from copy import deepcopy

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from adapter.definitions import definitions
from adapter.errors import Invalid, Unreadable
from adapter.validation import validate
from adapter.wire import Limits, json, xml
from tests.bad_input import misspelt
from tests.fhir_generated import KNOWN, Maker, resources

CANARY = "Kanariefågel"
SMALL = Limits(size=100_000, depth=20, elements=5_000)
HEAD = '<Task xmlns="http://hl7.org/fhir">'


def task(inner: str, head: str = HEAD) -> bytes:
    return f"{head}{inner}</Task>".encode()


@pytest.mark.parametrize("name", sorted(KNOWN.resource_types))
def test_json_to_xml_to_json_loses_nothing(name):
    @given(resources(name))
    def lossless(resource):
        assert xml.read(xml.write(resource)) == resource

    lossless()


@pytest.mark.parametrize("seed", range(20))
def test_every_element_of_every_type_survives(seed):
    for name in sorted(KNOWN.resource_types):
        resource = Maker(seed, richness=1.0).resource(name)
        read = xml.read(xml.write(resource))
        assert read == resource
        assert json.canonical(read) == json.canonical(resource)


@given(resources("CarePlan", richness=0.6))
def test_elements_are_written_in_the_order_of_the_specification(resource):
    def in_order(element, path):
        names = [child.name for child in definitions().children(path)]
        present = [etree.QName(child).localname for child in element]
        places = [
            next(i for i, n in enumerate(names) if n == p or (n.endswith("[x]") and p.startswith(n[:-3])))
            for p in present
        ]
        assert places == sorted(places)

    in_order(etree.fromstring(xml.write(resource)), "CarePlan")


@pytest.mark.parametrize(
    "resource",
    [
        {"resourceType": "Patient", "name": [{"given": ["A", None, "C"], "_given": [None, {"id": "x"}, {"extension": [{"url": "u", "valueCode": "c"}]}]}]},
        {"resourceType": "Patient", "name": [{"_given": [{"extension": [{"url": "u", "valueString": "only"}]}, {"id": "y"}]}]},
        {"resourceType": "Patient", "name": [{"id": "n1", "family": "Å", "_family": {"id": "f"}}], "_birthDate": {"extension": [{"url": "u", "valueCode": "unknown"}]}},
        {"resourceType": "Patient", "active": False, "multipleBirthInteger": 0, "deceasedBoolean": True},
        {"resourceType": "Task", "contained": [{"resourceType": "Patient", "id": "p", "text": {"status": "empty", "div": '<div xmlns="http://www.w3.org/1999/xhtml"/>'}}], "status": "draft", "intent": "plan"},
        {"resourceType": "Bundle", "type": "batch", "entry": [{"link": [{"relation": "self", "url": "x"}], "resource": {"resourceType": "Binary", "contentType": "a/b", "data": "QQ=="}}]},
        {"resourceType": "Parameters", "parameter": [{"name": "a", "part": [{"name": "b", "part": [{"name": "c", "valueDecimal": 1}]}]}]},
        {"resourceType": "Patient", "extension": [{"id": "e", "url": "u", "extension": [{"url": "v", "valueReference": {"display": " \n\t\r "}}]}]},
    ],
    ids=range(8),
)  # fmt: skip
def test_the_corners_of_the_two_formats_meet(resource):
    assert xml.read(xml.write(resource)) == resource


@pytest.mark.parametrize(("text", "value"), [("1.00", "1.00"), ("-0.0", "-0.0"), ("7", "7"), ("1e2", "1E+2")])
def test_a_decimal_keeps_its_form(text, value):
    read = xml.read(
        f'<Goal xmlns="http://hl7.org/fhir"><extension url="u"><valueDecimal value="{text}"/></extension></Goal>'.encode()
    )
    assert json.write(read["extension"][0]["valueDecimal"]).decode() == value
    assert xml.read(xml.write(read)) == read


def test_comments_and_the_schema_location_are_dropped_and_nothing_else():
    data = task(
        f'<!-- {CANARY} --><status value="dr<!-- no -->aft"/>'.replace("<!-- no -->", "") + '<intent value="plan"/>',
        '<?xml version="1.0" encoding="utf-8"?>\n<!-- a --><Task xmlns="http://hl7.org/fhir" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:schemaLocation="x y">',
    )
    assert xml.read(data) == {"resourceType": "Task", "status": "draft", "intent": "plan"}


def test_prefixes_indentation_and_character_references_make_no_difference():
    data = b'<f:Task xmlns:f="http://hl7.org/fhir">\n  <f:text>\n <f:status value="generated"/><h:div xmlns:h="http://www.w3.org/1999/xhtml">\xc3\xa5<!-- x --><h:br></h:br>&#229;</h:div>\n </f:text>\n <f:status value="&#100;raft"/></f:Task>'
    assert xml.read(data) == {
        "resourceType": "Task",
        "text": {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">å<br/>å</div>'},
        "status": "draft",
    }


@pytest.mark.parametrize(
    ("data", "code", "where", "line", "column"),
    [
        (task('\n<status value="draft"/>\n  <statuz value="x"/>'), "unknown-element", "Task", 3, 3),
        (task('<status value="draft" id="x" foo="y"/>'), "unknown-attribute", "Task.status", 1, 35),
        (task('<code url="x"/>'), "unknown-attribute", "Task.code", 1, 35),
        (task("", '<Task xmlns="http://hl7.org/fhir" id="x">'), "unknown-attribute", "Task", 1, 1),
        (task('<status value="draft"/><status value="draft"/>'), "repeated", "Task.status", 1, 58),
        (task('<intent value="order"/><status value="draft"/>'), "order", "Task.status", 1, 58),
        (task('<note><text value="a"/></note><for><display value="x"/></for>'), "order", "Task.for", 1, 65),
        (task('<note><text value="a"/></note><note><txt value="a"/></note>'), "unknown-element", "Task.note[1]", 1, 71),
        (task("<status>draft</status>"), "text", "Task.status", 1, 35),
        (task('<status value="draft"/> draft'), "text", "Task.status", 1, 35),
        (task('<statuz value="draft"/> draft'), "unknown-element", "Task", 1, 35),
        (task("<status/>"), "empty", "Task.status", 1, 35),
        (task('<status xmlns="urn:other" value="draft"/>'), "namespace", "Task", 1, 35),
        (task('<other xmlns="urn:other" value="draft"/>'), "unknown-element", "Task", 1, 35),
        (task("", "<Task>"), "namespace", "Task", 1, 1),
        (task("", '<Task xmlns="http://hl7.org/FHIR">'), "namespace", "Task", 1, 1),
        (b'<Tusk xmlns="http://hl7.org/fhir"/>', "resource-type", "", 1, 1),
        (task("<contained/>"), "one-resource", "Task.contained[0]", 1, 35),
        (task("<contained><Patient/><Patient/></contained>"), "one-resource", "Task.contained[0]", 1, 35),
        (task('<contained><Patient><active value="1"/></Patient></contained>'), "value", "Task.contained[0].active", 1, 55),
        (task('<contained><Patient id="x"/></contained>'), "unknown-attribute", "Task.contained[0]", 1, 46),
        (task('<restriction><repetitions value="1.0"/></restriction>'), "value", "Task.restriction.repetitions", 1, 48),
        (task('<restriction><repetitions value="+1"/></restriction>'), "value", "Task.restriction.repetitions", 1, 48),
        (task('<input><valueDecimal value="1e999"/></input>'), "value", "Task.input[0].value", 1, 42),
        (task('<input><valueDecimal value=".5"/></input>'), "value", "Task.input[0].value", 1, 42),
        (task('<text><div xmlns="http://hl7.org/fhir">x</div></text>'), "namespace", "Task.text", 1, 41),
        (task('<text><div xmlns="http://www.w3.org/1999/xhtml"><p xmlns="urn:x"/></div></text>'), "narrative", "Task.text.div", 1, 83),
        (task("<extension>" * 40 + "</extension>" * 40), "depth", "Task" + ".extension[0]" * 20, 1, 35 + 19 * 11),
        (b'<?xml version="1.0"?><!DOCTYPE Task><Task xmlns="http://hl7.org/fhir"/>', "doctype", "", 1, 22),
        (task("\n <?php x?>"), "instruction", "", 2, 2),
        (b'<?xml version="1.1"?><Task xmlns="http://hl7.org/fhir"/>', "instruction", "", 1, 1),
        (b'<?xml version="1.0" encoding="latin-1"?><Task xmlns="http://hl7.org/fhir"/>', "instruction", "", 1, 1),
        (task("<status " + " ".join(f'a{n}="1"' for n in range(30)) + "/>"), "attributes", "", 1, 35),
        (b"\xef\xbb\xbf\xef\xbb\xbf" + task(""), "xml", "", 1, 1),
        (b"\xef\xbb\xbf" + task("\n<x/>"), "unknown-element", "Task", 2, 1),
        (task("").decode().encode("utf-16"), "encoding", "", 1, 1),
        (task("").decode().encode("utf-16-be"), "encoding", "", 1, 1),
        (task('\n<note value="') + b"\xff", "encoding", "", 2, 21),
        (task("<status></Status>"), "xml", "", 1, 52),
    ],
    ids=range(39),
)  # fmt: skip
def test_what_is_not_accepted_is_refused_with_its_place(data, code, where, line, column):
    with pytest.raises(Unreadable) as refusal:
        xml.read(data, limits=SMALL)
    fault = refusal.value.first
    assert (fault.code, fault.where, fault.line, fault.column) == (f"wire.{code}", where, line, column)


def test_a_byte_order_mark_before_utf_8_makes_no_difference():
    """XML 1.0, section 4.3.3: it is neither markup nor characters of the text."""
    data = task('<status value="draft"/><intent value="plan"/>')
    assert xml.read(b"\xef\xbb\xbf" + data) == xml.read(data)


# all faults of form


def test_every_fault_of_form_is_told_in_the_order_of_the_text_with_its_place():
    data = task(
        '<contained><Patient id="x"><active value="yes"/><name><given/><given value="A"/></name></Patient></contained>\n'
        '<statuz value="x"/>\n<status value="draft"/><status value="draft"/>\n<intent>order</intent>\n'
        '<for><display value="a"/></for><priority foo="x"/><note><txt/></note> b\n'
    )
    with pytest.raises(Unreadable) as refusal:
        xml.read(data)
    assert [(f.code, f.where, f.line, f.column, f.pointer) for f in refusal.value.faults] == [
        ("wire.unknown-attribute", "Task.contained[0]", 1, 46, "/contained/0"),
        ("wire.value", "Task.contained[0].active", 1, 62, "/contained/0"),
        ("wire.empty", "Task.contained[0].name[0].given[0]", 1, 89, "/contained/0/name/0/given/0"),
        ("wire.unknown-element", "Task", 2, 1, ""),
        ("wire.repeated", "Task.status", 3, 24, "/status"),
        ("wire.text", "Task.intent", 4, 1, ""),
        ("wire.order", "Task.priority", 5, 32, ""),
        ("wire.unknown-attribute", "Task.priority", 5, 32, ""),
        ("wire.text", "Task.note[0]", 5, 51, "/note/0"),
        ("wire.unknown-element", "Task.note[0]", 5, 57, "/note/0"),
    ]


@given(resources("CarePlan", richness=0.5), st.integers(1, 8), st.randoms(use_true_random=False))
def test_as_many_faults_are_told_as_elements_are_misspelt_and_the_rest_is_read_as_if_they_were_not_there(
    resource, count, random
):
    data = misspelt(resource, count, random)
    found = xml.read_all(data)
    assert [fault.code for fault in found.faults] == ["wire.unknown-element"] * count
    assert found.value == resource
    lines = data.decode().splitlines()
    for fault in found.faults:
        assert lines[fault.line - 1][fault.column - 1 :].startswith("<misspelt")
    with pytest.raises(Unreadable) as refusal:
        xml.read(data)
    assert refusal.value.faults == found.faults


@pytest.mark.parametrize("name", sorted(KNOWN.resource_types))
def test_whatever_is_wrong_in_a_tree_is_told_and_the_rest_can_be_validated(name):
    @given(st.integers(0, 10_000), st.randoms(use_true_random=False))
    def told(seed, random):
        resource = Maker(seed, 0.5).resource(name)
        data = shuffled(resource, random)
        try:
            found = xml.read_all(data)
        except Unreadable as refusal:
            assert refusal.faults
            return
        assert found.faults or xml.read(xml.write(found.value)) == found.value
        assert all(fault.line and fault.column for fault in found.faults)
        assert len(validate(found.value)) >= 0

    told()


def shuffled(resource, random):
    """The XML of a resource with some elements repeated, moved, emptied, renamed or given other attributes or text."""
    root = etree.fromstring(xml.write(resource))
    for _ in range(random.randrange(6)):
        one, other = random.choice(list(root.iter())), random.choice(list(root.iter()))
        change = random.randrange(7)
        if change == 0 and other.getparent() is not None:
            one.append(deepcopy(other))
        elif change == 1 and one.getparent() is not None:
            one.addnext(deepcopy(one))
        elif change == 2 and one.getparent() is not None:
            one.getparent().insert(0, one)
        elif change == 3:
            one.attrib.clear()
        elif change == 4:
            one.set(random.choice(["value", "id", "url", "other"]), random.choice(["", "true", "1", CANARY]))
        elif change == 5:
            one.text = CANARY
        else:
            one.tag = random.choice([other.tag, "{http://hl7.org/fhir}other", "{urn:other}status"])
    return etree.tostring(root, encoding="utf-8")


def test_a_list_keeps_its_places_where_something_could_not_be_read():
    data = task(
        "<contained/><contained><Patient/></contained><note><authorString/><text value='a'/></note><note><time/></note>"
    )
    found = xml.read_all(data)
    assert found.value["contained"] == [None, {"resourceType": "Patient"}]
    assert found.value["note"] == [{"text": "a"}, {}]
    assert found.unread == {"Task.contained[0]", "Task.note[0].author", "Task.note[1].time"}


@pytest.mark.parametrize(
    "item", ["<a/>", "<status/>", "<note><a/></note>", "<status/>a", "<contained/>", "<note b='c'/>"]
)
def test_no_more_than_a_thousand_faults_of_form_are_told_and_that_there_may_be_more(item):
    with pytest.raises(Unreadable) as refusal:
        xml.read(task("<status value='draft'/>" + item * 3_000))
    *told, last = refusal.value.faults
    assert len(told) == 1_000
    assert (last.code, last.severity) == ("fhir.more", "information")


def test_a_refusal_keeps_nothing_of_the_tree():
    """An exception that keeps what it is about would hold a large tree until the next garbage collection."""
    gc.collect()
    gc.disable()
    try:
        with pytest.raises(Unreadable) as refusal:
            xml.read(task("<a/>" + "<note><time value='2000'/></note>" * 100))
        del refusal
        assert not any(isinstance(each, etree._Element) for each in gc.get_objects())
    finally:
        gc.enable()


def hostile_texts():
    """More than 40 texts that have broken or misled other XML readers."""
    yield from (
        b'<!DOCTYPE x [<!ENTITY a "b">]>' + task('<status value="&a;"/>'),
        b'<!DOCTYPE x SYSTEM "file:///etc/passwd">' + task(""),
        b'<!DOCTYPE x SYSTEM "http://127.0.0.1:1/x.dtd">' + task(""),
        b'<!DOCTYPE x [<!ENTITY x SYSTEM "file:///etc/passwd">]>' + task('<description value="x"/>&x;'),
        b'<!DOCTYPE x [<!ENTITY % p SYSTEM "http://127.0.0.1:1/e"> %p;]>' + task(""),
        b"<!DOCTYPE lolz [" + b"".join(b'<!ENTITY l%d "%s">' % (n, b"&l%d;" % (n - 1) * 10) for n in range(1, 12)) + b"]>" + task('<description value="&l11;"/>'),
        b'<!DOCTYPE x [<!ATTLIST Task id CDATA "x">]>' + task(""),
        b"<!doctype html>" + task(""),
        task("<!DOCTYPE x>"),
        task('<description value="&nbsp;"/>'),
        task('<description value="&undefined;"/>'),
        task('<description value="&#0;"/>'),
        task('<description value="&#xD800;"/>'),
        task('<description value="&#xFFFF;"/>'),
        task('<description value="\x01"/>'),
        task('<description value="<"/>'),
        task('<description value="a" value="b"/>'),
        task("<description value=a/>"),
        task('<?xml-stylesheet href="http://127.0.0.1:1/"?>'),
        b'<?xml-stylesheet href="x"?>' + task(""),
        task("") + b"<?x?>",
        task("") + task(""),
        task("") + CANARY.encode(),
        b" " + b'<?xml version="1.0"?>' + task(""),
        task('<xi:include xmlns:xi="http://www.w3.org/2001/XInclude" href="file:///etc/passwd" parse="text"/>'),
        task("<![CDATA[" + CANARY + "]]>"),
        task('<text><status value="generated"/><div xmlns="http://www.w3.org/1999/xhtml"><svg xmlns="http://www.w3.org/2000/svg"/></div></text>'),
        task('<text><status value="generated"/><div xmlns="http://www.w3.org/1999/xhtml" xmlns:x="urn:x" x:y="z"/></text>'),
        task('<text><status value="generated"/><div xmlns="http://www.w3.org/1999/xhtml">' + "<b>" * 60 + "</b>" * 60 + "</div></text>"),
        task("<code>" * 10_000),
        task("<extension>" * 3_000 + "</extension>" * 3_000),
        ("<a>" * 30_000).encode(),
        ("<" * 90_000).encode(),
        b"<Task " + b" ".join(b'a%d="1"' % n for n in range(9_000)) + b"/>",
        b"<Task " + b" ".join(b'xmlns:a%d="urn:%d"' % (n, n) for n in range(3_000)) + b"/>",
        b"<Task " + b"a" * 90_000 + b"/>",
        task("<note/>" * 6_000),
        task('<description value="' + "a" * 100_000 + '"/>'),
        task("").replace(b"Task", b"Task:x"),
        task("").decode().encode("utf-16"),
        task("").decode().encode("utf-16-be"),
        task("").decode().encode("utf-32"),
        b'<?xml version="1.0" encoding="UTF-7"?>' + task(""),
        b'<?xml version="1.0" encoding="UTF-16"?>' + task(""),
        b"\x00" + task(""), task("") + b"\x00", b"", b" ", b"<", b"<>", b"</Task>", b"Task", b"{}", b'{"resourceType":"Task"}', b"<!-- -->",
        task("<!-- -- -->"), task("<!--"), task("<status value='draft'"), HEAD.encode(), task("") + b"</Task>",
        b'<html xmlns="http://www.w3.org/1999/xhtml"><body/></html>',
        b'<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body/></s:Envelope>',
        b'<Resource xmlns="http://hl7.org/fhir"/>', b'<Element xmlns="http://hl7.org/fhir"/>', b'<Observation xmlns="http://hl7.org/fhir"/>',
        b'<div xmlns="http://www.w3.org/1999/xhtml"/>',
    )  # fmt: skip


HOSTILE = list(hostile_texts())


def test_there_are_more_than_forty_hostile_texts():
    assert len(HOSTILE) > 60


@pytest.mark.parametrize("data", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_text_is_refused_quickly_and_without_repeating_it(data):
    started = time.process_time()
    with pytest.raises(Unreadable) as refusal:
        xml.read(data, limits=SMALL)
    assert time.process_time() - started < 0.25
    for fault in refusal.value.faults:
        told = f"{refusal.value!r} {fault} {fault.as_line('sv')} {fault.as_line('en')}"
        assert CANARY not in told
        assert "{" not in fault.says("sv") + fault.says("en")
    assert refusal.value.__cause__ is None
    assert refusal.value.__context__ is None


@pytest.mark.parametrize(
    ("inner", "seconds"),
    [("<extension url='" + "x" * 3_000_000 + "'><valueString value='" + "y" * 1_500_000 + "'/></extension>", 1), ("<note><text value='x'/></note>" * 60_000, 4)],
    ids=("two long values", "many elements"),
)  # fmt: skip
def test_a_large_body_costs_in_proportion(inner, seconds):
    started = time.process_time()
    xml.read(task(inner))
    assert time.process_time() - started < seconds


def test_a_long_list_of_primitives_is_read_in_linear_time():
    def took(count):
        data = (
            '<Patient xmlns="http://hl7.org/fhir"><name>' + '<given value="x"/>' * count + "</name></Patient>"
        ).encode()
        started = time.process_time()
        xml.read(data)
        return time.process_time() - started

    took(100)
    assert took(40_000) < 40 * max(took(4_000), 0.001)


@given(st.binary(max_size=200) | st.text(max_size=100).map(task))
def test_any_bytes_are_read_or_refused(data):
    try:
        resource = xml.read(data)
    except Unreadable:
        return
    assert xml.read(xml.write(resource)) == resource


@pytest.mark.parametrize(
    ("resource", "code", "where"),
    [
        ({"resourceType": "Task", "statuz": "x"}, "unknown-element", "Task"),
        ({"resourceType": "Task", "code": {"resourceType": "Task"}}, "unknown-element", "Task.code"),
        ({"resourceType": "Task", "_code": {"id": "x"}}, "unknown-element", "Task"),
        ({"resourceType": "Task", "status": ["draft"]}, "misfit", "Task.status"),
        ({"resourceType": "Task", "note": {"text": "x"}}, "misfit", "Task.note[0]"),
        ({"resourceType": "Task", "note": []}, "misfit", "Task.note[0]"),
        ({"resourceType": "Task", "note": [{"text": "x"}, {"text": 1}]}, "misfit", "Task.note[1].text"),
        ({"resourceType": "Task", "restriction": {"repetitions": "1"}}, "misfit", "Task.restriction.repetitions"),
        ({"resourceType": "Task", "restriction": {"repetitions": True}}, "misfit", "Task.restriction.repetitions"),
        ({"resourceType": "Task", "input": [{"valueBoolean": 1}]}, "misfit", "Task.input[0].value"),
        ({"resourceType": "Task", "status": None}, "empty", "Task.status"),
        ({"resourceType": "Task", "for": "x"}, "misfit", "Task.for"),
        ({"resourceType": "Task", "text": {"div": "<div>x</div>"}}, "narrative", "Task.text.div"),
        ({"resourceType": "Task", "text": {"div": '<div xmlns="http://www.w3.org/1999/xhtml">&nbsp;</div>'}}, "narrative", "Task.text.div"),
        ({"resourceType": "Task", "text": {"div": 7}}, "misfit", "Task.text.div"),
        ({"resourceType": "Task", "contained": [{"resourceType": "Tusk"}]}, "resource-type", "Task.contained[0]"),
        ({"resourceType": "Bundle", "entry": [{"resource": {"resourceType": "Task", "x": 1}}]}, "unknown-element", "Bundle.entry[0].resource"),
        ({"status": "draft"}, "resource-type", ""),
        ({"resourceType": "Task", "description": "\x01"}, "unwritable", "Task"),
        ({"resourceType": "Task", "description": "\ud800"}, "unwritable", "Task"),
    ],
    ids=range(20),
)  # fmt: skip
def test_what_xml_or_the_definitions_cannot_hold_is_not_written(resource, code, where):
    with pytest.raises(Invalid) as refusal:
        xml.write(resource)
    assert (refusal.value.first.code, refusal.value.first.where) == (f"wire.{code}", where)


def test_a_narrative_in_another_spelling_is_written_in_the_canonical_one():
    div = "<div xmlns='http://www.w3.org/1999/xhtml'><p  title = 'a'>x</p ><br></br>&#229;<![CDATA[<]]><!-- c --></div>"
    written = xml.read(xml.write({"resourceType": "Task", "text": {"status": "generated", "div": div}}))
    assert written["text"]["div"] == '<div xmlns="http://www.w3.org/1999/xhtml"><p title="a">x</p><br/>å&lt;</div>'


def test_json_and_xml_of_one_resource_read_as_one():
    resource = {"resourceType": "Task", "status": "draft", "intent": "plan", "note": [{"text": "a"}]}
    assert json.read(standard_json.dumps(resource).encode()) == xml.read(xml.write(resource))
