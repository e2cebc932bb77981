"""Hours, or with `scripts/soak` days, of a system in which a fault occurs every half an hour."""

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

#: Simulated days, seed of the faults, seconds between readings of live power, and profile.
DAYS: Final = float(os.environ.get("ENVOY_SOAK_DAYS", "0.17"))
SEED: Final = int(os.environ.get("ENVOY_SOAK_SEED", "1"))
LIVE: Final = int(os.environ.get("ENVOY_SOAK_LIVE", "0"))
PROFILE: Final = os.environ.get("ENVOY_SOAK_PROFILE", "full_battery")


def print_report(report: Report, wall: float) -> None:
    """Print the numbers of a soak."""
    first, last = report.first, report.last
    assert first
    assert last
    days, wide = report.seconds / 86400, report.between / 86400
    print(f"{days:.2f} days in {wall:.0f} s, {PROFILE}, seed {SEED}, {report.polls} polls")
    print(f"{report.changes} changes, {report.reloads} reloads, faults: {dict(sorted(report.incidents.items()))}")
    print(f"{report.shown} with a wrong value shown, {report.corrections} corrections, {report.messages} messages")
    print(f"unloaded during an update: {dict(sorted(report.disturbances.items()))}")
    if LIVE:
        print(f"live power every {LIVE} s, steps by source: {dict(report.sources)}")
    for name in ("tasks", "timers", "listeners", "all_objects", "traced", "resident"):
        print(f"{name}: {getattr(first, name)} became {getattr(last, name)} in {wide:.2f} days")
    print("grown most:", *last.grown(first), sep="\n  ")


@pytest.mark.slow
async def test_soak_with_a_fault_every_half_an_hour(
    hass: HomeAssistant,
    set_up: SetUp,
    cloud: Cloud,
    hass_storage: dict[str, Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)
    start = time.monotonic()
    with freeze_time(NOON, tick=True) as freezer:
        installation = await set_up(PROFILE)
        if LIVE:
            hass.config_entries.async_update_entry(installation.entry, options={"live_power": LIVE})
            await hass.config_entries.async_reload(installation.entry.entry_id)
            await hass.async_block_till_done()
        soak = Soak(installation, freezer, hass_storage, SEED)
        report = await soak.run(DAYS, partial(print, flush=True))
        await soak.remove()
    print_report(report, time.monotonic() - start)
