"""Choices of method that a framework file makes in its `meta` block, each with its default and its limits.

Every choice is one frozen value; an index is replayed with one of them changed by replacing it (`changed`).
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from dei_pipeline.errors import ReferenceFileError
from dei_pipeline.methods.normalise_rules import RULES

MEANS = ("arithmetic", "geometric", "harmonic", "generalised", "copeland")
SCHEMES = ("ahp_upper_entropy_leaf", "entropy_all", "multiplicative", "linear", "min_relative_entropy")
GROUP_METHODS = ("equal", "ahp", "entropy", "critic", "pca")
IMPUTERS = (
    "mean",
    "median",
    "group_mean",
    "group_median",
    "latest",
    "constant",
    "linear",
    "linear_constant",
    "knn",
    "regression",
)
GROUPS = ("province_code", "zone_id", "north_south")
SPANS = ("base_year", "panel", "year")
TRANSFORMS = ("none", "log_CT", "log_CT_plus", "log_CT_orig", "log_GII", "boxcox")


@dataclass(frozen=True)
class Screening:
    """Which regions are evaluated: those with enough leaves [OECD/JRC Handbook step 2].

    Attributes:
        min_available: least share of leaves with a value.
        min_nonzero: least share of the available values that are not 0; None: zeros do not matter.
        keep, drop: region codes that are in or out whatever their data.
    """

    min_available: float = 0.9
    min_nonzero: float | None = None
    keep: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()


@dataclass(frozen=True)
class Imputation:
    """How missing leaf values are filled before treatment [methodology §3.9].

    Attributes:
        method: one of `IMPUTERS`.
        group: column of mart/regions that groups the donors (group_mean, group_median).
        neighbours: donors of knn.
        max_years: how far back `latest` looks.
    """

    method: str = "median"
    group: str = "province_code"
    neighbours: int = 5
    max_years: int = 5


@dataclass(frozen=True)
class Treatment:
    """When and how outlying leaf values are pulled in before normalisation [methodology §3.9].

    Attributes:
        skew, kurtosis: a leaf is outlying while its |skew| and its excess kurtosis are both above.
        max_points: most points to winsorise, over all years of the span.
        then: transform of the raw values where winsorisation does not suffice, or `none`.
        over: `panel` (all years at once: values stay comparable over time) or `year`.
        only: leaves to treat; all if empty.
    """

    skew: float = 2.0
    kurtosis: float = 3.5
    max_points: int = 5
    then: str = "log_CT"
    over: str = "panel"
    only: tuple[str, ...] = ()


@dataclass(frozen=True)
class Weighting:
    """How weights that the file does not give are computed [methodology §3.2–3.4].

    Attributes:
        scheme: one of `SCHEMES`; a node's own key `weighting` wins for its children.
        lam: share of AHP in scheme `linear`.
        max_weight: largest entropy weight within a group; None: unbounded.
    """

    scheme: str = "ahp_upper_entropy_leaf"
    lam: float = 0.5
    max_weight: float | None = None


@dataclass(frozen=True)
class Robustness:
    """What the Monte Carlo varies [methodology §3.25].

    Attributes:
        replications, seed: number of replications and seed of `numpy.random.PCG64`.
        weights: half width of the uniform factor on every weight, renormalised within siblings.
        normalisation, aggregation, imputation: alternatives, equally likely; the index's own is always among them.
        threshold: half width of the uniform factor on thresholds.
        input_error: relative standard deviation of the leaf scores.
        top: numbers k whose top-k probability is published.
        sobol: rows of the Sobol' design, a power of two; the index is computed sobol · (factors + 2) times.
    """

    replications: int = 1000
    seed: int = 0
    weights: float = 0.25
    normalisation: tuple[str, ...] = ("min_max", "z_score", "rank")
    aggregation: tuple[str, ...] = ("geometric",)
    imputation: tuple[str, ...] = ()
    threshold: float = 0.1
    input_error: float = 0.0
    top: tuple[int, ...] = (3, 10)
    sobol: int = 128


@dataclass(frozen=True)
class Leaders:
    """How many cities the tables of leaders show: of the composite, and of each dimension."""

    composite: int = 15
    dimensions: int = 5


@dataclass(frozen=True)
class Choices:
    """Every choice of an index; None: the step is not taken."""

    screening: Screening | None = None
    imputation: Imputation | None = None
    treatment: Treatment | None = None
    weighting: Weighting = field(default_factory=Weighting)
    robustness: Robustness | None = field(default_factory=Robustness)
    leaders: Leaders = field(default_factory=Leaders)


BLOCKS: Mapping[str, type] = {
    "screening": Screening,
    "imputation": Imputation,
    "treatment": Treatment,
    "weighting": Weighting,
    "robustness": Robustness,
    "leaders": Leaders,
}
_WORDS: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("imputation", "method"): IMPUTERS,
    ("imputation", "group"): GROUPS,
    ("treatment", "then"): TRANSFORMS,
    ("treatment", "over"): SPANS[1:],
    ("weighting", "scheme"): SCHEMES,
    ("robustness", "aggregation"): tuple(mean for mean in MEANS if mean != "generalised"),
    ("robustness", "imputation"): IMPUTERS[:2],
    ("robustness", "normalisation"): tuple(rule for rule, spec in RULES.items() if not spec.given),
}
_LIMITS: Mapping[tuple[str, str], tuple[float, float]] = {
    ("screening", "min_available"): (0, 1),
    ("screening", "min_nonzero"): (0, 1),
    ("weighting", "lam"): (0, 1),
    ("weighting", "max_weight"): (0, 1),
    ("robustness", "weights"): (0, 0.999),
    ("robustness", "threshold"): (0, 0.999),
    ("robustness", "replications"): (1, 1_000_000),
    ("robustness", "top"): (1, 10_000),
    ("leaders", "composite"): (1, 10_000),
    ("leaders", "dimensions"): (1, 10_000),
    ("treatment", "max_points"): (0, 10_000),
    ("imputation", "neighbours"): (1, 10_000),
    ("imputation", "max_years"): (1, 200),
}
SCORING = ("screening", "imputation", "treatment", "weighting")  # blocks that move a score
ALWAYS = ("weighting", "leaders")  # blocks that cannot be switched off
NONE = "none"  # in text: the step is not taken, or there is no limit
_KINDS: Mapping[str, Callable[[Any], Any]] = {"int": int, "float": float, "str": str, "tuple[int, ...]": int}


def read_choices(name: str, meta: Mapping[str, Any]) -> Choices:
    """The choices of a framework file; a block that is absent has the defaults, `robustness: null` switches it off.

    Args:
        name: the file, as errors show it.
        meta: its block `meta`.

    Raises:
        ReferenceFileError: an unknown key or word, a number out of its limits; names block, key and what is allowed.
    """
    found: dict[str, Any] = {}
    for key, kind in BLOCKS.items():
        if key in meta:
            found[key] = None if meta[key] is None else _block(f"{name}, meta", key, meta[key], kind)
    if any(found.get(key, key) is None for key in ALWAYS):
        raise ReferenceFileError(f"{name}, meta: weighting and leaders are blocks", "leave the key out for the default")
    return Choices(**found)


def settings() -> tuple[str, ...]:
    """Names of the choices that move a score, as `changed` takes them: `imputation` (to switch off), its keys, …"""
    off = [block for block in SCORING if block not in ALWAYS]
    return (*off, *(f"{block}.{key.name}" for block in SCORING for key in fields(BLOCKS[block])))


def from_text(setting: str, text: str) -> Any:
    """The value of a choice written as text: a word or number, `a,b` for a list, `none` for no step or no limit.

    Args:
        setting: as in `changed`.
        text: the value; what has the wrong type stays text, which `changed` rejects with what is allowed.

    Raises:
        ReferenceFileError: there is no such choice.
    """
    block, _, name = setting.partition(".")
    kind = _type_name(_keys(block)[name].type) if name in _keys(block) else "" if name else "| None"
    if text == NONE and kind.endswith("| None"):
        return None
    if kind.startswith("tuple"):
        return [_number(part, kind) for part in text.split(",")]
    return _number(text, kind)


def _number(text: str, kind: str) -> Any:
    """Text as a number if the type is one and the text is, else the text."""
    if "int" not in kind and "float" not in kind:
        return text
    try:
        return float(text)
    except ValueError:
        return text


def _keys(block: str) -> Mapping[str, Any]:
    """Fields of a block by name.

    Raises:
        ReferenceFileError: there is no such block.
    """
    if block not in BLOCKS:
        raise ReferenceFileError(f"choice «{block}» is unknown", f"blocks: {', '.join(BLOCKS)}")
    return {f.name: f for f in fields(BLOCKS[block])}


def changed(choices: Choices, setting: str, value: Any) -> Choices:
    """The choices with one of them changed: `weighting.scheme`, `treatment.over` … ; a block alone with None: no step.

    A step that was not taken is taken with its defaults once one of its keys is set.

    Raises:
        ReferenceFileError: there is no such choice, or the value is not allowed.
    """
    block, _, key = setting.partition(".")
    known = _keys(block)
    if not key:
        if value is not None or block in ALWAYS:
            fix = f"set {', '.join(f'{block}.{name}' for name in known)}" + ("" if block in ALWAYS else ", or none")
            raise ReferenceFileError(f"choice {block} is a block, not {value!r}", fix)
        off: dict[str, Any] = {block: None}
        return replace(choices, **off)
    now = getattr(choices, block)
    said = {name: getattr(now, name) for name in known} if now is not None else {}
    said = {k: list(v) if isinstance(v, tuple) else v for k, v in said.items()} | {key: value}
    return replace(choices, **{block: _block("choice", block, said, BLOCKS[block])})


def _block(place: str, key: str, said: Any, kind: type) -> Any:
    """One block, each key checked; `place` is where it stands, as errors show it."""
    known = {f.name: f for f in fields(kind)}
    if not isinstance(said, Mapping):
        raise ReferenceFileError(
            f"{place}: {key} is {said!r}", f"give a block with {', '.join(known)}, or leave it out"
        )
    for word in said:
        if word not in known:
            raise ReferenceFileError(f"{place}, {key}: unknown key {word}", f"known: {', '.join(known)}")
    return kind(**{word: _value(place, key, word, value, _type_name(known[word].type)) for word, value in said.items()})


def _type_name(kind: Any) -> str:
    """A field's type in words, as `float | None`."""
    return kind.__name__ if isinstance(kind, type) else str(kind)


def _value(place: str, block: str, key: str, value: Any, kind: str) -> Any:
    """One value of a block in its type."""
    where = f"{place}, {block}: {key}"
    if value is None and kind.endswith("| None"):
        return None
    if kind.startswith("tuple"):
        if not isinstance(value, list | tuple):
            raise ReferenceFileError(f"{where} is {value!r}", "give a list")
        return tuple(_single(where, (block, key), item, _KINDS.get(kind, str)) for item in value)
    return _single(where, (block, key), value, _KINDS[kind.removesuffix(" | None")])


def _single(where: str, at: tuple[str, str], value: Any, kind: Callable[[Any], Any]) -> Any:
    """One word or number within its limits."""
    if kind is str:
        if at in _WORDS and value not in _WORDS[at]:
            raise ReferenceFileError(f"{where}: unknown {value!r}", f"use one of {', '.join(_WORDS[at])}")
        return str(value)
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not math.isfinite(value)
        or value != kind(value)
    ):
        raise ReferenceFileError(f"{where} is {value!r}", "give a number" if kind is float else "give a whole number")
    low, high = _LIMITS.get(at, (0, math.inf))
    if not low <= value <= high:
        raise ReferenceFileError(f"{where} is {value}", f"give a number from {low:g} to {high:g}")
    return kind(value)
