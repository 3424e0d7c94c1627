"""
Which slice an item of a list belongs to, told by discriminators. FHIR R4 profiling.html#discriminator.

A discriminator of a slice is compiled to a test of one item. What it compares with comes from the slice's own elements:
a fixed value, a pattern, a required binding, a type, a profile, or whether something is there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from adapter.errors import Fault, Misconfigured
from adapter.profiles import Node, Profile, Profiles
from adapter.validation.bindings import Bound

Resolve = Callable[[str], Mapping[str, Any] | None]
"""A reference as it is written → the resource that it leads to, if it is here."""
Conforms = Callable[[Any, str], bool]
"""A resource, and a profile's canonical."""
_STEP: Final = re.compile(
    r"\.?(?:extension\('(?P<url>[^']+)'\)|(?P<call>resolve|ofType)\((?P<type>\w*)\)|(?P<name>\$?\w+))"
)


@dataclass(frozen=True, slots=True)
class Item:
    """One item: its JSON value, what stands beside a primitive under ``_name``, and its type (a resource's is its resourceType)."""

    value: Any
    companion: Any
    type: str

    @property
    def object(self) -> dict[str, Any]:
        """What its child elements stand in; empty if it has none."""
        inner = self.value if isinstance(self.value, dict) else self.companion
        return inner if isinstance(inner, dict) else {}


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What telling slices apart may need beyond the item: where references lead, and who conforms to what."""

    resolve: Resolve
    conforms: Conforms


Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Belongs:
    """
    The test that tells whether an item belongs to a slice, and the JSON Schema that says the same, where there is one.
    ``is_exclusive``: what belongs here belongs to no other slice.
    """

    test: Callable[[Item, Surroundings], bool]
    schema: Json | None = None
    is_exclusive: bool = False


def contains(value: Any, pattern: Any) -> bool:
    """All of a pattern is in a value: each member of an object, and for each item of a list one that matches it."""
    if isinstance(pattern, dict):
        return isinstance(value, dict) and all(
            name in value and contains(value[name], pattern[name]) for name in pattern
        )
    if isinstance(pattern, list):
        return isinstance(value, list) and all(any(contains(each, one) for each in value) for one in pattern)
    return bool(value == pattern) and isinstance(value, bool) == isinstance(pattern, bool)


def belongs(known: Profiles, sliced: Node, part: Node) -> Belongs:
    """
    The test that tells whether an item belongs to a slice.

    Raises:
        Misconfigured: a discriminator of a kind, or along a path, that cannot be decided here (``profile.slicing``).
    """
    slicing = sliced.slicing
    if slicing is None or not slicing.discriminators:
        raise Misconfigured(Fault("profile.slicing", part.id, "no discriminator"))
    tests = [_test(known, part, kind, path) for kind, path in slicing.discriminators]
    return (
        tests[0]
        if len(tests) == 1
        else Belongs(
            lambda item, around: all(each.test(item, around) for each in tests),
            _all_of([each.schema for each in tests]),
        )
    )


def _all_of(schemas: list[Json | None]) -> Json | None:
    told = [schema for schema in schemas if schema is not None]
    return {"allOf": told} if len(told) == len(schemas) else None


def _test(known: Profiles, part: Node, kind: str, path: str) -> Belongs:
    steps = _steps(part, path)
    if kind == "type":
        return _by_type(known, part, steps)
    if kind == "profile":
        return _by_profile(known, part, steps)
    if kind == "exists":
        return _by_existence(known, part, steps)
    if kind in ("value", "pattern"):
        return _by_value(known, part, steps)
    raise Misconfigured(Fault("profile.slicing", part.id, f"discriminator {kind}"))


def _steps(part: Node, path: str) -> tuple[str, ...]:
    """``coding.code`` → two steps; ``$this`` → none; ``extension('u')`` and ``resolve()`` are steps of their own."""
    found: list[str] = []
    end = 0
    while end < len(path):
        step = _STEP.match(path, end)
        if step is None or step["call"] == "ofType":
            raise Misconfigured(Fault("profile.slicing", part.id, "discriminator path"))
        if step["name"] != "$this":
            found.append(step["name"] or step["call"] or f"extension {step['url']}")
        end = step.end()
    return tuple(found)


def _values(item: Item, steps: Sequence[str], around: Surroundings) -> list[Any]:
    """Every value along a path from an item."""
    found = [item.value if item.value is not None else item.companion]
    for step in steps:
        found = [below for value in found for below in _below(value, step, around)]
    return found


def _below(value: Any, step: str, around: Surroundings) -> Iterable[Any]:
    if not isinstance(value, dict):
        return ()
    if step == "resolve":
        target = around.resolve(str(value.get("reference", "")))
        return () if target is None else (target,)
    if step.startswith("extension "):
        listed = value.get("extension", ())
        return [each for each in listed if isinstance(each, dict) and each.get("url") == step.partition(" ")[2]]
    names = [step] if step in value else [name for name in value if _is_choice(name, step)]
    return [one for name in names for one in (value[name] if isinstance(value[name], list) else (value[name],))]


def _is_choice(name: str, stem: str) -> bool:
    return name.startswith(stem) and name[len(stem) : len(stem) + 1].isupper()


def _by_value(known: Profiles, part: Node, steps: tuple[str, ...]) -> Belongs:
    urls = [url for kind in part.types if kind.code == "Extension" for url in kind.profiles]
    if steps == ("url",) and urls:  # an extension's definition is named by its url
        named: Json = {"type": "object", "required": ["url"], "properties": {"url": {"enum": urls}}}
        return Belongs(lambda item, _: item.object.get("url") in urls, named, is_exclusive=True)
    wanted = _wanted(known, part, steps)
    if not wanted:
        raise Misconfigured(Fault("profile.slicing", part.id, "nothing that tells this slice"))
    return Belongs(
        lambda item, around: any(each.test(value) for value in _values(item, steps, around) for each in wanted),
        None if _has_choice(known, part, steps) else _schema_along(steps, [each.schema for each in wanted]),
    )


def _schema_along(steps: Sequence[str], ends: Sequence[Json | None]) -> Json | None:
    """One of the schemas holds at the end of a path; None if one is not known, or the path leads where no schema does."""
    told = [schema for schema in ends if schema is not None]
    if len(told) < len(ends) or any(step.startswith("extension ") or step == "resolve" for step in steps):
        return None
    return _at(steps, told[0] if len(told) == 1 else {"anyOf": told})


def _at(steps: Sequence[str], schema: Json) -> Json:
    """A value at the end of a path is as the schema says, one of the items where there is a list on the way."""
    for step in reversed(steps):
        inner = {"anyOf": [schema, {"type": "array", "contains": schema}]}
        schema = {"type": "object", "required": [step], "properties": {step: inner}}
    return schema


def _has_choice(known: Profiles, part: Node, steps: Sequence[str]) -> bool:
    """A step of the path is a choice, which has no JSON name of its own."""
    ends = [part]
    for step in steps:
        ends = [child for end in ends for child in _children(known, end, step)]
        if any(end.name.endswith("[x]") for end in ends):
            return True
    return False


def pattern_schema(pattern: Any) -> Json:
    """The JSON Schema of what contains a pattern."""
    if isinstance(pattern, dict):
        inner = {name: pattern_schema(each) for name, each in pattern.items()}
        return {"type": "object", "required": [*pattern], "properties": inner}
    if isinstance(pattern, list):
        return {"type": "array", "allOf": [{"contains": pattern_schema(one)} for one in pattern]}
    return {"const": pattern}


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What a value must be for its item to belong to a slice."""

    test: Callable[[Any], bool]
    schema: Json | None


def _wanted(known: Profiles, node: Node, steps: tuple[str, ...]) -> list[_Wanted]:
    """What a value at the end of the path must be: one of these."""
    if node.fixed is not None or node.pattern is not None:
        constants = _along(node.fixed if node.fixed is not None else node.pattern, steps)
        return [_Wanted(_holding(constant), pattern_schema(constant)) for constant in constants]
    if not steps:
        if node.binding is None or node.binding.strength != "required":
            return []
        bound = Bound("required", node.binding.value_set, known.codes(node.binding.value_set), known)
        return [] if bound.codes is None else [_Wanted(lambda value: bound.judge(value) is None, None)]
    return [test for child in _children(known, node, steps[0]) for test in _wanted(known, child, steps[1:])]


def _holding(constant: Any) -> Callable[[Any], bool]:
    return lambda value: contains(value, constant)


def _along(constant: Any, steps: Sequence[str]) -> list[Any]:
    found = [constant]
    for step in steps:
        inner = [each[step] for each in found if isinstance(each, dict) and step in each]
        found = [one for each in inner for one in (each if isinstance(each, list) else [each])]
    return found


def _children(known: Profiles, node: Node, step: str) -> list[Node]:
    """The elements that a step leads to: a child, its slices, or the same in the profile of the node's type."""
    if step.startswith("extension "):
        url = step.partition(" ")[2]
        slices = node.children["extension"].slices.values() if "extension" in node.children else ()
        return [each for each in slices if url in (name for kind in each.types for name in kind.profiles)]
    if step == "resolve":
        return [profile.root for profile in _targets(known, node)]
    child = node.children.get(step) or node.children.get(f"{step}[x]")
    if child is None:
        roots = [profile.root for kind in node.types for url in kind.profiles if (profile := known.profile(url))]
        return [found for root in roots for found in _children(known, root, step)]
    return [child, *child.slices.values()]


def _targets(known: Profiles, node: Node) -> list[Profile]:
    return [profile for kind in node.types for url in kind.targets if (profile := known.profile(url))]


def _by_type(known: Profiles, part: Node, steps: tuple[str, ...]) -> Belongs:
    if steps[-1:] == ("resolve",):
        ends = _ends(known, part, steps[:-1])
        types = {_type_of(known, target) for end in ends for kind in end.types for target in kind.targets}
    else:
        types = {kind.code for end in _ends(known, part, steps) for kind in end.types}
    if not types:
        raise Misconfigured(Fault("profile.slicing", part.id, "no type"))
    if not steps:
        return Belongs(lambda item, _: item.type in types)
    named = _at((*steps, "resourceType"), {"enum": sorted(types)})
    return Belongs(
        lambda item, around: any(
            isinstance(value, dict) and str(value.get("resourceType")) in types
            for value in _values(item, steps, around)
        ),
        None if "resolve" in steps else named,
    )


def _type_of(known: Profiles, target: str) -> str:
    profile = known.profile(target)
    return profile.type if profile else target


def _ends(known: Profiles, node: Node, steps: tuple[str, ...]) -> list[Node]:
    found = [node]
    for step in steps:
        found = [child for each in found for child in _children(known, each, step)]
    return found


def _by_profile(known: Profiles, part: Node, steps: tuple[str, ...]) -> Belongs:
    resolved = steps[-1:] == ("resolve",)
    ends = _ends(known, part, steps[:-1] if resolved else steps)
    urls = {url for end in ends for kind in end.types for url in (kind.targets if resolved else kind.profiles)}
    if not urls:
        raise Misconfigured(Fault("profile.slicing", part.id, "no profile"))
    return Belongs(
        lambda item, around: any(_is(value, url, around) for value in _values(item, steps, around) for url in urls)
    )


def _is(value: Any, url: str, around: Surroundings) -> bool:
    """A value conforms to a profile, or is a resource of the type whose bare name stands for HL7's own definition."""
    if "/" in url:
        return around.conforms(value, url)
    return isinstance(value, dict) and value.get("resourceType") == url


def _by_existence(known: Profiles, part: Node, steps: tuple[str, ...]) -> Belongs:
    ends = _ends(known, part, steps)
    if not ends:
        raise Misconfigured(Fault("profile.slicing", part.id, "no element"))
    expected = any(end.min > 0 for end in ends)
    return Belongs(lambda item, around: bool(_values(item, steps, around)) is expected)
