"""HTTP sessions for a gateway: self-signed certificates, certificate pinning, one connection for each request."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
import hashlib
from typing import Any, Final

import aiohttp
from aiohttp import Fingerprint, TCPConnector
from homeassistant.config_entries import ConfigEntry
from homeassistant.const import CONF_HOST
from homeassistant.core import HomeAssistant
from homeassistant.helpers.aiohttp_client import DATA_RESOLVER, async_create_clientsession, async_get_clientsession
from homeassistant.util.ssl import get_default_no_verify_context
from yarl import URL

from .client.errors import GatewayError, Reason
from .const import CONF_FINGERPRINT, OPTION_DISABLE_KEEP_ALIVE, OPTION_PIN_CERTIFICATE

_FINGERPRINT_TIMEOUT: Final = 10
#: Seconds to close that connection.
_CLOSE_TIMEOUT: Final = 2


async def async_session_for(hass: HomeAssistant, entry: ConfigEntry[Any]) -> aiohttp.ClientSession:
    """Return a session for one gateway, which is closed when its entry is unloaded.

    With pinning it connects only to the certificate that was stored first; it is checked before anything is sent.
    Raises GatewayError if the certificate is to be stored and cannot be read.
    """
    close = entry.options.get(OPTION_DISABLE_KEEP_ALIVE, False)
    pinned = entry.data.get(CONF_FINGERPRINT)
    if not entry.options.get(OPTION_PIN_CERTIFICATE):
        if not close:
            return async_create_clientsession(hass, verify_ssl=False)
        return _own_session(
            entry, TCPConnector(ssl=get_default_no_verify_context(), resolver=_resolver(hass), force_close=True)
        )
    if not pinned:
        pinned = await async_fingerprint(hass, entry.data[CONF_HOST])
        store_fingerprint(hass, entry, pinned)
    return _own_session(
        entry, TCPConnector(ssl=Fingerprint(bytes.fromhex(pinned)), resolver=_resolver(hass), force_close=close)
    )


@asynccontextmanager
async def async_session_to_try(
    hass: HomeAssistant, entry: ConfigEntry[Any] | None, fingerprint: str | None = None
) -> AsyncIterator[aiohttp.ClientSession]:
    """Provide a session to validate user input with; pinned if the entry to be changed is.

    `fingerprint` is the certificate that the user trusts instead of the one of the entry.
    """
    pinned = None
    if entry and entry.options.get(OPTION_PIN_CERTIFICATE):
        pinned = fingerprint or entry.data.get(CONF_FINGERPRINT)
    if not pinned:
        yield async_get_clientsession(hass, verify_ssl=False)
        return
    async with async_pinned_session(hass, pinned) as session:
        yield session


@asynccontextmanager
async def async_pinned_session(hass: HomeAssistant, fingerprint: str) -> AsyncIterator[aiohttp.ClientSession]:
    """Provide a session that connects only to the certificate with a fingerprint."""
    connector = TCPConnector(ssl=Fingerprint(bytes.fromhex(fingerprint)), resolver=_resolver(hass))
    async with aiohttp.ClientSession(connector=connector) as session:
        yield session


def _own_session(entry: ConfigEntry[Any], connector: TCPConnector) -> aiohttp.ClientSession:
    session = aiohttp.ClientSession(connector=connector)
    entry.async_on_unload(session.close)
    return session


def store_fingerprint(hass: HomeAssistant, entry: ConfigEntry[Any], fingerprint: str) -> None:
    """Store the fingerprint of the gateway's certificate in the entry."""
    hass.config_entries.async_update_entry(entry, data={**entry.data, CONF_FINGERPRINT: fingerprint})


async def async_fingerprint(hass: HomeAssistant, host: str) -> str:
    """Return the SHA-256 of a host's certificate, in hexadecimal. Raises GatewayError if it cannot be read."""
    url = URL(f"https://{host}")
    try:
        async with asyncio.timeout(_FINGERPRINT_TIMEOUT):
            addresses = await _resolver(hass).resolve(url.host or host, url.port or 443)
            _, writer = await asyncio.open_connection(
                addresses[0]["host"], addresses[0]["port"], ssl=get_default_no_verify_context(), server_hostname=""
            )
    except (OSError, IndexError, TimeoutError) as err:
        raise GatewayError(Reason.CANNOT_CONNECT, type(err).__name__) from err
    try:
        certificate: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    finally:
        # An aborted connection would be an error for a gateway that has not finished the handshake yet.
        writer.close()
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(_CLOSE_TIMEOUT):
                await writer.wait_closed()
        writer.transport.abort()
    return hashlib.sha256(certificate).hexdigest()


def _resolver(hass: HomeAssistant) -> aiohttp.abc.AbstractResolver:
    """Return Home Assistant's resolver, which also resolves mDNS names like `envoy.local`."""
    async_get_clientsession(hass, verify_ssl=False)
    resolver: aiohttp.abc.AbstractResolver = hass.data[DATA_RESOLVER]
    return resolver
