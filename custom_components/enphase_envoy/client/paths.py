"""The paths of a gateway's endpoints: which fields they feed, and how often to request them."""

from typing import Final

from pyenphase.const import (
    ENDPOINT_URL_HOME,
    ENDPOINT_URL_METERS,
    ENDPOINT_URL_METERS_READINGS,
    URL_ACB_CONFIG,
    URL_DEVICE_DATA,
    URL_DRY_CONTACT_SETTINGS,
    URL_DRY_CONTACT_STATUS,
    URL_ENCHARGE_BATTERY,
    URL_ENSEMBLE_INVENTORY,
    URL_ENSEMBLE_SECCTRL,
    URL_ENSEMBLE_STATUS,
    URL_GEN_CONFIG,
    URL_GEN_MODE,
    URL_GEN_SCHEDULE,
    URL_GENERATOR,
    URL_GRID_RELAY,
    URL_INVENTORY,
    URL_PRODUCTION,
    URL_PRODUCTION_INVERTERS,
    URL_PRODUCTION_JSON,
    URL_PRODUCTION_V1,
    URL_TARIFF,
)

#: Identification of the gateway: XML, without authentication.
URL_INFO: Final = "/info"
#: State and values of the live data stream; the library does not read it.
URL_LIVE_DATA_STATUS: Final = "/ivp/livedata/status"
#: State of the battery scheduler; the library does not read it.
URL_BATTERY_SCHEDULER: Final = "/ivp/sc/sched"
#: Enables that stream.
URL_LIVE_DATA_STREAM: Final = "/ivp/livedata/stream"

#: Readings of the CT meters as server-sent events, where the token grants access.
URL_METER_STREAM: Final = "/stream/meter"

#: All endpoints that gateways are known to have, the fastest first. Diagnostics read them on request.
ALL_PATHS: Final = (
    *(URL_INFO, URL_PRODUCTION_V1, URL_PRODUCTION_INVERTERS, ENDPOINT_URL_METERS, ENDPOINT_URL_METERS_READINGS),
    *("/ivp/meters/reports", "/ivp/meters/gridReading", "/ivp/meters/pvReading", URL_LIVE_DATA_STATUS),
    *(URL_ENSEMBLE_INVENTORY, URL_ENSEMBLE_STATUS, URL_ENSEMBLE_SECCTRL, URL_ENCHARGE_BATTERY, URL_GRID_RELAY),
    *(
        URL_DRY_CONTACT_STATUS,
        URL_DRY_CONTACT_SETTINGS,
        URL_TARIFF,
        URL_ACB_CONFIG,
        "/ivp/sc/pvlimit",
        URL_BATTERY_SCHEDULER,
    ),
    *(URL_GENERATOR, URL_GEN_CONFIG, URL_GEN_MODE, URL_GEN_SCHEDULE, "/ivp/ss/pel_settings", "/ivp/pdm/energy"),
    *("/admin/lib/network_display.json", "/admin/lib/wireless_display.json", URL_DEVICE_DATA, URL_PRODUCTION),
    *("/production.json", URL_PRODUCTION_JSON, "/inventory", URL_INVENTORY, "/inv", ENDPOINT_URL_HOME),
)

#: The endpoint that determines the freshness of a field, where an updater reads several or the field can be written.
FED_BY: Final = {
    "inverters": URL_PRODUCTION_INVERTERS,
    "ctmeters": ENDPOINT_URL_METERS_READINGS,
    "ctmeters_phases": ENDPOINT_URL_METERS_READINGS,
    "encharge_inventory": URL_ENSEMBLE_INVENTORY,
    "encharge_power": URL_ENCHARGE_BATTERY,
    "encharge_aggregate": URL_ENSEMBLE_SECCTRL,
    "battery_aggregate": URL_ENSEMBLE_SECCTRL,
    "enpower": URL_ENSEMBLE_INVENTORY,
    "collar": URL_ENSEMBLE_INVENTORY,
    "c6cc": URL_ENSEMBLE_INVENTORY,
    "dry_contact_status": URL_DRY_CONTACT_STATUS,
    "dry_contact_settings": URL_DRY_CONTACT_SETTINGS,
    "panels": URL_INVENTORY,
    "acb_inventory": URL_INVENTORY,
    "acb_fleet": URL_INVENTORY,
    "storage_settings": URL_TARIFF,
    "live_data_status": URL_LIVE_DATA_STATUS,
    "battery_controller": URL_ENSEMBLE_SECCTRL,
    "battery_scheduler": URL_BATTERY_SCHEDULER,
    "generator": URL_GENERATOR,
    "generator_config": URL_GEN_CONFIG,
    "generator_schedule": URL_GEN_SCHEDULE,
    "generator_mode": URL_GEN_MODE,
}

#: Seconds between requests of endpoints that do not change every minute; all others are requested in every poll.
PERIODS: Final = {
    URL_ENSEMBLE_INVENTORY: 120,
    URL_DRY_CONTACT_STATUS: 120,
    URL_GENERATOR: 120,
    URL_GEN_MODE: 180,
    # Microinverters report every 300 s, each at its own time.
    URL_PRODUCTION_INVERTERS: 240,
    URL_DEVICE_DATA: 240,
    # Settings change when the user changes them; after a change made here they are read at once.
    URL_TARIFF: 300,
    URL_BATTERY_SCHEDULER: 300,
    URL_DRY_CONTACT_SETTINGS: 300,
    URL_GEN_CONFIG: 600,
    URL_GEN_SCHEDULE: 600,
    ENDPOINT_URL_METERS: 600,
    URL_LIVE_DATA_STATUS: 600,
    # Firmware 8.3.6086 takes 20 s for it.
    URL_INVENTORY: 900,
}

#: Seconds between requests of the inventory where it has AC batteries, whose charge it contains.
INVENTORY_PERIOD_WITH_BATTERIES: Final = 300

#: Endpoints that may take long, without which all others are published.
UNHURRIED: Final = frozenset({URL_INVENTORY})

#: Where counters come from: while one of these fails, it is not certain which one to use.
COUNTER_PATHS: Final = frozenset({ENDPOINT_URL_METERS, URL_PRODUCTION_JSON, URL_PRODUCTION, URL_PRODUCTION_V1})

#: Fields that hold counters.
COUNTER_FIELDS: Final = (
    *("system_production", "system_production_phases", "system_consumption", "system_consumption_phases"),
    *("system_net_consumption", "system_net_consumption_phases", "ctmeters", "ctmeters_phases", "inverters"),
)
