"""Months and days of sales are those of the seller's own time zone, and of nobody else's."""

from __future__ import annotations

import csv
import io
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from everystall.errors import BadRequest
from everystall.inventory import takings
from everystall.inventory.sellers_day import now_of_seller
from everystall.inventory.sold_elsewhere import check_day, latest_day
from everystall.models import Sale

AUCKLAND, LOS_ANGELES = ZoneInfo("Pacific/Auckland"), ZoneInfo("America/Los_Angeles")
#: In the evening of 30 November in California: 1 December in UTC and in New Zealand.
EVENING = datetime(2026, 12, 1, 4, tzinfo=UTC)
#: In the morning of 1 December in New Zealand: 30 November in UTC and in California.
MORNING = datetime(2026, 11, 30, 20, tzinfo=UTC)


@pytest.fixture
async def afar(admin, alice, bob):
    """Alice in New Zealand, Bob in California."""
    for user, zone in ((alice, AUCKLAND), (bob, LOS_ANGELES)):
        await admin.execute("UPDATE users SET time_zone = %s WHERE id = %s", [zone.key, user])


async def sell(db, user, at, cents, *, exact=True):
    async with db.as_user(user) as session:
        session.add(
            Sale(user_id=user, told_by="seller", title=f"{cents}", quantity=1, price_cents=cents, sold_at=at,
                 sold_at_exact=exact)
        )  # fmt: skip


async def months(db, user, zone):
    """By month, what sold in it; and the same, sought month by month."""
    async with db.as_user(user) as session:
        found = await takings.months_of(session, datetime(2026, 12, 20, tzinfo=zone))
        assert len(found) == 12
        sought = [await takings.sum_of(session, [takings.in_month(one.first)]) for one in found]
    assert [one.all.cents for one in found] == [one.cents for one in sought]
    return {f"{one.first:%Y-%m}": one.all.cents for one in found if one.all.number}


async def test_a_sale_at_a_months_edge_counts_in_its_sellers_month(db, alice, bob, afar):
    for user, more in ((alice, 1), (bob, 2)):
        await sell(db, user, EVENING, 100 * more)
        await sell(db, user, MORNING, 1000 * more)
    assert await months(db, alice, AUCKLAND) == {"2026-12": 1100}
    assert await months(db, bob, LOS_ANGELES) == {"2026-11": 2200}
    assert await months(db, bob, UTC) == {"2026-11": 2000, "2026-12": 200}


@pytest.mark.parametrize("hour", [0, 12])
async def test_a_sale_of_which_only_the_day_is_known_counts_on_it_wherever_its_seller_is(
    db, alice, bob, afar, hour
):
    """Poshmark tells midnight, what is marked as sold is kept at noon."""
    for user in (alice, bob):
        await sell(db, user, datetime(2026, 11, 30, hour, tzinfo=UTC), 100, exact=False)
        await sell(db, user, datetime(2026, 12, 1, hour, tzinfo=UTC), 1000, exact=False)
    for user, zone in ((alice, AUCKLAND), (bob, LOS_ANGELES)):
        assert await months(db, user, zone) == {"2026-11": 100, "2026-12": 1000}


async def test_months_begin_at_midnight_also_when_clocks_are_set(db, alice, bob):
    """Clocks are set forward in March, back in November."""
    first = datetime(2026, 3, 1, tzinfo=LOS_ANGELES)
    for at in (first, datetime(2026, 4, 1, tzinfo=LOS_ANGELES)):
        await sell(db, bob, at - timedelta(seconds=1), 1)
        await sell(db, bob, at, 10)
    assert await months(db, bob, LOS_ANGELES) == {"2026-02": 1, "2026-03": 11, "2026-04": 10}
    assert takings.month_after(first).astimezone(UTC) - first.astimezone(UTC) == timedelta(days=31, hours=-1)
    assert await months(db, alice, LOS_ANGELES) == {}


async def test_a_sellers_day_is_by_the_zone_they_named_else_their_browsers_else_utc(db, admin, alice, bob):
    async def zone(user):
        async with db.as_user(user) as session:
            now = await now_of_seller(session)
        assert abs(now - datetime.now(UTC)) < timedelta(minutes=1)
        return now.tzinfo.key

    assert (await zone(alice), await zone(bob)) == ("UTC", "UTC")
    await admin.execute("UPDATE users SET time_zone = 'America/Los_Angeles' WHERE id = %s", [alice])
    assert (await zone(alice), await zone(bob)) == ("America/Los_Angeles", "UTC")
    await admin.execute(
        "INSERT INTO notice_rules (user_id, time_zone) VALUES (%s, 'Pacific/Auckland')", [alice]
    )
    assert (await zone(alice), await zone(bob)) == ("Pacific/Auckland", "UTC")
    await admin.execute("UPDATE notice_rules SET time_zone = 'Not/Known' WHERE user_id = %s", [alice])
    assert (await zone(alice), await zone(bob)) == ("America/Los_Angeles", "UTC")


def test_the_latest_day_is_today_where_the_seller_is():
    for at, zone, latest in (
        (EVENING, LOS_ANGELES, date(2026, 11, 30)),
        (MORNING, AUCKLAND, date(2026, 12, 1)),
        (datetime(2026, 11, 30, 9, tzinfo=UTC), ZoneInfo("UTC"), date(2026, 11, 30)),
        (datetime(2026, 11, 30, 11, tzinfo=UTC), ZoneInfo("UTC"), date(2026, 12, 1)),  # it has begun there
    ):
        now = at.astimezone(zone)
        assert latest_day(now) == check_day(latest, now) == latest
        with pytest.raises(BadRequest):
            check_day(latest + timedelta(days=1), now)


async def test_the_file_tells_times_in_the_sellers_zone(db, alice, bob, afar):
    await sell(db, alice, EVENING, 100)
    await sell(db, bob, EVENING, 200)
    await sell(db, bob, datetime(2026, 12, 1, tzinfo=UTC), 300, exact=False)
    text = "".join([part async for part in takings.csv_of_sales(db, bob)])
    rows = csv.DictReader(io.StringIO(text.lstrip("\ufeff")))
    assert {row["price"]: row["sold_at"] for row in rows} == {
        "2.00": "2026-11-30T20:00:00-08:00", "3.00": "2026-12-01T00:00:00+00:00",
    }  # fmt: skip
