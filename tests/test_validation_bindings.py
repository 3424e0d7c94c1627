"""What is said of a coded value, by what it is, what it is bound to and what is known of the codes."""

from __future__ import annotations

import pytest

from adapter.definitions import Codes
from adapter.validation.bindings import Bound

WHOLE, PART, TAGS, UNKNOWN = "urn:whole", "urn:part", "urn:tags", "urn:unknown"
ABSENT = {"extension": [{"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": "unknown"}]}


class Systems:
    """Of one system every code is known."""

    def system(self, url):
        return frozenset({"in", "out"}) if url == WHOLE else None


CODES = Codes({WHOLE: frozenset({"in"}), PART: frozenset({"listed"})}, {TAGS: "[a-z]{2}"})


def said(value, strength="required", codes=CODES):
    return Bound(strength, "urn:set", codes, Systems()).judge(value)


def coding(system, code=None, **more):
    return {name: each for name, each in (("system", system), ("code", code)) if each is not None} | more


RIGHT = [coding(WHOLE, "in"), coding(PART, "listed"), coding(TAGS, "sv")]
OUTSIDE = [coding(WHOLE, "out"), coding(PART, "other"), coding(UNKNOWN, "in"), coding(TAGS, "SV"), coding(None, "in")]
WITHOUT_CODE = [coding(PART), coding(TAGS), coding(UNKNOWN), coding(WHOLE, _code=ABSENT)]
ODD = [coding(TAGS, 1), coding(PART, ["listed"]), coding([WHOLE], "in")]
FALSE = [coding(WHOLE, "none"), coding(WHOLE), coding(WHOLE, 1)]


def forms(one):
    """Everything that holds a coding: itself, as a Quantity has it too, a concept, a reference that may be a concept."""
    concept = {"coding": [one]}
    return [
        one,
        {"value": 1, **one},
        concept,
        {"concept": concept},
        {"concept": concept, "reference": {"display": "x"}},
    ]


@pytest.mark.parametrize("strength", ["required", "extensible"])
@pytest.mark.parametrize(
    ("ones", "required", "extensible"),
    [
        (RIGHT, None, None),
        (OUTSIDE + WITHOUT_CODE + ODD, ("fhir.code", "error"), ("fhir.code-extensible", "warning")),
        (FALSE, ("fhir.code-unknown", "error"), ("fhir.code-unknown", "error")),
    ],
)
def test_a_coding_is_judged_alike_in_every_form(ones, required, extensible, strength):
    for one in ones:
        for form in forms(one):
            assert said(form, strength) == (required if strength == "required" else extensible), form


def test_of_several_codings_one_must_be_in_the_set_and_none_may_be_false():
    for strength in ("required", "extensible"):
        for other in OUTSIDE + WITHOUT_CODE:
            assert said({"coding": [other, RIGHT[0]]}, strength) is None
        for other in FALSE:
            assert said({"coding": [RIGHT[0], other]}, strength) == ("fhir.code-unknown", "error")


@pytest.mark.parametrize(
    "value",
    [{"text": "x"}, {"coding": []}, {"coding": "x"}, {"coding": [None, "x"]}, {"concept": {"text": "x"}}, {}, 1, None],
)
def test_what_has_no_code_breaks_only_a_binding_that_is_required(value):
    assert said(value) == ("fhir.code", "error")
    assert said(value, "extensible") is None


def test_a_text_is_one_of_the_codes_of_any_system_or_has_the_form_of_one():
    assert [said(text) for text in ("in", "listed", "sv")] == [None] * 3
    assert said("out") == ("fhir.code", "error")
    assert said("out", "extensible") == ("fhir.code-extensible", "warning")


def test_a_code_of_a_form_is_of_that_form_as_a_whole():
    for text in ("svx", "sv-SE", " sv", "sv\n"):
        assert said(text) == said(coding(TAGS, text)) == ("fhir.code", "error")


def test_where_the_codes_are_not_known_that_is_said_of_codes_alone():
    for one in RIGHT + OUTSIDE + WITHOUT_CODE:
        assert said(one, codes=None) == ("fhir.value-set-unknown", "warning")
    assert said(FALSE[0], codes=None) == ("fhir.code-unknown", "error")
    assert said({"text": "x"}, codes=None) is None
