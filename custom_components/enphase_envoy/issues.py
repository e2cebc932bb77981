"""What the owner should know: raised once, and taken back when it is no longer so."""

from collections.abc import Mapping
from typing import Any

from homeassistant.config_entries import ConfigEntry
from homeassistant.core import HomeAssistant, callback
from homeassistant.helpers import issue_registry as ir
from homeassistant.util import dt as dt_util

from .const import DOMAIN
from .energy.settings_monitor import SettingOutcome, SettingResult

TOKEN_ENDS = "token_ends"  # noqa: S105
CERTIFICATE_CHANGED = "certificate_changed"
COUNTER_STEP = "counter_step"

#: Watt-hours from which on energy is told in kWh.
_MANY = 10_000


@callback
def _raise(
    hass: HomeAssistant,
    entry: ConfigEntry[Any],
    subject: str,
    key: str,
    texts: Mapping[str, str],
    fixable: bool = False,
    about: Mapping[str, str | float] | None = None,
) -> None:
    """Raise a message; it outlasts a restart if it is about something that will not be noticed again."""
    ir.async_create_issue(
        hass,
        DOMAIN,
        f"{subject}_{entry.entry_id}",
        data={"entry_id": entry.entry_id, **(about or {})},
        is_fixable=fixable,
        is_persistent=about is not None,
        severity=ir.IssueSeverity.WARNING,
        translation_key=key,
        translation_placeholders={"name": entry.title, **texts},
    )


@callback
def async_clear(hass: HomeAssistant, entry: ConfigEntry[Any], subject: str) -> None:
    """Take a message back."""
    ir.async_delete_issue(hass, DOMAIN, f"{subject}_{entry.entry_id}")


@callback
def async_clear_all(hass: HomeAssistant, entry: ConfigEntry[Any]) -> None:
    """Take back all that was told about an entry."""
    for domain, issue_id in list(ir.async_get(hass).issues):
        if domain == DOMAIN and issue_id.endswith(f"_{entry.entry_id}"):
            ir.async_delete_issue(hass, DOMAIN, issue_id)


@callback
def async_report_setting(hass: HomeAssistant, entry: ConfigEntry[Any], firmware: str, finding: SettingResult) -> None:
    """Tell that a battery setting was not kept; take it back once one is."""
    subject = f"setting_{finding.setting}"
    if finding.outcome is SettingOutcome.KEPT:
        async_clear(hass, entry, subject)
        return
    state = hass.states.get(finding.asker)
    texts = {
        "setting": state.name if state else finding.asker,
        "wanted": str(finding.wanted),
        "actual": str(finding.actual),
        "firmware": firmware,
    }
    _raise(hass, entry, subject, f"setting_{finding.outcome}", texts)


@callback
def async_report_token_ends(hass: HomeAssistant, entry: ConfigEntry[Any], ends: float) -> None:
    """Ask for a new token before a pasted one ends. Said again it changes nothing, also not for who put it off."""
    date = dt_util.as_local(dt_util.utc_from_timestamp(ends)).date().isoformat()
    _raise(hass, entry, TOKEN_ENDS, TOKEN_ENDS, {"date": date}, fixable=True)


@callback
def async_report_certificate(hass: HomeAssistant, entry: ConfigEntry[Any], host: str) -> None:
    """Tell that the gateway shows another certificate than the one that was remembered."""
    _raise(hass, entry, CERTIFICATE_CHANGED, CERTIFICATE_CHANGED, {"host": host}, fixable=True)


@callback
def async_report_step(
    hass: HomeAssistant,
    entry: ConfigEntry[Any],
    correction: Mapping[str, Any],
    before: float,
    after: float,
) -> None:
    """Report a permanent step of a counter, in Wh, and its correction (`entity_id`, `at`, `watt_hours`)."""
    state = hass.states.get(correction["entity_id"])
    when = dt_util.as_local(dt_util.utc_from_timestamp(correction["at"]))
    texts = {
        "entity": state.name if state else correction["entity_id"],
        "when": f"{when:%Y-%m-%d %H:%M}",
        "before": _energy(before),
        "after": _energy(after),
        "correction": _energy(correction["watt_hours"]),
    }
    subject = f"{COUNTER_STEP}_{correction['entity_id']}_{correction['at']:.0f}"
    _raise(hass, entry, subject, COUNTER_STEP, texts, fixable=True, about=correction)


def _energy(watt_hours: float) -> str:
    """Return energy as every language writes it."""
    return f"{watt_hours / 1000:.0f} kWh" if abs(watt_hours) >= _MANY else f"{watt_hours:.0f} Wh"
