"""Import statistics of hours and of five minutes: Home Assistant's own command imports hours only.

For development instances only: recorded statistics of the same time are replaced.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from time import time
from typing import Any, Final

from homeassistant.components import websocket_api
from homeassistant.components.recorder import Recorder, get_instance
from homeassistant.components.recorder.db_schema import Statistics, StatisticsShortTerm
from homeassistant.components.recorder.models import StatisticData, StatisticMeanType, StatisticMetaData
from homeassistant.components.recorder.statistics import (
    cache_latest_short_term_statistic_id_for_metadata_id,
    get_short_term_statistics_run_cache,
)
from homeassistant.components.recorder.tasks import RecorderTask
from homeassistant.components.recorder.util import session_scope
from homeassistant.core import HomeAssistant
from homeassistant.helpers import config_validation as cv
from homeassistant.helpers.typing import ConfigType
import voluptuous as vol

CONFIG_SCHEMA = cv.empty_config_schema("statistics_import")
TABLES: Final[dict[str, type[Statistics | StatisticsShortTerm]]] = {"hour": Statistics, "5minute": StatisticsShortTerm}


async def async_setup(hass: HomeAssistant, _config: ConfigType) -> bool:
    """Register the command."""
    websocket_api.async_register_command(hass, import_rows)
    return True


@dataclass(slots=True)
class WriteRows(RecorderTask):
    """Write rows of one statistic, sorted by time, and replace existing rows between the first and the last."""

    metadata: StatisticMetaData
    rows: list[StatisticData]
    table: type[Statistics | StatisticsShortTerm]

    def run(self, instance: Recorder) -> None:
        """Write them, in the recorder's thread."""
        manager = instance.statistics_meta_manager
        with session_scope(session=instance.get_session()) as session:
            name = self.metadata["statistic_id"]
            _, key = manager.update_or_add(session, self.metadata, manager.get_many(session, statistic_ids={name}))
            start = self.table.start_ts
            first, last = (self.rows[index]["start"].timestamp() for index in (0, -1))
            existing = session.query(self.table).filter_by(metadata_id=key).filter(start >= first, start <= last)
            existing.delete(synchronize_session=False)
            now = time()
            session.add_all([self.table.from_stats(key, row, now) for row in self.rows])
            session.flush()
            if self.table is StatisticsShortTerm:
                cache = get_short_term_statistics_run_cache(instance.hass)
                cache_latest_short_term_statistic_id_for_metadata_id(cache, session, key)


@websocket_api.require_admin
@websocket_api.websocket_command(
    {
        "type": "statistics_import/import",
        "metadata": dict,
        "period": vol.In(TABLES),
        #: Like the recorder's, but with `start` in epoch seconds.
        "rows": [dict],
    }
)
@websocket_api.async_response
async def import_rows(
    hass: HomeAssistant,
    connection: websocket_api.ActiveConnection,
    message: dict[str, Any],
) -> None:
    """Write rows of one statistic, and send the result once they can be read."""
    recorder = get_instance(hass)
    metadata = message["metadata"] | {"mean_type": StatisticMeanType(message["metadata"]["mean_type"])}
    rows: list[StatisticData] = [row | {"start": datetime.fromtimestamp(row["start"], UTC)} for row in message["rows"]]
    recorder.queue_task(WriteRows(metadata, rows, TABLES[message["period"]]))
    await recorder.async_block_till_done()
    connection.send_result(message["id"])
