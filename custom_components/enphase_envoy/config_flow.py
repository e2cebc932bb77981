"""The dialog that connects a gateway, whoever starts it: the owner, discovery, a lost access or a change."""

from collections.abc import Mapping
from dataclasses import dataclass
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
    TextSelector,
    TextSelectorConfig,
    TextSelectorType,
)
from homeassistant.helpers.service_info.zeroconf import ZeroconfServiceInfo
import voluptuous as vol
from yarl import URL

from .client.auth import Credentials
from .client.errors import GatewayError, Reason
from .client.gateway import Gateway
from .const import (
    CONF_FINGERPRINT,
    CONF_USE_MANUAL_TOKEN,
    DEFAULT_POLL_INTERVAL,
    DOMAIN,
    OPTION_DISABLE_KEEP_ALIVE,
    OPTION_FIXTURES,
    OPTION_PIN_CERTIFICATE,
    OPTION_POLL_INTERVAL,
    POLL_INTERVALS,
)
from .energy_dashboard import AGAIN, async_add, async_proposals
from .session import async_session_to_try

SECRET = TextSelector(TextSelectorConfig(type=TextSelectorType.PASSWORD))

#: Fields of the form that an error is shown at; the others belong to the form as a whole.
_FIELD_OF: Mapping[Reason, str] = {
    Reason.CANNOT_CONNECT: CONF_HOST,
    Reason.NOT_A_GATEWAY: CONF_HOST,
    Reason.FIRMWARE_TOO_OLD: CONF_HOST,
    Reason.TOKEN_MALFORMED: CONF_TOKEN,
    Reason.TOKEN_EXPIRED: CONF_TOKEN,
    Reason.TOKEN_OTHER_GATEWAY: CONF_TOKEN,
    Reason.TOKEN_REJECTED: CONF_TOKEN,
}


@dataclass(frozen=True, slots=True)
class Validated:
    """What came of trying an address and credentials."""

    #: Serial number of the gateway that answered, None when none did.
    serial: str | None = None
    #: Whether it wants a token; None when it is not known.
    uses_tokens: bool | None = None
    #: Data of the config entry, None when the gateway did not let us in.
    data: dict[str, Any] | None = None


async def validate(
    hass: HomeAssistant, form: Mapping[str, Any], about: ConfigEntry | None = None
) -> tuple[Validated, dict[str, str]]:
    """Try what was typed. Return what came of it and the errors of the form; nothing is changed.

    A gateway that is known by its certificate is told nothing when it shows another.
    """
    async with async_session_to_try(hass, about) as session:
        pinned = bool(about and about.options.get(OPTION_PIN_CERTIFICATE))
        return await _try(Gateway(host_of(form[CONF_HOST]), session, pinned=pinned), form)


async def _try(gateway: Gateway, form: Mapping[str, Any]) -> tuple[Validated, dict[str, str]]:
    given = Credentials(form.get(CONF_USERNAME), form.get(CONF_PASSWORD), form.get(CONF_TOKEN, "").strip() or None)
    try:
        await gateway.identify()
    except GatewayError as err:
        return Validated(), _errors(err)
    try:
        await gateway.log_in(given)
    except GatewayError as err:
        return Validated(gateway.serial, gateway.uses_tokens), _errors(err)
    data: dict[str, Any] = {
        CONF_HOST: gateway.host,
        CONF_NAME: f"Envoy {gateway.serial}",
        CONF_USERNAME: given.username or "",
        CONF_PASSWORD: given.password or "",
    }
    if gateway.uses_tokens:
        data[CONF_TOKEN] = gateway.token
        data[CONF_USE_MANUAL_TOKEN] = not given.account
        if not given.account:
            data[CONF_USERNAME] = data[CONF_PASSWORD] = ""
    return Validated(gateway.serial, gateway.uses_tokens, data), {}


def host_of(typed: str) -> str:
    """Return `host` or `host:port` of what was typed; people paste whole addresses."""
    typed = typed.strip()
    if "//" in typed:
        try:
            url = URL(typed)
        except ValueError:
            return typed
        typed = (url.host_port_subcomponent if url.explicit_port else url.host_subcomponent) or typed
    return typed.rstrip("/")


def _errors(err: GatewayError) -> dict[str, str]:
    return {_FIELD_OF.get(err.reason, "base"): err.reason}


class EnvoyConfigFlow(ConfigFlow, domain=DOMAIN):
    """Connect a gateway. Version 1 is that of Home Assistant's own integration: a higher one would bar the way back."""

    VERSION = 1

    @staticmethod
    @callback
    @override
    def async_get_options_flow(config_entry: ConfigEntry) -> EnvoyOptionsFlow:
        """Return the dialog for how a gateway is read."""
        return EnvoyOptionsFlow()

    def __init__(self) -> None:
        """Start with nothing known."""
        self._known: dict[str, Any] = {CONF_HOST: "envoy.local"}
        self._uses_tokens: bool | None = None
        #: What is wrong from the start, for who opens the dialog later.
        self._why: dict[str, str] = {}

    async def async_step_user(self, user_input: dict[str, Any] | None = None) -> ConfigFlowResult:
        """Show the form, try what was typed, and finish or say what is wrong."""
        errors = self._why
        if user_input is not None:
            try:
                about = self._about()
            except UnknownEntry:
                return self.async_abort(reason="removed")
            found, errors = await validate(self.hass, user_input, about)
            self._uses_tokens = found.uses_tokens
            self._known = {key: user_input[key] for key in (CONF_HOST, CONF_USERNAME) if key in user_input}
            if found.serial and about and about.unique_id not in (None, found.serial):
                errors = {CONF_HOST: Reason.OTHER_GATEWAY}
            elif found.serial and not about:
                await self.async_set_unique_id(found.serial, raise_on_progress=False)
                self._abort_if_unique_id_configured()
            if found.data and not errors:
                return self._finish(found.data, about)
        return self._form(errors)

    def _form(self, errors: dict[str, str]) -> ConfigFlowResult:
        """Show the form, with what is wrong."""
        return self.async_show_form(
            step_id="user",
            # To the type checker `voluptuous` is not what Home Assistant puts in its place.
            data_schema=self.add_suggested_values_to_schema(self._schema(), self._known),  # type: ignore[arg-type]
            errors=errors,
            description_placeholders={"host": self._known[CONF_HOST]},
        )

    def _schema(self) -> vol.Schema:
        """Return the fields that apply to the gateway, as far as it is known."""
        fields: dict[vol.Marker, Any] = {
            vol.Required(CONF_HOST): TextSelector(),
            vol.Optional(CONF_USERNAME): TextSelector(),
            vol.Optional(CONF_PASSWORD): SECRET,
        }
        if self._uses_tokens is not False:
            fields[vol.Optional(CONF_TOKEN)] = SECRET
        return vol.Schema(fields)

    def _about(self) -> ConfigEntry | None:
        """Return the entry that this is about, None for a new one. Raises UnknownEntry when it was removed."""
        if self.source == SOURCE_REAUTH:
            return self._get_reauth_entry()
        if self.source == SOURCE_RECONFIGURE:
            return self._get_reconfigure_entry()
        return None

    def _finish(self, data: dict[str, Any], about: ConfigEntry | None) -> ConfigFlowResult:
        """Create the entry, or bring the one this is about up to date. Its name is the owner's."""
        if about is None:
            return self.async_create_entry(title=data[CONF_NAME], data=data)
        kept = {CONF_NAME: about.data.get(CONF_NAME, about.title)}
        if CONF_FINGERPRINT in about.data:
            kept[CONF_FINGERPRINT] = about.data[CONF_FINGERPRINT]
        return self.async_update_reload_and_abort(about, data={**data, **kept})

    async def async_step_zeroconf(self, discovery_info: ZeroconfServiceInfo) -> ConfigFlowResult:
        """Handle a gateway that announces itself."""
        if discovery_info.ip_address.version != 4:  # noqa: PLR2004
            return self.async_abort(reason="not_ipv4")
        serial, host = discovery_info.properties.get("serialnum"), discovery_info.host
        if not serial:
            return self.async_abort(reason=Reason.NOT_A_GATEWAY, description_placeholders={"host": host})
        entry = await self.async_set_unique_id(serial)
        # A gateway on Ethernet and Wi-Fi announces both in turn: the address it is read at stays while it answers.
        answers = entry is not None and hasattr(entry, "runtime_data") and entry.runtime_data.last_update_success
        self._abort_if_unique_id_configured(None if answers else {CONF_HOST: host})
        self._known = {CONF_HOST: host}
        self.context["title_placeholders"] = {"name": f"Envoy {serial}", "host": host}
        return await self.async_step_user()

    async def async_step_reauth(self, entry_data: Mapping[str, Any]) -> ConfigFlowResult:
        """Handle a gateway that no longer lets us in, and begin with why."""
        self._known = {key: entry_data[key] for key in (CONF_HOST, CONF_USERNAME) if entry_data.get(key)}
        found, self._why = await validate(self.hass, entry_data, self._get_reauth_entry())
        self._uses_tokens = found.uses_tokens
        return await self.async_step_user()

    async def async_step_reconfigure(self, user_input: dict[str, Any] | None = None) -> ConfigFlowResult:
        """Handle the owner's wish to change address or credentials."""
        if user_input is None:
            data = self._get_reconfigure_entry().data
            self._known = {key: data[key] for key in (CONF_HOST, CONF_USERNAME) if data.get(key)}
        return await self.async_step_user(user_input)


class EnvoyOptionsFlow(OptionsFlowWithReload):
    """How a gateway is read, and what the Energy dashboard shows of it."""

    async def async_step_init(self, _user_input: dict[str, Any] | None = None) -> ConfigFlowResult:
        """Let the owner choose, where there is a choice."""
        if self._is_read and ENERGY in self.hass.config.components:
            return self.async_show_menu(step_id="init", menu_options=["energy_dashboard", "options"])
        return await self.async_step_options()

    @property
    def _is_read(self) -> bool:
        return self.config_entry.state is ConfigEntryState.LOADED

    async def async_step_options(self, user_input: dict[str, Any] | None = None) -> ConfigFlowResult:
        """Show and take the options."""
        if user_input is not None:
            user_input[OPTION_POLL_INTERVAL] = int(user_input[OPTION_POLL_INTERVAL])
            return self.async_create_entry(data={**self.config_entry.options, **user_input})
        low, high = POLL_INTERVALS
        seconds = NumberSelectorConfig(
            min=low, max=high, step=5, unit_of_measurement=UnitOfTime.SECONDS, mode=NumberSelectorMode.SLIDER
        )
        schema = vol.Schema(
            {
                vol.Required(OPTION_POLL_INTERVAL, default=DEFAULT_POLL_INTERVAL): NumberSelector(seconds),
                vol.Required(OPTION_DISABLE_KEEP_ALIVE, default=False): bool,
                vol.Required(OPTION_PIN_CERTIFICATE, default=False): bool,
                vol.Required(OPTION_FIXTURES, default=False): bool,
            }
        )
        return self.async_show_form(
            step_id="options",
            data_schema=self.add_suggested_values_to_schema(schema, self.config_entry.options),  # type: ignore[arg-type]
        )

    async def async_step_energy_dashboard(self, user_input: dict[str, Any] | None = None) -> ConfigFlowResult:
        """Show what would be added to the Energy dashboard, and add what the owner leaves ticked."""
        if not self._is_read:
            return self.async_abort(reason="not_read")
        panels = await async_proposals(self.hass, self.config_entry)
        missing = [panel for panel in panels if panel.source]
        if not missing:
            return self.async_abort(reason="all_there" if panels else "nothing_to_add")
        errors: dict[str, str] = {}
        if user_input is not None:
            # Between the question and the answer a panel may have become one that could count twice.
            ticked = {name.removesuffix(AGAIN) for name, chosen in user_input.items() if chosen}
            if chosen := [panel for panel in missing if panel.kind in ticked]:
                await async_add(self.hass, chosen)
                return self.async_abort(reason="added")
            errors["base"] = "nothing_chosen"
        schema = vol.Schema({vol.Required(panel.name, default=not panel.again): bool for panel in missing})
        texts = [panel.texts for panel in missing]
        return self.async_show_form(
            step_id="energy_dashboard",
            data_schema=schema,  # type: ignore[arg-type]
            errors=errors,
            description_placeholders={key: text for of_one in texts for key, text in of_one.items()},
        )
