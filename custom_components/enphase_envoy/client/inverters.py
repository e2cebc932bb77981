"""Microinverters of systems with more of them than `/ivp/pdm/device_data` lists."""

from contextlib import suppress
from dataclasses import replace
from typing import override

from pyenphase import EnvoyData
from pyenphase.const import URL_DEVICE_DATA, SupportedFeatures
from pyenphase.exceptions import ENDPOINT_PROBE_EXCEPTIONS, EnvoyAuthenticationRequired
from pyenphase.models.inverter import EnvoyInverter
from pyenphase.updaters.api_v1_production_inverters import EnvoyApiV1ProductionInvertersUpdater

from ..model.validation import is_number
from .lenient import Record


def is_full(device_data: object) -> bool:
    """Return whether a document lists as many devices as it can: there may be more, and the library does not use it."""
    return isinstance(device_data, Record) and bool(device_data["deviceCount"] >= device_data["deviceDataLimit"])


class InverterReader(EnvoyApiV1ProductionInvertersUpdater):
    """The updater of the list of all inverters, with the details of those that the other document lists."""

    #: The name by which the source of the counters is stored.
    source = EnvoyApiV1ProductionInvertersUpdater.__name__
    #: Whether the gateway lists details of inverters, but not of all.
    has_details = False

    @override
    async def probe(self, discovered_features: SupportedFeatures) -> SupportedFeatures | None:
        """Probe as the library does, and find out whether some have details."""
        if (found := await super().probe(discovered_features)) is not None:
            with suppress(*ENDPOINT_PROBE_EXCEPTIONS, EnvoyAuthenticationRequired):
                self.has_details = is_full(await self._json_probe_request(URL_DEVICE_DATA))
        return found

    @override
    async def update(self, envoy_data: EnvoyData) -> None:
        """Read the inverters, and the details of some."""
        await super().update(envoy_data)
        if not self.has_details:
            return
        for device in (await self._json_request(URL_DEVICE_DATA)).values():
            # Other devices, and those that were removed, are listed as well.
            if not (isinstance(device, Record) and device["devName"] == "pcu" and device["active"]):
                continue
            if inverter := envoy_data.inverters.get(device["sn"]):
                envoy_data.inverters[device["sn"]] = _combined(inverter, EnvoyInverter.from_device_data(device))


def _combined(inverter: EnvoyInverter, details: EnvoyInverter) -> EnvoyInverter:
    """Return an inverter with its details, which stay while the document with them cannot be read.

    Each has the report with the later date; one without a valid date is the older one.
    """
    at, detailed_at = inverter.last_report_date, details.last_report_date
    if is_number(detailed_at) and not (is_number(at) and at > detailed_at):
        return details
    return replace(
        details,
        last_report_date=at,
        last_report_watts=inverter.last_report_watts,
        max_report_watts=inverter.max_report_watts,
    )
