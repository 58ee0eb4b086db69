"""`dei`: demo | ingest | sources | template | layout | run | explain | impact | diff | replay | check | ui.

Commands import what they need when they run, so that `--help`, `explain`, `impact` and `diff` start at once.
"""

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import yaml

from dei_pipeline.errors import DeiError
from dei_pipeline.settings import LATEST, OLDEST

KINDS_OF_FORMS = ["ahp", "assessment", "companies", "delphi", "holdings", "projects", "region-indicator"]
LAKE = click.option(
    "--lake", type=click.Path(file_okay=False), help="Root of the data lake (default: DEI_LAKE or data_lake)."
)


class Commands(click.Group):
    """Prints an error as one line that names the place and the fix; the traceback only with --debug."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Runs the program; what the terminal's encoding lacks is shown as «?»."""
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="replace")
        return super().main(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        """Runs the command."""
        try:
            return super().invoke(ctx)
        except (DeiError, OSError, yaml.YAMLError) as error:
            if ctx.params.get("debug") or isinstance(error, BrokenPipeError):
                raise
            text = str(error)
            if isinstance(error, OSError) and error.filename is not None:
                text = f"{error.filename}: {error.strerror}; check the path and who may use it"
            click.echo(f"dei: {' '.join(text.split())}", err=True)
            ctx.exit(1)


def example(text: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Adds an example to a command's help."""

    def add(function: Callable[..., Any]) -> Callable[..., Any]:
        function.__doc__ = f"{function.__doc__}\n\n    \b\n    Example:\n      {text}\n"
        return function

    return add


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--debug", is_flag=True, help="Show tracebacks.")
@click.version_option(package_name="dei-pipeline")
def main(debug: bool) -> None:
    """City digital-economy measurement 城市数字经济测算: from yearbook cells to an explained ranking."""


@main.command()
@click.option(
    "--regions", default=242, show_default=True, help="Number of cities, best of the published ranking first."
)
@click.option("--years", default="2015-2020", show_default=True, help="Data years.")
@click.option("--seed", default=0, show_default=True, help="Seed of the draws.")
@click.option("--allow-mixed", is_flag=True, help="Let synthetic files join real ones.")
@click.option("--if-empty", is_flag=True, help="Only if the lake holds neither real files nor a finished demo.")
@LAKE
@example("dei demo --regions 30 --years 2019-2020 --lake /tmp/lake")
def demo(regions: int, years: str, seed: int, allow_mixed: bool, if_empty: bool, lake: str | None) -> None:
    """Write synthetic sources into the lake 写入合成数据 (every manifest says so)."""
    import tempfile

    from dei_pipeline.demo.generate import finished, generate, mark_finished
    from dei_pipeline.lake import Lake
    from dei_pipeline.settings import Settings, parse_years
    from dei_pipeline.sources.ingest import check_mixing, holds, receive

    settings = Settings.load(lake)
    home = Lake(settings.lake)
    if if_empty and (holds(home, synthetic=False) or (finished(home) and holds(home, synthetic=True))):
        what = "real files" if holds(home, synthetic=False) else "the demo already"
        click.echo(f"nothing written: {home.root} holds {what}")
        return
    check_mixing(home, synthetic=True, allow_mixed=allow_mixed)
    with tempfile.TemporaryDirectory() as folder, _progress("Writing synthetic sources 合成数据") as step:
        wanted = parse_years(years)
        files = generate(Path(folder), regions, wanted, seed, progress=step)
        new = 0
        for file in files:
            said = {
                name: getattr(file, name) for name in ("source_id", "producer", "title", "edition", "licence", "year")
            }
            name = str(file.path.relative_to(folder))
            outcome = receive(home, file.path, name, said, synthetic=True, kind=file.kind)[1]
            new += outcome == "taken"
    mark_finished(home, regions, wanted, seed)
    click.echo(f"{len(files)} synthetic files, {new} new, in {home.blobs()}; next: dei run")


@main.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--source", "source_id", help="Source id of these files, where the layouts cannot tell.")
@click.option("--edition", help="Edition of these files (default: data year + 1).")
@click.option("--allow-mixed", is_flag=True, help="Let real files join synthetic ones.")
@LAKE
@example("dei ingest yearbooks/2021 --edition 2021")
def ingest(
    paths: tuple[Path, ...], source_id: str | None, edition: str | None, allow_mixed: bool, lake: str | None
) -> None:
    """Take files or folders into the lake 导入文件: what is recognised, and what is not and why."""
    from dei_pipeline.lake import Lake
    from dei_pipeline.settings import Settings
    from dei_pipeline.sources import ingest as sources
    from dei_pipeline.sources.pages import recogniser

    settings = Settings.load(lake)
    home = Lake(settings.lake)
    with _progress("Reading files 读取文件") as step:
        report = sources.ingest(
            home,
            paths,
            recogniser(settings.reference),
            source_id=source_id,
            edition=edition,
            allow_mixed=allow_mixed,
            progress=step,
        )
    words = {"taken": "taken", "updated": "updated", "known": "already there", "left": "LEFT OUT"}
    for row in report:
        known = ", ".join(row.pages) or ("no page recognised" if row.outcome != "left" else "")
        click.echo(f"{words[row.outcome]:13} {row.file}  {known}{'  — ' + row.reason if row.reason else ''}")
    counted = {outcome: sum(row.outcome == outcome for row in report) for outcome in words}
    updated = f"{counted['updated']} updated, " if counted["updated"] else ""
    click.echo(
        f"{updated}{counted['taken']} taken, {counted['known']} already there, {counted['left']} left out, "
        f"{sum(not r.pages and r.outcome != 'left' for r in report)} with no page recognised; next: dei run"
    )


@main.group(invoke_without_command=True)
@LAKE
@click.pass_context
def sources(ctx: click.Context, lake: str | None) -> None:
    """What the lake holds 数据来源: list (also without a word), what is missing, withdraw."""
    if ctx.invoked_subcommand is None:
        ctx.invoke(sources_list, lake=lake)
    ctx.default_map = {name: {"lake": lake} for name in sources.commands}


@sources.command("list")
@LAKE
@example("dei sources list")
def sources_list(lake: str | None) -> None:
    """Files in the lake by source and edition."""
    from dei_pipeline.lake import Lake
    from dei_pipeline.provenance import manifests
    from dei_pipeline.settings import Settings

    settings = Settings.load(lake)
    found = sorted(
        manifests(Lake(settings.lake)).values(), key=lambda m: (m["source_id"], m["edition"] or "", m["file"])
    )
    for m in found:
        mark = " synthetic" if m["synthetic"] else ""
        click.echo(f"{m['sha256'][:12]}  {m['source_id']:22} {m['edition'] or '-':6} {m['file']}{mark}")
    click.echo(f"{len(found)} files in {settings.lake}")


@sources.command("missing")
@click.argument("index", default="dei")
@click.argument("year", default=2020, type=int)
@LAKE
@example("dei sources missing dei 2020")
def sources_missing(index: str, year: int, lake: str | None) -> None:
    """What an index still lacks for a year: variables without any value, and how many cities each has."""
    from dei_pipeline.lake import Lake
    from dei_pipeline.needs import missing
    from dei_pipeline.settings import Settings

    settings = Settings.load(lake)
    table = missing(Lake(settings.lake), settings, index, year)
    lacking = table.filter(cities=0)
    for row in table.sort("cities", "indicator_id").iter_rows(named=True):
        click.echo(
            f"{row['cities']:4} of {row['cities_listed']} cities  {row['indicator_id']:36} {row['variable']:44} "
            f"{row['source_kind']}"
        )
    click.echo(f"{index} {year}: {lacking.height} of {table.height} variables have no source in {settings.lake}")


@sources.command("withdraw")
@click.argument("which")
@LAKE
@example("dei sources withdraw 3fa9c0d1e2b4")
def sources_withdraw(which: str, lake: str | None) -> None:
    """Take a file out, by its exact name or 8 digits of its sha256; the next run removes what came from it."""
    from dei_pipeline.lake import Lake
    from dei_pipeline.settings import Settings
    from dei_pipeline.sources.ingest import withdraw

    manifest, where = withdraw(Lake(Settings.load(lake).lake), which)
    click.echo(f"withdrawn: {manifest['file']} ({manifest['sha256'][:12]}), now in {where}; next: dei run")


@main.command()
@click.argument("kind", type=click.Choice(KINDS_OF_FORMS))
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File to write (default: KIND_YEAR.xlsx here, of AHP KIND_INDEX.xlsx).",
)
@click.option(
    "--year",
    type=click.IntRange(OLDEST, LATEST),
    default=2020,
    show_default=True,
    help="Data year printed on the page.",
)
@click.option("--index", default="dei", show_default=True, help="Index whose rubric or variables are listed.")
@click.option("--variable", "variables", multiple=True, help="Variable(s) of a region × indicator page; repeatable.")
@click.option("--round", "number", type=click.IntRange(1, 9), default=1, show_default=True, help="Delphi round.")
@click.option("--expert", default="", help="Name or number of the expert (delphi, ahp).")
@LAKE
@example("dei template assessment --year 2021 --out scores_2021.xlsx")
def template(
    kind: str,
    out: Path | None,
    year: int,
    index: str,
    variables: tuple[str, ...],
    number: int,
    expert: str,
    lake: str | None,
) -> None:
    """Write an empty workbook to fill in 填报模板."""
    from dei_pipeline.needs import template_context
    from dei_pipeline.settings import Settings
    from dei_pipeline.sources.templates import write_template

    path = out or Path(f"{kind}_{index if kind == 'ahp' else year}.xlsx")
    context = template_context(Settings.load(lake), kind, index, year, variables, number, expert)
    write_template(kind, path, **context)
    click.echo(f"{path}: fill it in, then dei ingest {path}")


@main.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--draft", type=click.Path(file_okay=False, path_type=Path), help="Write the draft of a layout here.")
@LAKE
@example("dei layout raw-2020.xls")
def layout(file: Path, draft: Path | None, lake: str | None) -> None:
    """Show how a page is understood 版式识别, and draft a layout for an unknown one."""
    from dei_pipeline.settings import Settings
    from dei_pipeline.sources.ingest import content_of, sidecar
    from dei_pipeline.sources.pages import one_reading
    from dei_pipeline.sources.sketch import describe, draft_layout

    settings = Settings.load(lake)
    cells, manifest, reading = one_reading(content_of(file, file.name), file.name, sidecar(file), settings.reference)
    click.echo(describe(reading))
    if draft is None and reading.pages["layout"].null_count() < reading.pages.height:
        return
    try:
        name, text, columns = draft_layout(cells, manifest)
    except DeiError as nothing:
        if draft is not None:
            raise
        click.echo(f"\n# {nothing}")
        return
    if draft is None:
        click.echo(f"\n# draft of a layout: write it with --draft DIR\n{text}\n{columns}")
        return
    live = settings.reference / "layouts"
    if draft.resolve() == live.resolve():
        fix = "write the draft elsewhere, fill it in and rename it, then move it there"
        raise DeiError(f"{draft}: every command reads the layouts there, and a draft is none", fix)
    files = {draft / f"{name}.yaml": text, draft / f"{name}.csv": columns}
    if taken := [path for path in files if path.exists()]:
        raise DeiError(f"{taken[0]}: is there already", "rename it to <source>__<page>, or give another folder")
    draft.mkdir(parents=True, exist_ok=True)
    for path, content in files.items():
        path.write_text(content, encoding="utf-8")
    click.echo(
        f"draft written to {draft}/{name}.yaml and .csv: fill in each ?, rename files and table to <source>__<page>, "
        f"move them to {live}"
    )


@main.command()
@click.option("--years", help="Data years from mart on, as 2018-2020 (default: every year with data).")
@click.option("--select", multiple=True, metavar="KEY", help="Only this table and what it is made from; repeatable.")
@click.option("--all", "force", is_flag=True, help="Make everything again, stale or not.")
@click.option(
    "--executor", type=click.Choice(["in-process", "multiprocess"]), help="How steps run (default: in-process)."
)
@LAKE
@example("dei run --years 2018-2020 --select release/dei_ranking")
def run(years: str | None, select: tuple[str, ...], force: bool, executor: str | None, lake: str | None) -> None:
    """Bring the lake up to date 运行: make what is stale, say why, and show the ranking."""
    from dei_pipeline.report import outcome_lines, results
    from dei_pipeline.runs import run as bring_up_to_date
    from dei_pipeline.settings import Settings

    settings = Settings.load(lake, years, executor)
    with _progress("Materialising 运行") as step:
        report = bring_up_to_date(settings, select, force, announce=lambda key, _: step(key), started=step.total)
    for line in outcome_lines(report):
        click.echo(line)
    for error in report.errors:
        click.echo(f"dei: {error}", err=True)
    if not report.success:
        sys.exit(1)
    click.echo(results(settings))


@main.command()
@click.argument("index")
@click.argument("region")
@click.argument("year", type=int)
@click.option("--node", help="Start from this node instead of the composite.")
@click.option("--json", "as_json", is_flag=True, help="The document of contracts.md.")
@click.option("--html", type=click.Path(dir_okay=False, path_type=Path), help="Write a page of its own.")
@LAKE
@example("dei explain dei 上海 2020 --node information_infrastructure")
def explain(
    index: str, region: str, year: int, node: str | None, as_json: bool, html: Path | None, lake: str | None
) -> None:
    """Where a number comes from 指标溯源: the tree down to the cells of the sources."""
    from dei_pipeline.explain import explain as document_of
    from dei_pipeline.lake import Lake
    from dei_pipeline.render import as_html, as_text
    from dei_pipeline.settings import Settings

    document = document_of(Lake(Settings.load(lake).lake), index, region, year, node)
    if html:
        html.write_text(as_html(document), encoding="utf-8")
        click.echo(f"{html}")
    else:
        click.echo(json.dumps(document, ensure_ascii=False, indent=1) if as_json else as_text(document))


@main.command()
@click.argument("file")
@click.argument("cell", required=False)
@LAKE
@example("dei impact 2020_population.xlsx 'Sheet1!D17'")
def impact(file: str, cell: str | None, lake: str | None) -> None:
    """Which published numbers a file, or a cell of it, feeds 影响分析."""
    from dei_pipeline.explain import impact as impact_of
    from dei_pipeline.lake import Lake
    from dei_pipeline.render import impact_text
    from dei_pipeline.settings import Settings

    home = Lake(Settings.load(lake).lake)
    click.echo(impact_text(impact_of(home, file, cell), home))


@main.command()
@click.argument("a")
@click.argument("b")
@click.option("--index", default="dei", show_default=True, help="Index to compare.")
@click.option("--region", help="Follow one city down to the leaves and their cells.")
@click.option("--node", help="Compare this node instead of the composite.")
@click.option("--matched", is_flag=True, help="Means and ranks over the cities ranked on both sides only.")
@click.option("--top", default=10, show_default=True, type=click.IntRange(1), help="Cities, or leaves, to show.")
@click.option("--json", "as_json", is_flag=True, help="Everything, for programs.")
@LAKE
@example("dei diff 2019 2020 --region 上海")
def diff(
    a: str,
    b: str,
    index: str,
    region: str | None,
    node: str | None,
    matched: bool,
    top: int,
    as_json: bool,
    lake: str | None,
) -> None:
    """Which numbers moved between A and B, and why 变动分解; each is a year, the folder of a lake, or LAKE:YEAR."""
    from dei_pipeline.diff import diff as document_of
    from dei_pipeline.render_diff import as_text
    from dei_pipeline.settings import Settings
    from dei_pipeline.sides import sides

    document = document_of(*sides(a, b, Settings.load(lake).lake, index, node), region, matched)
    click.echo(json.dumps(document, ensure_ascii=False, indent=1) if as_json else as_text(document, top))


@main.command()
@click.argument("index")
@click.argument("year", type=int)
@click.option(
    "--set", "wanted", multiple=True, required=True, metavar="CHOICE=VALUE", help="A choice to change; repeatable."
)
@click.option("--top", default=10, show_default=True, type=click.IntRange(1), help="Cities to show in each list.")
@click.option("--json", "as_json", is_flag=True, help="Everything, for programs.")
@LAKE
@example("dei replay dei 2020 --set aggregation=geometric")
def replay(index: str, year: int, wanted: tuple[str, ...], top: int, as_json: bool, lake: str | None) -> None:
    """What an index would be with other choices of method 方法重放; the lake is not touched.

    Choices: aggregation and normalisation of the whole tree, or a key of a meta block, as weighting.scheme=entropy_all,
    treatment.over=year, imputation.method=knn; a block=none leaves its step out.
    """
    from dei_pipeline.lake import Lake
    from dei_pipeline.replay import as_text, asked
    from dei_pipeline.replay import replay as document_of
    from dei_pipeline.settings import Settings

    settings = Settings.load(lake)
    document = document_of(Lake(settings.lake), settings, index, year, asked(wanted))
    click.echo(json.dumps(document, ensure_ascii=False, indent=1) if as_json else as_text(document, top))


@main.command()
@LAKE
@example("dei check")
def check(lake: str | None) -> None:
    """Run all checks on the lake as it is 检查."""
    from dei_pipeline.report import check_lines
    from dei_pipeline.settings import Settings

    lines, broken = check_lines(Settings.load(lake))
    for line in lines:
        click.echo(line)
    if broken:
        sys.exit(1)


@main.command()
@click.option("--port", default=3000, show_default=True, help="Port on 127.0.0.1.")
@LAKE
@example("dei ui --port 3001")
def ui(port: int, lake: str | None) -> None:
    """Open the Dagster UI over the lake 打开界面."""
    import os
    import socket

    from dei_pipeline.instance import instance
    from dei_pipeline.runs import ui_command
    from dei_pipeline.settings import Settings

    settings = Settings.load(lake)
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", port)) == 0:
            raise DeiError(f"port {port} is in use", f"stop what uses it, or dei ui --port {port + 1}")
    with instance(settings):
        settings.export()
    click.echo(f"Dagster UI: http://127.0.0.1:{port}  (lake {settings.lake}; stop with Ctrl-C)")
    os.execv(sys.executable, ui_command(settings, port))


class _progress:
    """A progress bar on a terminal, silent elsewhere; called with what is done, `total` adds steps to come."""

    def __init__(self, title: str) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[what]}"),
        )
        self.bar = Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty())
        self.task = self.bar.add_task(title, total=None, what="")
        self.steps = 0

    def __enter__(self) -> "_progress":
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def __call__(self, what: str) -> None:
        self.bar.update(self.task, advance=1, what=what)

    def total(self, steps: int) -> None:
        """More steps to come."""
        self.steps += steps
        self.bar.update(self.task, total=self.steps)


if __name__ == "__main__":
    main()
