"""Validation without any quick yes: every plan is walked whole."""

from __future__ import annotations

from dataclasses import replace

import pytest

from adapter.validation import plain, validate
from adapter.validation import profiles as judging
from adapter.validation.quick import compiled


def walked(resource, release="R4", **asked):
    """As ``validate``."""

    def whole(known, profile):
        return replace(compiled(known, profile), quick=None)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(judging, "compiled", whole)
        patched.setattr(plain, "often", lambda *_: None)
        return validate(resource, release, **asked)
