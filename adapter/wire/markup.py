"""
XML text as a tree, or a refusal: the only XML parser. ``adapter.wire.xml`` turns the tree into a resource.

Whatever lets a text reach outside itself or grow is refused before the parser runs: document types, entities, processing
instructions, any encoding but UTF-8, too many elements, too many attributes on one. Comments are dropped, and the byte order
mark that XML allows before UTF-8 (XML 1.0, section 4.3.3).
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from lxml import etree

from adapter.errors import MOST_FAULTS, Fault, Unreadable
from adapter.wire import LIMITS, Limits
from adapter.wire.places import lines_and_columns

XHTML: Final = "http://www.w3.org/1999/xhtml"
_XML_LANG: Final = "{http://www.w3.org/XML/1998/namespace}lang"
_UTF_16: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, b"<\0", b"\0<")
"""How other encodings begin. XML 1.0, appendix F."""
_DECLARATION: Final = re.compile(
    r"""<\?xml\s+version\s*=\s*["']1\.0["'](\s+encoding\s*=\s*["']utf-8["'])?(\s+standalone\s*=\s*["'](yes|no)["'])?\s*\?>""",
    re.IGNORECASE,
)
_START_TAG: Final = re.compile(r"<!--.*?-->|<!\[CDATA\[.*?\]\]>|(<[^/!?])", re.DOTALL)
_MAYBE_TEXT: Final = re.compile(r">\s*(?:[^\s<]|<!\[CDATA\[)")
_STRAY_TEXT: Final = etree.XPath(
    f"(//*[not(self::h:*)]/text()[normalize-space(.)!=''])[position()<={MOST_FAULTS}]", namespaces={"h": XHTML}
)
_NO_CHARACTER: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_SPECIAL: Final = re.compile('[&<>"\t\n\r]')
_ESCAPES: Final = str.maketrans(
    {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "\t": "&#9;", "\n": "&#10;", "\r": "&#13;"}
)
_TEXT_ESCAPES: Final = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "\r": "&#13;"})

_WHY: Final = {
    "wire.attributes": "limit of this adapter",
    "wire.depth": "limit of this adapter",
    "wire.doctype": "rule of this adapter",
    "wire.encoding": "FHIR http.html#mime-type",
    "wire.instruction": "rule of this adapter",
    "wire.nodes": "limit of this adapter",
    "wire.too-long": "limit of this adapter",
    "wire.resource-type": "FHIR resourcelist.html",
    "wire.xml": "XML 1.0",
}


class RefusedError(Exception):
    """
    Something in a tree or a value that is not accepted: the code, and the element where there is one.

    Every level on the way up puts its own step before ``where``, which becomes a FHIRPath. ``is_unread``: what stands there could
    not be read.
    """

    def __init__(self, code: str, element: Any = None, *, is_unread: bool = False) -> None:
        super().__init__(code)
        self.code = code
        self.element = element
        self.is_unread = is_unread
        self.where = ""

    def below(self, step: str) -> RefusedError:
        self.where = f"{step}.{self.where}" if self.where else step
        return self


@dataclass(frozen=True, slots=True)
class Tree:
    """A parsed text: ``root`` is its lxml element."""

    text: str
    root: Any
    limits: Limits

    def stray_texts(self) -> list[Any]:
        """The elements that hold text, or that text follows, where only XHTML may have any; at most ``MOST_FAULTS``."""
        found = _STRAY_TEXT(self.root) if _MAYBE_TEXT.search(self.text) else ()
        return list(dict.fromkeys(text.getparent() for text in found))

    def faults(self, refused: Sequence[RefusedError]) -> list[Fault]:
        """What was refused in this tree, in the order of the text, with the line and column of each element."""
        offsets = self.offsets_of([each.element for each in refused])
        placed = sorted(zip(offsets, range(len(refused)), refused, strict=True))
        where = lines_and_columns(self.text, [offset for offset, _, _ in placed])
        return [
            _fault(each.code, self.limits, each.where, line, column)
            for (_, _, each), (line, column) in zip(placed, where, strict=True)
        ]

    def offsets_of(self, elements: Sequence[Any]) -> list[int]:
        """Where in the text elements of this tree begin."""
        starts = (match.start() for match in _START_TAG.finditer(self.text) if match[1])
        wanted = set(elements)
        found: dict[Any, int] = {}
        for each, start in zip(self.root.iter("*"), starts, strict=True):
            if each in wanted:
                found[each] = start
                if len(found) == len(wanted):
                    break
        return [found[element] for element in elements]


def parse(data: bytes, *, limits: Limits = LIMITS) -> Tree:
    """
    The tree of an XML text.

    Raises:
        Unreadable: with line and column (in characters, from 1).
    """
    text = _decoded(data, limits)
    _refuse_what_reaches_out(text, limits)
    if text.count("<") - text.count("</") > limits.elements:
        raise Unreadable(_fault("wire.nodes", limits))
    _refuse_crowded_tags(text, limits)
    parser = etree.XMLParser(
        encoding="utf-8",
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        huge_tree=False,
        remove_comments=True,
    )
    try:
        return Tree(text, etree.fromstring(data, parser), limits)
    except etree.XMLSyntaxError as error:
        line, column = error.position
        code = "wire.depth" if "Excessive depth" in error.msg else "wire.xml"  # the parser's own limit is above ours
    raise Unreadable(_fault(code, limits, line=max(line, 1), column=max(column, 1)))


def attribute(value: str) -> str:
    """A text as it stands between the quotes of an attribute."""
    return value.translate(_ESCAPES) if _SPECIAL.search(value) else value


def is_writable(text: str) -> bool:
    """XML can hold every character of this text."""
    return not _NO_CHARACTER.search(text)


def xhtml(element: Any, depth: int) -> str:
    """
    An XHTML element as text in canonical form: its namespace once, double quotes, ``<br/>`` for what is empty.

    Raises:
        RefusedError: another namespace, or nested more than ``depth`` deep.
    """
    parts: list[str] = []
    _write_xhtml(element, depth, f' xmlns="{XHTML}"', parts)
    return "".join(parts)


def _write_xhtml(element: Any, depth: int, namespace: str, parts: list[str]) -> None:
    name = etree.QName(element)
    if depth < 0:
        raise RefusedError("wire.depth", element)
    if name.namespace != XHTML or any(key.startswith("{") and key != _XML_LANG for key in element.keys()):  # noqa: SIM118  iterating an element gives its children
        raise RefusedError("wire.narrative", element)
    attributes = [f' {"xml:lang" if key == _XML_LANG else key}="{attribute(value)}"' for key, value in element.items()]
    parts.append(f"<{name.localname}{namespace}{''.join(attributes)}")
    if not element.text and not len(element):
        parts.append("/>")
        return
    parts.append(f">{(element.text or '').translate(_TEXT_ESCAPES)}")
    for child in element:
        _write_xhtml(child, depth - 1, "", parts)
        parts.append((child.tail or "").translate(_TEXT_ESCAPES))
    parts.append(f"</{name.localname}>")


def _decoded(data: bytes, limits: Limits) -> str:
    if len(data) > limits.size:
        raise Unreadable(_fault("wire.too-long", limits))
    if data.startswith(_UTF_16):
        raise Unreadable(_fault("wire.encoding", limits, line=1, column=1))
    text = data.removeprefix(codecs.BOM_UTF8)
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError as error:
        before = text[: error.start].decode("utf-8")
    raise _unreadable("wire.encoding", before, len(before), limits)


def _refuse_what_reaches_out(text: str, limits: Limits) -> None:
    """Anywhere, also in a comment: what is not read cannot be misread."""
    declaration = _DECLARATION.match(text)
    for mark, code in (("<!DOCTYPE", "wire.doctype"), ("<!ENTITY", "wire.doctype"), ("<?", "wire.instruction")):
        offset = text.find(mark, declaration.end() if declaration else 0)
        if offset >= 0:
            raise _unreadable(code, text, offset, limits)


def _refuse_crowded_tags(text: str, limits: Limits) -> None:
    """Some parsers compare each attribute of an element with all others."""
    for tag in _long(limits.attributes).finditer(text):
        if _crowded(limits.attributes).search(tag[0]):
            raise _unreadable("wire.attributes", text, tag.start(), limits)


@cache
def _long(attributes: int) -> re.Pattern[str]:
    """A tag, with what follows it, that is long enough to have more attributes than that."""
    shortest = len(' a=""') * (attributes + 1)
    return re.compile(rf"<[^<]{{{shortest},}}")


@cache
def _crowded(attributes: int) -> re.Pattern[str]:
    return re.compile(rf"""(?:\s[^\s=<>"']+\s*=\s*(?:"[^"<]*"|'[^'<]*')){{{attributes + 1}}}""")


def _unreadable(code: str, text: str, offset: int, limits: Limits) -> Unreadable:
    ((line, column),) = lines_and_columns(text, [offset])
    return Unreadable(_fault(code, limits, line=line, column=column))


def _fault(code: str, limits: Limits, where: str = "", line: int | None = None, column: int | None = None) -> Fault:
    limit = {
        "wire.attributes": limits.attributes,
        "wire.depth": limits.depth,
        "wire.nodes": limits.elements,
        "wire.too-long": limits.size,
    }.get(code)
    named = () if limit is None else (("limit", str(limit)),)
    return Fault(code, where, _WHY.get(code, "FHIR xml.html"), line, column, named=named)
