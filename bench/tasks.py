"""Counts the lines that each program under benches/tasks adds to the open one, and compares the table in docs/comparison.md.

    python3 bench/tasks.py            # fails if the table is wrong
    python3 bench/tasks.py --write    # writes the table

Blank lines and comments do not count. A changed line counts as one.
"""

import difflib
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TASKS = ROOT / "bench" / "benches" / "tasks"
PAGE = ROOT / "docs" / "comparison.md"
PROGRAMS = {
    "this library": "ours",
    "tower-http `ValidateRequestHeaderLayer`": "tower_http_validate",
    "tower-http `AsyncRequireAuthorizationLayer`": "tower_http_async",
    "axum-login": "axum_login",
    "axum `from_fn`": "from_fn",
}
HEAD = "| lines of authentication"


def code(path):
    lines = (line.strip() for line in path.read_text(encoding="utf-8").splitlines())
    return [line.rstrip(";") for line in lines if line and not line.startswith("//")]


def added(path):
    return sum(line.startswith("+ ") for line in difflib.ndiff(code(TASKS / "open.rs"), code(path)))


def table():
    rows = [(name, added(TASKS / "first_route" / f"{file}.rs"), added(TASKS / "several_keys" / f"{file}.rs")) for name, file in PROGRAMS.items()]
    width = max(len(name) for name, *_ in rows)
    lines = [f"{HEAD:<{width + 2}} | first route | several keys |", f"|{'-' * (width + 2)}|------------:|-------------:|"]
    return lines + [f"| {name:<{width}} | {first:>11} | {several:>12} |" for name, first, several in rows]


def main():
    text = PAGE.read_text(encoding="utf-8").splitlines()
    begin = next(number for number, line in enumerate(text) if line.startswith(HEAD))
    end = begin + 2 + len(PROGRAMS)
    if "--write" in sys.argv:
        PAGE.write_text("\n".join(text[:begin] + table() + text[end:]) + "\n", encoding="utf-8")
    elif text[begin:end] != table():
        sys.exit("docs/comparison.md has other numbers:\n" + "\n".join(table()))


main()
