"""Objects that pyenphase does not model: its `EnvoyData` with fields of this integration.

A new field here, an updater in `updaters.py` and a period in `paths.py` are all that another endpoint needs: from there
on it is requested, parsed, stored and expires like everything else.
"""

from dataclasses import dataclass
from typing import Any, Self

from pyenphase import EnvoyData


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


@dataclass(slots=True)
class GatewayData(EnvoyData):
    """All that the documents of a gateway contain."""

    live_data_status: LiveDataStatus | None = None
