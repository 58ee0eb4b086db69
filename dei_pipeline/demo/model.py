"""Numbers of the demo sources: synthetic city data whose base-year index is the published one.

No city's leaf inputs are published, so a known answer for the whole path has to be made: raw inputs are drawn, scored
with the pipeline's own methods, and the rubric points are solved so that the composite meets the printed score. All
calibration is here; the pipeline sees the files of `pages.py` only. Draws depend on the seed, never on how many cities
or years are asked for.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from dei_pipeline.errors import DeiError
from dei_pipeline.methods import normalise, tiers, treat
from dei_pipeline.methods.framework import Framework, packaged

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
REFERENCE = Path(__file__).resolve().parents[1] / "reference"
TIE_STEP = 0.006  # points between cities printed with the same score, in the printed order
EXTRA_SCORES = (34.9, 20.0)  # units outside the published ranking stay below its last score
CENTS = 100  # rubric points have two decimals
LEVEL_NOISE, RUBRIC_NOISE, INPUT_NOISE = 0.16, 0.42, 0.30  # spread in logits around the city's level
WAVE, WAVE_SPREAD, YEAR_NOISE = 0.115, 0.03, 0.025  # yearly rise of a leaf in logits: about 2.5 points in mid-scale
GDP_PER_SCALE = 0.45  # published scale is roughly this share of GDP
GDP_GROWTH, GDP_GROWTH_LAST = 0.078, 0.031  # ordinary years; 2020
POPULATION_GROWTH, HOUSEHOLD_GROWTH, COUNT_GROWTH = 0.006, 0.011, 0.13


@dataclass(frozen=True)
class Rate:
    """Magnitude of a ratio leaf: raw ratio at full score, and its yearly growth towards 2020."""

    full: float
    growth: float


RATES: Mapping[str, Rate] = {  # by numerator; ratio numerator / denominator before the leaf's factor
    "fixed_broadband_subscribers": Rate(1.35, 0.075),
    "mobile_internet_subscribers": Rate(1.60, 0.085),
    "main_industries_value_added": Rate(0.22, 0.035),
}


@dataclass(frozen=True)
class Demo:
    """Everything the demo pages print.

    Attributes:
        framework: index the inputs are calibrated for.
        years: data years, ascending.
        cities: region_code, name_zh, name_en, short_name_zh, province_zh, kind, valid_from, rank, score (as published,
            null for units outside the ranking), target (points that the inputs were solved for), scale (as published);
            best first.
        values: region_code, year, variable, value: printed numbers in canonical units (10k_persons, 10k households,
            10k subscribers, 100m_cny, counts, points); GDP also for the year before the first.
        level_one: targets of the level-1 nodes in the base year, (cities, nodes).
        world: draws of all cities, for the sources of other indices about the same cities.
    """

    framework: Framework
    years: tuple[int, ...]
    cities: pl.DataFrame
    values: pl.DataFrame
    level_one: Floats
    world: "World"

    @cached_property
    def by_variable(self) -> dict[str, pl.DataFrame]:
        """Rows of `values` by variable."""
        parts = self.values.partition_by("variable", as_dict=True, include_key=False)
        return {str(key[0]): part for key, part in parts.items()}

    def wide(self, variables: Sequence[str], year: int) -> pl.DataFrame:
        """One row per city in the order of `cities`, one column per variable, for one year.

        Units that did not exist in that year are left out.
        """
        frame = self.cities.filter(pl.col("valid_from") <= year)
        for variable in variables:
            part = self.by_variable[variable].filter(pl.col("year") == year).select("region_code", value="value")
            frame = frame.join(part.rename({"value": variable}), on="region_code", how="left", maintain_order="left")
        return frame


def build(
    regions: int = 242, years: Sequence[int] = range(2015, 2021), seed: int = 0, framework: Framework | None = None
) -> Demo:
    """Synthetic inputs of the best `regions` cities over `years`, calibrated to the published base-year scores.

    More regions than the ranking holds are taken from `regions.csv`, with scores below the ranking's last.

    Args:
        regions: number of cities.
        years: data years, any order.
        seed: of `numpy.random.PCG64`.
        framework: index to calibrate for; the packaged DEI if None.

    Raises:
        DeiError: no region or year, a year outside 1990..2100, or more regions than `regions.csv` has.
    """
    framework = framework or packaged("dei")
    wanted = tuple(sorted(set(years)))
    if not wanted or wanted[0] < 1990 or wanted[-1] > 2100:
        raise DeiError(f"demo: years {list(wanted)}", "give years between 1990 and 2100, such as 2015-2020")
    everyone = _cities(framework.city_list, framework.base_year)
    if not 1 <= regions <= everyone.height:
        raise DeiError(f"demo: {regions} regions", f"give 1 to {everyone.height}; more years make a larger lake")
    world = World(framework, everyone, seed)
    return world.demo(regions, wanted)


# -- cities and targets ------------------------------------------------------------------------------------------------
def _cities(list_id: str, base_year: int) -> pl.DataFrame:
    """Evaluated cities by published rank, then the other units of prefecture level in force, by code."""
    text = {"region_code": pl.String, "parent_code": pl.String}
    every = pl.read_csv(REFERENCE / "regions.csv", schema_overrides=text).filter(pl.col("valid_to").is_null())
    evaluated = pl.read_csv(REFERENCE / "city_lists.csv", schema_overrides=text).filter(pl.col("list_id") == list_id)
    printed = pl.read_csv(REFERENCE / "published" / "published_dei_scores.csv")
    published = printed.select("city", "score", "rank_published")
    scale = pl.read_csv(REFERENCE / "published" / "published_scale.csv").select("city", scale="scale_100m_yuan")
    provinces = every.filter(pl.col("level") == "province").select(parent_code="region_code", province_zh="name_zh")
    direct = pl.col("kind") == "municipality"
    level = direct | pl.col("level").is_in(["prefecture", "county"])
    units = every.filter(level & (pl.col("valid_from") <= base_year)).with_columns(
        parent_code=pl.when(direct).then("region_code").otherwise("parent_code")
    )
    units = units.join(provinces, on="parent_code")
    ranked = published.join(scale, on="city", how="left").join(evaluated.select("region_code", city="note"), on="city")
    ranked = units.join(ranked, on="region_code").sort("rank_published")
    if ranked.height != published.height:
        raise DeiError(f"demo: {ranked.height} of {published.height} ranked cities found", f"see city list {list_id}")
    rest = units.join(ranked, on="region_code", how="anti").sort(pl.col("level") == "county", "region_code")
    behind = pl.int_range(pl.len()).over("score")
    ranked = ranked.with_columns(target=pl.col("score") + TIE_STEP * ((pl.len().over("score") - 1) / 2 - behind))
    rest = rest.with_columns(target=pl.Series(np.linspace(*EXTRA_SCORES, rest.height), dtype=pl.Float64))
    names = ["region_code", "name_zh", "name_en", "short_name_zh", "province_zh", "kind", "valid_from"]
    return pl.concat([ranked, rest], how="diagonal").select(*names, "score", "target", "scale", rank="rank_published")


def logit(points: Floats) -> Floats:
    """ln(s / (100 − s)) of points, kept within ±8."""
    share = np.clip(np.asarray(points) / 100.0, 3e-4, 1 - 3e-4)
    return np.log(share / (1 - share))


def points(z: Floats) -> Floats:
    """100 / (1 + e^−z): the inverse of `logit`."""
    return 100.0 / (1.0 + np.exp(-np.clip(z, -700.0, 700.0)))


def level_one_targets(scores: Floats, weights: Floats, means: Floats, noise: Floats, evaluated: int) -> Floats:
    """Sub-scores in points, (cities, nodes): Σ weights·sub-scores = score exactly, column means as wanted.

    S_ck = σ(a_k + logit(s_c) + e_ck + h_c): h_c meets the city's score (bisection), a_k the mean over the `evaluated`
    first cities (damped Newton steps). `means` are raised by the constant that makes them agree with the mean score.
    """
    means = means + (scores[:evaluated].mean() - weights @ means)
    intercept = logit(means) - logit(np.array([scores[:evaluated].mean()]))
    base = logit(scores)[:, None] + noise
    result = base
    for _ in range(60):
        z = base + intercept
        shift = bisect(partial(_gap, z, weights, scores), scores.size)
        result = points(z + shift[:, None])
        gap = means - result[:evaluated].mean(axis=0)
        if np.abs(gap).max() < 1e-10:
            break
        slope = (result[:evaluated] * (100.0 - result[:evaluated]) / 100.0).mean(axis=0)
        intercept = intercept + gap / slope
    return result


def _gap(z: Floats, weights: Floats, scores: Floats, shift: Floats) -> Floats:
    """Weighted mean of `points(z + shift)` minus the wanted scores, in points."""
    return points(z + shift[:, None]) @ weights - scores


def bisect(function: Callable[[Floats], Floats], n: int, low: float = -30.0, high: float = 30.0) -> Floats:
    """Roots of n functions that rise from below to above zero, solved together."""
    lower, upper = np.full(n, low), np.full(n, high)
    for _ in range(70):
        middle = (lower + upper) / 2
        above = function(middle) > 0
        upper, lower = np.where(above, middle, upper), np.where(above, lower, middle)
    return (lower + upper) / 2


# -- the world: all cities, drawn once ---------------------------------------------------------------------------------
class World:
    """Draws and base-year solution for every city there is; `demo` cuts out what is asked for.

    Attributes:
        framework, cities, seed: as given.
        one: level-1 targets, points, (cities, level-1 nodes).
        offset: leaf minus its level-1 node, in logits, (cities, leaves).
    """

    def __init__(self, framework: Framework, cities: pl.DataFrame, seed: int) -> None:
        self.framework, self.cities, self.seed = framework, cities, seed
        nodes, leaves = framework.nodes, framework.leaves
        self.level_one = nodes.filter(pl.col("level") == 1)
        printed = framework.published["node_means"]
        means = np.array([printed[node] for node in self.level_one["node_id"]], dtype=np.float64)
        rng = self.random("targets")
        n, m = cities.height, leaves.height
        noise = rng.normal(0.0, LEVEL_NOISE, (n, means.size))
        evaluated = int(cities["rank"].is_not_null().sum())
        weights = self.level_one["weight"].to_numpy()
        self.one = level_one_targets(cities["target"].to_numpy(), weights, means, noise, evaluated)
        self.kinds = np.array(leaves["kind"].to_list())
        self.weight = leaves["global_weight"].to_numpy()
        self.parent = np.array([self._level_one_of(leaf) for leaf in framework.leaf_ids])
        spread = np.where(self.kinds == "rubric", RUBRIC_NOISE, INPUT_NOISE)
        self.offset = rng.normal(0.0, 0.3, m) + rng.normal(0.0, 1.0, (n, m)) * spread
        self.column = {leaf: j for j, leaf in enumerate(framework.leaf_ids)}
        self.members = {e: [self.column[x] for x in framework.members_of(e)] for e in framework.derived_ids}
        self._absent_areas(rng)

    def random(self, *what: object) -> np.random.Generator:
        """A generator for one purpose, the same however many cities and years are asked for."""
        key = [self.seed, *(ord(c) for word in what for c in str(word))]
        return np.random.Generator(np.random.PCG64(key))

    def _level_one_of(self, node: str) -> int:
        """Position of the level-1 node above a leaf."""
        parents = dict(self.framework.nodes.select("node_id", "parent_id").iter_rows())
        ones = self.level_one["node_id"].to_list()
        while node not in ones:
            node = parents[node]
        return ones.index(node)

    def _absent_areas(self, rng: np.random.Generator) -> None:
        """Some weak cities have nothing in one area of a node whose evenness looks at completeness."""
        self.absent = np.zeros(self.offset.shape, dtype=bool)
        weak = self.cities["target"].to_numpy() < 42.0
        kinds = dict(self.framework.leaves.select("node_id", "evenness").iter_rows())
        for leaf, members in self.members.items():
            if kinds[leaf] == "mixed":
                chosen = rng.integers(0, len(members), weak.size)
                hit = weak & (rng.random(weak.size) < 0.25)
                self.absent[np.flatnonzero(hit), np.array(members)[chosen[hit]]] = True

    def demo(self, regions: int, years: tuple[int, ...]) -> Demo:
        """The inputs of the first `regions` cities over `years`."""
        base = Base(self, regions)
        parts = [base.year(year) for year in years]
        known = set(years)
        parts += [base.economy(year, ("gdp",)) for year in range(years[0] - 1, years[-1] + 1) if year not in known]
        cities = self.cities.head(regions)
        values = pl.concat(parts).join(cities.select("region_code", "valid_from"), on="region_code")
        values = values.filter(pl.col("valid_from") <= pl.col("year")).drop("valid_from")
        return Demo(self.framework, years, cities, values, self.one[:regions], self)


class Base:
    """The base year solved for one set of cities (thresholds depend on who is in it), and the way to the other years.

    Rubric totals are whole hundredths of a point: (cities, leaves), 0 where a leaf is no rubric.
    """

    def __init__(self, world: World, n: int) -> None:
        self.world, self.n = world, n
        self.framework = world.framework
        leaves = self.framework.leaves
        self.codes = world.cities["region_code"].head(n)
        self.z = logit(world.one[:n])[:, world.parent] + world.offset[:n]
        self.rubric = world.kinds == "rubric"
        self.derived = world.kinds == "evenness"
        terms = self.framework.terms
        full = terms.filter(pl.col("role") == "points").group_by("indicator_id").agg(pl.col("max_points").sum())
        most = dict(full.iter_rows())
        self.full = np.array([round(CENTS * most.get(leaf, 0.0)) for leaf in self.framework.leaf_ids], dtype=np.int64)
        self.terms = {str(k[0]): part for k, part in terms.partition_by("indicator_id", as_dict=True).items()}
        self.rules = {row["node_id"]: row for row in leaves.iter_rows(named=True)}
        self._draw_economy()
        self.base_inputs = self._inputs(self.framework.base_year)

    @cached_property
    def fixed(self) -> Floats:
        """Base-year points of the ratio and count leaves, NaN for the others, (cities, leaves)."""
        return self._fixed_scores(self.base_inputs)

    @cached_property
    def cents(self) -> Ints:
        """Base-year rubric totals in hundredths with which every composite meets its target, (cities, leaves)."""
        return self._solve()

    # raw inputs
    def _draw_economy(self) -> None:
        """Size of every city, from the published scale or, without one, from its score."""
        world, n = self.world, self.n
        rng, total = world.random("economy"), world.cities.height
        noise = rng.normal(0.0, 1.0, (total, 5))[:n]
        score = world.cities["target"].to_numpy()[:n]
        scale = world.cities["scale"].to_numpy().astype(np.float64)[:n]
        scale = np.where(np.isnan(scale), 40.0 + 8.0 * np.maximum(score - 20.0, 0.0), scale)
        self.gdp = scale / GDP_PER_SCALE * np.exp(0.08 * noise[:, 0])
        per_person = (3.6 + 9.0 * np.clip((score - 35.0) / 57.0, 0.0, 1.0)) * np.exp(0.14 * noise[:, 1])
        self.people = self.gdp / per_person
        self.households = self.people / np.clip(2.62 + 0.18 * noise[:, 2], 2.0, 3.3)
        self.pace = 1.0 + 0.12 * np.clip(noise[:, 3], -2.0, 2.0)
        self.trend = 1.0 + 0.25 * np.clip(noise[:, 4], -2.0, 2.0)

    def _growth(self, year: int) -> Floats:
        """ln(GDP of `year` / GDP of the base year) per city: growth of every year between, each with its own noise."""
        base = self.framework.base_year
        lo, hi = min(year, base), max(year, base)
        steps = []
        for y in range(lo + 1, hi + 1):
            mean = GDP_GROWTH_LAST if y == base else GDP_GROWTH
            noise = self.world.random("growth", y).normal(0.0, 0.008, self.world.cities.height)[: self.n]
            steps.append(mean * self.pace + noise)
        total = np.sum(steps, axis=0) if steps else np.zeros(self.n)
        return np.asarray(total if year > base else -total, dtype=np.float64)

    def sizes(self, year: int) -> dict[str, Floats]:
        """GDP (亿元), people (万人) and households (万户) as printed."""
        ahead = year - self.framework.base_year
        return {
            "gdp": np.round(self.gdp * np.exp(self._growth(year)), 2),
            "resident_population": np.round(self.people * np.exp(POPULATION_GROWTH * self.pace * ahead), 2),
            "resident_households": np.round(self.households * np.exp(HOUSEHOLD_GROWTH * self.pace * ahead), 2),
        }

    def _inputs(self, year: int) -> dict[str, Floats]:
        """Every variable but the rubric points, as printed in `year`: what ratios and counts are made of."""
        values = self.sizes(year)
        ahead = year - self.framework.base_year
        for j, leaf in enumerate(self.framework.leaf_ids):
            if not (self.rubric[j] or self.derived[j]):
                values |= self._leaf_inputs(j, leaf, ahead, values)
        return values

    def _leaf_inputs(self, j: int, leaf: str, ahead: int, values: Mapping[str, Floats]) -> dict[str, Floats]:
        """Inputs of one ratio or count leaf."""
        level = points(self.z[:, j])
        variables = dict(self.terms[leaf].select("role", "variable").iter_rows())
        if self.rules[leaf]["kind"] == "ratio":
            rate = RATES[variables["numerator"]]
            ratio = rate.full * level / 100.0 * np.exp(rate.growth * self.trend * ahead)
            return {variables["numerator"]: np.round(ratio * values[variables["denominator"]], 2)}
        n_star = self.rules[leaf]["n_star"]
        count = np.expm1(np.log1p(n_star) * level / 100.0) * np.where(level > 93.0, 1.0 + (level - 93.0) / 4.0, 1.0)
        count = count * np.exp(COUNT_GROWTH * self.trend * ahead)
        terms = self.terms[leaf].sort("factor", descending=True).select("variable", "factor").rows()
        found = {}
        for k, (variable, factor) in enumerate(terms):
            last = k == len(terms) - 1
            part = np.round(count / factor) if last else np.floor(count * 0.34 / factor)
            found[variable] = part.astype(np.float64)
            count = np.maximum(count - part * factor, 0.0)
        return found

    # scores by the pipeline's own methods
    def raw(self, leaf: str, values: Mapping[str, Floats]) -> Floats:
        """Raw value of a ratio or count leaf in its unit."""
        terms, rule = self.terms[leaf], self.rules[leaf]
        sums = {
            role: sum(f * values[v] for v, f in part.select("variable", "factor").iter_rows())
            for (role,), part in terms.partition_by("role", as_dict=True).items()
        }
        raw = sums["numerator"] / sums["denominator"] if rule["kind"] == "ratio" else sums["count"]
        return np.asarray(rule["factor"] * raw, dtype=np.float64)

    def _fixed_scores(self, values: Mapping[str, Floats]) -> Floats:
        """Points of the ratio and count leaves, NaN for the others, (cities, leaves)."""
        scores = np.full(self.z.shape, np.nan)
        for j, leaf in enumerate(self.framework.leaf_ids):
            if self.rubric[j] or self.derived[j]:
                continue
            raw, rule = self.raw(leaf, values), self.rules[leaf]
            if rule["rule"] == "saturation":
                scores[:, j] = normalise.saturation(raw, rule["n_star"])
            else:
                theta = treat.winsorised_max(raw).theta
                scores[:, j] = normalise.threshold(raw, theta, rule["direction"], cap=rule["cap"])
        return scores

    def scores(self, cents: Ints | Floats) -> Floats:
        """Base-year points of every leaf from rubric totals in hundredths, (cities, leaves)."""
        scores = np.where(self.rubric, 100.0 * cents / np.maximum(self.full, 1), self.fixed)
        for leaf, members in self.world.members.items():
            scores[:, self.world.column[leaf]] = tiers.evenness(scores[:, members], self.rules[leaf]["evenness"])
        return scores

    # calibration
    def _totals(self, shift: Floats) -> Floats:
        """Unrounded rubric totals when every rubric leaf moves by `shift` logits, (cities, leaves)."""
        totals = points(self.z + shift) / 100.0 * self.full
        return np.where(self.rubric & ~self.world.absent[: self.n], totals, 0.0)

    def _solve(self) -> Ints:
        """Rubric totals in hundredths with which each city's composite meets its target.

        Within each level-1 node the rubric leaves move together until the node meets its target, evenness of the areas
        included; what rounding leaves over goes to rubric leaves that no evenness looks at, heaviest first.
        """
        world = self.world
        weights = world.level_one["weight"].to_numpy()
        shift = np.zeros(self.z.shape)
        for k, node_weight in enumerate(weights):
            here = world.parent == k

            def gap(h: Floats, k: int = k, here: NDArray[np.bool_] = here, node_weight: float = node_weight) -> Floats:
                scores = self.scores(self._totals(np.where(here, h[:, None], 0.0)))
                return scores[:, here] @ world.weight[here] / node_weight - world.one[: self.n, k]

            shift[:, here] = bisect(gap, self.n)[:, None]
        cents = np.round(self._totals(shift)).astype(np.int64)
        target = world.cities["target"].to_numpy()[: self.n]
        tied = {j for members in world.members.values() for j in members}
        free = [j for j in np.argsort(-world.weight) if self.rubric[j] and j not in tied]
        for _ in range(3):
            for j in free:
                left = target - self.scores(cents) @ world.weight
                step = world.weight[j] * 100.0 / self.full[j]
                cents[:, j] = np.clip(cents[:, j] + np.round(left / step).astype(np.int64), 0, self.full[j])
        return cents

    # years
    def economy(self, year: int, variables: Sequence[str]) -> pl.DataFrame:
        """Rows of `Demo.values` for some variables of the size of a city."""
        values = self.sizes(year)
        return self._long(year, {v: values[v] for v in variables})

    def year(self, year: int) -> pl.DataFrame:
        """Rows of `Demo.values` for one year."""
        base = year == self.framework.base_year
        inputs = self.base_inputs if base else self._inputs(year)
        return self._long(year, inputs | self._checkpoints(self.cents if base else self._cents(year)))

    def _cents(self, year: int) -> Ints:
        """Rubric totals of another year: the base year's, moved along the wave in logits."""
        world = self.world
        ahead = year - self.framework.base_year
        total = world.cities.height
        pace = WAVE + WAVE_SPREAD * np.clip(world.random("wave").normal(size=(total, self.full.size)), -2.0, 2.0)
        noise = world.random("year", year).normal(0.0, YEAR_NOISE, (total, self.full.size))
        share = logit(100.0 * self.cents / np.maximum(self.full, 1)) + (pace * ahead + noise)[: self.n]
        return np.where(self.cents > 0, np.round(points(share) / 100.0 * self.full), 0).astype(np.int64)

    def _checkpoints(self, cents: Ints) -> dict[str, Floats]:
        """Points of every checkpoint: a city earns them in an order of its own, the last one met in part."""
        found: dict[str, Floats] = {}
        for j, leaf in enumerate(self.framework.leaf_ids):
            if not self.rubric[j]:
                continue
            part = self.terms[leaf]
            most = np.round(CENTS * part["max_points"].to_numpy()).astype(np.int64)
            draws = self.world.random("order", leaf).random((self.world.cities.height, most.size))[: self.n]
            left = cents[:, j].copy()
            earned = np.zeros((self.n, most.size), dtype=np.int64)
            rows = np.arange(self.n)
            for place in np.argsort(draws, axis=1).T:
                take = np.minimum(left, most[place])
                earned[rows, place] = take
                left = left - take
            found |= {v: earned[:, k] / CENTS for k, v in enumerate(part["variable"])}
        return found

    def _long(self, year: int, columns: Mapping[str, Floats]) -> pl.DataFrame:
        """Arrays by variable as rows region_code, year, variable, value."""
        return pl.concat(
            pl.DataFrame({"region_code": self.codes, "value": v}).select(
                "region_code",
                pl.lit(year, dtype=pl.Int32).alias("year"),
                pl.lit(name).alias("variable"),
                pl.col("value").cast(pl.Float64),
            )
            for name, v in columns.items()
        )
