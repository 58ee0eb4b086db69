"""Dagster's own records of a lake's runs: where they lie, and an event log that does not reconnect for every event."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import dagster as dg
from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._serdes import ConfigurableClassData
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.pool import SingletonThreadPool

from dei_pipeline.lake import locked, write_text
from dei_pipeline.settings import Settings

BUSY_SECONDS = 30
CONFIG = """telemetry: {{enabled: false}}
nux: {{enabled: false}}
event_log_storage:
  module: dei_pipeline.instance
  class: PooledEventLog
  config: {{base_dir: {base}/history/runs}}
"""


def instance(settings: Settings) -> dg.DagsterInstance:
    """The Dagster instance of this lake, so that a run shows in its UI; its databases are set up by one process."""
    home = settings.dagster_home()
    with locked(home):
        config = home / "dagster.yaml"
        if not config.is_file():
            write_text(config, CONFIG.format(base=home.as_posix()))
        return dg.DagsterInstance.from_config(str(home))


class PooledEventLog(SqliteEventLogStorage):
    """Dagster's SQLite event log, with one connection a thread and database kept open.

    The stock class makes an engine, a connection and a full sync for each of the 700 events of a run, which took a
    third of its time. `synchronous = NORMAL` is safe against a killed process; a power cut may lose the last events of
    a log, never of the lake.
    """

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._engines: dict[str, Engine] = {}
        super().__init__(base_dir, inst_data)

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> "PooledEventLog":
        """The storage as `dagster.yaml` configures it."""
        return cls(inst_data=inst_data, **config_value)

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        with self._db_lock:
            engine = self._engines.get(shard) or self._open(shard)
            if shard not in self._initialized_dbs:
                self._initdb(engine)
                self._initialized_dbs.add(shard)
            with engine.connect() as connection, connection.begin():
                yield connection

    def _open(self, shard: str) -> Engine:
        engine = create_engine(
            self.conn_string_for_shard(shard), poolclass=SingletonThreadPool, connect_args={"timeout": BUSY_SECONDS}
        )
        event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA synchronous=NORMAL"))
        self._engines[shard] = engine
        return engine

    def dispose(self) -> None:
        """Closes what was kept open."""
        for engine in self._engines.values():
            engine.dispose()
        self._engines.clear()
        super().dispose()
