"""Save pictures of the running development instance: the integration, the gateway's and an inverter's device page."""

import argparse
import asyncio
from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path
import sys

import aiohttp
from PIL import Image
from playwright.sync_api import Error, Page

from .browser import executable, logged_in, running_browser
from .instance import DOMAIN, PASSWORD, ROOT, TIME_ZONE, USER, Instance, Json


async def log_in_and_list_devices(address: str) -> tuple[Json, list[Json]]:
    """Return tokens for the frontend, and the devices of the component."""
    async with aiohttp.ClientSession() as session:
        home_assistant = Instance(session, address)
        tokens = await home_assistant.log_in(USER, PASSWORD)
        entries = await home_assistant.rows("config_entries/get", domain=DOMAIN)
        ids = {entry["entry_id"] for entry in entries}
        devices = await home_assistant.rows("config/device_registry/list")
        return tokens, [device for device in devices if ids & set(device["config_entries"])]


def device_name(device: Json) -> str:
    """Return the name that a page shows for a device."""
    name: str = device["name_by_user"] or device["name"]
    return name


def default_pages(devices: list[Json]) -> Iterator[tuple[str, str, str]]:
    """Yield name of the picture, path, and a text that is on the complete page."""
    gateways = [device for device in devices if device["via_device_id"] is None]
    inverters = [device for device in devices if device["model"] and "nverter" in device_name(device)]
    if gateways:
        yield "integration", f"/config/integrations/integration/{DOMAIN}", device_name(gateways[0])
        yield "gateway", device_path(gateways[0]), "Current power production"
    if inverters:
        yield "inverter", device_path(inverters[0]), device_name(inverters[0])


def chosen_pages(
    paths: Sequence[str], devices: list[Json], *, is_pressed: bool
) -> Sequence[tuple[str, str, str | None]]:
    """Return the pages with these paths, or the default ones: to press something, that of the integration alone."""
    if paths:
        return [(path.strip("/").replace("/", "-") or "start", path, None) for path in paths]
    return [*default_pages(devices)][: 1 if is_pressed else None]


def device_path(device: Json) -> str:
    """Return the path of a device's page."""
    return f"/config/devices/device/{device['id']}"


def open_page(page: Page, path: str, text: str | None = None) -> None:
    """Open a page and wait until it shows a text, and all its requests are done."""
    page.goto(path)
    if text:
        page.get_by_text(text).first.wait_for()
    page.wait_for_function("() => !document.querySelector('#ha-launch-screen')")
    settle(page)


def press(page: Page, text: str) -> None:
    """Click the element with a text or label, and wait for the page."""
    page.get_by_text(text, exact=True).or_(page.get_by_label(text, exact=True)).last.click()
    settle(page)


def settle(page: Page) -> None:
    """Wait until the requests of a page are done. Icons are read from the browser's database, and appear later."""
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(700)


def save(picture: bytes, file: Path) -> None:
    """Write a picture with the number of colours that such a page needs."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with Image.open(BytesIO(picture)) as image:
        image.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(file, optimize=True)


def main() -> int:
    """Save the pictures, and return an exit code."""
    parser = argparse.ArgumentParser(prog="scripts/screenshot", description=__doc__)
    parser.add_argument("paths", nargs="*", help="paths of other pages, such as /energy")
    parser.add_argument(
        "--press",
        action="append",
        default=[],
        metavar="TEXT",
        help="click this first on each page, without paths on that of the integration alone; may be repeated",
    )
    parser.add_argument("--language", default="en", help="language of the pages (default: %(default)s)")
    parser.add_argument(
        "--port", type=int, default=8123, help="port of the development instance (default: %(default)s)"
    )
    parser.add_argument("--into", type=Path, default=ROOT / ".develop" / "screenshots", help="folder for the pictures")
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--height", type=int, default=900)
    options = parser.parse_args()
    address = f"http://127.0.0.1:{options.port}"
    if not executable():
        print("screenshot: Chromium is missing: run scripts/get-browser", file=sys.stderr)
        return 2
    try:
        tokens, devices = asyncio.run(log_in_and_list_devices(address))
    except aiohttp.ClientError:
        print(f"screenshot: no answer from {address}: run scripts/develop first", file=sys.stderr)
        return 2
    pages = chosen_pages(options.paths, devices, is_pressed=bool(options.press))
    try:
        with (
            running_browser() as browser,
            logged_in(
                browser,
                tokens,
                width=options.width,
                height=options.height,
                language=options.language,
                time_zone=TIME_ZONE,
            ) as page,
        ):
            for name, path, text in pages:
                open_page(page, path, text)
                for button in options.press:
                    press(page, button)
                save(page.screenshot(), file := options.into / f"{name}.png")
                print(f"screenshot: {file} ({file.stat().st_size // 1024} kB)")
    except Error as err:
        print(f"screenshot: browser error: {err.message}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
