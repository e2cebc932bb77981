"""Make all pictures of README.md and docs/, with a development instance of its own on a simulated summer's day."""

import argparse
import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
import json
from pathlib import Path
import signal
import subprocess
import sys
import tempfile
from zoneinfo import ZoneInfo

import aiohttp
from playwright.sync_api import Error, Page, TimeoutError as NotShownError

from tests.end_to_end.array_page import empty_page, show_card

from .browser import executable, logged_in, running_browser
from .develop import Stop, check_port, free_port
from .instance import DOMAIN, ROOT
from .screenshot import default_pages, log_in_and_list_devices, open_page, press, save, settle

IMAGES = ROOT / "docs" / "images"
#: Day and zone of the simulated time at the start.
START = "2026-06-21T{time}+02:00"
#: Hour at which the pictures are made: time zones of whole hours reach it within half an hour.
NOON = 12
#: Port of the gateway, which is on a picture.
GATEWAY_PORT = 8443
#: Milliseconds within which the gateway's MAC address is found: half a minute after the set-up.
MAC_WITHIN = 40_000
#: First panel of the simulated states, and the step to the next.
FIRST, STEP = 482243030000, 7


def zone_at_noon(now: datetime) -> str:
    """Return a time zone in which it is about noon, so that the sun of all pictures is that of the clock."""
    ahead = round(NOON - now.astimezone(UTC).hour - now.minute / 60)
    # The signs of these names are those of POSIX: behind UTC is positive.
    return f"Etc/GMT{-ahead:+d}"


def port_or_free(port: int) -> int:
    """Return a port, or a free one if it is in use."""
    try:
        check_port(port, "the gateway", "--gateway-port")
    except Stop:
        return free_port()
    return port


@contextmanager
def instance(folder: Path, zone: str) -> Iterator[str]:
    """Run a development instance without sources in the Energy dashboard, and yield its address."""
    port, gateway_port = free_port(), port_or_free(GATEWAY_PORT)
    arguments = ["--state", str(folder), "--port", str(port), "--gateway-port", str(gateway_port), "--empty-dashboard"]
    start = START.format(time=datetime.now(ZoneInfo(zone)).strftime("%H:%M:%S"))
    with subprocess.Popen(
        [sys.executable, "-m", "scripts.develop", *arguments, "--time-zone", zone, "--", "--start", start],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as develop:
        try:
            lines = []
            for line in develop.stdout or ():
                lines.append(line)
                if "Press Ctrl-C to stop" in line:
                    break
            else:
                raise RuntimeError("".join(lines))
            yield f"http://127.0.0.1:{port}"
        finally:
            develop.send_signal(signal.SIGINT)


def save_dialog(page: Page, name: str) -> None:
    """Save the dialog that is open."""
    settle(page)
    if box := page.locator("dialog[open]").last.bounding_box():
        write(page.screenshot(clip=box), name)


def write(picture: bytes, name: str) -> None:
    """Write a picture into the folder of the documentation."""
    save(picture, file := IMAGES / f"{name}.png")
    print(f"pictures: {file.relative_to(ROOT)} ({file.stat().st_size // 1024} kB)")


def pictures_of_pages(page: Page, pages: list[tuple[str, str, str]]) -> None:
    """Save the page of the gateway, and the Energy dashboard with the dialog that fills it."""
    for name, path, text in pages:
        if name == "gateway":
            open_page(page, path, text)
            with suppress(NotShownError):
                page.get_by_text("MAC").first.wait_for(timeout=MAC_WITHIN)
            settle(page)
            write(page.screenshot(), name)
    open_page(page, f"/config/integrations/integration/{DOMAIN}", "Envoy ")
    press(page, "Configure")
    press(page, "Add to the Energy dashboard")
    save_dialog(page, "energy_dashboard")
    press(page, "Submit")
    open_page(page, "/energy")
    # The day before: statistics of the first day are not complete.
    press(page, "Previous")
    # The bar with the date covers the lowest part.
    page.set_viewport_size({"width": 1280, "height": 930})
    settle(page)
    write(page.screenshot(clip={"x": 0, "y": 0, "width": 1280, "height": 835}), "energy")


def pictures_of_set_up(page: Page, host: str, token: str) -> None:
    """Add the gateway, and save each step."""
    open_page(page, f"/config/integrations/dashboard/add?domain={DOMAIN}")
    press(page, "OK")
    save_dialog(page, "set_up_1_address")
    page.locator("ha-form input").fill(host)
    press(page, "Submit")
    page.get_by_text("With a token").wait_for()
    save_dialog(page, "set_up_2_login")
    press(page, "With a token")
    save_dialog(page, "set_up_3_token")
    page.locator("ha-form input").fill(token)
    press(page, "Submit")
    page.get_by_text("Read power every five seconds").wait_for()
    save_dialog(page, "set_up_4_live_power")


def picture_of_array_card() -> None:
    """Save the array card with three arrays of simulated states: one panel is idle, one does not report."""
    serials = [str(FIRST + STEP * at) for at in range(40)]

    def array(name: str, azimuth: int, columns: int, part: slice) -> dict[str, object]:
        # Of the grid, a panel takes three by five squares; those of the dormer are mounted in landscape format.
        landscape = columns == 1
        width, height = (5, 3) if landscape else (3, 5)
        panels = [
            {"serial": serial, "x": at % columns * width, "y": at // columns * height, "landscape": landscape}
            for at, serial in enumerate(serials[part])
        ]
        return {"name": name, "azimuth": azimuth, "panels": panels}

    arrays = [
        array("South roof", 180, 10, slice(20)),
        array("Dormer", 180, 1, slice(20, 24)),
        array("Garage", 270, 8, slice(24, 40)),
    ]
    with running_browser() as browser, empty_page(browser, viewport={"width": 1100, "height": 720}) as page:
        show_card(page, 40, config={"title": "Solar panels"}, arrangement={"version": 1, "arrays": arrays})
        write(page.locator("enphase-array-card").screenshot(), "array_card")


async def remove_entry(address: str, tokens: dict[str, str]) -> None:
    """Remove the gateway, so that it can be added in the browser."""
    headers = {"Authorization": f"Bearer {tokens['access_token']}"}
    async with aiohttp.ClientSession(address, headers=headers) as session:
        path = "/api/config/config_entries/entry"
        async with session.get(path) as response:
            entries = await response.json()
        for entry in entries:
            if entry["domain"] == DOMAIN:
                (await session.delete(f"{path}/{entry['entry_id']}")).raise_for_status()


def access(folder: Path) -> tuple[str, str]:
    """Return host and token of the gateway, from the entry that Home Assistant stored."""
    (stored,) = folder.glob("*/config/.storage/core.config_entries")
    entries = json.loads(stored.read_text(encoding="utf-8"))["data"]["entries"]
    data = next(entry["data"] for entry in entries if entry["domain"] == DOMAIN)
    return data["host"], data["token"]


def main() -> int:
    """Make the pictures, and return an exit code."""
    argparse.ArgumentParser(prog="scripts/pictures", description=__doc__).parse_args()
    if not executable():
        print("pictures: Chromium is missing: run scripts/get-browser", file=sys.stderr)
        return 2
    zone = zone_at_noon(datetime.now(UTC))
    try:
        picture_of_array_card()
        with tempfile.TemporaryDirectory() as folder, instance(Path(folder), zone) as address:
            tokens, devices = asyncio.run(log_in_and_list_devices(address))
            host, token = access(Path(folder))
            with running_browser() as browser, logged_in(browser, tokens, height=820, time_zone=zone) as page:
                pictures_of_pages(page, [*default_pages(devices)])
            asyncio.run(remove_entry(address, tokens))
            with running_browser() as browser, logged_in(browser, tokens, height=820, time_zone=zone) as page:
                pictures_of_set_up(page, host, token)
    except (Error, RuntimeError) as err:
        print(f"pictures: {err}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
