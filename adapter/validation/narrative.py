"""
What a narrative may hold: FHIR's invariants txt-1 and txt-2, and no script.

The text is checked against a strict grammar, piece by piece; what the grammar does not know is not accepted. Nothing is
parsed into a tree here: that is the work of ``adapter.wire``.
"""

from __future__ import annotations

import html
import re
from typing import Final

from adapter.definitions import Definitions

XHTML: Final = "http://www.w3.org/1999/xhtml"
_PIECE: Final = re.compile(
    r"""<!--(?:(?!--)[\s\S])*-->"""
    r"""|<(?P<name>[a-z][a-z0-9]*)(?P<attributes>(?:\s+[A-Za-z:]+\s*=\s*(?:"[^"<]*"|'[^'<]*'))*)\s*(?P<closed>/?)>"""
    r"""|</(?P<end>[a-z][a-z0-9]*)\s*>"""
    r"""|(?P<text>[^<]+)"""
)
_ATTRIBUTE: Final = re.compile(r"""([A-Za-z:]+)\s*=\s*(?:"([^"]*)"|'([^']*)')""")
_LOOSE_AMPERSAND: Final = re.compile(r"&(?!(?:amp|lt|gt|quot|apos|#[0-9]{1,7}|#x[0-9a-fA-F]{1,6});)")
_SCRIPT: Final = re.compile(r"^(?:java|vb|live)script:|^data:(?!image/)", re.IGNORECASE)
_IGNORED_IN_URLS: Final = re.compile(r"[\x00-\x20\x7f-\xa0]")
_ALWAYS: Final = frozenset({"xml:lang"})
_ADDRESSES: Final = frozenset({"href", "src", "cite", "longdesc"})
_DEEPEST: Final = 64


def broken_rule(known: Definitions, div: str) -> str | None:
    """
    ``txt-1`` if a narrative is not one ``div`` of the XHTML that FHIR allows, ``txt-2`` if it shows nothing; else None.

    Stricter than HL7 in one thing: no address may be a script.
    """
    open_elements: list[str] = []
    shown = False
    position = 0
    while position < len(div):
        piece = _PIECE.match(div, position)
        if piece is None or (position and not open_elements) or not _fits(known, piece, open_elements):
            return "txt-1"
        position = piece.end()
        shown = shown or piece["name"] == "img" or bool(html.unescape(piece["text"] or "").strip())
    if open_elements or not div:
        return "txt-1"
    return None if shown else "txt-2"


def _fits(known: Definitions, piece: re.Match[str], open_elements: list[str]) -> bool:
    """One start tag, end tag, text or comment may stand here; ``open_elements`` is brought up to date."""
    if piece["name"]:
        if not piece["closed"]:
            open_elements.append(piece["name"])
        first = len(open_elements) == (0 if piece["closed"] else 1)
        return len(open_elements) <= _DEEPEST and _allowed(known, piece["name"], piece["attributes"], first=first)
    if piece["end"]:
        return bool(open_elements) and open_elements.pop() == piece["end"]
    text = piece["text"] or ""
    return bool(open_elements) and not _LOOSE_AMPERSAND.search(text) and "]]>" not in text


def _allowed(known: Definitions, name: str, attributes: str, *, first: bool) -> bool:
    elements, names = known.narrative
    found = [(key, double or single) for key, double, single in _ATTRIBUTE.findall(attributes)]
    given = dict(found)
    if len(given) != len(found) or name not in elements:
        return False
    if given.pop("xmlns", None if first else XHTML) != XHTML or (first and name != "div"):
        return False
    return all(key in names | _ALWAYS and _harmless(key, value) for key, value in given.items())


def _harmless(key: str, value: str) -> bool:
    if _LOOSE_AMPERSAND.search(value):
        return False
    return key not in _ADDRESSES or not _SCRIPT.search(_IGNORED_IN_URLS.sub("", html.unescape(value)))
