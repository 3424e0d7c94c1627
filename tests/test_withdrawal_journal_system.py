"""An independent journal system takes our notice, in JSON and XML, and a stand-in answers it with a receipt over the network."""

from __future__ import annotations

import asyncio

import httpx
import pytest
import region as r
from withdrawal_world import INTERVENTIONS, listed, sent

from adapter.mock import Mailbox, application
from adapter.settings import Limits, Server
from adapter.transport.rest import Rest
from adapter.transport.server import running
from adapter.wire import json

pytest_plugins = ["journal_system"]
pytestmark = pytest.mark.processes

PLAIN = Server(port=0, base_url="http://127.0.0.1", authentication="none", limits=Limits(stop_timeout_s=1))


async def withdrawn(folder, url, form, value):
    """An intervention is delivered to region B at this address, and its consent withdrawn."""
    where = {"url": url, "network": "loopback", "production": False, "format": form}
    destinations = [r.DESTINATIONS[0] | where]
    configured = r.settings(folder, destinations=destinations)
    consent = INTERVENTIONS | {"id": {"system": r.IDS, "value": f"consent-{value}"}}
    async with r.region(folder, transport=Rest(configured), destinations=destinations) as adapter:
        await sent(adapter, consent, r.intervention(value), **{value: ["region-b"]})
        answer = await sent(adapter, r.withdrawn(consent))
        return answer["notified"][0]["id"], await listed(adapter)


@pytest.mark.parametrize("form", ["json", "xml"])
def test_a_journal_system_that_knows_nothing_of_us_keeps_the_notice_and_has_not_said_that_it_stopped(
    tmp_path, journal_system, form
):
    order, orders = asyncio.run(withdrawn(tmp_path, journal_system, form, f"n-{form}"))
    assert orders == {"region-b": ["delivered"]}
    kept = json.read(httpx.get(f"{journal_system}/Task/{order}", trust_env=False).content)
    assert kept["status"] == "requested"
    assert kept["focus"]["identifier"]["value"] == f"consent-n-{form}"
    assert "for" not in kept


@pytest.mark.parametrize("form", ["json", "xml"])
def test_a_stand_in_answers_the_notice_with_a_receipt(tmp_path, form):
    async def go():
        mailbox = Mailbox(tmp_path / "mailbox")
        async with running(application(mailbox), PLAIN) as url:
            return (await withdrawn(tmp_path, f"{url}/fhir", form, "n1"))[1]

    assert asyncio.run(go()) == {"region-b": ["acknowledged"]}
