"""Config flow: the address, then the login; reauthentication and reconfiguration share their steps."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
import sys
from typing import Any, override

from homeassistant.config_entries import (
    SOURCE_REAUTH,
    SOURCE_RECONFIGURE,
    ConfigEntry,
    ConfigFlow,
    ConfigFlowResult,
    UnknownEntry,
)
from homeassistant.const import CONF_HOST, CONF_NAME, CONF_PASSWORD, CONF_TOKEN, CONF_USERNAME
from homeassistant.core import HomeAssistant, callback
from homeassistant.helpers.aiohttp_client import async_get_clientsession
from homeassistant.helpers.selector import (
    TextSelector,
    TextSelectorConfig,
    TextSelectorType,
)
from homeassistant.helpers.service_info.zeroconf import ZeroconfServiceInfo
import voluptuous as vol
from yarl import URL

from .address import async_follow
from .authentication import uses_tokens
from .client.auth import Credentials
from .client.errors import GatewayError, Reason
from .client.gateway import Gateway
from .const import (
    CONF_FINGERPRINT,
    CONF_USE_MANUAL_TOKEN,
    DOMAIN,
    OPTION_PIN_CERTIFICATE,
)
from .live_flow import LivePowerSteps
from .migration import async_take_over, shared_devices
from .model.validation import is_serial_number
from .options_flow import EnvoyOptionsFlow
from .session import async_fingerprint, async_session_to_try

#: Makes the key of a schema for a password or token, which errors of the schema do not contain: that of probatio,
#: with which Home Assistant replaces voluptuous from 2026.10 on.
secret_key: Callable[[str], Any] = getattr(sys.modules.get("probatio"), "Secret", str)

SECRET = TextSelector(TextSelectorConfig(type=TextSelectorType.PASSWORD))
#: Page on which tokens are created. hassfest accepts no URLs in translations.
ENTREZ = "https://entrez.enphaseenergy.com"

#: Fields at which errors are shown, where the form has them; other errors are shown for the form as a whole.
_ERROR_FIELDS: Mapping[Reason, str] = {
    Reason.CLOUD_ACCOUNT: CONF_USERNAME,
    Reason.TOKEN_MALFORMED: CONF_TOKEN,
    Reason.TOKEN_EXPIRED: CONF_TOKEN,
    Reason.TOKEN_OTHER_GATEWAY: CONF_TOKEN,
    Reason.TOKEN_REJECTED: CONF_TOKEN,
}

#: Obstacles after which what was entered in a field is discarded. In all others it is kept for the next attempt.
_WRONG: Mapping[Reason, str] = {
    Reason.INVALID_AUTH: CONF_PASSWORD,
    Reason.MULTI_FACTOR: CONF_PASSWORD,
    Reason.PASSWORD_REJECTED: CONF_PASSWORD,
    Reason.NOT_YOUR_GATEWAY: CONF_PASSWORD,
    Reason.TOKEN_MALFORMED: CONF_TOKEN,
    Reason.TOKEN_EXPIRED: CONF_TOKEN,
    Reason.TOKEN_OTHER_GATEWAY: CONF_TOKEN,
    Reason.TOKEN_REJECTED: CONF_TOKEN,
}

#: Steps that log in, and their fields.
_LOGIN_STEPS: Mapping[str, tuple[str, ...]] = {
    "account": (CONF_USERNAME, CONF_PASSWORD),
    "token": (CONF_TOKEN,),
    "local": (CONF_USERNAME, CONF_PASSWORD),
}
#: Fields that are added after an error: the other way to log in.
_OTHER_FIELDS: Mapping[str, tuple[str, ...]] = {
    "account": _LOGIN_STEPS["token"],
    "token": _LOGIN_STEPS["account"],
    "local": (),
}


@dataclass(frozen=True, slots=True)
class Validated:
    """Result of validating an address and credentials."""

    #: Serial number of the gateway, None if it did not answer.
    serial: str | None = None
    #: Whether it uses tokens; None if that was not determined.
    uses_tokens: bool | None = None
    firmware: str | None = None
    #: Data of the config entry, None if the log-in failed.
    data: dict[str, Any] | None = None
    #: Inverters and batteries of a gateway that is not the one of the entry.
    devices: frozenset[str] = frozenset()
    #: Path of the source of live power of a new gateway, None without one.
    live_source: str | None = None


async def validate(
    hass: HomeAssistant,
    host: str,
    credentials: Credentials | None,
    entry: ConfigEntry | None = None,
    fingerprint: str | None = None,
    *,
    tokens_only: bool = False,
) -> tuple[Validated, Reason | None]:
    """Identify the gateway at an address, and log in with credentials. Return the result and the obstacle.

    `entry` is the entry to be changed. If it pins the gateway's certificate, nothing is sent to a host with another
    than its own, or the one of `fingerprint`. If it uses tokens, or with `tokens_only`, no account is sent to a host
    with firmware before 7.
    """
    async with async_session_to_try(hass, entry, fingerprint) as session:
        pinned = bool(entry and entry.options.get(OPTION_PIN_CERTIFICATE))
        gateway = Gateway(host, session, pinned=pinned)
        try:
            await gateway.identify(tokens_only=tokens_only or uses_tokens(entry))
        except GatewayError as err:
            return Validated(), err.reason
        found = Validated(gateway.serial, gateway.uses_tokens, gateway.firmware)
        if credentials is None:
            return found, None
        try:
            await gateway.log_in(credentials)
        except GatewayError as err:
            return found, err.reason
        found = replace(found, data=_entry_data(gateway, credentials))
        if entry and entry.unique_id not in (None, found.serial):
            found = replace(found, devices=await _devices(gateway))
        if entry is None:
            found = replace(found, live_source=await gateway.live.find())
        return found, None


def _entry_data(gateway: Gateway, credentials: Credentials) -> dict[str, Any]:
    """Return the data of the config entry of a gateway that accepted the credentials."""
    data: dict[str, Any] = {
        CONF_HOST: gateway.host,
        CONF_NAME: f"Envoy {gateway.serial}",
        CONF_USERNAME: credentials.username or "",
        CONF_PASSWORD: credentials.password or "",
    }
    if gateway.uses_tokens:
        data[CONF_TOKEN] = gateway.token
        data[CONF_USE_MANUAL_TOKEN] = not credentials.has_account
        if not credentials.has_account:
            data[CONF_USERNAME] = data[CONF_PASSWORD] = ""
    return data


async def async_certificate(
    hass: HomeAssistant, host: str, serial: str | None = None, *, tokens_only: bool = True
) -> tuple[str, Gateway]:
    """Return the fingerprint of a host's certificate, and the gateway there. No credentials are sent to read them.

    Raises GatewayError, also for another serial number. Firmware before 7 has no certificate.
    """
    gateway = Gateway(host, async_get_clientsession(hass, verify_ssl=False))
    fingerprint = await async_fingerprint(hass, host) if tokens_only else "-"
    await gateway.identify(serial, tokens_only=tokens_only)
    return fingerprint, gateway


async def _devices(gateway: Gateway) -> frozenset[str]:
    """Return the serial numbers of the inverters and batteries that a gateway reports; none if it can't be read."""
    try:
        snapshot = await gateway.poll()
    except GatewayError:
        return frozenset()
    finally:
        gateway.close()
    kinds = ("inverters", "encharge_inventory", "acb_inventory")
    return frozenset(serial for kind in kinds for serial in snapshot.members(kind))


def host_of(typed: str) -> str:
    """Return `host` or `host:port` of the text that was entered, which may be a whole URL."""
    typed = typed.strip()
    if "//" in typed:
        try:
            url = URL(typed)
        except ValueError:
            return typed
        typed = (url.host_port_subcomponent if url.explicit_port else url.host_subcomponent) or typed
    return typed.rstrip("/")


def credentials_of(fields: Mapping[str, Any]) -> Credentials:
    """Return the credentials in the fields of a form or of a config entry."""
    token = (fields.get(CONF_TOKEN) or "").strip()
    return Credentials(fields.get(CONF_USERNAME), fields.get(CONF_PASSWORD), token or None)


class EnvoyConfigFlow(LivePowerSteps[ConfigFlowResult], ConfigFlow, domain=DOMAIN):
    """Config flow. Version 1 is that of Home Assistant's own integration, which could not load a higher one."""

    VERSION = 1

    @staticmethod
    @callback
    @override
    def async_get_options_flow(config_entry: ConfigEntry) -> EnvoyOptionsFlow:
        """Return the options flow."""
        return EnvoyOptionsFlow()

    def __init__(self) -> None:
        """Initialize."""
        self._host = "envoy.local"
        #: Values of the fields: those of the entry without its secrets, and those that were entered in this dialog.
        self._suggested: dict[str, str] = {}
        #: Why the stored credentials are rejected.
        self._initial: Reason | None = None
        #: The gateway at the address, as far as it was identified.
        self._gateway = Validated()
        #: Certificate that the user trusts instead of the one of the entry.
        self._fingerprint: str | None = None
        #: Certificate that is shown to the user: the current one may have changed again meanwhile.
        self._shown: str | None = None
        #: A gateway that may have replaced the one of the entry.
        self._replacement = Validated()

    async def async_step_user(self, user_input: dict[str, Any] | None = None) -> ConfigFlowResult:
        """Request the address, and identify the gateway there."""
        if user_input is None:
            return self._address_form()
        self._host = host_of(user_input[CONF_HOST])
        return await self._async_identify()

    def _address_form(self, reason: Reason | None = None) -> ConfigFlowResult:
        schema = vol.Schema({vol.Required(CONF_HOST): TextSelector()})
        return self.async_show_form(
            step_id="user",
            # Home Assistant replaces `voluptuous` at run time, which the type checker does not see.
            data_schema=self.add_suggested_values_to_schema(schema, {CONF_HOST: self._host}),  # type: ignore[arg-type]
            errors={CONF_HOST: reason} if reason else {},
            description_placeholders=self._texts,
        )

    @property
    def _texts(self) -> dict[str, str]:
        """The placeholders of all steps."""
        serial, firmware = self._gateway.serial or self.unique_id or "-", self._gateway.firmware or "-"
        return {"host": self._host, "serial": serial, "firmware": firmware, "entrez": ENTREZ}

    async def _async_identify(self) -> ConfigFlowResult:
        """Identify the gateway at the address; continue with its login, or show the error."""
        try:
            entry = self._entry_to_change()
        except UnknownEntry:
            return self.async_abort(reason="removed")
        found, reason = await validate(self.hass, self._host, None, entry, self._fingerprint)
        if self._is_removed(entry):
            return self.async_abort(reason="removed")
        if reason is Reason.CERTIFICATE_CHANGED:
            return await self.async_step_trust()
        if reason:
            return self._address_form(reason)
        self._gateway = found
        if entry is None:
            await self.async_set_unique_id(found.serial, raise_on_progress=False)
            self._abort_if_unique_id_configured()
        elif entry.unique_id not in (None, found.serial) and self._is_set_up(found):
            return self._address_form(Reason.OTHER_GATEWAY)
        return await self.async_step_login()

    async def async_step_login(self, _user_input: dict[str, Any] | None = None) -> ConfigFlowResult:
        """Let the user choose how to log in, where there is a choice."""
        steps = ["account", "token"] if self._gateway.uses_tokens else ["local"]
        if self.source == SOURCE_RECONFIGURE and self._is_same_gateway(self._get_reconfigure_entry()):
            steps.insert(0, "keep")
        if not steps[1:]:
            return self._login_form(steps[0])
        return self.async_show_menu(step_id="login", menu_options=steps, description_placeholders=self._texts)

    def _is_removed(self, entry: ConfigEntry | None) -> bool:
        """Return whether the entry to be changed was removed meanwhile."""
        return entry is not None and self.hass.config_entries.async_get_entry(entry.entry_id) is None

    def _is_same_gateway(self, entry: ConfigEntry) -> bool:
        """Return whether the gateway at the address is the one of the entry."""
        return entry.unique_id in (None, self._gateway.serial)

    async def async_step_account(self, user_input: dict[str, Any] | None = None) -> ConfigFlowResult:
        """Log in with an Enlighten account."""
        return await self._async_log_in("account", user_input)

    async def async_step_token(self, user_input: dict[str, Any] | None = None) -> ConfigFlowResult:
        """Log in with a token."""
        return await self._async_log_in("token", user_input)

    async def async_step_local(self, user_input: dict[str, Any] | None = None) -> ConfigFlowResult:
        """Log in as a user of the gateway itself, whose firmware is older than 7."""
        return await self._async_log_in("local", user_input)

    async def async_step_keep(self, _user_input: dict[str, Any] | None = None) -> ConfigFlowResult:
        """Log in with the credentials of the entry."""
        try:
            entry = self._get_reconfigure_entry()
        except UnknownEntry:
            return self.async_abort(reason="removed")
        return await self._async_validate(self._step_of(entry), credentials_of(entry.data), entry)

    def _step_of(self, entry: ConfigEntry) -> str:
        """Return the step that logs in as the entry does."""
        tokens = self._gateway.uses_tokens
        if not (uses_tokens(entry) if tokens is None else tokens):
            return "local"
        return "token" if entry.data.get(CONF_USE_MANUAL_TOKEN) else "account"

    async def _async_log_in(self, step: str, user_input: dict[str, Any] | None) -> ConfigFlowResult:
        """Show the form of a step, and log in with its fields; empty ones of a reconfiguration are as before."""
        if user_input is None:
            return self._login_form(step, self._initial)
        try:
            entry = self._entry_to_change()
        except UnknownEntry:
            return self.async_abort(reason="removed")
        fields = {key: value for key, value in user_input.items() if value}
        self._suggested = {CONF_USERNAME: self._suggested.get(CONF_USERNAME, ""), **fields}
        if entry and self.source == SOURCE_RECONFIGURE and self._is_same_gateway(entry):
            before = {key: entry.data.get(key) for key in _LOGIN_STEPS[step]}
            is_same_user = fields.get(CONF_USERNAME, before.get(CONF_USERNAME)) == before.get(CONF_USERNAME)
            if is_same_user and fields.keys() <= before.keys() and self._step_of(entry) == step:
                fields = {**before, **fields}
        return await self._async_validate(step, credentials_of(fields), entry)

    async def _async_validate(self, step: str, credentials: Credentials, entry: ConfigEntry | None) -> ConfigFlowResult:
        """Log in, and finish or show the error."""
        # The device may report other firmware than it did when the user chose how to log in.
        found, reason = await validate(
            self.hass, self._host, credentials, entry, self._fingerprint, tokens_only=step != "local"
        )
        if reason is Reason.CERTIFICATE_CHANGED or self._is_removed(entry):
            # That step aborts the flow of an entry that was removed.
            return await self.async_step_trust()
        if found.serial:
            self._gateway = found
        if found.serial and entry and not self._is_same_gateway(entry):
            if self._replaces(found, entry):
                self._replacement = found
                return await self.async_step_take_over()
            if not reason:
                if self.source == SOURCE_RECONFIGURE:
                    return self._address_form(Reason.OTHER_GATEWAY)
                reason = Reason.OTHER_GATEWAY
        if reason or not found.data:
            return self._login_form(step, reason)
        if not entry:
            await self.async_set_unique_id(found.serial, raise_on_progress=False)
            self._abort_if_unique_id_configured()
            return self._offer_live_power(found.live_source, title=found.data[CONF_NAME], data=found.data)
        return self._finish(found.data, entry)

    def _login_form(self, step: str, reason: Reason | None = None) -> ConfigFlowResult:
        """Show the form of a step with an error."""
        if reason and reason in _WRONG:
            self._suggested.pop(_WRONG[reason], None)
        fields = _LOGIN_STEPS[step] + (_OTHER_FIELDS[step] if reason else ())
        schema = vol.Schema(
            {
                vol.Optional(secret_key(key) if key != CONF_USERNAME else key): (
                    SECRET if key != CONF_USERNAME else TextSelector()
                )
                for key in fields
            }
        )
        field = _ERROR_FIELDS.get(reason) if reason else None
        return self.async_show_form(
            step_id=step,
            data_schema=self.add_suggested_values_to_schema(schema, self._suggested),  # type: ignore[arg-type]
            errors={field if field in fields else "base": reason} if reason else {},
            description_placeholders=self._texts,
        )

    async def async_step_trust(self, user_input: dict[str, Any] | None = None) -> ConfigFlowResult:
        """Let the user confirm another certificate than the one of the entry."""
        try:
            entry = self._entry_to_change()
        except UnknownEntry:
            return self.async_abort(reason="removed")
        # Only a new address may be that of another gateway, which replaced the one of the entry.
        serial = entry.unique_id if entry and self.source == SOURCE_REAUTH else None
        try:
            current, gateway = await async_certificate(self.hass, self._host, serial)
        except GatewayError as err:
            # Others have no certificate at all.
            is_other = err.reason is Reason.OTHER_GATEWAY
            return self._address_form(err.reason if is_other else Reason.CERTIFICATE_CHANGED)
        if user_input is not None and self._shown == current:
            self._fingerprint = current
            return await (self._async_reauthenticate() if self.source == SOURCE_REAUTH else self._async_identify())
        self._gateway, self._shown = Validated(gateway.serial, gateway.uses_tokens, gateway.firmware), current
        old = {"old": entry.data.get(CONF_FINGERPRINT, "-"), "old_serial": entry.unique_id or "-"} if entry else {}
        return self.async_show_form(
            step_id="trust",
            description_placeholders={**self._texts, **old, "new": current},
        )

    def _replaces(self, found: Validated, entry: ConfigEntry) -> bool:
        """Return whether a gateway may have replaced the one of the entry: it reports one of the same devices."""
        is_offered = self.source == SOURCE_RECONFIGURE and found.data is not None and not self._is_set_up(found)
        return is_offered and bool(shared_devices(self.hass, entry, found.devices))

    def _is_set_up(self, found: Validated) -> bool:
        """Return whether an entry has this gateway."""
        return self.hass.config_entries.async_entry_for_domain_unique_id(DOMAIN, found.serial or "") is not None

    async def async_step_take_over(self, user_input: dict[str, Any] | None = None) -> ConfigFlowResult:
        """Let the user confirm that a gateway replaced the one of the entry."""
        try:
            entry = self._get_reconfigure_entry()
        except UnknownEntry:
            return self.async_abort(reason="removed")
        old, new = entry.unique_id or "", self._replacement.serial or ""
        if user_input is None:
            count = len(shared_devices(self.hass, entry, self._replacement.devices))
            texts = {"name": entry.title, "old_serial": old, "serial": new, "count": str(count)}
            return self.async_show_form(step_id="take_over", description_placeholders=texts)
        await async_take_over(self.hass, entry, new)
        if self._is_removed(entry):
            return self.async_abort(reason="removed")
        name = entry.data.get(CONF_NAME, entry.title).replace(old, new)
        trusted = {CONF_FINGERPRINT: self._fingerprint} if self._fingerprint else {}
        return self.async_update_reload_and_abort(
            entry,
            unique_id=new,
            title=entry.title.replace(old, new),
            data={**(self._replacement.data or {}), CONF_NAME: name, **trusted},
        )

    def _entry_to_change(self) -> ConfigEntry | None:
        """Return the entry that the flow changes, None for a new one. Raises UnknownEntry if it was removed."""
        if self.source == SOURCE_REAUTH:
            return self._get_reauth_entry()
        if self.source == SOURCE_RECONFIGURE:
            return self._get_reconfigure_entry()
        return None

    def _finish(self, data: dict[str, Any], entry: ConfigEntry) -> ConfigFlowResult:
        """Update the entry; its name is kept, because the user may have changed it."""
        kept = {CONF_NAME: entry.data.get(CONF_NAME, entry.title)}
        if fingerprint := self._fingerprint or entry.data.get(CONF_FINGERPRINT):
            kept[CONF_FINGERPRINT] = fingerprint
        return self.async_update_reload_and_abort(entry, data={**data, **kept})

    async def async_step_zeroconf(self, discovery_info: ZeroconfServiceInfo) -> ConfigFlowResult:
        """Handle a gateway that was discovered."""
        if discovery_info.ip_address.version != 4:  # noqa: PLR2004
            return self.async_abort(reason="not_ipv4")
        serial, host = discovery_info.properties.get("serialnum"), discovery_info.host
        if not is_serial_number(serial):
            return self.async_abort(reason=Reason.NOT_A_GATEWAY, description_placeholders={"host": host})
        entry = await self.async_set_unique_id(serial)
        # A gateway on Ethernet and Wi-Fi announces both addresses in turn: the current one is kept while it works.
        works = entry is not None and hasattr(entry, "runtime_data") and entry.runtime_data.last_update_success
        if (
            entry
            and not works
            and entry.data.get(CONF_HOST, host) != host
            and await async_follow(self.hass, entry, host)
        ):
            self.hass.config_entries.async_schedule_reload(entry.entry_id)
        self._abort_if_unique_id_configured()
        self._host = host
        self.context["title_placeholders"] = {"name": f"Envoy {serial}", "host": host}
        found, reason = await validate(self.hass, host, None)
        if reason:
            # It may still be starting: the address is requested when the user opens the dialog.
            return self._address_form()
        if found.serial != serial:
            return self.async_abort(reason=Reason.NOT_A_GATEWAY, description_placeholders={"host": host})
        self._gateway = found
        return await self.async_step_login()

    async def async_step_reauth(self, entry_data: Mapping[str, Any]) -> ConfigFlowResult:
        """Handle a gateway that rejects the credentials; the form starts with the reason."""
        self._host = entry_data[CONF_HOST]
        self._suggested = {CONF_USERNAME: entry_data.get(CONF_USERNAME, "")}
        # Home Assistant sets the name alone.
        self.context["title_placeholders"] = {"name": self._get_reauth_entry().title, "host": self._host}
        return await self._async_reauthenticate()

    async def _async_reauthenticate(self) -> ConfigFlowResult:
        """Show the form with the reason why the stored credentials are rejected."""
        entry = self._get_reauth_entry()
        found, reason = await validate(self.hass, self._host, credentials_of(entry.data), entry, self._fingerprint)
        if self._is_removed(entry):
            return self.async_abort(reason="removed")
        if reason is Reason.CERTIFICATE_CHANGED:
            return await self.async_step_trust()
        self._gateway = found
        if self._fingerprint and found.data and self._is_same_gateway(entry):
            return self._finish(found.data, entry)
        self._initial = reason
        return self._login_form(self._step_of(entry), reason)

    async def async_step_reconfigure(self, user_input: dict[str, Any] | None = None) -> ConfigFlowResult:
        """Handle a change of address or credentials by the user."""
        if user_input is None:
            data = self._get_reconfigure_entry().data
            self._host = data[CONF_HOST]
            self._suggested = {CONF_USERNAME: data.get(CONF_USERNAME, "")}
        return await self.async_step_user(user_input)
