#!/usr/bin/env python3
"""Writes the programs and the commands of a page of the guide into a folder.

    python3 .ci/guide_blocks.py docs/guide/src/clients.md FOLDER

A block after "Save … as `NAME`:" is the file NAME. All blocks in `sh` are the file `commands.sh`, in the order of the page. A
block in `text` is left out.
"""

import re
import sys
from pathlib import Path

page, folder = Path(sys.argv[1]), Path(sys.argv[2])
commands, files = [], {}
text = page.read_text(encoding="utf-8")
for block in re.finditer(r"^```(\w+)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
    language, body = block.groups()
    named = re.search(r"as `([\w.]+)`:\s*\Z", text[: block.start()])
    if language == "sh":
        commands.append(body)
    elif language == "text":
        continue
    elif named:
        files[named[1]] = body
    else:
        sys.exit(f"{page}: a block of {language} has no name")
if not commands or not files:
    sys.exit(f"{page}: no commands or no files")
for name, body in files.items():
    (folder / name).write_text(body, encoding="utf-8")
(folder / "commands.sh").write_text("set -euo pipefail\n" + "\n".join(commands), encoding="utf-8")
