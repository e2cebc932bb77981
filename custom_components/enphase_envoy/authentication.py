"""Access to the gateway: logging in, fetching new tokens, starting reauthentication."""

from collections.abc import Callable
from dataclasses import replace
import time
from typing import Any, Final

from homeassistant.config_entries import SOURCE_REAUTH, ConfigEntry
from homeassistant.const import CONF_PASSWORD, CONF_TOKEN, CONF_USERNAME
from homeassistant.core import HomeAssistant, callback

from .client.auth import Credentials
from .client.backoff import Backoff
from .client.confirmation import Confirmation
from .client.errors import GatewayError, Reason
from .client.gateway import Gateway
from .const import CONF_USE_MANUAL_TOKEN, DOMAIN
from .issues import (
    CERTIFICATE_CHANGED,
    FIRMWARE_BEFORE_TOKENS,
    LOCAL_PASSWORD,
    async_clear,
    async_report_local_password,
    async_report_old_firmware,
)

#: Seconds between two logins to the cloud because of a refused token: Enlighten locks accounts after too many.
_FETCH_PAUSE: Final = 3600.0
#: Seconds until the cloud is tried again after it did not answer.
_FIRST_CLOUD_PAUSE: Final = 120.0
#: Refusals in a row after which reauthentication is started.
_REFUSALS: Final = 3


def uses_tokens(entry: ConfigEntry[Any] | None) -> bool:
    """Return whether an entry has a token: its account is for the cloud alone, and never used for a gateway."""
    return entry is not None and bool(entry.data.get(CONF_TOKEN) or entry.data.get(CONF_USE_MANUAL_TOKEN))


class Authentication:
    """Logs in to the gateway of a config entry."""

    def __init__(
        self,
        hass: HomeAssistant,
        entry: ConfigEntry[Any],
        gateway: Gateway,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare to log in; `clock` returns seconds."""
        self._hass = hass
        self._entry = entry
        self._gateway = gateway
        self._clock = clock
        #: From when on a token may be fetched because the gateway refused the old one, and why the last attempt failed.
        self._fetch_at = float("-inf")
        self._fetch_failure: tuple[Reason, str] | None = None
        self._cloud_backoff = Backoff(_FIRST_CLOUD_PAUSE, _FETCH_PAUSE)
        self._refusals: Confirmation[None] = Confirmation(_REFUSALS)
        #: Whether it was reported that the password gives no access to the inverters.
        self._denies_inverters: bool | None = None

    def _credentials(self) -> Credentials:
        """Return the credentials of the entry; with a pasted token no account is used."""
        data = self._entry.data
        if data.get(CONF_USE_MANUAL_TOKEN):
            return Credentials(token=data.get(CONF_TOKEN))
        return Credentials(data.get(CONF_USERNAME), data.get(CONF_PASSWORD), data.get(CONF_TOKEN))

    async def async_identify(self) -> None:
        """Identify the gateway, and have it probed again if its firmware changed. Raises GatewayError."""
        try:
            await self._gateway.identify(self._entry.unique_id, tokens_only=uses_tokens(self._entry))
        except GatewayError as err:
            if err.reason is Reason.FIRMWARE_BEFORE_TOKENS and not self._gateway.is_closed:
                async_report_old_firmware(self._hass, self._entry, self._gateway.host, err.detail)
            raise
        self._require_open()
        async_clear(self._hass, self._entry, FIRMWARE_BEFORE_TOKENS)
        if self._entry.unique_id is None:
            # Entries that early versions of Home Assistant created have none.
            if self._hass.config_entries.async_entry_for_domain_unique_id(DOMAIN, self._gateway.serial):
                raise GatewayError(Reason.ALREADY_SET_UP, self._gateway.serial)
            self._hass.config_entries.async_update_entry(self._entry, unique_id=self._gateway.serial)

    def _require_open(self) -> None:
        """Raise GatewayError when the entry was unloaded meanwhile: then no account is used and no token stored."""
        if self._gateway.is_closed:
            raise GatewayError(Reason.CANNOT_CONNECT, "closed")

    async def async_log_in(self) -> None:
        """Identify the gateway and log in. Raises GatewayError."""
        await self.async_identify()
        credentials = self._credentials()
        uses_tokens = self._gateway.uses_tokens
        # With an account alone, every attempt would be a login to the cloud. Firmware before 7 has no e-mail addresses:
        # with one the user `installer` is used, whose password follows from the serial number.
        without_account = uses_tokens or "@" in (credentials.username or "")
        try:
            await self._gateway.log_in(
                replace(credentials, username=None, password=None) if without_account else credentials,
                accept_partial=True,
            )
        except GatewayError as err:
            # When a token ended or was revoked, the account can give a new one without the user.
            if err.is_temporary or not (credentials.has_account and uses_tokens):
                raise
            self._require_open()
            await self._log_in_with_new_token(err)
        self._store_token()

    async def _log_in_with_new_token(self, refusal: GatewayError) -> None:
        """Log in with a new token, unless one was requested just now. Raises GatewayError."""
        if self._clock() < self._fetch_at:
            if self._fetch_failure:
                raise GatewayError(*self._fetch_failure)
            raise refusal
        self._fetch_at, self._fetch_failure = self._clock() + _FETCH_PAUSE, None
        try:
            await self._gateway.log_in(replace(self._credentials(), token=None))
        except GatewayError as err:
            self._fetch_failure = err.reason, err.detail
            if err.is_temporary:
                self._fetch_at = self._clock() + self._cloud_backoff.fail()
            raise
        self._cloud_backoff.reset()

    async def async_renew_token(self) -> None:
        """Fetch a new token with the account. Raises GatewayError; the old one is then still in use."""
        await self._gateway.log_in(replace(self._credentials(), token=None))
        self._store_token()

    @callback
    def _store_token(self) -> None:
        """Store a new token in the entry, which does not reload it."""
        self._require_open()
        token, data = self._gateway.token, self._entry.data
        if token and token != data.get(CONF_TOKEN):
            self._hass.config_entries.async_update_entry(self._entry, data={**data, CONF_TOKEN: token})

    @callback
    def refused(self, err: GatewayError, *, has_data: bool) -> bool:
        """Note that the gateway refused access, and return whether to go on polling nevertheless.

        A gateway that restarts refuses all access for a minute or two, and only polls notice that this is over.
        `has_data` is whether there is something to show meanwhile.
        """
        may_pass = err.reason in (Reason.TOKEN_REJECTED, Reason.PASSWORD_REJECTED, Reason.INVALID_AUTH)
        # The clock of a computer that has just started may be wrong.
        may_be_valid = may_pass or err.reason is Reason.TOKEN_EXPIRED
        if not has_data and not (may_be_valid and self._gateway.has_documents):
            return False
        self._refusals.add(None)
        if self._refusals.is_confirmed(None) or not may_pass:
            self._entry.async_start_reauth(self._hass)
        return True

    @callback
    def succeeded(self) -> None:
        """Note that the gateway grants access, and withdraw the request for new credentials.

        Entries of Home Assistant's own integration work without access to the inverters: that is reported.
        """
        if self._gateway.denies_inverters != self._denies_inverters:
            self._denies_inverters = self._gateway.denies_inverters
            if self._denies_inverters:
                async_report_local_password(self._hass, self._entry, self._gateway.host)
            else:
                async_clear(self._hass, self._entry, LOCAL_PASSWORD)
        # The certificate was trusted in another dialog, or the old one is back.
        async_clear(self._hass, self._entry, CERTIFICATE_CHANGED)
        if None in self._refusals:
            self._refusals.reset(None)
            for flow in self._entry.async_get_active_flows(self._hass, {SOURCE_REAUTH}):
                self._hass.config_entries.flow.async_abort(flow["flow_id"])
