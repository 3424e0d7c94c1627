"""The quick yes never says yes to what the walk would refuse."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from profile_examples import broken, examples
from test_validation import mutated

from adapter.profiles import profiles
from adapter.validation import profiles as judging
from adapter.validation import validate
from adapter.validation.quick import Compiled, compiled

EXAMPLES = {(release, name): made for release in ("R4", "R5") for name, made in examples(release).items()}


def walked(monkeypatch, resource, release):
    """As ``validate``, but every plan is walked whole."""

    def whole(known, url):
        found: Compiled | None = compiled(known, url)
        return found and replace(found, quick=None)

    with monkeypatch.context() as patched:
        patched.setattr(judging, "compiled", whole)
        return validate(resource, release)


def test_most_profiles_have_a_quick_yes():
    for release in ("R4", "R5"):
        known = profiles(release)
        having = [url for url in known.own if (found := compiled(known, url)) and found.quick]
        assert len(having) > len(known.own) * 0.8


@pytest.mark.parametrize(("release", "name"), EXAMPLES)
def test_an_example_gets_the_quick_yes_of_its_profile(release, name):
    resource = EXAMPLES[release, name]
    [url] = [url for url in resource["meta"]["profile"] if url.startswith("https://koord.example")]
    found = compiled(profiles(release), url)
    if found.quick is not None:
        assert found.quick.is_valid(resource)


def test_what_breaks_an_invariant_breaks_it_with_the_quick_yes_too(monkeypatch):
    for resource in broken().values():
        assert set(validate(resource)) == set(walked(monkeypatch, resource, "R4"))


@pytest.mark.parametrize(("release", "name"), EXAMPLES)
def test_with_the_quick_yes_the_same_faults_are_told(monkeypatch, release, name):
    @settings(max_examples=15)
    @given(st.integers(0, 2**32))
    def same(seed):
        random = Random(seed)
        resource = deepcopy(EXAMPLES[release, name])
        for _ in range(3):
            resource = mutated(resource, random)
            if isinstance(resource, dict):
                assert set(validate(resource, release)) == set(walked(monkeypatch, resource, release))

    same()
