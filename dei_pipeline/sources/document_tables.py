"""Tables of received documents: every run of characters with its role, and what each document is."""

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from dei_pipeline.contracts import python_contracts
from dei_pipeline.errors import NothingToDo, SourceError
from dei_pipeline.lake import Lake
from dei_pipeline.provenance import QUARANTINE_COLUMNS, Table, make_edges, no_quarantine
from dei_pipeline.sources import document_meta as meta
from dei_pipeline.sources.document import LIST, SAID, TABLE, runs
from dei_pipeline.sources.document_meta import NOTHING, Found
from dei_pipeline.sources.document_text import TEXT
from dei_pipeline.sources.ingest import DOCUMENT, content
from dei_pipeline.sources.labels import key

TEXTS, DOCUMENTS = "staging/document_texts", "staging/documents"
LEAST_LIKE = 80.0  # likeness of titles in percent, from which the row of a list with the same number means the document
SHOWN = 20  # contradictions that the run's notes name
_ID = re.compile(r"^([A-Za-z]{0,3}\d{1,4})[_\-、.\s]")


# -- runs of characters ------------------------------------------------------------------------------------------------
def document_texts(lake: Lake, files: pl.DataFrame, wanted: Sequence[str]) -> Table:
    """`staging/document_texts`: every character of the documents in `wanted` (sha256) by run and role.

    A file that cannot be read is quarantined with the reason, and the others go on.

    Args:
        lake: the lake that holds the files.
        files: raw/manifests.
        wanted: sha256 of the files to read; those of other kinds are left out.

    Raises:
        LakeError: a manifest names a file that the lake no longer holds.
    """
    mine = files.filter((pl.col("kind") == DOCUMENT) & pl.col("sha256").is_in(list(wanted))).sort("sha256")
    frames, aside = [], []
    for file in mine.iter_rows(named=True):
        try:
            frames.append(runs(content(lake, file["sha256"], file["file"]), file["file"]))
        except SourceError as error:
            said = {"reason": error.message, "fix": error.fix, "file": file["file"], "sha256": file["sha256"]}
            aside.append(said)
    empty = pl.DataFrame(schema=python_contracts()[TEXTS].schema)
    columns = dict.fromkeys((*QUARANTINE_COLUMNS, "sha256"), pl.String())
    quarantine = pl.DataFrame(aside, schema=columns) if aside else no_quarantine()
    return Table(pl.concat([empty, *(frame.select(empty.columns) for frame in frames)]), quarantine=quarantine)


# -- what a document is ------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class _Row:
    """What stands beside one text, or in one row of a list: fields, their cells, and where it is."""

    document_id: str
    fields: Mapping[str, str]
    cells: Mapping[str, str]


@dataclass
class _Lists:
    """Rows of the lists in the lake by file name, url, number and title."""

    rows: list[_Row]
    by: dict[tuple[str, str], list[_Row]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for row in self.rows:
            said = row.fields
            names = {
                "file": key(meta.EXTENSION.sub("", said.get("file", ""))),
                "url": said.get("url", ""),
                "id": said.get("id", "").upper(),
                "title": key(said.get("title", "")),
            }
            for kind, name in names.items():
                if name:
                    self.by.setdefault((kind, name), []).append(row)

    def about(self, file: str, url: str, titles: Sequence[str]) -> tuple[list[_Row], list[str]]:
        """Rows that mean a document, the likest first, and rows that share its number but name something else."""
        from rapidfuzz import fuzz

        stem = meta.EXTENSION.sub("", file.rpartition("/")[2])
        wanted = [key(title) for title in titles if title]
        found: dict[str, tuple[float, _Row]] = {}

        def like(row: _Row) -> float:
            other = key(row.fields.get("title", ""))
            return max((fuzz.ratio(other, title) for title in wanted), default=0.0)

        for kind, name in (("file", key(stem)), ("url", url), *(("title", title) for title in wanted)):
            for row in self.by.get((kind, name), []) if name else []:
                found.setdefault(row.document_id, (like(row), row))
        contradicted = []
        number = _ID.match(stem)
        for row in self.by.get(("id", number[1].upper()), []) if number else []:
            other = key(row.fields.get("title") or row.fields.get("file", ""))
            if row.document_id in found:
                continue
            if max((fuzz.partial_ratio(other, title) for title in wanted), default=0.0) >= LEAST_LIKE:
                found[row.document_id] = (like(row), row)
            else:
                contradicted.append(f"{stem}: list row {row.document_id} says «{row.fields.get('title', '')}»")
        ordered = sorted(found.values(), key=lambda pair: (-pair[0], pair[1].document_id))
        return [row for _, row in ordered], contradicted


def documents(texts: pl.DataFrame, files: pl.DataFrame) -> Table:
    """`staging/documents`: title, issuer, date, year and region of each document as printed, with stated confidence.

    Rows of lists are no documents; they say what the documents of the same file name, url, number and title are.
    Quarantined: pages that do not hold the title they are kept under, and pages without a sentence.

    Args:
        texts: staging/document_texts.
        files: raw/manifests.

    Returns:
        Table with key document_id; edges to staging/document_texts: kept runs (role text), what is said beside the
        text and in lists (role the field).

    Raises:
        NothingToDo: the lake holds no document, or none of them can be used.
    """
    manifests = {row["sha256"]: row for row in files.iter_rows(named=True)}
    beside = texts.filter(pl.col("role").str.starts_with(SAID)).sort("document_id", "position")
    said: dict[str, _Row] = {}
    for (document,), rows in beside.partition_by("document_id", as_dict=True, maintain_order=True).items():
        names = [role.removeprefix(SAID) for role in rows["role"]]
        fields, cells = (dict(zip(names, rows[column], strict=True)) for column in ("text", "source_cell"))
        said[str(document)] = _mended(_Row(str(document), fields, cells))
    lists = _Lists([row for row in said.values() if row.fields["format"] == LIST])
    kept = texts.filter(~pl.col("role").str.starts_with(SAID)).sort("document_id", "position")
    found, aside, edges, contradicted, used = [], [], [], [], set()
    for (document,), rows in kept.partition_by("document_id", as_dict=True, maintain_order=True).items():
        manifest = manifests[rows["sha256"][0]]
        row, why, sources, doubts = _document(said[str(document)], rows, manifest, lists)
        contradicted += doubts
        used |= {listed.document_id for listed in sources}
        if why:
            fix = "fetch the document itself, or `dei sources withdraw` the file"
            aside.append({**row, "reason": why, "fix": fix, "file": manifest["file"], "raw_text": row["title"]})
            continue
        found.append(row)
        for source in sources:
            edges += [(document, cell, name) for name, cell in source.cells.items() if name != "format"]
    if not found:
        raise NothingToDo("no document in the lake" if not aside else f"no document can be used: {aside[0]['reason']}")
    schema = python_contracts()[DOCUMENTS].schema
    frame = pl.DataFrame(found, schema=schema)
    own = kept.filter((pl.col("role") == TEXT) & pl.col("document_id").is_in(frame["document_id"].implode()))
    beside_cells = pl.DataFrame(edges, schema=["document_id", "source_cell", "role"], orient="row").unique(
        maintain_order=True
    )
    columns = dict.fromkeys((*QUARANTINE_COLUMNS, "document_id", "sha256", "title"), pl.String())
    return Table(
        frame,
        pl.concat(
            [
                make_edges(own, ["document_id"], TEXTS, ["source_cell"], "text"),
                make_edges(beside_cells.cast(pl.String), ["document_id"], TEXTS, ["source_cell"], pl.col("role")),
            ]
        ),
        pl.DataFrame(aside, schema=columns) if aside else no_quarantine(),
        notes={
            "documents": frame.height,
            "list_rows": len(lists.rows),
            "list_rows_used": len(used & {row.document_id for row in lists.rows}),
            "contradicted_by_a_list": contradicted[:SHOWN],
        },
    )


def _mended(row: _Row) -> _Row:
    """A row as it was meant: where a date stands as the issuer, title and issuer were run together, «title，issuer».

    Each field keeps the cell that it is read from. The columns behind them are one off, and do not count.
    """
    before = dict(itertools.takewhile(lambda said: said[0] != "issuer", row.fields.items()))
    title, comma, issuer = before.get("title", "").rpartition("，")
    date = row.fields.get("issuer", "")
    if not comma or not re.fullmatch(r"\d{4}-\d{1,2}-\d{1,2}", date.strip()):
        return row
    cells = {name: row.cells[name] for name in before}
    return _Row(
        row.document_id,
        before | {"title": title, "issuer": issuer, "published": date},
        cells | {"issuer": cells["title"], "published": row.cells["issuer"]},
    )


def _document(
    own: _Row, rows: pl.DataFrame, manifest: Mapping[str, Any], lists: _Lists
) -> tuple[dict[str, Any], str | None, list[_Row], list[str]]:
    """The row of a document, why it cannot be used, the rows that speak of it, and list rows that contradict it."""
    text = "".join(rows.filter(role=TEXT)["text"])
    file = manifest["file"]
    in_table = own.fields["format"] == TABLE
    named = None if in_table else meta.name_title(file)
    head = meta.headline(text)
    printed = own.fields.get("title") if in_table else None
    listed, doubts = lists.about(
        "" if in_table else file, own.fields.get("url", ""), [printed or "", named or "", head or ""]
    )
    said = _said(own, listed, manifest, in_table)
    stated = said["title"].value if said["title"].origin in ("sidecar", "list") else named
    why = None if in_table else meta.wrong_page(stated, text, (meta.EXTENSION.sub("", file), named or ""))
    if why and own.fields["format"] == "html" and not file.lower().endswith(("html", "htm")):
        why = f"a page of HTML, though named so; it {why.removeprefix('a wrong page: it ')}"
    title = meta.first(
        said["title"] if said["title"].origin in ("sidecar", "list", "column") else NOTHING,
        Found(head, "headline"), Found(named, "file_name"), said["title"],
    )  # fmt: skip
    url = said["url"].value or manifest.get("url")
    date, date_from = meta.published(said, text, url)
    issuer = meta.issuer(said, title.value, text)
    read, at = int(rows["length"].sum()), rows["source_cell"][0].partition("/")[0]
    row = {
        "document_id": own.document_id,
        "sha256": manifest["sha256"],
        "file": file,
        "format": own.fields["format"],
        "title": title.value,
        "title_from": title.origin,
        "title_confidence": title.confidence,
        "issuer": issuer.value,
        "issuer_from": issuer.origin,
        "issuer_confidence": issuer.confidence,
        "published": date,
        "published_from": date_from,
        "published_confidence": meta.CONFIDENCE[date_from] if date_from else None,
        "year": meta.year_of_document(said, title.value, date),
        "region_label": said["region"].value,
        "code_hint": said["region_code"].value,
        "kind_label": said["kind"].value,
        "document_number": said["document_number"].value or meta.document_number(text),
        "url": url,
        "characters_read": read,
        "characters_kept": len(text),
        "source_cell": f"{at}/{_place(rows)}",
    }
    return row, why, [own, *listed], doubts


def _said(own: _Row, listed: Sequence[_Row], manifest: Mapping[str, Any], in_table: bool) -> dict[str, Found]:
    """Each field as a sidecar, a list or what stands beside the text says it, in this order."""
    here = "column" if in_table else "head"
    sidecar = {"title": manifest.get("title"), "issuer": manifest.get("producer"), "url": manifest.get("url"),
               "year": str(manifest["year"]) if manifest.get("year") else None}  # fmt: skip
    found = {}
    for name in ("title", "issuer", "published", "year", "region", "region_code", "kind", "document_number", "url"):
        ways = [Found(sidecar.get(name) or None, "sidecar")]
        ways += [Found(row.fields.get(name) or None, "list") for row in listed]
        own_way = Found(own.fields.get(name) or None, here)
        usable = [
            way
            for way in ([ways[0], own_way, *ways[1:]] if in_table else [*ways, own_way])
            if way.value not in (None, "无")
        ]
        found[name] = usable[0] if usable else NOTHING
    return found


def _place(rows: pl.DataFrame) -> str:
    """Where a document stands in its file: a cell, one text, or pages with the number of their characters."""
    first, last = rows.row(0, named=True), rows.row(-1, named=True)
    if first["cell"]:
        return f"{first['sheet']}!{first['cell']}"
    if first["sheet"] == last["sheet"]:
        return f"{first['sheet']}!0-{last['start'] + last['length']}"
    return f"{first['sheet']}-{last['sheet'].removeprefix('p')}!0-{rows['length'].sum()}"
