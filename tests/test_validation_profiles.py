"""Profiles of other people, from a package folder: every kind of rule that a snapshot can hold."""

import json

import pytest
from unhurried import walked

from adapter.definitions import definitions
from adapter.errors import Invalid, Misconfigured
from adapter.profiles import EXTENSION, profiles
from adapter.validation import errors, plain, validate
from adapter.validation.quick import compiled

BASE = "https://example.org/StructureDefinition/"
HL7 = "http://hl7.org/fhir/StructureDefinition/"


def element(path, low=None, high=None, **more):
    """An element of a snapshot; its id is its path unless the path names slices (``Task.input:a.type``)."""
    plain = ".".join(word.partition(":")[0] for word in path.split("."))
    known = definitions("R4").element(plain) if "." in plain else None
    card = (known.min, known.max) if known else (0, None)
    low, high = (card[0] if low is None else low), (card[1] if high is None else high)
    return {"id": path, "path": plain, "min": low, "max": "*" if high is None else str(high), **more}


def with_those_above(elements):
    """A snapshot has every element on the way to each of its elements."""
    found = {}
    for each in elements:
        words = each["id"].split(".")
        for end in range(2, len(words)):
            above = ".".join(words[:end])
            found.setdefault(above, element(above))
        found[each["id"]] = each
    return list(found.values())


def structure(name, kind, *elements, **more):
    return {
        "resourceType": "StructureDefinition", "url": BASE + name, "name": name, "status": "draft", "type": kind, "kind": "resource",
        "abstract": False, "baseDefinition": HL7 + kind, "derivation": "constraint",
        "snapshot": {"element": [element(kind, 0, None), *with_those_above(elements)]}, **more,
    }  # fmt: skip


def extension(name, *elements, context=("element", "Task")):
    found = structure(name, "Extension", *elements, element("Extension.url", fixedUri=BASE + name))
    return found | {"kind": "complex-type", "context": [{"type": context[0], "expression": context[1]}]}


def value_set(name, *systems, **compose):
    includes = [{"system": s, "concept": [{"code": c} for c in codes]} for s, codes in systems]
    return {
        "resourceType": "ValueSet",
        "url": f"https://example.org/ValueSet/{name}",
        "compose": {"include": includes} | compose,
    }


def task(**more):
    return {"resourceType": "Task", "status": "requested", "intent": "order"} | more


class Judge:
    """Tells ``(code, where)`` of what a resource lacks against a profile of a package: the same with the quick yes as without."""

    def __init__(self, package, release="R4"):
        self.package, self.release = package, release

    def __call__(self, resource, name="p", severity="error"):
        asked = {"profiles": [BASE + name] if name else [], "packages": (self.package,)}
        found = validate(resource, self.release, **asked)
        assert set(found) == set(walked(resource, self.release, **asked))
        return {(fault.code, fault.where) for fault in found if fault.severity == severity}

    def quickly(self, resource, name="p"):
        """The quick yes of the profile, and the one of plain resources that are held to it, say yes."""
        known, url = profiles("R4", (self.package,)), BASE + name
        quick, whole = compiled(known, known.profile(url)).quick, plain.plain(known, resource["resourceType"], (url,))
        return quick is not None and quick.is_valid(resource) and whole is not None and whole.says_yes(resource)


@pytest.fixture
def judge(tmp_path):
    """Writes definitions as a package, and gives its judge."""
    folders = iter(range(100))

    def make(*resources, release="R4"):
        folder = tmp_path / str(next(folders)) / "package"
        folder.mkdir(parents=True)
        for number, resource in enumerate(resources):
            (folder / f"{number}.json").write_text(json.dumps(resource), "utf-8")

        return Judge(folder.parent, release)

    return make


def test_a_profile_may_ask_for_more_and_allow_less_than_fhir(judge):
    told = judge(
        structure(
            "p", "Task", element("Task.description", 1, 1), element("Task.note", 0, 1), element("Task.owner", 0, 0)
        )
    )
    assert told(task(description="x", note=[{"text": "a"}])) == set()
    assert told(task()) == {("fhir.missing", "Task.description")}
    assert told(task(description="x", note=[{"text": "a"}, {"text": "b"}])) == {("fhir.too-many", "Task.note")}
    assert told(task(description="x", owner={"reference": "Patient/1"})) >= {("profile.prohibited", "Task.owner")}


def test_every_fault_names_the_profile_and_the_element(judge, tmp_path):
    told = judge(structure("p", "Task", element("Task.description", 1, 1)))
    assert told(task())
    fault, *_ = validate(task(), profiles=[BASE + "p"], packages=(tmp_path / "0",))
    assert fault.profile == BASE + "p"
    assert fault.why == "Task.description 1..1"


RED = {"key": "x", "severity": "error", "human": "x", "expression": "false"}
TO_PATIENT = [{"code": "Reference", "targetProfile": [HL7 + "Patient"]}]


@pytest.mark.parametrize(
    ("more", "changes", "why"),
    [
        ({"path": "Task.note", "low": 2}, {}, "Task.note 2..*"),
        ({"path": "Task.owner", "low": 0, "high": 0}, {"owner": {"display": "x"}}, "Task.owner 0..0"),
        ({"path": "Task.intent", "fixedCode": "plan"}, {}, "Task.intent fixed"),
        ({"path": "Task.intent", "patternCode": "plan"}, {}, "Task.intent pattern"),
        ({"path": "Task.description", "maxLength": 2}, {"description": "abc"}, "Task.description maxLength"),
        ({"path": "Task.owner", "type": TO_PATIENT}, {"owner": {"reference": "Device/1"}}, "Task.owner targets"),
        ({"path": "Task.status", "constraint": [RED]}, {}, "Task.status x"),
        ({"path": "Task.note", "slicing": {"discriminator": [{"type": "exists", "path": "time"}], "rules": "closed"}}, {"note": [{"text": "x"}]}, "Task.note closed"),
        ({"path": "Task.input.value[x]", "type": [{"code": "Period"}, {"code": "date"}]}, {"input": [{"type": {"text": "t"}, "valueString": "x"}]}, "Task.input.value[x] Period or date"),
    ],
)  # fmt: skip
def test_a_fault_says_which_rule_of_the_profile_it_breaks(judge, more, changes, why):
    dated = [element("Task.note:a"), element("Task.note:a.time", 1, 1)] if "slicing" in more else []
    told = judge(structure("p", "Task", element(**more), *dated))
    assert told(task(**changes))
    found = validate(task(**changes), profiles=[BASE + "p"], packages=(told.package,))
    assert why in {fault.why for fault in found if fault.profile == BASE + "p"}


def test_a_required_element_may_be_there_by_its_extensions_alone(judge):
    told = judge(structure("p", "Task", element("Task.description", 1, 1)))
    absent = {"extension": [{"url": HL7 + "data-absent-reason", "valueCode": "unknown"}]}
    assert told(task(_description=absent)) == set()


def test_a_fixed_value_is_that_value_and_a_pattern_is_contained(judge):
    told = judge(
        structure(
            "p", "Task", element("Task.intent", fixedCode="order"),
            element("Task.code", patternCodeableConcept={"coding": [{"system": "urn:s", "code": "a"}]}),
            element("Task.performerType", fixedCodeableConcept={"text": "x"}),
        )
    )  # fmt: skip
    with_more = {
        "coding": [{"system": "urn:t", "code": "b"}, {"system": "urn:s", "code": "a", "display": "A"}],
        "text": "t",
    }
    assert told(task(code=with_more)) == set()
    assert told(task(intent="plan")) == {("profile.value", "Task.intent")}
    assert told(task(code={"coding": [{"system": "urn:s", "code": "b"}]})) == {("profile.value", "Task.code")}
    assert told(task(performerType=[{"text": "x"}, {"text": "x", "id": "1"}])) == {
        ("profile.value", "Task.performerType[1]")
    }


def test_a_choice_may_be_narrowed_to_some_of_its_types(judge):
    told = judge(
        structure("p", "Task", element("Task.input.value[x]", 1, 1, type=[{"code": "string"}, {"code": "Period"}]))
    )
    kind = {"type": {"text": "t"}}
    assert told(task(input=[kind | {"valueString": "x"}, kind | {"valuePeriod": {"start": "2026"}}])) == set()
    assert told(task(input=[kind | {"valueBoolean": True}])) == {("fhir.type", "Task.input[0].value")}


def test_limits_of_length_and_value_hold(judge):
    told = judge(
        structure(
            "p", "Task", element("Task.description", maxLength=3), element("Task.restriction.repetitions", minValueInteger=2, maxValueInteger=4),
            element("Task.authoredOn", minValueDateTime="2020-01-01"),
        )
    )  # fmt: skip
    assert told(task(description="abc", restriction={"repetitions": 4}, authoredOn="2021-01-01")) == set()
    assert told(task(restriction={"repetitions": 2}, authoredOn="2020-01-01")) == set()
    assert told(task(restriction={"repetitions": 1})) == {("profile.limit", "Task.restriction.repetitions")}
    for odd in (task(description=12345), task(restriction={"repetitions": "5"}), task(authoredOn=2019)):
        assert {code for code, _ in told(odd)} == {"fhir.type"}
    assert told(task(description="abcd", restriction={"repetitions": 5}, authoredOn="2019-01-01")) == {
        ("profile.limit", "Task.description"), ("profile.limit", "Task.restriction.repetitions"), ("profile.limit", "Task.authoredOn"),
    }  # fmt: skip


SLICED = {"slicing": {"discriminator": [{"type": "value", "path": "type.coding.code"}], "rules": "open"}}


def inputs(*codes):
    return [{"type": {"coding": [{"system": "urn:s", "code": code}]}, "valueString": "x"} for code in codes]


def sliced(rules="open", *, ordered=False):
    slicing = {"discriminator": [{"type": "value", "path": "type.coding.code"}], "rules": rules, "ordered": ordered}
    return structure(
        "p", "Task", element("Task.input", slicing=slicing),
        element("Task.input:a", 1, 1), element("Task.input:a.type", patternCodeableConcept={"coding": [{"system": "urn:s", "code": "a"}]}),
        element("Task.input:a.value[x]", 1, 1, type=[{"code": "string"}]),
        element("Task.input:b", 0, 1), element("Task.input:b.type.coding.code", 1, 1, fixedCode="b"),
    )  # fmt: skip


def test_slices_are_told_by_fixed_values_and_patterns_and_counted(judge):
    told = judge(sliced())
    assert told(task(input=inputs("a", "b", "c", "c"))) == set()
    assert told(task(input=inputs("b"))) == {("fhir.missing", "Task.input")}
    assert told(task(input=inputs("a", "a"))) == {("fhir.too-many", "Task.input")}
    assert told(task(input=[inputs("a")[0] | {"valueString": None, "valueBoolean": True}])) >= {
        ("fhir.type", "Task.input[0].value")
    }


def test_a_closed_slicing_allows_no_others_and_an_ordered_one_no_other_order(judge):
    assert judge(sliced("closed"))(task(input=inputs("a", "c"))) == {("profile.slice", "Task.input[1]")}
    assert judge(sliced(ordered=True))(task(input=inputs("b", "a"))) == {("profile.order", "Task.input[1]")}
    assert judge(sliced(ordered=True))(task(input=inputs("a", "c", "b"))) == set()
    assert judge(sliced("openAtEnd"))(task(input=inputs("c", "a"))) == {("profile.order", "Task.input[1]")}


def test_slices_are_told_by_type(judge):
    told = judge(
        structure(
            "p", "Task", element("Task.input.value[x]", 1, 1, slicing={"discriminator": [{"type": "type", "path": "$this"}], "rules": "open"}),
            element("Task.input.value[x]:valueString", 0, 1, type=[{"code": "string"}], maxLength=2),
        )
    )  # fmt: skip
    kind = {"type": {"text": "t"}}
    assert told(task(input=[kind | {"valueString": "ab"}, kind | {"valueMarkdown": "abc"}])) == set()
    assert told(task(input=[kind | {"valueString": "abc"}])) == {("profile.limit", "Task.input[0].value")}


def test_slices_are_told_by_whether_something_is_there(judge):
    told = judge(
        structure(
            "p", "Task", element("Task.note", slicing={"discriminator": [{"type": "exists", "path": "time"}], "rules": "open"}),
            element("Task.note:dated", 1, 1), element("Task.note:dated.time", 1, 1), element("Task.note:undated", 0, 1), element("Task.note:undated.time", 0, 0),
        )
    )  # fmt: skip
    assert told(task(note=[{"text": "x", "time": "2026-01-01"}, {"text": "y"}])) == set()
    assert told(task(note=[{"text": "x"}, {"text": "y"}])) == {
        ("fhir.missing", "Task.note"),
        ("fhir.too-many", "Task.note"),
    }


def test_slices_are_told_by_a_required_binding(judge):
    told = judge(
        value_set("ab", ("urn:s", ["a", "b"])),
        structure(
            "p", "Task", element("Task.input", slicing={"discriminator": [{"type": "value", "path": "type"}], "rules": "open"}),
            element("Task.input:ab", 0, 1), element("Task.input:ab.type", 1, 1, binding={"strength": "required", "valueSet": "https://example.org/ValueSet/ab"}),
        ),
    )  # fmt: skip
    assert told(task(input=inputs("a", "c"))) == set()
    assert told(task(input=inputs("a", "b"))) == {("fhir.too-many", "Task.input")}
    assert told(task(input=[KIND | {"valueString": "x"}] * 2)) == set(), "a text is no code"


def by(*discriminators, rules="open", ordered=False):
    """A slicing, by ``(type, path)`` pairs."""
    named = [{"type": kind, "path": path} for kind, path in discriminators]
    return {"slicing": {"discriminator": named, "rules": rules, "ordered": ordered}}


def concept(*codes, system="urn:s"):
    return {"coding": [{"system": system, "code": code} for code in codes]}


def test_an_item_belongs_to_a_slice_that_all_discriminators_tell(judge):
    told = judge(
        structure(
            "p", "Task", element("Task.input", **by(("value", "type.coding.code"), ("value", "type.coding.system"))),
            element("Task.input:a", 1, 1), element("Task.input:a.type", patternCodeableConcept=concept("a")),
        )
    )  # fmt: skip
    assert told(task(input=inputs("a", "b"))) == set()
    assert told.quickly(task(input=inputs("a", "b")))
    for other in (concept("b"), concept("a", system="urn:t")):
        assert told(task(input=[{"type": other, "valueString": "x"}])) == {("fhir.missing", "Task.input")}


def test_an_item_belongs_to_a_slice_that_a_value_tells_together_with_what_is_there(judge):
    told = judge(
        structure(
            "p", "Task", element("Task.note", **by(("value", "text"), ("exists", "time"))),
            element("Task.note:a", 1, 1), element("Task.note:a.text", patternMarkdown="a"), element("Task.note:a.time", 1, 1),
        )
    )  # fmt: skip
    assert told(task(note=[A, A | {"time": "2026-01-01T10:00:00Z"}])) == set()
    assert told(task(note=[A, B | {"time": "2026-01-01T10:00:00Z"}])) == {("fhir.missing", "Task.note")}


def test_an_item_belongs_to_the_first_slice_that_takes_it(judge):
    told = judge(
        structure(
            "p", "Task", element("Task.input", **by(("pattern", "type.coding.code"))),
            element("Task.input:a", 0, 1), element("Task.input:a.type", patternCodeableConcept=concept("a")),
            element("Task.input:b", 1, 1), element("Task.input:b.type", patternCodeableConcept=concept("b")),
            element("Task.input:b.value[x]", type=[{"code": "string"}]),
        )
    )  # fmt: skip
    both = {"type": concept("a", "b"), "valueBoolean": True}
    assert told(task(input=[both])) == {("fhir.missing", "Task.input")}
    assert told(task(input=[both, *inputs("b")])) == set()
    assert told.quickly(task(input=[both, *inputs("b")]))


@pytest.mark.parametrize("kind", ["type", "profile"])
def test_slices_are_told_by_what_a_reference_inside_leads_to(judge, kind):
    types = [{"code": "Reference", "targetProfile": [BASE + "active"]}]
    told = judge(
        structure(
            "p", "Task", element("Task.input", **by((kind, "value.resolve()"))), element("Task.input:a", 1, 1), element("Task.input:a.value[x]", type=types),
        ),
        structure("active", "Patient", element("Patient.active", 1, 1)),
    )  # fmt: skip
    leading = task(input=[KIND | {"valueReference": {"reference": "#x"}}])
    assert told(leading | {"contained": [PATIENT | {"id": "x"}]}) == set()
    assert told(leading | {"contained": [task(id="x")]}) == {("fhir.missing", "Task.input")}


def test_items_of_a_slice_that_a_reference_or_an_extension_tells_are_counted(judge):
    url = "https://elsewhere.example/e"
    told = judge(
        structure(
            "p", "Task", element("Task.basedOn", **by(("value", "resolve().active"))), element("Task.basedOn:a", 0, 1, type=[{"code": "Reference", "targetProfile": [BASE + "active"]}]),
            element("Task.partOf", **by(("type", "resolve()"))), element("Task.partOf:a", 0, 1, type=[{"code": "Reference", "targetProfile": [HL7 + "Task"]}]),
            element("Task.note", **by(("value", f"extension('{url}').value"))), element("Task.note:a", 0, 1), element("Task.note:a.extension", **by(("value", "url"))),
            element("Task.note:a.extension:e", 0, 1, type=[{"code": "Extension", "profile": [url]}]), element("Task.note:a.extension:e.value[x]", fixedString="a"),
        ),
        structure("active", "Patient", element("Patient.active", 1, 1, fixedBoolean=True)),
    )  # fmt: skip
    note = {"text": "x", "extension": [{"url": url, "valueString": "a"}]}
    assert told(task(note=[note, A])) == set()
    assert told(task(note=[note, note])) == {("fhir.too-many", "Task.note")}
    parts = [task(id=each, intent="plan") for each in "xy"]
    assert told(task(partOf=[{"reference": "#x"}, {"reference": "#y"}], contained=parts)) == {
        ("fhir.too-many", "Task.partOf")
    }
    patients = [PATIENT | {"id": each} for each in "xy"]
    assert told(task(basedOn=[{"reference": "#x"}, {"reference": "#y"}], contained=patients)) >= {
        ("fhir.too-many", "Task.basedOn")
    }


def test_a_slice_may_be_told_by_one_of_several_values(judge):
    told = judge(
        structure(
            "p", "Task", element("Task.input", **by(("value", "type.coding"))), element("Task.input:a", 1, 1),
            element("Task.input:a.type.coding", **by(("value", "code"))),
            element("Task.input:a.type.coding:x", patternCoding={"code": "x"}), element("Task.input:a.type.coding:y", patternCoding={"code": "y"}),
        )
    )  # fmt: skip
    for code in "xy":
        assert told(task(input=inputs("z", code))) == set()
        assert told.quickly(task(input=inputs("z", code)))
    assert told(task(input=inputs("z"))) == {("fhir.missing", "Task.input")}


def test_slices_are_told_by_the_value_of_a_choice(judge):
    told = judge(
        structure(
            "p", "Task", element("Task.input", **by(("value", "value"))),
            element("Task.input:a", 1, 1), element("Task.input:a.value[x]", fixedString="a"),
        )
    )  # fmt: skip
    one, other = (KIND | {"valueString": each} for each in "ab")
    assert told(task(input=[one, other])) == set()
    assert told(task(input=[other])) == {("fhir.missing", "Task.input")}
    assert told(task(input=[one, one])) == {("fhir.too-many", "Task.input")}


def test_slices_are_told_by_what_an_extension_says(judge):
    url = "https://elsewhere.example/e"
    told = judge(
        structure("e", "Extension", element("Extension.url", fixedUri=url)) | {"url": url, "kind": "complex-type"},
        structure(
            "p", "Task", element("Task.note", **by(("value", f"extension('{url}').value"))),
            element("Task.note:a", 1, 1), element("Task.note:a.extension", **by(("value", "url"))),
            element("Task.note:a.extension:e", 1, 1, type=[{"code": "Extension", "profile": [url]}]),
            element("Task.note:a.extension:e.value[x]", fixedString="a"),
            element("Task.note:a.extension:f", 0, 1, type=[{"code": "Extension", "profile": [f"{url}/f"]}]),
            element("Task.note:a.extension:f.value[x]", fixedString="b"),
        ),
    )  # fmt: skip

    def note(value, of=url):
        return {
            "text": "x",
            "extension": ["x", {"url": "urn:u", "valueString": "a"}, {"url": of, "valueString": value}],
        }

    assert ("fhir.missing", "Task.note") not in told(task(note=[note("a"), {"text": "y"}]))
    for other in (note("b"), note("a", "urn:u"), {"text": "a"}):
        assert ("fhir.missing", "Task.note") in told(task(note=[other]))


@pytest.mark.parametrize(
    ("kind", "path", "target"),
    [
        ("type", "resolve()", HL7 + "Patient"),
        ("type", "resolve()", BASE + "active"),
        ("profile", "resolve()", HL7 + "Patient"),
        ("profile", "resolve()", BASE + "active"),
        ("value", "resolve().active", BASE + "active"),
    ],
)
def test_slices_are_told_by_what_a_reference_leads_to(judge, kind, path, target):
    told = judge(
        structure(
            "p", "Task", element("Task.basedOn", **by((kind, path))), element("Task.basedOn:a", 1, 1, type=[{"code": "Reference", "targetProfile": [target]}]),
        ),
        structure("active", "Patient", element("Patient.active", 1, 1, fixedBoolean=True)),
    )  # fmt: skip
    group = {"resourceType": "Group", "id": "g", "type": "person", "actual": True, "active": False}
    resource = task(basedOn=[{"reference": "#g"}, {"reference": "#p"}], contained=[group, PATIENT | {"id": "p"}])
    missing = ("fhir.missing", "Task.basedOn")
    assert not {missing, ("fhir.too-many", "Task.basedOn")} & told(resource)
    assert missing in told(task(basedOn=[{"reference": "#g"}], contained=[group]))
    assert missing in told(task(basedOn=[{"reference": "#x"}, {"reference": "Patient/1"}, {"display": "x"}]))


@pytest.mark.parametrize(
    ("discriminator", "path", "given"),
    [
        ("exists", "resource.value", {"valueString": "x"}),
        ("exists", "resource.value", {"valueBoolean": False}),
        ("exists", "resource.note.time", {"note": [{"text": "x"}, {"text": "x", "time": "2026"}]}),
    ],
)
def test_slices_are_told_by_whether_a_choice_or_something_in_a_list_is_there(judge, discriminator, path, given):
    name = path.replace("value", "value[x]")
    told = judge(
        structure(
            "p", "Bundle", element("Bundle.entry", **by((discriminator, path))),
            element("Bundle.entry:with", 1, 1), element("Bundle.entry:with.resource", type=[{"code": "Observation"}]), element(f"Bundle.entry:with.{name}", 1, 1),
        )
    )  # fmt: skip
    bare = {"resourceType": "Observation", "status": "final", "code": {"text": "x"}, "basedOn": [{"display": "x"}]}
    missing = ("fhir.missing", "Bundle.entry")
    assert missing not in told(bundle(("urn:uuid:1", bare), ("urn:uuid:2", bare | given)))
    assert missing in told(bundle(("urn:uuid:1", bare), ("urn:uuid:2", bare)))


def test_an_element_with_a_slice_that_must_be_there_is_one_that_must_be_there(judge):
    url = "https://elsewhere.example/e"
    told = judge(
        structure(
            "p", "Task", element("Task.note", **by(("exists", "extension"))),
            element("Task.note:with", 1, 1), element("Task.note:with.extension", **by(("value", "url"))),
            element("Task.note:with.extension:e", 1, 1, type=[{"code": "Extension", "profile": [url]}]),
        )
    )  # fmt: skip
    with_it = {"text": "x", "extension": [{"url": url, "valueString": "x"}]}
    assert ("fhir.missing", "Task.note") not in told(task(note=[with_it, {"text": "x"}]))
    assert ("fhir.missing", "Task.note") in told(task(note=[{"text": "x"}]))


def test_a_value_of_a_type_with_a_profile_is_held_to_it(judge):
    period = structure("per", "Period", element("Period.start", 1, 1)) | {"kind": "complex-type"}

    def told(*names):
        named = [{"code": "Period", "profile": [BASE + name for name in names]}]
        return judge(period, structure("p", "Task", element("Task.restriction.period", type=named)))

    right, wrong = (task(restriction={"period": {each: "2026"}}) for each in ("start", "end"))
    where = "Task.restriction.period"
    assert told("per")(right) == told("per", "none")(right) == told("none", "per")(right) == set()
    assert told("per")(wrong) == {("fhir.missing", f"{where}.start")}
    assert told("per", "none")(wrong) == told("none", "none")(wrong) == {("profile.none", where)}
    assert told("none")(right) == set()
    assert told("none")(right, severity="warning") == {("profile.unknown", where)}
    assert told("per")(task(restriction={"period": "2026"})) >= {("fhir.type", where)}


def test_a_profile_of_a_resource_is_not_one_of_a_data_type_nor_the_other_way_round(judge):
    per = structure("per", "Period", element("Period.start", 1, 1)) | {"kind": "complex-type"}
    named = [{"code": "Period", "profile": [BASE + "q"]}]
    told = judge(per, structure("q", "Task"), structure("p", "Task", element("Task.restriction.period", type=named)))
    assert told(task(), "per") == {("profile.type", "Task")}
    assert told(task(restriction={"period": {"start": "2026"}})) == {("profile.type", "Task.restriction.period")}
    found = validate(task(), profiles=[BASE + "per"], packages=(told.package,))
    assert [fault.why for fault in found] == ["data type resourceType"]


def patient(**more):
    return {"resourceType": "Patient", "id": "x", "managingOrganization": {"reference": "#o"}} | more


FOLLOWED = [
    structure("p", "Task", element("Task.for", type=[{"code": "Reference", "targetProfile": [BASE + "kept", BASE + "device"]}])),
    structure("kept", "Patient", element("Patient.managingOrganization", 1, 1, type=[{"code": "Reference", "targetProfile": [BASE + "named"]}])),
    structure("device", "Device"),
    structure("named", "Organization", element("Organization.name", 1, 1), element("Organization.active", constraint=[{"key": "w", "severity": "warning", "human": "x", "expression": "$this = true"}])),
]  # fmt: skip


@pytest.mark.parametrize(
    ("organization", "fits"),
    [
        ({"name": "x"}, True),
        ({"name": "x", "active": False}, True),
        ({"active": True}, False),
        ({"active": False}, False),
    ],
)
def test_references_are_followed_inside_what_contains_them_and_warnings_do_not_count(judge, organization, fits):
    told = judge(*FOLLOWED)
    inner = {"resourceType": "Organization", "id": "o"} | organization
    wrong = ("fhir.reference-target", "Task.for.reference")
    assert (wrong in told(task(**{"for": {"reference": "#x"}}, contained=[patient(), inner]))) is not fits
    in_entry = bundle(
        ("urn:uuid:1", task(**{"for": {"reference": "urn:uuid:2"}})), ("urn:uuid:2", patient(contained=[inner]))
    )
    in_entry["entry"][0]["resource"]["meta"] = {"profile": [BASE + "p"]}
    wrong = ("fhir.reference-target", "Bundle.entry[0].resource.for.reference")
    assert (wrong in told(in_entry, "")) is not fits


@pytest.mark.parametrize(
    ("reference", "fits"),
    [
        ("Patient/1", True), ("Patient/1/_history/2", True), ("https://a.example/fhir/Patient/1", True), ("Device/1", True), ("urn:uuid:9", True), ("Patient?x=y", True),
        ("Group/1", False), ("Group/1/_history/2", False), ("https://a.example/fhir/Group/1", False), ("https://a.example/fhir/Group/1/_history/2", False),
    ],
)  # fmt: skip
def test_of_a_reference_that_leads_elsewhere_the_type_is_told(judge, reference, fits):
    told = judge(*FOLLOWED)
    found = told(task(**{"for": {"reference": reference}}))
    assert (("fhir.reference-target", "Task.for.reference") in found) is not fits
    assert told(task(**{"for": {"reference": 1}})) == {("fhir.type", "Task.for.reference")}
    assert told(task(**{"for": "x"})) == {("fhir.type", "Task.for")}


def test_a_resource_of_the_bundle_is_found_by_a_reference_that_does_not_name_its_type(judge):
    told = judge(*FOLLOWED)
    here = task(**{"for": {"reference": "urn:uuid:2"}}, meta={"profile": [BASE + "p"]})
    group = {"resourceType": "Group", "type": "person", "actual": True}
    assert ("fhir.reference-target", "Bundle.entry[0].resource.for.reference") in told(
        bundle(("urn:uuid:1", here), ("urn:uuid:2", group)), ""
    )


def test_a_codeable_reference_leads_to_one_of_its_profiles(judge):
    types = [{"code": "CodeableReference", "targetProfile": [HL7 + "Patient"]}]
    told = judge(structure("p", "Task", element("Task.reason", 0, None, type=types)), release="R5")
    assert told(task(reason=[{"reference": {"reference": "Patient/1"}}, {"concept": {"text": "x"}}])) == set()
    assert told(task(reason=[{"reference": {"reference": "Group/1"}}])) == {
        ("fhir.reference-target", "Task.reason[0].reference.reference")
    }


def test_items_of_a_list_of_primitives_are_counted_with_what_stands_beside_them(judge):
    told = judge(structure("p", "Patient", element("Patient.name.given", 2, 3)))

    def named(**name):
        return {"resourceType": "Patient", "name": [name]}

    beside = {"extension": [{"url": HL7 + "data-absent-reason", "valueCode": "unknown"}]}
    for right in (
        {"given": ["A", "B"]},
        {"given": ["A", None], "_given": [None, beside]},
        {"_given": [beside, beside]},
    ):
        assert told(named(**right)) == set(), right
    for wrong in ({"given": ["A"]}, {"_given": [beside]}, {"family": "A"}):
        assert told(named(**wrong)) == {("fhir.missing", "Patient.name[0].given")}, wrong
    for odd in ({"given": ["A"], "_given": [None, beside, beside]}, {"given": ["A", "B", "C"], "_given": [beside]}):
        assert not {("fhir.missing", "Patient.name[0].given"), ("fhir.too-many", "Patient.name[0].given")} & told(
            named(**odd)
        )
    for given in (["A"], ["A", "B"]):
        many = {"given": given, "_given": [None, None, beside, beside]}
        assert ("fhir.too-many", "Patient.name[0].given") in told(named(**many))


def test_a_choice_is_there_by_what_stands_beside_it(judge):
    told = judge(structure("p", "Task", element("Task.input.value[x]", 1, 1, type=[{"code": "string"}])))
    beside = {"extension": [{"url": HL7 + "data-absent-reason", "valueCode": "unknown"}]}
    assert told(task(input=[KIND | {"_valueString": beside}])) == set()
    assert told(task(input=[KIND | {"_valueCode": beside}])) == {("fhir.type", "Task.input[0].value")}
    assert told(task(input=[KIND | {"valueString": "x", "_valueString": beside}])) == set()


def test_a_slice_may_be_sliced_again(judge):
    told = judge(
        structure(
            "p", "Task", element("Task.input", **by(("value", "type.coding.code"))),
            element("Task.input:a", 0, 3, **by(("value", "type.text"))), element("Task.input:a.type", patternCodeableConcept=concept("a")),
            element("Task.input:a/t", 1, 1, sliceName="a/t"), element("Task.input:a/t.type", patternCodeableConcept={"text": "t"}),
            element("Task.input:a/t.value[x]", type=[{"code": "string"}]),
        )
    )  # fmt: skip
    text = {"type": concept("a") | {"text": "t"}, "valueString": "x"}
    assert told(task(input=[*inputs("a", "b"), text])) == set()
    assert told(task(input=inputs("a"))) == {("fhir.missing", "Task.input")}
    assert told(task(input=[text, text])) == {("fhir.too-many", "Task.input")}
    assert told(task(input=[{"type": text["type"], "valueBoolean": True}])) == {("fhir.type", "Task.input[0].value")}


def test_items_in_order_may_come_again_in_a_row(judge):
    def told(rules, *, ordered):
        slices = [
            each
            for code in "ab"
            for each in (
                element(f"Task.input:{code}", 0, None),
                element(f"Task.input:{code}.type", patternCodeableConcept=concept(code)),
            )
        ]
        return judge(structure("p", "Task", element("Task.input", **by(("value", "type.coding.code"), rules=rules, ordered=ordered)), *slices))  # fmt: skip

    ordered, at_end = told("open", ordered=True), told("openAtEnd", ordered=False)
    assert ordered(task(input=inputs("a", "a", "c", "b", "b"))) == set()
    assert ordered(task(input=inputs("a", "b", "a", "b", "a"))) == {
        ("profile.order", "Task.input[2]"), ("profile.order", "Task.input[4]"),
    }  # fmt: skip
    assert at_end(task(input=inputs("b", "a", "c", "c"))) == set()
    assert at_end(task(input=inputs("b", "c", "a"))) == {("profile.order", "Task.input[2]")}


def bundle(*entries):
    return {
        "resourceType": "Bundle",
        "type": "collection",
        "entry": [{"fullUrl": url, "resource": resource} for url, resource in entries],
    }


PATIENT = {"resourceType": "Patient", "active": True}


def test_entries_are_told_by_the_profile_and_type_of_their_resource(judge):
    by_profile = structure(
        "p", "Bundle", element("Bundle.entry", slicing={"discriminator": [{"type": "profile", "path": "resource"}], "rules": "open"}),
        element("Bundle.entry:active", 1, 1), element("Bundle.entry:active.resource", 1, 1, type=[{"code": "Patient", "profile": [BASE + "active"]}]),
    )  # fmt: skip
    by_type = structure(
        "t", "Bundle", element("Bundle.entry", slicing={"discriminator": [{"type": "type", "path": "resource"}], "rules": "open"}),
        element("Bundle.entry:patient", 1, 1), element("Bundle.entry:patient.resource", 1, 1, type=[{"code": "Patient"}]),
        element("Bundle.entry:patient.resource.active", 1, 1),
    )  # fmt: skip
    active = structure("active", "Patient", element("Patient.active", 1, 1))
    told = judge(by_profile, by_type, active)
    good, lame = (
        bundle(("urn:uuid:1", PATIENT), ("urn:uuid:2", task())),
        bundle(("urn:uuid:1", {"resourceType": "Patient", "gender": "other"})),
    )
    for name in "pt":
        assert not {code for code, _ in told(good, name)} & {"fhir.missing", "fhir.too-many", "profile.none"}
    assert told(lame) >= {("fhir.missing", "Bundle.entry")}
    assert told(lame, "t") >= {("fhir.missing", "Bundle.entry[0].resource.active")}


def test_a_reference_whose_target_is_here_leads_to_one_of_its_profiles(judge):
    told = judge(
        structure("p", "Task", element("Task.for", type=[{"code": "Reference", "targetProfile": [BASE + "active"]}])),
        structure("active", "Patient", element("Patient.active", 1, 1)),
    )
    aim = task(**{"for": {"reference": "#x"}}, contained=[PATIENT | {"id": "x"}])
    assert told(aim) == set()
    assert told(aim | {"contained": [{"resourceType": "Patient", "id": "x", "gender": "male"}]}) == {
        ("fhir.reference-target", "Task.for.reference")
    }
    assert told(task(**{"for": {"reference": "Group/1"}})) == {("fhir.reference-target", "Task.for.reference")}
    assert told(task(**{"for": {"reference": "Patient/1"}})) == set(), "of what is elsewhere only the type can be told"


def test_a_reference_that_fits_no_known_target_is_warned_of_where_another_target_is_not_known(judge):
    def told(*names):
        targets = [name if "/" in name else BASE + name for name in names]
        aimed = element("Task.for", type=[{"code": "Reference", "targetProfile": targets}])
        return judge(structure("p", "Task", aimed), structure("active", "Patient", element("Patient.active", 1, 1)))

    lame = task(**{"for": {"reference": "#x"}}, contained=[{"resourceType": "Patient", "id": "x", "gender": "male"}])
    elsewhere = task(**{"for": {"reference": "Patient/1"}})
    warned = {("profile.unknown", "Task.for.reference")}
    for aim in (lame, elsewhere):
        assert told("none")(aim) == told("active", "none")(lame) == told("none", HL7 + "Group")(aim) == set()
        assert told("none")(aim, severity="warning") == told("none", HL7 + "Group")(aim, severity="warning") == warned
    assert told("active", "none")(lame, severity="warning") == warned
    assert told("active", "none")(elsewhere, severity="warning") == set(), "it may well be the one that is known"
    found = validate(elsewhere, profiles=[BASE + "p"], packages=(told("none", "other").package,))
    assert [fault.why for fault in found] == [f"Task.for {BASE}none or {BASE}other"]


def test_a_resource_is_held_to_the_profiles_that_it_names_wherever_it_stands(judge):
    told = judge(structure("p", "Patient", element("Patient.active", 1, 1)) | {"version": "1.0"})
    lame = {"resourceType": "Patient", "gender": "male", "meta": {"profile": [BASE + "p|1.0"]}}
    assert told(lame, "") == {("fhir.missing", "Patient.active")}
    assert told(bundle(("urn:uuid:12345678-1234-1234-1234-123456789012", lame)), "") == {
        ("fhir.missing", "Bundle.entry[0].resource.active")
    }
    inner = task(**{"for": {"reference": "#x"}}, contained=[lame | {"id": "x"}])
    assert told(inner, "") == {("fhir.missing", "Task.contained[0].active")}


def test_a_profile_of_another_type_of_resource_is_refused(judge):
    told = judge(structure("p", "Patient", element("Patient.active", 1, 1)))
    assert told(task()) == {("profile.type", "Task")}
    assert told(task(meta={"profile": [f"{EXTENSION}met"]}), "") == {("profile.type", "Task")}, (
        "that of an extension too"
    )


def test_what_a_profile_asks_of_a_resource_inside_is_asked_besides_its_type(judge):
    told = judge(
        structure(
            "p",
            "Bundle",
            element("Bundle.entry.resource", type=[{"code": "Patient"}]),
            element("Bundle.entry.resource.active", fixedBoolean=True),
        )
    )
    one = "urn:uuid:12345678-1234-1234-1234-123456789012"
    assert told(bundle((one, PATIENT | {"active": True}))) == set()
    assert told(bundle((one, PATIENT | {"active": False}))) == {("profile.value", "Bundle.entry[0].resource.active")}
    assert ("fhir.type", "Bundle.entry[0].resource") in told(bundle((one, task())))


def test_a_profile_that_is_named_with_a_version_is_that_version_only(judge):
    told = judge(structure("p", "Task", element("Task.description", 1, 1)) | {"version": "1.0"})
    for version, code in (("", "fhir.missing"), ("|1.0", "fhir.missing"), ("|2.0", "profile.unknown")):
        named = task(meta={"profile": [f"{BASE}p{version}"]})
        assert {code for code, _ in told(named, "", "error") | told(named, "", "warning")} == {code}
    other = task(meta={"profile": [f"{EXTENSION}koord-intervention|9.9"]})
    assert told(other, "") == {("profile.unknown", "Task.meta")}


@pytest.mark.parametrize("release", ["R4", "R5"])
def test_no_fault_repeats_what_a_resource_says_of_its_profiles(release):
    canary = "Tolvan-191212121212"
    urls = [
        f"{EXTENSION}koord-task",
        f"{EXTENSION}koord-consent",
        f"{EXTENSION}met",
        f"{HL7}Task",
        f"{HL7}Patient",
        "urn:x",
    ]
    for url in urls:
        for named in (f"{url}|{canary}", f"{url}{canary}", f"{url}#{canary}"):
            found = validate(task(meta={"profile": [named]}, intent="x"), release)
            assert found
            assert canary not in repr(found)


def test_names_of_profiles_that_nobody_knows_are_not_kept():
    known = profiles("R4")
    before = len(known._profiles)
    for number in range(50):
        validate(task(meta={"profile": [f"{EXTENSION}no-such-{number}", f"urn:no-such-{number}|1"]}))
    assert len(known._profiles) == before


def test_a_broken_rule_is_told_in_the_words_of_its_profile(judge, tmp_path):
    rule = {"key": "p-1", "severity": "error", "expression": "false", "human": "Never\nso, " + "and so on, " * 40}
    judge(structure("p", "Task", element("Task.status", constraint=[rule])))
    [fault] = validate(task(), profiles=[BASE + "p"], packages=(tmp_path / "0",))
    assert "Never so, and so on," in fault.says()
    assert len(fault.says()) < 300


def test_a_package_of_another_release_or_without_snapshots_is_refused(judge, tmp_path):
    judge(structure("p", "Task"), structure("bare", "Task"))
    package = tmp_path / "0" / "package"
    manifest = package / "package.json"
    for versions, fits in ((["4.0.1"], True), (["5.0.0"], False), (["5.0.0", "4.0.0"], True), ([], False)):
        manifest.write_text(json.dumps({"name": "p", "fhirVersions": versions}), "utf-8")
        profiles.cache_clear()
        if fits:
            assert not validate(task(), profiles=[BASE + "p"], packages=(package.parent,))
        else:
            with pytest.raises(Misconfigured, match="profile.release"):
                validate(task(), packages=(package.parent,))
    manifest.unlink()
    bare = {key: each for key, each in structure("bare", "Task").items() if key != "snapshot"}
    (package / "1.json").write_text(json.dumps(bare), "utf-8")
    profiles.cache_clear()
    with pytest.raises(Misconfigured, match="profile.snapshot"):
        validate(task(), profiles=[BASE + "bare"], packages=(package.parent,))


def test_a_profile_that_nobody_knows_is_told_and_one_that_is_asked_for_is_refused(judge):
    named = task(
        meta={"profile": ["https://elsewhere.example/p", "https://koord.example/fhir/StructureDefinition/no-such"]}
    )
    assert {(f.code, f.severity) for f in validate(named)} == {
        ("profile.unknown", "warning"),
        ("profile.unknown", "error"),
    }
    with pytest.raises(Invalid) as told:
        validate(task(), profiles=["https://elsewhere.example/p"])
    assert told.value.first.code == "profile.unknown"


def test_an_extension_is_held_to_its_definition_and_its_place(judge):
    told = judge(extension("e", element("Extension.value[x]", 1, 1, type=[{"code": "boolean"}])))
    assert told(task(extension=[{"url": BASE + "e", "valueBoolean": True}]), "") == set()
    assert told(task(extension=[{"url": BASE + "e", "valueString": "x"}]), "") == {
        ("fhir.type", "Task.extension[0].value")
    }
    assert told(PATIENT | {"extension": [{"url": BASE + "e", "valueBoolean": True}]}, "") == {
        ("fhir.extension-place", "Patient.extension[0]")
    }
    assert told(task(extension=[{"url": "https://elsewhere.example/e", "valueString": "x"}]), "") == set()
    assert told(
        task(extension=[{"url": "https://koord.example/fhir/StructureDefinition/no-such", "valueString": "x"}]), ""
    ) == {("fhir.extension-unknown", "Task.extension[0]")}


def part(path, name, *elements):
    """A part of an extension, told apart by its url."""
    named = element(f"{path}.url", fixedUri=name)
    return [element(path, 0, 1, sliceName=name), *elements, named]


def test_a_part_of_an_extension_that_its_definition_does_not_name_is_refused_at_any_depth(judge):
    by_url = {"slicing": {"discriminator": [{"type": "value", "path": "url"}], "rules": "open"}}
    within = "Extension.extension:a.extension"
    inner = [element(within, 0, None, **by_url), *part(f"{within}:b", "b")]
    whole = element("Extension.extension", 0, None, **by_url)
    told = judge(extension("e", whole, *part("Extension.extension:a", "a", *inner)))

    def made(*parts):
        return task(extension=[{"url": BASE + "e", "extension": [{"url": "a", "extension": [*parts]}]}])

    known, foreign = {"url": "b", "valueString": "x"}, {"url": "https://elsewhere.example/e", "valueString": "x"}
    assert told(made(known, foreign), "") == set(), "an extension of others may stand beside the parts"
    where = "Task.extension[0].extension[0].extension[1]"
    assert told(made(known, {"url": "c", "valueString": "x"}), "") == {("fhir.extension-unknown", where)}
    beside = task(extension=[{"url": BASE + "e", "extension": [{"url": "c", "valueString": "x"}]}])
    assert told(beside, "") == {("fhir.extension-unknown", "Task.extension[0].extension[0]")}


def test_a_part_that_our_own_extension_does_not_have_is_refused():
    parts = [{"url": "degree", "valueInteger": 50}, {"url": "period", "valuePeriod": {"start": "2026-01-01"}}]
    plan = {"resourceType": "CarePlan", "status": "active", "intent": "plan", "subject": {"reference": "Patient/1"}}

    def told(*more):
        sick_leave = {"url": EXTENSION + "sick-leave", "extension": [*parts, *more]}
        return [(fault.code, fault.where) for fault in validate(plan | {"extension": [sick_leave]})]

    assert told() == []
    unknown = [("fhir.extension-unknown", "CarePlan.extension[0].extension[2]")]
    assert told({"url": "reason", "valueString": "x"}) == unknown


@pytest.mark.parametrize(
    ("expression", "resource", "fits"),
    [
        ("Task.restriction.period", task(restriction={"period": {"start": "2026", "extension": ["E"]}}), True),
        ("Period", task(restriction={"period": {"start": "2026", "extension": ["E"]}}), True),
        ("Element", task(restriction={"period": {"start": "2026", "extension": ["E"]}}), True),
        ("Task.executionPeriod", task(restriction={"period": {"start": "2026", "extension": ["E"]}}), False),
        ("DomainResource", task(extension=["E"]), True),
        ("Resource", task(extension=["E"]), True),
        ("Patient", task(extension=["E"]), False),
        ("Task.description", task(_description={"extension": ["E"]}), True),
        ("string", task(_description={"extension": ["E"]}), True),
        ("Task.input.value[x]", task(input=[{"type": {"text": "t"}, "valuePeriod": {"extension": ["E"]}}]), True),
        ("Patient", task(**{"for": {"reference": "#x"}}, contained=[{"resourceType": "Patient", "id": "x", "extension": ["E"]}]), True),
        ("Task", task(**{"for": {"reference": "#x"}}, contained=[{"resourceType": "Patient", "id": "x", "extension": ["E"]}]), False),
        ("Task", {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": task(extension=["E"])}]}, True),
    ],
)  # fmt: skip
def test_the_context_of_an_extension_is_a_path_or_a_type_or_what_a_type_is_made_from(judge, expression, resource, fits):
    told = judge(
        extension("e", element("Extension.value[x]", 1, 1, type=[{"code": "boolean"}]), context=("element", expression))
    )
    filled = json.loads(json.dumps(resource).replace('"E"', json.dumps({"url": BASE + "e", "valueBoolean": True})))
    assert any(code == "fhir.extension-place" for code, _ in told(filled, "")) is not fits


def test_extensions_of_a_profile_are_slices_by_url(judge):
    told = judge(
        extension("e", element("Extension.value[x]", 1, 1, type=[{"code": "boolean"}])),
        structure(
            "p", "Task", element("Task.extension", slicing={"discriminator": [{"type": "value", "path": "url"}], "rules": "open"}),
            element("Task.extension:e", 1, 1, type=[{"code": "Extension", "profile": [BASE + "e"]}]),
        ),
    )  # fmt: skip
    one = {"url": BASE + "e", "valueBoolean": True}
    assert told(task(extension=[one, {"url": "https://elsewhere.example/e", "valueString": "x"}])) == set()
    assert told(task()) == {("fhir.missing", "Task.extension")}
    assert told(task(extension=[one, one])) == {("fhir.too-many", "Task.extension")}
    for nameless in ("x", {"valueBoolean": True}):
        assert told(task(extension=[nameless])) >= {("fhir.missing", "Task.extension")}


def bound(strength, name="ab", path="Task.code"):
    return structure(
        "p", "Task", element(path, binding={"strength": strength, "valueSet": f"https://example.org/ValueSet/{name}"})
    )


def coded(system, code):
    return task(code={"coding": [{"system": system, "code": code}]})


def test_a_required_binding_refuses_and_an_extensible_one_warns(judge):
    codes = value_set("ab", ("urn:s", ["a", "b"]))
    required, extensible = judge(codes, bound("required")), judge(codes, bound("extensible"))
    for told in (required, extensible):
        assert told(coded("urn:s", "b")) == set()
    assert required(coded("urn:s", "c")) == required(coded("urn:t", "a")) == {("fhir.code", "Task.code")}
    assert required(task(code={"text": "a"})) == {("fhir.code", "Task.code")}
    assert extensible(coded("urn:t", "a"), severity="warning") == {("fhir.code-extensible", "Task.code")}
    assert extensible(task(code={"text": "a"}), severity="warning") == set()


def test_a_value_set_may_include_systems_and_other_value_sets(judge):
    system = {
        "resourceType": "CodeSystem",
        "url": "urn:whole",
        "content": "complete",
        "concept": [{"code": "x", "concept": [{"code": "y"}]}],
    }
    whole = {
        "resourceType": "ValueSet",
        "url": "https://example.org/ValueSet/whole",
        "compose": {"include": [{"system": "urn:whole"}]},
    }
    both = value_set("both", ("urn:s", ["a"]))
    both["compose"]["include"].append({"valueSet": ["https://example.org/ValueSet/whole"]})
    told = judge(system, whole, both, bound("required", "both"))
    assert told(coded("urn:whole", "y")) == told(coded("urn:s", "a")) == set()
    assert told(coded("urn:whole", "z")) == {("fhir.code-unknown", "Task.code")}


def test_a_code_that_its_system_does_not_have_is_refused_where_a_value_set_may_be_left_too(judge):
    system = {"resourceType": "CodeSystem", "url": "urn:t", "content": "complete", "concept": [{"code": "x"}]}
    told = judge(system, value_set("ab", ("urn:s", ["a", "b"])), bound("extensible"))
    assert told(coded("urn:t", "x")) == set()
    assert told(coded("urn:t", "y")) == {("fhir.code-unknown", "Task.code")}
    assert told(task(code={"coding": [{"system": "urn:t"}]})) == {("fhir.code-unknown", "Task.code")}
    assert told(task(code={"coding": [{"system": "urn:s"}]})) == set()


def test_a_value_set_whose_codes_cannot_be_told_is_said_and_refuses_nothing(judge):
    told = judge(value_set("far", ("urn:s", ["a"]), exclude=[{"system": "urn:s"}]), bound("required", "far"))
    assert told(coded("urn:s", "a")) == set()
    assert told(coded("urn:s", "a"), severity="warning") == {("fhir.value-set-unknown", "Task.code")}


A, B = {"text": "a"}, {"text": "b"}
KIND = {"type": {"text": "t"}}
ABSENT = {"extension": [{"url": HL7 + "data-absent-reason", "valueCode": "unknown"}]}
REQUIRED = {"strength": "required", "valueSet": "https://example.org/ValueSet/ab"}
BY_CODE = by(("value", "type.coding.code"))
TYPE_A = element("Task.input:a.type", patternCodeableConcept=concept("a"))
TYPE_B = element("Task.input:b.type", patternCodeableConcept=concept("b"))
ASKED = {
    "a text": ([element("Task.description", 1, 1)], task(description="x"), [task(), task(description=None), task(description=["x"]), task(description=[])]),
    "no text": ([element("Task.description", 0, 0)], task(), [task(description="x"), task(_description=ABSENT)]),
    "two or more": ([element("Task.note", 2, None)], task(note=[A, B]), [task(), task(note=[A]), task(note=[]), task(note=A), task(note=None)]),
    "one or more": ([element("Task.note", 1, None)], task(note=[A]), [task(), task(note=[]), task(note=A), task(note=None)]),
    "two at most": ([element("Task.note", 0, 2)], task(note=[A, B]), [task(note=[A, B, A]), task(note=[A, B, A, B])]),
    "no list": ([element("Task.note", 0, 0)], task(description="x"), [task(note=[A])]),
    "a fixed text": ([element("Task.intent", fixedCode="order")], task(), [task(intent="plan"), task(intent=["order"])]),
    "a fixed object": ([element("Task.code", fixedCodeableConcept=A)], task(code=A), [task(code=B), task(code=A | {"id": "x"}), task(code="a")]),
    "a pattern": ([element("Task.code", patternCodeableConcept=concept("a", "b"))], task(code=concept("b", "c", "a")), [task(code=concept("a")), task(code=A), task(code="a"), task(code={"coding": "a"})]),
    "a pattern of items": ([element("Task.performerType", patternCodeableConcept=A)], task(performerType=[A, A]), [task(performerType=[A, B]), task(performerType=A), task(performerType=B)]),
    "one of two types": ([element("Task.input.value[x]", 1, 1, type=[{"code": "string"}, {"code": "Period"}])], task(input=[KIND | {"valueString": "x"}, KIND | {"valuePeriod": {"start": "2026"}}]), [task(input=[KIND | {"valueBoolean": True}]), task(input=[KIND | {"valueTime": "10:00:00"}])]),
    "one type": ([element("Task.input.value[x]", 1, 1, type=[{"code": "string"}])], task(input=[KIND | {"valueString": "x"}]), [task(input=[KIND | {"valueBoolean": True}]), task(input=[KIND])]),
    "a choice that must be there": ([element("Patient.deceased[x]", 1, 1)], {"resourceType": "Patient", "deceasedDateTime": "2026"}, [{"resourceType": "Patient", "gender": "other"}, {"resourceType": "Patient", "deceasedBoolean": []}]),
    "a choice that may not be there": ([element("Patient.multipleBirth[x]", 0, 0)], {"resourceType": "Patient", "gender": "other"}, [{"resourceType": "Patient", "multipleBirthBoolean": False}, {"resourceType": "Patient", "multipleBirthInteger": 1}, {"resourceType": "Patient", "_multipleBirthInteger": ABSENT}]),
    "something inside something": ([element("Task.restriction.period.start", 1, 1)], task(restriction={"period": {"start": "2026"}}), [task(restriction={"period": {"end": "2026"}})]),
    "inside what is not there": ([element("Task.restriction.period.start", 1, 1)], task(restriction={"repetitions": 1}), [task(restriction={"period": {"end": "2026"}})]),
    "inside each item": ([element("Task.note.time", 1, 1)], task(note=[A | {"time": "2026-01-01T10:00:00Z"}]), [task(note=[A | {"time": "2026-01-01T10:00:00Z"}, B]), task(note=[A]), task(note=A)]),
    "a code of a set": ([element("Task.code", binding=REQUIRED)], task(code=concept("a", "b")), [task(code=concept("c")), task(code=concept("a", system="urn:t")), task(code=A), task(code=[concept("a")]), task(code="a"), task(code={"coding": ["a"]}), task(code={"coding": []}), task(code={"coding": "a"}), task(code=concept("c") | concept("a")["coding"][0]), task(code={"coding": concept("a")["coding"][0]})]),
    "a coding of a set": ([element("Task.input.value[x]", type=[{"code": "Coding"}], binding=REQUIRED)], task(input=[KIND | {"valueCoding": concept("a")["coding"][0]}]), [task(input=[KIND | {"valueCoding": {"system": "urn:t", "code": "a"}}]), task(input=[KIND | {"valueCoding": {"code": "a"}}]), task(input=[KIND | {"valueCoding": {"system": "urn:s"}}])]),
    "a bare code of a set": ([element("Task.input.value[x]", type=[{"code": "code"}], binding=REQUIRED)], task(input=[KIND | {"valueCode": "a"}]), [task(input=[KIND | {"valueCode": "c"}]), task(input=[KIND | {"valueCode": True}])]),
    "a reference to a type": ([element("Task.for", type=[{"code": "Reference", "targetProfile": [HL7 + "Patient"]}])], task(**{"for": {"reference": "Patient/1"}}), [task(**{"for": {"reference": "Group/1"}}), task(**{"for": {"reference": "https://a.example/Group/1"}})]),
    "a reference to one of two types": ([element("Task.for", type=[{"code": "Reference", "targetProfile": [HL7 + "Patient", HL7 + "Group"]}])], task(**{"for": {"reference": "Group/1"}}), [task(**{"for": {"reference": "Device/1"}})]),
    "a reference to a profile": ([element("Task.for", type=[{"code": "Reference", "targetProfile": [BASE + "active", HL7 + "Group"]}])], task(**{"for": {"reference": "Patient/1"}}), [task(**{"for": {"reference": "Device/1"}}), task(**{"for": {"reference": "#x"}}, contained=[{"resourceType": "Patient", "id": "x", "gender": "other"}])]),
    "a reference to a profile in a slice": ([element("Task.input", **BY_CODE), element("Task.input:a", 0, None), TYPE_A, element("Task.input:a.value[x]", type=[{"code": "Reference", "targetProfile": [BASE + "active"]}]), element("Task.input:b", 0, None), TYPE_B], task(input=[*inputs("b"), {"type": concept("a"), "valueReference": {"reference": "Patient/1"}}]), [task(input=[{"type": concept("a"), "valueReference": {"reference": "#x"}}], contained=[{"resourceType": "Patient", "id": "x", "gender": "other"}])]),
    "a slice that must be there": ([element("Task.input", **BY_CODE), element("Task.input:a", 1, None), TYPE_A], task(input=inputs("b", "a", "a")), [task(), task(input=inputs("b")), task(input=[]), task(input={}), task(input=[KIND | {"valueString": "x"}]), task(input=[{"type": "a", "valueString": "x"}]), task(input=[{"type": {"coding": ["a"]}, "valueString": "x"}])]),
    "a slice that may be there once": ([element("Task.input", **BY_CODE), element("Task.input:a", 0, 1), TYPE_A], task(input=inputs("b", "a", "b")), [task(input=inputs("a", "b", "a"))]),
    "a slice that may not be there": ([element("Task.input", **BY_CODE), element("Task.input:a", 0, 0), TYPE_A], task(input=inputs("b")), [task(input=inputs("a"))]),
    "two of a slice": ([element("Task.input", **BY_CODE), element("Task.input:a", 2, 2), TYPE_A], task(input=inputs("a", "b", "a")), [task(input=inputs("a")), task(input=inputs("a", "a", "a"))]),
    "no more than the slices": ([element("Task.input", **by(("value", "type.coding.code"), rules="closed")), element("Task.input:a", 0, None), TYPE_A, element("Task.input:b", 0, None), TYPE_B], task(input=inputs("b", "a", "b")), [task(input=inputs("a", "c")), task(input=inputs("c"))]),
    "something inside a slice": ([element("Task.input", **BY_CODE), element("Task.input:a", 0, None), TYPE_A, element("Task.input:a.value[x]", 1, 1, type=[{"code": "string"}]), element("Task.input:b", 0, None), TYPE_B, element("Task.input:b.value[x]", 1, 1, type=[{"code": "boolean"}])], task(input=[*inputs("a", "c"), {"type": concept("b"), "valueBoolean": True}]), [task(input=[{"type": concept("a"), "valueBoolean": True}]), task(input=inputs("b"))]),
    "slices by two slicings": ([element("Task.input", **BY_CODE), element("Task.input:a", 1, 1), TYPE_A, element("Task.output", **BY_CODE), element("Task.output:a", 1, 1), element("Task.output:a.type", patternCodeableConcept=concept("a"))], task(input=inputs("a"), output=inputs("a")), [task(input=inputs("a")), task(output=inputs("a")), task(input=inputs("a"), output=inputs("b"))]),
}  # fmt: skip


@pytest.mark.parametrize(("elements", "right", "wrong"), ASKED.values(), ids=ASKED)
def test_what_keeps_to_a_profile_is_answered_at_once_and_what_does_not_is_told(
    judge, monkeypatch, elements, right, wrong
):
    monkeypatch.setattr(plain, "_OFTEN", 0)
    active = structure("active", "Patient", element("Patient.active", 1, 1))
    told = judge(value_set("ab", ("urn:s", ["a", "b"])), active, structure("p", right["resourceType"], *elements))
    assert told(right) == set()
    assert told.quickly(right)
    for each in wrong:
        assert told(each)


def constrained(expression, severity="error"):
    constraint = {"key": "x-1", "severity": severity, "human": "x", "expression": expression, "source": BASE + "p"}
    found = structure("p", "Task")
    found["snapshot"]["element"][0]["constraint"] = [constraint]
    return found


@pytest.mark.parametrize(
    ("expression", "holds", "breaks"),
    [
        ("status = 'requested'", task(), task(status="completed")),
        ("description.exists() implies note.exists()", task(), task(description="x")),
        (
            "input.all(value.exists())",
            task(input=inputs("a")),
            task(input=[{"type": {"text": "t"}, "_valueString": {"id": "1"}}]),
        ),
        (
            "extension('https://example.org/e').exists()",
            task(extension=[{"url": "https://example.org/e", "valueString": "x"}]),
            task(),
        ),
        (
            "input.all(value.code = 'a')",
            task(input=[{"type": {"text": "t"}, "valueCoding": {"code": "a"}}]),
            task(input=[{"type": {"text": "t"}, "valueCoding": {"code": "b"}}]),
        ),
        ("restriction.repetitions < 3", task(restriction={"repetitions": 2}), task(restriction={"repetitions": 3})),
    ],
)
def test_the_invariants_of_a_profile_are_run_as_fhirpath(judge, expression, holds, breaks):
    told = judge(constrained(expression))
    assert ("profile.invariant", "Task") not in told(holds)
    assert ("profile.invariant", "Task") in told(breaks)


def test_an_invariant_that_only_warns_refuses_nothing(judge):
    told = judge(constrained("description.exists()", "warning"))
    assert told(task()) == set()
    assert told(task(), severity="warning") == {("profile.invariant", "Task")}


@pytest.mark.parametrize(
    "expression",
    [
        "code.memberOf('https://example.org/ValueSet/ab')",
        "input.value.ofType(Coding).empty()",
        "input.all(value is Reference)",
        "for.resolve().exists()",
    ],
)
def test_an_invariant_that_cannot_be_run_is_said(judge, expression):
    told = judge(constrained(expression))
    assert told(task(), severity="warning") == {("profile.not-run", "Task")}


@pytest.mark.parametrize(
    "slicing",
    [
        {"discriminator": [{"type": "value", "path": "type.ofType(Coding)"}], "rules": "open"},
        {"discriminator": [{"type": "position", "path": "$this"}], "rules": "open"},
        {"discriminator": [{"type": "value", "path": "type"}], "rules": "open"},
        {"discriminator": [{"type": "value", "path": "%type"}], "rules": "open"},
        {"discriminator": [{"type": "type", "path": "nowhere"}], "rules": "open"},
        {"discriminator": [{"type": "profile", "path": "type"}], "rules": "open"},
        {"discriminator": [{"type": "exists", "path": "nowhere"}], "rules": "open"},
        {"rules": "open"},
    ],
)
def test_a_slicing_that_cannot_be_decided_refuses_the_package(judge, slicing):
    told = judge(structure("p", "Task", element("Task.input", slicing=slicing), element("Task.input:a", 0, 1)))
    with pytest.raises(Misconfigured) as refused:
        told(task(input=inputs("a")))
    assert refused.value.first.code == "profile.slicing"


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("type", {}),
        ("type", {"binding": {"strength": "extensible", "valueSet": "https://example.org/ValueSet/ab"}}),
        ("type", {"binding": {"strength": "required", "valueSet": "https://example.org/ValueSet/far"}}),
        ("type.coding.code", {"patternCodeableConcept": {"text": "x", "coding": [{"system": "urn:s"}]}}),
        ("type.coding.code", {"patternCodeableConcept": {"text": "x"}}),
        ("type.nowhere", {"type": [{"code": "CodeableConcept", "profile": [BASE + "no-such"]}]}),
    ],
)
def test_a_slice_is_not_told_by_an_element_that_allows_more_than_can_be_known(judge, path, asked):
    kind = element("Task.input:a.type", 1, 1, **asked)
    told = judge(
        value_set("ab", ("urn:s", ["a", "b"])),
        structure("p", "Task", element("Task.input", **by(("value", path))), element("Task.input:a", 0, 1), kind),
    )
    with pytest.raises(Misconfigured) as refused:
        told(task(input=inputs("a")))
    assert refused.value.first.code == "profile.slicing"


def test_a_definition_whose_snapshot_lacks_elements_is_refused(judge):
    broken = structure("p", "Task")
    broken["snapshot"]["element"].append(element("Task.restriction.period"))
    with pytest.raises(Misconfigured) as refused:
        judge(broken)(task())
    assert refused.value.first.code == "profile.package"


@pytest.mark.parametrize("content", ["", "{", "[]", '{"resourceType": "Patient"}'])
def test_a_folder_that_is_no_package_is_refused(tmp_path, content):
    (tmp_path / "x.json").write_text(content, "utf-8")
    with pytest.raises(Misconfigured) as refused:
        validate(task(), packages=(tmp_path,))
    assert refused.value.first.code == "profile.package"


def test_every_profile_of_ours_compiles_and_has_a_title():
    for release in ("R4", "R5"):
        known = profiles(release)
        assert known.own
        for url in known.own:
            profile = known.profile(url)
            assert profile.title
            assert profile.root.children


def test_a_cycle_of_references_between_profiles_comes_to_an_end(judge):
    told = judge(
        structure("p", "Task", element("Task.partOf", type=[{"code": "Reference", "targetProfile": [BASE + "p"]}]))
    )
    circle = bundle(
        ("urn:uuid:1", task(partOf=[{"reference": "urn:uuid:2"}])),
        ("urn:uuid:2", task(partOf=[{"reference": "urn:uuid:1"}])),
    )
    for entry in circle["entry"]:
        entry["resource"]["meta"] = {"profile": [BASE + "p"]}
    assert not {code for code, _ in told(circle, "")} & {"fhir.reference-target"}


def test_warnings_are_no_errors():
    assert errors(validate(task(meta={"profile": ["https://elsewhere.example/p"]}))) == []
