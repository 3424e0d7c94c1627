"""Resources made at random from the definitions alone: structurally valid, most invariants kept, every corner reached."""

from __future__ import annotations

from decimal import Decimal
from random import Random
from typing import Any

from hypothesis import strategies as st

from adapter.definitions import Element, Release, Shape, definitions

KNOWN = definitions()
TEXTS = (
    "x",
    "Åsa Öberg",
    "a<b & c>d \"e\" 'f'",
    "line\nline\ttab",
    "  spaced  ",
    "😀 ẞ",
    "&amp;",
    "]]>",
    "1.00",
    "true",
)
DIVS = (
    '<div xmlns="http://www.w3.org/1999/xhtml">text</div>',
    '<div xmlns="http://www.w3.org/1999/xhtml"><p class="a" title="&quot;&lt;">å &amp; <b>b</b> &lt; c<br/>d</p> tail </div>',
    '<div xmlns="http://www.w3.org/1999/xhtml" lang="sv" xml:lang="sv"><table><tr><td colspan="2">1\n2</td><td/></tr></table></div>',
)
PRIMITIVES = {
    "base64Binary": ("QQ==", "QUJD"),
    "boolean": (True, False),
    "canonical": ("http://example.org/a|1.0", "#x"),
    "code": ("a", "a b", "true"),
    "date": ("2026", "2026-02", "2024-02-29"),
    "dateTime": ("2026", "2026-02", "2026-02-28", "2026-02-28T23:59:60Z", "2026-03-29T03:00:00.123+02:00"),
    "decimal": (Decimal("1.00"), Decimal("-0.50"), 7, Decimal("1E-9")),
    "id": ("a", "A-1.b", "f" * 64),
    "instant": ("2026-02-28T12:00:00Z", "2026-10-25T02:30:00.5+01:00"),
    "integer": (0, -5, 2147483647),
    "integer64": ("0", "-5", "9223372036854775807"),
    "markdown": TEXTS,
    "oid": ("urn:oid:1.2.752.129.2.1.3.1",),
    "positiveInt": (1, 2147483647),
    "string": TEXTS,
    "time": ("00:00:00", "23:59:59.999"),
    "unsignedInt": (0, 12),
    "uri": ("urn:x:y", "http://example.org/ö?a=b&c=d"),
    "url": ("https://example.org/x",),
    "uuid": ("urn:uuid:c757873d-ec9a-4326-a141-556f43239520",),
    "xhtml": DIVS,
}

OF_PATTERNS = {
    "all-languages": ("sv", "sv-SE"),
    "currencies": ("SEK",),
    "mimetypes": ("text/plain", "application/fhir+xml"),
    "ucum-units": ("g",),
}
"""Some codes of value sets that hold more than anyone lists."""


class Maker:
    """
    Makes values of a shape. The seed decides everything, ``richness`` how many optional elements there are, and
    ``companions`` whether primitives have ids and extensions.
    """

    def __init__(self, seed: int, richness: float = 0.3, *, companions: bool = True, release: Release = "R4") -> None:
        self.random = Random(seed)
        self.richness = richness
        self.companions = companions
        self.known = definitions(release)

    def resource(self, name: str, level: int = 0) -> dict[str, Any]:
        shape = self.known.shape(name)
        assert shape is not None
        return {"resourceType": name} | self.object(shape, level)

    def object(self, shape: Shape, level: int) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for element in shape.elements:
            if element.min or self.random.random() < self.richness / (1 + level) ** 2:
                self.element(made, element, shape, level)
        if not made.keys() - {"id"}:
            choices = [e for e in shape.elements if e.name not in ("id", "extension", "modifierExtension", "contained")]
            self.element(made, self.random.choice(choices), shape, level)
        if shape.path == "Extension":
            self.either_value_or_extension(made, level)
        return made

    def either_value_or_extension(self, made: dict[str, Any], level: int) -> None:
        for name in [name for name in made if name.lstrip("_").startswith("value") or name == "extension"]:
            del made[name]
        if level < 3 and self.random.random() < 0.2:
            made["extension"] = [self.extension(level + 1)]
        else:
            made["valueCode"] = "a"
            if self.random.random() < 0.5:
                del made["valueCode"]
                element = self.known.element("Extension.value[x]")
                assert element is not None
                self.element(made, element, self.known.shape("Extension"), level + 1)

    def extension(self, level: int) -> dict[str, Any]:
        shape = self.known.shape("Extension")
        assert shape is not None
        return self.object(shape, level)

    def element(self, made: dict[str, Any], element: Element, shape: Shape | None, level: int) -> None:
        if element.is_choice:
            assert shape is not None
            element = shape.properties[self.random.choice(shape.choices[element.name])]
        count = self.random.choice((1, 1, 2, 3)) if element.is_list else 1
        if self.known.is_primitive(element.type):
            self.primitive(made, element, count, level)
        elif element.is_list:
            made[element.name] = [self.value(element, level) for _ in range(count)]
        else:
            made[element.name] = self.value(element, level)

    def value(self, element: Element, level: int) -> Any:
        if element.type == "Resource":
            return self.resource(
                self.random.choice(sorted(self.known.resource_types - {"Bundle", "Parameters"})), level + 2
            )
        shape = self.known.shape_of(element)
        assert shape is not None
        made = self.object(shape, level + 1)
        if element.type == "CodeableConcept" and element.binding and element.binding.strength == "required":
            codes = self.known.codes(element.binding.value_set)
            system = self.random.choice(sorted([*codes.by_system, *codes.patterns]))
            made["coding"] = [*made.get("coding", []), {"system": system, "code": self.code(element, system)}]
        if element.type == "CodeableReference" and "reference" in made.get("reference", {}):
            made["reference"]["reference"] = self.reference(element)
        if element.type == "Reference" and "reference" in made:
            made["reference"] = self.reference(element)
        if element.type == "Reference":
            made = {name: child for name, child in made.items() if name not in ("type", "_type")}
            made = made if made.keys() - {"id"} else {"display": "x"}
        return made

    def reference(self, element: Element) -> str:
        targets = element.types[0].targets or ("Resource",)
        target = self.random.choice(targets)
        if target == "Resource":
            target = "Patient"
        forms = (
            f"{target}/a1",
            f"https://example.org/fhir/{target}/a1/_history/2",
            "urn:uuid:c757873d-ec9a-4326-a141-556f43239520",
            "#",
        )
        return self.random.choice(forms)

    def primitive(self, made: dict[str, Any], element: Element, count: int, level: int) -> None:
        values = [self.literal(element) for _ in range(count)]
        if not self.companions or not self.known.has_companion(element) or self.random.random() > 0.15:
            made[element.name] = values if element.is_list else values[0]
            return
        extras = [
            {"id": "i"} if self.random.random() < 0.3 else {"extension": [self.extension(level + 2)]} for _ in values
        ]
        bound = element.binding is not None and element.binding.strength == "required"
        if not element.is_list:
            made["_" + element.name] = extras[0]
            if self.random.random() < 0.7 or "extension" not in extras[0] or bound:
                made[element.name] = values[0]
            return
        padded = [
            (value, extra) if keep or bound else ((None, extra) if "extension" in extra else (value, None))
            for value, extra, keep in zip(values, extras, self.coins(count), strict=True)
        ]
        columns = {element.name: [value for value, _ in padded], "_" + element.name: [extra for _, extra in padded]}
        made |= {name: column for name, column in columns.items() if any(one is not None for one in column)}

    def coins(self, count: int) -> list[bool]:
        return [self.random.random() < 0.5 for _ in range(count)]

    def literal(self, element: Element) -> Any:
        if element.binding and element.binding.strength == "required" and element.type == "code":
            return self.code(element)
        return self.random.choice(PRIMITIVES[element.type])

    def code(self, element: Element, system: str = "") -> str:
        """A code of the value set that an element requires."""
        assert element.binding is not None
        codes = self.known.codes(element.binding.value_set)
        listed = codes.by_system.get(system, codes.all)
        return self.random.choice(sorted(listed) or OF_PATTERNS[element.binding.value_set.rpartition("/")[2]])


def resources(name: str, richness: float = 0.3) -> st.SearchStrategy[dict[str, Any]]:
    return st.integers(0, 2**32).map(lambda seed: Maker(seed, richness).resource(name))
