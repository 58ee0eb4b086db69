"""The statistical normalisation rules: which there are, their parameters, and one formula for all linear ones.

The machinery behind `normalise`, whose functions are what others call. Columns of a matrix are indicators; signs are +1
for positive and −1 for negative columns; every parameter is an array with one number per column.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dei_pipeline.errors import MethodError
from dei_pipeline.methods import statistics

Floats = NDArray[np.float64]
Directions = str | Sequence[str]


@dataclass(frozen=True)
class Rule:
    """A statistical rule as `normalise.fit` and `normalise.score` know it.

    Attributes:
        parameters: numbers that `fit` returns and `score` needs, in the unit of the indicator.
        given: those of them that the caller gives to `fit`; the others come from the data.
        options: settings of `score` with their defaults; a cap is the largest score or None.
        linear: whether the score of a positive indicator is a straight line in the raw value.
    """

    parameters: tuple[str, ...] = ()
    given: tuple[str, ...] = ()
    options: Mapping[str, float | bool | None] = field(default_factory=dict)
    linear: bool = True


_SCALE: Mapping[str, float | bool | None] = {"scale": 100.0, "cap": None}
RULES: Mapping[str, Rule] = {
    "min_max": Rule(("lo", "hi"), (), {"to_lo": 0.0, "to_hi": 100.0, "cap": None}),
    "z_score": Rule(("mean", "sd"), (), {"to_mean": 0.0, "to_sd": 1.0, "cap": None}),
    "scaled": Rule(("lo", "hi"), ("lo", "hi"), _SCALE),
    "goalposts": Rule(("lo", "hi"), ("lo", "hi"), {**_SCALE, "truncate": True}),
    "distance_to_target": Rule(("worst", "target"), ("target",), _SCALE),
    "distance_to_maximum": Rule(("worst", "best"), (), _SCALE),
    "distance_to_reference": Rule(("worst", "reference"), ("reference",), _SCALE),
    "fraction_of_maximum": Rule(("best",), (), _SCALE),
    "rank": Rule(linear=False),
    "percentile_rank": Rule(options={"scale": 100.0}, linear=False),
    "borda": Rule(linear=False),
}
_ESTIMATES: Mapping[str, Callable[[Floats, Floats], Floats]] = {
    "lo": lambda x, sign: np.nanmin(x, axis=0),
    "hi": lambda x, sign: np.nanmax(x, axis=0),
    "mean": lambda x, sign: statistics.mean_and_sd(x)[0],
    "sd": lambda x, sign: statistics.mean_and_sd(x)[1],
    "worst": lambda x, sign: np.where(sign > 0, np.nanmin(x, axis=0), np.nanmax(x, axis=0)),
    "best": lambda x, sign: np.where(sign > 0, np.nanmax(x, axis=0), np.nanmin(x, axis=0)),
}
_CONSTANT = ("is constant", "leave it out: it tells no units apart")


def rule_of(name: str) -> Rule:
    """The rule of a name.

    Raises:
        MethodError: no such rule.
    """
    if name not in RULES:
        raise MethodError(f"normalisation: unknown rule {name!r}", f"use one of {', '.join(RULES)}")
    return RULES[name]


def signs(rule: str, direction: Directions, columns: int) -> Floats:
    """+1 for positive and −1 for negative columns, from one direction for all or one per column.

    Raises:
        MethodError: an unknown rule or direction (moderate has a meaning for thresholds only), or another number.
    """
    rule_of(rule)
    words = [direction] * columns if isinstance(direction, str) else list(direction)
    unknown = [word for word in words if word not in ("positive", "negative")]
    if unknown or len(words) != columns:
        wrong = f"direction {unknown[0]!r}" if unknown else f"{len(words)} directions for {columns} columns"
        raise MethodError(f"{rule}: {wrong}", "use positive or negative, one for all or one per column")
    return np.where(np.array(words) == "positive", 1.0, -1.0)


def settings(rule: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """All options of a rule: its defaults, replaced by those given.

    Raises:
        MethodError: an unknown option, one of the wrong kind, to_lo ≥ to_hi, to_sd ≤ 0 or scale ≤ 0.
    """
    defaults = rule_of(rule).options
    for key, value in options.items():
        if key not in defaults:
            raise MethodError(f"{rule}: unknown option {key!r}", f"use {', '.join(defaults) or 'none'}")
        flag = isinstance(value, bool | np.bool_)
        number = isinstance(value, int | float | np.number) and not flag and bool(np.isfinite(value))
        if not (flag if key == "truncate" else number or (key == "cap" and value is None)):
            raise MethodError(f"{rule}: option {key} is {value!r}", "give a number, or true or false for truncate")
    known = {**defaults, **options}
    if min(known.get("to_hi", 1) - known.get("to_lo", 0), known.get("to_sd", 1), known.get("scale", 1)) <= 0:
        raise MethodError(f"{rule}: options {known}", "give to_lo < to_hi, to_sd > 0, scale > 0")
    return known


def _stop(rule: str, bad: ArrayLike, labels: Sequence[str], what: str, fix: str) -> None:
    """An error that names the first bad column."""
    if np.any(bad):
        raise MethodError(f"{rule}: {labels[int(np.argmax(bad))]} {what}", fix)


def fitted(
    rule: str, x: Floats, sign: Floats, given: Mapping[str, ArrayLike], labels: Sequence[str]
) -> dict[str, Floats]:
    """Parameters of every column: given, or computed from the data.

    Raises:
        MethodError: parameters come from a column that is constant or without value (the fraction of a constant
            maximum is defined); a parameter is given that is not to be; as `checked`.
    """
    spec = rule_of(rule)
    estimated = [key for key in spec.parameters if key not in spec.given]
    if estimated:
        _stop(rule, np.isnan(x).all(axis=0), labels, "has no value", "leave it out, or give it data")
        if rule != "fraction_of_maximum":
            _stop(rule, statistics.constant(x), labels, *_CONSTANT)
    surplus = [key for key in given if key not in spec.given]
    if surplus:
        raise MethodError(f"{rule}: takes no {surplus[0]}", f"give {', '.join(spec.given) or 'nothing'}")
    return checked(rule, sign, {key: _ESTIMATES[key](x, sign) for key in estimated} | dict(given), labels)


def checked(rule: str, sign: Floats, parameters: Mapping[str, ArrayLike], labels: Sequence[str]) -> dict[str, Floats]:
    """All parameters of a rule as finite floats, one per column.

    Raises:
        MethodError: one is missing, not finite or unknown; lo ≥ hi, sd ≤ 0, a target, reference or best value that is
            not better than the worst, a fraction of a best value ≤ 0.
    """
    spec = rule_of(rule)
    unknown = [key for key in parameters if key not in spec.parameters]
    if unknown:
        raise MethodError(f"{rule}: unknown parameter {unknown[0]!r}", f"use {', '.join(spec.parameters) or 'none'}")
    numbers = {}
    for key in spec.parameters:
        values = np.asarray(parameters.get(key, np.nan), dtype=np.float64)
        if values.shape not in ((), sign.shape):
            raise MethodError(f"{rule}: {values.size} values of {key} for {sign.size} columns", "give one per column")
        numbers[key] = np.broadcast_to(values, sign.shape)
        _stop(rule, ~np.isfinite(numbers[key]), labels, f"lacks a finite {key}", f"give {key}, or fit it")
    if spec.linear:
        with np.errstate(over="ignore"):
            unit = line(rule, sign, numbers, spec.options)[1]
        _stop(rule, np.isinf(unit), labels, "leaves the float range", "use a larger unit")
        want = " and ".join(spec.parameters)
        order = {
            "lo and hi": "give lo < hi, whatever the direction",
            "mean and sd": "give sd > 0",
            "best": "use min_max: a fraction needs a best value above 0",
        }.get(want, f"give a {spec.parameters[-1]} that is better than the worst value")
        side = np.ones_like(sign) if rule == "fraction_of_maximum" else sign
        _stop(rule, ~(side * unit > 0), labels, f"has {want} out of order", order)
    return numbers


def line(
    rule: str, sign: Floats, parameters: Mapping[str, Floats], options: Mapping[str, Any]
) -> tuple[Floats, Floats, float, float]:
    """(origin, unit, gain, offset) of a linear rule: score = (x − origin)/unit·gain + offset, unit < 0 if negative."""
    scale = options.get("scale", 1.0)
    match tuple(parameters):
        case ("mean", "sd"):
            return parameters["mean"], sign * parameters["sd"], options["to_sd"], options["to_mean"]
        case ("best",):
            return np.zeros_like(sign), parameters["best"], scale, 0.0
        case ("lo", "hi"):
            lo, hi = parameters["lo"], parameters["hi"]
            to_lo = options.get("to_lo", 0.0)
            return np.where(sign > 0, lo, hi), sign * (hi - lo), options.get("to_hi", scale) - to_lo, to_lo
        case _:
            aim = parameters[RULES[rule].parameters[-1]]
            return parameters["worst"], aim - parameters["worst"], scale, 0.0


def scored(
    rule: str,
    x: Floats,
    sign: Floats,
    parameters: Mapping[str, Floats],
    options: Mapping[str, Any],
    labels: Sequence[str],
) -> Floats:
    """Scores of every column with checked parameters and options.

    Raises:
        MethodError: ranks of a constant column; the fraction of a negative indicator with a value ≤ 0; a score beyond
            the float range.
    """
    if not RULES[rule].linear:
        return _ranks(rule, x, sign, options, labels)
    origin, unit, gain, offset = line(rule, sign, parameters, options)
    with np.errstate(over="ignore"):
        share = (x - origin) / unit
        if rule == "fraction_of_maximum":
            hopeless = (x <= 0) & (sign < 0)
            _stop(
                rule, hopeless.any(axis=0), labels, "is negative and has a value ≤ 0", "use min_max: min/x fails at 0"
            )
            share = np.where(sign < 0, unit / np.where(sign < 0, x, 1.0), share)
        scores = (np.clip(share, 0.0, 1.0) if options.get("truncate") else share) * gain + offset
    _stop(rule, np.isinf(scores).any(axis=0), labels, "has a score beyond the float range", "use a larger unit")
    return scores if options["cap"] is None else np.minimum(scores, options["cap"])


def _ranks(rule: str, x: Floats, sign: Floats, options: Mapping[str, Any], labels: Sequence[str]) -> Floats:
    """Competition ranks from the worst value = 1 (ties get the lowest), or percentile ranks or Borda scores."""
    n = (~np.isnan(x)).sum(axis=0)
    _stop(rule, statistics.constant(x) & (n > 0), labels, *_CONSTANT)
    order = np.argsort(sign * x, axis=0, kind="stable")
    below = np.empty(x.shape)
    starts = statistics.run_starts(np.take_along_axis(sign * x, order, axis=0))
    np.put_along_axis(below, order, starts.astype(np.float64), axis=0)
    below[np.isnan(x)] = np.nan
    if rule == "percentile_rank":
        return below / np.maximum(n - 1, 1) * options["scale"]
    return below + 1.0 if rule == "rank" else below
