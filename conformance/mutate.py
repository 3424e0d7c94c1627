"""
One thing wrong at a time: what a resource becomes when one element of it is not as its definition says.

A *place* is one JSON property of a resource, under the path that element definitions have (``Task.input.value[x]``). Each
kind of mutation is a function that changes the property in a copy, or says that it has nothing to change there. Some mutants are as valid
as before (an optional element removed, an unknown extension added): they show who refuses too much.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from random import Random
from typing import Any

from fhir_generated import Maker

from adapter.definitions import Definitions, Element, Shape

Json = dict[str, Any]
Steps = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Place:
    """A property of a resource: the steps to the object that holds it, its JSON name, its element and its path."""

    known: Definitions = field(repr=False)
    resource: Json = field(repr=False)
    steps: Steps
    name: str
    element: Element
    path: str


@dataclass(frozen=True, slots=True)
class Mutant:
    """A resource with one thing changed; ``at``: the path of the element, ``kind``: what was done to it."""

    kind: str
    at: str
    resource: Json = field(repr=False)


@dataclass(frozen=True, slots=True)
class At:
    """Where a mutation works: the object (a copy, to be changed), the name in it, what is known of the element."""

    known: Definitions
    whole: Json
    parent: Json
    name: str
    element: Element
    facts: Json
    random: Random

    @property
    def value(self) -> Any:
        return self.parent[self.name]

    @property
    def first(self) -> Any:
        """The value, or the first of a list."""
        return self.value[0] if isinstance(self.value, list) and self.value else self.value

    def put(self, value: Any) -> bool:
        """Replace the value, or the first of a list."""
        if isinstance(self.value, list) and self.value:
            self.value[0] = value
        else:
            self.parent[self.name] = value
        return True


def places(known: Definitions, resource: Json) -> Iterator[Place]:
    """Every property of a resource, those of resources inside it left out."""
    name = resource["resourceType"]
    shape = known.shape(name)
    assert shape is not None
    yield from _places(known, resource, (), shape, name)


def _places(known: Definitions, resource: Json, steps: Steps, shape: Shape, path: str) -> Iterator[Place]:
    for name, child in _reached(resource, steps).items():
        element = shape.properties.get(name)
        if element is None:
            continue
        here = f"{path}.{element.choice or element.name}"
        yield Place(known, resource, steps, name, element, here)
        inner = known.shape_of(element)
        if inner is None:
            continue
        listed = isinstance(child, list)
        for index, one in enumerate(child if listed else [child]):
            if isinstance(one, dict):
                below = (*steps, name, index) if listed else (*steps, name)
                yield from _places(known, resource, below, inner, here)


def added(known: Definitions, resource: Json, path: str, random: Random) -> Place | None:
    """An element that a resource does not have, made up as its definition says, in a copy; None if nothing is there to hold it."""
    parent = path.rpartition(".")[0]
    if "." in parent:
        holders = [steps for place in places(known, resource) if place.path == parent for steps in _objects(place)]
        around = known.element(parent)
        shape = known.shape_of(around) if around else None
    else:
        holders, shape = [()], known.shape(parent)
    element = known.element(path)
    if not holders or shape is None or element is None or element.content or element.type in {"Resource", "xhtml"}:
        return None
    whole = copy.deepcopy(resource)
    steps = random.choice(holders)
    holder = _reached(whole, steps)
    before = set(holder)
    Maker(random.randrange(2**32), richness=0, companions=False, release=known.release).element(
        holder, element, shape, 2
    )
    fresh = next((name for name in holder if name not in before), None)
    return Place(known, whole, steps, fresh, shape.properties[fresh], path) if fresh else None


def _objects(place: Place) -> Iterator[Steps]:
    value = _reached(place.resource, (*place.steps, place.name))
    for index, one in enumerate(value) if isinstance(value, list) else ((None, value),):
        if isinstance(one, dict):
            yield (*place.steps, place.name) if index is None else (*place.steps, place.name, index)


def _reached(value: Any, steps: Sequence[str | int]) -> Any:
    for step in steps:
        value = value[step]
    return value


def mutant(kind: str, place: Place, facts: Json, random: Random) -> Mutant | None:
    """The mutant of one kind at a place; ``facts``: what a profile's snapshot says of the element. None: it has none."""
    whole = copy.deepcopy(place.resource)
    at = At(place.known, whole, _reached(whole, place.steps), place.name, place.element, facts, random)
    return Mutant(kind, place.path, whole) if KINDS[kind](at) and whole != place.resource else None


# The kinds


def _remove(at: At) -> bool:
    del at.parent[at.name]
    at.parent.pop("_" + at.name, None)
    return True


def _too_many(at: At) -> bool:
    most = at.facts.get("max", "1" if at.element.max == 1 else "*")
    if not at.element.is_list or most == "*":
        return False
    at.parent[at.name] = (at.value * (int(most) + 1))[: int(most) + 1]
    return True


def _twice(at: At) -> bool:
    if not at.element.is_list:
        return False
    at.parent[at.name] = at.value + copy.deepcopy(at.value[:1])
    return True


def _list_or_not(at: At) -> bool:
    at.parent[at.name] = at.value[0] if at.element.is_list else [at.value]
    return True


def _other_type(at: At) -> bool:
    others: list[Any] = ["x", 7, True, {"a": 1}]
    wrong = [
        other
        for other in others
        if type(other) is not type(at.first) and not (isinstance(at.first, Decimal) and other == 7)
    ]
    return at.put(at.random.choice(wrong))


def _quoted(at: At) -> bool:
    """A number or boolean in quotes, or a text without them."""
    if isinstance(at.first, bool):
        return at.put("true" if at.first else "false")
    if isinstance(at.first, int | Decimal):
        return at.put(str(at.first))
    return isinstance(at.first, str) and at.first.isdigit() and at.put(int(at.first))


def _null(at: At) -> bool:
    return at.put(None)


def _empty(at: At) -> bool:
    at.parent[at.name] = at.random.choice([{}, [], ""])
    return True


def _empty_inside(at: At) -> bool:
    return isinstance(at.first, dict) and at.put({})


def _blank(at: At) -> bool:
    return isinstance(at.first, str) and at.put(at.random.choice([" ", "\n", "\u00a0"]))


def _unknown_property(at: At) -> bool:
    if not isinstance(at.first, dict):
        return False
    at.first[at.random.choice(["koordUnknown", "_koordUnknown", at.name + "s", "resourceTyp"])] = "x"
    return True


_WRONG_TEXTS = {
    "base64Binary": ("QQ=", "Q!==", "åäö="),
    "canonical": ("a b",),
    "code": (" a", "a ", "a  b", "a\tb"),
    "date": ("2026-02-30", "2026-13", "26-01-01", "2026-1-1", "20260101", "2026-01-01T10:00:00Z", "x"),
    "dateTime": ("2026-02-30", "2025-02-29T10:00:00Z", "2026-04-31", "2026-01-01T10:00:00", "2026-01-01T10:00Z", "2026-01-01 10:00:00Z", "2026-01-01T25:00:00Z", "2026-01-01T10:00:00+15:00", "0000", "2026-00", "x"),
    "id": ("a b", "å", "a_b", "x" * 65),
    "instant": ("2026-02-30T10:00:00Z", "2026-01-01", "2026-01-01T10:00:00", "2026-01-01T24:00:00Z", "2026-01-01T10:60:00Z", "x"),
    "oid": ("1.2.3", "urn:oid:3.1", "urn:oid:1.02"),
    "time": ("25:00:00", "10:00", "x"),
    "uri": ("a b", " urn:x", "http://example.org/a b", "urn:oid:1.02", "urn:oid:x", "urn:uuid:1", "urn:uuid:C757873D-EC9A-4326-A141-556F43239520"),
    "url": ("a b",),
    "uuid": ("c757873d-ec9a-4326-a141-556f43239520", "urn:uuid:C757873D", "urn:uuid:c757873d"),
}  # fmt: skip
_WRONG_NUMBERS: dict[str, tuple[Any, ...]] = {
    "integer": (2**31, Decimal("1.5"), -(2**31) - 1),
    "positiveInt": (0, -1, 2**31, Decimal("1.5")),
    "unsignedInt": (-1, 2**31, Decimal("0.5")),
}


def _format(at: At) -> bool:
    wrong = _WRONG_TEXTS.get(at.element.type) or _WRONG_NUMBERS.get(at.element.type)
    return bool(wrong) and at.put(at.random.choice(wrong or ()))


def _control(at: At) -> bool:
    return isinstance(at.first, str) and at.put(at.first + at.random.choice("\x00\x0b\x1f"))


def _binding(at: At) -> str:
    bound = at.facts.get("binding") or {}
    return str(bound.get("strength") or (at.element.binding.strength if at.element.binding else ""))


def _code(at: At) -> bool:
    """A code that no value set has, where a value set is required; in a concept the only coding."""
    if _binding(at) != "required":
        return False
    if isinstance(at.first, str):
        return at.put(at.random.choice(["no-such-code", at.first.upper(), at.first + "x"]))
    return _concept(at, {"code": "no-such-code"})


def _system(at: At) -> bool:
    return _binding(at) == "required" and _concept(at, {"system": "https://elsewhere.example/codes"})


def _extensible(at: At) -> bool:
    """A code that is not of the value set, of its own system, where it is extensible: no error by itself."""
    return _binding(at) == "extensible" and _concept(at, {"code": "no-such-code"})


def _text_only(at: At) -> bool:
    return at.element.type == "CodeableConcept" and at.put({"text": "x"})


def _concept(at: At, change: Json) -> bool:
    if not isinstance(at.first, dict):
        return False
    codings = at.first.get("coding") if at.element.type == "CodeableConcept" else [at.first]
    for coding in codings or ():
        coding.update(change)
        coding.pop("display", None)
    return bool(codings)


def _fixed(at: At) -> bool:
    """Another value of the same type where a profile fixes one."""
    if not any(name.startswith(("fixed", "pattern")) for name in at.facts):
        return False
    return _changed(at.first) if isinstance(at.first, dict) else at.put("other" if isinstance(at.first, str) else 99)


def _changed(value: Any) -> bool:
    for name, child in value.items():
        if isinstance(child, str):
            value[name] = child + "x"
            return True
        if isinstance(child, dict | list) and _changed(child if isinstance(child, dict) else child[0]):
            return True
    return False


def _both_choices(at: At) -> bool:
    if not at.element.choice:
        return False
    other = "valueBoolean" if at.element.choice == "value[x]" else at.element.choice.removesuffix("[x]") + "String"
    if other == at.name:
        other = at.element.choice.removesuffix("[x]") + "Integer"
    at.parent[other] = True if other.endswith("Boolean") else 1 if other.endswith("Integer") else "x"
    return True


def _other_choice(at: At) -> bool:
    if not at.element.choice:
        return False
    del at.parent[at.name]
    at.parent[at.element.choice.removesuffix("[x]") + "Money"] = {"value": 1}
    return True


def _reference_target(at: At) -> bool:
    return (
        at.element.type == "Reference" and isinstance(at.first, dict) and at.put(at.first | {"reference": "Binary/x"})
    )


def _reference_type(at: At) -> bool:
    return at.element.type == "Reference" and isinstance(at.first, dict) and at.put(at.first | {"type": "Binary"})


def _reference_form(at: At) -> bool:
    wrong = at.random.choice(["the region", "a b", "#missing", "#", "Patient/1 ", "Organisation/1", "/Patient/1"])
    return at.element.type == "Reference" and isinstance(at.first, dict) and at.put(at.first | {"reference": wrong})


def _contained(at: At) -> bool:
    """A contained resource that nothing refers to."""
    if "contained" in at.whole or at.element.path.count(".") > 1:
        return False
    at.whole["contained"] = [{"resourceType": "Patient", "id": "nobody"}]
    return True


def _extension(at: At, extension: Json) -> bool:
    holder: Any = at.first
    if not isinstance(holder, dict):
        if at.element.is_list or not at.known.has_companion(at.element):
            return False
        holder = at.parent.setdefault("_" + at.name, {})
    if "resourceType" in holder and "contained" not in at.name:
        return False
    holder.setdefault("extension", []).append(extension)
    return True


def _extension_unknown(at: At) -> bool:
    return _extension(at, {"url": "https://elsewhere.example/extension", "valueString": "x"})


def _extension_empty(at: At) -> bool:
    return _extension(at, {"url": "https://elsewhere.example/extension"})


def _extension_full(at: At) -> bool:
    inner = {"url": "a", "valueString": "x"}
    return _extension(at, {"url": "https://elsewhere.example/extension", "valueString": "x", "extension": [inner]})


def _extension_nameless(at: At) -> bool:
    return _extension(at, {"valueString": "x"})


def _extension_relative(at: At) -> bool:
    return _extension(at, {"url": "a", "valueString": "x"})


def _extension_misplaced(at: At) -> bool:
    """A known extension of HL7's where it does not belong, or with another type of value."""
    url = "http://hl7.org/fhir/StructureDefinition/"
    wrong = [
        {"url": url + "data-absent-reason", "valueString": "unknown"},
        {"url": url + "patient-birthPlace", "valueString": "x"},
    ]
    return _extension(at, at.random.choice(wrong))


def _extension_value(at: At) -> bool:
    """An extension that is there, with a value of another type."""
    extension = at.first
    if at.element.type != "Extension" or not isinstance(extension, dict) or "extension" in extension:
        return False
    for name in [name for name in extension if name.startswith("value")]:
        del extension[name]
    extension["valueBase64Binary"] = "QQ=="
    return True


def _extension_url(at: At) -> bool:
    return (
        at.element.type == "Extension"
        and isinstance(at.first, dict)
        and at.put(at.first | {"url": at.first["url"] + "x"})
    )


def _modifier_extension(at: At) -> bool:
    if not isinstance(at.first, dict) or not at.element.type.endswith("BackboneElement"):
        return False
    at.first["modifierExtension"] = [{"url": "https://elsewhere.example/modifier", "valueBoolean": True}]
    return True


def _companion(at: At) -> bool:
    """Something beside a primitive that has neither extension nor is an object, or is of another length."""
    if not at.known.has_companion(at.element):
        return False
    wrong: list[Any] = [[None, None, {"id": "x"}], [{}]] if at.element.is_list else ["x", {}, [{"id": "x"}], {"a": 1}]
    at.parent["_" + at.name] = at.random.choice(wrong)
    return True


def _id_only(at: At) -> bool:
    """An id where the value should be."""
    if at.element.is_list or not at.known.has_companion(at.element):
        return False
    del at.parent[at.name]
    at.parent["_" + at.name] = {"id": "x"}
    return True


def _absent(at: At) -> bool:
    """The reason why there is no value, in its place: as good as a value, where nothing but a value must be there."""
    if at.element.is_list or not at.known.has_companion(at.element):
        return False
    del at.parent[at.name]
    reason = {"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": "unknown"}
    at.parent["_" + at.name] = {"extension": [reason]}
    return True


def _id_twice(at: At) -> bool:
    """The id of another element, which is in the resource's meta."""
    if not isinstance(at.first, dict) or "resourceType" in at.first or (at.parent is at.whole and at.name == "meta"):
        return False
    at.whole.setdefault("meta", {"versionId": "1"})["id"] = "twice"
    at.first["id"] = "twice"
    return True


def _profile(at: At) -> bool:
    """HL7's own definition of a type as a profile: of the resource's, or of another."""
    if at.name != "meta":
        return False
    named = at.random.choice([at.whole["resourceType"], "Binary", "Period"])
    at.first.setdefault("profile", []).append(f"http://hl7.org/fhir/StructureDefinition/{named}")
    return True


def _language(at: At) -> bool:
    if at.parent is not at.whole or at.name == "language":
        return False
    at.whole["language"] = at.random.choice(["sv", "sv-FI", "sv_SE", "svenskaspraket", "in Swedish"])
    return True


_XHTML = "http://www.w3.org/1999/xhtml"
_NARRATIVES = (
    f'<div xmlns="{_XHTML}"><script>x</script></div>',
    f'<div xmlns="{_XHTML}"><p onclick="x">x</p></div>',
    f'<div xmlns="{_XHTML}"><a href="javascript:x">x</a></div>',
    f'<div xmlns="{_XHTML}"><p>x</div>',
    f'<div xmlns="{_XHTML}"> </div>',
    f'<p xmlns="{_XHTML}">x</p>',
    f'<div xmlns="{_XHTML}"><form>x</form></div>',
    f'<div xmlns="{_XHTML}"><iframe src="x"/>x</div>',
    f'<div xmlns="{_XHTML}">&undefined;</div>',
    f'<!DOCTYPE div><div xmlns="{_XHTML}">x</div>',
    f'<div xmlns="{_XHTML}"><style>x</style></div>',
    f'<div xmlns="{_XHTML}"><object>x</object></div>',
    "<div>x</div>",
    "x",
)


def _narrative(at: At) -> bool:
    """A narrative that is not as it must be; on an element of the resource itself, once per element."""
    if (
        at.parent is not at.whole
        or at.name in {"id", "meta", "resourceType"}
        or at.whole["resourceType"] in {"Bundle", "Binary", "Parameters"}
    ):
        return False
    at.whole["text"] = {"status": "generated", "div": at.random.choice(_NARRATIVES)}
    return True


def _narrative_good(at: At) -> bool:
    if at.parent is not at.whole or at.whole["resourceType"] in {"Bundle", "Binary", "Parameters"}:
        return False
    good = (
        '<p class="a">å &amp; &#229; &nbsp;<br/></p>',
        "<table><tr><td>1</td></tr></table>",
        '<a href="https://a.example/x">x</a>',
        "<pre>x</pre><hr/>",
    )
    at.whole["text"] = {"status": "generated", "div": f'<div xmlns="{_XHTML}">{at.random.choice(good)}</div>'}
    return True


_PERIODS = (
    ("2026-02-02", "2026-02-01"),
    ("2026-02-02", "2025-12-24"),
    ("2026", "2024"),
    ("2026-02-02", "2026-02"),
    ("2026-02-02T10:00:00Z", "2026-02-02T09:59:59Z"),
    ("2026-02-02T10:00:00+01:00", "2026-02-02T09:30:00Z"),
    ("2026-02-02T10:00:00Z", "2026-01"),
)


def _period(at: At) -> bool:
    """Two ends in the wrong order, or so close that it depends on the release whether they are."""
    start, end = at.random.choice(_PERIODS)
    return at.element.type == "Period" and at.put({"start": start, "end": end})


def _contact(at: At) -> bool:
    return at.element.type == "ContactPoint" and at.put({"value": "x"})


def _quantity(at: At) -> bool:
    return at.element.type in {"Quantity", "Duration", "Age"} and at.put({"value": 1, "code": "d"})


KINDS: dict[str, Callable[[At], bool]] = {
    "element removed": _remove,
    "one more than allowed": _too_many,
    "repeated in a list": _twice,
    "list for one, one for a list": _list_or_not,
    "value of another JSON type": _other_type,
    "number or boolean in quotes": _quoted,
    "null": _null,
    "empty object, list or text": _empty,
    "empty object in a list": _empty_inside,
    "blank text": _blank,
    "unknown property": _unknown_property,
    "wrong format or no day of the calendar": _format,
    "control character": _control,
    "code outside a required value set": _code,
    "system outside a required value set": _system,
    "code outside an extensible value set": _extensible,
    "concept with text only": _text_only,
    "another value than the fixed one": _fixed,
    "two values of a choice": _both_choices,
    "type that the choice does not have": _other_choice,
    "reference to another type": _reference_target,
    "declared type of a reference": _reference_type,
    "reference that is none, or leads nowhere": _reference_form,
    "contained resource that is not referred to": _contained,
    "extension with an unknown url": _extension_unknown,
    "extension without content": _extension_empty,
    "extension with value and extensions": _extension_full,
    "extension without url": _extension_nameless,
    "extension with a relative url": _extension_relative,
    "extension in a wrong place or with a wrong type": _extension_misplaced,
    "extension with a value of another type": _extension_value,
    "extension with its url changed": _extension_url,
    "unknown modifier extension": _modifier_extension,
    "companion of a wrong form": _companion,
    "id in place of the value": _id_only,
    "reason in place of the value": _absent,
    "id of another element": _id_twice,
    "HL7's definition of a type as profile": _profile,
    "language of the resource": _language,
    "bad narrative": _narrative,
    "good narrative": _narrative_good,
    "period that ends before it begins": _period,
    "contact point without system": _contact,
    "quantity with code without system": _quantity,
}
