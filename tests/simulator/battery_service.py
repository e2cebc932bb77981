"""The cloud's service of battery settings: its documents, and the gateway that follows it after some seconds."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, replace
from datetime import time
import json
import secrets
from typing import TYPE_CHECKING, Any, Final, Literal

from aiohttp import web

from .access import CLOUD_USER

if TYPE_CHECKING:
    from .gateway import Gateway
    from .hardware import StorageMode

SITE: Final = "1234567"
USER_ID: Final = "7654321"
SERVICE: Final = "/service/batteryConfig/api/v1"
XSRF: Final = "BP-XSRF-Token"
MODES: Final[dict[str, StorageMode]] = {
    "self-consumption": "self-consumption",
    "cost_savings": "economy",
    "backup_only": "backup",
}
#: Failures of the service: maintenance page, an HTTP status, an ended session, another shape, or a closed connection.
ServiceTrouble = Literal[
    "html", "forbidden", "not_acceptable", "too_many", "error", "refused", "expired", "shape", "disconnect"
]
STATUS: Final = {
    "forbidden": 403,
    "not_acceptable": 406,
    "too_many": 429,
    "error": 503,
    "refused": 422,
    "expired": 401,
    "disconnect": 500,
}


@dataclass(frozen=True, slots=True)
class ServiceWrite:
    """A change that the service received."""

    method: str
    path: str
    body: Any


class BatteryService:
    """Settings of one site, as the service stores them."""

    def __init__(self) -> None:
        """Start with the settings of a new site."""
        #: The gateway that follows the settings, and after how many seconds; None: never.
        self.gateway: Gateway | None = None
        self.delay: float | None = 15.0
        self.trouble: ServiceTrouble | None = None
        #: Only changes fail, not reads.
        self.write_trouble: ServiceTrouble | None = None
        self.sites: list[dict[str, Any]] = [{"id": int(SITE), "title": "Home", "favourite": False}]
        self.requests: Counter[str] = Counter()
        #: Answers are held back until it is set; `holding` is set once a request waits for one.
        self.hold: asyncio.Event | None = None
        self.holding = asyncio.Event()
        self.writes: list[ServiceWrite] = []
        #: Answers to new schedules contain no id.
        self.hides_ids = False
        self.user_agents: set[str] = set()
        #: Changes that are being received, and the most at the same time.
        self._writing = self.most_writing = 0
        self.site_settings: dict[str, Any] = {
            "hasEncharge": True,
            "timezone": "Europe/Berlin",
            "showChargeFromGrid": True,
            "restrictCfg": False,
            "showSavingsMode": True,
            "showFullBackup": True,
            "showAiOptiSavingsMode": True,
            "featureDetails": {"98daf27c08a25a0a": False},
        }
        control = {"show": True, "showDaySchedule": True, "enabled": False, "locked": False, "scheduleSupported": True}
        self.settings: dict[str, Any] = {
            "profile": "self-consumption",
            "batteryBackupPercentage": 20,
            "batteryBackupPercentageMin": 5,
            "batteryBackupPercentageMax": 100,
            "veryLowSoc": 5,
            "veryLowSocMin": 5,
            "veryLowSocMax": 25,
            "chargeFromGrid": False,
            "chargeBeginTime": 120,
            "chargeEndTime": 300,
            "chargeFromGridScheduleEnabled": False,
            "acceptedItcDisclaimer": None,
            "previousBatteryBackupPercentage": {"self-consumption": 20, "cost_savings": 30, "backup_only": 100},
            "dtgControl": {**control, "startTime": 960, "endTime": 1140},
            "rbdControl": control,
            "requestedConfig": {},
        }
        self.schedules: dict[str, dict[str, Any]] = {}
        self._tokens: set[str] = set()

    def add_routes(self, app: web.Application) -> None:
        """Serve the service and the list of sites."""
        app.router.add_get("/app-api/search_sites.json", self._handle)
        app.router.add_route("*", SERVICE + "/{path:.*}", self._handle)

    def is_authorized(self, request: web.Request) -> bool:
        """Return whether a request has a session; the cloud replaces this by a check of its own."""
        return "_enlighten_4_session" in request.cookies

    async def _handle(self, request: web.Request) -> web.Response:
        path = request.path.removeprefix(SERVICE)
        self.requests[path] += 1
        self.user_agents.add(request.headers.get("User-Agent", ""))
        if self.hold:
            self.holding.set()
            await self.hold.wait()
        if "HomeAssistant" in request.headers.get("User-Agent", ""):
            return web.Response(status=406)
        trouble = self.trouble or (self.write_trouble if request.method != "GET" else None)
        if trouble == "disconnect":
            assert request.transport
            request.transport.close()
        if trouble:
            return self._fail(trouble)
        if status := self._refusal(request, path):
            return web.Response(status=status)
        if request.method == "GET":
            return self._read(path)
        self._writing += 1
        self.most_writing = max(self.most_writing, self._writing)
        await asyncio.sleep(0.01)
        self._writing -= 1
        body = json.loads(await request.read() or b"{}")
        self.writes.append(ServiceWrite(request.method, path, body))
        return self._write(request.method, path, body)

    def _fail(self, trouble: ServiceTrouble) -> web.Response:
        if trouble == "html":
            return web.Response(text="<html>Down for maintenance</html>", content_type="text/html")
        if trouble == "shape":
            return web.json_response({"type": "error", "data": ["moved"]})
        return web.json_response({"error": {"message": trouble}}, status=STATUS[trouble])

    def _refusal(self, request: web.Request, path: str) -> int | None:
        """Return the status with which a request without session or headers is refused."""
        if not self.is_authorized(request):
            return 401
        if path.endswith("search_sites.json"):
            return None
        is_from_page = request.headers.get("Username") == USER_ID and "Origin" in request.headers
        is_read = request.method == "GET"
        return None if is_from_page and (is_read or request.headers.get("X-XSRF-Token") in self._tokens) else 403

    def _read(self, path: str) -> web.Response:
        if path.endswith("search_sites.json"):
            return web.json_response({"sites": self.sites})
        if path == f"/siteSettings/{SITE}":
            response = web.json_response({"type": "site-settings", "data": self.site_settings})
            self._tokens = {secrets.token_hex(8)}
            response.set_cookie(XSRF, *self._tokens)
            return response
        if path == f"/batterySettings/{SITE}":
            return web.json_response({"type": "battery-details", "data": self.settings})
        if path == f"/battery/sites/{SITE}/schedules":
            kinds = {
                kind: [one for one in self.schedules.values() if one["scheduleType"] == kind.upper()]
                for kind in ("cfg", "dtg", "rbd")
            }
            return web.json_response(
                {
                    kind: {"scheduleStatus": "active", "count": len(found), "details": found}
                    for kind, found in kinds.items()
                }
            )
        return web.Response(status=404)

    def _write(self, method: str, path: str, body: dict[str, Any]) -> web.Response:
        if path in (f"/batterySettings/{SITE}", f"/profile/{SITE}"):
            self._change(body)
        elif path == f"/batterySettings/acceptDisclaimer/{SITE}":
            self.settings["acceptedItcDisclaimer"] = "2026-01-02T03:04:05.000Z"
        elif path.startswith(schedules := f"/battery/sites/{SITE}/schedules"):
            return self._change_schedule(method, path.removeprefix(schedules).strip("/"), body)
        else:
            return web.Response(status=404)
        return web.json_response({"message": "success"})

    def _change(self, body: dict[str, Any]) -> None:
        if body.get("chargeFromGrid") and not self.settings["acceptedItcDisclaimer"]:
            raise web.HTTPForbidden
        self.settings |= {key: value for key, value in body.items() if key in self.settings}
        if profile := body.get("profile"):
            self.settings["previousBatteryBackupPercentage"][profile] = self.settings["batteryBackupPercentage"]
        if self.gateway and self.delay is not None:
            self.gateway.change_later(self.delay, self._wanted(self.gateway))

    def _wanted(self, gateway: Gateway) -> Any:
        """Return the settings that the gateway will have."""
        return replace(
            gateway.tariff_settings,
            mode=MODES.get(self.settings["profile"], gateway.tariff_settings.mode),
            reserve=float(self.settings["batteryBackupPercentage"]),
            very_low=self.settings["veryLowSoc"],
            charge_from_grid=self.settings["chargeFromGrid"],
        )

    def _change_schedule(self, method: str, rest: str, body: dict[str, Any]) -> web.Response:
        identifier, _, action = rest.partition("/")
        if action == "delete":
            return web.Response(status=200 if self.schedules.pop(identifier, None) else 404, text="{}")
        if method == "PUT" and identifier not in self.schedules:
            return web.Response(status=404)
        for other, schedule in self.schedules.items():
            same_days = set(schedule["days"]) & set(body["days"])
            if (
                other != identifier
                and schedule["scheduleType"] == body["scheduleType"]
                and same_days
                and _overlap(schedule, body)
            ):
                return web.json_response({"error": {"status": "CONFLICTING_SCHEDULE_CFG"}}, status=409)
        identifier = identifier or secrets.token_hex(8)
        self.schedules[identifier] = {
            **body,
            "scheduleId": identifier,
            "scheduleStatus": "pending",
            "createdBy": CLOUD_USER,
        }
        return web.json_response({"message": "success"} if self.hides_ids else self.schedules[identifier])


def _overlap(one: dict[str, Any], other: dict[str, Any]) -> bool:
    (start, end), (start_, end_) = (
        (time.fromisoformat(each["startTime"]), time.fromisoformat(each["endTime"])) for each in (one, other)
    )
    return start < end_ and start_ < end
