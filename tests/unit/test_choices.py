"""Choices of method in a file's meta block: defaults, limits, one clear error each; and changing one of them."""

from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dei_pipeline.errors import ReferenceFileError
from dei_pipeline.methods import imputers, treat
from dei_pipeline.methods.choices import (
    BLOCKS,
    GROUP_METHODS,
    IMPUTERS,
    SCHEMES,
    TRANSFORMS,
    Choices,
    Imputation,
    Leaders,
    Robustness,
    Screening,
    Treatment,
    Weighting,
    changed,
    from_text,
    read_choices,
    settings,
)
from dei_pipeline.methods.weights import SCHEMES as COMPUTED_SCHEMES
from tests.unit.own_steps import OWN, chosen, words


def read(**meta):
    return read_choices("methodology/ix.yaml", meta)


# -- reading -----------------------------------------------------------------------------------------------------------
def test_a_file_that_says_nothing_takes_no_step_and_has_the_defaults():
    assert read() == Choices()
    assert (Choices().screening, Choices().imputation, Choices().treatment) == (None, None, None)
    assert (Choices().weighting, Choices().robustness, Choices().leaders) == (Weighting(), Robustness(), Leaders())


@pytest.mark.parametrize("block", BLOCKS)
def test_an_empty_block_has_its_defaults(block):
    assert getattr(read(**{block: {}}), block) == BLOCKS[block]()


@pytest.mark.parametrize("block", ["screening", "imputation", "treatment", "robustness"])
def test_a_block_that_is_null_switches_its_step_off(block):
    assert getattr(read(**{block: None}), block) is None


def test_values_are_read_in_their_type():
    found = read(
        screening={"min_available": 1, "min_nonzero": None, "keep": ["110000"], "drop": []},
        imputation={"method": "knn", "neighbours": 3.0},
        treatment={"skew": 1, "max_points": 0, "then": "none", "only": ["a", "b"]},
        weighting={"max_weight": 0.5},
        robustness={"top": [1, 5], "aggregation": [], "normalisation": ["rank"]},
    )
    assert found.screening == Screening(1.0, None, ("110000",), ())
    assert found.imputation == Imputation("knn", neighbours=3)
    assert isinstance(found.imputation.neighbours, int)
    assert found.treatment == Treatment(1.0, 3.5, 0, "none", "panel", ("a", "b"))
    assert found.weighting == Weighting(max_weight=0.5)
    assert found.robustness == Robustness(top=(1, 5), aggregation=(), normalisation=("rank",))


WRONG = {
    "an unknown key": ({"screening": {"min_avail": 1}}, "meta, screening: unknown key min_avail; known: min_"),
    "a block that is a word": ({"treatment": "hard"}, "meta: treatment is 'hard'; give a block with skew, "),
    "a block that is a list": ({"imputation": []}, "meta: imputation is []; give a block with method, "),
    "no weighting": ({"weighting": None}, "meta: weighting and leaders are blocks; leave the key out"),
    "no leaders": ({"leaders": None}, "meta: weighting and leaders are blocks; leave the key out"),
    "an unknown imputer": ({"imputation": {"method": "mode"}}, "imputation: method: unknown 'mode'; use one of mean, "),
    "an unknown group": ({"imputation": {"group": "tier"}}, "imputation: group: unknown 'tier'; use one of province_"),
    "an unknown transform": ({"treatment": {"then": "sqrt"}}, "treatment: then: unknown 'sqrt'; use one of none, "),
    "a span of one base year": ({"treatment": {"over": "base_year"}}, "over: unknown 'base_year'; use one of panel"),
    "an unknown scheme": ({"weighting": {"scheme": "ahp"}}, "weighting: scheme: unknown 'ahp'; use one of ahp_upper_"),
    "a mean that needs a power": (
        {"robustness": {"aggregation": ["generalised"]}}, "robustness: aggregation: unknown 'generalised'; use one of ",
    ),
    "a rule that needs numbers": (
        {"robustness": {"normalisation": ["goalposts"]}}, "robustness: normalisation: unknown 'goalposts'; use one of ",
    ),
    "an imputer of the simulation": (
        {"robustness": {"imputation": ["knn"]}}, "robustness: imputation: unknown 'knn'; use one of mean, median",
    ),
    "a share above 1": ({"screening": {"min_available": 1.1}}, "min_available is 1.1; give a number from 0 to 1"),
    "a negative share": ({"weighting": {"lam": -0.1}}, "weighting: lam is -0.1; give a number from 0 to 1"),
    "a half width of 1": ({"robustness": {"weights": 1}}, "weights is 1; give a number from 0 to 0.999"),
    "no neighbours": ({"imputation": {"neighbours": 0}}, "neighbours is 0; give a number from 1 to 10000"),
    "half a point": ({"treatment": {"max_points": 2.5}}, "max_points is 2.5; give a whole number"),
    "a number that is text": ({"treatment": {"skew": "two"}}, "skew is 'two'; give a number"),
    "a number that is yes": ({"treatment": {"skew": True}}, "skew is True; give a number"),
    "NaN": ({"treatment": {"skew": float("nan")}}, "skew is nan; give a number"),
    "infinity": ({"treatment": {"kurtosis": float("inf")}}, "kurtosis is inf; give a number"),
    "no top": ({"robustness": {"top": [0]}}, "robustness: top is 0; give a number from 1 to 10000"),
    "a list that is a word": ({"screening": {"keep": "110000"}}, "screening: keep is '110000'; give a list"),
    "null where a number is needed": ({"treatment": {"skew": None}}, "treatment: skew is None; give a number"),
}  # fmt: skip


@pytest.mark.parametrize(("meta", "said"), WRONG.values(), ids=WRONG)
def test_a_wrong_choice_is_one_error_that_names_block_key_and_what_is_allowed(meta, said):
    with pytest.raises(ReferenceFileError, match=words(said)) as caught:
        read(**meta)
    assert str(caught.value).startswith("methodology/ix.yaml, meta")
    assert "\n" not in str(caught.value)


# -- the words are those of the methods --------------------------------------------------------------------------------
def test_every_word_is_a_method_and_every_method_of_its_kind_a_word():
    assert all(callable(getattr(imputers, method)) for method in IMPUTERS)
    assert set(TRANSFORMS) == {"none", *treat.TRANSFORMS}
    assert set(SCHEMES) == set(COMPUTED_SCHEMES)
    assert set(GROUP_METHODS) == {"equal", "ahp", "entropy", "critic", "pca"}


# -- changing one ------------------------------------------------------------------------------------------------------
def test_one_choice_is_changed_and_the_others_stay():
    for setting, value in {
        "weighting.scheme": "linear",
        "treatment.over": "year",
        "imputation.method": "mean",
        "screening.keep": ["110000"],
        "weighting.max_weight": None,
    }.items():
        block, _, key = setting.partition(".")
        after = changed(OWN.choices, setting, value)
        expected = replace(getattr(OWN.choices, block), **{key: tuple(value) if isinstance(value, list) else value})
        assert getattr(after, block) == expected
        assert replace(after, **{block: getattr(OWN.choices, block)}) == OWN.choices


def test_a_step_that_was_not_taken_is_taken_with_its_defaults():
    after = changed(Choices(), "treatment.over", "year")
    assert after.treatment == Treatment(over="year")
    assert changed(after, "treatment", None) == Choices()


def test_choices_that_cannot_be_changed_are_errors():
    for setting, value, said in (
        ("means", "geometric", "choice «means» is unknown; blocks: screening, imputation, "),
        (
            "weighting",
            None,
            "choice weighting is a block, not None; set weighting.scheme, weighting.lam, weighting.max_",
        ),
        ("treatment", "none", "choice treatment is a block, not 'none'; set treatment.skew, "),
        ("treatment.skew", "much", "choice, treatment: skew is 'much'; give a number"),
        ("treatment.skow", 1, "choice, treatment: unknown key skow; known: skew, "),
    ):
        with pytest.raises(ReferenceFileError, match=words(said)):
            changed(Choices(), setting, value)


def test_a_changed_framework_keeps_the_file_as_it_was():
    assert chosen(treatment__over="year").choices.treatment.over == "year"
    assert OWN.choices.treatment.over == "panel"
    assert chosen(treatment=None).choices.treatment is None


# -- as text -----------------------------------------------------------------------------------------------------------
def test_text_is_read_in_the_type_of_the_choice():
    for setting, text, value in (
        ("treatment", "none", None),
        ("treatment.then", "none", "none"),
        ("weighting.max_weight", "none", None),
        ("weighting.max_weight", "0.6", 0.6),
        ("imputation.neighbours", "3", 3),
        ("imputation.neighbours", "three", "three"),
        ("screening.keep", "110000,310000", ["110000", "310000"]),
        ("robustness.top", "1,5", [1, 5]),
        ("weighting.scheme", "linear", "linear"),
        ("treatment.skow", "1", "1"),
    ):
        assert from_text(setting, text) == value, setting
    with pytest.raises(ReferenceFileError, match=words("choice «means» is unknown")):
        from_text("means", "1")


def test_every_choice_that_moves_a_score_has_a_name_that_can_be_set():
    names = settings()
    assert len(set(names)) == len(names)
    assert names[:3] == ("screening", "imputation", "treatment")
    assert set(names[3:]) == {
        f"{block}.{field.name}"
        for block in ("screening", "imputation", "treatment", "weighting")
        for field in fields(BLOCKS[block])
    }
    for name in names[3:]:
        block, _, key = name.partition(".")
        now = getattr(BLOCKS[block](), key)
        text = "none" if now is None else "a" if now == () else str(now)
        after = getattr(getattr(changed(OWN.choices, name, from_text(name, text)), block), key)
        assert after == (("a",) if now == () else now), name


@given(st.integers(0, 50), st.floats(0, 10), st.floats(0, 10))
def test_numbers_survive_the_way_through_text(points, skew, kurtosis):
    said = {"treatment.max_points": points, "treatment.skew": skew, "treatment.kurtosis": kurtosis}
    found = Choices()
    for name, value in said.items():
        found = changed(found, name, from_text(name, repr(value)))
    assert found.treatment == Treatment(skew, kurtosis, points)
