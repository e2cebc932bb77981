"""HTTP sessions for a gateway: self-signed certificates, certificate pinning, one connection for each request."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
import hashlib
from socket import AddressFamily
from ssl import SSLContext
from typing import Any, Final

import aiohttp
from aiohttp import Fingerprint, TCPConnector
from homeassistant.config_entries import ConfigEntry
from homeassistant.const import CONF_HOST, EVENT_HOMEASSISTANT_CLOSE
from homeassistant.core import Event, HomeAssistant
from homeassistant.helpers.aiohttp_client import DATA_RESOLVER, async_get_clientsession
from homeassistant.util.network import is_ip_address
from homeassistant.util.ssl import get_default_no_verify_context
from yarl import URL

from .client.errors import GatewayError, Reason
from .const import CONF_FINGERPRINT, OPTION_DISABLE_KEEP_ALIVE, OPTION_PIN_CERTIFICATE

#: Seconds to connect to an address, and how many addresses of a name are tried.
_FINGERPRINT_TIMEOUT: Final = 10
_ADDRESSES: Final = 4
#: Seconds to close that connection.
_CLOSE_TIMEOUT: Final = 2


async def async_session_for(hass: HomeAssistant, entry: ConfigEntry[Any]) -> aiohttp.ClientSession:
    """Return a session for one gateway, which is closed when its entry is unloaded.

    With pinning it connects only to the certificate that was stored first; it is checked before anything is sent.
    Raises GatewayError if the certificate is to be stored and cannot be read.
    """
    ssl: Fingerprint | SSLContext = get_default_no_verify_context()
    if entry.options.get(OPTION_PIN_CERTIFICATE):
        if not (pinned := entry.data.get(CONF_FINGERPRINT)):
            pinned = await async_fingerprint(hass, entry.data[CONF_HOST])
            store_fingerprint(hass, entry, pinned)
        ssl = Fingerprint(bytes.fromhex(pinned))
    session = own_session(hass, ssl, force_close=entry.options.get(OPTION_DISABLE_KEEP_ALIVE, False))
    entry.async_on_unload(closer(hass, session))
    return session


def own_session(
    hass: HomeAssistant,
    ssl: Fingerprint | SSLContext,
    *,
    force_close: bool = False,
    cookie_jar: aiohttp.abc.AbstractCookieJar | None = None,
) -> aiohttp.ClientSession:
    """Return a session with a pool of connections of its own, which the caller closes, for example with a `closer`.

    Home Assistant's sessions share a pool, from which they are detached instead. aiohttp then loses a connection that
    is just being established, and logs an error.
    """
    connector = TCPConnector(ssl=ssl, resolver=_resolver(hass), force_close=force_close)
    return aiohttp.ClientSession(connector=connector, cookie_jar=cookie_jar)


def closer(hass: HomeAssistant, session: aiohttp.ClientSession) -> Callable[[], Coroutine[Any, Any, None]]:
    """Close a session when Home Assistant stops; return what closes it before."""

    async def on_close(_event: Event) -> None:
        await session.close()

    stop_listening = hass.bus.async_listen_once(EVENT_HOMEASSISTANT_CLOSE, on_close)

    async def close() -> None:
        if not session.closed:
            stop_listening()
            await session.close()

    return close


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
    async with own_session(hass, Fingerprint(bytes.fromhex(fingerprint))) as session:
        yield session


def store_fingerprint(hass: HomeAssistant, entry: ConfigEntry[Any], fingerprint: str) -> None:
    """Store the fingerprint of the gateway's certificate in the entry."""
    hass.config_entries.async_update_entry(entry, data={**entry.data, CONF_FINGERPRINT: fingerprint})


async def async_fingerprint(hass: HomeAssistant, host: str) -> str:
    """Return the SHA-256 of a host's certificate, in hexadecimal. Raises GatewayError if it cannot be read."""
    try:
        writer = await _connect(hass, URL(f"https://{host}"))
    except OSError as err:
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


async def _connect(hass: HomeAssistant, url: URL) -> asyncio.StreamWriter:
    """Connect to the first address of a host that answers. Raises OSError."""
    host, port = url.host or "", url.port or 443
    addresses = [host]
    if not is_ip_address(host):
        async with asyncio.timeout(_FINGERPRINT_TIMEOUT):
            resolved = await _resolver(hass).resolve(host, port, AddressFamily.AF_UNSPEC)
        addresses = [address["host"] for address in resolved[:_ADDRESSES]]
    failure = OSError(f"no address of {host}")
    for address in addresses:
        try:
            async with asyncio.timeout(_FINGERPRINT_TIMEOUT):
                _, writer = await asyncio.open_connection(
                    address, port, ssl=get_default_no_verify_context(), server_hostname=""
                )
        except OSError as err:
            failure = err
        else:
            return writer
    raise failure


def _resolver(hass: HomeAssistant) -> aiohttp.abc.AbstractResolver:
    """Return Home Assistant's resolver, which also resolves mDNS names like `envoy.local`."""
    async_get_clientsession(hass, verify_ssl=False)
    resolver: aiohttp.abc.AbstractResolver = hass.data[DATA_RESOLVER]
    return resolver
