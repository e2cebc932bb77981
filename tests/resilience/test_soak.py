"""Some hours, or with `scripts/soak` days, of a house in which something goes wrong every half an hour."""

import asyncio
from functools import partial
import logging
import os
import time
from typing import Any, Final

from freezegun import freeze_time
from homeassistant.core import HomeAssistant
import pytest

from tests.helpers.integration import NOON, SetUp
from tests.resilience.soak import Report, Soak
from tests.simulator import Cloud

#: How long is lived, with which seed, in which installation.
DAYS: Final = float(os.environ.get("ENVOY_SOAK_DAYS", "0.25"))
SEED: Final = int(os.environ.get("ENVOY_SOAK_SEED", "1"))
PROFILE: Final = os.environ.get("ENVOY_SOAK_PROFILE", "full_battery")


def tell(report: Report, wall: float) -> None:
    """Print what came of it."""
    first, last = report.first, report.last
    assert first
    assert last
    days, wide = report.seconds / 86400, report.between / 86400
    print(f"{days:.2f} days in {wall:.0f} s, {PROFILE}, seed {SEED}, {report.polls} polls")
    print(f"{report.changes} changes, {report.reloads} reloads, troubles: {dict(sorted(report.troubles.items()))}")
    for what in ("tasks", "timers", "listeners", "all_objects", "traced", "resident"):
        print(f"{what}: {getattr(first, what)} became {getattr(last, what)} in {wide:.2f} days")
    print("what grew most:", *last.grown(first), sep="\n  ")


async def test_all_stays_well_whatever_goes_wrong(
    hass: HomeAssistant,
    set_up: SetUp,
    cloud: Cloud,
    hass_storage: dict[str, Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)
    # It would say at each leap of time that something took long.
    asyncio.get_running_loop().set_debug(enabled=False)
    began = time.monotonic()
    with freeze_time(NOON, tick=True) as freezer:
        installation = await set_up(PROFILE)
        report = await Soak(installation, freezer, SEED).run(DAYS, partial(print, flush=True))
        await hass.config_entries.async_unload(installation.entry.entry_id)
    tell(report, time.monotonic() - began)
