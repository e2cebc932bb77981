"""Takes out of documents what must not be posted in public, and leaves them otherwise as they were.

Serial numbers, addresses and names are learned from all documents first, by the keys they stand under and by what they
look like, and then replaced by stand-ins: the same by the same, of the same form and length, in every document alike.
Only whole tokens are replaced, and a number only where it is an identifier: people anonymise serial numbers to `1234`,
and 1234 W must stay 1234 W. Secrets are not replaced but removed.

Not scrubbed, because nothing personal is in them: `eid` and its like, which gateways number from the same start and
which link the documents with each other; part numbers, firmware, `euaid` (the same on all gateways); the time zone.
Pure: no Home Assistant here.
"""

from collections import defaultdict
from functools import lru_cache, partial
from ipaddress import IPv4Address, IPv6Address, ip_address
import json
import re
from typing import Final, NamedTuple, cast

REDACTED: Final = "**REDACTED**"


def _keys(names: str) -> frozenset[str]:
    return frozenset(names.split())


# Keys, in lower case and without punctuation: gateways write `serial_num`, `serialNumber`, `sn` for the same.
_SECRETS: Final = _keys(
    "user wpakey wifikey authorization certificatefingerprint fingerprint latitude longitude street address zip phone"
    # Who last changed the generator's configuration.
    " lastupdatedby"
)
_SERIALS: Final = _keys(
    "sn serial serials devicesn devsn parentsn envoysn envoyserial gatewaysn gatewayserial generatorid siteid systemid"
    # Of devices in `/ivp/ensemble/status`, the same as their serial number; of rows of `/inv`.
    " deviceid s"
)
_MACS: Final = _keys("mac macaddr macaddress hwaddr bssid")
_HOSTS: Final = _keys("host hostname fqdn")
#: Dictionaries whose keys are serial numbers: in documents, then in pyenphase's data.
_BY_SERIAL: Final = _keys("serialnums submodules inverters enchargeinventory enchargepower acbinventory")
#: Keys of texts that are made of identifiers, where even a short one counts.
_NAMING: Final = _keys("entityid uniqueid identifiers name title originalname via")
_VERSION: Final = re.compile(r"version|vers$|fw|firmware|software|assembly|build|part")
#: Endpoints full of addresses and of the names of networks all around, of which nobody knows all the shapes.
_NETWORK: Final = re.compile(r"(network|wireless)display")
# Keys may begin with what it is about: `dry_contact_load_name`.
_SECRET_ENDS: Final = ("password", "passwd", "passphrase", "psk", "token", "username", "email", "sessionid", "cookie")
_SERIAL_ENDS: Final = ("serialnum", "serialnums", "serialnumber", "serialnumbers", "serialno", "serialnb", "serialnbr")
#: What people name, and what it is called instead.
_NAME_ENDS: Final = {
    "loadname": "Load",
    "ssid": "Network",
    "ssids": "Network",
    "networkname": "Network",
    "wifiname": "Network",
    "sitename": "Site",
    "systemname": "Site",
    "ownername": "Person",
    "installername": "Person",
}


class _Key(NamedTuple):
    """What a key says about the value that stands under it."""

    #: `secret`, `serial`, `mac`, `host`, `naming`, `version`, `network`, what names are called instead, or nothing.
    kind: str
    #: Its value is a dictionary by serial number.
    by_serial: bool
    #: The short one of `/inv`, which is apparent power in `/stream/meter`.
    only_text: bool


@lru_cache(maxsize=2048)
def _known_key(key: str) -> _Key:
    plain = re.sub(r"[^a-z0-9]", "", key.lower())
    kinds = {"mac": _MACS, "secret": _SECRETS, "serial": _SERIALS, "host": _HOSTS, "naming": _NAMING}
    kind = next((kind for kind, keys in kinds.items() if plain in keys), "")
    if not kind and _NETWORK.search(plain):
        kind = "network"
    if not kind and plain.endswith(_SECRET_ENDS):
        kind = "secret"
    if not kind and plain.endswith(_SERIAL_ENDS):
        kind = "serial"
    kind = kind or next((label for end, label in _NAME_ENDS.items() if plain.endswith(end)), "")
    return _Key(kind or ("version" if _VERSION.search(plain) else ""), plain in _BY_SERIAL, plain == "s")


_JWT: Final = re.compile(r"\beyJ[\w-]{5,}\.[\w-]+(?:\.[\w-]*)?")
_EMAIL: Final = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
_MAC: Final = re.compile(
    r"(?<![0-9A-Fa-f:-])[0-9A-Fa-f]{2}(?P<by>[:-])[0-9A-Fa-f]{2}(?:(?P=by)[0-9A-Fa-f]{2}){4}(?![0-9A-Fa-f:-])"
)
_IPV4: Final = re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?!\w|\.\d)")
_IPV6: Final = re.compile(r"(?<![\w:.])(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{0,4}(?![\w:]|\.\d)")
_LOCAL: Final = re.compile(r"(?<![\w.-])(?:[\w-]+\.)+local(?![\w-])")
_URL_HOST: Final = re.compile(r"(?:(?<=://)|(?<=\bhost ))[^/\s:\"'<>\[\]]+")
#: A run of letters and digits that is no part of a number with decimals.
_RUN: Final = re.compile(r"(?<![0-9A-Za-z])(?<!\d\.)[0-9A-Za-z]++(?!\.\d)")
#: A value with its key in a text that is no JSON (any more): cut off, XML, HTML.
_PAIR: Final = re.compile(
    r'"(?P<json>[\w-]+)"\s*:\s*(?:"(?P<string>(?:[^"\\]|\\.)*)|(?P<number>\d+))'
    r"|<(?P<tag>[\w-]+)>(?P<content>[^<]*)"
    r'|(?<=\s)(?P<attribute>[\w-]+)="(?P<quoted>[^"]*)'
)
#: Current transformers go by the serial number of their gateway: `122446001637EIM1`.
_METER: Final = re.compile(r"(\d+)(EIM\d+)")
_BARE_MAC: Final = re.compile(r"[0-9A-Fa-f]{12}")
_NUMBER: Final = re.compile(r"[-+]?\d+(\.\d+)?")
#: Less is no serial number: gateways write 0 or 1 where there is none.
_SHORTEST: Final = 4
_NO_SERIAL: Final = _keys("none null unknown undetermined unavailable true false")

#: Enphase's serial numbers have twelve digits: such a token is one, wherever it stands.
_ENPHASE: Final = 12
#: Digits that a known serial number must have to be replaced in a number, in other texts, in texts made of identifiers.
_IN_NUMBERS, _IN_TEXTS, _IN_NAMES = 10, 6, 1
#: For the last digits of a MAC address in the range for documentation, RFC 7042.
_MAC_RANGE: Final = 0x00005E005300
#: Ranges for documentation, RFC 5737 and 3849: addresses that everyone can reach get the last of the former.
_PRIVATE, _SPARE, _PUBLIC = (int(IPv4Address(net)) for net in ("192.0.2.0", "198.51.100.0", "203.0.113.0"))
_IPV6_RANGE: Final = int(IPv6Address("2001:db8::"))


class Redactor:
    """Knows the identifiers of some documents and what stands in for each."""

    def __init__(self, *documents: object) -> None:
        """Learn from all documents that are going to be published together.

        Stand-ins follow the order of what they stand for: files about the same devices use the same ones.
        """
        #: Identifiers of each kind, each with what stands in for it.
        self._known: defaultdict[str, dict[str, str]] = defaultdict(dict)
        #: All identifiers, and all that stands in for one and so is none itself.
        self._real: set[str] = set()
        self._stand_ins: set[str] = set()
        self._found: set[tuple[str, str]] = set()
        self._learning = True
        for document in documents:
            self._scrub(document, "")
        self._learning = False
        self._real = {value for _, value in self._found}
        for kind, value in sorted(self._found):
            self._stand_in(kind, value)

    def scrub[T](self, document: T) -> T:
        """Return a document with stand-ins; tuples become lists."""
        return cast(T, self._scrub(document, ""))

    def name(self, value: str, kind: str = "Load") -> str:
        """Return what stands in for a name that a person gave."""
        return self._stand_in(kind, value)

    def _stand_in(self, kind: str, value: str) -> str:
        """Return what stands in for an identifier, choosing it if there is nothing yet."""
        if self._learning:
            self._found.add((kind, value))
            return value
        if value in self._stand_ins:
            return value
        known = self._known[kind]
        if value not in known:
            make, number = _MAKERS.get(kind, partial(_labelled, kind)), len(known) + 1
            while (new := make(value, number)) in self._stand_ins or new in self._real:
                number += 1
            known[value] = new
            self._stand_ins.add(new)
        return known[value]

    # Documents

    def _scrub(self, node: object, key: str) -> object:
        if _known_key(key).kind == "network":
            return _blank(node)
        if isinstance(node, dict):
            by_serial = _known_key(key).by_serial
            return {self._key(str(name), by_serial): self._scrub(value, str(name)) for name, value in node.items()}
        if isinstance(node, (list, tuple)):
            return [self._scrub(item, key) for item in node]
        return self._value(node, key) if isinstance(node, str) else self._number(node, _known_key(key))

    def _key(self, key: str, by_serial: bool) -> str:
        return self._serial(key) if by_serial and _is_serial(key) else self._text(key, _IN_TEXTS)

    def _number(self, value: object, key: _Key) -> object:
        """Return a number, or whatever else is no text, as it may be shown under a key."""
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return value
        if key.kind == "secret":
            return REDACTED
        text = str(value) if isinstance(value, int) else ""
        named = key.kind == "serial" and not key.only_text and _is_serial(text)
        return (
            int(self._serial(text)) if named or (len(text) > _IN_NUMBERS and text in self._known["serial"]) else value
        )

    def _value(self, value: str, key: str) -> str:
        """Return a text as it may be shown under a key."""
        kind = _known_key(key).kind
        if not value or value == REDACTED:
            return value
        if (known := self._by_kind(value, kind)) is not None:
            return known
        if value.lstrip().startswith(("{", "[")):
            return self._json(value)
        if kind == "naming":
            return self._text(value, _IN_NAMES)
        if "<" in value:
            return self._pairs(value)
        return self._text(value, _IN_TEXTS, addresses=kind != "version")

    def _by_kind(self, value: str, kind: str) -> str | None:
        """Return what stands in for a value that is an identifier because of its key, None for others."""
        if kind == "secret":
            return REDACTED
        if kind in _NAME_ENDS.values():
            return self.name(value, kind)
        if kind == "host":
            return self._host(value)
        if kind == "mac" and _BARE_MAC.fullmatch(value):
            return self._mac(value)
        if kind == "serial" and _is_serial(value):
            return self._serial(value) if value.isalnum() else self.name(value, "ID")
        return None

    def _json(self, text: str) -> str:
        """Scrub a text that is JSON, or was before it was cut off."""
        try:
            document = json.loads(text)
        except ValueError, RecursionError:
            return self._pairs(text)
        scrubbed = self._scrub(document, "")
        return text if scrubbed == document else json.dumps(scrubbed, ensure_ascii=False)

    def _pairs(self, text: str) -> str:
        """Scrub a text in which values stand beside their keys, but not in a form that can be read as a whole."""

        def pair(match: re.Match[str]) -> str:
            key = match["json"] or match["tag"] or match["attribute"]
            value = next(value for value in match.group("string", "number", "content", "quoted") if value is not None)
            scrubbed = self._by_kind(value, _known_key(key).kind) if value.strip() else None
            return match[0] if scrubbed is None else match[0].removesuffix(value) + scrubbed

        return self._text(_PAIR.sub(pair, text), _IN_NUMBERS)

    def _text(self, text: str, least: int, *, addresses: bool = True) -> str:
        """Replace what looks like an identifier, and known serial numbers of at least so many digits."""
        text = _EMAIL.sub(REDACTED, _JWT.sub(REDACTED, text))
        text = _MAC.sub(lambda match: self._mac(match[0]), text)
        if addresses:
            text = _IPV4.sub(lambda match: self._address(match[0]), text)
            text = _IPV6.sub(lambda match: self._address(match[0]), text)
        hosts = self._known["host"]
        text = _LOCAL.sub(lambda match: self._stand_in("host", match[0]), text)
        text = _URL_HOST.sub(lambda match: hosts.get(match[0], match[0]), text)
        for host in hosts:
            if not host.isalpha() and host in text:
                text = re.sub(rf"(?<![\w.-]){re.escape(host)}(?![\w-])", hosts[host], text)
        if least == _IN_TEXTS and _NUMBER.fullmatch(text):
            least = _IN_NUMBERS
        return _RUN.sub(lambda match: self._run(match[0], least), text)

    def _run(self, run: str, least: int) -> str:
        """Return what stands in for a run of letters and digits, itself if that is no identifier."""
        if run.lower() in self._known["mac"]:
            return self._mac(run)
        meter = _METER.fullmatch(run)
        token = meter[1] if meter else run
        counts = least == _IN_NAMES or (len(token) >= least and not token.isalpha())
        if (counts and token in self._known["serial"]) or (token.isdigit() and len(token) == _ENPHASE):
            return self._serial(run)
        return run

    # Identifiers

    def _serial(self, serial: str) -> str:
        meter = _METER.fullmatch(serial)
        return self._stand_in("serial", meter[1]) + meter[2] if meter else self._stand_in("serial", serial)

    def _mac(self, mac: str) -> str:
        digits = re.sub(r"[:-]", "", mac).lower()
        new = self._stand_in("mac", digits)
        if new == digits:
            return mac
        by = mac[2] if mac[2] in ":-" else ""
        new = by.join(new[place : place + 2] for place in range(0, len(new), 2))
        return new.upper() if mac.upper() == mac else new

    def _address(self, text: str) -> str:
        try:
            address = ip_address(text)
        except ValueError:
            return text
        # Masks and "any", which every network has.
        if address.is_unspecified or str(address).startswith("255."):
            return text
        new = self._stand_in("address", str(address))
        return text if new == str(address) else new

    def _host(self, value: str) -> str:
        """Return what stands in for a host, an address or a name, with its port."""
        name = re.sub(r":\d+$", "", value)
        if _IPV4.fullmatch(name) or ":" in name:
            return self._text(value, _IN_TEXTS)
        return self._stand_in("host", name) + value[len(name) :]


def _blank(node: object) -> object:
    """Return the shape of a document, without any text but the keys."""
    if isinstance(node, dict):
        return {name if re.fullmatch(r"[a-z_\d]+", name) else REDACTED: _blank(value) for name, value in node.items()}
    if isinstance(node, (list, tuple)):
        return [_blank(item) for item in node]
    if not isinstance(node, str) or not node:
        return node
    try:
        document = json.loads(node)
    except ValueError, RecursionError:
        return REDACTED
    return json.dumps(_blank(document)) if isinstance(document, (dict, list)) else REDACTED


def _is_serial(value: str) -> bool:
    return len(value) >= _SHORTEST and value.lower() not in _NO_SERIAL


def _labelled(label: str, _value: str, number: int) -> str:
    return f"{label} {number}"


def _like(serial: str, number: int) -> str:
    """Return a serial number of the same form that says nothing: 9000…0001, or letters and digits that count."""
    if serial.isdigit():
        return str(9 * 10 ** (len(serial) - 1) + number)
    made = []
    for sign in reversed(serial):
        first, base = ("0", 10) if sign.isdigit() else ("A", 26) if sign.isupper() else ("a", 26)
        number, place = divmod(number, base)
        made.append(chr(ord(first) + place))
    return (str(number) if number else "") + "".join(reversed(made))


def _mac_like(_mac: str, number: int) -> str:
    return f"{_MAC_RANGE + number:012x}"


def _documented(text: str, number: int) -> str:
    """Return an address that is nobody's."""
    address = ip_address(text)
    if isinstance(address, IPv6Address):
        return str(IPv6Address(_IPV6_RANGE + number))
    net, last = divmod(number, 255)
    first = _SPARE if net else _PUBLIC if address.is_global else _PRIVATE
    return str(IPv4Address(first + last))


def _host_like(_host: str, number: int) -> str:
    return f"host-{number}.example"


#: What makes the stand-in number so-and-so for an identifier of a kind; names get theirs with a label.
_MAKERS: Final = {"serial": _like, "mac": _mac_like, "address": _documented, "host": _host_like}
