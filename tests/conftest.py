"""Fixtures shared by all tests: the real files and the golden vectors, where the machine has them."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import settings

settings.register_profile("suite", deadline=None)  # a busy machine is no failure
settings.load_profile("suite")
SHARED = Path(__file__).resolve().parents[1].parent / "shared"


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real Chinese source files; `DEI_REAL_DATA` or `../shared/real` beside the checkout."""
    folder = Path(os.environ.get("DEI_REAL_DATA", SHARED / "real"))
    if not folder.is_dir():
        pytest.skip(f"no real source files at {folder}: set DEI_REAL_DATA")
    return folder


@pytest.fixture(scope="session")
def golden() -> dict[str, Any]:
    """Golden vectors by name: inputs, params, outputs of every formula."""
    path = SHARED / "spec" / "golden_vectors.json"
    if not path.is_file():
        pytest.skip(f"no golden vectors at {path}")
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def coinr() -> Callable[[str], pl.DataFrame]:
    """Reader of the COINr tables by name, as `03_normalise/Imputed__rank`; keys stay text, an empty field is null."""
    folder = SHARED / "golden" / "coinr"
    if not folder.is_dir():
        pytest.skip(f"no COINr tables at {folder}")
    keys = {"uCode": pl.String, "iCode": pl.String}

    def read(name: str) -> pl.DataFrame:
        return pl.read_csv(
            folder / f"{name}.csv", null_values=["", "NaN"], schema_overrides=keys, infer_schema_length=None
        )

    return read
