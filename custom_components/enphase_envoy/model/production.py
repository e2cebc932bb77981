"""Reports of the production that contain nothing."""

from collections.abc import Mapping
from dataclasses import astuple

from pyenphase.models.inverter import EnvoyInverter
from pyenphase.models.system_production import EnvoySystemProduction

from .snapshot import Address, TimedValue


def is_production_empty(production: object, objects: Mapping[Address, TimedValue]) -> bool:
    """Return whether a production is zero throughout although inverters report power.

    Firmware 8.3.5422 and later has the production of systems without CTs at another endpoint.
    """
    if not isinstance(production, EnvoySystemProduction) or any(astuple(production)):
        return False
    return any(isinstance(timed.value, EnvoyInverter) and timed.value.last_report_watts for timed in objects.values())
