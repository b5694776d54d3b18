#!/usr/bin/env python3
"""Measures what a key takes in PostgreSQL, and what a look-up of it costs there: bench/target/rows.json.

    python3 bench/rows.py            # a million keys, two minutes
    python3 bench/rows.py 100000

Needs PostgreSQL's programs, and no running server: it starts one of its own, in a folder of its own, that listens on no network.
"""

import json
import os
import pwd
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

BENCH = Path(__file__).resolve().parent
SCHEMA = BENCH.parent / "src" / "store" / "postgres" / "1.sql"
FOUND = BENCH / "target" / "rows.json"

CLIENTS, SECONDS = 8, 10

# A key as products store it: an owner, an organization, a name, a mask, two grants. No node listens, so no trigger notifies.
FILL = """
set synchronous_commit = off;
alter table api_keys disable trigger api_keys_tell;
insert into api_keys
select md5(i::text), sha256(i::text::bytea), 1, 'active', 'user', 'user_' || i / 3, 'org_' || i %% 10000, 'live', 'key ' || i,
    'hopx_live_' || left(md5(i::text), 4) || '...', '[["links", ["read", "create"]]]', false, '{}', 1767225600000000,
    null, null, null, null, null, 0
from generate_series(1, %d) i;
vacuum analyze api_keys;
checkpoint;
"""
SIZES = """
select json_build_object('table', pg_table_size('api_keys'), 'indexes', pg_indexes_size('api_keys'),
    'digest', pg_relation_size('api_keys_digest_key'));
"""
LOOK_UP = "\\set i random(1, %d)\nselect * from api_keys where digest = sha256(:i::text::bytea);\n"


def main():
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    folder = Path(tempfile.mkdtemp(prefix="tower-api-key-rows-"))
    folder.chmod(0o755)
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres")
    try:
        run("initdb", "-D", folder / "data", "-U", "postgres", "-A", "trust")
        settings = f"-k {folder} -c listen_addresses='' -c shared_buffers=1GB -c max_wal_size=4GB"
        run("pg_ctl", "-D", folder / "data", "-l", folder / "log", "-o", settings, "-w", "start")
        try:
            found = measure(folder, rows)
        finally:
            run("pg_ctl", "-D", folder / "data", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder)
    FOUND.parent.mkdir(exist_ok=True)
    FOUND.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    print(FOUND.read_text(encoding="utf-8"))


def measure(folder, rows):
    psql = ["psql", "-h", folder, "-U", "postgres", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"]
    run(*psql, text=SCHEMA.read_text(encoding="utf-8"))
    run(*psql, text=FILL % rows)
    sizes = json.loads(run(*psql, text=SIZES))
    look_ups(folder, rows, CLIENTS)  # warms up
    return {
        "rows": rows,
        "table_bytes": sizes["table"] / rows,
        "index_bytes": sizes["indexes"] / rows,
        "digest_index_bytes": sizes["digest"] / rows,
        "one_look_up_us": 1e6 / look_ups(folder, rows, 1),
        "look_ups_per_second": look_ups(folder, rows, CLIENTS),
        "clients": CLIENTS,
    }


def look_ups(folder, rows, clients):
    """Look-ups by digest in a second, each of a random row, the load on the same machine."""
    arguments = ["-h", folder, "-U", "postgres", "-n", "-M", "prepared", "-c", clients, "-j", min(clients, 2), "-T", SECONDS]
    script = folder / "look_up.sql"
    script.write_text(LOOK_UP % rows, encoding="utf-8")
    text = run("pgbench", *arguments, "-f", script, "postgres")
    return float(re.search(r"tps = ([\d.]+)", text)[1])


def run(program, *arguments, text=None):
    """One of PostgreSQL's programs. It does not run as root, so root runs it as `postgres`."""
    user = {}
    if os.geteuid() == 0:
        owner = pwd.getpwnam("postgres")
        user = {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []}
    # A running server would hold a pipe open, so only the output of commands that end is read.
    stdout, stderr = (subprocess.DEVNULL, subprocess.DEVNULL) if program == "pg_ctl" else (subprocess.PIPE, None)
    command = [find(program), *map(str, arguments)]
    return subprocess.run(command, input=text, stdout=stdout, stderr=stderr, text=True, check=True, cwd="/", **user).stdout


def find(program):
    places = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{program}"))
    return str(places[-1]) if places else program


if __name__ == "__main__":
    main()
