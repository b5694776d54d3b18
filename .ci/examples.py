#!/usr/bin/env python3
"""Fails if a public item has no example, neither on its page nor behind a link of its description.

    cargo doc --no-deps --all-features && python3 .ci/examples.py target/doc/tower_api_key
"""

import re
import sys
from pathlib import Path

EXAMPLE = "rust-example-rendered"
ITEM = re.compile(r"(struct|enum|trait|fn|macro|type|constant)\..*\.html")


def own_part(page):
    """The page without the implementations of foreign traits."""
    return page.read_text().split('id="main-content"', 1)[1].split('id="trait-implementations"')[0]


def links(page):
    description = own_part(page).split('id="implementations"')[0]
    for link in re.findall(r'href="([^"#]+)', description):
        yield (page.parent / link).resolve()


root = Path(sys.argv[1])
pages = [page.resolve() for page in root.rglob("*.html") if ITEM.fullmatch(page.name)]
pages = [page for page in pages if 'http-equiv="refresh"' not in page.read_text()]
shown = {page for page in pages if EXAMPLE in own_part(page)}
missing = [page for page in pages if page not in shown and shown.isdisjoint(links(page))]
for page in missing:
    print("no example, and no link to one:", page.relative_to(root.resolve()))
if missing or not shown:
    sys.exit(1)
print(f"{len(pages)} public items: {len(shown)} have an example, {len(pages) - len(shown)} a link to one")
