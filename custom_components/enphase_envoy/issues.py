"""Repair issues: each is created once and deleted when its cause is resolved."""

from collections.abc import Iterable, Mapping, Sequence
from inspect import signature
from typing import Any

from homeassistant.config_entries import ConfigEntry
from homeassistant.core import HomeAssistant, callback
from homeassistant.helpers import issue_registry as ir
from homeassistant.util import dt as dt_util

from .const import DOMAIN
from .energy.settings_monitor import SettingOutcome, SettingResult
from .model.text import LONGEST_NAME, clean, escape_markdown, grouped

TOKEN_ENDS = "token_ends"  # noqa: S105
CERTIFICATE_CHANGED = "certificate_changed"
ADDRESS_CHANGED = "address_changed"
FIRMWARE_BEFORE_TOKENS = "firmware_before_tokens"
COUNTER_STEP = "counter_step"
#: The user may change battery settings through the cloud; a login there requires the user.
CLOUD_OFFER = "cloud_offer"
CLOUD_CODE = "cloud_code"
CLOUD_ACCOUNT = "cloud_account"
CLOUD_UNCONFIRMED = "cloud_unconfirmed"
LOCAL_PASSWORD = "local_password"  # noqa: S105
NO_SUCCESSOR = "no_successor"
SLOW_REPORTS = "slow_reports"

#: README of the component, as in the manifest; sections are its anchors.
README = "https://github.com/enphase-envoy/enphase-envoy#"

#: Whether an issue can name its entry, on whose page it is shown then: from Home Assistant 2026.11 on.
_LINKED_TO_ENTRY = "config_entry_id" in signature(ir.async_create_issue).parameters

#: Panels that an issue lists.
_MOST_PANELS = 20

#: Watt-hours from which on energy is shown in kWh.
_KILOWATT_HOURS_FROM = 10_000


@callback
def _create(
    hass: HomeAssistant,
    entry: ConfigEntry[Any],
    subject: str,
    key: str,
    section: str,
    texts: Mapping[str, str],
    fixable: bool = False,
    data: Mapping[str, str | float] | None = None,
    persistent: bool = False,
) -> None:
    """Create an issue that links to a section of the README.

    A persistent one is kept over restarts, because its cause will not be detected again.
    """
    link: dict[str, Any] = {"config_entry_id": entry.entry_id} if _LINKED_TO_ENTRY else {}
    ir.async_create_issue(
        hass,
        DOMAIN,
        f"{subject}_{entry.entry_id}",
        **link,
        data={"entry_id": entry.entry_id, **(data or {})},
        is_fixable=fixable,
        is_persistent=persistent,
        learn_more_url=f"{README}{section}",
        severity=ir.IssueSeverity.WARNING,
        translation_key=key,
        translation_placeholders={"name": entry.title, **texts},
    )


@callback
def async_clear(hass: HomeAssistant, entry: ConfigEntry[Any], subject: str) -> None:
    """Delete an issue."""
    ir.async_delete_issue(hass, DOMAIN, f"{subject}_{entry.entry_id}")


@callback
def async_clear_all(hass: HomeAssistant, entry: ConfigEntry[Any]) -> None:
    """Delete all issues of an entry."""
    for domain, issue_id in list(ir.async_get(hass).issues):
        if domain == DOMAIN and issue_id.endswith(f"_{entry.entry_id}"):
            ir.async_delete_issue(hass, DOMAIN, issue_id)


@callback
def async_report_setting(hass: HomeAssistant, entry: ConfigEntry[Any], firmware: str, result: SettingResult) -> None:
    """Create an issue for a battery setting that was not kept; delete it when a setting is kept."""
    subject = f"setting_{result.setting}"
    if result.outcome is SettingOutcome.KEPT:
        async_clear(hass, entry, subject)
        return
    state = hass.states.get(result.entity_id)
    name = state.name if state else result.entity_id
    texts = {
        # A title is no Markdown.
        "setting_name": name,
        "setting": escape_markdown(name),
        "wanted": escape_markdown(str(result.wanted)),
        "actual": escape_markdown(clean(str(result.actual), LONGEST_NAME)),
        "firmware": firmware,
    }
    _create(hass, entry, subject, f"setting_{result.outcome}", "battery-settings", texts)


@callback
def async_report_cloud(hass: HomeAssistant, entry: ConfigEntry[Any], key: str) -> None:
    """Create an issue about battery settings through the cloud: CLOUD_OFFER, CLOUD_CODE or CLOUD_ACCOUNT."""
    _create(hass, entry, key, key, "battery-settings", {}, fixable=key != CLOUD_ACCOUNT)


@callback
def async_clear_cloud(hass: HomeAssistant, entry: ConfigEntry[Any]) -> None:
    """Delete the issues about battery settings through the cloud: it is not used any more."""
    for (domain, issue_id), issue in list(ir.async_get(hass).issues.items()):
        is_own = domain == DOMAIN and issue_id.endswith(f"_{entry.entry_id}")
        if is_own and issue.translation_key in (CLOUD_CODE, CLOUD_ACCOUNT, CLOUD_UNCONFIRMED):
            ir.async_delete_issue(hass, domain, issue_id)


@callback
def async_report_unconfirmed(
    hass: HomeAssistant, entry: ConfigEntry[Any], setting: str, texts: tuple[str, object, object] | None
) -> None:
    """Create an issue for a setting that the cloud accepted and the gateway does not have; delete it for None.

    `texts` are the entity, the wanted value and the reported one.
    """
    subject = f"{CLOUD_UNCONFIRMED}_{setting}"
    if texts is None:
        async_clear(hass, entry, subject)
        return
    entity_id, wanted, actual = texts
    state = hass.states.get(entity_id)
    name = state.name if state else entity_id
    placeholders = {
        "setting_name": name,
        "setting": escape_markdown(name),
        "wanted": escape_markdown(str(wanted)),
        "actual": escape_markdown(clean(str(actual), LONGEST_NAME)),
    }
    _create(hass, entry, subject, CLOUD_UNCONFIRMED, "battery-settings", placeholders)


@callback
def async_report_token_ends(hass: HomeAssistant, entry: ConfigEntry[Any], ends: float) -> None:
    """Create an issue for a pasted token that is about to expire. A repeated call keeps an issue that is ignored."""
    date = dt_util.as_local(dt_util.utc_from_timestamp(ends)).date().isoformat()
    _create(hass, entry, TOKEN_ENDS, TOKEN_ENDS, "connect", {"date": date}, fixable=True)


@callback
def async_report_certificate(hass: HomeAssistant, entry: ConfigEntry[Any], host: str) -> None:
    """Create an issue for a gateway with another certificate than the stored one."""
    _create(hass, entry, CERTIFICATE_CHANGED, CERTIFICATE_CHANGED, "connect", {"host": host}, fixable=True)


@callback
def async_report_address(hass: HomeAssistant, entry: ConfigEntry[Any], old: str, host: str) -> None:
    """Create an issue for a host that announces the serial number of a gateway without having its certificate."""
    texts = {"old_host": old, "host": host}
    _create(hass, entry, ADDRESS_CHANGED, ADDRESS_CHANGED, "connect", texts, fixable=True, data={"host": host})


@callback
def async_report_old_firmware(hass: HomeAssistant, entry: ConfigEntry[Any], host: str, firmware: str) -> None:
    """Create an issue for a device with firmware before 7 at the address of a gateway that uses tokens."""
    texts = {"host": host, "firmware": firmware}
    _create(hass, entry, FIRMWARE_BEFORE_TOKENS, FIRMWARE_BEFORE_TOKENS, "connect", texts)


@callback
def async_report_local_password(hass: HomeAssistant, entry: ConfigEntry[Any], host: str) -> None:
    """Create an issue for a password that gives access to the production but not to the inverters."""
    _create(hass, entry, LOCAL_PASSWORD, LOCAL_PASSWORD, "connect", {"host": host})


@callback
def async_report_no_successor(hass: HomeAssistant, entry: ConfigEntry[Any], entities: Mapping[str, list[str]]) -> None:
    """Create an issue for the entities of another component that have no successor, by their kind."""
    lines = (f"- `{ids[0]}`" + (f" (+{len(ids) - 1})" if len(ids) > 1 else "") for ids in entities.values())
    _create(hass, entry, NO_SUCCESSOR, NO_SUCCESSOR, "switch-from-another-component", {"entities": "\n".join(lines)})


@callback
def async_report_panels(hass: HomeAssistant, entry: ConfigEntry[Any], problem: str, names: Sequence[str]) -> None:
    """Create an issue for panels with a problem that lasts; delete it when there are none.

    `problem` is `not_producing`, `no_reports` or `degraded`.
    """
    key = f"panels_{problem}"
    if not names:
        async_clear(hass, entry, key)
        return
    lines = [f"- {escape_markdown(name)}" for name in names[:_MOST_PANELS]]
    more = [f"- + {len(names) - _MOST_PANELS}"] if len(names) > _MOST_PANELS else []
    texts = {"count": str(len(names)), "panels": "\n".join([*lines, *more])}
    _create(hass, entry, key, key, "panels", texts)


@callback
def async_report_slow_reports(hass: HomeAssistant, entry: ConfigEntry[Any], minutes: int) -> None:
    """Create an issue for panels whose reports come too rarely."""
    _create(hass, entry, SLOW_REPORTS, SLOW_REPORTS, "troubleshooting", {"minutes": str(minutes)})


@callback
def async_report_step(
    hass: HomeAssistant,
    entry: ConfigEntry[Any],
    correction: Mapping[str, Any],
    before: float,
    after: float,
) -> None:
    """Create an issue for a permanent step of a counter, in Wh.

    `correction` is the corrected entity, time and energy (`entity_id`, `at`, `watt_hours`).
    """
    state = hass.states.get(correction["entity_id"])
    when = dt_util.as_local(dt_util.utc_from_timestamp(correction["at"]))
    name = state.name if state else correction["entity_id"]
    texts = {
        "entity_name": name,
        "entity": escape_markdown(name),
        "when": f"{when:%Y-%m-%d %H:%M}",
        "before": _energy(before),
        "after": _energy(after),
        "correction": _energy(correction["watt_hours"]),
    }
    subject = f"{COUNTER_STEP}_{correction['entity_id']}_{correction['at']:.0f}"
    _create(
        hass, entry, subject, COUNTER_STEP, "repair-statistics", texts, fixable=True, data=correction, persistent=True
    )


@callback
def async_clear_steps(hass: HomeAssistant, entry: ConfigEntry[Any], entity_id: str, since: float) -> None:
    """Delete the issues about steps of an entity since a time in seconds since the epoch: they were taken back."""
    for (domain, issue_id), issue in list(ir.async_get(hass).issues.items()):
        if domain == DOMAIN and issue_id.startswith(COUNTER_STEP) and issue_id.endswith(f"_{entry.entry_id}"):
            data = issue.data or {}
            at = data.get("at")
            if data.get("entity_id") == entity_id and isinstance(at, int | float) and at >= since:
                ir.async_delete_issue(hass, domain, issue_id)


@callback
def async_clear_answered(hass: HomeAssistant, issue_ids: Iterable[str]) -> None:
    """Delete issues that were answered: the registry may have been restored from before that."""
    for issue_id in issue_ids:
        ir.async_delete_issue(hass, DOMAIN, issue_id)


def _energy(watt_hours: float) -> str:
    """Return energy with its unit, in a form that is the same in all languages."""
    if abs(watt_hours) >= _KILOWATT_HOURS_FROM:
        return f"{grouped(watt_hours / 1000)} kWh"
    return f"{grouped(watt_hours)} Wh"
