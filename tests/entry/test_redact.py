"""Redaction: identifiers are replaced, equal ones by equal placeholders; everything else is unchanged."""

import ipaddress
from ipaddress import ip_address
import json
import re
from typing import Any

from hypothesis import given, strategies as st
import pytest

from custom_components.enphase_envoy.descriptions import sources
from custom_components.enphase_envoy.model import identifiers
from custom_components.enphase_envoy.redact import REDACTED, Redactor

#: Functions that return the device of an object by a serial number in its address.
BY_SERIAL = (identifiers.own, identifiers.inverter)

SERIAL = "122035013273"
TOKEN = "eyJraWQiOiI3ZDEwMDA1ZCJ9.eyJhdWQiOiIxMjIwMzUwMTMyNzMifQ.c2lnbmF0dXJl"


def redact(document: Any, *more: object) -> Any:
    return Redactor(document, *more).redact(document)


def placeholder(serial: str = SERIAL) -> str:
    new: str = redact({"sn": serial})["sn"]
    return new


@pytest.mark.parametrize("key", ["sn", "serial_num", "serialNumber", "serialNum", "device_id", "Serial-Number"])
def test_a_serial_number_becomes_another_of_its_length(key: str) -> None:
    new = redact({key: SERIAL})[key]
    assert re.fullmatch(r"\d{12}", new)
    assert new != SERIAL
    assert redact({key: int(SERIAL)})[key] == int(new)


def test_the_same_serial_number_becomes_the_same_everywhere() -> None:
    document = {
        "serial_nums": {SERIAL: {"device_id": SERIAL}},
        "sn": f"{SERIAL}EIM1",
        "original_name": f"Envoy {SERIAL}",
        "unique_id": f"{SERIAL}_acb",
        "text": f"Envoy {SERIAL} reports",
        "number": int(SERIAL),
        "fixture": json.dumps([{"serialNumber": SERIAL}]),
        "xml": f"<device>\n  <sn>{SERIAL}</sn>\n</device>",
        "list": [f"/{SERIAL}/x", [SERIAL]],
    }
    new = placeholder()
    expected = json.loads(json.dumps(document).replace(SERIAL, new))
    assert redact(document) == expected


def test_a_short_serial_number_does_not_change_numbers() -> None:
    document = {
        "rows": [{"serialNumber": "1234", "lastReportWatts": 1234, "cap": "1234", "part": "520-1234-r01"}],
        "inverters": {"1234": {"serial_number": "1234", "last_report_watts": 1234, "energy": 1234.5}},
        "raw": '{"serialNumber": "1234", "wattHours": 1234, "x": 0.1234}',
        "unique_id": "1234_last_reported",
        "name": "Inverter 1234",
        "state": "1234",
        "time": "12:34 1234",
    }
    new = redact(document)
    serial = new["rows"][0]["serialNumber"]
    assert len(serial) == 4
    assert serial != "1234"
    assert new == {
        "rows": [{"serialNumber": serial, "lastReportWatts": 1234, "cap": "1234", "part": "520-1234-r01"}],
        "inverters": {serial: {"serial_number": serial, "last_report_watts": 1234, "energy": 1234.5}},
        "raw": f'{{"serialNumber": "{serial}", "wattHours": 1234, "x": 0.1234}}',
        "unique_id": f"{serial}_last_reported",
        "name": f"Inverter {serial}",
        "state": "1234",
        "time": "12:34 1234",
    }


def test_a_short_serial_number_is_replaced_as_a_key() -> None:
    document = {"sn": "12a4", "anything": {"12a4": 1}, "text": '{"anything": {"12a4": 1}}', "state": "12a4"}
    new = redact(document)
    assert len(new["sn"]) == 4
    assert new["sn"] != "12a4" == new.pop("state")
    assert new == {"sn": new["sn"], "anything": {new["sn"]: 1}, "text": f'{{"anything": {{"{new["sn"]}": 1}}}}'}


@pytest.mark.parametrize(
    "field",
    sorted(
        {source.address[0] for source in vars(sources).values() if getattr(source, "device_fn", 0) in BY_SERIAL}
        | {"problems"}
    ),
)
def test_a_serial_number_of_letters_is_replaced_as_a_key_of_the_snapshot(field: str) -> None:
    assert "roof" not in redact({field: {"roof": {}}})[field]


def test_a_serial_number_of_letters_is_replaced_in_texts_made_of_identifiers() -> None:
    new = redact({"info": "<sn>envoyserial</sn>", "unique_id": "envoyserial_x", "text": "my envoyserial"})
    assert "envoyserial" not in new["info"] + new["unique_id"]
    assert new["info"] == f"<sn>{new['unique_id'].removesuffix('_x')}</sn>"
    assert len(new["info"]) == len("<sn>envoyserial</sn>")


def test_addresses_become_those_of_documentation() -> None:
    new = redact(
        {
            "host": "192.168.3.16:8443",
            "url": "https://192.168.3.16/home",
            "mac": "00:1D:C0:7F:B6:3B",
            "connections": ["00:1d:c0:7f:b6:3b"],
            "bare": {"mac": "001DC07FB63B"},
            "public": "seen at 8.8.8.8, fe80::1%eth0",
            "mask": "255.255.255.0",
            "any": "0.0.0.0",  # noqa: S104
            "time": "12:00:00",
        }
    )
    address = new["host"].removesuffix(":8443")
    assert ipaddress.ip_address(address) in ipaddress.ip_network("192.0.2.0/24")
    assert new["url"] == f"https://{address}/home"
    assert new["mac"].startswith("00:00:5E:00:53:")
    assert new["connections"] == [new["mac"].lower()]
    assert new["bare"]["mac"] == new["mac"].replace(":", "")
    assert re.fullmatch(r"seen at 203\.0\.113\.\d+, 2001:db8::\d+%eth0", new["public"])
    assert (new["mask"], new["any"], new["time"]) == ("255.255.255.0", "0.0.0.0", "12:00:00")  # noqa: S104


def test_a_host_name_is_replaced_in_urls_and_messages() -> None:
    new = redact({"host": "miller-roof:443", "error": "Cannot connect to host miller-roof:443", "b": "see envoy.local"})
    assert new["host"] == new["error"].rpartition(" ")[2]
    assert "miller" not in str(new)
    assert "envoy.local" not in str(new)
    plain = redact({"host": "roof", "url": "http://roof/x", "text": "on the roof"})
    assert plain["url"] == f"http://{plain['host']}/x"
    assert plain["text"] == "on the roof"


def test_secrets_are_removed_everywhere() -> None:
    document = {
        "username": "anna@example.org",
        "password": "p",
        "token": TOKEN,
        "text": f"Bearer {TOKEN} for anna@example.org",
        "use_manual_token": True,
        "pin": {"certificate_fingerprint": "ab" * 32, "password": None, "token": ""},
        "raw": '{"token": "t", "latitude": 47.1}',
    }
    assert redact(document) == {
        "username": REDACTED,
        "password": REDACTED,
        "token": REDACTED,
        "text": f"Bearer {REDACTED} for {REDACTED}",
        "use_manual_token": True,
        "pin": {"certificate_fingerprint": REDACTED, "password": None, "token": ""},
        "raw": json.dumps({"token": REDACTED, "latitude": REDACTED}),
    }


def test_names_are_replaced_under_their_keys_only() -> None:
    document = [
        {"dry_contact_load_name": "storage", "type": "storage"},
        {"load_name": "Anna's heater"},
        {"load_name": ""},
        {"current": {"ssid": "Next door", "status": "connected"}},
        {"generator_id": "GEN 17/b", "site_name": "Annas Dach"},
    ]
    new = redact(document)
    assert new[0] == {"dry_contact_load_name": "Load 2", "type": "storage"}
    assert new[1:3] == [{"load_name": "Load 1"}, {"load_name": ""}]
    assert new[3] == {"current": {"ssid": "Network 1", "status": "connected"}}
    assert new[4] == {"generator_id": "ID 1", "site_name": "Site 1"}


def test_of_networks_only_the_structure_is_left() -> None:
    body = {"networks": [{"name": "Next door", "signal_strength": 3, "x": None}], "Anna's": True, "list": ["Next door"]}
    fixtures = {
        f"/admin/lib/{kind}_display.json": {"status": 200, "body": json.dumps(body)} for kind in ("wireless", "network")
    }
    fixtures["/admin/lib/wireless_display"] = {"status": 200, "body": '{"cut": "Next do'}
    for answer in redact(fixtures).values():
        assert answer["status"] == 200
        assert "Next" not in answer["body"]
        assert "Anna" not in answer["body"]
        assert answer["body"] == REDACTED or json.loads(answer["body"])["networks"][0]["signal_strength"] == 3


def test_truncated_json_is_redacted() -> None:
    text = '{"rows": [{"serial_num": "12345678", "load_name": "Annas \\"pump\\"", "n": 12345678}, {"ssid": "Next do'
    new = redact({"body": text})["body"]
    assert "Annas" not in new
    assert "Next" not in new
    assert '"serial_num": "12345678"' not in new
    assert new.startswith('{"rows": [{"serial_num": "9')
    assert '"n": 12345678}' in new


@pytest.mark.parametrize(
    "document",
    [
        {"eid": 704643328, "chanEid": 1627390225, "deviceCount": 17},
        {"553648384": {"devName": "pcu"}},
        {"part_num": "800-01331-r02", "img_pnum_running": "521-00005-r06-v02.61.01", "euaid": "4c8675"},
        {"swift_asic_fw_version": "001.002.1.7.2", "app_fw_version": "1.17.8.1", "software": "D8.3.5169"},
        {"timezone": "Europe/Amsterdam", "date": "2023-06-29 15:50:12 UTC", "last_rpt_date": "1785593319"},
        {"vendor_data": "0256c0040d0af21f0b5a030a1a01ffff2120011f0400e00000", "flags_hex": "0x0000000000200000"},
        {"api_ecagtDevIdToSerial": 52526, "serial": "0", "sn": None, "unit": "VA", "s": 1234.0},
        {"device_status": ["envoy.cond_flags.pcu_ctrl.dc-pwr-low", "envoy.global.ok"], "producing": True},
        {"body": '{\n  "voltage": 240.10,\n  "channels": []\n}'},
        {"body": "<html>\n<td> 4.32 kW</td></html>"},
        ["", None, 1e300, -5, "[", "{", "[1", "text <"],
    ],
)
def test_other_values_are_unchanged(document: object) -> None:
    assert redact(document, {"sn": SERIAL}) == document


def test_placeholders_do_not_depend_on_other_documents() -> None:
    """Files of one system can be compared as long as it has the same devices."""
    first = Redactor({"a": {"sn": "122035013273"}, "b": {"sn": "122029016399"}})
    second = Redactor({"z": [{"serial_num": "122029016399"}, {"serialNumber": "122035013273"}]})
    assert first.redact({"sn": SERIAL}) == second.redact({"sn": SERIAL})


# Properties

serials = st.one_of(
    st.from_regex(r"[1-9][0-9]{11}", fullmatch=True),
    st.from_regex(r"[0-9]{4,14}", fullmatch=True),
    st.from_regex(r"[A-Z]{2}[0-9]{6,10}", fullmatch=True),
)
macs = st.from_regex(r"[0-9A-F]{2}(:[0-9A-F]{2}){5}", fullmatch=True)
addresses = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)).map(str)
words = st.sampled_from(["ok", "production", "L1", "normal", "Load 1", "Europe/Paris", "idle", "7.6.175"])
floats = st.floats(allow_nan=False, allow_infinity=False)
values = st.one_of(words, st.integers(-(10**9), 10**9), floats, st.booleans(), st.none())


@st.composite
def documents(draw: st.DrawFn) -> tuple[Any, dict[str, set[str]]]:
    """Return documents of a gateway, and the identifiers in them."""
    known = {
        "sn": set(draw(st.lists(serials, max_size=6))),
        "mac": set(draw(st.lists(macs, max_size=3))),
        "ip": set(draw(st.lists(addresses, max_size=3))),
    }
    parts: list[Any] = [draw(st.dictionaries(st.sampled_from(["value", "state", "now", "max"]), values))]
    for key, found in known.items():
        for item in sorted(found):
            parts.append({key: item, "n": draw(values)})
            parts.append(
                draw(st.sampled_from([{"body": json.dumps({key: item})}, {"body": f"<a><{key}>{item}</{key}></a>"}]))
            )
            if key != "sn":
                parts.append({"text": f"at {item} now"})
            elif len(item) >= 6:
                parts.append(
                    {"text": f"Envoy {item} here", "unique_id": f"{item}_x", "entity_id": f"a.b_{item.lower()}"}
                )
    return draw(st.permutations(parts)), known


def strings(node: object) -> list[str]:
    """Return all strings of a document."""
    if isinstance(node, dict):
        return [text for item in node.items() for part in item for text in strings(part)]
    if isinstance(node, list):
        return [text for item in node for text in strings(item)]
    return [node] if isinstance(node, str) else []


def plain_numbers(node: object) -> list[object]:
    """Return all values but strings."""
    if isinstance(node, dict):
        return [number for item in node.values() for number in plain_numbers(item)]
    if isinstance(node, list):
        return [number for item in node for number in plain_numbers(item)]
    return [] if isinstance(node, str) else [node]


@given(documents())
def test_no_identifier_is_left(made: tuple[Any, dict[str, set[str]]]) -> None:
    document, known = made
    text = "\n".join(strings(redact(document)))
    for kind, found in known.items():
        for item in found:
            if kind == "ip" and (ip_address(item).is_unspecified or item.removeprefix("::ffff:").startswith("255.")):
                continue
            assert not re.search(rf"(?<![0-9A-Za-z:.]){re.escape(item)}(?![0-9A-Za-z:]|\.\d)", text)


@given(documents())
def test_numbers_and_words_are_unchanged(made: tuple[Any, dict[str, set[str]]]) -> None:
    document, _ = made
    new = redact(document)
    assert plain_numbers(new) == plain_numbers(document)
    for before, after in zip(document, new, strict=True):
        for key in ("value", "state", "now", "max", "n"):
            assert before.get(key) == after.get(key)


@given(documents())
def test_redaction_is_idempotent(made: tuple[Any, dict[str, set[str]]]) -> None:
    redactor = Redactor(made[0])
    once = redactor.redact(made[0])
    assert redactor.redact(once) == once


@given(documents())
def test_placeholders_are_unique(made: tuple[Any, dict[str, set[str]]]) -> None:
    document, known = made
    redactor = Redactor(document)
    for key, found in known.items():
        placeholders = [redactor.redact({key: item})[key] for item in sorted(found)]
        assert len(set(placeholders)) == len(found)
        assert placeholders == [redactor.redact({key: item})[key] for item in sorted(found)]
        if key != "ip":
            assert all(len(new) == len(item) for item, new in zip(sorted(found), placeholders, strict=True))
        else:
            kinds = [
                (ipaddress.ip_address(item).version, ipaddress.ip_address(new).version)
                for item, new in zip(sorted(found), placeholders, strict=True)
            ]
            assert all(before == after for before, after in kinds)


@given(st.recursive(st.one_of(values, st.text()), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_any_document_can_be_redacted(document: Any) -> None:
    redactor = Redactor(document)
    once = redactor.redact(document)
    assert redactor.redact(once) == once
    json.dumps(once)
