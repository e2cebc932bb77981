"""Storage: saved in time, validated when read, removed with the entry."""

from collections.abc import Iterator
from datetime import timedelta
from itertools import count
import json
from pathlib import Path
from typing import Any
from unittest.mock import patch

from homeassistant.config_entries import ConfigEntryState
from homeassistant.const import EVENT_HOMEASSISTANT_FINAL_WRITE
from homeassistant.core import CoreState, HomeAssistant
from homeassistant.helpers import issue_registry as ir
from homeassistant.helpers.storage import STORAGE_DIR, Store
from homeassistant.util import dt as dt_util
from homeassistant.util.file import WriteError
import pytest
from pytest_homeassistant_custom_component.common import MockConfigEntry, async_fire_time_changed

from custom_components.enphase_envoy.const import DOMAIN
from custom_components.enphase_envoy.storage import DOCUMENTS, STORES, EntryStore
from tests.helpers.integration import SetUp

ENTRY = MockConfigEntry(domain=DOMAIN, entry_id="01ENTRY")
KEY = "enphase_envoy.01ENTRY.documents"

#: Methods that Home Assistant's test tools replace by a dictionary.
DISK = {name: getattr(Store, name) for name in ("_async_load", "_async_write_data", "async_remove")}


class Disk:
    """A file of Home Assistant's storage."""

    def __init__(self, path: Path) -> None:
        """Create the folder of the file."""
        self.path = path
        path.parent.mkdir()

    def write(self, content: bytes) -> None:
        """Write content that Home Assistant did not."""
        self.path.write_bytes(content)

    def holds(self) -> bytes | None:
        """Return the content, None if there is no such file."""
        return self.path.read_bytes() if self.path.exists() else None

    def is_private(self) -> bool:
        """Return whether other users of the system cannot read it."""
        return self.path.stat().st_mode & 0o077 == 0


@pytest.fixture
def disk(hass: HomeAssistant, tmp_path: Path) -> Iterator[Disk]:
    """The real file of a store."""
    hass.config.config_dir = str(tmp_path)
    with patch.multiple(Store, **DISK):
        yield Disk(tmp_path / STORAGE_DIR / KEY)


@pytest.fixture
def store(hass: HomeAssistant) -> EntryStore:
    """A store without saved data."""
    ENTRY.add_to_hass(hass)
    return EntryStore(hass, ENTRY, DOCUMENTS)


async def test_saved_data_is_loaded(hass: HomeAssistant, store: EntryStore, hass_storage: dict[str, Any]) -> None:
    assert await store.async_load() is None
    await store.async_save_now({"a": [1, 2.5, None, "text"], "b": {"c": True}})
    assert hass_storage[KEY]["data"] == {"a": [1, 2.5, None, "text"], "b": {"c": True}}
    assert await EntryStore(hass, ENTRY, DOCUMENTS).async_load() == {"a": [1, 2.5, None, "text"], "b": {"c": True}}
    assert await EntryStore(hass, ENTRY, "another").async_load() is None


async def test_a_repeated_call_does_not_delay_a_save(
    hass: HomeAssistant, store: EntryStore, hass_storage: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A caller that schedules a save every minute gets one in time, with the newest data."""
    now = hass.loop.time()
    monkeypatch.setattr(hass.loop, "time", lambda: now)
    made = count(1)
    for _ in range(14):
        store.keep(lambda: {"made": next(made)}, 900)
        now += 60
    assert KEY not in hass_storage
    now += 61
    async_fire_time_changed(hass, dt_util.utcnow() + timedelta(seconds=901))
    await hass.async_block_till_done()
    assert hass_storage[KEY]["data"] == {"made": 1}
    # The next one starts a new period.
    store.keep(lambda: {"made": next(made)}, 900)
    async_fire_time_changed(hass, dt_util.utcnow() + timedelta(seconds=800))
    await hass.async_block_till_done()
    assert hass_storage[KEY]["data"] == {"made": 1}
    await store.async_remove()


async def test_a_scheduled_save_can_be_moved_forward(
    hass: HomeAssistant, store: EntryStore, hass_storage: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = hass.loop.time()
    monkeypatch.setattr(hass.loop, "time", lambda: now)
    store.keep(lambda: {"made": "late"}, 900)
    store.keep(lambda: {"made": "soon"}, 10)
    now += 11
    async_fire_time_changed(hass, dt_util.utcnow() + timedelta(seconds=11))
    await hass.async_block_till_done()
    assert hass_storage[KEY]["data"] == {"made": "soon"}


async def test_a_scheduled_save_is_done_when_home_assistant_stops(
    hass: HomeAssistant, store: EntryStore, hass_storage: dict[str, Any]
) -> None:
    store.keep(lambda: {"made": "in the end"}, 900)
    hass.set_state(CoreState.final_write)
    hass.bus.async_fire(EVENT_HOMEASSISTANT_FINAL_WRITE)
    await hass.async_block_till_done()
    assert hass_storage[KEY]["data"] == {"made": "in the end"}


@pytest.mark.parametrize("data", [None, {"made": 2}])
async def test_a_closed_store_saves_nothing_that_was_scheduled(
    hass: HomeAssistant, store: EntryStore, hass_storage: dict[str, Any], data: dict[str, object] | None
) -> None:
    """Nor does it listen; without data for the last save, what was saved before is kept."""
    await store.async_save_now({"made": 1})
    store.keep(lambda: {"made": "late"}, 10)
    await store.async_close(data)
    assert EVENT_HOMEASSISTANT_FINAL_WRITE not in hass.bus.async_listeners()
    async_fire_time_changed(hass, dt_util.utcnow() + timedelta(seconds=20))
    await hass.async_block_till_done()
    assert hass_storage[KEY]["data"] == (data or {"made": 1})


async def test_whether_a_file_could_be_written_is_known(
    hass: HomeAssistant, store: EntryStore, disk: Disk, caplog: pytest.LogCaptureFixture
) -> None:
    """Home Assistant's store only logs it."""
    data = {"made": 1, "times": (1.5, 1e12), "all": [{"a": None}]}
    assert await store.async_save_now(data)
    full = WriteError("No space left on device")
    with patch("homeassistant.helpers.storage.write_utf8_file_atomic", side_effect=full):
        assert not await store.async_save_now(data | {"made": 2})
    assert "No space left" in caplog.text
    assert (await store.async_load() or {})["made"] == 1
    assert await store.async_save_now(data | {"made": 3})
    # A damaged file is left as it is. If Home Assistant's store loaded it, it would be renamed, with a critical issue.
    disk.write(b'{"version": 1, "da')
    with patch("homeassistant.helpers.storage.write_utf8_file_atomic", side_effect=full):
        assert not await store.async_save_now(data)
    assert [*disk.path.parent.iterdir()] == [disk.path]
    assert not ir.async_get(hass).issues
    assert await store.async_save_now(data | {"made": 3})
    # While Home Assistant stops, it writes all files later.
    hass.set_state(CoreState.stopping)
    assert not await store.async_save_now(data | {"made": 4})
    await store.async_close(None)
    assert not await store.async_save_now(data | {"made": 5})


async def test_a_removed_file_is_not_written_again(hass: HomeAssistant, store: EntryStore, disk: Disk) -> None:
    await store.async_save_now({"made": 1})
    assert disk.holds()
    store.keep(lambda: {"made": 2}, 10)
    await store.async_remove()
    async_fire_time_changed(hass, dt_util.utcnow() + timedelta(seconds=20))
    await hass.async_block_till_done()
    assert disk.holds() is None
    assert await EntryStore(hass, ENTRY, DOCUMENTS).async_load() is None
    await store.async_remove()


DAMAGED = pytest.mark.parametrize(
    "content",
    [
        b"",
        b'{"version": 1, "key": "x", "da',
        b"\x00" * 4096,
        b'{"version": 2, "data": {"a": 1}}',
        b'{"version": 0, "data": {"a": 1}}',
        b'{"version": "1", "data": {"a": 1}}',
        b'{"data": {"a": 1}}',
        b'{"version": 1, "key": "x"}',
        b'{"version": 1, "data": [1]}',
        b'{"version": 1, "data": "text"}',
        b'{"version": 1, "minor_version": 2, "data": [1]}',
        b"[]",
        b"null",
        b'"text"',
    ],
    ids=[
        *("empty", "truncated", "zeros", "of a newer version", "of version 0", "of a text as version", "no version"),
        *("no data", "a list as data", "a text as data", "a list of a newer minor version"),
        *("a list", "null", "a text"),
    ],
)


@DAMAGED
async def test_a_damaged_file_is_ignored_and_replaced(
    store: EntryStore, disk: Disk, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    disk.write(content)
    assert await store.async_load() is None
    assert not [record for record in caplog.records if record.exc_info]
    assert f"{KEY} cannot be read" in caplog.text
    await store.async_save_now({"made": 1})
    assert await store.async_load() == {"made": 1}
    assert disk.is_private()


@pytest.mark.parametrize("content", [b"{}", b'{"version": 1, "data": {}}', b'{"version": 1, "data": {"a": 1}}'])
async def test_a_file_without_damage_is_no_reason_for_a_warning(
    store: EntryStore, disk: Disk, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    disk.write(content)
    assert await store.async_load() == json.loads(content).get("data")
    assert "cannot be read" not in caplog.text


@DAMAGED
async def test_damaged_files_do_not_prevent_the_set_up(
    hass: HomeAssistant, set_up: SetUp, disk: Disk, content: bytes
) -> None:
    """All files of an entry."""
    house = await set_up("metered_1phase")
    assert await hass.config_entries.async_unload(house.entry.entry_id)
    await hass.async_block_till_done()
    for subject in STORES:
        (disk.path.parent / f"{DOMAIN}.{house.entry.entry_id}.{subject}").write_bytes(content)
    assert await hass.config_entries.async_setup(house.entry.entry_id)
    await hass.async_block_till_done()
    assert house.entry.state is ConfigEntryState.LOADED
    assert house.coordinator.last_update_success
