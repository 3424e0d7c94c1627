"""Swedish numbers: what is one, and what is not."""

from __future__ import annotations

import unicodedata
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapter.sweden import HsaId, OrganisationNumber, check_person_number, identifier_systems, luhn, person_key

PUBLISHED = [
    *[
        ("personnummer", n)
        for n in ("191212121212", "195009072553", "196101182803", "189002029800", "200302022389", "199002222397")
    ],
    *[
        ("personnummer", n)
        for n in ("199103222395", "199008252398", "197705232382", "199909032386", "199908312391", "200001252386")
    ],
    ("samordningsnummer", "196109732393"),
    ("samordningsnummer", "197010632391"),
    ("nationelltReservnummer", "98240301AA06"),
    ("nationelltReservnummer", "22950606FH20"),
    ("reservnummer.stockholm", "991981000010"),
    ("reservnummer.vgr.lrid", "19810829M071"),
    ("reservnummer.varmland", "19810829SU3A"),
    ("reservnummer.carelink", "198108320014"),
    ("reservnummer.orebro", "19810829TB1F"),
    ("reservnummer.skane", "810829DA1B"),
    ("reservnummer.blekinge", "20200501-AA8A"),
]
TODAY = date(2026, 11, 21)


@pytest.mark.parametrize(("kind", "number"), PUBLISHED)
def test_published_test_numbers_are_numbers_of_their_kind(kind, number):
    assert check_person_number(kind, number, today=TODAY) == ()


@pytest.mark.parametrize(
    "number",
    [
        "1912121212 12", "19121212-1212", "1212121212", "191212121212\n", " 191212121212", "191212121213", "191213121212",
        "191202301212", "190002291234", "171212121212", "２0１９１２１２１２１２１２", "19121212121٢", "", "A91212121212", "205501011234",
    ],
)  # fmt: skip
def test_what_only_looks_like_a_personnummer_is_refused(number):
    with pytest.raises(ValueError, match="personnummer|calendar|come"):
        check_person_number("personnummer", number, today=TODAY)


def test_a_wrong_check_digit_warns_in_test_mode_and_is_refused_in_production():
    assert check_person_number("personnummer", "191212121213", mode="test", today=TODAY) == ("check-digit",)
    with pytest.raises(ValueError, match="check digit"):
        check_person_number("personnummer", "191212121213", today=TODAY)


def test_a_birth_that_has_not_come_is_refused_until_the_day_it_comes():
    with pytest.raises(ValueError, match="has not come"):
        check_person_number("personnummer", "200302022389", today=date(2003, 2, 1))
    assert check_person_number("personnummer", "200302022389", today=date(2003, 2, 2)) == ()


def test_a_samordningsnummer_is_no_personnummer_nor_the_other_way_round():
    with pytest.raises(ValueError, match="form"):
        check_person_number("personnummer", "197010632391", today=TODAY)
    with pytest.raises(ValueError, match="form"):
        check_person_number("samordningsnummer", "191212121212", today=TODAY)


@pytest.mark.parametrize("kind", ["hsaid", "orgnr", "passport", ""])
def test_only_kinds_of_person_number_identify_people(kind):
    with pytest.raises(ValueError, match="kind"):
        check_person_number(kind, "191212121212")


@given(st.sampled_from(PUBLISHED), st.data())
def test_no_other_alphabet_passes_for_ascii(pair, data):
    kind, number = pair
    place = data.draw(st.sampled_from([n for n, sign in enumerate(number) if sign.isdigit()]))
    others = [
        chr(c)
        for c in range(0x80, 0x1FFFF)
        if unicodedata.category(chr(c)) == "Nd" and unicodedata.digit(chr(c)) == int(number[place])
    ]
    changed = number[:place] + data.draw(st.sampled_from(others)) + number[place + 1 :]
    with pytest.raises(ValueError, match="form"):
        check_person_number(kind, changed, mode="test", today=TODAY)


@given(st.from_regex(r"[0-9]{9}", fullmatch=True))
def test_exactly_one_last_digit_satisfies_luhn(digits):
    assert sum(luhn(f"{digits}{last}") for last in range(10)) == 1


@given(st.text(max_size=40))
def test_no_text_makes_the_value_types_crash_or_speak_of_it(text):
    for kind in (HsaId, OrganisationNumber):
        try:
            assert str(kind(text)) == text
        except ValueError as error:
            assert len(text) < 4 or text not in str(error)


@pytest.mark.parametrize("good", ["SE2321000016-A1", "TSTNMT2321000016-105N", "SE165565594230-1000"])
def test_hsa_ids(good):
    assert HsaId(good).same(good.lower())
    assert HsaId(good).is_test == good.startswith("TSTNMT")


@pytest.mark.parametrize(
    "bad",
    [
        "SE232100001-A1",
        "SE2321000016",
        "SE2321000016-",
        "SE2321000016-Å",
        "SE2321000016-" + "A" * 19,
        "se2321000016-A1",
        "SE2321000016-A1\n",
    ],
)
def test_what_is_no_hsa_id(bad):
    with pytest.raises(ValueError, match="HSA-id"):
        HsaId(bad)


def test_one_person_has_one_key_however_the_reserve_number_is_spelt():
    assert person_key("reservnummer.blekinge", "20200501-AA8A") == person_key("reservnummer.blekinge", "20200501AA8A")


def test_every_identifier_system_has_its_own_address():
    addresses = [uri for system in identifier_systems().values() for uri in (system.uri, *system.accept)]
    assert len(addresses) == len(set(addresses))
