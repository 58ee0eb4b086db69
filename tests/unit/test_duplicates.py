"""Exact and near duplicates of texts."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dei_pipeline.errors import MethodError
from dei_pipeline.methods.duplicates import near_duplicates, normalised_text, originals, shingles

ALPHABET = [chr(0x4E00 + i) for i in range(600)]


def frame(texts):
    schema = {"document_id": pl.String, "text": pl.String}
    return pl.DataFrame({"document_id": list(texts), "text": list(texts.values())}, schema=schema)


def corpus(n, length=400, seed=0):
    draw = np.random.Generator(np.random.PCG64(seed))
    return {f"d{i:03d}": "".join(draw.choice(ALPHABET, length)) for i in range(n)}


def jaccard(left, right, size=5):
    a, b = ({text[i : i + size] for i in range(max(1, len(text) - size + 1))} for text in (left, right))
    return len(a & b) / len(a | b)


def test_width_blanks_and_punctuation_make_no_difference():
    found = near_duplicates(frame({"b": "关于印发《５Ｇ规划》的通知。", "a": "关于印发 5g规划 的通知", "c": "别的"}))
    assert found.rows() == [("a", "b", 1.0)]
    assert pl.select(normalised_text(pl.lit("Ａ、b ２〇"))).item() == "ab2〇"


def test_planted_near_copies_are_found_with_their_true_similarity_and_nothing_else():
    texts = corpus(60)
    for i in range(0, 40, 2):
        whole = texts[f"d{i:03d}"]
        texts[f"d{i + 1:03d}"] = whole[: 380 - i] + "改" + whole[380 - i :]
    found = near_duplicates(frame(texts))
    assert found.select("left_id", "right_id").rows() == [(f"d{i:03d}", f"d{i + 1:03d}") for i in range(0, 40, 2)]
    for left, right, similarity in found.iter_rows():
        assert similarity == pytest.approx(jaccard(texts[left], texts[right]), abs=1e-12)


def test_a_pair_below_the_threshold_is_no_pair():
    text = "".join(ALPHABET[:200])
    close, far = text[:190] + "改" * 10, text[:120] + "".join(ALPHABET[300:380])
    assert near_duplicates(frame({"a": text, "b": close, "c": far})).select("left_id", "right_id").rows() == [
        ("a", "b")
    ]
    assert near_duplicates(frame({"a": text, "b": close}), threshold=0.99).height == 0


def test_the_order_of_documents_and_many_copies_do_not_matter():
    texts = corpus(1, 300)["d000"]
    given = {f"c{i:03d}": texts[: 300 - i % 3] for i in range(90)}
    forward = near_duplicates(frame(given))
    backward = near_duplicates(frame(dict(reversed(given.items()))))
    assert forward.equals(backward)
    assert originals(frame(given), forward, [])["original_id"].unique().to_list() == ["c000"]


def test_more_near_copies_than_are_compared_pair_by_pair_are_still_one_group():
    text = corpus(1, 600)["d000"]
    given = {f"c{i:03d}": text[:i] + "异" + text[i:] for i in range(0, 600, 6)}
    pairs = near_duplicates(frame(given))
    assert originals(frame(given), pairs, [])["original_id"].n_unique() == 1


def test_texts_without_a_character_have_no_duplicates():
    assert near_duplicates(frame({"a": "", "b": "。。", "c": None})).height == 0
    assert near_duplicates(frame({})).height == 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: near_duplicates(frame({"a": "x"}), threshold=0), "threshold 0"),
        (lambda: near_duplicates(frame({"a": "x"}), shingle=0), "shingle 0"),
        (lambda: near_duplicates(pl.concat([frame({"a": "x"})] * 2)), "given twice"),
        (
            lambda: originals(frame({"a": "x"}), pl.DataFrame({"left_id": ["a"], "right_id": ["z"]}), []),
            "names document z",
        ),
    ],
)
def test_what_cannot_be_compared_is_refused(call, message):
    with pytest.raises(MethodError, match=message):
        call()


def test_the_preferred_document_of_a_connected_group_counts():
    given = pl.DataFrame({"document_id": list("abcd"), "reprint": [True, False, True, False], "day": [1, 3, 2, None]})
    pairs = pl.DataFrame({"left_id": ["a", "b"], "right_id": ["c", "c"]})
    found = originals(given, pairs, ["reprint", "day"])
    assert found.rows() == [("a", "b"), ("b", "b"), ("c", "b"), ("d", "d")]


@given(st.text("甲乙丙丁", max_size=25), st.text("甲乙丙丁", max_size=25))
def test_shingles_count_distinct_runs(left, right):
    a, b = shingles(left), shingles(right)
    expected = len({left[i : i + 5] for i in range(max(1, len(left) - 4))} if left else set())
    assert len(a) == expected
    if left and right:
        shared = len(np.intersect1d(a, b))
        assert shared / (len(a) + len(b) - shared) == pytest.approx(jaccard(left, right))
