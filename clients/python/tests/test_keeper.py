"""A lease is kept as it should be, whatever comes between. No time passes here."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from conftest import Make

from leasehold import Denied, Ended, Failing, Holding, Lease, Recovered, Refused, Replaced, Throttled, Unreachable
from leasehold._changes import Change
from leasehold._keeper import GiveBack, Keeper, Renew, Take
from leasehold.v1 import lease_service_pb2 as pb


class Scene:
    """A keeper with a clock of its own: the first request was sent at 0, and the lease began at once."""

    def __init__(self, first: Holding) -> None:
        self.now = 0.0
        self.told: list[Change] = []
        self.keeper = Keeper(first, 0.0, 0.0, self.told.append)

    def until_action(self, limit: float) -> Renew | Take | GiveBack:
        """Sleeps as long as the keeper does, until it has something to do."""
        while True:
            action, wait = self.keeper.next(self.now)
            if action is not None:
                return action
            assert wait > 0
            self.now += wait
            assert self.now <= limit, "it has nothing to do"

    def renewed(self, seconds: float) -> None:
        """The broker gives so much more from now on."""
        lease = self.keeper.holding.lease
        end = min(lease.issued_at + timedelta(seconds=self.now + seconds), lease.max_expires_at)
        self.keeper.renewed(replace(lease, expires_at=end), self.now)

    def kinds(self) -> list[str]:
        return [type(change).__name__ for change in self.told]


def notice(scene: Scene, change: int, lease: Lease) -> None:
    scene.keeper.notice(change, lease, scene.now)


def test_it_is_renewed_at_about_two_thirds_of_its_life(make: Make) -> None:
    times = []
    for _ in range(200):
        scene = Scene(make(ttl=60))
        assert scene.until_action(60) == Renew("lease-a")
        times.append(scene.now)
    assert 35 < min(times) < 38 < 41 < max(times) < 44


def test_at_its_longest_life_a_new_one_is_taken_and_the_old_one_given_back_when_the_holder_says_so(make: Make) -> None:
    scene = Scene(make(ttl=60, max_ttl=70))
    assert isinstance(scene.until_action(60), Renew)
    scene.renewed(60)
    action = scene.until_action(70)
    assert isinstance(action, Take)
    new = make("b", issued=scene.now)
    scene.keeper.taken(new, scene.now, scene.now)
    assert scene.told == [Replaced(new)]
    assert scene.keeper.next(scene.now)[0] is None, "the holder has not switched"
    assert scene.keeper.open() == ["lease-a", "lease-b"] or scene.keeper.open() == ["lease-b", "lease-a"]
    scene.keeper.switched(new, scene.now)
    assert scene.until_action(scene.now) == GiveBack("lease-a")
    scene.keeper.given_back("lease-a", None, scene.now)
    assert scene.keeper.open() == ["lease-b"]


@pytest.mark.parametrize("max_ttl", range(60, 181, 4))
def test_a_holder_has_about_a_third_of_the_time_to_move_however_the_longest_life_falls(
    make: Make, max_ttl: float
) -> None:
    scene = Scene(make(ttl=60, max_ttl=max_ttl))
    while isinstance(scene.until_action(max_ttl), Renew):
        scene.renewed(60)
    assert max_ttl - scene.now > 60 * 0.27


def test_the_answer_that_there_is_no_more_time_makes_it_take_a_new_one_without_a_word(make: Make) -> None:
    scene = Scene(make(ttl=60))
    scene.until_action(60)
    error = Refused("at its maximum")
    error.reason = "LEASE_AT_MAXIMUM_TTL"
    scene.keeper.failed(error, scene.now)
    assert isinstance(scene.until_action(scene.now), Take)
    assert scene.told == []


def test_a_rotation_moves_it_at_once(make: Make) -> None:
    scene = Scene(make(ttl=3600))
    scene.now = 10
    notice(scene, pb.LEASE_CHANGE_ROTATED, make("z").lease)
    assert scene.keeper.next(scene.now)[0] is None, "another lease's"
    notice(scene, pb.LEASE_CHANGE_ROTATED, scene.keeper.holding.lease)
    assert isinstance(scene.until_action(10.3), Take)
    new = make("b", issued=10, version="v2", ttl=3600)
    scene.keeper.taken(new, 10, scene.now)
    assert scene.keeper.holding.lease.version == "v2"
    notice(scene, pb.LEASE_CHANGE_ROTATED, make("a").lease)
    assert scene.keeper.next(scene.now + 1)[0] is None, "it was told of the old one once more"


def test_while_the_new_version_cannot_be_had_the_old_lease_is_kept(make: Make) -> None:
    scene = Scene(make(ttl=60, max_ttl=6000))
    notice(scene, pb.LEASE_CHANGE_ROTATED, scene.keeper.holding.lease)
    kinds = set()
    while scene.now < 600:
        action = scene.until_action(660)
        kinds.add(type(action).__name__)
        if isinstance(action, Renew):
            scene.renewed(60)
        else:
            scene.keeper.failed(Unreachable("back end"), scene.now)
    assert kinds == {"Renew", "Take"}
    before = scene.keeper.standing
    assert before == "failing"
    assert "Ended" not in scene.kinds()
    scene.keeper.taken(make("b", issued=scene.now), scene.now, scene.now)
    assert scene.keeper.standing == "kept"


def test_the_broker_away_for_longer_than_the_lease(make: Make) -> None:
    scene = Scene(make(ttl=60))
    tries = 0
    while scene.now < 300:
        scene.until_action(360)
        scene.keeper.failed(Unreachable("nothing listens"), scene.now)
        tries += 1
        if scene.now < 60:
            assert scene.keeper.standing == "failing"
            assert not scene.keeper.is_over(scene.now)
    assert scene.kinds() == ["Failing", "Ended"], "each is told once"
    assert scene.told[1] == Ended("expired")
    assert scene.keeper.over == "expired"
    assert 40 < tries < 200
    assert isinstance(scene.until_action(400), Take), "a lease that is over is not renewed"
    new = make("b", issued=scene.now)
    scene.keeper.taken(new, scene.now, scene.now)
    assert scene.told[-1] == Replaced(new)
    assert scene.keeper.standing == "kept"
    assert scene.keeper.open() == ["lease-b"], "the one that ended is not given back"


def test_one_that_recovers_says_so_once(make: Make) -> None:
    scene = Scene(make(ttl=60))
    scene.until_action(60)
    for _ in range(3):
        scene.keeper.failed(Unreachable("away"), scene.now)
        scene.until_action(60)
    scene.renewed(60)
    assert scene.kinds() == ["Failing", "Recovered"]
    failing = scene.told[0]
    assert isinstance(failing, Failing)
    assert failing.until == make(ttl=60).lease.expires_at
    scene.until_action(scene.now + 60)
    scene.renewed(60)
    assert scene.told[-1] == Recovered()
    assert len(scene.told) == 2


def test_one_that_somebody_else_ended_is_not_used_any_more_and_a_new_one_is_tried(make: Make) -> None:
    scene = Scene(make(ttl=3600))
    notice(scene, pb.LEASE_CHANGE_REVOKED, scene.keeper.holding.lease)
    assert scene.told == [Ended("revoked")]
    assert scene.keeper.is_over(scene.now)
    assert isinstance(scene.until_action(scene.now), Take)
    scene.keeper.failed(Denied("no"), scene.now)
    assert isinstance(scene.until_action(scene.now + 60), Take), "policy may change"
    assert scene.keeper.open() == ["lease-a"]


def test_one_whose_version_is_retired_under_it_is_over_as_well(make: Make) -> None:
    scene = Scene(make(ttl=60))
    notice(scene, pb.LEASE_CHANGE_DRAINING, scene.keeper.holding.lease)
    assert isinstance(scene.until_action(1), Take)
    scene.keeper.failed(Unreachable("back end"), scene.now)
    notice(scene, pb.LEASE_CHANGE_RETIRED, scene.keeper.holding.lease)
    assert scene.told[-1] == Ended("retired")
    assert isinstance(scene.until_action(5), Take)


def test_it_waits_as_long_as_it_is_told_to(make: Make) -> None:
    scene = Scene(make(ttl=3600))
    scene.until_action(3600)
    error = Throttled("slower")
    error.retry_after = 30.0
    before = scene.now
    scene.keeper.failed(error, scene.now)
    scene.until_action(3600)
    assert scene.now - before >= 30


def test_a_request_whose_answer_was_lost_is_repeated_and_not_made_anew(make: Make) -> None:
    scene = Scene(make(ttl=60))
    notice(scene, pb.LEASE_CHANGE_ROTATED, scene.keeper.holding.lease)
    first = scene.until_action(1)
    scene.keeper.failed(Unreachable("cut"), scene.now)
    second = scene.until_action(3)
    assert first == second
    assert isinstance(second, Take)
    scene.now += 10
    later = scene.until_action(scene.now)
    assert isinstance(later, Take)
    assert later.request_id != second.request_id
    scene.keeper.failed(Denied("no"), scene.now)
    last = scene.until_action(scene.now + 60)
    assert isinstance(last, (Take, Renew))
    assert last != later


def test_its_end_is_reckoned_from_the_request_and_not_from_the_answer(make: Make) -> None:
    told: list[Change] = []
    # Sent at 100, answered at 140: the broker may have issued it at any time between.
    keeper = Keeper(make(issued=5000, ttl=60), 100.0, 140.0, told.append)
    assert not keeper.is_over(159.9)
    assert keeper.is_over(160.0)


def test_switching_to_one_in_the_middle_gives_back_what_is_older_alone(make: Make) -> None:
    scene = Scene(make("a", ttl=3600))
    for name in ("b", "c"):
        scene.keeper.taken(make(name, ttl=3600), 0.0, 0.0)
    scene.keeper.switched(make("b"), 0.0)
    assert scene.until_action(0) == GiveBack("lease-a")
    scene.keeper.given_back("lease-a", Unreachable("away"), 0.0)
    assert scene.until_action(30) == GiveBack("lease-a"), "it is tried again"
    scene.keeper.given_back("lease-a", Denied("gone"), scene.now)
    assert sorted(scene.keeper.open()) == ["lease-b", "lease-c"]


@pytest.mark.parametrize("ttl", [1, 5, 60, 86_400])
def test_it_never_spins(make: Make, ttl: float) -> None:
    scene = Scene(make(ttl=ttl, max_ttl=ttl * 1000))
    actions = 0
    while scene.now < ttl * 20:
        action = scene.until_action(ttl * 21)
        assert isinstance(action, (Renew, Take))
        actions += 1
        scene.renewed(ttl)
    assert actions < 40
