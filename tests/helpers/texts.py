"""Check of the texts that Home Assistant shows: each exists, and is given all its placeholders."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
import json
from pathlib import Path
import re
from typing import Any
from unittest.mock import patch

from homeassistant.components.repairs.models import RepairsFlow
from homeassistant.config_entries import ConfigFlow, OptionsFlow
from homeassistant.data_entry_flow import FlowHandler, FlowManager, FlowResultType
from homeassistant.exceptions import HomeAssistantError
from homeassistant.helpers import issue_registry as ir

from custom_components.enphase_envoy.const import DOMAIN

_PLACEHOLDER = re.compile(r"\{(\w+)\}")
_ENGLISH: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "custom_components" / DOMAIN / "translations/en.json").read_text(encoding="utf-8")
)


def _texts(*path: str) -> Iterator[tuple[str, str]]:
    """Yield the texts at a path, or below it."""
    node: Any = _ENGLISH
    for key in path:
        node = node.get(key, {}) if isinstance(node, dict) else {}
    if isinstance(node, str):
        yield "/".join(path), node
    elif isinstance(node, dict):
        for key in node:
            yield from _texts(*path, key)


class TextCheck:
    """Collects texts that are missing, or that lack a placeholder."""

    def __init__(self) -> None:
        """Start without findings."""
        self.findings: list[str] = []
        #: Paths of the texts that were checked.
        self.checked: set[str] = set()

    def check(self, placeholders: Mapping[str, str] | None, *path: str, required: bool = True) -> None:
        """Check the texts at a path with the placeholders that are given."""
        texts = list(_texts(*path))
        if required and not texts:
            self.findings.append(f"{'/'.join(path)} is missing")
        for name, text in texts:
            self.checked.add(name)
            self.findings.extend(
                f"{name} is not given {{{placeholder}}}"
                for placeholder in _PLACEHOLDER.findall(text)
                if placeholder not in (placeholders or {})
            )

    def check_result(self, flow: FlowHandler[Any, Any, Any], result: Mapping[str, Any]) -> None:
        """Check the texts of a result of a flow: of a form, a menu, an end without an entry."""
        if isinstance(flow, ConfigFlow):
            root: tuple[str, ...] = ("config",)
            title = flow.context.get("title_placeholders")
            if title:
                self.check(title, "config", "flow_title")
        elif isinstance(flow, OptionsFlow):
            root = ("options",)
        elif isinstance(flow, RepairsFlow):
            issue = ir.async_get(flow.hass).async_get_issue(DOMAIN, flow.issue_id)
            if not issue:
                return
            root = "issues", issue.translation_key or "", "fix_flow"
        else:
            return
        given = result.get("description_placeholders")
        if result["type"] is FlowResultType.ABORT:
            self.check(given, *root, "abort", result["reason"])
        elif result["type"] in (FlowResultType.FORM, FlowResultType.MENU):
            self._check_step(result, *root)

    def _check_step(self, result: Mapping[str, Any], *root: str) -> None:
        given = result.get("description_placeholders")
        step = *root, "step", result["step_id"]
        is_form = result["type"] is FlowResultType.FORM
        # A menu without a title has that of the component. The frontend gives a title of a menu no placeholders.
        self.check(given if is_form else None, *step, "title", required=is_form)
        self.check(given, *step, "description", required=False)
        for field in getattr(result.get("data_schema"), "schema", ()) if is_form else ():
            self.check(given, *step, "data", str(field))
            self.check(given, *step, "data_description", str(field), required=False)
        for option in result.get("menu_options") or ():
            self.check(given, *step, "menu_options", option)
        for error in (result.get("errors") or {}).values():
            self.check(given, *root, "error", error)


@contextmanager
def checked_texts() -> Iterator[TextCheck]:
    """Check every text of the component that is shown meanwhile."""
    check = TextCheck()
    handle_step = FlowManager._async_handle_step
    create = ir.IssueRegistry.async_get_or_create
    initialize = HomeAssistantError.__init__

    async def checked_step(manager: Any, flow: Any, *args: Any, **kwargs: Any) -> Any:
        result = await handle_step(manager, flow, *args, **kwargs)
        if flow.handler == DOMAIN or type(flow).__module__.startswith(f"custom_components.{DOMAIN}"):
            check.check_result(flow, result)
        return result

    def checked_issue(registry: Any, domain: str, issue_id: str, **fields: Any) -> Any:
        if domain == DOMAIN:
            given, key = fields["translation_placeholders"], fields["translation_key"]
            check.check(given, "issues", key, "title")
            check.check(given, "issues", key, "description", required=not fields["is_fixable"])
        return create(registry, domain, issue_id, **fields)

    def checked_error(error: Any, *args: Any, **fields: Any) -> None:
        initialize(error, *args, **fields)
        if fields.get("translation_domain") == DOMAIN:
            key = str(fields["translation_key"])
            check.check(fields.get("translation_placeholders"), "exceptions", key, "message")

    with (
        patch.object(FlowManager, "_async_handle_step", checked_step),
        patch.object(ir.IssueRegistry, "async_get_or_create", checked_issue),
        patch.object(HomeAssistantError, "__init__", checked_error),
    ):
        yield check
