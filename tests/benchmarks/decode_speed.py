"""Decoding files into cells with addresses against bare readers: `python -m tests.benchmarks.decode_speed`.

The baseline reads the same bytes and throws the result away: calamine for workbooks (decrypted beforehand where
encrypted), `csv.reader` for CSV, selectolax for HTML, pyarrow for Parquet. Documents have no cells.
"""

import csv
import io
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from dei_pipeline.lake import Lake
from dei_pipeline.provenance import manifests
from dei_pipeline.sources.decode import decode, with_address
from dei_pipeline.sources.ingest import DOCUMENT, content
from tests.benchmarks.common import arguments, machine, median, received, say


def calamine(data: bytes) -> None:
    """Every sheet as lists of typed values."""
    from python_calamine import CalamineWorkbook

    book = CalamineWorkbook.from_filelike(io.BytesIO(data))
    for name in book.sheet_names:
        book.get_sheet_by_name(name).to_python(skip_empty_area=False)


def decrypted(data: bytes) -> bytes:
    """The workbook inside an encrypted one (Excel's default password)."""
    import msoffcrypto

    plain = io.BytesIO()
    book = msoffcrypto.OfficeFile(io.BytesIO(data))
    book.load_key(password="VelvetSweatshop")
    book.decrypt(plain)
    return plain.getvalue()


def rows_of_csv(data: bytes) -> None:
    """Every row of a CSV."""
    for encoding in ("utf-8-sig", "gb18030"):
        try:
            list(csv.reader(io.StringIO(data.decode(encoding), newline="")))
        except UnicodeDecodeError:
            continue
        return


def html_nodes(data: bytes) -> None:
    """Every table cell of a page."""
    from selectolax.lexbor import LexborHTMLParser

    for node in LexborHTMLParser(data).css("td, th"):
        node.text()


def parquet(data: bytes) -> None:
    """Every column as a list of values."""
    import pyarrow.parquet

    pyarrow.parquet.read_table(io.BytesIO(data)).to_pydict()


READERS: dict[str, Callable[[bytes], None]] = {
    "xlsx": calamine,
    "xls": calamine,
    "xlsx-encrypted": calamine,
    "csv": rows_of_csv,
    "html": html_nodes,
    "parquet": parquet,
}


def seconds(work: Callable[[], object]) -> float:
    """Time of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main(argv: Sequence[str] | None = None) -> None:
    """Prints, by format, cells a second and the ratio to the bare reader."""
    chosen = arguments(__doc__ or "", argv)
    with received(chosen.regions, chosen.years) as root:
        lake = Lake(root)
        told = [m for m in manifests(lake).values() if m["kind"] != DOCUMENT]
        files = [(content(lake, m["sha256"]), m["sha256"], Path(m["file"]).name) for m in told]
        by_format: dict[str, list[tuple[bytes, str, str]]] = {}
        for data, sha256, name in files:
            by_format.setdefault(decode(data, name).format, []).append((data, sha256, name))
        for kind, members in sorted(by_format.items()):
            plain = [decrypted(data) if kind == "xlsx-encrypted" else data for data, _, _ in members]
            reader = READERS[kind]
            cells = sum(decode(data, name).cells.height for data, _, name in members)

            def ours(members: list[tuple[bytes, str, str]] = members) -> None:
                for data, sha256, name in members:
                    with_address(decode(data, name).cells, sha256)

            def theirs(plain: list[bytes] = plain, reader: Callable[[bytes], None] = reader) -> None:
                for data in plain:
                    reader(data)

            mine = median(lambda: seconds(ours), chosen.repeats)
            bare = median(lambda: seconds(theirs), chosen.repeats)
            say(
                f"{kind:15} {len(members):3} files, {cells:7,} cells: {mine:6.3f} s = {mine / bare:.2f} × "
                f"{reader.__name__} ({bare:.3f} s), {cells / mine:,.0f} cells/s"
            )
        say(machine())


if __name__ == "__main__":
    main()
