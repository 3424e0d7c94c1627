"""
The quick yes: what a profile asks as one JSON Schema, run outside Python. Most values are right, and a plan is walked only
for those that are not, or that the schema cannot tell.

The schema never says yes to what the walk would refuse. What a schema cannot say (invariants of other people's profiles,
profiles of other values and of the targets of references) is walked for every value: the plan's *rest*.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, Final

from jsonschema_rs import Draft202012Validator

from adapter.profiles import Profile, Profiles
from adapter.validation.bindings import Bound
from adapter.validation.holds import Functions
from adapter.validation.own_invariants import OWN, SAID
from adapter.validation.plans import Check, Plan, plan
from adapter.validation.slicing import Json, pattern_schema


@dataclass(frozen=True, slots=True)
class Compiled:
    """
    A profile, ready to judge. ``url``: its canonical, as it is defined; ``resource``: the type of resource that it is for, empty for
    data types.
    """

    url: str
    resource: str
    whole: Plan
    rest: Plan | None
    quick: Draft202012Validator | None

    def rest_of(self, value: Any) -> Plan | None:
        """What is still to be walked of a value; None if nothing is."""
        return self.rest if self.quick is not None and self.quick.is_valid(value) else self.whole


@cache
def compiled(known: Profiles, profile: Profile) -> Compiled:
    """
    A profile, compiled.

    Raises:
        Misconfigured: it slices in a way that cannot be decided here (``profile.slicing``).
    """
    whole = plan(known, profile)
    functions = Functions()
    try:
        quick = functions.validator(rules_of(whole, functions))
    except Unsayable:
        quick = None
    return Compiled(profile.url, profile.type if profile.kind == "resource" else "", whole, _rest(whole), quick)


NEVER: Final[Json] = {"not": {}}
USUAL: Final = frozenset(
    {
        "boolean",
        "code",
        "CodeableConcept",
        "Coding",
        "date",
        "dateTime",
        "Identifier",
        "markdown",
        "Period",
        "Quantity",
        "Reference",
        "string",
        "uri",
    }
)
"""The types of a choice that plain resources use; the others are walked."""


class Unsayable(Exception):
    """A rule that has no form in JSON Schema."""


def literal(types: Iterable[str]) -> str:
    """The regular expression of a relative reference to a resource of these types."""
    return f"^(?:{'|'.join(types)})/[A-Za-z0-9.-]{{1,64}}$"


def _rest(asked: Plan) -> Plan | None:
    """What a schema cannot say of an element and of those below it; None if nothing is left."""
    children = tuple(rest for child in asked.children if (rest := _rest(child)))
    parts = tuple((part, _rest(part.plan)) for part in asked.parts)
    told = any(rest for _, rest in parts)
    checks = tuple(check for check in asked.checks if not _is_own(check))
    targets = asked.targets if _names_profiles(asked) else ()
    if not (children or told or checks or asked.profiles or targets):
        return None
    empty = replace(_bare(asked), parts=(), children=())
    return replace(
        _bare(asked),
        slicing=replace(asked.slicing, rules="open", is_ordered=False),
        parts=tuple(replace(part, plan=rest or empty) for part, rest in parts) if told else (),
        children=children,
        checks=checks,
        profiles=asked.profiles,
        targets=targets,
    )


def _is_own(check: Check) -> bool:
    return check.key in OWN


def _names_profiles(asked: Plan) -> bool:
    return any("/" in target for target in asked.targets)


def _bare(asked: Plan) -> Plan:
    return Plan(asked.id, asked.card, asked.base_name, asked.properties, asked.is_choice, asked.is_list)


def rules_of(asked: Plan, functions: Functions, *, is_plain: bool = False) -> Json:
    """
    What a plan asks of one value, as JSON Schema. ``is_plain``: another schema sees to it that the value has FHIR's structure and
    no primitive a companion. Otherwise a primitive with its extensions is left to the walk. ``functions`` gets what it calls.

    Raises:
        Unsayable: a part of it has no such form.
    """
    if asked.limits:
        raise Unsayable
    rules = [_own(check.key, functions) for check in asked.checks if _is_own(check)]
    if asked.pattern is not None:
        rules.append(pattern_schema(asked.pattern))
    if asked.bound is not None:
        rules.append(coded(asked.bound, functions))
    if asked.targets and not _names_profiles(asked):
        rules.append(
            {"type": "object", "properties": {"reference": {"type": "string", "pattern": literal(asked.targets)}}}
        )
    schema: Json = {} if asked.fixed is None else {"const": asked.fixed}
    if asked.children:
        members = _Members(functions, is_plain)
        for child in asked.children:
            members.add(child)
        schema |= members.schema()
        rules += members.rules
    return schema | ({"allOf": rules} if rules else {})


@dataclass(frozen=True, slots=True)
class _Members:
    """The elements of one object, gathered as rules for it: the rules of each JSON name, the names that are required, and others."""

    functions: Functions
    is_plain: bool
    of: dict[str, list[Json]] = field(default_factory=dict)
    required: set[str] = field(default_factory=set)
    rules: list[Json] = field(default_factory=list)

    def schema(self) -> Json:
        properties = {name: rules[0] if len(rules) == 1 else {"allOf": rules} for name, rules in self.of.items()}
        return {"type": "object", "properties": properties, "required": sorted(self.required)}

    def add(self, asked: Plan) -> None:
        names = [] if asked.high == 0 else _allowed(asked)
        others = [name for name in asked.properties if name not in names]
        self._forbid(
            [name for name in others if not (self.is_plain and asked.is_choice) or asked.properties[name] in USUAL]
        )
        if asked.low:
            self._require(names, asked)
        inner = _both(rules_of(asked, self.functions, is_plain=self.is_plain), _inner_resource(asked))
        for name in names:
            for rule in (*self._values(asked, inner), *self._slices(asked, name)):
                self._ask(name, rule)

    def _ask(self, name: str, rule: Json) -> None:
        self.of.setdefault(name, []).append(rule)
        if not self.is_plain:
            self.of[f"_{name}"] = [NEVER]

    def _forbid(self, names: Sequence[str]) -> None:
        if not self.is_plain:
            every = [each for name in names for each in (name, f"_{name}")]
            self.rules.append({"propertyNames": {"not": {"enum": every}}})
        for name in names if self.is_plain else ():
            self._ask(name, NEVER)

    def _require(self, names: Sequence[str], asked: Plan) -> None:
        for name in names if not self.is_plain else ():
            self._ask(name, {"type": "array", "minItems": 1} if asked.is_list else {"not": {"type": ["null", "array"]}})
        if len(names) == 1:
            self.required.add(names[0])
        else:
            self.rules.append({"anyOf": [{"required": [name]} for name in names]})

    def _values(self, asked: Plan, inner: Json) -> Iterator[Json]:
        """What is asked of the value, or of the items and their number."""
        if not asked.is_list:
            yield from [inner] if inner else []
            return
        least = {"minItems": asked.low} if asked.low > 1 else {}
        most = {} if asked.high is None else {"maxItems": asked.high}
        counted = least | most | ({"items": inner} if inner else {})
        if counted:
            yield counted if self.is_plain else {"type": "array", **counted}

    def _slices(self, asked: Plan, name: str) -> Iterator[Json]:
        """What the slices ask of the items that belong to them; an item belongs to the first slice that takes it."""
        if not asked.parts:
            return
        if not asked.is_list or asked.slicing.is_ordered or asked.slicing.rules == "openAtEnd":
            raise Unsayable
        if not self.is_plain:
            yield {"type": "array"}
        earlier: list[Json] = []
        for part in asked.parts:
            told = part.belongs.schema
            if told is None or part.plan.parts:
                raise Unsayable
            others = [] if part.belongs.is_exclusive else [{"not": each} for each in earlier]
            mine: Json = {"allOf": [told, *others]} if others else told
            if part.plan.low:
                self.required.add(name)
            yield from _members(part.plan, mine)
            if inner := rules_of(part.plan, self.functions, is_plain=self.is_plain):
                yield {"items": {"if": mine, "then": inner}}
            earlier.append(told)
        if asked.slicing.rules == "closed":
            yield {"items": {"anyOf": earlier}}


def _both(one: Json, other: Json) -> Json:
    return {"allOf": [one, other]} if one and other else one or other


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


def _members(part: Plan, mine: Json) -> Iterator[Json]:
    """How many items belong to a slice."""
    if part.low or part.high is not None:
        most = {} if part.high is None else {"maxContains": part.high}
        yield {"contains": mine, "minContains": part.low, **most}


def _own(key: str, functions: Functions) -> Json:
    """One of our invariants, as a schema if it can be said."""
    holds = OWN[key]
    return SAID.get(key) or functions.call(lambda value: not isinstance(value, dict) or holds(value))


def coded(bound: Bound, functions: Functions) -> Json:
    """A coded value that nothing is to be told of: quickly if all of its codes are in the set."""
    told = functions.call(lambda value: bound.judge(value) is None)
    if bound.codes is None or not bound.codes.by_system:
        return told
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
    return {"anyOf": [plain, {"allOf": [{"not": {"required": ["coding"]}}, coding]}, concept, told]}
