"""Login, one-time code, pauses, and the requests of the service of battery settings."""

import asyncio

import pytest

from custom_components.enphase_envoy.cloud.client import LOGIN_PAUSE
from custom_components.enphase_envoy.cloud.errors import CloudError, CloudReason
from tests.simulator.battery_service import SITE, ServiceTrouble
from tests.simulator.cloud import Trouble

from .conftest import Account


async def test_login_uses_one_session_for_all_requests(account: Account) -> None:
    assert await account.client.sites() == {SITE: "Home"}
    await account.battery.read()
    assert account.cloud.requests["login"] == 1


@pytest.mark.parametrize(
    ("trouble", "password", "reason"),
    [
        (None, "wrong", CloudReason.INVALID_AUTH),
        ("error", "sunshine", CloudReason.UNREACHABLE),
        ("html", "sunshine", CloudReason.UNREACHABLE),
    ],
)
async def test_login_that_fails_is_not_repeated_for_five_minutes(
    account: Account, trouble: Trouble | None, password: str, reason: CloudReason
) -> None:
    account.cloud.login_trouble = trouble
    account.use(password)
    for expected in (reason, CloudReason.PAUSED):
        with pytest.raises(CloudError) as failure:
            await account.client.log_in()
        assert failure.value.reason is expected
    assert account.cloud.requests["login"] == 1
    assert "sunshine" not in str(failure.value)
    account.cloud.login_trouble = None
    account.now += LOGIN_PAUSE + 1
    account.client._password = "sunshine"
    await account.client.log_in()


async def test_multi_factor_account_is_sent_a_code(account: Account) -> None:
    account.cloud.login_trouble = "mfa"
    for _ in range(2):
        with pytest.raises(CloudError) as failure:
            await account.client.log_in()
        assert failure.value.reason is CloudReason.CODE_REQUIRED
    assert account.cloud.codes_sent == 1
    with pytest.raises(CloudError) as failure:
        await account.client.enter_code("654321")
    assert failure.value.reason is CloudReason.CODE_INVALID
    await account.client.enter_code(f" {account.cloud.code} ")
    assert await account.client.sites() == {SITE: "Home"}


async def test_code_is_sent_only_when_the_user_is_present(account: Account) -> None:
    account.cloud.login_trouble = "mfa"
    for _ in range(3):
        with pytest.raises(CloudError) as failure:
            await account.battery.read()
        assert failure.value.reason is CloudReason.CODE_REQUIRED
        account.now += LOGIN_PAUSE + 1
    assert (account.cloud.requests["login"], account.cloud.codes_sent) == (1, 0)
    with pytest.raises(CloudError):
        await account.client.log_in()
    await account.client.enter_code(account.cloud.code)
    await account.battery.read()
    # The session ends: the next code is for the user to request.
    account.cloud.end_sessions()
    account.now += LOGIN_PAUSE + 1
    with pytest.raises(CloudError) as failure:
        await account.battery.read()
    assert failure.value.reason is CloudReason.CODE_REQUIRED
    assert (account.cloud.requests["login"], account.cloud.codes_sent) == (2, 1)


async def test_code_that_was_not_entered_is_replaced_by_another(account: Account) -> None:
    account.cloud.login_trouble = "mfa"
    for _ in range(2):
        for _ in range(2):
            with pytest.raises(CloudError) as failure:
                await account.client.log_in()
            assert failure.value.reason is CloudReason.CODE_REQUIRED
        account.now += LOGIN_PAUSE + 1
    assert account.cloud.codes_sent == 2
    await account.client.enter_code(account.cloud.code)


async def test_code_is_sent_without_another_login_where_one_was_made(account: Account) -> None:
    """A read found out a moment ago that the account requires a code."""
    account.cloud.login_trouble = "mfa"
    for request in (account.battery.read(), account.client.log_in()):
        with pytest.raises(CloudError) as failure:
            await request
        assert failure.value.reason is CloudReason.CODE_REQUIRED
    assert (account.cloud.requests["login"], account.cloud.codes_sent) == (1, 1)


async def test_one_change_at_a_time(account: Account) -> None:
    await asyncio.gather(*(account.battery.set_shutdown_level(level) for level in (10, 15, 20)))
    assert len(account.cloud.batteries.writes) == 3
    assert account.cloud.batteries.most_writing == 1


async def test_change_is_sent_once_when_the_connection_is_closed(account: Account) -> None:
    service = account.cloud.batteries
    await account.battery.read()
    service.write_trouble = "disconnect"
    sent = service.requests[f"/batterySettings/{SITE}"]
    with pytest.raises(CloudError) as failure:
        await account.battery.set_shutdown_level(15)
    assert failure.value.reason is CloudReason.UNREACHABLE
    assert service.requests[f"/batterySettings/{SITE}"] == sent + 1


async def test_no_browser_is_pretended(account: Account) -> None:
    await account.battery.set_shutdown_level(15)
    assert account.cloud.batteries.user_agents == {"enphase_envoy"}


async def test_session_that_ended_is_renewed_once(account: Account) -> None:
    await account.battery.read()
    account.cloud.end_sessions()
    account.now += LOGIN_PAUSE + 1
    await account.battery.read()
    assert account.cloud.requests["login"] == 2
    account.cloud.end_sessions()
    with pytest.raises(CloudError) as failure:
        await account.battery.set_reserve(30)
    assert failure.value.reason is CloudReason.PAUSED
    assert not account.cloud.batteries.writes


async def test_list_of_sites_may_be_empty_or_have_each_twice(account: Account) -> None:
    account.cloud.batteries.sites *= 2
    assert await account.client.sites() == {SITE: "Home"}
    account.cloud.batteries.sites = []
    assert await account.client.sites() == {SITE: SITE}


@pytest.mark.parametrize("trouble", ["html", "forbidden", "not_acceptable", "too_many", "error"])
async def test_pauses_double_while_the_service_refuses(account: Account, trouble: ServiceTrouble) -> None:
    service = account.cloud.batteries
    await account.battery.read()
    service.trouble = trouble
    start, requests = account.now, service.requests.total()
    while account.now < start + 3600:
        account.now += 10
        with pytest.raises(CloudError):
            await account.client.read(f"/batterySettings/{SITE}", require_open=lambda: None)
    # After 300, 600, 1200 and 2400 seconds at the earliest.
    assert service.requests.total() - requests <= 4
    service.trouble = None
    account.now += 6 * 3600
    assert await account.battery.read()


async def test_nothing_is_requested_after_the_end(account: Account) -> None:
    account.client.close()
    with pytest.raises(CloudError):
        await account.client.log_in()
    assert not account.cloud.requests
