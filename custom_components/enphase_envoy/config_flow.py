"""Config flow: set-up by the user or discovery, reauthentication and reconfiguration share one form. Options flow."""

from collections import ChainMap
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, override

from homeassistant.components.energy.const import DOMAIN as ENERGY
from homeassistant.config_entries import (
    SOURCE_REAUTH,
    SOURCE_RECONFIGURE,
    ConfigEntry,
    ConfigEntryState,
    ConfigFlow,
    ConfigFlowResult,
    OptionsFlowWithReload,
    UnknownEntry,
)
from homeassistant.const import CONF_HOST, CONF_NAME, CONF_PASSWORD, CONF_TOKEN, CONF_USERNAME, UnitOfTime
from homeassistant.core import HomeAssistant, callback
from homeassistant.helpers.selector import (
    NumberSelector,
    NumberSelectorConfig,
    NumberSelectorMode,
    SelectSelector,
    SelectSelectorConfig,
    SelectSelectorMode,
    TextSelector,
    TextSelectorConfig,
    TextSelectorType,
)
from homeassistant.helpers.service_info.zeroconf import ZeroconfServiceInfo
import voluptuous as vol
from yarl import URL

from .address import async_follow
from .authentication import uses_tokens
from .battery_control import has_account, is_enabled
from .battery_flow import BatteryCloudSteps
from .client.auth import Credentials
from .client.errors import GatewayError, Reason
from .client.gateway import Gateway
from .const import (
    CONF_FINGERPRINT,
    CONF_USE_MANUAL_TOKEN,
    DEFAULT_POLL_INTERVAL,
    DOMAIN,
    LIVE_INTERVALS,
    OPTION_CLOUD_CODE,
    OPTION_CLOUD_SITE,
    OPTION_DISABLE_KEEP_ALIVE,
    OPTION_FIXTURES,
    OPTION_LIVE_POWER,
    OPTION_PIN_CERTIFICATE,
    OPTION_POLL_INTERVAL,
    POLL_INTERVALS,
)
from .descriptions import sources
from .energy.settings_monitor import STORAGE_SETTINGS
from .energy_dashboard import BALANCED, DUPLICATE_SUFFIX, async_add, async_proposals
from .live_flow import LivePowerSteps, async_source_text
from .migration import async_take_over, shared_devices
from .model.validation import is_serial_number
from .session import async_session_to_try

SECRET = TextSelector(TextSelectorConfig(type=TextSelectorType.PASSWORD))

#: Fields of the form at which errors are shown; other errors are shown for the form as a whole.
_ERROR_FIELDS: Mapping[Reason, str] = {
    Reason.CANNOT_CONNECT: CONF_HOST,
    Reason.NOT_A_GATEWAY: CONF_HOST,
    Reason.FIRMWARE_TOO_OLD: CONF_HOST,
    Reason.FIRMWARE_BEFORE_TOKENS: CONF_HOST,
    Reason.CLOUD_ACCOUNT: CONF_USERNAME,
    Reason.TOKEN_MALFORMED: CONF_TOKEN,
    Reason.TOKEN_EXPIRED: CONF_TOKEN,
    Reason.TOKEN_OTHER_GATEWAY: CONF_TOKEN,
    Reason.TOKEN_REJECTED: CONF_TOKEN,
}


@dataclass(frozen=True, slots=True)
class Validated:
    """Result of validating an address and credentials."""

    #: Serial number of the gateway, None if it did not answer.
    serial: str | None = None
    #: Whether it uses tokens; None if that was not determined.
    uses_tokens: bool | None = None
    #: Data of the config entry, None if the log-in failed.
    data: dict[str, Any] | None = None
    #: Inverters and batteries of a gateway that is not the one of the entry.
    devices: frozenset[str] = frozenset()
    #: Path of the source of live power of a new gateway, None without one.
    live_source: str | None = None


async def validate(
    hass: HomeAssistant, form: Mapping[str, Any], entry: ConfigEntry | None = None
) -> tuple[Validated, dict[str, str]]:
    """Validate user input. Return the result and the errors of the form; nothing is changed.

    `entry` is the entry to be changed. If it pins the gateway's certificate, nothing is sent to a host with another; if
    it uses tokens, no account is sent to a host with firmware before 7.
    """
    async with async_session_to_try(hass, entry) as session:
        pinned = bool(entry and entry.options.get(OPTION_PIN_CERTIFICATE))
        gateway = Gateway(host_of(form[CONF_HOST]), session, pinned=pinned)
        found, errors = await _validate(gateway, form, tokens_only=uses_tokens(entry))
        if found.data and entry and entry.unique_id not in (None, found.serial):
            found = replace(found, devices=await _devices(gateway))
        if found.data and entry is None:
            found = replace(found, live_source=await gateway.live.find())
        return found, errors


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


async def _validate(
    gateway: Gateway, form: Mapping[str, Any], *, tokens_only: bool
) -> tuple[Validated, dict[str, str]]:
    credentials = Credentials(
        form.get(CONF_USERNAME), form.get(CONF_PASSWORD), form.get(CONF_TOKEN, "").strip() or None
    )
    try:
        await gateway.identify(tokens_only=tokens_only)
    except GatewayError as err:
        return Validated(), _errors(err)
    try:
        await gateway.log_in(credentials)
    except GatewayError as err:
        return Validated(gateway.serial, gateway.uses_tokens), _errors(err)
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
    return Validated(gateway.serial, gateway.uses_tokens, data), {}


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


def _errors(err: GatewayError) -> dict[str, str]:
    return {_ERROR_FIELDS.get(err.reason, "base"): err.reason}


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
        self._suggested: dict[str, Any] = {CONF_HOST: "envoy.local"}
        self._uses_tokens: bool | None = None
        #: A gateway that may have replaced the one of the entry.
        self._replacement = Validated()
        #: Errors to show when the form is opened for the first time.
        self._initial_errors: dict[str, str] = {}

    async def async_step_user(self, user_input: dict[str, Any] | None = None) -> ConfigFlowResult:
        """Show the form, validate the input, and finish or show the errors."""
        errors = self._initial_errors
        if user_input is not None:
            try:
                entry = self._entry_to_change()
                found, errors = await validate(self.hass, user_input, entry)
                # It may have been removed meanwhile.
                self._entry_to_change()
            except UnknownEntry:
                return self.async_abort(reason="removed")
            self._uses_tokens = found.uses_tokens
            self._suggested = {key: user_input[key] for key in (CONF_HOST, CONF_USERNAME) if key in user_input}
            if found.serial and entry and entry.unique_id not in (None, found.serial):
                if self._replaces(found, entry):
                    self._replacement = found
                    return await self.async_step_take_over()
                errors = {CONF_HOST: Reason.OTHER_GATEWAY}
            elif found.serial and not entry:
                await self.async_set_unique_id(found.serial, raise_on_progress=False)
                self._abort_if_unique_id_configured()
            if found.data and not errors:
                if entry is None:
                    return self._offer_live_power(found.live_source, title=found.data[CONF_NAME], data=found.data)
                return self._finish(found.data, entry)
        return self._form(errors)

    def _replaces(self, found: Validated, entry: ConfigEntry) -> bool:
        """Return whether a gateway may have replaced the one of the entry: it reports one of the same devices."""
        is_set_up = self.hass.config_entries.async_entry_for_domain_unique_id(DOMAIN, found.serial or "")
        is_offered = self.source == SOURCE_RECONFIGURE and found.data is not None and is_set_up is None
        return is_offered and bool(shared_devices(self.hass, entry, found.devices))

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
        name = entry.data.get(CONF_NAME, entry.title).replace(old, new)
        return self.async_update_reload_and_abort(
            entry,
            unique_id=new,
            title=entry.title.replace(old, new),
            data={**(self._replacement.data or {}), CONF_NAME: name},
        )

    def _form(self, errors: dict[str, str]) -> ConfigFlowResult:
        """Show the form with errors."""
        return self.async_show_form(
            step_id="user",
            # Home Assistant replaces `voluptuous` at run time, which the type checker does not see.
            data_schema=self.add_suggested_values_to_schema(self._schema(), self._suggested),  # type: ignore[arg-type]
            errors=errors,
            description_placeholders={"host": self._suggested[CONF_HOST]},
        )

    def _schema(self) -> vol.Schema:
        """Return the fields of the form; without the token for a gateway that uses none."""
        fields: dict[vol.Marker, Any] = {
            vol.Required(CONF_HOST): TextSelector(),
            vol.Optional(CONF_USERNAME): TextSelector(),
            vol.Optional(CONF_PASSWORD): SECRET,
        }
        if self._uses_tokens is not False:
            fields[vol.Optional(CONF_TOKEN)] = SECRET
        return vol.Schema(fields)

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
        if CONF_FINGERPRINT in entry.data:
            kept[CONF_FINGERPRINT] = entry.data[CONF_FINGERPRINT]
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
        self._suggested = {CONF_HOST: host}
        self.context["title_placeholders"] = {"name": f"Envoy {serial}", "host": host}
        return await self.async_step_user()

    async def async_step_reauth(self, entry_data: Mapping[str, Any]) -> ConfigFlowResult:
        """Handle a gateway that rejects the credentials; the form starts with the reason."""
        self._suggested = {key: entry_data[key] for key in (CONF_HOST, CONF_USERNAME) if entry_data.get(key)}
        # Home Assistant sets the name alone.
        self.context["title_placeholders"] = {"name": self._get_reauth_entry().title, "host": entry_data[CONF_HOST]}
        found, self._initial_errors = await validate(self.hass, entry_data, self._get_reauth_entry())
        self._uses_tokens = found.uses_tokens
        return await self.async_step_user()

    async def async_step_reconfigure(self, user_input: dict[str, Any] | None = None) -> ConfigFlowResult:
        """Handle a change of address or credentials by the user."""
        if user_input is None:
            data = self._get_reconfigure_entry().data
            self._suggested = {key: data[key] for key in (CONF_HOST, CONF_USERNAME) if data.get(key)}
        return await self.async_step_user(user_input)


class EnvoyOptionsFlow(BatteryCloudSteps[ConfigFlowResult], OptionsFlowWithReload):
    """Options flow: options of the entry, the sources of the Energy dashboard, and battery settings in the cloud."""

    async def async_step_init(self, _user_input: dict[str, Any] | None = None) -> ConfigFlowResult:
        """Show the menu if the Energy dashboard can be filled, else the options."""
        steps = ["options"]
        if self._is_loaded and ENERGY in self.hass.config.components:
            steps.insert(0, "energy_dashboard")
        if is_enabled(self.config_entry) or self._may_use_cloud:
            steps.append("battery_cloud")
        return (
            self.async_show_menu(step_id="init", menu_options=steps) if steps[1:] else await self.async_step_options()
        )

    @property
    def _may_use_cloud(self) -> bool:
        """Whether the system has IQ batteries, and the password of the account is known."""
        if not (self._is_loaded and has_account(self.config_entry)):
            return False
        snapshot = self.config_entry.runtime_data.data
        return sources.STORAGE_SETTINGS.find(snapshot, STORAGE_SETTINGS) is not None

    async def async_step_battery_cloud(self, user_input: dict[str, Any] | None = None) -> ConfigFlowResult:
        """Let the user choose whether battery settings are changed through the cloud."""
        errors: dict[str, str] = {}
        if user_input is not None:
            if not user_input["enabled"]:
                kept = {**self.config_entry.options}
                kept.pop(OPTION_CLOUD_SITE, None)
                kept.pop(OPTION_CLOUD_CODE, None)
                return self.async_create_entry(data=kept)
            result, errors = await self._async_log_in()
            if result:
                return result
        schema = vol.Schema({vol.Required("enabled", default=is_enabled(self.config_entry)): bool})
        return self.async_show_form(step_id="battery_cloud", data_schema=schema, errors=errors)

    @property
    @override
    def _cloud_entry(self) -> ConfigEntry[Any]:
        return self.config_entry

    @override
    def _use_cloud(self, options: dict[str, Any]) -> ConfigFlowResult:
        return self.async_create_entry(data=options)

    @property
    def _is_loaded(self) -> bool:
        return self.config_entry.state is ConfigEntryState.LOADED

    async def async_step_options(self, user_input: dict[str, Any] | None = None) -> ConfigFlowResult:
        """Show the form and save the options."""
        if user_input is not None:
            for option in (OPTION_POLL_INTERVAL, OPTION_LIVE_POWER):
                user_input[option] = int(user_input[option])
            return self.async_create_entry(data={**self.config_entry.options, **user_input})
        low, high = POLL_INTERVALS
        seconds = NumberSelectorConfig(
            min=low, max=high, step=5, unit_of_measurement=UnitOfTime.SECONDS, mode=NumberSelectorMode.SLIDER
        )
        choices = SelectSelectorConfig(
            options=[str(interval) for interval in LIVE_INTERVALS],
            translation_key=OPTION_LIVE_POWER,
            mode=SelectSelectorMode.DROPDOWN,
        )
        schema = vol.Schema(
            {
                vol.Required(OPTION_POLL_INTERVAL, default=DEFAULT_POLL_INTERVAL): NumberSelector(seconds),
                vol.Required(OPTION_LIVE_POWER, default="0"): SelectSelector(choices),
                vol.Required(OPTION_DISABLE_KEEP_ALIVE, default=False): bool,
                vol.Required(OPTION_PIN_CERTIFICATE, default=False): bool,
                vol.Required(OPTION_FIXTURES, default=False): bool,
            }
        )
        current = {
            **self.config_entry.options,
            OPTION_LIVE_POWER: str(self.config_entry.options.get(OPTION_LIVE_POWER, 0)),
        }
        source = await async_source_text(self.config_entry.runtime_data.gateway.live) if self._is_loaded else "-"
        return self.async_show_form(
            step_id="options",
            data_schema=self.add_suggested_values_to_schema(schema, current),  # type: ignore[arg-type]
            description_placeholders={"live_source": source},
        )

    async def async_step_energy_dashboard(self, user_input: dict[str, Any] | None = None) -> ConfigFlowResult:
        """Show the sources that can be added to the Energy dashboard, and add the selected ones."""
        if not self._is_loaded:
            return self.async_abort(reason="not_read")
        proposals = await async_proposals(self.hass, self.config_entry)
        missing = [proposal for proposal in proposals if proposal.source]
        if not missing:
            return self.async_abort(reason="all_there" if proposals else "nothing_to_add")
        errors: dict[str, str] = {}
        if user_input is not None:
            # While the form was shown, a field may have got the suffix of a source that could count twice.
            kinds = {name.removesuffix(DUPLICATE_SUFFIX) for name, is_selected in user_input.items() if is_selected}
            if {"grid", BALANCED} <= kinds:
                errors["base"] = "grid_twice"
            elif selected := [proposal for proposal in missing if proposal.kind in kinds]:
                await async_add(self.hass, selected)
                return self.async_abort(reason="added")
            else:
                errors["base"] = "nothing_chosen"
        schema = vol.Schema({vol.Required(proposal.name, default=proposal.is_selected): bool for proposal in missing})
        texts = [proposal.texts for proposal in missing]
        return self.async_show_form(
            step_id="energy_dashboard",
            data_schema=schema,
            errors=errors,
            description_placeholders=dict(ChainMap(*texts)),
        )
