#!/usr/bin/env python3
"""Prints the public API of the crate: every public item, method and trait implementation.

    cargo doc --no-deps --all-features && python3 .ci/public_api.py target/doc/tower_api_key

Reads rustdoc's HTML, which stable Rust writes: `all.html` lists the public items, and each page has the declarations. The
implementations that follow from others (blanket ones) are left out.
"""

import re
import sys
from html import unescape
from pathlib import Path

PARTS = (
    "implementations", "foreign-impls", "implementors",
    "trait-implementations", "synthetic-implementations",
    "blanket-implementations",
)


def text(html):
    """The text of a declaration, on one line."""
    html = html.replace('<div class="where">', " ")
    words = " ".join(unescape(re.sub(r"<[^>]+>", "", html)).split())
    words = re.sub(r"\( (?=\S)", "(", words)
    return re.sub(r",? \)", ")", words)


def declaration(html):
    """The lines of an item's declaration, as rustdoc breaks them."""
    html = re.sub(r"<summary.*?</summary>", "", html, flags=re.S).replace("</div>", "\n")
    lines = unescape(re.sub(r"<[^>]+>", "", html)).split("\n")
    return [line.rstrip() for line in lines if line.strip()]


def parts(page):
    """The page's head, and its parts by their ids."""
    starts = [(page.find(f'id="{name}"'), name) for name in PARTS]
    starts = sorted(start for start in starts if start[0] >= 0)
    ends = [place for place, _ in starts[1:]] + [len(page)]
    head = page[: starts[0][0]] if starts else page
    return head, {name: page[begin:end] for (begin, name), end in zip(starts, ends)}


def headers(html, levels):
    return [text(found) for found in re.findall(rf'<h[{levels}] class="code-header">(.*?)</h[{levels}]>', html, flags=re.S)]


def item(path, name, kind):
    """The lines of one item."""
    head, impls = parts(path.read_text(encoding="utf-8"))
    found = re.search(r'<pre class="rust item-decl"><code>(.*?)</code></pre>', head, flags=re.S)
    lines = [f"{kind} {name}", *("  " + line for line in declaration(found.group(1)))]
    lines += ["  " + line for line in headers(impls.get("implementations", ""), "34")]
    lines += ["  " + line for line in sorted(headers(impls.get("foreign-impls", ""), "3"))]
    lines += ["  " + line for line in sorted(headers(impls.get("trait-implementations", ""), "3"))]
    auto = [re.sub(r"^impl(<.*?>)? (\S+) for .*", r"\2", line) for line in headers(impls.get("synthetic-implementations", ""), "3")]
    if auto:
        lines.append("  auto: " + ", ".join(sorted(auto)))
    return "\n".join(lines)


def main():
    root = Path(sys.argv[1])
    listing = (root / "all.html").read_text(encoding="utf-8")
    links = sorted(set(re.findall(r'href="((?:\w+/)*(\w+)\.(\w+)\.html)"', listing)))
    items = [
        item(root / link, "::".join([root.name, *link.split("/")[:-1], name]), kind)
        for link, kind, name in links
        if not link.startswith("guide/")
    ]
    if not items:
        sys.exit("no items found")
    print("\n\n".join(items))


main()
