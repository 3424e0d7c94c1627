"""The last look on its own: every path, every value, every number, and the bytes themselves."""

from __future__ import annotations

from dataclasses import replace

import pytest

from adapter.consent import disclosure
from adapter.consent.inspection import inspect, leaves, reread
from adapter.domain import Category
from adapter.errors import Unreadable
from adapter.wire import json, xml

OWN, OTHERS = "191212121212", "195009072553"
UUID = "6a4f2c0e-0b1b-4c39-9a64-b3f1f8f9e0a1"
IDENTITY = frozenset({Category.IDENTITY})
BASE = "https://koord.example/fhir"
MUNICIPALITY = disclosure.load().of["kommun"]
OPEN = replace(
    MUNICIPALITY,
    elements={
        "Task": frozenset({
            "id", "description", "identifier.value", "for.identifier.value", "for.reference", "owner.identifier.value",
            "extension(urn:other).valueString", "extension:met.extension:actor.valueString", "note",
        }),
        "CarePlan": frozenset({"id", "subject.identifier.value"}),
        "Consent": frozenset({"id", "patient.identifier.value"}),
        "Patient": frozenset({"id", "identifier.value", "name.text", "deceasedBoolean", "telecom.value"}),
        "RelatedPerson": frozenset({"id", "identifier.value", "name.text"}),
        "Bundle": frozenset({"type", "entry.fullUrl", "entry.request.url"}),
    },
    values={"Bundle.type": frozenset({"transaction"}), "Patient.deceasedBoolean": frozenset({True})},
)  # fmt: skip


def bundle(*resources, **more):
    entries = [
        {"fullUrl": f"{BASE}/{each['resourceType']}/{each['id']}", "resource": each,
         "request": {"url": f"{each['resourceType']}/{each['id']}"}}
        for each in resources
    ]  # fmt: skip
    return {"resourceType": "Bundle", "type": "transaction", "entry": entries} | more


def task(**more):
    return {"resourceType": "Task", "id": UUID, **more}


def found(seen, permitted=IDENTITY, most=OPEN, own=OWN):
    return [(fault.code, fault.where, fault.why) for fault in inspect(seen, most, permitted, own)]


def whys(seen, **more):
    return [why for _, _, why in found(seen, **more)]


CODE, NUMBER, OUT = "gate.unexpected-content", "an identity number", "a reference out of the package"


def test_what_is_listed_passes_alone_and_in_a_bundle():
    for seen in (
        task(description="Möte"),
        bundle(task(description="Möte")),
        bundle(task(), {"resourceType": "CarePlan", "id": "b"}),
    ):
        assert found(seen) == []


def test_what_is_not_listed_is_named_by_its_path_and_never_by_its_value():
    hidden = bundle(task(priority="Hemlig", note=[{"text": "Hemlig"}]), type="batch")
    assert found(hidden) == [
        (CODE, "Bundle.type", "not among the values for kommun"),
        (CODE, "Task.priority", "not among the elements for kommun"),
        (CODE, "Task.note.text", "not among the elements for kommun"),
    ]
    assert whys({"resourceType": "Gossip", "x": 1}) == ["not among the elements for kommun"]
    assert found({"resourceType": "Patient", "id": "a", "deceasedBoolean": False}) == [
        (CODE, "Patient.deceasedBoolean", "not among the values for kommun")
    ]


def test_a_bundle_has_nothing_around_its_resources_that_is_not_listed():
    seen = bundle(task())
    seen["entry"][0]["search"] = {"score": 1}
    assert found(seen) == [(CODE, "Bundle.entry.search.score", "not among the elements for kommun")]
    assert found({"resourceType": "Bundle", "type": "transaction", "total": 3})[0][1] == "Bundle.total"


@pytest.mark.parametrize("empty", [None, {}, []])
def test_an_element_without_a_value_tells_that_it_is_there(empty):
    assert found(task(note=empty)) == [(CODE, "Task.note", "an element without a value")]
    assert found(task(description=empty)) == [(CODE, "Task.description", "an element without a value")]


def test_leaves_are_named_by_their_path_and_extensions_by_their_url():
    ours = f"{BASE}/StructureDefinition/met"
    seen = task(
        extension=[
            {"url": "urn:other", "valueString": "x"},
            {
                "url": ours,
                "extension": [{"url": "actor", "valueString": "y"}, {"url": "not a name", "valueString": "z"}],
            },
            {"valueString": "no url"},
        ],
        note=[],
    )
    assert list(leaves(seen))[1:] == [
        ("Task.extension(urn:other).valueString", "x"),
        ("Task.extension:met.extension:actor.valueString", "y"),
        ("Task.extension:met.extension(not a name).valueString", "z"),
        ("Task.extension.valueString", "no url"),
        ("Task.note", []),
    ]
    for outer, inner, path in (
        (ours, ours, f"extension:met.extension({ours})"), ("met", "actor", "extension(met).extension(actor)"),
    ):  # fmt: skip
        misplaced = task(extension=[{"url": outer, "extension": [{"url": inner, "valueString": "y"}]}])
        assert list(leaves(misplaced))[1:] == [(f"Task.{path}.valueString", "y")]


def test_only_an_extension_is_named_by_its_url():
    pictured = {"resourceType": "Patient", "photo": [{"url": "urn:x", "title": "y"}]}
    assert list(leaves(pictured)) == [("Patient.photo.url", "urn:x"), ("Patient.photo.title", "y")]


def test_a_reference_leads_to_a_resource_of_the_package_and_nowhere_else():
    other = {"resourceType": "Patient", "id": "b"}
    for reference, why in (
        ("Patient/b", []), (f"{BASE}/Patient/b", []), ("Patient/c", [OUT]), ("CarePlan/b", [OUT]), ("#b", [OUT]), (UUID, [OUT]),
    ):  # fmt: skip
        assert whys(bundle(task(**{"for": {"reference": reference}}), other)) == why
    assert whys(task(**{"for": {"reference": f"Task/{UUID}"}})) == []
    lost = bundle(task())
    lost["entry"][0]["fullUrl"] = f"urn:uuid:{UUID}"
    assert whys(lost) == [OUT]


# numbers


@pytest.mark.parametrize(
    ("resource", "place"),
    [("Task", "for"), ("CarePlan", "subject"), ("Consent", "patient"), ("Patient", "")],
)
def test_the_patients_own_number_stands_in_its_places_only_and_only_where_identity_is_open(resource, place):
    def named(number):
        identifier = {"identifier": {"value": number}} if place else [{"value": number}]
        return {"resourceType": resource, "id": "a", place or "identifier": identifier}

    assert whys(named(OWN)) == whys(named("19121212-1212")) == []
    assert whys(named(OTHERS)) == whys(named("121212-1212")) == whys(named("a name")) == [NUMBER]
    assert whys(named(OWN), permitted=frozenset()) == whys(named("x"), permitted=frozenset()) == [NUMBER]


def test_a_representatives_number_stands_in_its_own_place():
    related = {"resourceType": "RelatedPerson", "id": "a", "identifier": [{"value": OTHERS}]}
    assert whys(related, permitted=frozenset()) == []
    assert whys(related | {"name": [{"text": OTHERS}]}) == [NUMBER]
    assert whys(related | {"identifier": [{"value": OWN}]}, permitted=frozenset()) == [NUMBER]


@pytest.mark.parametrize("sign", ["\u200b", "\u0301", "\u00ad"])
@pytest.mark.parametrize("number", ["1950 0907 2553".replace(" ", ""), "19500907-2553", "500907+2553", "195009072553"])
def test_a_number_in_text_is_seen_with_and_without_signs_between(number, sign):
    for text in (number, f"Ring {number}.", sign.join(number)):
        assert whys(task(description=text)) == [NUMBER]


@pytest.mark.parametrize(
    "text", ["1950090725531", "19500907-2554", "500907-255", "1234567890", "19501307-2553", "010-123 45 67"]
)
def test_what_only_resembles_a_number_passes(text):
    assert whys(task(description=text)) == []


def test_the_patients_own_number_in_text_passes_where_identity_is_open_and_only_there():
    for text in (OWN, "19121212-1212", "121212-1212", "1212121212", f"x{OWN}x", "1 9 1 2 1 2 1 2 1 2 1 2"):
        assert whys(task(description=text)) == []
        assert whys(task(description=text), permitted=frozenset()) == [NUMBER]
    with_letters = "22950606FH20"
    assert whys(task(description=f"nr {with_letters}"), permitted=frozenset(), own=with_letters) == [NUMBER]
    assert whys(task(description="950606fh20"), permitted=frozenset(), own=with_letters) == []
    assert whys(task(description=f"nr {with_letters.lower()}"), permitted=frozenset(), own=with_letters) == [NUMBER]


def test_numbers_of_cases_and_telephones_may_resemble_a_persons_but_not_be_the_patients():
    cases = [task(identifier=[{"value": OTHERS}]), task(owner={"identifier": {"value": OTHERS}})]
    cases.append({"resourceType": "Patient", "id": "a", "telecom": [{"value": OTHERS}]})
    assert [whys(each, permitted=frozenset()) for each in cases] == [[], [], []]
    assert whys(task(identifier=[{"value": f"case {OWN}"}]), permitted=frozenset()) == [NUMBER]


def test_an_id_that_happens_to_hold_digits_is_no_number():
    for name in (f"{UUID[:24]}{OWN}", f"{UUID[:24]}{OTHERS}"):
        assert whys(task(id=name, description=f"se {name}"), permitted=frozenset()) == []
    for tail in (f" {OTHERS}", f" {OWN}"):
        assert whys(task(description=UUID + tail), permitted=frozenset()) == [NUMBER]


@pytest.mark.parametrize("text", ["①②①②①②①②①②", "１２１２１２１２１２"])
def test_other_digits_count_as_digits_however_short_the_text(text):
    assert whys(task(description=text), permitted=frozenset()) == [NUMBER]


# the bytes


@pytest.mark.parametrize(
    "body",
    [
        b'{"resourceType":"Task","id":"a" }', b'{"resourceType":"Task","id":"a"}\n', b'\xef\xbb\xbf{"resourceType":"Task"}',
        b'{"resourceType":"Task","resourceType":"Task"}', b'{"resourceType":"T\\u0061sk"}', b'["Task"]', b'"Task"', b"", b"{}{}",
    ],
)  # fmt: skip
def test_json_that_says_more_than_what_is_read_in_it_is_refused(body):
    assert reread(b'{"resourceType":"Task","id":"a"}', "json", "R4") == {"resourceType": "Task", "id": "a"}
    with pytest.raises(Unreadable):
        reread(body, "json", "R4")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"</Task>", b"<!-- x --></Task>"), (b"</Task>", b"<?x y?></Task>"), (b"</Task>", b" </Task>"), (b"</Task>", b"</Task>\n\n"),
        (b"<Task", b'<Task xmlns:x="urn:x"'), (b'value="a"', b"value='a'"), (b'value="a"', b'value="&#97;"'), (b'value="a"', b'value = "a"'),
    ],
)  # fmt: skip
def test_xml_that_says_more_than_what_is_read_in_it_is_refused(old, new):
    body = xml.write(task(id="a"))
    assert reread(body, "xml", "R4") == task(id="a")
    assert old in body
    with pytest.raises(Unreadable):
        reread(body.replace(old, new), "xml", "R4")


def test_what_the_writers_write_is_what_is_read():
    everything = bundle(task(description="å \U0001f600 <&>\"'", identifier=[{"value": "1.10"}]))
    assert reread(json.write(everything), "json", "R4") == everything
