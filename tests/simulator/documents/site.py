"""Description of the gateway: /info, /home, networks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.simulator.text_document import TextDocument

if TYPE_CHECKING:
    from tests.simulator.gateway import Gateway, Json


def mac(gateway: Gateway, last: int = 0) -> str:
    """Return the address of a network interface, made from the serial number."""
    digits = f"{int(gateway.serial[-6:]) + last:06d}"
    return f"00:1D:C0:{digits[0:2]}:{digits[2:4]}:{digits[4:6]}"


def info(gateway: Gateway, _query: dict[str, str]) -> Json:
    """Serial number and firmware as XML; the oldest firmware omits `imeter`, only newer ones have `web-tokens`."""
    metered = str(gateway.profile.metered).lower()
    return TextDocument(
        '<?xml version="1.0" encoding="UTF-8"?>\n<envoy_info>\n'
        f"  <time>{int(gateway.now)}</time>\n  <device>\n"
        f"    <sn>{gateway.serial}</sn>\n    <pn>{gateway.profile.part}</pn>\n"
        f"    <software>{gateway.firmware}</software>\n"
        "    <euaid>4c8675</euaid>\n    <seqnum>0</seqnum>\n    <apiver>1</apiver>\n"
        + (f"    <imeter>{metered}</imeter>\n" if gateway.version >= (5,) else "")
        + "  </device>\n"
        + ("  <web-tokens>true</web-tokens>\n" if gateway.version >= (7,) else "")
        + "</envoy_info>\n",
        "text/xml",
    )


def home(gateway: Gateway, _query: dict[str, str]) -> Json:
    """Time zone, network and devices, with MAC and IP addresses."""
    if gateway.version < (4,):
        return None
    house = gateway.house
    local = gateway.clock.local(house.zone)
    inverters = sum(not inverter.deleted for inverter in house.inverters)
    kinds = [battery.kind for battery in house.batteries]
    return {
        "software_build_epoch": 1719503966,
        "timezone": house.zone.key,
        "current_date": local.strftime("%m/%d/%Y"),
        "current_time": local.strftime("%H:%M"),
        "network": {
            "web_comm": True,
            "ever_reported_to_enlighten": True,
            "last_enlighten_report_time": int(gateway.now) // 900 * 900,
            "primary_interface": "eth0",
            "interfaces": [
                {
                    "type": "ethernet",
                    "interface": "eth0",
                    "mac": mac(gateway),
                    "dhcp": True,
                    "ip": "192.0.2.40",
                    "signal_strength": 1,
                    "signal_strength_max": 1,
                    "carrier": True,
                },
                {
                    "signal_strength": 0,
                    "signal_strength_max": 0,
                    "type": "wifi",
                    "interface": "wlan0",
                    "mac": mac(gateway, 1),
                    "dhcp": True,
                    "ip": None,
                    "carrier": False,
                    "supported": True,
                    "present": True,
                    "configured": False,
                    "status": "connecting",
                },
            ],
        },
        "tariff": "single_rate",
        "comm": {
            "num": inverters,
            "level": 5,
            "pcu": {"num": inverters, "level": 5},
            "acb": {"num": kinds.count("acb"), "level": 5 if "acb" in kinds else 0},
            "nsrb": {"num": 0, "level": 0},
            "esub": {"num": int(bool(gateway.profile.enpower)), "level": 5 if gateway.profile.enpower else 0},
            "encharge": [{"num": kinds.count("encharge"), "level": 5, "level_24g": 5, "level_subg": 5}],
        },
        "wireless_connection": [
            {
                "signal_strength": 0,
                "signal_strength_max": 0,
                "type": "zigbee",
                "connected": bool(gateway.profile.enpower),
            }
        ],
    }


def network_display(gateway: Gateway, _query: dict[str, str]) -> Json:
    """Addresses. The structure is invented: no recording of it is known."""
    return {
        "ip": "192.0.2.40",
        "netmask": "255.255.255.0",
        "gateway": "192.0.2.1",
        "dns": ["192.0.2.1"],
        "mac": mac(gateway),
        "public_ip": "203.0.113.107",
        "dhcp": True,
    }


def wireless_display(gateway: Gateway, _query: dict[str, str]) -> Json:
    """Wi-Fi networks nearby. The structure is invented: no recording of it is known."""
    return {
        "current_network": {"ssid": None, "status": "disconnected"},
        "mac": mac(gateway, 1),
        "networks": [{"ssid": "Next door", "bssid": "02:00:5E:10:00:07", "signal_strength": 3}],
    }
