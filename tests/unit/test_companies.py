"""Credit codes, comparable names, and who a name or code is."""

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dei_pipeline.errors import ReferenceFileError
from dei_pipeline.methods.companies import ALPHABET, Forms, check_character, credit_code, name_parts, resolve
from dei_pipeline.settings import Settings

FORMS = Forms.load(Settings().reference / "company_forms.csv")


def code_of(text: str | None) -> str | None:
    return pl.DataFrame({"c": [text]}, schema={"c": pl.String}).select(credit_code(pl.col("c"))).item()


def parts(*names: str) -> dict[str, tuple[str, str | None]]:
    found = name_parts(pl.Series(names), FORMS)
    return {name: (stem, form) for name, stem, form in found.select("name", "stem", "form").iter_rows()}


# -- codes -------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("code", ["91110000802100433B", "914403001922038216", "91440300708461136T"])
def test_codes_of_known_companies_hold(code):
    assert code_of(code) == code
    assert check_character(code[:17]) == code[17]


def test_blanks_width_and_small_letters_do_not_count():
    assert code_of(" 9111 0000-8021 0043 3b ") == "91110000802100433B"
    assert code_of("９１１１００００８０２１００４３３Ｂ") == "91110000802100433B"


@pytest.mark.parametrize("text", [None, "", "91110000802100433", "91110000802100433BB", "9I110000802100433B", "甲"])
def test_what_has_another_length_or_letter_is_no_code(text):
    assert code_of(text) is None


@given(st.text(ALPHABET, min_size=17, max_size=17), st.integers(0, 17), st.sampled_from(ALPHABET))
def test_one_wrong_character_is_always_found(first, place, other):
    code = first + check_character(first)
    assert code_of(code) == code
    changed = code[:place] + other + code[place + 1 :]
    assert (code_of(changed) == changed) == (changed == code)


# -- names -------------------------------------------------------------------------------------------------------------
def test_width_case_blanks_punctuation_and_short_words_do_not_count():
    found = parts(
        "Shanghai Intl. Hldgs (Pte) Ltd",
        "THE SHANGHAI INT'L  HOLDINGS PRIVATE LIMITED",
        "华为（中国）有限公司",
        "华为(中国) 有限责任公司",
        "Ａ＆Ｂ ＣＯ．， ＬＴＤ．",
        "A and B Company Limited",
    )
    assert found["Shanghai Intl. Hldgs (Pte) Ltd"] == ("SHANGHAIINTERNATIONALHOLDINGS", "PTE LTD")
    assert found["THE SHANGHAI INT'L  HOLDINGS PRIVATE LIMITED"] == ("SHANGHAIINTERNATIONALHOLDINGS", "PTE LTD")
    assert found["华为（中国）有限公司"] == found["华为(中国) 有限责任公司"] == ("华为中国", "有限公司")
    assert found["Ａ＆Ｂ ＣＯ．， ＬＴＤ．"] == found["A and B Company Limited"] == ("AB", "CO LTD")


def test_the_longest_legal_form_is_read_and_a_name_keeps_a_stem():
    found = parts(
        "平安银行股份有限公司", "HOE LEONG COMPANY PRIVATE LIMITED", "LIMITED", "某某合伙企业（有限合伙）", "张三"
    )
    assert found["平安银行股份有限公司"] == ("平安银行", "股份有限公司")
    assert found["HOE LEONG COMPANY PRIVATE LIMITED"] == ("HOELEONG", "CO PTE LTD")
    assert found["LIMITED"] == ("LIMITED", None)
    assert found["某某合伙企业（有限合伙）"] == ("某某", "有限合伙")
    assert found["张三"] == ("张三", None)


def test_nominees_are_known_and_so_is_whom_they_hold_for():
    names = ["DBS NOMINEES (PRIVATE) LIMITED", "CARTABAN NOMINEES SDN BHD FOR ICAPITAL BERHAD", "张三(代李四持有)",
             "香港中央结算（代理人）有限公司", "PERPETUAL LTD <MCK A/C>", "KEPPEL LIMITED"]  # fmt: skip
    found = {row["name"]: row for row in name_parts(pl.Series(names), FORMS).iter_rows(named=True)}
    assert [found[name]["nominee"] for name in names] == [True, True, True, True, True, False]
    assert [found[name]["beneficiary"] for name in names] == [None, "ICAPITAL BERHAD", "李四", None, "MCK", None]


def test_a_faulty_list_of_forms_is_an_error(tmp_path):
    path = tmp_path / "forms.csv"
    path.write_text("kind,printed,form,note\nfrom,LTD,LTD,\n", encoding="utf-8")
    with pytest.raises(ReferenceFileError, match=r"forms\.csv, line 2: kind «from» is unknown"):
        Forms.load(path)
    path.write_text("kind,printed,form,note\nform,LTD,LTD,\nform,LTD,LIMITED,\n", encoding="utf-8")
    with pytest.raises(ReferenceFileError, match=r"forms\.csv, line 3: «LTD» stands there twice"):
        Forms.load(path)


# -- resolution --------------------------------------------------------------------------------------------------------
CALLED = pl.DataFrame(
    [
        ("91110000802100433B", "百度在线有限公司", "name"),
        ("91110000802100433B", "百度", "alias"),
        ("91110000802100433B", "91110000802100433B", "code"),
        ("name:JAWALA INC", "JAWALA INC.", "name"),
        ("name:甲 有限公司", "甲有限公司", "name"),
        ("name:甲 股份有限公司", "甲股份有限公司", "name"),
        ("name:乙一", "乙集团", "alias"),
        ("name:乙二", "乙集团", "alias"),
        ("name:ICAPITAL BHD", "ICAPITAL BHD", "name"),
        ("sz", "000858", "code"),
    ],
    schema={"company_id": pl.String, "text": pl.String, "what": pl.String},
    orient="row",
).with_columns(said=pl.col("text") + " of " + pl.col("what"))


def who(name: str | None, code: str | None = None) -> dict[str, object]:
    asked = pl.DataFrame({"name": [name], "code": [code]}, schema={"name": pl.String, "code": pl.String})
    return resolve(asked, CALLED, FORMS).row(0, named=True)


@pytest.mark.parametrize(
    ("name", "code", "company", "how"),
    [
        ("百度在线有限责任公司", None, "91110000802100433B", "name"),
        ("百度", None, "91110000802100433B", "alias"),
        ("百度在线", None, "91110000802100433B", "stem"),
        (None, "91110000802100433B", "91110000802100433B", "code"),
        ("百度(改名)", "91110000802100433B", "91110000802100433B", "code"),
        ("五粮液", "000858", "sz", "code"),
        ("甲股份有限公司", None, "name:甲 股份有限公司", "name"),
        ("XY NOMINEES SDN BHD FOR ICAPITAL BERHAD", None, "name:ICAPITAL BHD", "beneficiary"),
    ],
)
def test_a_name_or_code_is_resolved_by_the_first_way_that_finds_anyone(name, code, company, how):
    found = who(name, code)
    assert (found["company_id"], found["how"], found["reason"]) == (company, how, None)
    assert found["said"] in set(CALLED.filter(company_id=company)["said"])
    if how in ("name", "alias", "code"):
        assert found["said"].endswith(f" of {how}")


def test_who_is_not_in_the_register_is_an_owner_outside_it():
    found = who("JAWALA CORPORATION SDN BHD")
    assert (found["company_id"], found["how"], found["reason"], found["near"]) == (None, None, None, "JAWALA INC.")
    assert who("李四")["near"] is None


def test_what_can_mean_several_or_contradicts_is_refused():
    assert who("甲")["reason"] == "«甲» can mean name:甲 有限公司, name:甲 股份有限公司"
    assert who("乙集团")["reason"] == "«乙集团» can mean name:乙一, name:乙二"
    other = who("甲有限公司", "91110000802100433B")
    assert other["reason"] == "code 91110000802100433B is not the code of «甲有限公司»"
    wrong = who("百度在线有限公司", "914403001922038216")
    assert wrong["reason"] == "«百度在线有限公司» has the code 91110000802100433B, not 914403001922038216"
    assert {found["company_id"] for found in (who("甲"), other, wrong)} == {None}
    assert wrong["fix"] == "write the name in full or give the unified social credit code"


def test_rows_stay_in_their_order():
    asked = pl.DataFrame(
        {"name": ["李四", "百度", "甲"], "code": [None, None, None]}, schema_overrides={"code": pl.String}
    )
    assert resolve(asked, CALLED, FORMS)["name"].to_list() == ["李四", "百度", "甲"]
