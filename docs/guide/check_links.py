#!/usr/bin/env python3
"""Fails on a dead link in the guide, the rustdoc and every Markdown page of the repository.

    mdbook build docs/guide && cargo doc --no-deps --all-features && python3 docs/guide/check_links.py

Checks relative links and their anchors: of the book in `target/guide`, of `target/doc` and of the Markdown files as GitHub
shows them. A link to a file of this repository on GitHub is checked as that file. Other sites are not visited.
"""

import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

ROOT = Path(__file__).resolve().parents[2]
BOOK, DOC = ROOT / "target" / "guide", ROOT / "target" / "doc" / "tower_api_key"
GITHUB = "https://github.com/tower-api-key/tower-api-key/blob/main/"
PAGES = ("*.md", "docs/**/*.md", "bench/*.md", "cli/*.md", "tests/**/*.md", "examples/**/*.md", ".github/**/*.md")


class Page(HTMLParser):
    """The links and the anchors of an HTML page."""

    def __init__(self, text):
        super().__init__()
        self.links, self.anchors = [], set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.anchors.update(attrs[name] for name in ("id", "name") if attrs.get(name))
        link = attrs.get({"a": "href", "img": "src"}.get(tag))
        if link:
            self.links.append(link)


def html(path):
    page = Page(path.read_text(encoding="utf-8"))
    return page.links, page.anchors


def markdown(path):
    """The links and the anchors of a Markdown page on GitHub, without what is in code."""
    text = re.sub(r"^( *)(```+|~~~+).*?^ *\2[`~]* *$", "", path.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    anchors, seen = set(), {}
    for heading in re.findall(r"^#{1,6} +(.*?) *#*$", text, re.MULTILINE):
        heading = re.sub(r"\[([^\]]*)\](\([^)]*\)|\[[^\]]*\])", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        count = seen[slug] = seen.get(slug, -1) + 1
        anchors.add(f"{slug}-{count}" if count else slug)
    anchors.update(re.findall(r'<a (?:id|name)="([^"]+)"', text))
    text = re.sub(r"(`+).*?\1", "`", text, flags=re.DOTALL)
    labels = {label.lower(): link for label, link in re.findall(r"^ {0,3}\[([^\]]+)\]: +(\S+)", text, re.MULTILINE)}
    links = [*re.findall(r"\]\(\s*<?([^)\s>]+)", text), *labels.values()]
    for label in re.findall(r"\]\[([^\]]+)\]", text):
        if " ".join(label.lower().split()) not in labels:
            links.append(f"[{label}]")
    return links, anchors


class Links:
    """Looks each page up once."""

    def __init__(self):
        self.pages, self.dead, self.count = {}, [], 0

    def read(self, path):
        if path not in self.pages:
            self.pages[path] = (markdown if path.suffix == ".md" else html)(path)
        return self.pages[path]

    def check(self, page):
        for link in self.read(page)[0]:
            self.count += 1
            why = self.fault(page, link)
            if why:
                self.dead.append(f"{page.relative_to(ROOT)}: {link}: {why}")

    def fault(self, page, link):
        if link.startswith("["):
            return "the label is not defined"
        if link.startswith(GITHUB):
            page, link = ROOT / "README.md", link.removeprefix(GITHUB)
        elif re.match(r"[a-z][a-z0-9+.-]*:|//", link):
            return None
        if DOC in page.parents and re.fullmatch(r"[^#./][^./]*|#tymethod[.].*", link):
            return None  # in the text of a dependency's trait
        file, _, anchor = link.partition("#")
        file = unquote(file.partition("?")[0])
        target = (page.parent / file).resolve() if file else page
        if target.is_dir() and page.suffix == ".html":
            target /= "index.html"
        if not target.exists():
            return "no such file"
        if not anchor or target.suffix not in (".md", ".html") or DOC.parent / "src" in target.parents:
            return None
        anchors = self.read(target)[1]
        return None if anchor in anchors or unquote(anchor) in anchors else "no such anchor"


def main():
    links = Links()
    for built in (BOOK, DOC):
        if not (built / "index.html").exists():
            sys.exit(f"{built} is missing: see the head of this script")
    pages = {page for pattern in PAGES for page in ROOT.glob(pattern) if not page.is_relative_to(ROOT / "target")}
    # Redirects and the page for printing have no links of their own.
    pages |= {page for page in BOOK.rglob("*.html") if page.name not in ("print.html", "404.html", "toc.html")}
    pages |= set(DOC.rglob("*.html"))
    pages.discard(ROOT / "docs" / "guide" / "rustdoc-links.md")
    for page in sorted(pages):
        links.check(page)
    print(f"{links.count} links on {len(pages)} pages, {len(links.dead)} dead")
    sys.exit("\n".join(links.dead) or None)


if __name__ == "__main__":
    main()
