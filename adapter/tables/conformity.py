"""
Tables against the profiles that their resources say they follow.

What the rows write together is laid beside the snapshot, once for each code that they can write: every path, type, code,
constant and system is held to the element and to each slice that it stands in, and to FHIR's own where the snapshot goes no
deeper. What a profile requires beyond FHIR, some row writes for everyone; what it names, some row writes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from adapter.definitions import Binding, Element, Type
from adapter.domain import Category
from adapter.errors import Fault
from adapter.profiles import CANONICAL, EXTENSION, Node, Profile, Profiles
from adapter.tables.model import CodeTable, Path, Role, Row, Step, Table
from adapter.tables.sample import ANY, CODED, Sample, Written, places, samples
from adapter.validation.bindings import Bound
from adapter.validation.own_invariants import OWN, SAID
from adapter.validation.slicing import Item, Surroundings, belongs, contains
from adapter.validation.text_rules import ABSOLUTE

_ADDRESSED: Final = frozenset({"Coding", "Identifier"})
_ALONE: Final = Surroundings(lambda _: None, lambda *_: False)
"""A sample has nobody around it."""


@dataclass
class _Named:
    """The slices of a profile whose element a table writes, and those among them that something written stands in."""

    slices: dict[int, Node] = field(default_factory=dict)
    reached: set[int] = field(default_factory=set)

    def note(self, slices: Iterable[Node], reached: Iterable[Node]) -> None:
        self.slices |= {id(part): part for part in slices}  # extensions have parts of the same id
        self.reached |= {id(part) for part in reached}

    @property
    def missed(self) -> list[Node]:
        return [part for key, part in self.slices.items() if key not in self.reached]


def faults(tables: Sequence[Table], known: Profiles, *, has_overlay: bool) -> Iterator[Fault]:
    """
    All that tables would write against a profile, or not write that it names. ``has_overlay``: a region's own codes stand beside
    the slices that are told by ours, and need not be in a value set that may be extended.
    """
    parties = {table.name: table.focus for table in tables}
    named: dict[str, _Named] = {}
    for table in tables:
        for role in table.roles:
            for member in _members(table, role):
                url = role.profile_of({role.profile_field: member})
                profile = known.profile(url)
                if profile is None:
                    yield _fault(table.name, role.name, "no such profile", url, known)
                elif profile.type != role.name:
                    yield _fault(table.name, role.name, f"the profile is one of {profile.type}", url, known)
                else:
                    seen = named.setdefault(url, _Named())
                    yield from _Conformity(table, profile, known, parties, seen, has_overlay).faults(role, member)
    for url, seen in named.items():
        for part in seen.missed:
            if part.min > 0 or not has_overlay:
                why = "the profile names this slice, and nothing that the rows write stands in it"
                yield _fault("", part.id, why, url, known)


def unpublished(tables: Iterable[CodeTable], known: Profiles) -> Iterator[Fault]:
    """The code tables of our own systems, also those that no row writes, with codes that are not in them."""
    for table in tables:
        system = table.systems[0]
        if system.startswith(CANONICAL) and not {*table.keys.values()} <= (known.system(system) or frozenset()):
            yield Fault("mapping.profile", f"codes/{table.name}.toml", f"a code is not in its code system: {system}")


def _members(table: Table, role: Role) -> Iterable[str]:
    """The values of the field that the profile depends on; one empty one if it depends on none."""
    named = table.model.model_fields.get(role.profile_field)
    kind = named.annotation if named else None
    return tuple(kind) if isinstance(kind, type) and issubclass(kind, StrEnum) else ("",)


def _fault(table: str, where: str, why: str, url: str, known: Profiles) -> Fault:
    told = f"{why}: {url.removeprefix(EXTENSION)} in {known.release}"
    return Fault("mapping.profile", f"{table} {where}".strip(), told, profile=url)


class _Conformity:
    """One table against one profile of a resource that it makes."""

    def __init__(  # noqa: PLR0913, PLR0917  what it compares, and where it notes what it saw
        self,
        table: Table,
        profile: Profile,
        known: Profiles,
        parties: Mapping[str, str],
        seen: _Named,
        has_overlay: bool,  # noqa: FBT001  as in faults
    ) -> None:
        self.table, self.profile, self.known, self.parties, self.seen = table, profile, known, parties, seen
        self.has_all = not has_overlay
        self.rules = [constraint.key for constraint in profile.root.constraints if constraint.key in SAID]
        self.found: dict[Fault, None] = {}
        self.inside: dict[int, tuple[Node, ...]] = {}
        self.tests: dict[int, Callable[[Item, Surroundings], bool]] = {}

    def faults(self, role: Role, member: str) -> Iterable[Fault]:
        for number, sample in enumerate(samples(self.table, role, member)):
            self.inside = {}
            for written in sample.written:
                if number == 0 or written.codes:  # only codes differ between the samples
                    self._written(sample, written)
            self._rules(sample)
        self._requirements(role)
        return self.found

    def _rules(self, sample: Sample) -> None:
        """The profile's rules that speak of codes alone."""
        stated = sample.stated
        for key in self.rules:
            if not OWN[key](stated):
                self._note(self.profile.type, f"what the rows write breaks the profile's rule {key}")

    def _requirements(self, role: Role) -> None:
        always = {
            path.steps[0].element.choice or path.steps[0].name
            for row in self.table.rows
            if row.category is Category.ADMINISTRATIVE
            for path, _ in places(row)
            if path.role == role.name
        }
        for name, node in self.profile.root.children.items():
            base = self.known.base.element(node.path)
            if node.min > (base.min if base else 0) and name not in always:
                self._note(node.path, "the profile requires it, and no row writes it for everyone")

    def _written(self, sample: Sample, written: Written) -> None:
        path = written.path
        nodes: tuple[Node, ...] = (self.profile.root,)
        for step in path.steps[:-1]:
            if step.slot not in self.inside:
                self.inside[step.slot] = self._item(path, nodes, step, sample.items[step.slot])
            nodes = self.inside[step.slot]
        leaf = path.steps[-1]
        nodes = self._below(path, nodes, leaf, written.value)
        self._form(written.row, path, nodes)
        self._value(path, nodes, leaf.element, written.value)
        if written.codes and leaf.element.type not in CODED:
            self._plain(path, nodes, written.codes)

    def _plain(self, path: Path, nodes: Sequence[Node], table: CodeTable) -> None:
        """Codes that are written without their system are those of the value set's; those that are addresses have none."""
        bindings = [path.leaf.binding, *[node.binding for node in nodes]]
        named = [each.value_set for each in bindings if each and each.strength == "required"]
        allowed = [codes for each in named if (codes := self.known.codes(each)) and not codes.patterns]
        systems = {system for each in allowed for system in each.by_system} or {""}
        if table.systems[0] not in systems:
            self._note(path.text, f"the table {table.name} has not the system whose codes stand here")

    def _item(self, path: Path, nodes: Sequence[Node], step: Step, item: Mapping[str, Any]) -> tuple[Node, ...]:
        """An object on the way: what is fixed of it as a whole, and what its slice writes."""
        found = self._below(path, nodes, step, item)
        self._constants(path, found, item)
        self._system(path, step.element, item)
        self._inner(path, found, step.element, step.pattern or {})
        return found

    def _below(self, path: Path, nodes: Sequence[Node], step: Step, value: Any) -> tuple[Node, ...]:
        """The elements and slices of the snapshot that something written stands in; none where the snapshot goes no deeper."""
        name = step.element.choice or step.name
        found: list[Node] = []
        for node in nodes:
            child = self._child(path, node, name)
            if child is None:
                continue
            if step.element.choice and step.element.type not in {kind.code for kind in child.types}:
                self._note(path.text, f"the profile allows no {step.element.type}")
            found += self._parts(path, child, Item(value, None, step.element.type))
        return tuple(found)

    def _child(self, path: Path, node: Node, name: str) -> Node | None:
        child = node.children.get(name)
        if child is None and node.children:
            self._note(path.text, f"the profile has no element {name} here")
        if child is not None and child.max == 0:
            self._note(path.text, "the profile allows none")
        return child

    def _parts(self, path: Path, node: Node, item: Item) -> Iterator[Node]:
        """An element and those of its slices that an item belongs to; of an extension, what defines it."""
        yield node
        mine = [part for part in node.slices.values() if self._test(node, part)(item, _ALONE)]
        self.seen.note(node.slices.values(), mine)
        for part in mine:
            if part.max == 0:
                self._note(path.text, "the profile allows none")
            definitions = [self.known.profile(url) for kind in part.types for url in kind.profiles]
            yield from [definition.root for definition in definitions if definition] or [part]
        if node.name == "extension" and not mine:
            self._note(path.text, "the profile does not name this extension")

    def _test(self, node: Node, part: Node) -> Callable[[Item, Surroundings], bool]:
        if id(part) not in self.tests:
            self.tests[id(part)] = belongs(self.known, node, part).test
        return self.tests[id(part)]

    def _form(self, row: Row, path: Path, nodes: Sequence[Node]) -> None:
        """Parties and resources stand in references, codes in what is coded or a text, everything else in a primitive."""
        leaf, base = path.leaf, self.known.base
        target = self._target(row)
        if target:
            types = (*leaf.types, *(kind for node in nodes for kind in node.types))
            if leaf.type != "Reference":
                self._note(path.text, "what leads to a resource stands in a Reference")
            elif not all(self._leads(kind, target) for kind in types if kind.code == "Reference"):
                self._note(path.text, f"the profile allows no reference to {target} here")
        elif not base.is_primitive(leaf.type) and not (leaf.type in CODED and (row.codes or row.fixed is not None)):
            self._note(path.text, f"nothing that this row writes is a {leaf.type or 'value'}")

    def _target(self, row: Row) -> str:
        """The type of the resource that a row refers to; empty if it refers to none."""
        party = row.party or next((each.party for each in self.table.fields if each.field_text == row.to), "")
        return self.parties.get(party, row.to) if party else row.to

    def _leads(self, kind: Type, target: str) -> bool:
        profiles = {url: self.known.profile(url) for url in kind.targets}
        return not kind.targets or bool(
            {"Resource", target} & {profile.type if profile else url for url, profile in profiles.items()}
        )

    def _value(self, path: Path, nodes: Sequence[Node], element: Element | None, value: Any) -> None:
        """A value and what is in it, held to its elements and slices."""
        self._constants(path, nodes, value)
        bindings = {node.binding for node in nodes} | {element.binding if element else None}
        for binding in bindings - {None}:
            if binding and not self._is_bound(binding, value):
                self._note(path.text, f"a code is not in the value set {binding.value_set.rpartition('/')[2]}")
        if isinstance(value, dict):
            self._system(path, element, value)
            self._inner(path, nodes, element, value)

    def _inner(self, path: Path, nodes: Sequence[Node], element: Element | None, value: Mapping[str, Any]) -> None:
        shape = self.known.base.shape_of(element) if element else None
        for name, inner in value.items():
            below = shape.properties.get(name) if shape else None
            children = [child for node in nodes if (child := self._child(path, node, name))]
            for one in inner if isinstance(inner, list) else (inner,):
                item = Item(one, None, below.type if below else "")
                self._value(path, [part for child in children for part in self._parts(path, child, item)], below, one)

    def _constants(self, path: Path, nodes: Sequence[Node], value: Any) -> None:
        for node in nodes:
            wanted = node.fixed if node.fixed is not None else node.pattern
            if wanted is not None and not contains(value, wanted):
                self._note(path.text, "the profile fixes another value")

    def _is_bound(self, binding: Binding, value: Any) -> bool:
        """HL7's sets that may be extended are extended by some codes of ours; our own have all of them."""
        is_strict = binding.strength == "required" or (self.has_all and binding.value_set.startswith(CANONICAL))
        codes = self.known.codes(binding.value_set) if is_strict else None
        if codes is None:
            return True
        if value is ANY:
            return bool(codes.patterns) or binding.strength != "required"
        return Bound(binding.strength, binding.value_set, codes, self.known).judge(value) is None

    def _system(self, path: Path, element: Element | None, value: Mapping[str, Any]) -> None:
        system, code = value.get("system"), value.get("code")
        if not isinstance(system, str):
            return
        if element and element.type in _ADDRESSED and not ABSOLUTE.fullmatch(system):
            self._note(path.text, "a system is named by no absolute address")
        whole = self.known.system(system)
        if whole is None and system.startswith(CANONICAL):
            self._note(path.text, "there is no such code system of ours")
        elif whole is not None and isinstance(code, str) and code not in whole:
            self._note(path.text, "a code is not in its code system")

    def _note(self, where: str, why: str) -> None:
        self.found[_fault(self.table.name, where, why, self.profile.url, self.known)] = None
