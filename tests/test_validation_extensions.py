"""Where an extension may stand, and which parts of it its definition names."""

from __future__ import annotations

import pytest

from adapter.definitions import definitions
from adapter.profiles import Node
from adapter.validation import extensions

KNOWN = definitions()
ELEMENT, ANOTHER, PATH = (
    ("element", "Task"),
    ("extension", "https://example.org/e"),
    ("fhirpath", "Task.where(status = 'draft')"),
)


@pytest.mark.parametrize(
    ("contexts", "parent", "may"),
    [
        ([ELEMENT], ("Task",), True),
        ([ELEMENT], ("Goal",), False),
        ([ELEMENT], ("Task", "extension"), False),
        ([ANOTHER], ("Task", "extension"), True),
        ([ANOTHER], ("Task", "note", "extension"), True),
        ([ANOTHER], ("Task", "extension", "valuePeriod"), False),
        ([ANOTHER], ("Task",), False),
        ([PATH], ("Task",), True),
        ([PATH], ("Goal",), True),
        ([ANOTHER, ELEMENT], ("Task",), True),
        ([ANOTHER, ELEMENT], ("Task", "extension"), True),
        ([], ("Task",), False),
    ],
)
def test_an_extension_may_stand_where_one_of_its_contexts_allows_and_paths_are_not_run(contexts, parent, may):
    assert extensions.may_stand(tuple(contexts), KNOWN, parent) is may


def node(name, most=None, **more):
    return Node(id=f"Extension.{name}", path=f"Extension.{name}", min=0, max=most, **more)


def definition(most, **parts):
    """An extension with so many parts at most; by name whether the part is told by it, or has a definition of its own."""
    slices = {
        name: node("extension", children={"url": node("url", fixed=name)} if is_told else {})
        for name, is_told in parts.items()
    }
    return node("x", children={"extension": node("extension", most, slices=slices)})


def undefined(most, given, **parts):
    return list(
        extensions.undefined_parts(definition(most, **parts), {"url": "https://example.org/x", "extension": given})
    )


KIND, MADE_UP, FOREIGN = {"url": "kind"}, {"url": "made-up"}, {"url": "https://elsewhere.example/e"}


def test_a_part_that_the_definition_does_not_name_is_undefined():
    for most in (None, 1, 2):
        assert undefined(most, [KIND, MADE_UP, FOREIGN], kind=True) == [("extension", 1)]


def test_where_no_parts_are_allowed_that_they_are_there_is_told_elsewhere():
    assert undefined(0, [MADE_UP]) == []
    assert list(extensions.undefined_parts(node("x"), {"extension": [MADE_UP]})) == []


def test_a_part_that_is_another_extension_has_its_own_address():
    assert undefined(None, [FOREIGN, MADE_UP], kind=True, other=False) == [("extension", 1)]


@pytest.mark.parametrize("part", [{}, {"url": None}, {"url": 1}, {"url": ["kind"]}, None, "kind", 1])
def test_a_part_without_a_name_is_told_elsewhere(part):
    assert undefined(None, [part, MADE_UP], kind=True) == [("extension", 1)]
