"""From a path to a line and a column."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapter.wire import xml
from adapter.wire.places import places, steps

KEYS = st.sampled_from(["a", "b", "code", 'q"u', "å", "x\\y", "{", ","])
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
    line, column = place(text.encode(), path)
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
    line, column = place(data, steps(path)[1:])
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
    line, _ = place(data, steps("Bundle.entry[1].resource.gender")[1:])
    assert "female" in data.decode().splitlines()[line - 1]


@pytest.mark.parametrize(
    ("path", "line"), [((), 1), (("missing",), 1), (("a", "missing"), 2), (("a", 0, "b"), 2), (("list", 7), 3)]
)
def test_what_is_missing_is_placed_at_the_last_thing_that_is_there(path, line):
    assert place(b'{\n"a": {"x": 1},\n"list": [1, 2]}', path)[0] == line


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
    assert places(data, paths) == [place(data, path) for path in paths]


def place(data, path):
    (found,) = places(data, [path])
    return found


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
