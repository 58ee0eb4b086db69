"""Leaves of an explanation: the indicator, what steps did to it, its observations down to the cells, or why none."""

from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import Any

import polars as pl

from dei_pipeline.descent import OBSERVATIONS, PANELS, VINTAGES, Cells, Downward, by_key, cells_of, page_cells, rows_of
from dei_pipeline.explain_companies import PRESENCE, company_chains
from dei_pipeline.explain_documents import document_sources
from dei_pipeline.lake import Lake
from dei_pipeline.methods.document_counts import COUNTS
from dei_pipeline.methods.framework import Framework
from dei_pipeline.methods.index_tables import LEAF, STEP_TABLES, THRESHOLDS
from dei_pipeline.provenance import KEY_SEPARATOR, split_source_cell

OBSERVATION_KEY = ("region_code", "year", "variable")
PANEL_KEY = ("region_code", "year", "item", "round")
PARAMETERS = ("lo", "best", "hi", "mean", "sd", "worst", "target", "reference")
MOST_CELLS = 40  # cells shown below a row of another table; all are counted
STOPPED = {
    "converged": "agreement reached",
    "max_rounds": "the last that is held",
    "open": "the last received, agreement not reached",
}


class Leaves:
    """The leaves of one index for one region and year, with everything below them."""

    def __init__(
        self,
        lake: Lake,
        index: str,
        code: str,
        year: int,
        nodes: Mapping[str, Mapping[str, Any]],
        leaves: Collection[str],
        framework: Framework | None,
        names: Mapping[str, tuple[str, str]],
    ) -> None:
        """Reads what lies below the leaves.

        Args:
            lake: the lake.
            index: index id.
            code: region.
            year: data year.
            nodes: rows of core/framework by node.
            leaves: ids of the leaves.
            framework: the framework file; None if there is none of this index.
            names: Chinese and English name by variable.
        """
        self.lake, self.index, self.code, self.year = lake, index, code, year
        self.nodes, self.names = nodes, names
        self.table = {name: f"index/{index}_{name}" for name in ("inputs", "normalised", *STEP_TABLES.values())}
        self.rows = {
            table: {row["indicator_id"]: row for row in rows_of(lake, table, year, region_code=code)}
            for table in self.table.values()
        }
        self.normalised = self.rows[self.table["normalised"]]
        editions = {nodes[leaf]["edition"] for leaf in leaves}
        self.thresholds = {
            row["indicator_id"]: row for row in lake.read(THRESHOLDS).to_dicts() if row["edition"] in editions
        }
        self.read_from = {source.indicator_id: source for source in framework.tables} if framework else {}
        self.short = dict(lake.read("core/regions").select("region_code", "short_name_zh").iter_rows())
        self.terms: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for row in lake.read("core/indicator_terms").filter(pl.col("index_id") == index).to_dicts():
            self.terms[row["indicator_id"]].append(row)
        missing = [leaf for leaf in leaves if self.rows[self.table["inputs"]].get(leaf, {}).get("value") is None]
        own = [(OBSERVATIONS, self._key(term["variable"])) for leaf in missing for term in self.terms.get(leaf, ())]
        starts = [(self.table[name], self._key(leaf)) for leaf in leaves for name in ("normalised", "inputs")]
        self.down = Downward(lake, [*starts, *own], year)
        self.observed = by_key(lake, OBSERVATIONS, self._reached(OBSERVATIONS), OBSERVATION_KEY)
        self.panels = by_key(lake, PANELS, self._reached(PANELS), PANEL_KEY)
        staged = {
            cell: row
            for table, cells in self.down.keys("staging/").items()
            for cell, row in cells_of(lake, table, cells).items()
        }
        replaced = {edge.key for edges in self.down.edges.values() for edge in edges if edge.role == "replaced"}
        self.cells = Cells(lake, staged | page_cells(lake, replaced - staged.keys()))
        self.corrections = {
            found["source_cell"]: found
            for record in lake.state(VINTAGES)["parts"].values()
            for found in record.get("notes", {}).get("corrections", ())
        }

    def _key(self, name: str) -> str:
        return KEY_SEPARATOR.join((self.code, str(self.year), name))

    def _reached(self, table: str) -> list[str]:
        return self.down.keys(table).get(table, [])

    def status(self, leaf: str) -> str:
        """How the value of a leaf came to be."""
        return self.normalised.get(leaf, {}).get("status", "missing")

    # -- the indicator -------------------------------------------------------------------------------------------------
    def leaf(self, leaf: str) -> dict[str, Any]:
        """Indicator and observations of a leaf, with the reason why there is no value, or what kind it is."""
        normal, threshold = self.normalised.get(leaf, {}), self.thresholds.get(leaf, {})
        steps = self.steps(leaf)
        indicator: dict[str, Any] = {
            "value": normal.get("raw"),
            "unit": self.nodes[leaf]["unit"],
            "threshold": threshold.get("theta"),
            "rule": threshold.get("rule"),
            "parameters": {name: threshold[name] for name in PARAMETERS if threshold.get(name) is not None},
            "over": threshold.get("over"),
            **self.threshold_from(leaf),
            "flag": normal.get("flag"),
            "derivation": self.derivation(leaf),
            "steps": steps,
        }
        imputed = next((f"by {s['method']} from {s['donors']} values" for s in steps if s["step"] == "imputed"), None)
        if self.nodes[leaf]["kind"] == "table":
            found, lacking = self.from_table(leaf)
        elif self.terms.get(leaf):
            found, lacking = self.from_observations(leaf)
        else:
            found, lacking = [], ""
        if lacking:
            reason = f"imputed {imputed}: {lacking}" if imputed else f"missing: {lacking}"
        elif self.nodes[leaf]["kind"] == "evenness":
            members = self.down.of(self.table["normalised"], self._key(leaf), "area")
            names = ", ".join(edge.key.rpartition(KEY_SEPARATOR)[2] for edge in members)
            reason = f"derived from the scores of {names}" if names else "missing: its members have no score"
        else:
            reason = "; ".join(o["reason"] for o in found if "reason" in o)
        return {"indicator": indicator, "observations": found} | ({"reason": reason} if reason else {})

    def threshold_from(self, leaf: str) -> dict[str, list[str]]:
        """The inputs that set the threshold of a leaf, as keys and in words; none for a fixed one."""
        edges = self.down.of(THRESHOLDS, f"{self.nodes[leaf]['edition']}{KEY_SEPARATOR}{leaf}", "maximum")
        parts = [edge.key.split(KEY_SEPARATOR) for edge in edges]
        return {
            "threshold_from": [edge.key for edge in edges],
            "threshold_of": [f"{self.short.get(code, code)} {year}" for code, year, _ in parts],
        }

    def derivation(self, leaf: str) -> str:
        """How the indicator is made from its variables, in words."""
        wanted = self.terms.get(leaf, [])
        if leaf in self.read_from:
            source = self.read_from[leaf]
            where = ", ".join(f"{name} = {value}" for name, value in source.where.items())
            scale = "" if source.factor == 1 else f"{source.factor:g} × "
            return f"{scale}{source.table}.{source.column}" + (f" where {where}" if where else "")
        if not wanted:
            return self.nodes[leaf]["kind"] or "derived"
        if wanted[0]["kind"] == "rubric":
            full = sum(t["max_points"] for t in wanted)
            return f"{wanted[0]['scale']:g} × points scored / {full:g} points, {len(wanted)} checkpoints"
        sides = {
            role: " + ".join(
                f"{t['factor']:g}·{t['variable']}" if t["factor"] != 1 else t["variable"]
                for t in wanted
                if t["role"] == role
            )
            for role in dict.fromkeys(t["role"] for t in wanted)
        }
        scale = "" if wanted[0]["scale"] == 1 else f"{wanted[0]['scale']:g} × "
        if "denominator" in sides:
            top, bottom = (f"({s})" if " + " in s else s for s in (sides["numerator"], sides["denominator"]))
            text = f"{scale}{top} / {bottom}"
        else:
            text = scale + next(iter(sides.values()))
        return f"ln(1 + {text})" if wanted[0]["transform"] == "log1p" else text

    def steps(self, leaf: str) -> list[dict[str, Any]]:
        """What the steps between inputs and normalisation did to the value, in their order; none that left it alone."""
        key, table = self._key(leaf), self.table["normalised"]
        found: list[dict[str, Any]] = []
        while True:
            edges = [e for e in self.down.of(table, key, "value", "donor") if e.table in self.rows and e.table != table]
            if not edges:
                return found[::-1]
            table = edges[0].table
            row = self.rows[table].get(leaf, {})
            if row.get("method"):
                found.append({"step": "imputed", "table": table, **self._imputed(table, key, row)})
            elif row.get("treatment"):
                done = {"treatment": row["treatment"], "before": row["untreated"], "value": row["value"]}
                found.append({"step": "treated", "table": table, **done})
            elif f"{self.code} {self.year}" in self._notes(table).get("kept", ()):
                found.append({"step": "screened", "table": table, "kept": "by name, although too much is missing"})

    def _notes(self, table: str) -> dict[str, Any]:
        return self.lake.state(table)["parts"].get(str(self.year), {}).get("notes", {})

    def _imputed(self, table: str, key: str, row: Mapping[str, Any]) -> dict[str, Any]:
        """Method and donors of a filled cell; of donors the values of the same indicator, all are counted."""
        edges = self.down.of(table, key, "donor")
        same = [edge.key for edge in edges if edge.key.rpartition(KEY_SEPARATOR)[2] == row["indicator_id"]]
        values = by_key(self.lake, edges[0].table, same, tuple(LEAF)) if edges else {}
        donors = [
            {"region_code": found["region_code"], "region_name": self.short.get(found["region_code"])}
            | {name: found[name] for name in ("year", "value", "status")}
            for _, found in sorted(values.items())
        ]
        return {"method": row["method"], "value": row["value"], "donors": row["donors"], "from": donors}

    # -- from other tables ---------------------------------------------------------------------------------------------
    def from_table(self, leaf: str) -> tuple[list[dict[str, Any]], str]:
        """What lies below the row of another table that a leaf was read from, or what it lacks for a value."""
        source = self.read_from.get(leaf)
        edges = self.down.of(self.table["inputs"], self._key(leaf), "value")
        if not edges:
            if source is None:
                return [], "the framework file that names its table is not there"
            if not self.lake.exists(source.table):
                why = self.lake.skipped(source.table)
                return [], f"{source.table} is not in the lake" + (f" ({why})" if why else "")
            where = "".join(f", {name} {value}" for name, value in source.where.items())
            return [], f"{source.table} has no value for {self.code} in {self.year}{where}"
        table, key = edges[0].table, edges[0].key
        staging = [name for name in self.down.tables if name.startswith("staging/")]
        reached = self.down.reach(table, key, [OBSERVATIONS], beside=(THRESHOLDS,))
        below = self.down.reach(table, key, staging, beside=(THRESHOLDS, OBSERVATIONS))
        cells = [edge.key for edge in below if edge.key in self.cells.staged]
        given = self.rows[self.table["inputs"]][leaf]
        sources = [self.cells.source(cell) for cell in cells[:MOST_CELLS]]
        row: dict[str, Any] = {"region_code": self.code, "year": self.year, "variable": table, "row": key}
        if source is None:
            row |= {"value": given["value"], "unit": given["unit"], "status": given["status"]}
        else:
            (held,) = rows_of(self.lake, table, self.year, region_code=self.code, **source.where)
            row["variable"] = f"{table}.{source.column}"
            row |= {"value": held[source.column], "unit": held.get("unit"), "status": given["status"]}
        if table == PRESENCE:
            row["companies"] = told = company_chains(self.lake, self.code, self.year)
            sources = [source for chain in told["chains"] for link in chain["holdings"] for source in link["sources"]]
        row |= {"source": sources[0] if sources else None}
        row |= {"sources": sources, "cells": len(cells)} if len(cells) > 1 else {}
        if not sources:
            ends = ", ".join(sorted({edge.table for edge in self.down.of(table, key)}))
            row["reason"] = f"row {key}, made from {ends}"
        return [row, *(self.observation(edge.key) for edge in reached if edge.key in self.observed)], ""

    # -- from observations ---------------------------------------------------------------------------------------------
    def from_observations(self, leaf: str) -> tuple[list[dict[str, Any]], str]:
        """The observations of the variables of a leaf, and what it lacks for a value."""
        wanted = self.terms[leaf]
        edges = self.down.reach(self.table["inputs"], self._key(leaf), [OBSERVATIONS], beside=(THRESHOLDS,))
        own = [key for term in wanted if (key := self._key(term["variable"])) in self.observed]
        below = {term["variable"] for term in wanted if term["role"] == "denominator"}
        known = dict.fromkeys([edge.key for edge in edges if edge.key in self.observed] + own)
        keys = sorted(known, key=lambda key: self.observed[key]["variable"] in below)
        held = {self.observed[key]["variable"] for key in keys}
        lacking = sorted({term["variable"] for term in wanted} - held)
        found = [self.observation(key) for key in keys]
        if lacking:
            return found, f"no observation of {', '.join(lacking)} for {self.code} in {self.year}"
        given = self.rows[self.table["inputs"]].get(leaf, {}).get("value") is not None
        return found, "" if given else "its variables give no value, as over a denominator of 0"

    def observation(self, key: str) -> dict[str, Any]:
        """One observation with its source cells, or the donors it was imputed from."""
        row = self.observed[key]
        found: dict[str, Any] = {
            name: row[name] for name in ("region_code", "year", "variable", "value", "unit", "status")
        }
        found |= dict(zip(("name_zh", "name_en"), self.names.get(row["variable"], (None, None)), strict=True))
        if row["status"] == "imputed":
            edges = [edge for edge in self.down.of(OBSERVATIONS, key) if edge.table == OBSERVATIONS]
            donors = [self.observation(e.key) | {"role": e.role} for e in edges if e.key in self.observed]
            return found | {"method": row["method"], "donors": donors, "source": None}
        panel = next((edge.key for edge in self.down.of(OBSERVATIONS, key) if edge.table == PANELS), None)
        sources = (self.sources(key) or self.documents(key)) if panel is None else self.scores(panel)
        about = {} if panel is None else self.panel(panel)
        several = {"sources": sources} if len(sources) > 1 else {}
        return found | {"edition": row["edition"], **about, "source": sources[0], **several}

    def sources(self, key: str) -> list[dict[str, Any]]:
        """The source cells of an observation in their order: one, or every score that was pooled."""
        vintages = [edge.key for edge in self.down.of(OBSERVATIONS, key) if edge.table == VINTAGES]
        edges = [edge for vintage in vintages for edge in self.down.of(VINTAGES, vintage)]
        dated = {e.key.rpartition("!")[0]: e.key for e in edges if e.role == "year"}
        found = []
        for edge in sorted((e for e in edges if e.role in ("value", "correction")), key=lambda e: e.key):
            entries = [dated.get(edge.key.rpartition("!")[0]), edge.key if edge.role == "correction" else None]
            change: dict[str, Any] = {}
            for entry in (self.corrections.get(entry, {}) for entry in entries if entry):
                change |= {name: value for name, value in entry.items() if name != "source_cell"}
            found.append(self.cells.source(edge.key) | ({"correction": change} if change else {}))
        return found

    def documents(self, key: str) -> list[dict[str, Any]]:
        """The documents behind an observation that is a count of them."""
        counts = [edge.key for edge in self.down.of(OBSERVATIONS, key) if edge.table == COUNTS]
        return document_sources(self.down.lake, [edge.key for count in counts for edge in self.down.of(COUNTS, count)])

    def panel(self, key: str) -> dict[str, Any]:
        """What a Delphi panel agreed on: the round that counts, and the reason for the value in words."""
        row = self.panels[key]
        about = ("round", "rounds", "stop_reason", "experts", "response_rate", "kendall_w", "p_value")
        w = "undefined" if row["kendall_w"] is None else f"{row['kendall_w']:.3f}"
        reason = (
            f"Delphi round {row['round']} of {row['rounds']} ({STOPPED[row['stop_reason']]}), "
            f"{row['experts']} experts, Kendall's W {w}"
        )
        spread = ("mean", "median", "iqr", "sd")
        return {"method": "delphi", "reason": reason, "panel": {name: row[name] for name in (*about, *spread)}}

    def scores(self, key: str) -> list[dict[str, Any]]:
        """The scores of a Delphi round with each expert's cell, authority and share, by expert."""
        from dei_pipeline.methods.delphi import authority

        found = []
        for edge in self.down.of(PANELS, key, "score"):
            row = self.cells.staged[edge.key]
            stated = {e.role: split_source_cell(e.key)[2] for e in self.down.of(edge.table, edge.key)}
            cs, ca = row["familiarity"], row["judgement_basis"]
            found.append(
                self.cells.source(edge.key)
                | {"region_label": row["region_label"], "expert": row["expert_id"], "share": edge.coefficient}
                | {"authority": float(authority(ca, cs)), "familiarity": cs, "judgement_basis": ca}
                | {"familiarity_cell": stated.get("familiarity"), "basis_cell": stated.get("basis")}
            )
        return sorted(found, key=lambda source: (source["expert"], source["file"], source["cell"]))
