#!/usr/bin/env python3
"""Measures the choices of the write path against raw COPY, in one run: what docs/decisions/ quotes.

    bench/write_path.py postgresql://…          (pip install psycopg2-binary; the ledger is migrated there already)

Rounds of every candidate alternate, and the median of the ratios to COPY in the same round is printed, with its spread: on a
shared machine absolute times mean nothing. It writes to tables of its own in the schema bench_write_path, and to the ledger given
by JOBLEDGER_SCHEMA (default jobledger).
"""
import io, json, os, statistics, sys, time, uuid
import psycopg2

ROUNDS, BATCH, BATCHES = 7, 1000, 8
schema = os.environ.get("JOBLEDGER_SCHEMA", "jobledger")
db = psycopg2.connect(sys.argv[1])
db.autocommit = True
sql = db.cursor()
message = "x" * 250
columns = "position bigint PRIMARY KEY, event_id uuid UNIQUE, stream_id text, version int, type text, data {0}, metadata {0}, recorded_at timestamptz, UNIQUE (stream_id, version)"
sql.execute("DROP SCHEMA IF EXISTS bench_write_path CASCADE; CREATE SCHEMA bench_write_path")
for name, kind in [("copied", "json"), ("copied_bare", "json"), ("unnest_json", "json"), ("unnest_jsonb", "jsonb"), ("by_counter", "json")]:
    definition = columns.format(kind)
    if name == "copied_bare":
        definition = definition.replace(" PRIMARY KEY", "").replace(" UNIQUE", "", 1).replace(", UNIQUE (stream_id, version)", "")
    sql.execute(f"CREATE TABLE bench_write_path.{name} ({definition})")
sql.execute("CREATE TABLE bench_write_path.head (position bigint); INSERT INTO bench_write_path.head VALUES (0)")
# Every round appends to jobs of its own, queued beforehand.
counters = {}


def batch(name):
    start = counters.get(name, 0)
    counters[name] = start + BATCH
    return [(start + i + 1, str(uuid.uuid4()), f"job-{name}-{i % 100}", start // 100 + i // 100 + 1,
             "progress", json.dumps({"completed": i, "message": message}), "{}") for i in range(BATCH)]


def copy(name):
    rows = batch(name)
    text = "".join("\t".join(map(str, row)) + "\tnow\n" for row in rows)
    start = time.perf_counter()
    sql.copy_expert(f"COPY bench_write_path.{name} FROM STDIN", io.StringIO(text))
    return time.perf_counter() - start


def unnest(name, serialise):
    rows = list(zip(*batch(name)))
    start = time.perf_counter()
    sql.execute("BEGIN")
    sql.execute(serialise)
    kind = "jsonb" if name.endswith("jsonb") else "json"
    sql.execute(f"""INSERT INTO bench_write_path.{name}
        SELECT base + row_number() OVER (), e.id, e.job, e.version, e.type, e.data::{kind}, e.metadata::{kind}, clock_timestamp()
          FROM (SELECT coalesce(max(position), 0) AS base FROM bench_write_path.{name}) AS head,
               unnest(%s::uuid[], %s::text[], %s::int[], %s::text[], %s::text[], %s::text[]) AS e (id, job, version, type, data, metadata)""",
                [list(c) for c in rows[1:]])
    sql.execute("COMMIT")
    return time.perf_counter() - start


def append(name):
    rows = list(zip(*batch(name)))
    start = time.perf_counter()
    sql.execute(f"SELECT count(code) FROM {schema}.append(%s::text[], %s::text[], %s::text[], event_ids => %s::uuid[])",
                [list(rows[2]), list(rows[4]), list(rows[5]), list(rows[1])])
    refused = sql.fetchone()[0]
    assert refused == 0, refused
    return time.perf_counter() - start


run = uuid.uuid4().hex[:6]
append_name = f"append-{run}"
jobs = [f"job-{append_name}-{i}" for i in range(100)]
sql.execute(f"SELECT count(code) FROM {schema}.append(%s::text[], %s::text[], %s::text[])", [jobs, ["queued"] * 100, ['{"name":"n"}'] * 100])
candidates = {
    "raw COPY, the same three indexes": lambda: copy("copied"),
    "raw COPY, no index": lambda: copy("copied_bare"),
    "insert of arrays under an advisory lock, json": lambda: unnest("unnest_json", "SELECT pg_advisory_xact_lock(42)"),
    "insert of arrays under an advisory lock, jsonb": lambda: unnest("unnest_jsonb", "SELECT pg_advisory_xact_lock(43)"),
    "insert of arrays under a counter row, json": lambda: unnest("by_counter", f"UPDATE bench_write_path.head SET position = position + {BATCH}"),
    "append(), every check": lambda: append(append_name),
}
times = {name: [] for name in candidates}
for _ in range(ROUNDS):
    for name, work in candidates.items():
        times[name].append(sum(work() for _ in range(BATCHES)))
base = times["raw COPY, the same three indexes"]
print(f"{ROUNDS} rounds of {BATCHES} transactions of {BATCH} events; ratio of throughput to raw COPY into the same indexes")
for name, values in times.items():
    ratios = sorted(b / v for b, v in zip(base, values))
    print(f"  {statistics.median(ratios):5.2f}  ({ratios[0]:.2f}–{ratios[-1]:.2f})  {name}")
sql.execute("DROP SCHEMA bench_write_path CASCADE")
