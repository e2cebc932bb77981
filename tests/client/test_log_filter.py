"""Warnings of the library are suppressed in favour of the component's own, unless the library is debugged."""

import logging

from pyenphase.updaters import device_data_inverters, generator
import pytest

from custom_components.enphase_envoy.client.log_filter import library_warnings_suppressed
from tests.helpers.integration import SetUp
from tests.helpers.log import warnings
from tests.simulator import Change

LOGGERS = (generator._LOGGER, device_data_inverters._LOGGER)


def library_warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the warnings of the library."""
    return [r.getMessage() for r in caplog.records if r.name.startswith("pyenphase") and r.levelno >= logging.WARNING]


@pytest.mark.parametrize("level", [logging.DEBUG, logging.INFO])
def test_library_warnings_are_suppressed_unless_its_log_level_is_debug(
    caplog: pytest.LogCaptureFixture, level: int
) -> None:
    caplog.set_level(level, "pyenphase")
    for logger in LOGGERS:
        with library_warnings_suppressed():
            logger.warning("suppressed")
        logger.warning("other")
    logged = ["suppressed", "other"] if level == logging.DEBUG else ["other"]
    assert library_warnings(caplog) == logged * len(LOGGERS)


async def test_invalid_endpoint_is_logged_once_and_by_the_component(
    set_up: SetUp, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    installation = await set_up("full_battery")
    installation.gateway.fault("/ivp/ss/gen_mode", Change(lambda _: {"error": "no"}))
    installation.gateway.fault("/ivp/pdm/device_data", Change(lambda _: {"deviceCount": 0, "deviceDataLimit": 50}))
    caplog.clear()
    for _ in range(3):
        await installation.poll_all()
    assert not library_warnings(caplog)
    logged = warnings(caplog)
    assert [" fails (" in line for line in logged] == [True, True], logged
