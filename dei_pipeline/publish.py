"""From a declared table to a published one: make, check the contract, account for every row, hand over, write.

`make` holds what happens to any table, without Dagster; `to_asset` wraps it as a Dagster asset; `LakeWriter` is the IO
manager that commits what passed. A broken contract writes nothing: the last good table stays.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg
import polars as pl

from dei_pipeline.contracts import Contract, pandera_schema
from dei_pipeline.errors import ContractError, DeiError, MethodError, NothingToDo
from dei_pipeline.lake import WHOLE, Lake, fingerprint, fingerprints_by
from dei_pipeline.provenance import Table, locate, row_key
from dei_pipeline.settings import Settings
from dei_pipeline.tables import (
    FIRST_YEAR,
    ONLY_STALE_TAG,
    Inputs,
    TableSpec,
    basis,
    due_parts,
    missing_source,
    why_stale,
)

OWNER = "team:data-eng"
SAMPLE_ROWS = 5
SHOWN_FAILURES = 20
EDGE_ORDER = ["child_key", "parent_table", "parent_key", "role"]

YEARS = dg.TimeWindowPartitionsDefinition(start=str(FIRST_YEAR), fmt="%Y", cron_schedule="0 0 1 1 *", end_offset=1)


@dataclass(frozen=True)
class Publication:
    """Parts of a table that passed their contract, with what is recorded about each."""

    spec: TableSpec
    parts: Mapping[str, tuple[Table, dict[str, Any]]]


class BrokenContract(ContractError):
    """Rows that break a contract; `cases` holds column, check, failure case, row key and place of each."""

    def __init__(self, message: str, cases: pl.DataFrame) -> None:
        super().__init__(message)
        self.cases = cases


# -- make --------------------------------------------------------------------------------------------------------------
def make(spec: TableSpec, lake: Lake, settings: Settings, parts: Sequence[str] | None) -> Publication:
    """Runs a table's method on its parents and checks the result; writes nothing.

    Args:
        spec: the table.
        lake: where its parents are.
        settings: paths of the reviewed files.
        parts: years or file hashes to make; None for a table in one file.

    Raises:
        NothingToDo: there is no source for it in this lake.
        BrokenContract: rows break the contract, or are gone although what they were made from is as before.
        MethodError: the method handed over rows without lineage, or lineage without rows.
    """
    bases = {part: basis(lake, spec, settings, part) for part in parts or [WHOLE]}
    try:
        table = spec.function(Inputs(lake, settings, spec, parts))
    except NothingToDo as nothing:
        _refuse_to_vanish(spec, lake, bases, bases, str(nothing))
        raise
    table = Table(spec.contract.conform(table.frame), table.edges, table.quarantine, table.notes)
    made = _split(spec, table, parts)
    _refuse_to_vanish(spec, lake, bases, [part for part, rows in made.items() if not rows.frame.height], "no rows")
    if spec.split and not table.frame.height and not table.quarantine.height:
        raise NothingToDo(f"nothing for {', '.join(part[:12] for part in parts or ())}")
    if table.frame.height or not spec.split:  # a year or a file may hold nothing, a table may not
        check_contract(spec.contract, table.frame, lake, settings)
    check_lineage(spec.contract, table)
    return Publication(spec, {part: (rows, _record(spec, rows, bases[part])) for part, rows in made.items()})


def _refuse_to_vanish(
    spec: TableSpec, lake: Lake, bases: Mapping[str, dict[str, Any]], empty: Iterable[str], why: str
) -> None:
    """Rows may go when what they were made from changed; gone after a change of code alone, they are a mistake."""
    records = lake.state(spec.key)["parts"]
    for part in empty:
        record = records.get(part) or {}
        if record.get("rows") and all(record["basis"][name] == bases[part][name] for name in ("inputs", "outside")):
            raise BrokenContract(
                f"{spec.key} {part}: {why}, where {record['rows']} rows were made from the same inputs before",
                pl.DataFrame(schema=dict.fromkeys(("column", "check", "failure_case", "key", "place"), pl.String)),
            )


def check_contract(contract: Contract, frame: pl.DataFrame, lake: Lake, settings: Settings) -> None:
    """Validates eagerly against the contract's pandera schema.

    Raises:
        BrokenContract: names the first failing row with the file, sheet and cell it came from.
    """
    from pandera.errors import SchemaErrors

    try:
        pandera_schema(contract, settings).validate(frame, lazy=True)
    except SchemaErrors as error:
        cases = _failure_cases(contract, frame, error.failure_cases, lake)
        first = cases.row(0, named=True)
        place = f": {first['place']}" if first["place"] else ""
        row = f" (row {first['key']})" if first["key"] else ""
        raise BrokenContract(
            f"{contract.key}: {cases.height} contract failure(s): {first['column']} "
            f"{first['check']} found {first['failure_case']}{row}{place}",
            cases,
        ) from error


def _failure_cases(contract: Contract, frame: pl.DataFrame, raw: pl.DataFrame, lake: Lake) -> pl.DataFrame:
    cases = raw.select(
        pl.col("column").cast(pl.String).fill_null("table"),
        pl.col("check").cast(pl.String),
        pl.col("failure_case").cast(pl.String),
        pl.col("index").cast(pl.Int64),
    )
    if set(contract.grain) - set(frame.columns):
        return cases.with_columns(key=pl.lit(None, pl.String), place=pl.lit(None, pl.String))
    at = frame.with_row_index("index").select(
        pl.col("index").cast(pl.Int64),
        row_key(contract.grain).alias("key"),
        pl.col("source_cell" if "source_cell" in frame.columns else contract.grain[0]).cast(pl.String).alias("place"),
        *([pl.col("value").cast(pl.String).alias("found")] if "value" in frame.columns else []),
    )
    cases = cases.join(at, on="index", how="left", maintain_order="left")
    if "found" in cases.columns:
        cases = cases.with_columns(
            failure_case=pl.when(pl.col("failure_case").str.starts_with("{")).then("found").otherwise("failure_case")
        ).drop("found")
    where = locate(lake, cases["place"].drop_nulls().unique().to_list()) if "source_cell" in frame.columns else {}
    return cases.with_columns(pl.col("place").replace_strict(where, default=None, return_dtype=pl.String))


def check_lineage(contract: Contract, table: Table) -> None:
    """Every row is the child of an edge, and every edge's child is a row.

    Raises:
        MethodError: the method forgot lineage, or invented it.
    """
    if contract.lineage == "source":
        return
    keys = table.frame.select(row_key(contract.grain).alias("child_key"))
    orphans = keys.join(table.edges, on="child_key", how="anti")
    strangers = table.edges.join(keys, on="child_key", how="anti")
    if orphans.height or strangers.height:
        example = (orphans if orphans.height else strangers)["child_key"][0]
        raise MethodError(
            f"{contract.key}: {orphans.height} rows without lineage, {strangers.height} edges without a row, "
            f"as {example}",
            "the method must hand over edges for exactly the rows it returns",
        )


def _split(spec: TableSpec, table: Table, parts: Sequence[str] | None) -> dict[str, Table]:
    if parts is None or spec.split is None:
        edges = table.edges.sort(EDGE_ORDER)
        return {WHOLE: Table(table.frame, edges, table.quarantine, table.notes)}
    split = pl.col(spec.split).cast(pl.String)
    owner = table.frame.select(row_key(spec.contract.grain).alias("child_key"), split.alias("_part"))
    edges = table.edges.join(owner, on="child_key").sort(EDGE_ORDER)
    frames = table.frame.with_columns(split.alias("_part")).partition_by("_part", as_dict=True, include_key=False)
    lineage = edges.partition_by("_part", as_dict=True, include_key=False)
    aside = table.quarantine
    set_aside = (
        aside.with_columns(split.alias("_part")).partition_by("_part", as_dict=True, include_key=False)
        if spec.split in aside.columns
        else {(parts[0],): aside}
    )
    return {
        part: Table(
            frames.get((part,), table.frame.clear()),
            lineage.get((part,), table.edges.clear()),
            set_aside.get((part,), aside.clear()),
            table.notes,
        )
        for part in parts
    }


def _record(spec: TableSpec, table: Table, made_from: dict[str, Any]) -> dict[str, Any]:
    return {
        "basis": made_from,
        "split": spec.split,
        "panel": list(spec.panel),
        "version": fingerprint(table.frame),
        "years": fingerprints_by(table.frame, "year"),
        "files": fingerprints_by(table.frame, "sha256") if spec.split != "sha256" else {},
        "content": [fingerprint(frame) for frame in (table.frame, table.edges, table.quarantine)],
        "rows": table.frame.height,
        "edges": table.edges.height,
        "parents": sorted(table.edges["parent_table"].unique().to_list()),
        "quarantined": table.quarantine.height,
        "notes": table.notes,
    }


# -- Dagster -----------------------------------------------------------------------------------------------------------
class LakeWriter(dg.IOManager):
    """Commits publications to the lake; loads a table as a Polars frame."""

    def __init__(self, lake: Lake) -> None:
        self.lake = lake

    def handle_output(self, context: dg.OutputContext, obj: Publication) -> None:
        """Replaces the parts of the table, with lineage and quarantine."""
        self.lake.commit(obj.spec.key, obj.parts, obj.spec.split)

    def load_input(self, context: dg.InputContext) -> pl.DataFrame:
        """The whole table."""
        return self.lake.read("/".join(context.asset_key.path))


def as_table(frame: pl.DataFrame) -> dg.TableMetadataValue:
    """A small frame as a metadata table."""
    records = [dg.TableRecord({k: "" if v is None else v for k, v in row.items()}) for row in _plain(frame).to_dicts()]
    schema = dg.TableSchema([dg.TableColumn(name, str(kind)) for name, kind in frame.schema.items()])
    return dg.MetadataValue.table(records, schema=schema)


def _plain(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(pl.col(name).cast(pl.String) for name, kind in frame.schema.items() if kind.is_temporal())


def column_schema(contract: Contract) -> dg.TableSchema:
    """The Columns tab of an asset: type, unit, key, description."""
    return dg.TableSchema(
        [
            dg.TableColumn(
                name=column.name,
                type=column.data_type,
                description=column.description,
                constraints=dg.TableColumnConstraints(nullable=column.nullable),
                tags={"unit": _tag(column.unit)} if column.unit else {},
            )
            for column in contract.columns
        ],
        constraints=dg.TableConstraints([f"PK: {', '.join(contract.grain)}"]),
    )


def _tag(text: str) -> str:
    return "".join(c if c.isalnum() or c in "._-" else "_" for c in text)[:60]


def to_asset(spec: TableSpec, settings: Settings, announce: Callable[[str, str], None] = lambda *_: None) -> Any:
    """The Dagster asset of a declared table.

    Args:
        spec: the declaration.
        settings: the run's settings.
        announce: told `(key, what happened)` as each table is done, for progress bars.
    """
    key = dg.AssetKey(spec.key.split("/"))
    lake = Lake(settings.lake)

    @dg.asset(
        key=key,
        group_name=spec.layer,
        kinds=set(spec.kinds),
        owners=[OWNER],
        description=spec.contract.description,
        deps=[
            dg.AssetDep(dg.AssetKey(parent.split("/")), partition_mapping=_mapping(spec, parent))
            for parent in spec.parents
        ],
        check_specs=[
            dg.AssetCheckSpec("contract", asset=key, blocking=True, description="Columns, types, grain, bounds.")
        ],
        code_version=spec.code,
        metadata={
            "dagster/column_schema": column_schema(spec.contract),
            "dagster/table_name": spec.key.replace("/", "."),
        },
        partitions_def=YEARS if spec.split == "year" else None,
        backfill_policy=dg.BackfillPolicy.single_run(),
        io_manager_key="lake",
        output_required=True,
    )
    def _asset(context: dg.AssetExecutionContext) -> Iterator[dg.AssetCheckResult | dg.MaterializeResult]:
        only_stale = context.run.tags.get(ONLY_STALE_TAG) == "true"
        years = list(context.partition_keys) if spec.split == "year" else []
        for event, outcome in publish(spec, lake, settings, years, only_stale, key):
            if outcome:
                announce(spec.key, outcome)
            made = event.value if isinstance(event, dg.MaterializeResult) and spec.split == "year" else None
            if isinstance(made, Publication):
                for part, (_, record) in made.parts.items():
                    context.add_asset_metadata({"dagster/row_count": record["rows"]}, key, partition_key=part)
            yield event

    return _asset


def _mapping(spec: TableSpec, parent: str) -> dg.PartitionMapping | None:
    return dg.AllPartitionMapping() if spec.split == "year" and parent in spec.panel else None


def publish(
    spec: TableSpec, lake: Lake, settings: Settings, years: Sequence[str], only_stale: bool, key: dg.AssetKey
) -> Iterator[tuple[dg.AssetCheckResult | dg.MaterializeResult, str]]:
    """Makes what is due of a table and yields the contract check, then the result to be written.

    Yields:
        Dagster events, each with a word on what happened (empty but for the last).
    """
    reason = missing_source(lake, spec)
    due = due_parts(lake, spec, settings, [int(year) for year in years])
    parts = [part for part in due if why_stale(lake, spec, settings, part)] if only_stale else due
    if spec.split and spec.split != "year":
        lake.drop(spec.key, set(lake.state(spec.key)["parts"]) - set(due))
    if reason is None and not parts:
        yield dg.AssetCheckResult(asset_key=key, check_name="contract", passed=True, metadata={"unchanged": True}), ""
        yield (
            dg.MaterializeResult(asset_key=key, metadata={"unchanged": "code, files and inputs are as before"}),
            "unchanged",
        )
        return
    try:
        if reason:
            raise NothingToDo(reason)
        publication = make(spec, lake, settings, parts if spec.split else None)
    except NothingToDo as nothing:
        empty = Table(pl.DataFrame())
        skip = _record(spec, empty, {}) | {"version": "", "skipped": str(nothing)}
        lake.commit(spec.key, {p: (empty, skip | {"basis": basis(lake, spec, settings, p)}) for p in parts}, spec.split)
        yield (
            dg.AssetCheckResult(
                asset_key=key,
                check_name="contract",
                passed=False,
                severity=dg.AssetCheckSeverity.WARN,
                description=f"skipped: {nothing}",
            ),
            "",
        )
        yield dg.MaterializeResult(asset_key=key, metadata={"skipped": str(nothing)}), f"skipped: {nothing}"
        return
    except BrokenContract as broken:
        yield (
            dg.AssetCheckResult(
                asset_key=key,
                check_name="contract",
                passed=False,
                description=str(broken),
                metadata={"failures": broken.cases.height, "rows": as_table(broken.cases.head(SHOWN_FAILURES))},
            ),
            "",
        )
        raise dg.Failure(f"{broken}; nothing was written, the last good table stays") from broken
    except DeiError as error:
        yield dg.AssetCheckResult(asset_key=key, check_name="contract", passed=False, description=str(error)), ""
        raise dg.Failure(str(error)) from error
    yield dg.AssetCheckResult(asset_key=key, check_name="contract", passed=True, metadata=counts(publication)), ""
    yield _result(key, publication), _outcome(publication)


def counts(publication: Publication) -> dict[str, Any]:
    """Rows, edges and quarantined rows of what was made, and the method's own notes where they are numbers."""
    records = [record for _, record in publication.parts.values()]
    totals = {name: sum(record[name] for record in records) for name in ("rows", "edges", "quarantined")}
    notes = records[0]["notes"] if records else {}
    return {**totals, **{name: value for name, value in notes.items() if isinstance(value, int | float | str)}}


def _outcome(publication: Publication) -> str:
    made = counts(publication)
    aside = f", {made['quarantined']} quarantined" if made["quarantined"] else ""
    return f"{made['rows']} rows{aside}"


def _result(key: dg.AssetKey, publication: Publication) -> dg.MaterializeResult:
    tables = [table for table, _ in publication.parts.values()]
    made = counts(publication)
    frame = next((table.frame for table in tables if table.frame.height), tables[0].frame)
    aside = next((table.quarantine for table in tables if table.quarantine.height), None)
    edges = next((table.edges for table in tables if table.edges.height), None)
    metadata: dict[str, Any] = {
        "dagster/row_count": made.pop("rows"),
        **made,
        "sample": as_table(frame.head(SAMPLE_ROWS)),
    }
    if aside is not None:
        metadata["quarantine"] = as_table(aside.head(SAMPLE_ROWS))
    if edges is not None:
        metadata["lineage"] = as_table(edges.head(SAMPLE_ROWS))
    versions = {part: record["version"] for part, (_, record) in publication.parts.items()}
    version = next(iter(versions.values())) if len(versions) == 1 else None
    return dg.MaterializeResult(
        asset_key=key,
        value=publication,
        metadata=metadata,
        data_version=dg.DataVersion(version) if version and publication.spec.split != "year" else None,
    )
