#!/usr/bin/env python3
"""A stand-in for the other implementation's file backends.

It reads and writes record files with the same observable behaviour, and with
nothing but the standard library, so that tests can let both sides work on one
file. Every command prints one JSON value on stdout.

    peer.py append  PATH [--layout json|rotating]   facts as a JSON array on stdin
    peer.py list    PATH events|audits|dead_letters
    peer.py scan    PATH
    peer.py compact PATH [--max-records N] [--max-age SECONDS]
    peer.py recover PATH --mode repair|quarantine [--quarantine-dir DIR]

The behaviour that matters to us:

* A line is json.dumps with its default separators (", " and ": "). The one-file
  layout writes "kind" first and non-ASCII raw, the rotating one writes "kind"
  last and escapes non-ASCII.
* Values that JSON has no form for become str(value); NaN and Infinity are
  written as such.
* Reading is line by line in text mode: a bare CR ends a line, a byte that is
  not UTF-8 ends the reading. Lines that do not parse, and values that are not
  objects, are passed over.
* A fact takes from its object the members that it knows and ignores the rest.
  Where members are missing it falls back to defaults, but for the timestamp.
* compact and recover load every object and dump it again, members in the order
  of the file.
"""

import argparse
import dataclasses
import json
import os
import sys
import time
from pathlib import Path


@dataclasses.dataclass(frozen=True)
class Event:
    system_id: str
    actor_address: object
    event_type: str
    payload: object
    timestamp: float


@dataclasses.dataclass(frozen=True)
class Audit:
    system_id: str
    timestamp: float
    total_actors: int
    alive_actors: int
    stopping_actors: int
    restarting_actors: int
    registry_size: int
    registry_orphans: tuple
    registry_dead: tuple
    dead_letters_count: int


@dataclasses.dataclass(frozen=True)
class DeadLetter:
    system_id: str
    target: object
    message_type: str
    payload: object
    timestamp: float


FACTS = {"event": Event, "audit": Audit, "dead_letter": DeadLetter}
CATEGORIES = {"events": "event", "audits": "audit", "dead_letters": "dead_letter"}
FALLBACK = {
    "system_id": "local",
    "actor_address": None,
    "event_type": "",
    "target": None,
    "message_type": "",
    "registry_orphans": (),
    "registry_dead": (),
}


def as_json(value):
    """What json.dumps falls back to."""
    if dataclasses.is_dataclass(value):
        return {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    return str(value)


def fact_of(row, strict):
    """The fact in an object; strict=False fills in what is missing."""
    cls = FACTS[row["kind"]]
    values = {}
    for field in dataclasses.fields(cls):
        if field.name in row:
            values[field.name] = row[field.name]
        elif strict or field.name == "timestamp":
            raise KeyError(field.name)
        elif field.name == "payload":
            values["payload"] = {} if cls is Event else None
        else:
            values[field.name] = FALLBACK.get(field.name, 0)
    return cls(**values)


def objects(path):
    """Every object of a file, in order."""
    with open(path, mode="r", encoding="utf-8") as file:
        for line in file:
            line = line.strip()
            if not line:
                continue
            try:
                row = json.loads(line)
            except ValueError:
                continue
            if isinstance(row, dict):
                yield row


def dump(row):
    return json.dumps(row, ensure_ascii=False, default=as_json) + "\n"


def append(path, facts, layout):
    path.parent.mkdir(parents=True, exist_ok=True)
    for values in facts:
        values = dict(values)
        kind = values.pop("kind")
        fact = as_json(FACTS[kind](**values))
        if layout == "json":
            line = dump({"kind": kind, **fact})
        else:
            line = json.dumps({**fact, "kind": kind}, default=as_json) + "\n"
        with open(path, mode="a", encoding="utf-8") as file:
            file.write(line)
    return len(facts)


def list_facts(path, kind):
    out = []
    for row in objects(path):
        if row.get("kind") != kind:
            continue
        try:
            fact = fact_of(row, strict=True)
        except (KeyError, TypeError):
            try:
                fact = fact_of(row, strict=False)
            except (KeyError, TypeError):
                continue
        out.append(fact)
    return out


def scan(path):
    anomalies = []
    with open(path, mode="r", encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            if not line.endswith("\n"):
                anomalies.append({"type": "TRUNCATED_LINE", "line": number})
                break
            try:
                json.loads(line)
            except ValueError:
                anomalies.append({"type": "CORRUPTED_LINE", "line": number})
    return anomalies


def replace(path, temporary, rows):
    with open(temporary, mode="w", encoding="utf-8") as file:
        for row in rows:
            file.write(dump(row))
    os.replace(temporary, path)


def compact(path, max_records, max_age):
    rows = list(objects(path))
    before = len(rows)
    if max_age is not None:
        oldest = time.time() - max_age
        rows = [r for r in rows if r.get("timestamp") is not None and r["timestamp"] >= oldest]
    if max_records is not None:
        rows = rows[-max_records:]
    replace(path, path.with_suffix(path.suffix + ".compact.tmp"), rows)
    return {"before_records": before, "after_records": len(rows)}


def recover(path, mode, quarantine_dir):
    rows = []
    with open(path, mode="r", encoding="utf-8") as file:
        for line in file:
            if not line.endswith("\n"):
                break
            try:
                row = json.loads(line)
            except ValueError:
                continue
            if isinstance(row, dict):
                rows.append(row)
    quarantined = []
    if mode == "quarantine":
        folder = Path(quarantine_dir) if quarantine_dir else path.parent
        folder.mkdir(parents=True, exist_ok=True)
        aside = folder / f"{path.name}.quarantine.{int(time.time() * 1000)}"
        os.replace(path, aside)
        quarantined.append(str(aside))
    replace(path, path.with_suffix(path.suffix + ".recovered.tmp"), rows)
    return {"kept": len(rows), "quarantined": quarantined}


def main():
    parser = argparse.ArgumentParser()
    verbs = parser.add_subparsers(dest="verb", required=True)
    for verb in ("append", "list", "scan", "compact", "recover"):
        sub = verbs.add_parser(verb)
        sub.add_argument("path", type=Path)
        if verb == "append":
            sub.add_argument("--layout", choices=("json", "rotating"), default="json")
        elif verb == "list":
            sub.add_argument("category", choices=CATEGORIES)
        elif verb == "compact":
            sub.add_argument("--max-records", type=int)
            sub.add_argument("--max-age", type=float)
        elif verb == "recover":
            sub.add_argument("--mode", choices=("repair", "quarantine"), required=True)
            sub.add_argument("--quarantine-dir")
    args = parser.parse_args()
    if args.verb == "append":
        result = append(args.path, json.load(sys.stdin), args.layout)
    elif args.verb == "list":
        result = [as_json(f) for f in list_facts(args.path, CATEGORIES[args.category])]
    elif args.verb == "scan":
        result = scan(args.path)
    elif args.verb == "compact":
        result = compact(args.path, args.max_records, args.max_age)
    else:
        result = recover(args.path, args.mode, args.quarantine_dir)
    json.dump(result, sys.stdout)


if __name__ == "__main__":
    main()
