"""The page about the HTTP interface says what there is: every route, and a submission that is accepted."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import region as r
from service_world import serving

from adapter.service import create_app

pytestmark = pytest.mark.processes

PAGE = (Path(__file__).parent.parent / "docs" / "api.md").read_text("utf-8")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("service")) as world:
        yield world


def test_the_page_has_every_route(world):
    app = create_app(world.adapter, dispatcher=False)
    routes = {(method, route.path) for route in app.routes for method in route.methods - {"HEAD"}}
    told = {
        (method, path)
        for method, paths in re.findall(r"^\| (GET|POST|PUT) \| (`/[^|]*) \|", PAGE, re.MULTILINE)
        for path in re.findall(r"`([^`]+)`", paths)
    }
    assert told == routes


def test_the_submission_of_the_page_is_accepted(world):
    (example,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    answer = world.hand_over(json.loads(example))
    assert answer.status_code == 202
    for name, value in answer.json().items():
        assert f"`{name}[]`" in PAGE
        assert all(f"`{key}`" in PAGE for each in value for key in each)


def test_the_search_of_the_page_is_answered(world):
    (body,) = re.findall(r"^(patient:identifier=\S+)$", PAGE, re.MULTILINE)
    headers = {"content-type": "application/x-www-form-urlencoded"}
    assert world.call("region-b", "POST", "/fhir/Task/_search", content=body, headers=headers).status_code == 200


def test_the_page_names_every_property_of_the_queue(world):
    world.hand_over(r.submission(r.intervention("i"), i=["fk"]))
    shown = world.call("journal", "GET", "/queue").json()
    for each in (shown["messages"][0], shown["destinations"][0]):
        assert all(f"`{name}`" in PAGE for name in each)
