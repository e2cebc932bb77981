"""Documents of the gateway: one table from path to the function that renders the gateway's state.

A function returns JSON data or a `TextDocument`. `None` means that this system has no such endpoint.
Keys, types of numbers and missing fields follow recordings of real gateways and `Endpoint JSON` in pyenphase's
documentation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tests.simulator.gateway import Gateway, Json

from . import devices, live, meters, site, storage

Render = Callable[[Gateway, dict[str, str]], Json]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A path: its render function, its first firmware version, and the authentication that it needs."""

    render: Render
    since: tuple[int, ...] = (0,)
    #: Readable without digest authentication below firmware 7; on 7 and later only /info is.
    open: bool = False
    #: Without any authentication on every firmware.
    public: bool = False


BATTERY_SYSTEM: Final = (7,)
ENDPOINTS: Final[dict[str, Endpoint]] = {
    "/info": Endpoint(site.info, public=True),
    "/home": Endpoint(site.home, open=True),
    "/home.json": Endpoint(site.home, open=True),
    "/admin/lib/network_display.json": Endpoint(site.network_display, (4,)),
    "/admin/lib/wireless_display.json": Endpoint(site.wireless_display, (4,)),
    "/api/v1/production": Endpoint(meters.production_v1, open=True),
    "/api/v1/production/inverters": Endpoint(devices.inverters_v1),
    "/production": Endpoint(meters.production_page, open=True),
    "/production.json": Endpoint(meters.production_json, open=True),
    "/ivp/meters": Endpoint(meters.meters, (4,)),
    "/ivp/meters/readings": Endpoint(meters.readings, (4,)),
    "/ivp/meters/reports": Endpoint(meters.reports, (7,)),
    "/ivp/pdm/energy": Endpoint(meters.energy, (7,)),
    "/ivp/pdm/device_data": Endpoint(devices.device_data, (8,)),
    "/inventory.json": Endpoint(devices.inventory, open=True),
    "/inventory": Endpoint(devices.inventory, open=True),
    "/ivp/ensemble/inventory": Endpoint(storage.ensemble_inventory, BATTERY_SYSTEM),
    "/ivp/ensemble/power": Endpoint(storage.ensemble_power, BATTERY_SYSTEM),
    "/ivp/ensemble/secctrl": Endpoint(storage.secctrl, BATTERY_SYSTEM),
    "/ivp/ensemble/status": Endpoint(storage.ensemble_status, BATTERY_SYSTEM),
    "/ivp/ensemble/dry_contacts": Endpoint(storage.dry_contacts, BATTERY_SYSTEM),
    "/ivp/ensemble/relay": Endpoint(storage.grid_relay, BATTERY_SYSTEM),
    "/ivp/ensemble/generator": Endpoint(storage.generator, BATTERY_SYSTEM),
    "/ivp/ss/dry_contact_settings": Endpoint(storage.dry_contact_settings, BATTERY_SYSTEM),
    "/ivp/ss/gen_config": Endpoint(storage.gen_config, BATTERY_SYSTEM),
    "/ivp/ss/gen_schedule": Endpoint(storage.gen_schedule, BATTERY_SYSTEM),
    "/ivp/ss/gen_mode": Endpoint(storage.gen_mode, BATTERY_SYSTEM),
    "/ivp/ss/pel_settings": Endpoint(storage.pel_settings, BATTERY_SYSTEM),
    "/ivp/sc/pvlimit": Endpoint(storage.pv_limit, BATTERY_SYSTEM),
    "/ivp/sc/sched": Endpoint(storage.scheduler, BATTERY_SYSTEM),
    "/admin/lib/tariff": Endpoint(storage.tariff, BATTERY_SYSTEM),
    "/admin/lib/acb_config": Endpoint(storage.acb_config, (8,)),
    "/ivp/livedata/status": Endpoint(live.live_status, BATTERY_SYSTEM),
}
