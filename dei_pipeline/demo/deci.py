"""Numbers of the demo sources of the competitive index: made-up statistics and experts, with the published order.

No input, weight, threshold or score is published, only the order of the first 15 of 52 cities and who leads each
dimension. The cities, their GDP, population and subscribers are those of `model`; the other leaves are drawn around a
score of each city, and move together until the composite, computed with the pipeline's own methods, meets it. Draws
depend on the seed, never on how many cities or years are asked for.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl

from dei_pipeline.demo.model import REFERENCE, Base, Demo, Floats, World, bisect, logit, points
from dei_pipeline.demo.ownership import city_counts
from dei_pipeline.errors import DeiError
from dei_pipeline.methods import normalise, treat, weights
from dei_pipeline.methods.framework import Framework, packaged

TOP_SCORES = (86.0, 83.5, 80.5, 71.0, 69.6, 67.9, 66.4, 65.0, 63.7, 62.5, 61.4, 60.3, 59.3, 58.3, 57.3)
REST_SCORES = (55.0, 33.0)  # the cities behind them, in the order of their DEI scores
CEILING = 97.0  # free leaves stay below the city that sets the threshold
SPREAD, LEADER_SPREAD, CLIP = 0.30, 0.08, 1.6  # of a leaf around its city, in logits; draws are clipped at CLIP
PENALTY = 0.35  # logits that one of the first three lacks where another leads
ROUNDS = 12  # of solving: thresholds are given, entropy weights follow the scores
RISE, RISE_NOISE = 0.10, 0.03  # of scores and facets a year, in logits
YEAR_NOISE = 0.012  # of a ratio in another year than the base year, relative

COUNT = "typical_enterprise_count"  # leaf that is read from a table and has demo sources: see `ownership`
PEERLESS: Mapping[str, str] = {  # leaf: the city that sets its threshold
    "rd_intensity": "北京",
    "ict_service_employment_per_10k": "北京",
    "rd_personnel_per_10k": "深圳",
    "fixed_broadband_download_speed": "上海",
    "ict_revenue_per_10k_gdp": "深圳",
    "websites_per_100_firms": "北京",
    "ecommerce_share": "杭州",
    "gov_website_heat": "北京",
    "online_retail_share": "上海",
    "ict_fai_share": "贵阳",
}
STRENGTH: Mapping[str, float] = {  # by printed leader's dimension, logits above the city's own level
    "digital_innovation_factors": 1.0,
    "digital_infrastructure": 0.3,
    "core_digital_industry": 0.0,
    "digital_integration_application": 1.0,
    "digital_economy_demand": 1.0,
    "digital_policy_environment": 1.3,
}
LEVEL: Mapping[str, float] = {  # how high the dimension stands in general, logits
    "digital_innovation_factors": -0.35,
    "digital_infrastructure": 0.2,
    "core_digital_industry": -0.5,
    "digital_integration_application": 0.1,
    "digital_economy_demand": -0.1,
    "digital_policy_environment": 0.75,
}


@dataclass(frozen=True)
class Magnitude:
    """A leaf at full score: its raw value before the leaf's factor, and its yearly growth towards the base year."""

    full: float
    growth: float


MAGNITUDES: Mapping[str, Magnitude] = {
    "rd_intensity": Magnitude(0.0644, 0.035),
    "ict_service_employment_per_10k": Magnitude(432.0, 0.06),
    "rd_personnel_per_10k": Magnitude(198.0, 0.05),
    "fixed_broadband_download_speed": Magnitude(50.32, 0.22),
    "ict_revenue_per_10k_gdp": Magnitude(1.12, 0.045),
    "websites_per_100_firms": Magnitude(0.66, 0.01),
    "ecommerce_share": Magnitude(0.165, 0.06),
    "gov_website_heat": Magnitude(9.4, 0.03),
    "online_retail_share": Magnitude(0.58, 0.12),
    "ict_fai_share": Magnitude(0.058, 0.08),
}
PER_GDP: Mapping[str, float] = {  # sizes that go with GDP; 亿元, and firms per 亿元
    "surveyed_enterprises": 0.85,
    "enterprise_operating_revenue": 3.1,
    "retail_sales": 0.37,
    "fixed_investment": 0.52,
}
COST, SALES = 0.86, 0.58  # operating cost per revenue; sales in sales and purchases

IMPORTANCE = (0.24, 0.14, 0.22, 0.19, 0.12, 0.09)  # of the dimensions in file order, as the AHP experts see it
AHP_EXPERTS, AHP_NOISE = 5, 0.22  # consistent ones, and their spread in logarithms
CYCLE = ((0, 1, 7.0), (1, 2, 7.0), (0, 2, 0.2))  # judgements of one more, who contradicts himself
SAATY = (*(1.0 / k for k in range(9, 1, -1)), *(float(k) for k in range(1, 10)))
DELPHI_EXPERTS = 7
DISAGREEMENT = (0.26, 0.08, 0.072)  # relative spread of the experts, round by round
OPENING_ERROR, UNSCORED = 0.05, 0.02  # of the first round: error of its mean, share of blanks


@dataclass(frozen=True)
class Deci:
    """Everything the demo pages of the competitive index print.

    Attributes:
        framework: the index.
        years: data years, ascending.
        cities: region_code, name_zh, name_en, short_name_zh, province_zh, kind, valid_from, target (composite points
            that the inputs were solved for); those of the demo that the index evaluates, by target.
        values: region_code, year, variable, value: statistics and web figures as printed, in canonical units.
        delphi: year, round, expert_id, region_code, item, score (null: not scored).
        authority: expert_id, item, basis, familiarity: what each Delphi expert states of himself.
        judgements: expert_id, row_node, column_node, value: upper triangles, importance of row against column.
    """

    framework: Framework
    years: tuple[int, ...]
    cities: pl.DataFrame
    values: pl.DataFrame
    delphi: pl.DataFrame
    authority: pl.DataFrame
    judgements: pl.DataFrame

    def wide(self, variables: Sequence[str], year: int) -> pl.DataFrame:
        """One row per city in the order of `cities`, one column per variable, for one year."""
        part = self.values.filter((pl.col("year") == year) & pl.col("variable").is_in(list(variables)))
        columns = part.pivot("variable", index="region_code", values="value").select("region_code", *variables)
        return self.cities.join(columns, on="region_code", maintain_order="left")


def build(demo: Demo, framework: Framework | None = None) -> Deci:
    """The inputs of the competitive index for the cities and years of a demo, calibrated over all its 52 cities.

    Args:
        demo: cities, years and seed; GDP, population, households and subscribers are its own.
        framework: the index; the packaged one if None.

    Raises:
        DeiError: the city list lacks one of the cities that the report ranks.
    """
    return Solved(demo.world, framework or packaged("deci")).deci(demo)


def listed(world: World, framework: Framework) -> pl.DataFrame:
    """Cities of the index by target score: those the report ranks in its order, then the others by DEI score."""
    text = {"region_code": pl.String}
    lists = pl.read_csv(REFERENCE / "city_lists.csv", schema_overrides=text).filter(list_id=framework.city_list)
    cities = world.cities.drop("score", "target", "scale").with_row_index("place")
    cities = cities.join(lists.select("region_code"), on="region_code", how="semi")
    top = list(framework.published["top15_ranked"])
    printed = cities.filter(pl.col("short_name_zh").is_in(top))
    if printed.height != len(top):
        raise DeiError(f"demo: {printed.height} of {len(top)} ranked cities found", f"see {framework.city_list}")
    order = pl.col("short_name_zh").replace_strict({name: i for i, name in enumerate(top)}, default=len(top))
    scores = np.concatenate([np.array(TOP_SCORES), np.linspace(*REST_SCORES, cities.height - len(top))])
    return cities.sort(order, "place").with_columns(target=pl.Series(scores))


class Solved:
    """The base year solved for all cities of the index, and the way to the other years.

    Attributes:
        cities: all of them, by target; rows of every array.
        leaves: leaves that the demo has sources for, in file order; columns of every array.
        dimension: position of each leaf's dimension among `dimensions`.
        scores: base-year points before anything is printed, (cities, leaves).
    """

    def __init__(self, world: World, framework: Framework) -> None:
        self.world, self.framework = world, framework
        self.cities = listed(world, framework)
        self.at = self.cities["place"].to_numpy()
        self.row = {name: i for i, name in enumerate(self.cities["short_name_zh"])}
        self.base = Base(world, world.cities.height)
        leaves = framework.leaves.filter((pl.col("kind") != "table") | (pl.col("node_id") == COUNT))
        self.leaves = tuple(leaves["node_id"])
        self.column = {leaf: j for j, leaf in enumerate(self.leaves)}
        self.given = leaves["weight"].to_list()
        self.dimensions = framework.children_of(framework.root)
        self.dimension = np.array([self.dimensions.index(parent) for parent in leaves["parent_id"]])
        self.scores = self._solve()

    def random(self, *what: object) -> np.random.Generator:
        """A generator for one purpose of this index."""
        return self.world.random("deci", *what)

    def _draws(self, *what: object, columns: int) -> Floats:
        """Clipped standard normal draws, (cities, columns)."""
        return np.clip(self.random(*what).normal(size=(self.cities.height, columns)), -CLIP, CLIP)

    # calibration
    @cached_property
    def experts(self) -> dict[str, list[float]]:
        """Judgements on the dimensions by expert, upper triangle row by row; the last expert's are inconsistent."""
        size = len(self.dimensions)
        rows, columns = np.triu_indices(size, 1)
        views = np.log(IMPORTANCE) + self.random("ahp").normal(0.0, AHP_NOISE, (AHP_EXPERTS, size))
        views = np.vstack([views, np.log(IMPORTANCE)])
        ratios = (views[:, rows] - views[:, columns])[:, :, None]
        matrix = np.array(SAATY)[np.abs(ratios - np.log(SAATY)).argmin(axis=2)]
        for i, j, value in CYCLE:
            matrix[-1, np.flatnonzero((rows == i) & (columns == j))] = value
        return {f"A{e + 1:02}": row.tolist() for e, row in enumerate(matrix)}

    @cached_property
    def importance(self) -> Floats:
        """Weights of the dimensions by the pooled judgements."""
        triangles = {expert: weights.from_upper_triangle(values) for expert, values in self.experts.items()}
        return weights.pool(triangles).result.w

    def within(self, scores: Floats) -> Floats:
        """Weight of each leaf among the leaves of its dimension that have a source: as given, or by entropy."""
        found = np.zeros(len(self.leaves))
        for d in range(len(self.dimensions)):
            here = np.flatnonzero(self.dimension == d)
            said = [self.given[j] for j in here]
            found[here] = weights.entropy(scores[:, here]).w if None in said else weights.checked(said)
        return found

    def _levels(self) -> Floats:
        """Where each leaf of each city stands before solving: its city, its dimension, what it leads, and chance."""
        leaders = self.framework.published["dimension_leaders"]
        spread = np.full((self.cities.height, 1), SPREAD)
        lead = np.zeros((self.cities.height, len(self.dimensions)))
        for city in sorted(set(leaders.values())):
            spread[self.row[city]] = LEADER_SPREAD
            lead[self.row[city]] = [STRENGTH[d] if leaders[d] == city else -PENALTY for d in self.dimensions]
        own = logit(self.cities["target"].to_numpy())[:, None] + np.array([LEVEL[d] for d in self.dimensions]) + lead
        return np.asarray(own[:, self.dimension] + spread * self._draws("leaves", columns=len(self.leaves)))

    def _settled(self) -> Floats:
        """Points of what the other index's sources settle and of the cities that set a threshold; NaN: free."""
        found = np.full((self.cities.height, len(self.leaves)), np.nan)
        for leaf in self.leaves:
            terms = dict(self.framework.terms.filter(indicator_id=leaf).select("role", "variable").iter_rows())
            if terms and set(terms.values()) <= set(self.base.base_inputs):
                numerator, denominator = (
                    self.base.base_inputs[terms[r]][self.at] for r in ("numerator", "denominator")
                )
                raw = numerator / denominator
                found[:, self.column[leaf]] = normalise.threshold(raw, treat.winsorised_max(raw).theta)
        if COUNT in self.column:
            counts = city_counts(self.world)["companies"].to_numpy()[self.at].astype(np.float64)
            found[:, self.column[COUNT]] = normalise.threshold(counts, treat.winsorised_max(counts).theta)
        for leaf, city in PEERLESS.items():
            found[self.row[city], self.column[leaf]] = 100.0
        return found

    def _solve(self) -> Floats:
        """Points of every leaf with which each city's composite is its target, (cities, leaves)."""
        target, levels, settled = self.cities["target"].to_numpy(), self._levels(), self._settled()
        free = np.isnan(settled)
        shift = np.zeros(target.size)

        def moved(shift: Floats) -> Floats:
            return np.where(free, CEILING / 100.0 * points(levels + shift[:, None]), settled)

        for _ in range(ROUNDS):
            effective = self.within(moved(shift)) * self.importance[self.dimension]

            def gap(shift: Floats, effective: Floats = effective) -> Floats:
                return moved(shift) @ effective - target

            shift = bisect(gap, target.size)
        return moved(shift)

    # what is printed
    def deci(self, demo: Demo) -> Deci:
        """The sources for the cities and years of a demo."""
        cities = self.cities.join(demo.cities.select("region_code"), on="region_code", how="semi").drop("place", "rank")
        known = cities.select("region_code", "valid_from")
        values = pl.concat([self._long(year, self._printed(year)) for year in demo.years])
        delphi = pl.concat([self._delphi(year) for year in demo.years])
        values, delphi = (
            frame.join(known, on="region_code").filter(pl.col("valid_from") <= pl.col("year")).drop("valid_from")
            for frame in (values, delphi)
        )
        return Deci(self.framework, demo.years, cities, values, delphi, self.authority, self._judgements())

    def _score(self, leaf: str, year: int) -> Floats:
        """Points of a leaf that is a score itself, moved along a wave in logits for other years."""
        ahead = year - self.framework.base_year
        pace = RISE + RISE_NOISE * self._draws("rise", leaf, columns=1)[:, 0]
        score = self.scores[:, self.column[leaf]]
        return score if ahead == 0 else points(logit(score) + pace * ahead)

    def _raw(self, leaf: str, year: int) -> Floats:
        """Raw value of a leaf before its factor."""
        ahead = year - self.framework.base_year
        size = MAGNITUDES[leaf]
        growth = np.exp(size.growth * self.base.trend[self.at] * ahead)
        noise = 1.0 + (YEAR_NOISE * self._draws("year", leaf, year, columns=1)[:, 0] if ahead else 0.0)
        return np.asarray(size.full * self.scores[:, self.column[leaf]] / 100.0 * growth * noise)

    def _printed(self, year: int) -> dict[str, Floats]:
        """Statistics and web figures of all cities, rounded as the pages print them."""
        sizes = {name: values[self.at] for name, values in self.base.sizes(year).items()}
        gdp, people = sizes["gdp"], sizes["resident_population"]
        part = np.exp(0.12 * self._draws("sizes", columns=len(PER_GDP)))
        firms, revenue, retail, investment = (gdp * ratio * part[:, k] for k, ratio in enumerate(PER_GDP.values()))
        firms, revenue = np.round(firms), np.round(revenue, 2)
        cost = np.round(COST * revenue, 2)
        traded = self._raw("ecommerce_share", year) * (revenue + cost)
        retail, investment = np.round(retail, 2), np.round(investment, 4)
        return {
            "rd_expenditure": np.round(self._raw("rd_intensity", year) * gdp, 4),
            "rd_personnel_fte": np.round(self._raw("rd_personnel_per_10k", year) * people),
            "ict_service_employment": np.round(self._raw("ict_service_employment_per_10k", year) * people),
            "ict_main_business_revenue": np.round(self._raw("ict_revenue_per_10k_gdp", year) * gdp, 2),
            "surveyed_enterprises": firms,
            "enterprise_websites": np.round(self._raw("websites_per_100_firms", year) * firms),
            "ecommerce_sales": np.round(SALES * traded, 2),
            "ecommerce_purchases": np.round((1.0 - SALES) * traded, 2),
            "enterprise_operating_revenue": revenue,
            "enterprise_operating_cost": cost,
            "fixed_investment": investment,
            "ict_service_fixed_investment": np.round(self._raw("ict_fai_share", year) * investment, 4),
            "retail_sales": retail,
            "online_retail_sales": np.round(self._raw("online_retail_share", year) * retail, 2),
            "broadband_speed": np.round(self._raw("fixed_broadband_download_speed", year), 2),
            "gov_service_score": np.round(self._score("gov_service_digital", year), 2),
            "gov_website_visitors": np.round(np.expm1(self._raw("gov_website_heat", year)) * 10.0 * people),
        }

    def _long(self, year: int, columns: Mapping[str, Floats]) -> pl.DataFrame:
        """Arrays by variable as rows region_code, year, variable, value."""
        wide = pl.DataFrame({"region_code": self.cities["region_code"], **columns})
        rows = wide.unpivot(index="region_code", variable_name="variable", value_name="value")
        return rows.select("region_code", pl.lit(year, dtype=pl.Int32).alias("year"), "variable", "value")

    # experts
    @cached_property
    def items(self) -> tuple[str, ...]:
        """Leaves that Delphi experts score."""
        return tuple(self.framework.leaves.filter(source_kind="delphi")["node_id"])

    @cached_property
    def authority(self) -> pl.DataFrame:
        """Rows of `Deci.authority`, tenths from 0.5 to 0.9."""
        tenths = self.random("authority").integers(5, 10, (DELPHI_EXPERTS, len(self.items), 2)) / 10.0
        keys = [(f"D{e + 1:02}", item) for e in range(DELPHI_EXPERTS) for item in self.items]
        rows = [(*key, *pair) for key, pair in zip(keys, tenths.reshape(-1, 2).tolist(), strict=True)]
        return pl.DataFrame(rows, schema=["expert_id", "item", "basis", "familiarity"], orient="row")

    def _delphi(self, year: int) -> pl.DataFrame:
        """Rows of `Deci.delphi` of one year: the mean of every round but the first is the facet, but for rounding."""
        facets = np.stack([self._score(item, year) for item in self.items], axis=1)
        pair = self.authority.select((pl.col("basis") + pl.col("familiarity")) / 2).to_series().to_numpy()
        share = pair.reshape(DELPHI_EXPERTS, 1, len(self.items))
        share = share / share.sum(axis=0)
        room = facets * np.minimum(1.0, (100.0 - facets) / 25.0)  # experts agree on what is near the top
        frames = []
        for number, spread in enumerate(DISAGREEMENT, start=1):
            rng = self.random("delphi", year, number)
            noise = np.clip(rng.normal(size=(DELPHI_EXPERTS, *facets.shape)), -CLIP, CLIP)
            noise = noise - (share * noise).sum(axis=0)
            error = OPENING_ERROR * rng.normal(size=facets.shape) if number == 1 else 0.0
            scores = np.round(np.clip(facets + room * (spread * noise + error), 0.0, 100.0))
            blank = rng.random(scores.shape) < UNSCORED if number == 1 else np.zeros(scores.shape, dtype=bool)
            frames.append(self._round(year, number, np.where(blank, np.nan, scores)))
        return pl.concat(frames)

    def _round(self, year: int, number: int, scores: Floats) -> pl.DataFrame:
        """Scores of one round, (experts, cities, items), as rows."""
        experts, cities, items = (
            a.ravel()
            for a in np.meshgrid(
                [f"D{e + 1:02}" for e in range(DELPHI_EXPERTS)],
                self.cities["region_code"].to_list(),
                list(self.items),
                indexing="ij",
            )
        )
        return pl.DataFrame(
            {"expert_id": experts, "region_code": cities, "item": items, "score": scores.ravel()}
        ).select(
            pl.lit(year, dtype=pl.Int32).alias("year"),
            pl.lit(number, dtype=pl.Int32).alias("round"),
            "expert_id",
            "region_code",
            "item",
            pl.col("score").fill_nan(None),
        )

    def _judgements(self) -> pl.DataFrame:
        """Rows of `Deci.judgements`."""
        rows, columns = np.triu_indices(len(self.dimensions), 1)
        return pl.concat(
            pl.DataFrame(
                {
                    "expert_id": [expert] * rows.size,
                    "row_node": [self.dimensions[i] for i in rows],
                    "column_node": [self.dimensions[j] for j in columns],
                    "value": values,
                }
            )
            for expert, values in self.experts.items()
        )
