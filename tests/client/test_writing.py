"""Changes of documents that the library can't parse in full."""

import json
from typing import Any

from pyenphase.models.acb import ACBSleepState
import pytest

from custom_components.enphase_envoy.client.endpoints import Document, Endpoint
from custom_components.enphase_envoy.client.errors import GatewayError, RelayTypeError
from custom_components.enphase_envoy.client.object_cache import ObjectCache
from custom_components.enphase_envoy.client.writing import Edit, WrittenValues
from custom_components.enphase_envoy.model.ac_batteries import AcbFleet, SleepBand


class Sender:
    """Records what is sent."""

    def __init__(self, document: object = None) -> None:
        """Start empty; `document` is what is read."""
        self.sent: list[Any] = []
        self._document = document

    async def send(self, path: str, body: object = None, method: str | None = None) -> object:  # noqa: ARG002
        """Record a body, or return the document."""
        if body is None:
            return self._document
        self.sent.append(body)
        return None


def edit(sender: Sender, document: object, written: WrittenValues | None = None) -> Edit:
    """Return an edit of a document as it was received."""
    written = written or WrittenValues(lambda: 0.0)
    endpoint = Endpoint()
    if document is not None:
        endpoint.accept(Document(TARIFF_PATH, json.dumps(document).encode()))
        written.confirm(TARIFF_PATH, endpoint.latest)
    return Edit(sender, endpoint, None, ObjectCache(), written)  # type: ignore[arg-type]


FLEET = AcbFleet(("1219",), ACBSleepState.AWAKE, SleepBand(20, 25))
TARIFF_PATH = "/admin/lib/tariff"
TARIFF = {"tariff": {"storage_settings": {"mode": "ai-optimization", "reserved_soc": 20}}, "schedule": {}}
CONTACT = {"id": "NC1", "type": "3RD-PV-X", "mode": "new-mode", "soc_low": 30.0, "grid_action": "new-action"}


async def test_unknown_words_are_sent_as_reported() -> None:
    sender = Sender()
    await edit(sender, TARIFF).storage_settings(reserved_soc=45)
    await edit(sender, {"dry_contacts": [{"id": "NC2"}, CONTACT]}).relay("NC1", soc_low=25)
    assert sender.sent == [
        {"tariff": {"storage_settings": {"mode": "ai-optimization", "reserved_soc": 45}}},
        {"dry_contacts": CONTACT | {"soc_low": 25.0}},
    ]
    assert [type(value) for value in (sender.sent[0]["tariff"]["storage_settings"]["reserved_soc"],)] == [int]


@pytest.mark.parametrize(
    ("reported", "value", "sent"),
    [
        ("30.0", 25, "25.0"),
        ("30", 25, "25"),
        ("true", False, "false"),
        (1, False, 0),
        (0.0, True, 1.0),
        (30.0, 25, 25.0),
        (30, 25, 25),
        (True, False, False),
        # No value was set.
        ("none", 25, 25),
        (None, 25, 25),
        ("self", "savings", "savings"),
    ],
)
async def test_a_value_is_sent_as_the_type_that_is_reported(reported: object, value: object, sent: object) -> None:
    sender = Sender()
    await edit(sender, {"tariff": {"storage_settings": {"setting": reported}}}).storage_settings(setting=value)
    assert json.dumps(sender.sent) == json.dumps([{"tariff": {"storage_settings": {"setting": sent}}}])


LIMITS = {"sleep_min_soc": 20, "sleep_max_soc": 25}


@pytest.mark.parametrize(
    ("reported", "sent"),
    [
        ([], [{"serial_num": "1219", **LIMITS}]),
        ([{"serial_num": 1219, "sleep_min_soc": 1, "x": 1}], [{"serial_num": 1219, "x": 1, **LIMITS}]),
        (
            [{"x": 1}, {"x": 2}, None, {"serial_num": "77"}],
            [{"x": 1}, {"x": 2}, None, {"serial_num": "77"}, {"serial_num": "1219", **LIMITS}],
        ),
        (
            [{"serial_num": "1219", "sleep_min_soc": "10"}, {"serial_num": "1219", "x": 2}],
            [{"serial_num": "1219", **LIMITS, "sleep_min_soc": "20"}, {"serial_num": "1219", "x": 2, **LIMITS}],
        ),
    ],
)
async def test_rows_of_other_ac_batteries_are_sent_as_reported(reported: object, sent: object) -> None:
    sender = Sender({"acb_sleep": reported, "key": 1})
    await edit(sender, None).sleep(FLEET)
    assert sender.sent == [{"acb_sleep": sent, "key": 1}]


@pytest.mark.parametrize("document", [{"error": "busy"}, {"acb_sleep": {"1219": {"x": 1}}}, ["busy"], "busy"])
async def test_nothing_is_sent_to_ac_batteries_when_their_settings_are_not_read(document: object) -> None:
    sender = Sender(document)
    with pytest.raises(GatewayError):
        await edit(sender, None).sleep(FLEET)
    assert not sender.sent


@pytest.mark.parametrize("document", [None, [], {"tariff": None}, {"tariff": {}}, {"dry_contacts": [{"id": "NC2"}]}])
async def test_nothing_is_sent_without_the_object_to_change(document: object) -> None:
    sender = Sender()
    with pytest.raises(GatewayError):
        await edit(sender, document).storage_settings(reserved_soc=45)
    with pytest.raises(GatewayError):
        await edit(sender, document).relay("NC1", soc_low=25)
    assert not sender.sent


@pytest.mark.parametrize("relay_type", ["NONE", "PV", "3RD-PV", "3RD-PV-X", None])
async def test_action_of_a_relay_without_a_load_is_refused(relay_type: str | None) -> None:
    sender = Sender()
    contacts = {"dry_contacts": [CONTACT | {"type": relay_type}, CONTACT | {"id": "NC2", "type": "LOAD"}]}
    with pytest.raises(RelayTypeError):
        await edit(sender, contacts).relay_action("NC1", grid_action="shed")
    assert not sender.sent
    await edit(sender, contacts).relay_action("NC2", grid_action="shed")
    await edit(sender, contacts).relay("NC1", soc_low=25)
    assert len(sender.sent) == 2


def tariff(**values: object) -> dict[str, Any]:
    """Return a document with settings of the batteries."""
    return {"tariff": {"storage_settings": {"mode": "backup", "reserved_soc": 20, "charge_from_grid": False} | values}}


@pytest.mark.parametrize(
    ("seconds", "reported", "sent"),
    [
        (5, tariff(), 45),
        (5, tariff(reserved_soc=45), 45),
        (5, tariff(reserved_soc=30), 30),
        (61, tariff(), 20),
    ],
    ids=["not reported yet", "reported", "changed in the app", "ignored"],
)
async def test_written_value_is_sent_again_until_it_is_reported(
    seconds: float, reported: dict[str, Any], sent: int
) -> None:
    sender, now = Sender(), [0.0]
    written = WrittenValues(lambda: now[0])
    await edit(sender, tariff(), written).storage_settings(reserved_soc=45)
    now[0] += seconds
    await edit(sender, reported, written).storage_settings(charge_from_grid=True)
    assert sender.sent[-1] == tariff(reserved_soc=sent, charge_from_grid=True)


async def test_reported_value_is_not_sent_again() -> None:
    """The gateway reported it, and then another value again, as after a change in the app."""
    sender, written = Sender(), WrittenValues(lambda: 0.0)
    await edit(sender, tariff(), written).storage_settings(reserved_soc=45)
    edit(sender, tariff(reserved_soc=45), written)
    await edit(sender, tariff(), written).storage_settings(charge_from_grid=True)
    assert sender.sent[-1] == tariff(charge_from_grid=True)


async def test_value_that_was_written_twice_is_sent_as_written_last() -> None:
    """The gateway reports the first of the two."""
    sender, written = Sender(), WrittenValues(lambda: 0.0)
    for reserve in (45, 50):
        await edit(sender, tariff(), written).storage_settings(reserved_soc=reserve)
    await edit(sender, tariff(reserved_soc=45), written).storage_settings(charge_from_grid=True)
    assert sender.sent[-1] == tariff(reserved_soc=50, charge_from_grid=True)
