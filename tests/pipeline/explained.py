"""Documents of `dei explain … --json`, and the received files that they name, opened and read."""

import functools
import json
from collections.abc import Iterator
from typing import Any

from dei_pipeline.sources.decode import decode
from tests.pipeline.homes import Home

STATUS = {"reported", "corrected", "imputed", "estimated", "expert", "structural_zero", "missing"}
TERM = {"node", "name_zh", "weight", "effective_weight", "score", "contribution", "status", "terms"}
LEAF = {"indicator", "observations"}
INDICATOR = {"value", "unit", "threshold", "derivation"}
OBSERVATION = {"variable", "value", "unit", "status", "source"}
SOURCE = {"file", "sha256", "producer", "sheet", "cell", "raw_text"}


def explained(home: Home, *arguments: str) -> dict[str, Any]:
    """The document of a command that must succeed."""
    result = home.invoke("explain", *arguments, "--json")
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    return json.loads(result.stdout)


def terms_of(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every node below the one explained."""
    for term in document["terms"]:
        yield term
        yield from terms_of(term)


def leaves_of(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Every leaf below the node explained."""
    return [term for term in terms_of(document) if not term["terms"]]


def sources_of(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Observations that came from a cell, donors included."""
    found = []
    for leaf in leaves_of(document) or [document]:
        for observation in leaf["observations"]:
            found += [o for o in (observation, *observation.get("donors", ())) if o["source"]]
    return found


@functools.lru_cache(maxsize=32)
def _cells(path: Any, file: str) -> dict[tuple[str, str], str]:
    return {(row["sheet"], row["cell"]): row["text"] for row in decode(path.read_bytes(), file).cells.to_dicts()}


def text_in_file(home: Home, source: dict[str, Any], cell: str | None = None) -> str:
    """What the received file holds in the cell of a source (or in another of its sheet), whatever the tables say."""
    (path,) = (home.lake.blobs() / source["sha256"]).glob("content*")
    return _cells(path, source["file"])[source["sheet"], cell or source["cell"]]
