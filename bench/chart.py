"""Draws docs/performance.svg from what the benches have written, for report.py.

Times become multiples of one SHA-256 of a key: a ratio holds for more machines than the one that was measured.
"""

import json
import math
from html import escape
from pathlib import Path

BENCH = Path(__file__).resolve().parent
CHART = BENCH.parent / "docs" / "performance.svg"

# How a peer is called in the chart, and what it does not do.
NAMES = {
    "written by hand": ("written by hand, no library", ""),
    "tollgate-auth, registry": ("tollgate-auth", "with a pepper"),
    "tollgate-auth, the same key again": ("tollgate-auth, same key again", "compares, no hash"),
    "tower-http ValidateRequestHeaderLayer::bearer": ("tower-http bearer", "one token, no caller"),
    "tower-http AsyncRequireAuthorizationLayer": ("tower-http async-require", "the check by hand"),
    "axum from_fn": ("axum from_fn", "the check by hand"),
    "axum-login": ("axum-login", "a session, in memory"),
}
OURS = "tower-api-key"

WIDTH, LABELS, VALUES, EDGE = 840, 250, 210, 24
ROW, BAR = 26, 14
LEAST, MOST = 0.1, 100

STYLE = """
  .back { fill: #ffffff; stroke: #d0d7de }
  text { font: 13px system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; fill: #1f2328 }
  .value { paint-order: stroke; stroke: #ffffff; stroke-width: 5px }
  .title { font-size: 17px; font-weight: 600 }
  .panel, .ours { font-weight: 600 }
  .small { font-size: 11px; fill: #59636e }
  .grid { stroke: #d8dee4 }
  .bar { fill: #8c959f }
  .bar.ours { fill: #0969da }
  @media (prefers-color-scheme: dark) {
    .back { fill: #0d1117; stroke: #3d444d }
    text { fill: #f0f6fc }
    .value { stroke: #0d1117 }
    .small { fill: #9198a1 }
    .grid { stroke: #2f353d }
    .bar { fill: #656c76 }
    .bar.ours { fill: #4493f8 }
  }
"""


class Bar:
    def __init__(self, name, value, label, note=""):
        self.name, self.value, self.label, self.note = name, value, label, note


class Axis:
    """The position of a value between the labels and the numbers."""

    def __init__(self, ticks, place, label):
        self.ticks, self.place, self.label = ticks, place, label

    def x(self, value):
        share = min(max(self.place(value), 0), 1)
        return LABELS + share * (WIDTH - LABELS - VALUES)


def write(folder):
    """Draws what is in the folder, and says where."""
    goals = read(folder / "goals.json")
    logarithm = math.log10(MOST / LEAST)
    sha = Axis(
        [(tick, f"{tick:g}") for tick in (0.1, 1, 10, 100)],
        lambda value: math.log10(value / LEAST) / logarithm,
        "times one SHA-256 of a key, log scale",
    )
    panels = [
        ("One key checked, without a service", checks(goals), sha),
        ("A layer, above the same service without it", layers(goals), sha),
    ]
    whole = read(folder / "end_to_end.json")
    if whole is not None:
        share = Axis(
            [(tick / 100, f"+{tick} %" if tick else "0") for tick in (0, 10, 20, 30)],
            lambda value: value / 0.3,
            "CPU for a request, user and system, more than with a layer that does nothing",
        )
        panels.append(("A whole axum service over loopback", services(whole), share))
    CHART.write_text(draw(panels), encoding="utf-8")
    return CHART


def read(path):
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def checks(found):
    return compared(found, "check", 1)


def layers(found):
    return compared(found, "layer", 2)


def compared(found, with_what, goal):
    """Ours, and each peer as so many times ours."""
    ours = next(row["value"] for row in found["goals"] if row["goal"] == goal)
    bars = [Bar(OURS, ours, times(ours))]
    for peer in found["peers"]:
        if peer["compared_with"] == with_what and not peer["name"].startswith("ours"):
            name, note = NAMES.get(peer["name"], (peer["name"], ""))
            bars.append(Bar(name, ours * peer["ratio"], times(ours * peer["ratio"]), note))
    return sorted(bars, key=lambda bar: bar.value)


def services(found):
    bars = []
    for variant in found["variants"]:
        if variant["name"] not in ("no-op layer", "no layer"):
            more = variant["cpu_ratio"] - 1
            rate = f"{variant['rate_ratio']:.2f} × its requests/s"
            bars.append(Bar(variant["name"], more, f"{more * 100:+.1f} %", rate))
    return sorted(bars, key=lambda bar: bar.value)


def times(value):
    digits = 0 if value >= 20 else 1 if value >= 1 else 2
    return f"{value:.{digits}f} ×"


def draw(panels):
    parts, y = [], 76
    for title, bars, axis in panels:
        parts.append(f'<text class="panel" x="{EDGE}" y="{y}">{escape(title)}</text>')
        top = y + 12
        bottom = top + ROW * len(bars)
        for tick, label in axis.ticks:
            x = axis.x(tick)
            parts.append(f'<line class="grid" x1="{x:.1f}" y1="{top}" x2="{x:.1f}" y2="{bottom}"/>')
            parts.append(f'<text class="small" x="{x:.1f}" y="{bottom + 14}" text-anchor="middle">{label}</text>')
        for place, bar in enumerate(bars):
            parts.append(draw_bar(bar, axis, top + ROW * place + ROW // 2))
        parts.append(f'<text class="small" x="{LABELS}" y="{bottom + 30}">{escape(axis.label)}</text>')
        y = bottom + 64
    caption = "Ratios of medians, one run. Less is better."
    parts.append(f'<text class="small" x="{EDGE}" y="{y - 8}">{caption}</text>')
    height = y + 8
    title = "What a check of an API key costs"
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img" '
        f'aria-label="{title}">',
        f"<title>{title}</title>",
        f"<style>{STYLE}</style>",
        f'<rect class="back" x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1}" rx="8"/>',
        f'<text class="title" x="{EDGE}" y="38">{title}</text>',
        *parts,
        "</svg>\n",
    ])


def draw_bar(bar, axis, middle):
    ours = " ours" if bar.name == OURS else ""
    start, end = LABELS, axis.x(bar.value)
    note = f'  <tspan class="small">{escape(bar.note)}</tspan>' if bar.note else ""
    return (
        f'<text class="{ours.strip()}" x="{LABELS - 10}" y="{middle + 4}" text-anchor="end">{escape(bar.name)}</text>'
        f'<rect class="bar{ours}" x="{start}" y="{middle - BAR // 2}" width="{max(end - start, 1):.1f}" height="{BAR}" rx="2"/>'
        f'<text class="value{ours}" x="{end + 8:.1f}" y="{middle + 4}">{escape(bar.label)}{note}</text>'
    )
