"""
The quick yes: what a profile asks as one JSON Schema, run outside Python. Most values are right, and a plan is walked only
for those that are not, or that the schema cannot tell.

The schema never says yes to what the walk would refuse. What a schema cannot say (invariants, profiles of other values
and of the targets of references) is walked for every value: the plan's *rest*.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from jsonschema_rs import Draft202012Validator

from adapter.profiles import Profiles
from adapter.validation.bindings import Bound
from adapter.validation.plans import Plan, plan
from adapter.validation.schema import validator
from adapter.validation.slicing import Json, pattern_schema


@dataclass(frozen=True, slots=True)
class Compiled:
    """A profile, ready to judge. ``resource``: the type of resource that it is for; empty for data types."""

    resource: str
    whole: Plan
    rest: Plan | None
    quick: Draft202012Validator | None

    def rest_of(self, value: Any) -> Plan | None:
        """What is still to be walked of a value; None if nothing is."""
        return self.rest if self.quick is not None and self.quick.is_valid(value) else self.whole


@cache
def compiled(known: Profiles, url: str) -> Compiled | None:
    """
    The profile with this canonical, compiled; None if it is not known.

    Raises:
        Misconfigured: it slices in a way that cannot be decided here (``profile.slicing``).
    """
    profile = known.profile(url)
    if profile is None:
        return None
    whole = plan(known, profile)
    try:
        quick = validator(rules_of(whole))
    except Unsayable:
        quick = None
    return Compiled(profile.type if profile.kind == "resource" else "", whole, _rest(whole), quick)


class Unsayable(Exception):
    """A rule that has no form in JSON Schema."""


def literal(types: Iterable[str]) -> str:
    """The regular expression of a relative reference to a resource of these types."""
    return f"^(?:{'|'.join(types)})/[A-Za-z0-9.-]{{1,64}}$"


def _rest(asked: Plan) -> Plan | None:
    """What a schema cannot say of an element and of those below it; None if nothing is left."""
    children = tuple(rest for child in asked.children if (rest := _rest(child)))
    parts = tuple((part, _rest(replace(part.plan, low=0, high=None))) for part in asked.parts)
    told = any(rest for _, rest in parts)
    targets = asked.targets if _names_profiles(asked) else ()
    if not (children or told or asked.checks or asked.profiles or targets):
        return None
    empty = replace(_bare(asked), parts=(), children=())
    return replace(
        _bare(asked),
        slicing=replace(asked.slicing, rules="open", is_ordered=False),
        parts=tuple(replace(part, plan=rest or empty) for part, rest in parts) if told else (),
        children=children,
        checks=asked.checks,
        profiles=asked.profiles,
        targets=targets,
    )


def _names_profiles(asked: Plan) -> bool:
    return any("/" in target for target in asked.targets)


def _bare(asked: Plan) -> Plan:
    return Plan(asked.id, asked.card, asked.base_name, asked.properties, asked.is_choice, asked.is_list)


def rules_of(asked: Plan) -> Json:
    """
    What a plan asks of one value, as JSON Schema. A primitive with its extensions is left to the walk, as an object is asked for
    where there are children.

    Raises:
        Unsayable: a part of it has no such form.
    """
    if asked.limits:
        raise Unsayable
    schema: Json = {}
    if asked.fixed is not None:
        schema["const"] = asked.fixed
    rules = [pattern_schema(asked.pattern)] if asked.pattern is not None else []
    if asked.bound is not None:
        rules.append(coded(asked.bound))
    if asked.targets and not _names_profiles(asked):
        rules.append({"properties": {"reference": {"type": "string", "pattern": literal(asked.targets)}}})
    if asked.children:
        schema["type"] = "object"
        rules += [rule for child in asked.children for rule in _element(child)]
    return schema | ({"allOf": rules} if rules else {})


def _element(asked: Plan) -> Iterator[Json]:
    """One element, as rules for the object that it stands in."""
    if asked.high == 0:
        yield _absent(asked.properties)
        return
    names = _allowed(asked)
    if others := asked.properties.keys() - names:
        yield _absent(others)
    if asked.low:
        yield {"anyOf": [_present(each, asked) for name in names for each in (name, f"_{name}")]}
    inner = rules_of(asked) | _inner_resource(asked)
    for name in names:
        # More companions than values, and a companion alone where something is asked of the value: walked.
        companion: Json | bool = {"not": {"type": "array"}} if not asked.is_list else False
        value: Json = {"type": "array", "items": inner} if asked.is_list else inner
        rule: Json = {"properties": {name: value if inner else True, f"_{name}": companion}}
        yield rule | ({"dependentRequired": {f"_{name}": [name]}} if inner else {})
        yield from _counted(asked, name) if asked.is_list else ()
        yield from _slices(asked, name)


def _allowed(asked: Plan) -> list[str]:
    """The JSON names that a profile leaves to an element: of a choice, those of its types."""
    if asked.types is None or _inner_resource(asked):
        return [*asked.properties]
    if not asked.is_choice:
        raise Unsayable
    return [name for name, kind in asked.properties.items() if kind in asked.types]


def _inner_resource(asked: Plan) -> Json:
    if asked.types is None or "Resource" not in asked.properties.values():
        return {}
    return {"properties": {"resourceType": {"enum": sorted(asked.types)}}}


def _counted(asked: Plan, name: str) -> Iterator[Json]:
    if asked.low or asked.high is not None or asked.parts:
        most = {} if asked.high is None else {"maxItems": asked.high}
        yield {"properties": {name: {"type": "array", "minItems": asked.low, **most}}}


def _slices(asked: Plan, name: str) -> Iterator[Json]:
    """What the slices ask of the items that belong to them; an item belongs to the first slice that takes it."""
    if not asked.parts:
        return
    if not asked.is_list or asked.slicing.is_ordered or asked.slicing.rules == "openAtEnd":
        raise Unsayable
    earlier: list[Json] = []
    for part in asked.parts:
        told = part.belongs.schema
        if told is None or part.plan.parts:
            raise Unsayable
        others = [] if part.belongs.is_exclusive else [{"not": each} for each in earlier]
        mine: Json = {"allOf": [told, *others]} if others else told
        yield from _members(part.plan, name, mine)
        if inner := rules_of(part.plan):
            yield {"properties": {name: {"items": {"if": mine, "then": inner}}}}
        earlier.append(told)
    if asked.slicing.rules == "closed":
        yield {"properties": {name: {"items": {"anyOf": earlier}}}}


def _members(part: Plan, name: str, mine: Json) -> Iterator[Json]:
    if part.low:
        yield {"required": [name], "properties": {name: {"contains": mine, "minContains": part.low}}}
    if part.high is not None:
        yield {"properties": {name: {"contains": mine, "minContains": 0, "maxContains": part.high}}}


def _present(name: str, asked: Plan) -> Json:
    there: Json = {"type": "array", "minItems": 1} if asked.is_list else {"not": {"type": ["null", "array"]}}
    return {"required": [name], "properties": {name: there}}


def _absent(names: Iterable[str]) -> Json:
    return {"propertyNames": {"not": {"enum": [each for name in sorted(names) for each in (name, f"_{name}")]}}}


def coded(bound: Bound) -> Json:
    if bound.codes is None or not bound.codes.by_system:
        raise Unsayable
    coding = {
        "anyOf": [
            {
                "type": "object",
                "required": ["system", "code"],
                "properties": {"system": {"const": system}, "code": {"enum": sorted(codes)}},
            }
            for system, codes in bound.codes.by_system.items()
        ]
    }
    every = {"type": "array", "minItems": 1, "items": coding}  # another one might have a code that its system has not
    concept: Json = {"type": "object", "required": ["coding"], "properties": {"coding": every}}
    plain = {"type": "string", "enum": sorted(bound.codes.all)}
    return {"anyOf": [plain, {"allOf": [{"not": {"required": ["coding"]}}, coding]}, concept]}
