"""`koord why` and its route: the stored explanation of every attempt, in the reader's language, for those who may ask."""

from __future__ import annotations

import asyncio
import io
import json
from types import SimpleNamespace

import pytest
import region as r
from service_world import serving

from adapter.cli import koord, terminal
from adapter.flows import Dispatcher, accept
from adapter.store import Store, audit, load_keys, quarantine

INTERVENTIONS = r.consent("c-a", "interventions")
COLLABORATE = r.consent("c-c", "collaborate", recipient=r.EMPLOYER)
PERSONAL = ["191212121212", "Tolvan", "HEMLIG", "Kim Karlsson", "Koordinator"]


@pytest.fixture
def run(monkeypatch, capsysbinary):
    def run(*arguments, language="en_US.UTF-8"):
        monkeypatch.setenv("LC_ALL", language)
        monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(b"")))
        code = terminal.run(koord, [str(argument) for argument in arguments])
        out, err = (each.decode() for each in capsysbinary.readouterr())
        assert not any(word in out + err for word in PERSONAL)
        return SimpleNamespace(code=code, out=out, err=err, json=lambda: json.loads(out))

    return run


@pytest.fixture
def installation(tmp_path):
    """A region's settings, and the messages of a busy hour: delivered at the second attempt, withheld, and not tried yet."""
    settings = r.settings(tmp_path)
    (tmp_path / "koord.toml").write_text(_toml(settings), "utf-8")

    async def go():
        async with r.region(tmp_path) as adapter:
            adapter.transport.expect("employer", "hang")
            await accept(
                adapter,
                r.submission(INTERVENTIONS, COLLABORATE, r.intervention(), i1=["employer", "fk"]),
                caller="local",
            )
            dispatcher = Dispatcher(adapter, owner="test")
            await dispatcher.drain()
            adapter.clock.forward(minutes=16)
            await dispatcher.drain()
            await accept(adapter, r.submission(r.intervention("i2"), i2=["af"]), caller="local")
            return {
                each.destination: each.message_id
                for each in await adapter.store.read(quarantine.messages, now=adapter.clock())
            }

    messages = asyncio.run(go())
    return SimpleNamespace(config=tmp_path / "koord.toml", messages=messages, settings=settings)


def _toml(settings):
    from adapter.demo.cast import as_toml

    return as_toml(settings.model_dump(mode="json", exclude_none=True))


def test_the_latest_attempt_is_told_and_all_of_them_when_asked_for(run, installation):
    message = installation.messages["employer"]
    latest, every = (run("why", message, "--config", installation.config, *more) for more in ([], ["--all"]))
    assert (latest.code, latest.err, every.code, every.err) == (0, "", 0, "")
    assert latest.out.startswith("Attempt 2, 2026-11-21T12:16:00+00:00: delivered. Bytes left: yes.\n")
    assert [line for line in every.out.splitlines() if line.startswith("Attempt")] == [
        "Attempt 2, 2026-11-21T12:16:00+00:00: delivered. Bytes left: yes.",
        "Attempt 1, 2026-11-21T12:00:00+00:00: failed, tried again (peer.timeout). Bytes left: perhaps.",
    ]
    assert every.out.startswith(latest.out)
    assert "c-c version 1" in latest.out


@pytest.mark.parametrize(
    ("language", "heading", "says"),
    [
        (
            "sv_SE.UTF-8",
            "Försök 1, 2026-11-21T12:00:00+00:00: hållet inne",
            "skickas aldrig till den här typen av mottagare",
        ),
        ("en_US.UTF-8", "Attempt 1, 2026-11-21T12:00:00+00:00: withheld", "never sent to this type of recipient"),
    ],
)
def test_a_denial_is_told_in_the_readers_language_with_its_law(run, installation, language, heading, says):
    told = run("why", installation.messages["fk"], "--config", installation.config, language=language)
    assert told.code == 0
    assert told.out.startswith(heading)
    assert says in told.out
    assert "lag (2019:1297)" in told.out


def test_json_holds_the_stored_explanation_and_the_replay(run, installation):
    message = installation.messages["employer"]
    told = run("why", message, "--config", installation.config, "--all", "--replay", "--json")
    assert (told.code, told.err) == (0, "")
    document = told.json()
    assert (document["message"], document["state"]) == (message, "delivered")
    assert [each["n"] for each in document["attempts"]] == [2, 1]
    for attempt in document["attempts"]:
        assert attempt["replay"] == {
            "code": "why.identical",
            "differs": "",
            "explanation": attempt["explanation"],
        }


def test_a_replay_says_that_it_is_identical_or_ends_with_what_went_wrong(run, installation):
    message = installation.messages["employer"]
    well = run("why", message, "--config", installation.config, "--replay")
    assert (well.code, well.err) == (0, "")
    assert "Replayed: identical" in well.out
    (installation.settings.store.id_key_file).write_bytes(bytes(32))
    other = run("why", message, "--config", installation.config, "--replay")
    assert other.code == 1
    assert "why.other-content" in other.err


def test_what_has_not_been_tried_says_so_and_what_is_not_there_is_an_error(run, installation):
    waiting = run("why", installation.messages["af"], "--config", installation.config, "--replay")
    assert (waiting.code, waiting.err) == (0, "")
    assert waiting.out.startswith("Nothing has been decided yet")
    absent = run("why", "no-such-message", "--config", installation.config)
    assert (absent.code, absent.out) == (1, "")
    assert "store.unknown-message" in absent.err


def test_who_looked_is_in_the_audit_log(run, installation):
    run("why", installation.messages["employer"], "--config", installation.config)
    settings = installation.settings
    with Store.open(settings.store.path, load_keys(settings.store.key_file)) as store:
        last = store.read(audit.entries, after=0, limit=1000).result()[-1].entry
    assert (last.event, last.what) == ("explanation.read", installation.messages["employer"])
    assert last.who.startswith("operator:")
    assert last.patient_key


@pytest.mark.processes
def test_the_route_tells_the_same_to_the_local_system_alone(tmp_path):
    with serving(tmp_path) as world:
        (message,) = world.hand_over(r.submission(r.intervention(), i1=["fk"])).json()["messages"]
        asyncio.run(Dispatcher(world.adapter, owner="test").drain())
        path = f"/queue/{message['id']}/why"
        shown = world.call("journal", "GET", path).json()
        (attempt,) = shown["attempts"]
        assert (shown["id"], attempt["status"]) == (message["id"], "withheld")
        assert attempt["explanation"]["reason"] == "RECORD_NOT_FOR_RECIPIENT"
        assert world.call("journal", "GET", "/queue/absent/why").status_code == 404
        for other in ("region-b", "employer", "clinic"):
            assert world.call(other, "GET", path).status_code == 403
