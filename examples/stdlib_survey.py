"""A survey of the running Python's own standard library.

Discovers its source files, parses each with ``ast``, adds up per package, and writes a report::

    cascade run examples/stdlib_survey.py:flow --resources parsers=4 --output survey.md
    python examples/stdlib_survey.py

Some files of the library are meant not to parse (they test tools that read Python); they are listed, not fatal.
"""

from __future__ import annotations

import ast
import json
import sysconfig
import threading
from collections import Counter
from collections.abc import AsyncIterable, Sequence
from pathlib import Path

import attrs

import cascade

root = cascade.Param("root", default=sysconfig.get_path("stdlib"), description="folder with the sources")
output = cascade.Param("output", default="stdlib_survey.md", description="file to write the report to")
report_format = cascade.Param("format", default="markdown", description="markdown, json or text")

BRANCHES = (
    ast.If,
    ast.IfExp,
    ast.For,
    ast.AsyncFor,
    ast.While,
    ast.ExceptHandler,
    ast.BoolOp,
    ast.comprehension,
    ast.match_case,
)


@attrs.frozen
class FileFacts:
    """What one source file holds."""

    package: str
    path: str
    lines: int = 0
    functions: int = 0
    complexity: int = 0
    imports: tuple[str, ...] = ()
    error: str | None = None


@attrs.frozen
class PackageFacts:
    """What the files of one package add up to."""

    package: str
    files: int
    lines: int
    functions: int
    complexity: int
    imports: tuple[str, ...]
    unreadable: tuple[str, ...]


@cascade.task
def discover(root: str) -> list[str]:
    """Every source file below *root* that belongs to the library itself, by relative path."""
    base = Path(root)
    found = (path.relative_to(base) for path in base.rglob("*.py"))
    return sorted(str(path) for path in found if not {"site-packages", "__pycache__"} & set(path.parts))


# Before Python 3.11.8, two parsers at once end in a SystemError (gh-106905); it holds the GIL anyway.
ONE_PARSER = threading.Lock()


@cascade.task(
    retry=cascade.Retry(max_attempts=3, delay=0.05, backoff=2.0, on=(OSError,)),
    constraints={"parsers": 1},
)
def parse(root: str, path: str) -> FileFacts:
    """Read and parse one file; what does not parse is a finding, not a failure."""
    package = Path(path).parts[0].removesuffix(".py")
    source = (Path(root) / path).read_bytes()
    lines = len(source.splitlines())
    try:
        with ONE_PARSER:
            tree = ast.parse(source, filename=path)
    except (SyntaxError, ValueError) as error:
        return FileFacts(package, path, lines, error=f"{type(error).__name__}: {error}")
    nodes = list(ast.walk(tree))
    functions = sum(isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) for node in nodes)
    branches = sum(isinstance(node, BRANCHES) for node in nodes)
    return FileFacts(package, path, lines, functions, functions + branches, tuple(imported(nodes)))


def imported(nodes: Sequence[ast.AST]) -> list[str]:
    """Top-level names of the modules that these nodes import."""
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return sorted(names)


@cascade.task
def by_package(files: Sequence[FileFacts]) -> list[PackageFacts]:
    """The files added up per package, the largest first."""
    groups: dict[str, list[FileFacts]] = {}
    for file in files:
        groups.setdefault(file.package, []).append(file)
    packages = [summed(name, group) for name, group in groups.items()]
    return sorted(packages, key=lambda package: (-package.lines, package.package))


def summed(name: str, files: Sequence[FileFacts]) -> PackageFacts:
    """One package from its files."""
    return PackageFacts(
        package=name,
        files=len(files),
        lines=sum(file.lines for file in files),
        functions=sum(file.functions for file in files),
        complexity=sum(file.complexity for file in files),
        imports=tuple(sorted({name for file in files for name in file.imports})),
        unreadable=tuple(f"{file.path}: {file.error}" for file in files if file.error),
    )


@cascade.task(mode="inline")
def wanted(format: str) -> str:
    """The key of the report's route."""
    return format.lower()


@cascade.task
def as_markdown(packages: Sequence[PackageFacts]) -> str:
    """The report as a table."""
    unreadable = [line for package in packages for line in package.unreadable]
    users = Counter(name for package in packages for name in package.imports)
    lines = [
        "# The standard library",
        "",
        (
            f"{sum(p.files for p in packages)} files in {len(packages)} packages, "
            f"{sum(p.lines for p in packages)} lines, {sum(p.functions for p in packages)} functions."
        ),
        "",
        "Imported most: " + ", ".join(f"{name} ({count})" for name, count in users.most_common(10)) + ".",
        "",
        "| package | files | lines | functions | complexity | modules imported |",
        "|---|--:|--:|--:|--:|--:|",
        *(
            f"| {p.package} | {p.files} | {p.lines} | {p.functions} | {p.complexity} | {len(p.imports)} |"
            for p in packages
        ),
        "",
        f"## Files that do not parse: {len(unreadable)}",
        "",
        *(f"- `{line}`" for line in unreadable),
    ]
    return "\n".join(lines) + "\n"


@cascade.task
def as_json(packages: Sequence[PackageFacts]) -> str:
    """The report for programs."""
    return json.dumps([attrs.asdict(package) for package in packages], indent=1) + "\n"


@cascade.task
def as_text(packages: Sequence[PackageFacts]) -> str:
    """The report as aligned columns."""
    return "".join(
        f"{p.package:<24} {p.files:>5} {p.lines:>8} {p.functions:>7} {p.complexity:>7}\n" for p in packages
    )


@cascade.task
def write(report: str, output: str) -> str:
    """Write the report; returns where it is."""
    path = Path(output)
    path.write_text(report, encoding="utf-8")
    return str(path.resolve())


packages = by_package(parse.partial(root=root).map(path=discover(root)))
report = cascade.Router(
    selector=wanted(report_format),
    routes={"markdown": as_markdown(packages), "json": as_json(packages), "text": as_text(packages)},
)
flow = write(report, output)


# Files between two lines that say how far the survey is.
STEP = 200


async def show_progress(events: AsyncIterable[cascade.Event]) -> None:
    """An observer of the run: says after every 200 files how far it is."""
    files, done = 0, 0
    async for event in events:
        if not isinstance(event, cascade.NodeEvent) or event.task_name != "parse":
            continue
        if isinstance(event, cascade.TaskExecutionStarted) and event.items is not None:
            files = event.items
        elif isinstance(event, cascade.TaskExecutionFinished):
            done += 1
            if done % STEP == 0:
                print(f"  {done} of {files} files parsed", flush=True)


def main() -> None:
    """Run the survey and show the head of the report."""
    folder = sysconfig.get_path("stdlib")
    print(
        f"Parsing every Python file in {folder}, to write a report about them; this takes half a minute.",
        flush=True,
    )
    path = cascade.run_sync(flow, system_resources={"parsers": 4}, schedule="eager", observers=[show_progress])
    print(f"\nThe report is in {path}. It begins:\n")
    print("\n".join(Path(path).read_text(encoding="utf-8").splitlines()[:14]))


if __name__ == "__main__":
    main()
