"""Start the config flow as Home Assistant's zeroconf integration does, for tests in a browser."""

from ipaddress import ip_address
from typing import Any

from homeassistant.components import websocket_api
from homeassistant.config_entries import SOURCE_ZEROCONF
from homeassistant.core import HomeAssistant, callback
from homeassistant.helpers import config_validation as cv
from homeassistant.helpers.discovery_flow import async_create_flow
from homeassistant.helpers.service_info.zeroconf import ZeroconfServiceInfo
from homeassistant.helpers.typing import ConfigType

CONFIG_SCHEMA = cv.empty_config_schema("announce_gateway")


async def async_setup(hass: HomeAssistant, _config: ConfigType) -> bool:
    """Register the command."""
    websocket_api.async_register_command(hass, announce)
    return True


class _Announcement(ZeroconfServiceInfo):
    """An announcement of a simulated gateway, which has another port than a real one."""

    @property
    def host(self) -> str:
        """Return address and port."""
        return f"{self.ip_address}:{self.port}"


@websocket_api.require_admin
@websocket_api.websocket_command(
    {
        "type": "announce_gateway",
        "address": str,
        "port": int,
        "serial": str,
    }
)
@callback
def announce(hass: HomeAssistant, connection: websocket_api.ActiveConnection, message: dict[str, Any]) -> None:
    """Announce a gateway."""
    address = ip_address(message["address"])
    announcement = _Announcement(
        ip_address=address,
        ip_addresses=[address],
        port=message["port"],
        hostname="envoy.local.",
        type="_enphase-envoy._tcp.local.",
        name="envoy._enphase-envoy._tcp.local.",
        properties={"serialnum": message["serial"], "protovers": "8.2.4382"},
    )
    async_create_flow(hass, "enphase_envoy", context={"source": SOURCE_ZEROCONF}, data=announcement)
    connection.send_result(message["id"])
