"""
The quick yes for whole resources. One JSON Schema for each type, and for the profiles that a resource names, says yes to what
is *plain*: nothing in it is unusual (contained resources, narrative, ids of elements, other people's extensions, primitives
without value), and nothing breaks a rule. Everything else is walked.

The schema never says yes to what the walk would tell of, warnings included. What it cannot say of a plain resource is left:
the profiles of the targets of references, and the invariants of other people's profiles (``rests``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final

from jsonschema_rs import Draft202012Validator

from adapter.definitions import Element, Shape, choice_name
from adapter.profiles import Node, Profile, Profiles
from adapter.validation import extensions, schema
from adapter.validation.bindings import Bound
from adapter.validation.holds import Functions
from adapter.validation.invariants import INVARIANTS, Holds
from adapter.validation.plans import Plan
from adapter.validation.quick import NEVER, USUAL, Unsayable, coded, compiled, literal, rules_of
from adapter.validation.slicing import Json
from adapter.validation.text_rules import ABSOLUTE, TEXT_RULES

_URI_IDENTIFIER: Final[Json] = {
    "if": {"properties": {"system": {"const": "urn:ietf:rfc:3986"}}, "required": ["system"]},
    "then": {"properties": {"value": {"pattern": f"^{ABSOLUTE.pattern}$"}}},
}
_ABSOLUTE_SYSTEM: Final[Json] = {"properties": {"system": {"pattern": f"^{ABSOLUTE.pattern}$"}}}


def _of_type(*types: str) -> Json:
    return {"properties": {"type": {"enum": [*types]}}}


def _exactly_in(part: str, *types: str) -> Json:
    """Entries have this part in Bundles of these types, and in no others."""
    there = {"required": [part]}
    return {"if": _of_type(*types), "then": _entries(there), "else": _entries({"not": there})}


def _entries(rule: Json) -> Json:
    return {"properties": {"entry": {"items": rule}}}


_FORMS: Final[dict[tuple[str, str], list[Json]]] = {
    ("Bundle", "bdl-2"): [{"if": _of_type("searchset"), "else": _entries({"not": {"required": ["search"]}})}],
    ("Bundle", "bdl-3"): [_exactly_in("request", "batch", "transaction", "history")],
    ("Bundle", "bdl-4"): [_exactly_in("response", "batch-response", "transaction-response", "history")],
    ("Bundle", "bdl-7"): [],
    ("Bundle", "bundle.html#bundle-unique"): [],
    ("Bundle.entry", "bdl-5"): [{"anyOf": [{"required": [part]} for part in ("resource", "request", "response")]}],
    ("Bundle.entry", "bdl-8"): [{"properties": {"fullUrl": {"not": {"pattern": "/_history/"}}}}],
    ("Bundle.entry", "bundle.html#fullUrl"): [],
    ("Coding", "datatypes.html#Coding.system"): [_ABSOLUTE_SYSTEM],
    ("Identifier", "datatypes.html#Identifier.system"): [_ABSOLUTE_SYSTEM, _URI_IDENTIFIER],
    ("Quantity", "datatypes.html#Quantity.system"): [_ABSOLUTE_SYSTEM],
    ("Resource", "element.html#id"): [],
}
"""Invariant or rule of the text → schemas that say the same of what is plain; of a Bundle, the walk has looked at its addresses."""
_ASKED_IF: Final[dict[tuple[str, str], Json]] = {
    ("Bundle", "bdl-1"): {"required": ["total"]},
    **{("Bundle", f"bdl-{number}"): _of_type("document") for number in (9, 10, 11)},
    ("Bundle", "bdl-12"): _of_type("message"),
    ("Bundle", "http.html#paging"): {"required": ["link"]},
    **{("DomainResource", f"dom-{number}"): {"required": ["contained"]} for number in (2, 4, 5)},
    ("DomainResource", "references.html#contained"): {"required": ["contained"]},
    ("Meta", "resource.html#Meta"): {"required": ["security"]},
    ("Period", "per-1"): {"required": ["start", "end"]},
    ("Task", "inv-1"): {"required": ["authoredOn", "lastModified"]},
}
"""Invariant or rule of the text → when it may not hold; the function of any other is always called."""

_OFTEN: Final = 20
_MOST_ASKED: Final = 1_000
_times: Final[dict[tuple[Profiles, str, tuple[str, ...]], int]] = {}
"""How often each quick yes has been asked for."""

_Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Plain:
    """``rests``: profile and what is left of it."""

    validator: Draft202012Validator
    rests: tuple[tuple[str, Plan], ...]

    def says_yes(self, resource: Any) -> bool:
        """The resource is plain and breaks no rule of FHIR's, and of its profiles at most what is left."""
        return bool(self.validator.is_valid(resource))


def often(known: Profiles, kind: str, urls: tuple[str, ...]) -> Plain | None:
    """``plain`` for what has been asked for often enough: to make one costs as much as some twenty walks."""
    key = (known, kind, urls)
    times = _times.get(key, 0)
    if times >= _OFTEN:
        return plain(*key)
    if len(_times) > _MOST_ASKED:
        _times.clear()
    _times[key] = times + 1
    return None


@lru_cache(maxsize=256)
def plain(known: Profiles, kind: str, urls: tuple[str, ...]) -> Plain | None:
    """
    The quick yes for a type of resource that is held to these profiles; None if there is none.

    Raises:
        Misconfigured: a profile slices in a way that cannot be decided here (``profile.slicing``).
    """
    profiles = [compiled(known, found) for url in urls if (found := known.named(url))]
    if len(profiles) < len(urls) or any(each.quick is None or each.resource != kind for each in profiles):
        return None
    builder = _Builder(known)
    functions = builder.functions
    try:
        root = builder.group(kind, ())
        rules = [rule for each in profiles if (rule := rules_of(each.whole, functions, is_plain=True))]
    except Unsayable:
        return None
    whole = {"allOf": [root, *rules], "$defs": builder.shapes | schema.primitives(known.base)}
    rests = ((each.url, each.rest) for each in profiles if each.rest)
    return Plain(functions.validator(whole), tuple(rests))


class _Builder:
    """Gathers the shapes that a type of resource reaches, each as strict as the walk or stricter."""

    def __init__(self, known: Profiles) -> None:
        self.known, self.base = known, known.base
        self.functions = Functions()
        self.shapes: dict[str, Json] = {}
        self.unsayable: set[str] = set()

    def group(self, path: str, steps: _Path | None) -> Json:
        """
        The schema of a shape. ``steps``: the names that lead to it from the resource, None inside data types and where
        a group contains itself; only where they are known can it be told which extensions may stand there.
        """
        name = path if steps is None else "/".join((path, *steps))
        if name in self.unsayable:
            raise Unsayable
        if name not in self.shapes:
            self.shapes[name] = {}  # stands for itself while it is made
            try:
                self.shapes[name] = self._object(path, steps)
            except Unsayable:
                self.unsayable.add(name)
                self.shapes[name] = NEVER
                raise
        reference = name.replace("~", "~0").replace("/", "~1")
        return {"$ref": f"#/$defs/{reference}"}

    def _object(self, path: str, steps: _Path | None) -> Json:
        shape = self.base.shape(path)
        if shape is None:
            raise Unsayable
        properties: dict[str, Any] = {}
        if shape.path in self.base.resource_types:
            properties["resourceType"] = {"const": shape.path}
        for element in shape.properties.values():
            try:
                properties[element.name] = self._listed(element, self._element(shape, element, steps))
            except Unsayable:
                continue
        required = [element.name for element in shape.elements if element.min and not element.is_choice]
        if not properties.keys() >= set(required):
            raise Unsayable
        rules = [
            *self._rules(shape.path, [constraint.key for constraint in shape.constraints]),
            *_choices(shape, properties),
        ]
        made: Json = {"type": "object", "properties": properties, "additionalProperties": False, "minProperties": 1}
        named = ["resourceType"] if shape.path in self.base.resource_types else []
        return made | {"required": [*required, *named]} | ({"allOf": rules} if rules else {})

    def _rules(self, path: str, keys: Iterable[str]) -> Iterator[Json]:
        """The invariants that are judged on a shape or element, and the text's rules for it."""
        kept = INVARIANTS[self.base.release]
        owners = self.base.lineage(path) or (path,)
        for owner, key in sorted((owner, key) for key in keys for owner in owners if (owner, key) in kept):
            yield from self._asked((owner, key), kept[owner, key])
        for owner in owners:
            for rule, told in TEXT_RULES.get(owner, ()):
                yield from self._asked((owner, rule), told)

    def _asked(self, rule: tuple[str, str], told: Holds) -> Iterator[Json]:
        """A rule: in its own form, or as a function that is called where it has something to tell."""
        if rule in _FORMS:
            yield from _FORMS[rule]
        elif rule in _ASKED_IF:
            yield {"if": _ASKED_IF[rule], "then": self.functions.call(told)}
        else:
            yield self.functions.call(told)

    def _element(self, shape: Shape, element: Element, steps: _Path | None) -> Json:
        is_resource = shape.path in self.base.resource_types
        if element.path == "Bundle.entry.resource":  # asked for itself
            return {"type": "object"}
        if element.type in ("Resource", "xhtml") or (element.name == "id" and not is_resource):
            raise Unsayable
        if element.name == "modifierExtension" or (element.choice and element.type not in USUAL):
            raise Unsayable
        if element.type == "Extension":
            return self._extensions(shape.path, steps)
        inner = None if steps is None else (*steps, element.name)
        rules = [] if self._is_group(element) else [*self._rules(element.path, [c.key for c in element.constraints])]
        return {"allOf": [self._value(element, inner), *rules]} if rules else self._value(element, inner)

    def _is_group(self, element: Element) -> bool:
        shape = self.base.shape_of(element)
        return shape is not None and shape.path == element.path

    def _value(self, element: Element, steps: _Path | None) -> Json:
        shape = self.base.shape_of(element)
        if shape is None:
            return self._primitive(element.type, schema.primitive_value(self.base, element))
        if element.type == "Reference":
            return self._reference(element.types[0].targets)
        value = self.group(shape.path, steps if shape.path == element.path else None)
        if element.type == "CodeableReference":  # it may lead where the element says
            value = {"allOf": [value, {"properties": {"reference": self._reference(element.types[0].targets)}}]}
        binding = element.binding
        if binding is None or binding.strength not in ("required", "extensible"):
            return value
        if not self.base.has_codes(binding.value_set):
            return value
        bound = Bound(binding.strength, binding.value_set, self.base.codes(binding.value_set), self.base)
        return {"allOf": [value, coded(bound, self.functions)]}

    def _primitive(self, kind: str, value: Json) -> Json:
        """A whole number may not be written as a decimal: FHIR R4 datatypes.html#integer."""
        return {"allOf": [value, self.functions.call(_is_whole)]} if self.base.json_kind(kind) == "integer" else value

    def _reference(self, targets: Sequence[str]) -> Json:
        if any("/" in target for target in targets):
            raise Unsayable
        types = sorted(set(targets) - {"Resource"}) or sorted(self.base.resource_names)
        return {
            "type": "object",
            "properties": {
                "reference": {"type": "string", "pattern": literal(types)},
                "type": {"enum": types},
                "identifier": self.group("Identifier", None),
                "display": {"$ref": "#/$defs/primitive:string"},
            },
            "additionalProperties": False,
            "anyOf": [{"required": [name]} for name in ("reference", "identifier", "display")],
            "not": {"required": ["reference", "type"]},
        }

    def _listed(self, element: Element, value: Json) -> Json:
        if not element.is_list:
            return value
        most: Json = {} if element.max is None else {"maxItems": element.max}
        return {"type": "array", "minItems": 1, "items": value, **most}

    # extensions

    def _extensions(self, path: str, steps: _Path | None) -> Json:
        """Our extensions that may stand in a shape of the resource itself, each as its definition has it."""
        if steps is None:
            raise Unsayable
        parent = (path.partition(".")[0], *steps) if steps else (path,)
        found = {}
        for url in self.known.own:
            profile = self.known.profile(url)
            if profile and profile.type == "Extension" and extensions.may_stand(profile.contexts, self.base, parent):
                try:
                    found[url] = self._extension(url, profile, (*steps, "extension"))
                except Unsayable:
                    continue
        if not found:
            raise Unsayable
        return _by_url(found)

    def _extension(self, url: str, profile: Profile, steps: _Path) -> Json:
        definition = compiled(self.known, profile)
        if definition.rest is not None:
            raise Unsayable
        return {
            "allOf": [
                self._content(url, profile.root, steps),
                rules_of(definition.whole, self.functions, is_plain=True),
            ]
        }

    def _content(self, url: str, node: Node, steps: _Path) -> Json:
        """An extension, or one inside another: its url, and a value or others inside it."""
        made: Json = {"type": "object", "additionalProperties": False}
        value = node.children["value[x]"]
        if value.max != 0:
            properties = {choice_name("value", k.code): self._content_value(k) for k in value.types}
            named = {"url": {"const": url}, **properties}
            return made | {"properties": named, "required": ["url"], "minProperties": 2, "maxProperties": 2}
        parts = node.children["extension"].slices
        inner = {name: self._content(name, part, (*steps, "extension")) for name, part in parts.items()}
        listed = {"type": "array", "minItems": 1, "items": _by_url(inner)}
        return made | {"properties": {"url": {"const": url}, "extension": listed}, "required": ["url", "extension"]}

    def _content_value(self, kind: Any) -> Json:
        if kind.code == "Reference":
            return self._reference(kind.targets)
        if not self.base.is_primitive(kind.code):
            return self.group(kind.code, None)
        return self._primitive(kind.code, {"$ref": f"#/$defs/primitive:{kind.code}"})


def _is_whole(number: Any) -> bool:
    return not isinstance(number, Decimal)


def _by_url(found: Mapping[str, Json]) -> Json:
    """The extension whose url this is."""
    asked = NEVER
    for url, content in found.items():
        asked = {"if": {"properties": {"url": {"const": url}}}, "then": content, "else": asked}
    return asked


def _choices(shape: Shape, properties: Iterable[str]) -> Iterator[Json]:
    """Of each choice at most one name, and one if it is required."""
    known = set(properties)
    for name, names in shape.choices.items():
        there = [each for each in names if each in known]
        for each in there if len(there) > 1 else ():
            others = sorted(set(there) - {each})
            yield {"if": {"required": [each]}, "then": {"propertyNames": {"not": {"enum": others}}}}
        if any(element.name == name and element.min for element in shape.elements):
            yield {"anyOf": [{"required": [each]} for each in there] or [False]}
