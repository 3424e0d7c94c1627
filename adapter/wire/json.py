"""
The strict JSON reader and writer: the only JSON parser for bodies.

Parsers disagree on what RFC 8259 leaves open: repeated keys, NaN, depth, huge numbers, half surrogate pairs, a byte order
mark. Two systems that read the same bytes differently can be made to see different consents, so all of it is refused.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable
from decimal import Decimal
from functools import cache
from itertools import accumulate
from typing import Any, Final, Never

import msgspec

from adapter.errors import Fault, Invalid, Unreadable
from adapter.wire import LIMITS, Limits

_TOKEN: Final = re.compile(
    r'"(?P<text>[^"\\]*(?:\\.[^"\\]*)*)"(?P<colon>[ \t\r\n]*:)?'
    r"|(?P<bracket>[{}\[\]])"
    r"|(?P<constant>-?(?:NaN|Infinity))"
    r"|(?P<number>-?[0-9][0-9.eE+-]*)"
)
_NOT_MARKS: Final = bytes(set(range(256)) - set(b'{}[],"'))
_QUOTED: Final = re.compile(rb'"[^"]*"?')
_STEPS: Final = {ord("{"): 1, ord("["): 1, ord("}"): -1, ord("]"): -1}
_ONE_KIND: Final = bytes.maketrans(b"{}", b"[]")
_SEARCHED: Final = 1024 * 1024
_OF_KEYS: Final = ("wire.duplicate-key", "wire.names")
_ESCAPE: Final = re.compile(r"\\(?:u([0-9a-fA-F]{4})|.)", re.DOTALL)
_HIGH, _LOW = range(0xD800, 0xDC00), range(0xDC00, 0xE000)
_BOMS: Final = (codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)

_PLAIN: Final = msgspec.json.Encoder(decimal_format="number")
_SORTED: Final = msgspec.json.Encoder(decimal_format="number", order="sorted")


class _RefusedError(Exception):
    """What a hook raises inside the parser; the code alone, the place is looked for afterwards."""


def read(data: bytes, *, limits: Limits = LIMITS, require_object: bool = False) -> Any:
    """
    The value that a JSON text stands for: dict, list, str, int, Decimal (``1.00`` keeps its zeros), bool or None.

    ``require_object`` refuses a text whose value is not an object.

    Raises:
        Unreadable: with the line and column (in characters, from 1) of the first thing that is not accepted: more than
            ``limits``, a byte order mark, bytes that are not UTF-8, wrong syntax, anything after the value, a key twice
            in one object, NaN or Infinity, half a surrogate pair.

    Source: RFC 8259; FHIR R4 json.html.
    """
    text = _text(data, limits)
    _check_size(data, text, limits)
    try:
        value = _decoder(limits).decode(text)
    except json.JSONDecodeError as error:
        code, offset = ("wire.trailing" if error.msg == "Extra data" else "wire.json"), error.pos
    except _RefusedError as refused:
        code, offset = str(refused), _offset(text, str(refused), limits)
    except RecursionError:
        code, offset = "wire.depth", _offset(text, "wire.depth", limits)
    else:
        if require_object and not isinstance(value, dict):
            raise _unreadable("wire.not-an-object", text, 0, limits)
        if "\\u" in text and (half := _half_surrogate(text)) is not None:
            raise _unreadable("wire.surrogate", text, half, limits)
        return value
    raise _unreadable(code, text, offset, limits)


def write(value: Any) -> bytes:
    """
    The JSON text of a value as ``read`` gives it: UTF-8, no white space, keys in their order, decimals as they are.

    Raises:
        Invalid: the value holds half a surrogate pair.
    """
    return _encoded(_PLAIN, value)


def canonical(value: Any) -> bytes:
    """As ``write``, with the keys of every object in code point order: the same bytes for equal values. For digests."""
    return _encoded(_SORTED, value)


def _encoded(encoder: msgspec.json.Encoder, value: Any) -> bytes:
    try:
        return encoder.encode(value)
    except UnicodeEncodeError:
        fault = Fault("wire.unwritable", why="RFC 3629, section 3")
    raise Invalid(fault)


def _text(data: bytes, limits: Limits) -> str:
    if len(data) > limits.size:
        raise Unreadable(Fault("wire.too-long", why="limit of this adapter", named=(("limit", str(limits.size)),)))
    if data.startswith(_BOMS):
        raise Unreadable(Fault("wire.bom", why="RFC 8259, section 8.1", line=1, column=1))
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8")
    raise _unreadable("wire.encoding", before, len(before), limits)


def _check_size(data: bytes, text: str, limits: Limits) -> None:
    """Depth and number of values, before the parser spends stack and memory on them; of names if there is little else."""
    opened, commas = data.count(b"{") + data.count(b"["), data.count(b",")
    if opened <= limits.depth and opened + commas <= limits.nodes:
        if commas >= limits.names < data.count(b":") and (offset := _offset(text, "wire.names", limits)) >= 0:
            raise _unreadable("wire.names", text, offset, limits)
        return
    skeleton = _skeleton(data)
    brackets = skeleton.replace(b",", b"")
    if len(skeleton) - len(brackets) // 2 > limits.nodes:
        raise Unreadable(Fault("wire.nodes", why="limit of this adapter", named=(("limit", str(limits.nodes)),)))
    if _may_be_deeper(brackets, limits.depth) and _depth(brackets) > limits.depth:
        raise _unreadable("wire.depth", text, _offset(text, "wire.depth", limits), limits)


def _may_be_deeper(brackets: bytes, depth: int) -> bool:
    """Taking away what is innermost, so many times, leaves something: it is deeper, or the brackets do not match."""
    left = brackets.translate(_ONE_KIND)
    for _ in range(depth):
        if not left:
            return False
        left = left.replace(b"[]", b"")
    return bool(left)


def _depth(brackets: bytes) -> int:
    return max(accumulate(map(_STEPS.__getitem__, brackets)), default=0)


def _skeleton(data: bytes) -> bytes:
    """The brackets and commas that stand outside strings; right as far as the text is JSON."""
    if b"\\" in data:
        data = data.replace(rb"\\", b"").replace(rb"\"", b"")
    marks = data.translate(None, delete=_NOT_MARKS).replace(b'""', b"")
    return _QUOTED.sub(b"", marks) if b'"' in marks else marks


def _half_surrogate(text: str) -> int | None:
    """The offset of an escape that is half of a surrogate pair, or None."""
    high: int | None = None
    end = -1
    for escape in _ESCAPE.finditer(text):
        point = int(escape[1], 16) if escape[1] else 0
        paired = high is not None and escape.start() == end and point in _LOW
        if high is not None and not paired:
            return high
        if point in _LOW and not paired:
            return escape.start()
        high = escape.start() if point in _HIGH else None
        end = escape.end()
    return high


@cache
def _decoder(limits: Limits) -> json.JSONDecoder:
    return json.JSONDecoder(
        object_pairs_hook=_object(limits),
        parse_float=_number(limits, Decimal),
        parse_int=_number(limits, lambda text: int(text) if text != "-0" else Decimal(text)),
        parse_constant=_constant,
    )


def _object(limits: Limits) -> Callable[[list[tuple[str, Any]]], dict[str, Any]]:
    most = limits.names

    def made(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) == len(pairs) <= most:
            return found
        raise _RefusedError("wire.names" if len(pairs) > most else "wire.duplicate-key")

    return made


def _number(limits: Limits, convert: Callable[[str], int | Decimal]) -> Callable[[str], int | Decimal]:
    def number(text: str) -> int | Decimal:
        if not limits.allow_number(text):
            raise _RefusedError("wire.number")
        return convert(text)

    return number


def _constant(_: str) -> Never:
    raise _RefusedError("wire.constant")


def _offset(text: str, code: str, limits: Limits) -> int:
    """Where the thing stands that the parser refused with this code; -1 if it is past what is worth searching."""
    frames: list[set[str] | None] = []
    for token in _TOKEN.finditer(text, 0, _SEARCHED):
        opened = token["bracket"]
        if opened in ("{", "["):
            frames.append(set() if opened == "{" else None)
            if code == "wire.depth" and len(frames) > limits.depth:
                return token.start()
        elif opened and frames:
            frames.pop()
        elif code in _OF_KEYS and token["colon"] and frames and (keys := frames[-1]) is not None:
            key = json.loads(f'"{token["text"]}"') if "\\" in token["text"] else token["text"]
            if key in keys if code == "wire.duplicate-key" else len(keys) == limits.names:
                return token.start()
            keys.add(key)
        elif (code == "wire.constant" and token["constant"]) or (
            code == "wire.number" and token["number"] and not limits.allow_number(token["number"])
        ):
            return token.start()
    return -1


def _unreadable(code: str, text: str, offset: int, limits: Limits) -> Unreadable:
    if offset < 0:
        return Unreadable(Fault(code, why=_SOURCES[code], named=_named(code, limits)))
    line, column = text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset)
    return Unreadable(Fault(code, line=line, column=column, why=_SOURCES[code], named=_named(code, limits)))


def _named(code: str, limits: Limits) -> tuple[tuple[str, str], ...]:
    limit = {"wire.depth": limits.depth, "wire.names": limits.names, "wire.number": limits.digits}.get(code)
    return () if limit is None else (("limit", str(limit)),)


_SOURCES: Final = {
    "wire.constant": "RFC 8259, section 6",
    "wire.depth": "limit of this adapter",
    "wire.duplicate-key": "RFC 8259, section 4",
    "wire.encoding": "RFC 8259, section 8.1",
    "wire.json": "RFC 8259",
    "wire.names": "limit of this adapter",
    "wire.not-an-object": "FHIR json.html",
    "wire.number": "limit of this adapter",
    "wire.surrogate": "RFC 8259, section 8.2",
    "wire.trailing": "RFC 8259, section 2",
}
