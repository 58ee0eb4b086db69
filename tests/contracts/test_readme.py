"""Every command that the README and the help texts show exists, with the options it is shown with."""

import re
import shlex
from collections.abc import Iterator

import click
import pytest

from dei_pipeline.cli import main
from dei_pipeline.settings import PROJECT

README = (PROJECT / "README.md").read_text(encoding="utf-8")
FENCE = re.compile(r"^```[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
END = {"|", "||", "&&", ";", ">", ">>", "<", "&", "…", "..."}


def shown(text: str) -> list[str]:
    """Lines of fenced blocks and inline code that call `dei` or `make`, without the prompt."""
    lines = [line for block in FENCE.findall(text) for line in block.replace("\\\n", " ").splitlines()]
    lines += INLINE.findall(FENCE.sub("", text))
    bare = [re.sub(r"^\s*(\$ |\.venv/bin/)*", "", line).strip() for line in lines]
    return list(dict.fromkeys(line for line in bare if re.match(r"(dei|make)( |$)", line)))


def words(line: str) -> list[str]:
    """The words of the first command of a line: no comment, nothing after a pipe, `[…]` and `…` left out."""
    found = []
    for word in shlex.split(re.sub(r"[\[\]]", " ", line), comments=True):
        if word in END:
            break
        found.append(word)
    return found


def check_dei(line: str) -> None:
    """Raises AssertionError if a `dei …` line names a sub-command or an option that is not there."""
    command: click.Command = main
    path = ["dei"]
    options = options_of(main)
    for word in words(line)[1:]:
        if isinstance(command, click.Group) and not word.startswith("-"):
            assert word in command.commands, f"{' '.join(path)} has no «{word}», as in: {line}"
            command = command.commands[word]
            path.append(word)
            options |= options_of(command)
        elif re.match(r"--?[a-z]", word):
            name = word.split("=")[0]
            assert name in options, f"{' '.join(path)} has no {name}, as in: {line}"


def options_of(command: click.Command) -> set[str]:
    context = click.Context(command, info_name=command.name, help_option_names=["-h", "--help"])
    return {name for parameter in command.get_params(context) for name in (*parameter.opts, *parameter.secondary_opts)}


def make_targets() -> set[str]:
    text = (PROJECT / "Makefile").read_text(encoding="utf-8")
    return set(re.findall(r"^([a-z][a-z_-]*):", text, re.MULTILINE))


def commands(group: click.Group, path: str = "dei") -> Iterator[tuple[str, click.Command]]:
    """Every command by its full name."""
    for name, command in group.commands.items():
        yield f"{path} {name}", command
        if isinstance(command, click.Group):
            yield from commands(command, f"{path} {name}")


@pytest.mark.parametrize("line", shown(README))
def test_a_command_of_the_readme_exists_as_written(line):
    if line.startswith("dei"):
        check_dei(line)
    else:
        targets = [word for word in words(line)[1:] if not word.startswith("-") and "=" not in word]
        assert set(targets) <= make_targets(), line


def test_the_readme_gives_the_two_commands():
    assert {"make run", "make test"} <= set(shown(README)), "the README must show `make run` and `make test`"


def test_the_make_targets_of_the_contract_are_there():
    assert {"run", "test", "ui"} <= make_targets()
    phony = re.search(r"^\.PHONY: (.*)$", (PROJECT / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert {"run", "test", "ui"} <= set(phony.group(1).split())


def test_ci_runs_the_test_command_of_the_readme():
    assert re.search(r"^make test$", (PROJECT / ".ci" / "run").read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize(("name", "command"), list(commands(main)), ids=[name for name, _ in commands(main)])
def test_every_command_has_help_with_an_example_that_fits(name, command):
    text = command.get_help(click.Context(command, info_name=name))
    assert "--help" in text
    if isinstance(command, click.Group):
        return
    assert "--lake" in text
    example = re.search(r"Example:\n\s+(dei .+)", text)
    assert example, f"{name} --help shows no example"
    assert example.group(1).startswith(name)
    check_dei(example.group(1))


def test_the_commands_of_the_contract_are_there():
    expected = {"demo", "ingest", "sources", "template", "layout", "run", "explain", "impact", "diff", "check", "ui"}
    assert expected <= set(main.commands)
    assert set(main.commands["sources"].commands) == {"list", "missing", "withdraw"}


@pytest.mark.parametrize(
    "line", ["dei rum --years 2020", "dei run --year 2020", "dei sources drop", "dei explain dei 上海 2020 --depth 3"]
)
def test_this_test_would_see_a_wrong_command(line):
    with pytest.raises(AssertionError, match="has no"):
        check_dei(line)
    assert shown(f"```console\n$ {line}  # why\n```") == [f"{line}  # why"]
