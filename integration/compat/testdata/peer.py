#!/usr/bin/env python3
"""A stand-in for the other implementation's backends.

It reads and writes files, rotating sets and Redis Streams with the same
observable behaviour, and with nothing but the standard library, so that tests can
let both sides work on one store. Every command prints one JSON value on stdout.

    peer.py append      PLACE   facts as a JSON array on stdin
    peer.py list        PLACE events|audits|dead_letters
    peer.py scan        PLACE
    peer.py read        PLACE   list of every category, and as "anomalies" scan
    peer.py compact     PLACE [--max-records N] [--max-age SECONDS]
    peer.py recover     PLACE --mode repair|quarantine [--quarantine-dir DIR]
    peer.py rewrite     PLACE                               Redis only
    peer.py quarantined PLACE events|audits|dead_letters    Redis only

PLACE is a path, of a rotating set with --max-bytes and --max-files, or
redis:HOST:PORT with --prefix and --system.

The behaviour that matters to us, beside what peer_files.py and peer_redis.py say:

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
* compact and recover of files load every object and dump it again, members in
  the order of the file.
"""

import argparse
import json
import sys
from pathlib import Path

from peer_facts import CATEGORIES, as_json
from peer_files import Files
from peer_redis import Streams


def backend(args):
    if args.place.startswith("redis:"):
        _, host, port = args.place.split(":")
        return Streams(host, int(port), args.prefix, args.system, args.layout)
    return Files(Path(args.place), args.max_bytes, args.max_files, args.layout, args.crash)


def main():
    parser = argparse.ArgumentParser()
    verbs = parser.add_subparsers(dest="verb", required=True)
    for verb in ("append", "list", "scan", "read", "compact", "recover", "rewrite", "quarantined"):
        sub = verbs.add_parser(verb)
        sub.add_argument("place")
        sub.add_argument("--layout", choices=("json", "rotating"), default="json")
        sub.add_argument("--max-bytes", type=int)
        sub.add_argument("--max-files", type=int)
        sub.add_argument("--crash", choices=("written", "unlinked"))
        sub.add_argument("--prefix")
        sub.add_argument("--system")
        if verb in ("list", "quarantined"):
            sub.add_argument("category", choices=CATEGORIES)
        elif verb == "compact":
            sub.add_argument("--max-records", type=int)
            sub.add_argument("--max-age", type=float)
        elif verb == "recover":
            sub.add_argument("--mode", choices=("repair", "quarantine"), required=True)
            sub.add_argument("--quarantine-dir", type=Path)
    args = parser.parse_args()
    store = backend(args)
    if args.verb == "append":
        result = store.append(json.load(sys.stdin))
    elif args.verb == "list":
        result = [as_json(f) for f in store.list(CATEGORIES[args.category])]
    elif args.verb == "scan":
        result = store.scan()
    elif args.verb == "read":
        result = {c: [as_json(f) for f in store.list(kind)] for c, kind in CATEGORIES.items()}
        result["anomalies"] = store.scan()
    elif args.verb == "compact":
        result = store.compact(args.max_records, args.max_age)
    elif args.verb == "recover":
        result = store.recover(args.mode, args.quarantine_dir)
    elif args.verb == "rewrite":
        result = store.rewrite()
    else:
        result = store.quarantined(args.category)
    json.dump(result, sys.stdout)


if __name__ == "__main__":
    main()
