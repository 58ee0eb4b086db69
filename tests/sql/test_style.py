"""How a SQL file is written: one SELECT, CTEs first, `select * from final`, in the subset that runs elsewhere too."""

import re
from pathlib import Path

import duckdb
import polars as pl
import pytest
import sqlglot
from sqlglot import exp
from sqlglot.tokens import TokenType

from dei_pipeline.assets import all_tables
from dei_pipeline.errors import ReferenceFileError
from dei_pipeline.lake import LAYERS, Lake
from dei_pipeline.settings import Settings
from dei_pipeline.sql_models import FOLDERS, parse, tables_of
from tests.lakes import demo_lake

SETTINGS = Settings()
SPECS = {spec.key: spec for spec in all_tables(SETTINGS)}
FILES = sorted(SETTINGS.sql.rglob("*.sql"))
MODELS = [path for path in FILES if path.parent.name in FOLDERS]
EVERY_FILE = pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
EVERY_MODEL = pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)

# Accepted by DuckDB and by another engine with another result, or by DuckDB alone (stack.md §7).
NOT_PORTABLE = {
    "int_division": "a // b raises on zero in DuckDB, and differs elsewhere",
    "regexp_replace": "replaces the first match here, all of them on Spark",
    "date_diff": "counts boundaries here, whole years elsewhere",
    "log": "base 10 here, natural on Spark",
    "quantile_cont": "not on Spark",
    "percentile_cont": "what sqlglot makes of quantile_cont; not on Spark",
    "list_sum": "not on Spark",
    "entropy": "not on Spark",
    "histogram": "not on Spark",
    "generate_series": "as a table, not on Spark",
    "range": "as a table, not on Spark",
    "random": "not repeatable",
    "now": "a clock",
    "current_date": "a clock",
    "read_parquet": "a table is layer.table",
    "read_csv": "a table is layer.table",
}
BANNED_NODES = (exp.Pivot, exp.Comprehension, exp.IntDiv, exp.Columns, exp.Lambda, exp.Bracket, exp.TableSample)


def sql_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def model_key(path: Path) -> str:
    return f"{FOLDERS[path.parent.name]}/{path.stem}"


def faults(sql: str) -> list[str]:
    """What in a SELECT does not belong to the portable subset, in words."""
    tree = sqlglot.parse_one(sql, dialect="duckdb")
    found = [type(node).__name__.lower() for kind in BANNED_NODES for node in tree.find_all(kind)]
    for select in tree.find_all(exp.Select):
        group = select.args.get("group")
        if group is not None and (group.args.get("all") or any(g.is_int for g in group.expressions)):
            found.append("group by all, or by position")
        if select.args.get("qualify") is not None:
            found.append("qualify")
        if any(
            isinstance(e, exp.Star) and (e.args.get("except_") or e.args.get("replace")) for e in select.expressions
        ):
            found.append("star except or replace")
    for join in tree.find_all(exp.Join):
        if join.args.get("using"):
            found.append("join using")
        elif join.args.get("on") is None:
            found.append("join without on")
        if join.method or join.kind in ("ASOF", "POSITIONAL", "SEMI", "ANTI"):
            found.append(f"{join.kind or join.method} join".lower())
    for union in tree.find_all(exp.SetOperation):
        if union.args.get("by_name"):
            found.append("union by name")
    for function in tree.find_all(exp.Func):
        name = function.sql_name().lower() if not isinstance(function, exp.Anonymous) else function.name.lower()
        if name in NOT_PORTABLE:
            found.append(f"{name}: {NOT_PORTABLE[name]}")
    for order in tree.find_all(exp.Ordered):
        if order.parent.parent is tree:
            found.append("order by of the whole table (the lake sorts by the grain)")
    for cast in tree.find_all(exp.Cast):
        if cast.to.is_type("int", "bigint", "smallint"):
            found.append("cast to an integer (rounds here, cuts on Spark)")
    return found


# -- form --------------------------------------------------------------------------------------------------------------
def test_there_are_models_and_sentences():
    assert len(MODELS) >= 9
    assert len(FILES) - len(MODELS) >= 6


@EVERY_FILE
def test_a_file_is_one_select_that_ends_in_final(path):
    sql = sql_of(path)
    (statement,) = sqlglot.parse(sql, dialect="duckdb")
    assert isinstance(statement, exp.Select)
    assert sql.rstrip().splitlines()[-1] == "select * from final"
    assert sql.endswith("select * from final\n")
    assert ";" not in sql


@EVERY_FILE
def test_ctes_come_first_sources_before_the_rest_and_final_last(path):
    tree = parse(sql_of(path))
    names = [cte.alias for cte in tree.args["with_"].expressions]
    assert names[-1] == "final"
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z][a-z0-9_]*", name) for name in names)
    nested = [cte.alias for cte in tree.find_all(exp.CTE) if cte.alias not in names]
    assert nested == []
    assert not list(tree.find_all(exp.Subquery)), "a sub-select is a CTE with a name"


@EVERY_FILE
def test_no_template_language(path):
    assert not re.search(r"\{\{|\{%|\{#|\bref\(|\bsource\(|\$\{?\w", sql_of(path))


@EVERY_FILE
def test_a_table_is_a_cte_or_layer_and_name_and_is_read_in_a_cte_of_its_own(path):
    tree = parse(sql_of(path))
    ctes = {cte.alias for cte in tree.find_all(exp.CTE)}
    for table in tree.find_all(exp.Table):
        assert (table.db in LAYERS) != (table.name in ctes and not table.db), table.sql()
        if table.db:
            cte = table.find_ancestor(exp.CTE)
            assert not list(cte.this.find_all(exp.Join)), f"{cte.alias} reads {table.sql()} and joins it"
    assert set(tables_of(sql_of(path))) <= set(SPECS)


@EVERY_FILE
def test_keywords_are_lower_case_and_lines_short(path):
    sql = sql_of(path)
    quoted = {TokenType.IDENTIFIER, TokenType.STRING}
    tokens = [token for token in sqlglot.tokenize(sql, dialect="duckdb") if token.token_type not in quoted]
    written = [sql[token.start : token.end + 1] for token in tokens]
    assert [text for text in written if text != text.lower()] == []
    assert max(len(line) for line in sql.splitlines()) <= 120
    assert "\t" not in sql


@EVERY_MODEL
def test_a_model_states_its_grain(path):
    first = sql_of(path).splitlines()[0]
    assert re.fullmatch(r"-- Grain: one row per .+\.", first)


@EVERY_FILE
def test_only_portable_sql(path):
    assert faults(sql_of(path)) == []


@pytest.mark.parametrize(
    ("sql", "fault"),
    [
        ("select city, sum(x) from t group by all", "group by all"),
        ("select city, sum(x) from t group by 1", "by position"),
        ("select x from t qualify row_number() over (order by x) = 1", "qualify"),
        ("pivot t on year using sum(x)", "pivot"),
        ("select * from (unpivot t on a, b)", "pivot"),
        ("select [x * 2 for x in xs] from t", "comprehension"),
        ("select a // b from t", "intdiv"),
        ("select * exclude (a) from t", "star except"),
        ("select * from t join u using (a)", "join using"),
        ("select * from t, u", "join without on"),
        ("select * from t asof join u on t.a >= u.a", "asof"),
        ("select a from t union all by name select a from u", "union by name"),
        ("select list_transform(xs, lambda x: x + 1) from t", "lambda"),
        ("select columns('a.*') from t", "columns"),
        ("select cast(x as integer) from t", "cast to an integer"),
        ("select quantile_cont(x, 0.5) from t", "percentile_cont"),
        ("select a from t order by a", "order by"),
    ],
)
def test_the_lint_sees(sql, fault):
    assert any(fault in found for found in faults(sql)), faults(sql)


def test_an_unknown_table_is_refused_with_the_fix():
    with pytest.raises(ReferenceFileError, match=r"SQL reads «scores»; name a CTE, or layer.table"):
        tables_of("select * from scores")
    with pytest.raises(ReferenceFileError, match="name a CTE"):
        tables_of("select * from lake.scores")


# -- columns -----------------------------------------------------------------------------------------------------------
def described(path: Path) -> dict[str, str]:
    """Column names and DuckDB types of a file over the demo lake."""
    lake, sql = Lake(demo_lake().lake), sql_of(path)
    with duckdb.connect(":memory:") as connection:
        for number, key in enumerate(tables_of(sql)):
            connection.register(f"t{number}", lake.read(key))
            layer, name = key.split("/")
            connection.execute(f"create schema if not exists {layer}")
            connection.execute(f"create view {layer}.{name} as select * from t{number}")
        return {row[0]: row[1] for row in connection.sql(f"describe {sql}").fetchall()}


DUCKDB_TYPES = {
    pl.String(): {"VARCHAR"},
    pl.Float64(): {"DOUBLE"},
    pl.Int32(): {"INTEGER", "BIGINT"},  # rank() and count() are BIGINT; the contract narrows them
    pl.Int64(): {"BIGINT", "HUGEINT"},  # and sum() of counts is HUGEINT
    pl.Boolean(): {"BOOLEAN"},
    pl.Date(): {"DATE"},
}


@EVERY_MODEL
def test_the_columns_of_a_model_are_those_of_its_contract_in_order_and_type(path):
    schema, found = SPECS[model_key(path)].contract.schema, described(path)
    assert list(found) == list(schema)
    assert {name: kind for name, kind in found.items() if kind not in DUCKDB_TYPES[schema[name]]} == {}


@EVERY_MODEL
def test_a_model_names_its_columns_one_by_one(path):
    final = next(cte for cte in parse(sql_of(path)).find_all(exp.CTE) if cte.alias == "final")
    assert not [e for e in final.this.expressions if e.is_star]
    assert final.this.named_selects == list(SPECS[model_key(path)].contract.schema)


@EVERY_FILE
def test_a_sentence_runs_and_names_the_rows_it_finds(path):
    if path in MODELS:
        return
    found = described(path)
    assert {"region_code", "index_id", "year", "key"} & set(found)
    assert len(path.stem.split("_")) >= 4, "the name is a sentence that should hold"
