"""What an index needs: which variables have values, and the empty workbooks to collect the rest."""

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from dei_pipeline.errors import DeiError
from dei_pipeline.lake import Lake
from dei_pipeline.methods.framework import Framework, load
from dei_pipeline.methods.projects import load_kinds
from dei_pipeline.methods.regions import Regions
from dei_pipeline.methods.weights import COMBINATIONS
from dei_pipeline.settings import Settings
from dei_pipeline.sources.layouts import Variable, load_variables


def framework_of(settings: Settings, index: str) -> Framework:
    """The framework of an index.

    Raises:
        DeiError: there is no such file; lists the indices.
    """
    path = settings.methodology / f"{index}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in settings.methodology.glob("*.yaml")))
        raise DeiError(f"index «{index}» is unknown", f"known: {known}; add one as methodology/<index>.yaml")
    return load(path)


def missing(lake: Lake, settings: Settings, index: str, year: int) -> pl.DataFrame:
    """Each variable of an index with the number of listed cities that have a value in the year.

    Returns:
        Columns indicator_id, variable, source_kind, cities, cities_listed.
    """
    framework = framework_of(settings, index)
    cities = Regions.load(settings.reference).city_lists.filter(list_id=framework.city_list)["region_code"]
    kinds = framework.leaves.select(indicator_id="node_id", source_kind="source_kind")
    wanted = framework.terms.select("indicator_id", "variable").join(kinds, on="indicator_id", maintain_order="left")
    if lake.exists("core/observations"):
        held = lake.scan("core/observations").filter(
            (pl.col("year") == year) & pl.col("region_code").is_in(cities.implode())
        )
        found = held.group_by("variable").agg(cities=pl.len().cast(pl.Int64)).collect()
    else:
        found = pl.DataFrame(schema={"variable": pl.String, "cities": pl.Int64})
    return wanted.join(found, on="variable", how="left", maintain_order="left").with_columns(
        pl.col("cities").fill_null(0), cities_listed=pl.lit(cities.len())
    )


def template_context(
    settings: Settings,
    kind: str,
    index: str,
    year: int,
    variables: Sequence[str] = (),
    round: int = 1,
    expert: str = "",
) -> dict[str, Any]:
    """What a template is filled with: the index's cities, its rubric, the variables asked for, or what experts judge.

    Args:
        settings: paths of the reviewed files; from the second round on the lake is asked for the round before.
        kind: a kind of `write_template`.
        index: id of the index.
        year: data year.
        variables: of a page of regions by indicators; all that the index needs if empty.
        round: of a Delphi exercise.
        expert: who fills it in.

    Raises:
        DeiError: a variable is unknown (names the nearest), or the index has nothing that experts judge so.
    """
    framework = framework_of(settings, index)
    if kind == "ahp":
        return _compared(framework) | {"expert": expert}
    if kind == "holdings":
        return {"year": year}
    regions = Regions.load(settings.reference)
    cities = regions.city_lists.filter(list_id=framework.city_list).select("region_code")
    names = regions.in_force(year).select("region_code", "name_zh")
    listed = cities.join(names, on="region_code", maintain_order="left")
    if kind == "assessment":
        rubric = framework.terms.filter(pl.col("role") == "points").select(
            "indicator_id",
            pl.col("variable").alias("checkpoint"),
            "name_zh",
            "name_en",
            pl.col("max_points").alias("points"),
        )
        return {"year": year, "rubric": rubric, "regions": listed}
    if kind == "companies":
        return {"year": year, "regions": listed.select("name_zh")}
    if kind == "projects":
        kinds = load_kinds(settings.reference / "lexicons" / "project_kinds.csv").names
        return {"year": year, "kinds": list(kinds.values()), "regions": listed.select("name_zh")}
    known = load_variables(settings.reference / "variables.csv")
    if kind == "delphi":
        items = _judged(framework, known)
        feedback = _feedback(Lake(settings.lake), year, round - 1)
        about = {"title": f"{framework.name_zh}德尔菲评分表", "round": round, "expert": expert, "feedback": feedback}
        return {"year": year, "items": items, "regions": listed} | about
    chosen = list(variables) or [v for v in framework.terms["variable"].unique(maintain_order=True) if v in known]
    for name in chosen:
        if name not in known:
            from rapidfuzz import process

            near = ", ".join(found for found, _, _ in process.extract(name, list(known), limit=3))
            raise DeiError(f"variable «{name}» is unknown", f"near: {near}; or add it to reference/variables.csv")
    indicators = pl.DataFrame(
        [{"name_zh": known[v].name_zh, "name_en": known[v].name_en, "unit": known[v].unit} for v in chosen]
    )
    return {"year": year, "indicators": indicators, "regions": listed.select("name_zh")}


def _judged(framework: Framework, known: Mapping[str, Variable]) -> pl.DataFrame:
    """`item` and `name_zh` of the variables that a Delphi panel scores."""
    leaves = framework.leaves.filter(pl.col("source_kind") == "delphi").select(indicator_id="node_id")
    items = leaves.join(framework.terms, on="indicator_id", maintain_order="left")["variable"].to_list()
    if not items:
        raise DeiError(f"index «{framework.index_id}» has no leaf that a Delphi panel scores", "try --index deci")
    return pl.DataFrame({"item": items, "name_zh": [known[item].name_zh for item in items]})


def _feedback(lake: Lake, year: int, round: int) -> pl.DataFrame | None:
    """Median and IQR of a round by city and item; None if the lake does not hold it."""
    if not lake.exists("core/delphi_scores"):
        return None
    scores = lake.read("core/delphi_scores").filter(pl.col("year") == year, pl.col("round") == round)
    return scores.select("region_code", "item", "median", "iqr") if scores.height else None


def _compared(framework: Framework) -> dict[str, Any]:
    """Index, edition and the children of each node whose weights rest on comparisons of experts."""
    nodes = framework.nodes
    inner = set(nodes["parent_id"].drop_nulls().to_list())
    own = dict(nodes.select("node_id", "weighting").iter_rows())
    scheme = framework.choices.weighting.scheme
    wanted = []
    for node in framework.data_driven:
        above_leaves = any(child in inner for child in framework.children_of(node))
        by_scheme = scheme in COMBINATIONS or (scheme == "ahp_upper_entropy_leaf" and above_leaves)
        if own[node] == "ahp" or (own[node] is None and by_scheme):
            wanted.append(node)
    if not wanted:
        raise DeiError(
            f"index «{framework.index_id}» takes no weight from comparisons of experts",
            "see meta.weighting in its file",
        )
    names = nodes.select(parent_id="node_id", parent_name_zh="name_zh")
    children = nodes.filter(pl.col("parent_id").is_in(wanted)).join(names, on="parent_id", maintain_order="left")
    return {
        "index": framework.index_id,
        "index_name": framework.name_zh,
        "edition": framework.edition,
        "children": children.select("parent_id", "parent_name_zh", "node_id", "name_zh"),
    }
