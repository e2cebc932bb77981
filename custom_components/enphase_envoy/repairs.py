"""What the owner should know, or do something about."""

from homeassistant.core import HomeAssistant, callback
from homeassistant.helpers import issue_registry as ir

from .const import DOMAIN
from .settings_watch import Finding, Outcome


@callback
def async_report_setting(hass: HomeAssistant, entry_id: str, firmware: str, finding: Finding) -> None:
    """Tell that a battery setting was not kept; take it back once one is."""
    issue_id = f"setting_{finding.setting}_{entry_id}"
    if finding.outcome is Outcome.KEPT:
        ir.async_delete_issue(hass, DOMAIN, issue_id)
        return
    state = hass.states.get(finding.asker)
    ir.async_create_issue(
        hass,
        DOMAIN,
        issue_id,
        is_fixable=False,
        severity=ir.IssueSeverity.WARNING,
        translation_key=f"setting_{finding.outcome}",
        translation_placeholders={
            "setting": state.name if state else finding.asker,
            "wanted": str(finding.wanted),
            "actual": str(finding.actual),
            "firmware": firmware,
        },
    )
