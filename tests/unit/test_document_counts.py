"""Counts of documents by variable, and how they become observations."""

from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from dei_pipeline.errors import NothingToDo, ReferenceFileError
from dei_pipeline.methods.document_counts import HIT_KEY, KEY, SCHEMA, document_counts, load_rules, with_documents
from dei_pipeline.provenance import Table
from dei_pipeline.settings import Settings
from dei_pipeline.sources.layouts import load_variables

TERMS = pl.DataFrame(
    {
        "lexicon": ["policy_area", "policy_area", "policy_area", "technology_term"],
        "term_id": ["education", "medical", "credit", "5g"],
        "theme": ["service", "service", "governance", "technology"],
    }
)
RULES = pl.DataFrame(
    {
        "variable": ["livelihood", "livelihood", "governance", "projects"],
        "theme": ["service", "service", "governance", "service"],
        "kind": ["notice", "opinions", "notice", "project_approval"],
    }
)
OBSERVED = ["region_code", "year", "variable", "value", "unit", "status", "method", "source_id", "source_cell"]


def documents(*rows: tuple) -> pl.DataFrame:
    """Rows of core/documents: id, region, year, kind, whether it counts."""
    names = {"document_id": pl.String, "region_code": pl.String, "year": pl.Int32, "kind": pl.String}
    return pl.DataFrame(rows, schema=names | {"counted": pl.Boolean}, orient="row")


def hits(*rows: tuple) -> pl.DataFrame:
    """Rows of core/policy_hits: id, lexicon, start, term."""
    names = {"document_id": pl.String, "lexicon": pl.String, "start": pl.Int32, "term_id": pl.String}
    return pl.DataFrame(rows, schema=names, orient="row")


DOCUMENTS = documents(
    ("a", "110000", 2020, "notice", True),
    ("b", "110000", 2020, "opinions", True),
    ("c", "110000", 2020, "notice", False),
    ("d", "110000", 2019, "notice", True),
    ("e", "310000", 2020, "project_approval", True),
    ("f", "310000", 2020, "government_work_report", True),
    ("g", "310000", 2020, "notice", True),
)
HITS = hits(
    ("a", "policy_area", 40, "credit"),
    ("a", "policy_area", 30, "education"),
    ("a", "policy_area", 10, "medical"),
    ("a", "technology_term", 5, "5g"),
    ("b", "policy_area", 3, "education"),
    ("c", "policy_area", 3, "education"),
    ("d", "policy_area", 7, "education"),
    ("e", "policy_area", 1, "medical"),
    ("f", "policy_area", 1, "medical"),
    ("g", "technology_term", 1, "5g"),
)


def test_each_document_counts_once_to_each_variable_whose_areas_it_names():
    table = document_counts(HITS, DOCUMENTS, TERMS, RULES)
    expected = [
        ("110000", 2019, "livelihood", 1.0, "count"),
        ("110000", 2020, "governance", 1.0, "count"),
        ("110000", 2020, "livelihood", 2.0, "count"),
        ("310000", 2020, "projects", 1.0, "count"),
    ]
    assert table.frame.rows() == expected
    assert dict(table.frame.schema) == SCHEMA
    assert table.notes == {"documents": 4, "without_an_area": 1, "other_kinds": 1}


def test_edges_lead_to_the_first_place_in_each_document_and_add_up_to_the_count():
    table = document_counts(HITS, DOCUMENTS, TERMS, RULES)
    mine = table.edges.filter(child_key="110000|2020|livelihood")
    assert mine["parent_key"].to_list() == ["a|policy_area|10", "b|policy_area|3"]
    added = table.edges.group_by("child_key").agg(value=pl.col("coefficient").sum())
    keyed = table.frame.select(child_key=pl.concat_str(KEY, separator="|"), value="value")
    assert_frame_equal(added, keyed, check_row_order=False)
    assert HIT_KEY == ["document_id", "lexicon", "start"]


def test_the_order_of_the_rows_does_not_matter():
    straight = document_counts(HITS, DOCUMENTS, TERMS, RULES)
    other = document_counts(HITS.reverse(), DOCUMENTS.reverse(), TERMS.reverse(), RULES.reverse())
    assert_frame_equal(straight.frame, other.frame)
    assert_frame_equal(straight.edges, other.edges)


def test_no_document_of_the_kinds_with_an_area_is_a_reason_not_an_empty_table():
    with pytest.raises(NothingToDo, match="none of 1 documents of the kinds notice"):
        document_counts(HITS, DOCUMENTS.filter(document_id="g"), TERMS, RULES)


def test_a_number_on_a_page_goes_before_a_count_of_documents():
    counts = document_counts(HITS, DOCUMENTS, TERMS, RULES).frame
    page = ("110000", 2020, "livelihood", 9.0, "count", "reported", None, "region_indicator", "ab/s!A1")
    observed = pl.DataFrame([page], schema=counts_schema(), orient="row")
    table = with_documents(Table(observed, notes={"imputed": 0}), counts)
    values = {tuple(row[:3]): row[3] for row in table.frame.rows()}
    assert values["110000", 2020, "livelihood"] == 9.0
    assert values["110000", 2019, "livelihood"] == 1.0
    assert table.frame.filter(pl.col("method") == "documents").height == table.edges.height == 3
    assert table.edges["parent_table"].unique().to_list() == ["core/document_counts"]
    assert table.notes == {"imputed": 0, "counted_in_documents": 3, "documents_yielding": 1}
    assert with_documents(Table(observed), None).frame.equals(observed)


def counts_schema() -> dict:
    """Columns of core/observations that matter here."""
    text = dict.fromkeys(OBSERVED, pl.String())
    return text | {"year": pl.Int32(), "value": pl.Float64()}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("variable,theme\na,service\n", "column kind is missing"),
        ("variable,theme,kind\na,service,\n", "policy_variables.csv:2: kind is empty"),
        ("variable,theme,kind\na,service,notice\na,service,notice\n", "a, service, notice is given twice"),
    ],
)
def test_a_wrong_file_of_rules_is_refused(tmp_path: Path, text: str, why: str):
    path = tmp_path / "policy_variables.csv"
    with pytest.raises(ReferenceFileError, match="is missing"):
        load_rules(path)
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ReferenceFileError, match=why):
        load_rules(path)


def test_the_reviewed_rules_name_known_variables_kinds_and_themes_and_nothing_that_is_imputed():
    reference = Settings().reference
    rules, variables = load_rules(reference / "policy_variables.csv"), load_variables(reference / "variables.csv")
    assert {(variables[name].unit, variables[name].imputation) for name in rules["variable"]} == {("count", "none")}
    kinds = pl.read_csv(reference / "lexicons" / "plan_kinds.csv")["kind"]
    areas = pl.read_csv(reference / "lexicons" / "policy_areas.csv")["domain"]
    assert set(rules["kind"]) <= set(kinds)
    assert set(rules["theme"]) == set(areas)
