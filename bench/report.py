#!/usr/bin/env python3
"""Fills in what was measured: docs/performance.svg, and the tables and figures of docs/performance.md,
docs/design/performance-log.md and README.md.

    cargo bench --manifest-path bench/Cargo.toml --bench goals
    cargo bench --manifest-path bench/Cargo.toml --bench end_to_end
    python3 bench/rows.py
    python3 bench/report.py

A table is between `<!-- NAME -->` and `<!-- /NAME -->`, a figure between `<!--=NAME-->` and `<!--/-->`. Leaves what was not measured as it
is, and prints its name. Prints each goal that is short and has no paragraph in the log, or is met and has one.
"""

import json
import math
import re
import sys
from pathlib import Path

import chart

BENCH = Path(__file__).resolve().parent
ROOT = BENCH.parent
PAGE = ROOT / "docs" / "performance.md"
LOG = ROOT / "docs" / "design" / "performance-log.md"
README = ROOT / "README.md"

# What is compared with what.
GOALS = {
    1: "a key verified, against SHA-256 of the same key",
    2: "what the layer adds to a bare service, against that SHA-256",
    3: "the same with three header schemes, the key in the last",
    4: "the same with a pepper, against goal 2",
    5: "a refusal against an acceptance",
    6: "a guard above the layer, a key with 20 resources",
    7: "allocations of an accepted request",
    8: "a whole axum service against one with a layer that does nothing",
    9: "a JWT with HS256, against a key verified",
    10: "two threads, against one",
    11: "many keys against 10,000",
    12: "memory of a key",
    13: "a hit in a cache over a database, against memory",
    14: "one change in a store of a million keys",
    15: "the same key again, against SHA-256",
    16: "limits, against a layer without them",
    17: "limits of many nodes, against one process",
    18: "bounds of a key, against the same key without them",
}
# In bytes, by tests/behaviour/sizing.rs: docs/design/performance-log.md.
CACHED_RECORD = 1870
# An id and an organization, as the goals' keys have them; the bench leaves them out of a key's bytes.
OWN_TEXTS = 38
# PostgreSQL's message `NotificationResponse`: type, length, process, the channel's name, two bytes as hex. A heartbeat says 41 characters.
TOLD_CHANGE = 1 + 4 + 4 + len("tower_api_key") + 1 + 4 + 1
TOLD_BEAT = TOLD_CHANGE - 4 + 41

# The bounds of a key: what, the group, the item, and the one without.
BOUNDS = (
    ("16 allowed networks, the client in the last", "allowed addresses", "16 networks", "without a list"),
    ("cached rights, the owner may do as much", "owners' rights, cached, over memory", "the owner may do as much as the key", "without rights"),
    ("cached rights, the owner may do less", "owners' rights, cached, over memory", "the owner may do less than the key", "without rights"),
    ("the same over a cache, as much", "owners' rights, cached, over a cache", "the owner may do as much as the key", "without rights"),
    ("the same over a cache, less", "owners' rights, cached, over a cache", "the owner may do less than the key", "without rights"),
    ("a token in place of its key", "a token in place of its key", "a token of one permission", "the key"),
)

# Nanoseconds, measured once, apart from the library: the table under goal 15 in the log.
HASH, SIPHASH, PLAIN = 61, 26, 6

TTL, EPOCHS, MONTH = 600, 65_536, 30 * 86_400
CORES, DATABASES = 8, 64


class Found:
    """What the benches have written, as far as it is there."""

    def __init__(self, folder):
        self.goals = read(folder / "goals.json") or {"goals": [], "peers": [], "tables": []}
        self.whole = read(folder / "end_to_end.json") or {"goals": [], "variants": []}
        self.rows = read(folder / "rows.json")

    def all_goals(self):
        goals = self.goals["goals"] + [{"part": goal.get("name"), **goal} for goal in self.whole["goals"]]
        return sorted(goals, key=lambda goal: goal["goal"])

    def value(self, number, part=""):
        """The value of a goal, by how its part begins."""
        return next(g["value"] for g in self.all_goals() if g["goal"] == number and g["part"].startswith(part))

    def table(self, title):
        return next(table["rows"] for table in self.goals["tables"] if table["title"] == title)

    def row(self, title, name):
        return next(row for row in self.table(title) if row["name"] == name)

    def ns(self, title, name):
        return median(self.row(title, name))

    def variant(self, name):
        return next(variant for variant in self.whole["variants"] if variant["name"] == name)

    def cpu_us(self, name):
        variant = self.variant(name)
        return variant["user_us"] + variant["system_us"]


def main():
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else BENCH / "target"
    found = Found(folder)
    if found.goals["goals"]:
        print(chart.write(folder))
    for page in (PAGE, LOG, README):
        text = page.read_text(encoding="utf-8")
        text = re.sub(r"<!-- (\w+) -->\n.*?<!-- /\1 -->", lambda match: table(match, found), text, flags=re.DOTALL)
        text = re.sub(r"<!--=(\w+)-->.*?<!--/-->", lambda match: figure(match, found), text, flags=re.DOTALL)
        page.write_text(text, encoding="utf-8")
        print(page)
    for warning in paragraphs(found):
        print(f"look: {warning}")


def read(path):
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


# === tables ===


def table(match, found):
    name = match[1]
    make = TABLES.get(name)
    if make is None:
        return match[0]
    try:
        rows = make(found)
    except (StopIteration, RuntimeError, KeyError, TypeError):
        rows = None
    if not rows:
        print(f"look: the table {name} is left as it was: not all of it was measured")
        return match[0]
    return f"<!-- {name} -->\n{lines(rows)}\n<!-- /{name} -->"


def lines(rows):
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    head, *rest = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |" for row in rows]
    return "\n".join([head, "|" + "|".join("-" * (width + 2) for width in widths) + "|", *rest])


def goals(found):
    rows = [("goal", "what", "target", "by hand", "ours", "quartiles", "")]
    here = by_hand_here(found)
    before = None
    for goal in found.all_goals():
        number, part = goal["goal"], goal["part"]
        many = sum(other["goal"] == number for other in found.all_goals()) > 1
        what = f"{GOALS[number]}: {part}" if many or number == 12 else GOALS[number]
        if number == before:
            what = part
        spread = "exact" if goal["q1"] == goal["q3"] else f"{number_of(goal['q1'])} to {number_of(goal['q3'])}"
        rows.append((
            str(number) if number != before else "", what, f"{goal['op']} {number_of(goal['target'])}",
            here.get(number, "–") if number != before else "–", number_of(goal["value"]), spread, "ok" if goal["ok"] else "**short**",
        ))
        before = number
    return rows if len(rows) > 1 else None


def by_hand_here(found):
    """The layer written by hand."""
    verification, layer = "verification", "layer"
    by_hand, sha = found.ns(verification, "verify, written by hand"), found.ns(verification, "SHA-256 of the key")
    above = found.ns(layer, "layer written by hand") - found.ns(layer, "bare, Bearer")
    return {
        1: number_of(by_hand / sha),
        2: number_of(above / found.ns(layer, "SHA-256 of the key")),
        9: number_of(found.ns(verification, "JWT HS256") / by_hand),
    }


def peers(found):
    rows = [("peer", "what", "ns", "times ours")]
    kinds = {
        "check": ("a check", found.ns("verification", "verify")),
        "layer": ("above the service without it", above_bare(found)),
    }
    for kind, (what, ours) in kinds.items():
        rows.append(("**tower-api-key**", what, f"{ours:.0f}", "1"))
        some = [peer for peer in found.goals["peers"] if peer["compared_with"] == kind and not peer["name"].startswith("ours")]
        for peer in sorted(some, key=lambda peer: peer["ns"]):
            rows.append((peer["name"], what, f"{peer['ns']:,.0f}", number_of(peer["ratio"])))
    return rows


def end_to_end(found):
    rows = [("service", "CPU in all, times", "user CPU, times", "requests/s, times", "CPU a request", "p50", "p99", "p99.9")]
    for variant in found.whole["variants"]:
        late = variant["latency_us"]
        rows.append((
            variant["name"], f"{variant['cpu_ratio']:.3f}", f"{variant['user_ratio']:.3f}", f"{variant['rate_ratio']:.3f}",
            f"{variant['user_us'] + variant['system_us']:.2f} µs", *(f"{late[at] / 1000:.1f} ms" for at in ("p50", "p99", "p99.9")),
        ))
    return rows if len(rows) > 1 else None


def stages(found):
    """Each stage alone, and the remainder of the whole."""
    names = {
        "hash": "hash: padding and one compression",
        "find": "find the record, count its reference, compare its digest",
    }
    alone = [(what, *cost(found, "stages", name)) for name, what in names.items()]
    verify, layer, bare = cost(found, "stages", "verify"), "layer, one scheme", "bare, Bearer"
    above = less(cost(found, "layer", layer), cost(found, "layer", bare))
    insert = less(cost(found, "layer", "bare, and a principal inserted"), cost(found, "layer", bare))
    left = less(verify, *(row[1:] for row in alone))
    rest = less(above, verify, insert)
    how = ("`stages`; of it, the compression {:.0f} ns and {:.0f}", "`stages`")
    compression = cost(found, "stages", "compression")
    rows = [(what, *costs, said.format(*compression)) for (what, *costs), said in zip(alone, how)]
    rows += [
        ("find the header, parse the key, check its form, status and times; make the principal", *left, "`verify` less these two"),
        ("**verify**", *verify, "`stages`"),
        ("insert the principal into empty extensions, drop both", *insert, "`layer`: bare with an insert, less bare"),
        ("the rest of the layer: protocol, mark of the header, future, a reference count", *rest, "the remainder"),
        ("**layer above bare**", *above, "`layer`: with the layer, less bare"),
    ]
    return [
        ("stage", "ns", "instructions", "computed from"),
        *((what, f"{nanos:.0f}", f"{count:,.0f}", how) for what, nanos, count, how in rows),
    ]


def cost(found, title, name):
    row = found.row(title, name)
    return median(row), row["instructions"]


def less(all_of_it, *parts):
    return tuple(whole - sum(part) for whole, *part in zip(all_of_it, *parts))


def cache(found):
    rows = [("what", "`CachedStore`", "`MemoryStore`", "times")]
    for what, name in (("a key verified", "verify"), ("a service with the layer; ratio above bare", "layer")):
        sides = (cost(found, "cache", f"{name}, {store}") for store in ("cache", "memory"))
        cells = (f"{nanos:.0f} ns, {count:,.0f}" for nanos, count in sides)
        rows.append((what, *cells, number_of(found.value(13, name))))
    return rows


def sizing(found):
    keys = (10**6, 10**8, 10**10)
    rows, cpu = found.rows, found.cpu_us("tower-api-key")
    layer_us = cpu - found.cpu_us("no-op layer")
    each = found.value(12) + OWN_TEXTS
    row_bytes = rows["table_bytes"] + rows["index_bytes"]
    in_use = [n / 100 for n in keys]
    requests = [n / 10 for n in in_use]
    cores = [n * cpu / 1e6 for n in requests]
    nodes = [max(2, math.ceil(n / (CORES / 2))) for n in cores]
    per_key = [n * 2 / TTL for n in in_use]
    anywhere = [min(n * m / TTL, r) for n, m, r in zip(in_use, nodes, requests)]
    changes = [n / MONTH for n in keys]
    rate = rows["look_ups_per_second"]
    return [
        ("", "1 million", "100 million", "10 billion", "how"),
        ("keys in use", *map(amount, in_use), "1 of 100"),
        ("requests/s", *map(amount, requests), "keys in use ÷ 10 s"),
        ("cores for the whole service", *map(number_of, cores), f"requests × {cpu:.2f} µs (end to end, user and system)"),
        ("of them for the layer", *(number_of(n * layer_us / 1e6) for n in requests), f"requests × {layer_us:.2f} µs, more than with a no-op layer"),
        ("nodes", *map(str, nodes), f"{CORES} cores each, half busy; 2 at least"),
        ("`MemoryStore`, each node", *(size(n * each) for n in keys), f"keys × ({found.value(12):.0f} + {OWN_TEXTS} of texts) bytes (goal 12)"),
        ("`CachedStore` with all in use", *(size(n * 1.1 * CACHED_RECORD) for n in in_use), f"keys in use × 1.1 × {CACHED_RECORD:,} bytes (`sizing.rs`)"),
        ("rows in PostgreSQL, with indexes", *(size(n * row_bytes) for n in keys), f"keys × ({rows['table_bytes']:.0f} + {rows['index_bytes']:.0f}) bytes (`rows.py`)"),
        ("of them the index on `digest`", *(size(n * rows["digest_index_bytes"]) for n in keys), f"keys × {rows['digest_index_bytes']:.0f} bytes"),
        ("lookups/s, any node sees any key", *map(amount, anywhere), "keys in use × nodes ÷ ttl, requests at most"),
        ("lookups/s, two nodes for each key", *map(amount, per_key), "keys in use × 2 ÷ ttl"),
        ("servers for them", *(str(math.ceil(n / (rate / 2))) for n in per_key), f"half of {amount(rate)} lookups/s each (`rows.py`)"),
        ("hit rate that one server needs", *(percent(max(0, 1 - rate / 2 / n)) for n in requests), f"1 − {amount(rate / 2)} ÷ requests"),
        ("actual hit rate", *(percent(1 - n / r) for n, r in zip(per_key, requests)), "1 − lookups ÷ requests, two nodes for a key"),
        ("changes/s", *map(number_of, changes), "keys ÷ 30 days"),
        ("notifications to all nodes", *(size(n * m * TOLD_CHANGE) + "/s" for n, m in zip(changes, nodes)), f"changes × nodes × {TOLD_CHANGE} bytes"),
        ("heartbeats to all nodes", *(size(4 * n * n * TOLD_BEAT) + "/s" for n in nodes), f"4/s × nodes² × {TOLD_BEAT} bytes, lease 1 s"),
        ("time until a change hits an entry", *(span(EPOCHS / n) for n in changes), f"{EPOCHS:,} epochs ÷ changes/s"),
    ]


def apart(found):
    """Ten billion keys in databases of their own."""
    keys, rows = 10**10 / DATABASES, found.rows
    requests = 10**10 / 1000
    nodes = max(2, math.ceil(requests * found.cpu_us("tower-api-key") / 1e6 / (CORES / 2)))
    look_ups, changes = 10**8 * 2 / TTL / DATABASES, keys / MONTH
    return [
        ("each of 64 databases", "", "how"),
        ("rows", amount(keys), "10 billion ÷ 64"),
        ("table and indexes", size(keys * (rows["table_bytes"] + rows["index_bytes"])), "as above"),
        ("of them the index on `digest`", size(keys * rows["digest_index_bytes"]), "fits in memory"),
        ("lookups/s", amount(look_ups), f"a server does {amount(rows['look_ups_per_second'])} while all is in memory"),
        ("changes/s", number_of(changes), "rows ÷ 30 days"),
        ("time until a change hits an entry", span(EPOCHS / changes), "longer than the ttl of 10 minutes"),
        ("heartbeats", f"{4 * nodes * nodes:,}/s", f"4/s × {nodes}² nodes"),
        ("connections", f"{nodes * 10:,}", f"{nodes} nodes × (8 + 2)"),
    ]


def limits(found):
    memory, cache = "limits over a memory store", "limits over a cache"
    without = "without limits"
    rows = [("limits of the key", "over a `MemoryStore`", "over a `CachedStore`")]
    for name in (row["name"] for row in found.table(memory) if row["name"] != without):
        rows.append((name, *(f"{found.ns(title, name) - found.ns(title, without):.0f} ns" for title in (memory, cache))))
    any_key = f"{memory}, any key"
    more = found.ns(any_key, "one rate") - found.ns(any_key, without)
    rows.append(("one rate, each request by another of 10,000 keys", f"{more:.0f} ns", "–"))
    return rows


def bounds(found):
    rows = [("bound of the key", "ns", "instructions")]
    for what, title, name, without in BOUNDS:
        nanos, count = less(cost(found, title, name), cost(found, title, without))
        rows.append((what, f"{nanos:.0f}", f"{count:.0f}"))
    return rows


def rates(found):
    rows = [("one rate", "ns", "times ours"), ("**tower-api-key**, above its layer without limits", f"{one_rate(found):.0f}", "1")]
    peers = (peer for peer in found.goals["peers"] if peer["compared_with"] == "rate")
    return [*rows, *((peer["name"], f"{peer['ns']:.0f}", number_of(peer["ratio"])) for peer in peers)]


TABLES = {
    "goals": goals, "peers": peers, "end_to_end": end_to_end, "stages": stages, "cache": cache, "limits": limits, "rates": rates,
    "bounds": bounds,
    "sizing": sizing, "apart": apart,
}


# === figures ===


def figure(match, found):
    name = match[1]
    try:
        return f"<!--={name}-->{FIGURES[name](found)}<!--/-->"
    except (StopIteration, RuntimeError, KeyError, TypeError):
        print(f"look: the figure {name} is left as it was: it was not measured")
        return match[0]


FIGURES = {
    "verify_over_sha": lambda found: number_of(found.value(1)),
    "layer_over_sha": lambda found: number_of(found.value(2)),
    "three_over_sha": lambda found: number_of(found.value(3)),
    "jwt_over_verify": lambda found: number_of(found.value(9)),
    "again_over_sha": lambda found: number_of(found.value(15, "the same key again / SHA")),
    "guard_ns": lambda found: ns(found.ns("guard", "layer and guard") - found.ns("guard", "layer")),
    "wraps_ns": lambda found: ns(found.ns("guard", "layer and a service that only wraps") - found.ns("guard", "layer")),
    "by_hand_times": lambda found: number_of(found.value(2, "against the layer by hand")),
    "private_by_hand_times": lambda found: number_of(found.value(2, "against the layer by hand, with")),
    "user_more": lambda found: f"{(found.value(8, 'user') - 1) * 100:.0f} %",
    "cpu_more": lambda found: f"{(found.variant('tower-api-key')['cpu_ratio'] - 1) * 100:.1f} %",
    "user_us": lambda found: f"{found.variant('no-op layer')['user_us']:.1f}",
    "user_more_ns": lambda found: f"{(found.value(8, 'user') - 1) * found.variant('no-op layer')['user_us'] * 1000:.0f}",
    "sha_ns": lambda found: ns(found.ns("verification", "SHA-256 of the key")),
    "verify_ns": lambda found: ns(found.ns("verification", "verify")),
    "hash_ns": lambda found: ns(found.ns("stages", "hash")),
    "hash_over_sha": lambda found: number_of(found.ns("stages", "hash") / found.ns("verification", "SHA-256 of the key")),
    "again_ns": lambda found: ns(found.ns("verification", "verify, the same key again")),
    "by_hand_ns": lambda found: ns(found.ns("verification", "verify, written by hand")),
    "by_hand_over_sha": lambda found: by_hand_here(found)[1],
    "by_hand_layer_over_sha": lambda found: by_hand_here(found)[2],
    "by_hand_jwt": lambda found: by_hand_here(found)[9],
    "jwt_ns": lambda found: ns(found.ns("verification", "JWT HS256")),
    "jwt_over_sha": lambda found: number_of(
        found.ns("verification", "JWT HS256") / found.ns("verification", "SHA-256 of the key")
    ),
    "verify_for_13": lambda found: ns(found.ns("verification", "JWT HS256") / 13),
    "beside_hash_ns": lambda found: ns(found.ns("verification", "verify") - found.ns("stages", "hash")),
    "room_ns": lambda found: ns(0.7 * found.ns("verification", "SHA-256 of the key")),
    "goal_15_ns": lambda found: ns(1.6 * found.ns("verification", "SHA-256 of the key")),
    "above_ns": lambda found: ns(above_bare(found)),
    "insert_ns": lambda found: ns(
        found.ns("layer", "bare, and a principal inserted") - found.ns("layer", "bare, Bearer")
    ),
    "goal_2_ns": lambda found: ns(2.8 * found.ns("layer", "SHA-256 of the key")),
    "goal_2_rest_ns": lambda found: ns(
        2.8 * found.ns("layer", "SHA-256 of the key")
        - (found.ns("layer", "bare, and a principal inserted") - found.ns("layer", "bare, Bearer"))
        - found.ns("stages", "hash")
    ),
    "beside_mac_ns": lambda found: ns(without_hash(found, SIPHASH)),
    "with_mac_over_sha": lambda found: number_of(without_hash(found, SIPHASH) / found.ns("verification", "SHA-256 of the key")),
    "with_plain_over_sha": lambda found: number_of(without_hash(found, PLAIN) / found.ns("verification", "SHA-256 of the key")),
    "guard_instructions": lambda found: f"{less(cost(found, 'guard', 'layer and guard'), cost(found, 'guard', 'layer'))[1]:.0f}",
    "networks_instructions": lambda found: bounds(found)[1][2],
    "rights_instructions": lambda found: bounds(found)[3][2],
    "read_ns": lambda found: ns(found.ns("stages", "verify") - found.ns("stages", "hash") - found.ns("stages", "find")),
    "flat_out": lambda found: amount(float(p99(found, "FlatOut")["name"].split()[1])),
    "neighbour": lambda found: number_of(median(p99(found, "Elsewhere")) / median(p99(found, "Nothing"))),
    "bytes_a_key": lambda found: number_of(found.value(12)),
    "look_up_us": lambda found: f"{found.rows['one_look_up_us']:.0f}",
}


def without_hash(found, nanos):
    """The same key again, if a comparison that takes so long stood in the place of the hash."""
    return found.ns("verification", "verify, the same key again") - HASH + nanos


# === the page ===


def paragraphs(found):
    """Where the log and the goals disagree."""
    text = LOG.read_text(encoding="utf-8")
    told = {int(number) for names in re.findall(r"^\*\*Goals? ([\d, and]+)", text, re.MULTILINE) for number in re.findall(r"\d+", names)}
    short = {goal["goal"] for goal in found.all_goals() if not goal["ok"]}
    measured = {goal["goal"] for goal in found.all_goals()}
    yield from (f"goal {number} was not measured" for number in sorted(GOALS.keys() - measured))
    yield from (f"goal {number} is short, and no paragraph says why" for number in sorted(short - told))
    yield from (f"goal {number} is met, and a paragraph says why it is short" for number in sorted((told - short) & measured))


# === numbers ===


def above_bare(found):
    return found.ns("layer", "layer, one scheme") - found.ns("layer", "bare, Bearer")


def one_rate(found):
    return found.ns("peers, a rate", "ours, layer with a rate") - found.ns("peers, a rate", "ours, layer")


def p99(found, changes):
    """The readers' 99th percentile beside so many changes."""
    rows = next(table["rows"] for table in found.goals["tables"] if table["title"].startswith("p99"))
    return next(row for row in rows if row["name"].startswith(changes))


def median(row):
    return row["nanos"]["median"]


def number_of(value):
    """Three digits are enough, and as many as the whole part has."""
    if value >= 100:
        return f"{value:,.0f}"
    if value >= 20:
        return f"{value:.0f}"
    if value == int(value):
        return f"{value:.0f}"
    return f"{value:.2f}" if value >= 0.1 else f"{value:.1g}"


def ns(value):
    return f"{value:,.0f}"


def amount(value):
    for unit, name in ((1e9, " G"), (1e6, " M")):
        if value >= unit:
            return f"{value / unit:.3g}{name}"
    return f"{float(f'{value:.2g}'):,.0f}"


def size(value):
    for unit, name in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if value >= unit:
            return f"{float(f'{value / unit:.2g}'):g} {name}"
    return f"{value:.0f} bytes"


def percent(share):
    return f"{share * 100:.3g} %"


def span(seconds):
    for unit, name in ((3600, "h"), (60, "min")):
        if seconds >= 2 * unit:
            return f"{seconds / unit:.0f} {name}"
    return f"{seconds:.0f} s"


if __name__ == "__main__":
    main()
