"""The address of a gateway, which may change: the entry follows it only to the device with the stored certificate.

Any host can announce a serial number, and `/info` needs no authentication. The private key of the gateway's certificate
is what no other device has.
"""

from typing import Any

from homeassistant.config_entries import ConfigEntry
from homeassistant.const import CONF_HOST
from homeassistant.core import HomeAssistant, callback
from homeassistant.helpers.aiohttp_client import async_get_clientsession

from .client.errors import GatewayError
from .client.gateway import Gateway
from .const import CONF_FINGERPRINT, CONF_PREVIOUS_HOST, LOGGER
from .issues import ADDRESS_CHANGED, async_clear, async_report_address
from .session import async_pinned_session


async def async_follow(hass: HomeAssistant, entry: ConfigEntry[Any], host: str) -> bool:
    """Use a host that announces the serial number of an entry, and return whether it is the gateway.

    A host with the same serial number and another certificate is not used: an issue lets the user decide. No host is
    used while the gateway still answers at its address: a host may forward connections to it to seem to be it.
    """
    fingerprint = entry.data.get(CONF_FINGERPRINT)
    if await async_is_gateway(hass, entry, entry.data[CONF_HOST], fingerprint):
        return False
    if await async_is_gateway(hass, entry, host, fingerprint):
        async_use(hass, entry, host)
        return True
    gateway = Gateway(host, async_get_clientsession(hass, verify_ssl=False))
    try:
        await gateway.identify(entry.unique_id)
    except GatewayError as err:
        LOGGER.debug("%s: nothing at the announced address %s: %s", entry.title, host, err)
    else:
        if not _is_removed(hass, entry):
            async_report_address(hass, entry, entry.data[CONF_HOST], host)
    return False


async def async_return(hass: HomeAssistant, entry: ConfigEntry[Any]) -> bool:
    """Use the previous host again if the gateway answers there, and return whether it does."""
    host = entry.data.get(CONF_PREVIOUS_HOST)
    if not host or not await async_is_gateway(hass, entry, host, entry.data.get(CONF_FINGERPRINT)):
        return False
    async_use(hass, entry, host)
    return True


@callback
def async_use(hass: HomeAssistant, entry: ConfigEntry[Any], host: str, **data: str) -> None:
    """Store another host in the entry, and the one before."""
    LOGGER.info("%s: address %s became %s", entry.title, entry.data[CONF_HOST], host)
    changes = {CONF_HOST: host, CONF_PREVIOUS_HOST: entry.data[CONF_HOST], **data}
    hass.config_entries.async_update_entry(entry, data={**entry.data, **changes})
    async_clear(hass, entry, ADDRESS_CHANGED)


async def async_is_gateway(hass: HomeAssistant, entry: ConfigEntry[Any], host: str, fingerprint: str | None) -> bool:
    """Return whether a host has the serial number of an entry, and a certificate."""
    if not fingerprint:
        return False
    async with async_pinned_session(hass, fingerprint) as session:
        try:
            await Gateway(host, session, pinned=True).identify(entry.unique_id)
        except GatewayError:
            return False
    return not _is_removed(hass, entry)


def _is_removed(hass: HomeAssistant, entry: ConfigEntry[Any]) -> bool:
    """Return whether the entry was removed while the host was identified."""
    return hass.config_entries.async_get_entry(entry.entry_id) is None
