"""What an index needs: which variables have values, and the empty workbooks to collect the rest."""

from collections.abc import Sequence
from typing import Any

import polars as pl

from dei_pipeline.errors import DeiError
from dei_pipeline.lake import Lake
from dei_pipeline.methods.framework import Framework, load
from dei_pipeline.methods.regions import Regions
from dei_pipeline.settings import Settings
from dei_pipeline.sources.layouts import load_variables


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


def template_context(settings: Settings, kind: str, index: str, year: int, variables: Sequence[str]) -> dict[str, Any]:
    """What a template is filled with: the index's cities, its rubric or the variables asked for.

    Raises:
        DeiError: a variable is unknown; names the nearest.
    """
    framework = framework_of(settings, index)
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
    known = load_variables(settings.reference / "variables.csv")
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
