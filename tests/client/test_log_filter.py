"""Warnings of the library: ours stand for them, unless somebody debugs it."""

import logging

from pyenphase.updaters import device_data_inverters, generator
import pytest

from custom_components.enphase_envoy.client.log_filter import library_warnings_suppressed
from tests.helpers.integration import SetUp
from tests.simulator import Change

LOGGERS = (generator._LOGGER, device_data_inverters._LOGGER)


def of_the_library(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what the library warned of."""
    return [r.getMessage() for r in caplog.records if r.name.startswith("pyenphase") and r.levelno >= logging.WARNING]


@pytest.mark.parametrize("level", [logging.DEBUG, logging.INFO])
def test_warnings_are_for_who_debugs_the_library(caplog: pytest.LogCaptureFixture, level: int) -> None:
    caplog.set_level(level, "pyenphase")
    for logger in LOGGERS:
        with library_warnings_suppressed():
            logger.warning("hushed")
        logger.warning("of somebody else")
    heard = ["hushed", "of somebody else"] if level == logging.DEBUG else ["of somebody else"]
    assert of_the_library(caplog) == heard * len(LOGGERS)


async def test_an_endpoint_that_makes_no_sense_is_told_once_and_by_us(
    set_up: SetUp, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    installation = await set_up("full_battery")
    installation.gateway.fault("/ivp/ss/gen_mode", Change(lambda _: {"error": "no"}))
    installation.gateway.fault("/ivp/pdm/device_data", Change(lambda _: {"deviceCount": 0, "deviceDataLimit": 50}))
    caplog.clear()
    for _ in range(3):
        await installation.poll_all()
    assert not of_the_library(caplog)
    ours = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
    assert sorted(" fails (" in line for line in ours) == [True, True], ours
