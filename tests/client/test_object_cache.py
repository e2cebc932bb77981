"""Which objects are accepted: identities of absent hardware are discarded, those of silent hardware are not."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from pyenphase import EnvoyEnpower, EnvoyInverter
from pyenphase.const import URL_ENSEMBLE_INVENTORY, URL_INVENTORY, URL_PRODUCTION_INVERTERS
from pyenphase.models.dry_contacts import DryContactStatus, EnvoyDryContactStatus
import pytest

from custom_components.enphase_envoy.client import limits
from custom_components.enphase_envoy.client.endpoints import Endpoint
from custom_components.enphase_envoy.client.firmware import GatewayInfo
from custom_components.enphase_envoy.client.lenient import Record, accept_unknown_words
from custom_components.enphase_envoy.client.object_cache import ObjectCache
from custom_components.enphase_envoy.client.persistence import ClockPair, dump, load
from custom_components.enphase_envoy.model.snapshot import Address, Freshness, TimedValue

PATH: Final = URL_PRODUCTION_INVERTERS
FIELD: Final = "inverters"
DAY: Final = 24
TRUE: Final = ["482230010021", "482230010028"]
INVENTED: Final = [str(600_000_000_000 + number) for number in range(limits.DEVICES[FIELD])]
CONTROLLERS: Final = ["202226050419", "202226050420", "202226050421"]
INFO: Final = GatewayInfo("202328041177", "8.2.4345", "800-00654-r08", metered=True, secure=True)


class System:
    """A cache that is filled with one good answer an hour."""

    def __init__(self) -> None:
        """Begin with the first answer of the first set-up."""
        self.cache = ObjectCache()
        self.hours = 0.0
        self.answer(TRUE)

    def answer(self, serials: Iterable[str], hours: int = 1, field: str = FIELD, path: str = PATH) -> None:
        """Let the gateway report inverters, or others, once an hour for some hours."""
        for _ in range(hours):
            self.hours += 1
            endpoint = Endpoint.of(path)
            endpoint.freshness = Freshness(self.hours * 3600.0)
            parsed: dict[Address, object] = {(field, serial): inverter(serial) for serial in serials}
            self.cache.merge({field: parsed}, {path: endpoint}, {field}, {path})

    def restart(self) -> None:
        """Continue with what was stored."""
        known = set[Address]().union(*self.cache.known.values())
        now = ClockPair(self.hours * 3600.0, 1_800_000_000.0)
        stored = load(dump(INFO, {}, {}, now, known, self.cache.absent), now)
        assert stored
        self.cache = ObjectCache()
        self.cache.restore(stored.known)

    @property
    def serials(self) -> set[str]:
        """The inverters that are shown."""
        return self.cache.members(FIELD)


def inverter(serial: str) -> EnvoyInverter:
    """Return an inverter."""
    return EnvoyInverter.from_v1_api(
        {"serialNumber": serial, "lastReportDate": 1_782_036_000, "lastReportWatts": 100, "maxReportWatts": 300}
    )


def fill(system: System) -> None:
    """Let the gateway report as many other inverters as are accepted, for some hours."""
    system.answer([*TRUE, *INVENTED], 2 + len(INVENTED) // limits.ADDED)
    assert len(system.serials) == limits.DEVICES[FIELD]
    system.answer([*TRUE, "482230019999"], 12)
    assert system.serials == set(TRUE)


@pytest.mark.parametrize("restarts", [False, True])
def test_wrong_serial_numbers_use_up_the_limit_for_a_month_only(*, restarts: bool) -> None:
    system = System()
    fill(system)
    for _ in range(30):
        if restarts:
            system.restart()
        system.answer(TRUE, DAY + restarts)
    system.answer([*TRUE, "482230019999"], 2)
    assert system.serials == {*TRUE, "482230019999"}


def test_wrong_serial_numbers_do_not_add_devices_without_end() -> None:
    """Each may become a device: no more than the limit within a month."""
    system = System()
    added = set(system.serials)
    for day in range(29):
        system.answer([*TRUE, *(str(700_000_000_000 + 1000 * day + number) for number in range(900))], DAY // 4)
        added |= system.serials
    assert len(added) <= limits.DEVICES[FIELD]


def test_a_device_that_the_user_deleted_is_no_longer_counted() -> None:
    system = System()
    fill(system)
    for serial in INVENTED:
        system.cache.discard_identities(serial)
    # One that is reported stays.
    system.cache.discard_identities(TRUE[0])
    system.answer([*TRUE, "482230019999"])
    assert system.serials == set(TRUE), "one answer is not enough"
    system.answer([*TRUE, "482230019999"])
    assert system.serials == {*TRUE, "482230019999"}


def report_controller(system: System, serial: str, answers: int = 1, seconds: float = 60.0) -> str:
    """Let the gateway report a controller some times in a row, and return the serial number that is shown."""
    path, address = URL_ENSEMBLE_INVENTORY, ("enpower",)
    for _ in range(answers):
        system.hours += seconds / 3600
        endpoint = Endpoint.of(path)
        endpoint.freshness = Freshness(system.hours * 3600.0)
        controller = EnvoyEnpower.from_api(Record({"serial_num": serial}))
        system.cache.merge({"enpower": {address: controller}}, {path: endpoint}, {"enpower"}, {path})
    shown = system.cache.objects[address].value
    assert isinstance(shown, EnvoyEnpower)
    return shown.serial_number


@pytest.mark.parametrize("restarts", [False, True])
def test_each_exchange_of_a_controller_has_to_last_longer(*, restarts: bool) -> None:
    """Each one stays as a device: other serial numbers do not add any without end."""
    system, shown = System(), list[str]()
    report_controller(system, CONTROLLERS[0])
    # Another one for twelve answers, all year long; every fourth day one for a whole day.
    for day in range(365):
        if restarts:
            system.restart()
        shown += [report_controller(system, f"2023{day:03}{number:05}", 6) for number in range(5)]
        shown.append(report_controller(system, f"2024{day:08}", 26 if day % 4 == 0 else 1, 3600.0))
    assert len({CONTROLLERS[0], *shown}) <= 4


def test_an_exchanged_controller_is_shown_within_minutes_the_first_time() -> None:
    """Those before are shown as soon when they are back, also after a restart; a third one lasts for a day first."""
    first, second, third = CONTROLLERS
    system = System()
    report_controller(system, first)
    assert report_controller(system, second, 4) == first
    assert system.cache.with_new
    assert report_controller(system, second) == second
    system.restart()
    assert report_controller(system, second) == second
    assert report_controller(system, first, 4) == second
    assert report_controller(system, first) == first
    assert report_controller(system, third, DAY, 3600.0) == first
    assert not system.cache.with_new, "it is not requested more often meanwhile"
    assert report_controller(system, third, 2, 3600.0) == third


def test_what_the_first_answers_lack_needs_two_answers_in_the_first_session_too() -> None:
    """Only the first answer of each endpoint is taken as it is: it may come late."""
    system = System()
    system.answer(TRUE, DAY)
    assert report_controller(system, CONTROLLERS[0]) == CONTROLLERS[0], "the first answer of its endpoint"
    system = System()
    path = URL_ENSEMBLE_INVENTORY
    system.answer([], field="enpower", path=path)
    controller: dict[Address, object] = {("enpower",): EnvoyEnpower.from_api(Record({"serial_num": CONTROLLERS[0]}))}
    first, second = Freshness(9e4), Freshness(9.1e4)
    for freshness, count in ((first, 0), (first, 0), (second, 1)):
        endpoint = Endpoint.of(path)
        endpoint.freshness = freshness
        system.cache.merge({"enpower": controller}, {path: endpoint}, {"enpower"}, {path})
        assert [address[0] for address in system.cache.objects].count("enpower") == count
        assert len(system.cache.known["enpower"]) == count


def test_a_list_with_a_new_device_is_requested_again_although_two_updaters_read_it() -> None:
    system = System()
    system.answer([*TRUE, INVENTED[0]])
    system.answer([INVENTED[1]], field="panels")
    assert system.cache.with_new == {PATH}
    system.answer([*TRUE, INVENTED[0]])
    assert system.cache.with_new == {PATH}
    system.answer([INVENTED[1]], field="panels")
    assert not system.cache.with_new


def test_new_devices_are_added_few_at_a_time() -> None:
    """Their entities are added without a pause of the event loop."""
    system, new = System(), INVENTED[: 5 * limits.ADDED - 1]
    counts = [len(TRUE)]
    for _ in range(8):
        system.answer([*TRUE, *new])
        counts.append(len(system.serials))
        # The list is requested again soon as long as there are more.
        assert (PATH in system.cache.with_new) == (len(system.serials) < len(TRUE) + len(new))
    assert counts == [2, 2, 22, 42, 62, 82, 101, 101, 101]


@pytest.mark.parametrize("restarts", [False, True])
@pytest.mark.parametrize("days", [1, 7, 28])
def test_hardware_that_is_silent_for_weeks_needs_one_answer(days: int, *, restarts: bool) -> None:
    """As a battery or an inverter without power."""
    system = System()
    for _ in range(2):
        system.answer(TRUE[:1], days * DAY)
        if restarts:
            system.restart()
        system.answer(TRUE)
        assert system.serials == set(TRUE)


@pytest.mark.parametrize("hours", [31 * DAY, 400 * DAY])
def test_hardware_needs_one_answer_after_the_gateway_was_off_for_long(hours: int) -> None:
    system = System()
    system.answer(TRUE[:1], 6)
    assert system.serials == {TRUE[0]}
    system.hours += hours
    system.restart()
    system.hours += hours
    # The other one responds later.
    system.answer(TRUE[:1], 6)
    system.answer(TRUE)
    assert system.serials == set(TRUE)


def test_hardware_that_was_absent_for_months_is_added_as_new() -> None:
    system = System()
    system.answer(TRUE[:1], 90 * DAY)
    system.answer(TRUE)
    assert system.serials == {TRUE[0]}
    system.answer(TRUE)
    assert system.serials == set(TRUE)


def test_half_a_system_that_alternates_is_always_shown() -> None:
    """Lists may be incomplete every second time."""
    system = System()
    for _ in range(40 * DAY // 2):
        system.answer(TRUE[:1])
        system.answer(TRUE)
        assert system.serials == set(TRUE)


@pytest.mark.parametrize("absent", [None, [], "text", {"inverters/482230010021": "x"}, {"inverters/1": 1e30}])
def test_invalid_times_of_absence_are_left_out(absent: object) -> None:
    now = ClockPair(0.0, 1_800_000_000.0)
    data = dump(INFO, {}, {}, now, [(FIELD, TRUE[0])])
    stored = load(data | {"absent": absent}, now)
    assert stored
    assert stored.known == {(FIELD, TRUE[0]): 0.0}


def test_after_a_restart_the_first_object_of_a_kind_needs_two_answers_as_well() -> None:
    """Otherwise one wrong document after each restart adds devices of a kind that the system does not have."""
    system = System()
    system.restart()
    for serials in (["121917031187"], ["121917031188"]):
        system.answer(serials, field="acb_inventory", path=URL_INVENTORY)
        assert system.cache.members("acb_inventory") == set()
    system.answer(["121917031188"], field="acb_inventory", path=URL_INVENTORY)
    assert system.cache.members("acb_inventory") == {"121917031188"}


def test_all_is_new_where_no_identities_are_stored() -> None:
    """As by earlier versions."""
    system = System()
    system.cache.known.clear()
    system.restart()
    system.answer(TRUE)
    assert system.serials == set(TRUE)


def poll(cache: ObjectCache, at: float, **values: object) -> EnvoyInverter:
    """Let the gateway report an inverter, and return it as shown."""
    endpoint, address = Endpoint.of(PATH), (FIELD, TRUE[0])
    endpoint.freshness = Freshness(at)
    cache.merge({FIELD: {address: replace(inverter(TRUE[0]), **values)}}, {PATH: endpoint}, {FIELD}, {PATH})  # type: ignore[arg-type]
    timed = cache.objects[address]
    assert timed.updated_at == at
    assert isinstance(timed.value, EnvoyInverter)
    return timed.value


@pytest.mark.parametrize("value", ["n/a", None, 1e300])
@pytest.mark.parametrize(
    ("period", "kept"), [(5, 41), (60, 3), (300, 3), (900, 3), (7200, 0)], ids=lambda number: f"{number}"
)
def test_an_invalid_field_keeps_its_last_value_for_some_time(value: object, period: int, kept: int) -> None:
    """The others are up to date; it is unknown afterwards, and shown at once when it is valid again."""
    cache = ObjectCache()
    poll(cache, 0)
    for number in range(1, 50):
        shown = poll(cache, number * period, max_report_watts=value, last_report_watts=100 + number)
        assert shown.last_report_watts == 100 + number
        assert shown.max_report_watts == (300 if number <= kept else None), number
    assert poll(cache, 50 * period, max_report_watts=310).max_report_watts == 310


def test_an_unknown_word_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """Its place is logged for debugging."""
    accept_unknown_words()
    cache = ObjectCache("192.0.2.1")
    addresses = [("dry_contact_status", name) for name in ("NC1", "NC2")]
    for at, word in enumerate(("open", "tripped", "tripped\n", "welded")):
        freshness = Freshness(float(at))
        for address in addresses:
            value = EnvoyDryContactStatus(address[1], DryContactStatus(word))
            cache.objects[address] = TimedValue(cache._validated(address, value, freshness.updated_at), freshness)
    (line,) = [record for record in caplog.records if record.levelname == "WARNING"]
    assert line.getMessage() == "192.0.2.1: the gateway reports an unknown EnvoyDryContactStatus.status, `tripped`"
    assert "unknown EnvoyDryContactStatus.status of dry_contact_status/NC2, `welded`" in caplog.text


def test_invalid_values_of_a_kind_are_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    cache = ObjectCache("192.0.2.1")
    for at in range(5):
        poll(cache, at, max_report_watts="n/a")
    (line,) = [record for record in caplog.records if record.levelname == "WARNING"]
    assert (
        line.getMessage()
        == "192.0.2.1: the gateway reports an invalid EnvoyInverter.max_report_watts, which is not used"
    )
    assert f"invalid EnvoyInverter.max_report_watts of inverters/{TRUE[0]}" in caplog.text
