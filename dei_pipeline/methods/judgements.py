"""AHP judgements of experts: from labelled sheets to complete matrices, and the weights they give [methodology §3.3].

A judgement a_ij says how much more child i of a node counts than child j; a_ji = 1/a_ij, a_ii = 1 (Saaty 1980).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from dei_pipeline.errors import ContractError, MethodError, NothingToDo
from dei_pipeline.methods.framework import Framework
from dei_pipeline.methods.weight_tables import EXPERT_KEY, POOLED
from dei_pipeline.methods.weights import MAX_CR, Ahp, ahp, pool
from dei_pipeline.provenance import QUARANTINE_COLUMNS, Table, make_edges, no_edges, split_source_cell
from dei_pipeline.sources.labels import clean, key, split_bracket

KEY = ["index_id", "edition", "parent_id", "expert_id", "row_node", "column_node"]
STAGED, JUDGEMENTS = "staging/ahp_judgements", "core/ahp_judgements"
SLACK = 1e-9
MEND = "mend a copy of the file, ingest it and `dei sources withdraw` this one"
Cells = dict[tuple[str, str], dict[str, Any]]


class _Off(Exception):
    """Why a sheet cannot be used, what to do, and the cells that are wrong (none: the sheet as a whole)."""

    def __init__(self, reason: str, fix: str = MEND, cells: Sequence[Mapping[str, Any]] = ()) -> None:
        super().__init__(reason)
        self.reason, self.fix = reason, fix
        self.cells = {cell["source_cell"] for cell in cells}


@dataclass(frozen=True)
class _Matrix:
    """A sheet whose names are known: whose judgements of what, and the filled cells by row and column node."""

    key: tuple[str, str, str, str]
    children: tuple[str, ...]
    cells: Cells


# -- from sheets to matrices -------------------------------------------------------------------------------------------
def complete(staged: pl.DataFrame, nodes: pl.DataFrame) -> Table:
    """`core/ahp_judgements`: the whole reciprocal matrix of each expert and node.

    One side of a pair is enough: the other is its reciprocal. Where both are filled they must be reciprocal within half
    the last digit printed, and the side that is at least 1 counts (0.33 is a rounded 1/3, 3 is not). A sheet with
    anything off goes to quarantine as a whole, the cells at fault with their own reason.

    Args:
        staged: staging/ahp_judgements.
        nodes: core/framework.

    Returns:
        Table with key index_id, edition, parent_id, expert_id, row_node, column_node | value, source_cell. Edges: a
        judgement leads to its cell (role value, coefficient 1), its mirror to the same cell (reciprocal, −1/a²), a
        filled mirror also to its own cell (repeat, 0), the diagonal to the node (definition), and a sheet that says the
        same again repeats the first.

    Raises:
        ContractError: no sheet can be used; names the first and why.
    """
    used: dict[tuple[str, str, str, str], _Matrix] = {}
    rows: list[dict[str, Any]] = []
    links: list[tuple[str, str, str, str, float | None]] = []
    aside: list[dict[str, Any]] = []
    repeats = 0
    sheet = pl.col("source_cell").str.replace(r"![A-Z]+\d+$", "")
    ordered = staged.with_columns(_sheet=sheet).sort("_sheet", "source_cell")
    for cells in ordered.partition_by("_sheet", maintain_order=True):
        filled = cells.drop("_sheet").to_dicts()
        try:
            matrix = _named(filled, nodes)
            values = _reciprocal(matrix)
            if matrix.key in used:
                links += _again(matrix, values, used[matrix.key])
                repeats += 1
                continue
        except _Off as off:
            aside += [_set_aside(cell, off) for cell in filled]
            continue
        used[matrix.key] = matrix
        rows += [
            dict(zip(KEY, (*matrix.key, i, j), strict=True)) | {"value": value, "source_cell": cell}
            for (i, j), (value, cell) in values.items()
        ]
        links += _links(matrix, values)
    if not rows:
        first = aside[0]
        place = f"{first['file']}, sheet {first['sheet']}, cell {first['cell']}"
        raise ContractError(
            f"{JUDGEMENTS}: none of {staged.height} judgements can be used; first failure in {place}: "
            f"{first['reason']}",
            first["fix"],
        )
    schema = dict.fromkeys(KEY, pl.String) | {"value": pl.Float64, "source_cell": pl.String}
    edges = pl.DataFrame(links, schema=no_edges().schema, orient="row")
    quarantine = pl.DataFrame(aside, schema=dict.fromkeys((*QUARANTINE_COLUMNS, "expert_id"), pl.String))
    notes = {"matrices": len(used), "repeated_matrices": repeats, "judgements_in": staged.height}
    return Table(pl.DataFrame(rows, schema=schema), edges, quarantine, notes)


def _named(filled: Sequence[Mapping[str, Any]], nodes: pl.DataFrame) -> _Matrix:
    """A sheet with its labels as ids."""
    first = filled[0]
    roots = nodes.filter(pl.col("parent_id").is_null())
    of_index = roots.filter(pl.col("index_id").is_in(_ids(first["index_label"], roots)))
    if not of_index.height:
        known = ", ".join(roots["index_id"].unique().sort())
        raise _Off(f"index «{first['index_label']}» is unknown", f"known: {known}; {MEND}")
    editions = of_index["edition"].sort().to_list()
    edition = first["edition_label"] or editions[-1]
    if edition not in editions:
        raise _Off(f"edition «{edition}» is unknown", f"known: {', '.join(editions)}; {MEND}")
    index = of_index["index_id"][0]
    mine = nodes.filter((pl.col("index_id") == index) & (pl.col("edition") == edition)).sort("position")
    inner = mine.filter(pl.col("node_id").is_in(mine["parent_id"].drop_nulls().unique().implode()))
    parents = _ids(first["parent_label"], inner)
    if len(parents) != 1:
        raise _Off(f"«{first['parent_label']}» is no node of {index} with children", f"see core/framework; {MEND}")
    children = mine.filter(pl.col("parent_id") == parents[0])
    found: Cells = {}
    for cell in filled:
        heads = []
        for label in (cell["row_label"], cell["column_label"]):
            ids = _ids(label, children)
            if len(ids) != 1:
                what = "names several children" if ids else "is no child"
                raise _Off(f"«{' '.join(label.split())}» {what} of {parents[0]}", MEND, [cell])
            heads.append(ids[0])
        if (heads[0], heads[1]) in found:
            raise _Off(f"{heads[0]} is compared with {heads[1]} twice", MEND, [cell])
        found[heads[0], heads[1]] = dict(cell)
    return _Matrix((index, edition, parents[0], first["expert_id"]), tuple(children["node_id"]), found)


def _ids(label: str, nodes: pl.DataFrame) -> list[str]:
    """Nodes that a label names by id, Chinese or English name, in any of its lines."""
    lines = [label, *label.splitlines()]
    wanted = {key(part) for line in lines for part in (line, split_bracket(line)[0])} - {""}
    return [row[0] for row in nodes.select("node_id", "name_zh", "name_en").iter_rows() if wanted & set(map(key, row))]


def _reciprocal(matrix: _Matrix) -> dict[tuple[str, str], tuple[float, str | None]]:
    """Value and source cell of every pair, row by row."""
    cells, n = matrix.cells, len(matrix.children)
    found: dict[tuple[str, str], tuple[float, str | None]] = {}
    for at, i in enumerate(matrix.children):
        own = cells.get((i, i))
        if own is not None and own["value"] != 1:
            raise _Off(f"{i} compared with itself is {own['raw_text']}, not 1", MEND, [own])
        found[i, i] = 1.0, None if own is None else own["source_cell"]
        for j in matrix.children[at + 1 :]:
            upper, lower = cells.get((i, j)), cells.get((j, i))
            given = upper or lower
            if given is None:
                raise _Off(f"{i} is not compared with {j}: the matrix of {n} children is incomplete", MEND)
            if upper and lower:
                if abs(upper["value"] - 1 / lower["value"]) > _half_digit(upper) + SLACK and (
                    abs(lower["value"] - 1 / upper["value"]) > _half_digit(lower) + SLACK
                ):
                    said = f"{i} over {j} is {upper['raw_text']}, {j} over {i} is {lower['raw_text']}"
                    raise _Off(f"{said}: not reciprocal", MEND, [upper, lower])
                given = upper if upper["value"] >= 1 else lower
            value, cell = given["value"], given["source_cell"]
            pair = ((i, j), (j, i)) if given is upper else ((j, i), (i, j))
            found[pair[0]], found[pair[1]] = (value, cell), (1.0 / value, cell)
    return found


def _half_digit(cell: Mapping[str, Any]) -> float:
    """Half the last digit that a decimal number shows; 0 of a whole number or a fraction."""
    _, point, digits = clean(cell["raw_text"]).partition(".")
    return 0.5 * 10.0 ** -len(digits.strip()) if point else 0.0


def _links(
    matrix: _Matrix, values: Mapping[tuple[str, str], tuple[float, str | None]]
) -> list[tuple[str, str, str, str, float | None]]:
    """Edges of one matrix."""
    index, edition, *_ = matrix.key
    links: list[tuple[str, str, str, str, float | None]] = []
    for (i, j), (value, cell) in values.items():
        child = "|".join((*matrix.key, i, j))
        own = matrix.cells.get((i, j))
        if i == j:
            links.append((child, "core/framework", f"{index}|{edition}|{i}", "definition", None))
        elif cell is not None and (own is None or own["source_cell"] != cell):
            links.append((child, STAGED, cell, "reciprocal", -(value**2)))
        if own is not None:
            counts = i != j and own["source_cell"] == cell
            links.append((child, STAGED, own["source_cell"], *(("value", 1.0) if counts else ("repeat", 0.0))))
    return links


def _again(
    matrix: _Matrix, values: Mapping[tuple[str, str], tuple[float, str | None]], first: _Matrix
) -> list[tuple[str, str, str, str, float | None]]:
    """Edges from the judgements of the first sheet to those of a second that says the same."""
    before = _reciprocal(first)
    if any(abs(values[pair][0] - before[pair][0]) > SLACK for pair in before):
        place = split_source_cell(next(iter(first.cells.values()))["source_cell"])
        file = next(iter(first.cells.values()))["file"]
        raise _Off(
            f"expert {matrix.key[3]} compares the children of {matrix.key[2]} on another sheet too, otherwise: "
            f"{file}, sheet {place[1]}, which was kept, undecided by rule",
            "withdraw one of the files (`dei sources withdraw`)",
        )
    return [
        ("|".join((*matrix.key, *pair)), STAGED, cell["source_cell"], "repeat", 0.0)
        for pair, cell in matrix.cells.items()
    ]


def _set_aside(cell: Mapping[str, Any], off: _Off) -> dict[str, Any]:
    """A quarantined cell: its own reason if it is at fault, else that its sheet is not used."""
    _, sheet, address = split_source_cell(cell["source_cell"])
    at_fault = not off.cells or cell["source_cell"] in off.cells
    return {
        "reason": off.reason if at_fault else f"its matrix is not used: {off.reason}",
        "fix": off.fix,
        "source_cell": cell["source_cell"],
        "file": cell["file"],
        "sheet": sheet,
        "cell": address,
        "raw_text": cell["raw_text"],
        "expert_id": cell["expert_id"],
    }


# -- from matrices to weights ------------------------------------------------------------------------------------------
def expert_weights(framework: Framework, judgements: pl.DataFrame) -> Table:
    """`index/<index>_expert_weights`: AHP weights by expert, and of the accepted matrices pooled (expert_id `pooled`).

    w = principal right eigenvector of the matrix / sum; accepted if CR < 0.1; pooled = element-wise geometric mean of
    the accepted matrices. Source: Saaty 1980, Aczél & Saaty 1983; methodology §3.3. See `weights.ahp`, `weights.pool`.

    Args:
        framework: the index.
        judgements: core/ahp_judgements, of any index.

    Returns:
        Table with key edition, parent_id, expert_id, node_id | weight, lambda_max, ci, cr, accepted, experts (number of
        matrices behind the row). Edges to core/ahp_judgements (role judgement). A node none of whose matrices is
        accepted has no pooled rows; `notes` names rejected matrices and such nodes.

    Raises:
        NothingToDo: nobody compared nodes of this index and edition.
        MethodError: a matrix lacks a child, or holds a node that is none; names the sheet. An expert is called
            `pooled`.
    """
    mine = judgements.filter((pl.col("index_id") == framework.index_id) & (pl.col("edition") == framework.edition))
    if not mine.height:
        raise NothingToDo(
            f"nobody compared nodes of {framework.index_id} {framework.edition}: "
            f"fill in `dei template ahp --index {framework.index_id}`"
        )
    rows: list[dict[str, Any]] = []
    edges = [no_edges()]
    rejected: list[str] = []
    unpooled: list[str] = []
    for parent in sorted(mine["parent_id"].unique().to_list(), key=lambda node: framework.positions.get(node, -1)):
        children = framework.children_of(parent)
        given = mine.filter(pl.col("parent_id") == parent)
        matrices = {
            str(expert): _matrix(parent, str(expert), children, group)
            for (expert,), group in given.sort("expert_id").partition_by("expert_id", as_dict=True).items()
        }
        results = {expert: ahp(matrix) for expert, matrix in matrices.items()}
        accepted = [expert for expert, result in results.items() if result.accepted]
        for expert, result in results.items():
            rows += _weights(framework, parent, expert, children, result, 1)
            edges.append(_judged_by(framework, given.filter(pl.col("expert_id") == expert), expert, children))
            if not result.accepted:
                rejected.append(f"{parent}: {expert} (CR {result.cr:.3f} ≥ {MAX_CR})")
        if not accepted:
            unpooled.append(parent)
            continue
        pooled = pool({expert: matrices[expert] for expert in accepted}).result
        rows += _weights(framework, parent, POOLED, children, pooled, len(accepted))
        edges.append(_judged_by(framework, given.filter(pl.col("expert_id").is_in(accepted)), POOLED, children))
    schema = dict.fromkeys(EXPERT_KEY, pl.String) | dict.fromkeys(("weight", "lambda_max", "ci", "cr"), pl.Float64)
    frame = pl.DataFrame(rows, schema=schema | {"accepted": pl.Boolean, "experts": pl.Int64})
    return Table(frame, pl.concat(edges), notes={"rejected": rejected, "unpooled": unpooled})


def _matrix(parent: str, expert: str, children: Sequence[str], judged: pl.DataFrame) -> np.ndarray:
    """The matrix of one expert in the order of the children."""
    cell = judged["source_cell"].drop_nulls().min()
    where = f"AHP sheet {split_source_cell(str(cell))[1]} of expert {expert}, children of {parent}"
    if expert == POOLED:
        raise MethodError(f"{where}: «{POOLED}» is the name of the pooled result", "name the expert")
    foreign = sorted({*judged["row_node"].to_list(), *judged["column_node"].to_list()} - set(children))
    if foreign:
        raise MethodError(f"{where}: {foreign[0]} is no child of {parent}", f"compare {', '.join(children)}")
    at = {child: place for place, child in enumerate(children)}
    matrix = np.full((len(at), len(at)), np.nan)
    for row, column, value in judged.select("row_node", "column_node", "value").iter_rows():
        matrix[at[row], at[column]] = value
    if np.isnan(matrix).any():
        row, column = np.argwhere(np.isnan(matrix))[0]
        raise MethodError(f"{where}: {children[row]} is not compared with {children[column]}", "complete the matrix")
    return matrix


def _weights(
    framework: Framework, parent: str, expert: str, children: Sequence[str], result: Ahp, experts: int
) -> list[dict[str, Any]]:
    about = {"edition": framework.edition, "parent_id": parent, "expert_id": expert, "lambda_max": result.lambda_max,
             "ci": result.ci, "cr": result.cr, "accepted": result.accepted, "experts": experts}  # fmt: skip
    return [about | {"node_id": child, "weight": float(w)} for child, w in zip(children, result.w, strict=True)]


def _judged_by(framework: Framework, judged: pl.DataFrame, expert: str, children: Sequence[str]) -> pl.DataFrame:
    """Edges from every weight of a group to every judgement behind it: each moves them all."""
    pairs = judged.join(pl.DataFrame({"node_id": list(children)}), how="cross")
    child: list[str | pl.Expr] = [pl.lit(framework.edition), "parent_id", pl.lit(expert), "node_id"]
    return make_edges(pairs, child, JUDGEMENTS, KEY, "judgement")
