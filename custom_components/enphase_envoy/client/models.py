"""Objects that pyenphase does not model: its `EnvoyData` with fields of this integration.

A new field here, an updater in `updaters.py` and a period in `paths.py` are all that another endpoint needs: from there
on it is requested, parsed, stored and expires like everything else.
"""

from dataclasses import dataclass
from typing import Any, Final, Self

from pyenphase import EnvoyData

from ..model.panels import PanelStatus
from ..model.text import clean

#: `admin_state` of a device that was removed.
_REMOVED: Final = 0
#: Condition flags of one device at most.
_MOST_CODES: Final = 20


@dataclass(frozen=True, slots=True)
class LiveDataStatus:
    """State of the gateway's live data stream, from `/ivp/livedata/status`."""

    #: `enabled` while the stream runs; it ends by itself after about 15 minutes.
    stream: str | None
    #: Connection of the gateway to Enphase's broker, e.g. `connected`.
    broker: str | None
    #: When the values last changed, in seconds since the epoch.
    last_update: int | None
    phase_count: int | None
    #: 1 while the grid relay is closed.
    main_relay_state: int | None

    @classmethod
    def from_api(cls, document: dict[str, Any]) -> Self:
        """Return the state that a document contains."""
        connection, meters = document["connection"], document["meters"]
        return cls(
            stream=connection.get("sc_stream"),
            broker=connection.get("mqtt_state"),
            last_update=meters.get("last_update"),
            phase_count=meters.get("phase_count"),
            main_relay_state=meters.get("main_relay_state"),
        )


@dataclass(frozen=True, slots=True)
class BatteryController:
    """What the battery controller reports beside the library's aggregate, from `/ivp/ensemble/secctrl`."""

    #: Percentages: health of all batteries, and the charge at which they switch off.
    state_of_health: int | None
    shutdown_level: int | None

    @classmethod
    def from_api(cls, document: dict[str, Any]) -> Self:
        """Return what a document contains."""
        return cls(document.get("ENC_agg_soh"), document.get("VLS_Limit"))


@dataclass(frozen=True, slots=True)
class BatteryScheduler:
    """What the battery scheduler does, from `/ivp/sc/sched`. Allowed to charge from the grid is not charging."""

    charge_from_grid_allowed: bool | None
    #: The mode that the scheduler commanded last, such as `CP` or `Charge From PV`.
    mode: str | None

    @classmethod
    def from_api(cls, document: dict[str, Any]) -> Self:
        """Return what a document contains. Newer firmware reports the mode as an index into a list of names."""
        mode, names = document.get("acb_current_mode"), document.get("sched_mode_key")
        if isinstance(mode, int) and isinstance(names, list):
            mode = str(names[mode]).rpartition(" - ")[2] if 0 <= mode < len(names) else None
        newer = "Charge From Grid Allowed"
        allowed = document[newer if newer in document else "charge_from_grid"]
        return cls(allowed, mode)


@dataclass(frozen=True, slots=True)
class LiveSource:
    """The source of live power in use."""

    #: A name of `NAMES` in `live.py`, `none` while no source has usable values.
    name: str


@dataclass(slots=True)
class GatewayData(EnvoyData):
    """All that the documents of a gateway contain."""

    live_data_status: LiveDataStatus | None = None
    battery_controller: BatteryController | None = None
    battery_scheduler: BatteryScheduler | None = None
    panels: dict[str, PanelStatus] | None = None


def panel_statuses(inventory: list[dict[str, Any]]) -> dict[str, PanelStatus]:
    """Return the statuses of the microinverters that an inventory lists, without removed ones, by serial number."""
    devices = [device for group in inventory if group["type"] == "PCU" for device in group["devices"]]
    return {device["serial_num"]: _panel_status(device) for device in devices if device["admin_state"] != _REMOVED}


def _panel_status(device: dict[str, Any]) -> PanelStatus:
    reported = device["device_status"]
    texts = [clean(code) for code in reported if isinstance(code, str)]
    codes = tuple(texts[:_MOST_CODES]) if isinstance(reported, list) else None
    return PanelStatus(codes, device["producing"], device["communicating"])
