"""The strict JSON reader: what it gives, and that everything else is refused with its place and nothing of the content."""

from __future__ import annotations

import json
import time
import tracemalloc
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapter.errors import Invalid, Unreadable
from adapter.wire import Limits
from adapter.wire import json as wire

CANARY = "Kanariefågel"
SMALL = Limits(size=100_000, depth=20, nodes=10_000, names=5)

texts = st.text(st.characters(exclude_categories=["Cs"]))
decimals = st.decimals(allow_nan=False, allow_infinity=False, places=4, min_value=-(10**9), max_value=10**9)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**18), 10**18) | decimals | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=30,
)


@given(values)
def test_what_is_written_reads_back_the_same(value):
    assert wire.read(wire.write(value)) == value
    assert wire.read(wire.canonical(value)) == value


@given(values)
def test_it_agrees_with_the_standard_library_on_what_both_accept(value):
    data = wire.write(value)
    assert wire.read(data) == json.loads(data, parse_float=Decimal)


@given(st.dictionaries(texts, values, max_size=5))
def test_the_canonical_form_does_not_depend_on_the_order_of_keys(value):
    assert wire.canonical(dict(reversed(value.items()))) == wire.canonical(value)


@pytest.mark.parametrize("number", ["1.00", "0.10", "-0", "-0.0", "120", "3.14159265358979", "0.000001"])
def test_a_decimal_keeps_the_form_in_which_it_came(number):
    assert wire.write(wire.read(number.encode())) == number.encode()


def test_an_exponent_keeps_its_value_and_precision():
    read = wire.read(b"[1e2, 1.50e-3]")
    assert read == [Decimal(100), Decimal("0.00150")]
    assert [number.as_tuple() for number in wire.read(wire.write(read))] == [number.as_tuple() for number in read]


def test_integers_are_integers_and_decimals_are_decimals():
    assert [type(number) for number in wire.read(b"[1, 1.0]")] == [int, Decimal]


@pytest.mark.parametrize(
    ("data", "code", "line", "column"),
    [
        (b"", "json", 1, 1),
        (b'{"a":1,\n "b":2,\n "a":3}', "duplicate-key", 3, 2),
        (b'[{"a":[{"b":1,"c":{}}]},\n{"b":0,"\\u0062":1}]', "duplicate-key", 2, 8),
        (b'{"a":{"a":1},"b":[{"a":1},{"a":2}],"a":0}', "duplicate-key", 1, 36),
        (b'{"a":"b","c":"a","d":{"a":1}, "c" :1}', "duplicate-key", 1, 31),
        (b'[{"a":1,"b":2},\n{"a":1,"b":2,"c":3,"d":4,"e":5,"f":6}]', "names", 2, 32),
        (b'{"a":\nNaN}', "constant", 2, 1),
        (b'["NaN", "Infinity", -Infinity]', "constant", 1, 21),
        (b"[" * 21 + b"]" * 21, "depth", 1, 21),
        (b'[\n"[[[[[[{{{{{[[[[[[[[[[[[[[[[[", ' + b'{"a":' * 20 + b"1" + b"}" * 20 + b"]", "depth", 2, 33 + 19 * 5),
        (b"[1,\n" + b"1" * 60 + b"]", "number", 2, 1),
        (b'["1e999", 1e999]', "number", 1, 11),
        (b"[1.0e-999]", "number", 1, 2),
        (b"[1E" + b"9" * 60 + b"]", "number", 1, 2),
        (b'{"a":"\\ud800"}', "surrogate", 1, 7),
        (b'["\\ud83d\\ude00","\\ude00"]', "surrogate", 1, 18),
        (b'["\\\\ud800", "x\\ud83dx"]', "surrogate", 1, 15),
        (b'["\\ud83d\\ud83d\\ude00"]', "surrogate", 1, 3),
        (b"\xef\xbb\xbf{}", "bom", 1, 1),
        (b"\xff\xfe{\x00}\x00", "bom", 1, 1),
        (b'{"a":\n"\xc3\xa5\xff"}', "encoding", 2, 3),
        (b'{"a":"\xed\xa0\x80"}', "encoding", 1, 7),
        (b'{"a":"\xc0\xaf"}', "encoding", 1, 7),
        (b"{} {}", "trailing", 1, 4),
        (b"{}\n\nx", "trailing", 3, 1),
        (b'{"a":01}', "json", 1, 7),
        (b'{"a":1,}', "json", 1, 8),
        (b"{'a':1}", "json", 1, 2),
        (b'{"a":"\n"}', "json", 1, 7),
    ],
)
def test_what_is_not_accepted_is_refused_with_its_line_and_column(data, code, line, column):
    with pytest.raises(Unreadable) as refusal:
        wire.read(data, limits=SMALL)
    fault = refusal.value.first
    assert (fault.code, fault.line, fault.column) == (f"wire.{code}", line, column)


@pytest.mark.parametrize("data", [b"[]", b'"x"', b"1", b"null", b"true"])
def test_a_value_that_is_not_an_object_is_refused_only_where_one_is_required(data):
    wire.read(data)
    with pytest.raises(Unreadable, match=r"wire\.not-an-object"):
        wire.read(data, require_object=True)


def test_a_body_is_refused_by_its_size_before_it_is_looked_at():
    with pytest.raises(Unreadable, match=r"wire\.too-long") as refusal:
        wire.read(b"\xff" * 101, limits=Limits(size=100))
    assert refusal.value.status == 413
    assert dict(refusal.value.first.named) == {"limit": "100"}


def test_too_many_values_are_refused_but_commas_and_brackets_in_strings_are_no_values():
    few = Limits(nodes=100)
    wire.read(json.dumps([',[{\\"' * 500, "\\", ",,,{"]).encode(), limits=few)
    with pytest.raises(Unreadable, match=r"wire\.nodes"):
        wire.read(b"[" + b"1," * 200 + b"1]", limits=few)


@pytest.mark.parametrize("lists", [0, 15, 30], ids=["little else", "as much else as is deep", "much else"])
@given(crowded=st.integers(0, 3), names=st.integers(5, 8))
def test_too_many_names_are_refused_at_the_first_one_too_many_whatever_stands_around_them(lists, crowded, names):
    """Where there is little else they are counted before the text is parsed."""
    objects = [dict.fromkeys("abcde", ":,") for _ in range(4)]
    objects[crowded] = dict.fromkeys("abcdefgh"[:names], ":,")
    text = json.dumps(objects + [[]] * lists).replace("}, ", "},\n")
    if names == 5:
        assert len(wire.read(text.encode(), limits=SMALL)) == 4 + lists
        return
    with pytest.raises(Unreadable, match=r"wire\.names") as refusal:
        wire.read(text.encode(), limits=SMALL)
    fault = refusal.value.first
    assert text.split("\n")[fault.line - 1][fault.column - 1 :].startswith('"f"')


def test_two_hundred_thousand_names_are_refused_in_the_space_of_a_few():
    text = ("{" + ",".join(f'"a{number}":1' for number in range(200_000)) + "}").encode()
    tracemalloc.start()
    with pytest.raises(Unreadable, match=r"wire\.names"):
        wire.read(text)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 2 * len(text)


def test_a_pair_of_surrogates_is_one_character():
    assert wire.read(b'"\\ud83d\\ude00"') == "😀"


def test_half_a_surrogate_pair_is_not_written():
    with pytest.raises(Invalid, match=r"wire\.unwritable"):
        wire.write({"a": "\ud800"})


def hostile_bodies():
    """More than 100 bodies of the kinds that have broken other readers; each holds a canary where content can stand."""
    key = json.dumps(CANARY).encode()
    yield from (b"[" * depth for depth in (21, 100, 1_000, 10_000, 99_000))
    yield from (opening * 15_000 for opening in (b'{"a":', b'[{"a":', b'{"":[', b"[[", b'[{"a":[', b"[\n"))
    yield from (b"[" * n + b"]" * n for n in (21, 64, 999, 5_000, 40_000))
    yield from (
        b'{"%s":1,"%s":2}' % (name, name)
        for name in (b"status", b"", b"\\u0000", b"resourceType", b"a\\\\", b"__proto__")
    )
    yield b'{"status":"active","\\u0073tatus":"inactive"}'
    yield b'{"a":{"b":[{"c":1,"c":' + key + b"}]}}"
    yield b"{" + b",".join(b'"k%d":1' % n for n in range(3_000)) + b',"k7":' + key + b"}"
    yield from (
        b'{"a":%s}' % word
        for word in (
            b"NaN",
            b"-Infinity",
            b"Infinity",
            b"nan",
            b"+1",
            b"0x1",
            b"1_0",
            b".5",
            b"5.",
            b"1e",
            b"--1",
            b"True",
            b"None",
            b"undefined",
        )
    )
    yield from (b"[1e%d]" % exponent for exponent in (309, 999, 9_999, 999_999_999, 10**30))
    yield from (b"[-1.5E-%d]" % exponent for exponent in (309, 4_000, 10**12))
    yield from (b"[" + b"9" * digits + b"]" for digits in (43, 400, 4_301, 90_000))
    yield from (b"[0." + b"3" * digits + b"]" for digits in (50, 5_000))
    yield from (
        b'["%s"]' % half
        for half in (b"\\ud800", b"\\udfff", b"\\ud800\\u0041", b"\\udc00\\ud800", b"x\\uDBFF", b"\\ud800\\\\udc00")
    )
    yield from (bom + b"{}" for bom in (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff"))
    yield from (text.encode(encoding) for text in ('{"a":1}',) for encoding in ("utf-16-le", "utf-16-be", "utf-32"))
    yield from (
        b'{"a":"' + bad + b'"}'
        for bad in (
            b"\x80",
            b"\xc0\x80",
            b"\xe0\x80\x80",
            b"\xf5\x80\x80\x80",
            b"\xed\xa0\x80",
            b"\xff",
            b"\xc3",
            b"\xf4\x90\x80\x80",
        )
    )
    yield from (b'{"a":"' + bytes([control]) + b'"}' for control in range(0x20))
    yield from (b'{"a":"\\%s"}' % escape for escape in (b"x41", b"u12", b"u{41}", b"'", b"0", b"U00000041"))
    yield from (b"{}" + rest for rest in (b"{}", b",", b"\x00", b"]", b"}", b"//x", b"null", key, b"\xc2\xa0"))
    yield from (b'{"a":1' + rest for rest in (b"", b",", b"]", b" b", b',"b"', b',"b":', b",}", b"/*c*/}"))
    yield from (
        b"",
        b" ",
        b"\n\n",
        b"{",
        b"}",
        b"]",
        b'"',
        b"'a'",
        b"{,}",
        b"[,]",
        b"[1 2]",
        b'{"a" 1}',
        b"{1:2}",
        b"{null:1}",
        b"<a/>",
        b"resourceType=Task",
        key[:-1],
    )
    yield b"[" + b"1," * 20_000 + b"1]"
    yield b"[" + b"{}," * 20_000 + b"{}]"
    yield b"[" + b"[]," * 20_000 + b"[]]"
    yield b'"' + b"a" * 200_000 + b'"'
    yield b'"' + b'\\"' * 40_000
    yield b'"' * 90_000
    yield b"\\" * 90_000


HOSTILE = list(hostile_bodies())


def test_there_are_more_than_a_hundred_hostile_bodies():
    assert len(HOSTILE) > 130


@pytest.mark.parametrize("data", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_body_is_refused_quickly_and_without_repeating_it(data):
    started = time.process_time()
    with pytest.raises(Unreadable) as refusal:
        wire.read(data, limits=SMALL)
    assert time.process_time() - started < 0.25
    for fault in refusal.value.faults:
        assert fault.entry.status in (400, 413)
        told = f"{refusal.value!r} {fault} {fault.as_line('sv')} {fault.as_line('en')}"
        assert CANARY not in told
        assert "{" not in fault.says("sv") + fault.says("en")
    assert refusal.value.__cause__ is None
    assert refusal.value.__context__ is None


def test_a_hostile_body_costs_little_memory():
    most = Limits()
    for data in (b"[" * most.size, b"1," * (most.size // 2), b'{"":' * (most.size // 4), b'"' + b"a" * (most.size - 2)):
        tracemalloc.start()
        with pytest.raises(Unreadable):
            wire.read(data, limits=most)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 64 * 1024 * 1024


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data):
    try:
        value = wire.read(data)
    except Unreadable:
        return
    assert wire.read(wire.write(value)) == value
