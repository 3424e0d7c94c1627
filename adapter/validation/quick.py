"""
The quick yes: what a profile asks as one JSON Schema, run outside Python. Most values are right, and a plan is walked only
for those that are not, or that the schema cannot tell.

The schema never says yes to what the walk would refuse. What a schema cannot say (invariants, profiles of other values,
targets of references) is walked for every value: the plan's *rest*.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from jsonschema_rs import Draft202012Validator, RegexOptions

from adapter.profiles import Profiles
from adapter.validation.bindings import Bound
from adapter.validation.plans import Plan, plan
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
        schema: Json = {"$schema": "https://json-schema.org/draft/2020-12/schema", **_value(whole)}
        quick = Draft202012Validator(schema, pattern_options=RegexOptions(), validate_formats=False)
    except _Unsayable:
        quick = None
    return Compiled(profile.type if profile.kind == "resource" else "", whole, _rest(whole), quick)


class _Unsayable(Exception):
    """A rule that has no form in JSON Schema."""


def _rest(asked: Plan) -> Plan | None:
    """What a schema cannot say of an element and of those below it; None if nothing is left."""
    children = tuple(rest for child in asked.children if (rest := _rest(child)))
    parts = tuple((part, _rest(replace(part.plan, low=0, high=None))) for part in asked.parts)
    told = any(rest for _, rest in parts)
    if not (children or told or asked.checks or asked.profiles or asked.targets):
        return None
    empty = replace(_bare(asked), parts=(), children=())
    return replace(
        _bare(asked),
        slicing=replace(asked.slicing, rules="open", is_ordered=False),
        parts=tuple(replace(part, plan=rest or empty) for part, rest in parts) if told else (),
        children=children,
        checks=asked.checks,
        profiles=asked.profiles,
        targets=asked.targets,
    )


def _bare(asked: Plan) -> Plan:
    return Plan(asked.id, asked.card, asked.base_name, asked.properties, asked.is_choice, asked.is_list)


def _value(asked: Plan) -> Json:
    """One value. A primitive with its extensions is left to the walk, as an object is asked for where there are children."""
    if asked.limits:
        raise _Unsayable
    schema: Json = {}
    if asked.fixed is not None:
        schema["const"] = asked.fixed
    rules = [pattern_schema(asked.pattern)] if asked.pattern is not None else []
    if asked.bound is not None:
        rules.append(_coded(asked.bound))
    if asked.children:
        schema["type"] = "object"
        rules += [rule for child in asked.children for rule in _element(child)]
    return schema | ({"allOf": rules} if rules else {})


def _element(asked: Plan) -> Iterator[Json]:
    """One element, as rules for the object that it stands in."""
    narrowed = asked.is_choice and asked.types is not None
    allowed = [name for name, kind in asked.properties.items() if not narrowed or kind in (asked.types or ())]
    if asked.high == 0:
        yield _absent(asked.properties)
        return
    if asked.is_choice:
        if asked.parts:
            raise _Unsayable
        if others := set(asked.properties) - set(allowed):
            yield _absent(others)
    elif asked.types is not None and not _is_inner_resource(asked):
        raise _Unsayable
    if asked.low:
        yield {"anyOf": [_present(each, asked) for name in allowed for each in (name, f"_{name}")]}
    inner = _value(asked) | ({"properties": _named(asked)} if _is_inner_resource(asked) else {})
    for name in allowed if inner else ():
        values: Json = {"type": "array", "items": inner} if asked.is_list else inner
        yield {"properties": {name: values}, "dependentRequired": {f"_{name}": [name]}}
    for name in allowed:  # more companions than values: walked
        yield {"properties": {f"_{name}": False if asked.is_list else {"not": {"type": "array"}}}}
    yield from _items(asked, allowed[0]) if allowed else ()


def _is_inner_resource(asked: Plan) -> bool:
    return asked.types is not None and "Resource" in asked.properties.values()


def _named(asked: Plan) -> Json:
    return {"resourceType": {"enum": sorted(asked.types or ())}}


def _items(asked: Plan, name: str) -> Iterator[Json]:
    """How many items there are, and what the slices ask of those that belong to them."""
    if not asked.is_list:
        if asked.parts:
            raise _Unsayable
        return
    if asked.low or asked.high is not None or asked.parts:
        yield {"properties": {name: {"type": "array"}}}
    if asked.low > 1:
        yield {"properties": {name: {"minItems": asked.low}}}
    if asked.high is not None:
        yield {"properties": {name: {"maxItems": asked.high}}}
    if asked.slicing.is_ordered or asked.slicing.rules == "openAtEnd":
        raise _Unsayable
    earlier: list[Json] = []
    for part in asked.parts:
        told = part.belongs.schema
        if told is None or part.plan.parts:
            raise _Unsayable
        mine = {"allOf": [told, *({"not": each} for each in earlier)]}
        yield from _counted(part.plan, name, mine)
        inner = _value(part.plan)
        if inner:
            yield {
                "properties": {name: {"items": {"if": mine, "then": inner}}},
                "dependentRequired": {f"_{name}": [name]},
            }
        earlier.append(told)
    if earlier and asked.slicing.rules == "closed":
        yield {"properties": {name: {"items": {"anyOf": earlier}}}}


def _counted(part: Plan, name: str, mine: Json) -> Iterator[Json]:
    if part.low:
        yield {"required": [name], "properties": {name: {"contains": mine, "minContains": part.low}}}
    if part.high is not None:
        yield {"properties": {name: {"contains": mine, "minContains": 0, "maxContains": part.high}}}


def _present(name: str, asked: Plan) -> Json:
    there: Json = {"type": "array", "minItems": 1} if asked.is_list else {"not": {"type": ["null", "array"]}}
    return {"required": [name], "properties": {name: there}}


def _absent(names: Iterable[str]) -> Json:
    return {"not": {"anyOf": [{"required": [each]} for name in sorted(names) for each in (name, f"_{name}")]}}


def _coded(bound: Bound) -> Json:
    if bound.codes is None or not bound.codes.by_system:
        raise _Unsayable
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
