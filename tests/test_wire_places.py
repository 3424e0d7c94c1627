"""From a path to a line, a column and a JSON pointer."""

from __future__ import annotations

import json

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from adapter.wire import json as wire
from adapter.wire import xml
from adapter.wire.places import Nth, places, steps

KEYS = st.sampled_from(["a", "b", "code", 'q"u', "å", "x\\y", "{", ",", "a/b", "~1", "m~n"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(0, 99) | st.sampled_from(["", "a", '"', "[1,2]", "{", ":", "\\", "å\n"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=12,
)


@given(document=VALUES, indent=st.none() | st.integers(0, 3), ascii_only=st.booleans(), data=st.data())
def test_every_path_of_a_json_text_leads_to_its_key_or_item(document, indent, ascii_only, data):
    text = json.dumps(document, indent=indent, ensure_ascii=ascii_only)
    paths = list(paths_of(document))
    path = data.draw(st.sampled_from(paths))
    line, column = line_and_column(text.encode(), path)
    rest = "\n".join(text.split("\n")[line - 1 :])[column - 1 :]
    if path and isinstance(path[-1], str):
        key, end = json.JSONDecoder().raw_decode(rest)
        assert key == path[-1]
        rest = rest[end:].lstrip().removeprefix(":").lstrip()
    found, _ = json.JSONDecoder().raw_decode(rest)
    assert found == at(document, path)


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("Task.status", "status"),
        ("Task.for.identifier.system", "system"),
        ("Task.note[1].text", "text"),
        ("Task.input[0].value", "valueString"),
        ("Task.input.value", "valueString"),
    ],
)
@pytest.mark.parametrize("form", ["json", "xml"])
def test_a_fhirpath_leads_to_its_element_in_json_and_in_xml(path, found, form):
    task = {
        "resourceType": "Task",
        "status": "requested",
        "for": {"identifier": {"system": "urn:x", "value": "1"}},
        "note": [{"text": "one"}, {"text": "two"}],
        "input": [{"type": {"text": "t"}, "valueString": "s"}],
        "intent": "order",
    }
    data = xml.write(task).replace(b"><", b">\n<") if form == "xml" else json.dumps(task, indent=1).encode()
    line, column = line_and_column(data, steps(path)[1:])
    assert data.decode().splitlines()[line - 1][column - 1 :].lstrip('<"').startswith(found)
    if path == "Task.note[1].text":
        assert "two" in data.decode().splitlines()[line - 1]


def test_a_resource_in_an_xml_bundle_is_found_behind_its_wrapper():
    bundle = {
        "resourceType": "Bundle",
        "type": "collection",
        "entry": [{"resource": {"resourceType": "Patient", "gender": gender}} for gender in ("male", "female")],
    }
    data = xml.write(bundle).replace(b"><", b">\n<")
    line, _ = line_and_column(data, steps("Bundle.entry[1].resource.gender")[1:])
    assert "female" in data.decode().splitlines()[line - 1]


@pytest.mark.parametrize(
    ("path", "line"), [((), 1), (("missing",), 1), (("a", "missing"), 2), (("a", 0, "b"), 2), (("list", 7), 3)]
)
def test_what_is_missing_is_placed_at_the_last_thing_that_is_there(path, line):
    assert place(b'{\n"a": {"x": 1},\n"list": [1, 2]}', path).line == line


@given(document=VALUES, data=st.data())
def test_a_pointer_followed_as_the_rfc_says_leads_to_what_the_path_named(document, data):
    path = data.draw(st.sampled_from(list(paths_of(document))))
    assert followed(document, place(json.dumps(document).encode(), path).pointer) == at(document, path)


PATIENT = {
    "resourceType": "Patient",
    "name": [{"given": ["A", None], "_given": [None, {"extension": [{"url": "urn:x", "valueCode": "c"}]}]}],
    "birthDate": "2000",
    "_birthDate": {"extension": [{"url": "urn:y", "valueString": "a/b"}]},
    "deceasedBoolean": False,
    "multipleBirthInteger": 2,
}


@pytest.mark.parametrize(
    ("path", "pointer"),
    [
        ("Patient", ""),
        ("Patient.birthDate", "/birthDate"),
        ("Patient.birthDate.extension[0].value", "/_birthDate/extension/0/valueString"),
        ("Patient.birthDate.extension.url", "/_birthDate/extension/0/url"),
        ("Patient.name.given[1].extension[0].value", "/name/0/_given/1/extension/0/valueCode"),
        ("Patient.deceased", "/deceasedBoolean"),
        ("Patient.multipleBirth", "/multipleBirthInteger"),
        ("Patient.name[0].family", "/name/0"),
        ("Patient.name[3].family", "/name"),
        ("Patient.multiple", ""),
        ("Patient.contact[0].name", ""),
    ],
)
@pytest.mark.parametrize("form", ["json", "xml"])
def test_a_pointer_has_the_names_of_json_and_ends_at_what_is_there(path, pointer, form):
    data = xml.write(PATIENT) if form == "xml" else json.dumps(PATIENT).encode()
    assert place(data, steps(path)[1:]).pointer == pointer


@given(document=VALUES, indent=st.none() | st.integers(0, 3), data=st.data())
def test_a_property_is_found_by_its_number_with_the_pointer_of_its_object(document, indent, data):
    objects = [path for path in paths_of(document) if isinstance(at(document, path), dict) and at(document, path)]
    assume(objects)
    path = data.draw(st.sampled_from(objects))
    number = data.draw(st.integers(0, len(at(document, path)) - 1))
    text = json.dumps(document, indent=indent).encode()
    found, named = place(text, (*path, Nth(number))), place(text, (*path, list(at(document, path))[number]))
    assert (found.line, found.column) == (named.line, named.column)
    assert found.pointer == place(text, path).pointer


def test_a_property_by_number_that_is_not_there_is_placed_at_its_object():
    assert place(b'{\n"a": {"x": 1}}', ("a", Nth(7))) == place(b'{\n"a": {"x": 1}}', ("a",))


def test_elements_that_are_not_fhirs_do_not_count_among_those_that_are():
    data = b"""<Task xmlns="http://hl7.org/fhir"><note xmlns="urn:other"/>
        <note><text value="a"/></note><note xmlns="urn:other"/>
        <note><text value="b"/></note></Task>"""
    found = xml.read_all(data)
    assert [each.line for each in places(data, found.value, [("note", 0), ("note", 1, "text")])] == [2, 3]


def test_an_element_whose_name_begins_that_of_another_is_not_taken_for_a_choice():
    """outcomeDesc is no value of outcome, and periodUnit none of period."""
    event = {"resourceType": "AuditEvent", "outcomeDesc": "x", "agent": [{"requestor": True}]}
    data = json.dumps(event, indent=1).encode()
    assert place(data, ("outcome",)).pointer == ""
    assert place(data, ("outcome",)).line == 1


def test_the_extensions_of_a_primitive_are_found_in_xml_at_their_own_element():
    data = xml.write(PATIENT).replace(b"><", b">\n<")
    line, _ = line_and_column(data, steps("Patient.name[0].given[1].extension[0].value")[1:])
    assert "valueCode" in data.decode().splitlines()[line - 1]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Task.code", ("Task", "code")),
        ("[2].patient.identity", (2, "patient", "identity")),
        ("records[0].goals[1].text", ("records", 0, "goals", 1, "text")),
        ("Task.code (kind)", ("Task", "code")),
        ("Task.extension:met[].x", ("Task", "extension")),
        ("", ()),
    ],
)
def test_the_steps_of_a_path_end_where_it_is_no_longer_plain(text, found):
    assert steps(text) == found


@given(document=VALUES, indent=st.none() | st.integers(0, 3))
def test_many_paths_are_found_as_one_by_one(document, indent):
    data = json.dumps(document, indent=indent).encode()
    paths = list(paths_of(document))
    assert places(data, document_of(data), paths) == [place(data, path) for path in paths]


def place(data, path):
    (found,) = places(data, document_of(data), [path])
    return found


def document_of(data):
    return xml.read(data) if data.startswith(b"<") else wire.read(data)


def line_and_column(data, path):
    found = place(data, path)
    return found.line, found.column


def followed(document, pointer):
    """RFC 6901, section 4."""
    value = document
    for token in pointer.split("/")[1:]:
        name = token.replace("~1", "/").replace("~0", "~")
        value = value[int(name)] if isinstance(value, list) else value[name]
    return value


def paths_of(value, path=()):
    yield path
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from paths_of(inner, (*path, key))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from paths_of(inner, (*path, number))


def at(value, path):
    for step in path:
        value = value[step]
    return value
