"""The lanes against a model: whatever callers, clocks and crashes do, order holds and nothing is lost or sent twice."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
)
from store_world import LEASE, START, World

from adapter.store import destinations, outbox, quarantine
from adapter.store.outbox import Dead, Refused, Retry

PATIENTS = ("p|1", "p|2")
DECLARED = {
    "blocks": destinations.Destination("blocks", max_inflight=2, on_error="block"),
    "skips": destinations.Destination("skips", max_inflight=1, on_error="skip"),
}
HOW = st.sampled_from(["delivered", "retry", "dead", "withheld", "blocked"])


@dataclass
class Letter:
    """A message as the model knows it."""

    id: str
    record: str
    state: str = "queued"


@dataclass
class Lane:
    letters: list[Letter] = field(default_factory=list)
    due: datetime = START
    leased: Letter | None = None
    lease_until: datetime = START
    fence: int = 0

    def head(self, on_error: str) -> Letter | None:
        for letter in self.letters:
            if letter.state == "queued":
                return letter
            if letter.state == "dead" and on_error == "block":
                return letter
        return None


@dataclass
class Held:
    """A claim somebody holds, and what the model knows of it."""

    claim: outbox.Claim
    lane: Lane
    letter: Letter
    fence: int
    begun: outbox.Begun | None = None


class Lanes(RuleBasedStateMachine):
    held = Bundle("held")

    @initialize()
    def start(self) -> None:
        self.world = World(*DECLARED.values())
        self.lanes: dict[tuple[str, str, bool], Lane] = {}
        self.paused: set[str] = set()
        self.consents = dict.fromkeys(PATIENTS, 0)
        self.count = 0
        self.done: set[str] = set()

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.world.close()

    def flying(self, destination: str) -> int:
        return sum(
            1 for (to, _, _), lane in self.lanes.items() if to == destination and lane.lease_until > self.world.now
        )

    def letters(self) -> list[Letter]:
        return [letter for lane in self.lanes.values() for letter in lane.letters]

    def lane_of(self, letter: Letter) -> tuple[str, Lane]:
        return next((to, lane) for (to, _, _), lane in self.lanes.items() if letter in lane.letters)

    def settle(self, lane: Lane, before: Letter | None, to: str) -> None:
        """The lane's head may have changed: a new one is due now."""
        head = lane.head(DECLARED[to].on_error)
        if head is not before:
            lane.due = self.world.now

    @rule(
        to=st.sampled_from(sorted(DECLARED)),
        patient=st.sampled_from(PATIENTS),
        urgent=st.sampled_from([False, False, False, True]),
    )
    def enqueue(self, to: str, patient: str, urgent: bool) -> None:
        self.count += 1
        record = f"record-{self.count}"
        lane = self.lanes.setdefault((to, patient, urgent), Lane())
        before = lane.head(DECLARED[to].on_error)
        lane.letters.append(Letter(self.world.send(patient, to=to, record_id=record, urgent=urgent), record))
        self.settle(lane, before, to)

    @rule(target=held, limit=st.integers(1, 5), only=st.sampled_from([None, ["blocks"], ["skips"]]))
    def claim(self, limit: int, only: list[str] | None):
        return multiple(*self.claimed(limit, only))

    def claimed(self, limit: int, only: list[str] | None = None) -> list[Held]:
        now = self.world.now
        claimable: dict[str, int] = {}
        for (to, _, _), lane in self.lanes.items():
            head = lane.head(DECLARED[to].on_error)
            if (
                head
                and head.state == "queued"
                and lane.due <= now
                and lane.lease_until <= now
                and to not in self.paused
            ):
                claimable[to] = claimable.get(to, 0) + 1
        room = {
            to: min(count, DECLARED[to].max_inflight - self.flying(to))
            for to, count in claimable.items()
            if only is None or to in only
        }
        claims = self.world.claim(limit, only=only)
        assert len(claims) == min(limit, sum(room.values()))
        found = []
        for claim in claims:
            lane = next(
                lane
                for (to, patient, urgent), lane in self.lanes.items()
                if (to, self.world.patient(patient), urgent) == (claim.destination, claim.patient_key, claim.urgent)
            )
            head = lane.head(DECLARED[claim.destination].on_error)
            assert head is not None, "something was claimed in an empty lane"
            assert (head.id, head.record, head.state) == (claim.message_id, claim.records[0].record_id, "queued")
            assert lane.due <= now, "claimed before it was due"
            assert lane.lease_until <= now, "claimed while another holds the lease"
            assert claim.message_id not in self.done, "claimed again after it was completed"
            lane.leased, lane.lease_until, lane.fence = head, now + LEASE, lane.fence + 1
            found.append(Held(claim, lane, head, lane.fence))
        for to, declared in DECLARED.items():
            assert self.flying(to) <= declared.max_inflight
        return found

    @rule(how=HOW, wait=st.integers(0, 40))
    def deliver(self, how: str, wait: int) -> None:
        """The dispatcher's usual way with one message."""
        for held in self.claimed(1):
            self.begin_it(held, fresh=True)
            self.complete_it(held, how, wait)

    @rule(held=held, fresh=st.booleans())
    def begin(self, held: Held, fresh: bool) -> None:
        self.begin_it(held, fresh)

    def begin_it(self, held: Held, fresh: bool) -> None:
        patient = next(patient for (_, patient, _), lane in self.lanes.items() if lane is held.lane)
        version = self.consents[patient] - (0 if fresh else 1)
        begun = self.world.begin(held.claim, consent_version=version)
        ours = (
            held.lane.fence == held.fence and held.lane.leased is held.letter and held.lane.lease_until > self.world.now
        )
        if not ours or held.letter.state != "queued":
            assert begun.status == "lost"
        elif not fresh:
            assert begun.status == "stale"
        else:
            assert begun.status == "started"
            held.begun = begun

    @rule(held=consumes(held), how=HOW, wait=st.integers(0, 40))
    def complete(self, held: Held, how: str, wait: int) -> None:
        self.complete_it(held, how, wait)

    def complete_it(self, held: Held, how: str, wait: int) -> None:
        attempt = held.begun.attempt if held.begun else None
        due = self.world.now + timedelta(seconds=wait)
        outcomes = {
            "delivered": self.world.delivered(),
            "retry": Retry(due, "http.503", peer_failed=False),
            "withheld": Refused("withheld", "no-consent"),
            "blocked": Refused("blocked", "withdrawn"),
            "dead": Dead("http.422"),
        }
        if how == "delivered" and attempt is None:
            how = "retry"
        done = self.world.complete(held.claim, outcomes[how], attempt)
        lane = held.lane
        ours = lane.fence == held.fence and lane.leased is held.letter and held.letter.state == "queued"
        assert done == ours
        if not ours:
            return
        to = held.claim.destination
        before = lane.head(DECLARED[to].on_error)
        if how == "retry":
            lane.due = due if before is held.letter else self.world.now
        else:
            held.letter.state = how
            self.done.add(held.letter.id)
            self.settle(lane, before, to)
        lane.leased, lane.lease_until = None, self.world.now

    @rule(held=consumes(held))
    def give_back(self, held: Held) -> None:
        ours = held.lane.fence == held.fence
        assert self.world.do(outbox.give_back, held.claim) == ours
        if ours:
            held.lane.leased, held.lane.lease_until = None, START

    @rule(held=consumes(held))
    def die(self, held: Held) -> None:
        """Its owner is gone; the lease runs out by itself."""

    @rule(held=held)
    def renew(self, held: Held) -> None:
        now = self.world.now
        ours = held.lane.fence == held.fence and held.lane.leased is not None and held.lane.lease_until > now
        assert self.world.do(outbox.renew, held.claim, now=now, lease=LEASE) == ours
        if ours:
            held.lane.lease_until = now + LEASE

    @rule(patient=st.sampled_from(PATIENTS))
    def consent_changes(self, patient: str) -> None:
        self.world.consent(patient, record_id=f"consent-{patient}")
        self.consents[patient] += 1

    @rule(seconds=st.sampled_from([1, 10, 29, 30, 31, 60]))
    def time_passes(self, seconds: int) -> None:
        self.world.later(seconds=seconds)

    @rule(to=st.sampled_from(sorted(DECLARED)))
    def pause_or_resume(self, to: str) -> None:
        action = destinations.resume if to in self.paused else destinations.pause
        self.world.do(action, to, who="operator", why="maintenance", now=self.world.now)
        self.paused ^= {to}

    @precondition(lambda self: any(letter.state == "dead" for letter in self.letters()))
    @rule(data=st.data(), release=st.booleans())
    def look_after_a_dead_letter(self, data: st.DataObject, release: bool) -> None:
        letter = data.draw(st.sampled_from([letter for letter in self.letters() if letter.state == "dead"]))
        to, lane = self.lane_of(letter)
        before = lane.head(DECLARED[to].on_error)
        if release:
            self.world.do(quarantine.release, letter.id, who="operator", why="peer mended", now=self.world.now)
            letter.state = "queued"
            self.done.discard(letter.id)
            if before is letter:
                lane.due = self.world.now
        else:
            self.world.do(quarantine.discard, letter.id, who="operator", why="sent by post", now=self.world.now)
            letter.state = "discarded"
        self.settle(lane, before, to)

    @precondition(lambda self: any(letter.state == "queued" for letter in self.letters()))
    @rule(data=st.data())
    def block(self, data: st.DataObject) -> None:
        letter = data.draw(st.sampled_from([letter for letter in self.letters() if letter.state == "queued"]))
        to, lane = self.lane_of(letter)
        flying = lane.leased is letter and lane.lease_until > self.world.now
        before = lane.head(DECLARED[to].on_error)
        assert self.world.do(outbox.block, letter.id, "withdrawn", now=self.world.now) == (not flying)
        if not flying:
            letter.state = "blocked"
            self.done.add(letter.id)
            self.settle(lane, before, to)

    @invariant()
    def every_message_is_where_the_model_has_it(self) -> None:
        if hasattr(self, "world"):
            assert self.world.states() == {letter.id: letter.state for letter in self.letters()}

    @invariant()
    def the_overview_counts_right(self) -> None:
        if not hasattr(self, "world"):
            return
        for row in self.world.do(destinations.overview, now=self.world.now):
            mine = [
                letter for (to, _, _), lane in self.lanes.items() if to == row.destination.id for letter in lane.letters
            ]
            assert row.queued == sum(letter.state == "queued" for letter in mine)
            assert row.dead == sum(letter.state == "dead" for letter in mine)
            assert row.in_flight == self.flying(row.destination.id) <= row.destination.max_inflight
            assert row.paused == (row.destination.id in self.paused)

    @invariant()
    def each_delivered_message_has_one_disclosure(self) -> None:
        if hasattr(self, "world"):
            entered = [message for (message,) in self.world.sql("SELECT message_id FROM disclosure")]
            assert sorted(entered) == sorted(letter.id for letter in self.letters() if letter.state == "delivered")


TestLanes = Lanes.TestCase
TestLanes.settings = settings(stateful_step_count=60)
