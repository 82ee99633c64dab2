"""The other implementation's Redis Streams, with a client of a few lines.

* A record is an entry with the one field "data" in PREFIX:SYSTEM:CATEGORY, ids
  are the server's. Systems stand in keys as they are.
* scan and recover look at the newest thousand entries of each stream.
* recover deletes what does not parse, all of a stream at once, in mode "quarantine"
  after it was added, the newest first, to PREFIX:SYSTEM:quarantine:KEY, with ":" in
  KEY written "_", as the fields source, data and timestamp.
* compact is XTRIM MAXLEN.
* rewrite stands for what a migration does: each object loaded, and dumped into a
  new stream under the old key.
"""

import json
import socket
import time

from peer_facts import CATEGORIES, dump, facts_in, line_of, row_of

LOOKED_AT = 1000


class Client:
    """A connection that sends commands and reads answers."""

    def __init__(self, host, port):
        self.file = socket.create_connection((host, port), timeout=30).makefile("rwb")

    def __call__(self, *args):
        parts = [a if isinstance(a, bytes) else str(a).encode() for a in args]
        self.file.write(b"*%d\r\n" % len(parts))
        for part in parts:
            self.file.write(b"$%d\r\n%s\r\n" % (len(part), part))
        self.file.flush()
        return self.answer()

    def answer(self):
        line = self.file.readline()
        kind, rest = line[:1], line[1:-2]
        if kind == b"+":
            return rest
        if kind == b"-":
            raise RuntimeError(rest.decode())
        if kind == b":":
            return int(rest)
        if kind == b"$":
            size = int(rest)
            return None if size < 0 else self.file.read(size + 2)[:-2]
        if kind == b"*":
            return [self.answer() for _ in range(int(rest))]
        raise RuntimeError(f"unexpected answer {line!r}")


class Streams:
    """The streams of one system."""

    def __init__(self, host, port, prefix, system, layout="json"):
        self.call = Client(host, port)
        self.prefix, self.system, self.layout = prefix, system, layout

    def key(self, category, system=None):
        return f"{self.prefix}:{self.system if system is None else system}:{category}"

    def quarantine(self, key):
        return f"{self.prefix}:{self.system}:quarantine:{key.replace(':', '_')}"

    def append(self, facts):
        names = {kind: category for category, kind in CATEGORIES.items()}
        for values in facts:
            key = self.key(names[values["kind"]], values["system_id"])
            self.call("XADD", key, "*", "data", line_of(values, self.layout).rstrip("\n"))
        return len(facts)

    @staticmethod
    def data(fields):
        """The value of the field "data", or None."""
        pairs = dict(zip(fields[::2], fields[1::2]))
        return pairs.get(b"data")

    def texts(self, key):
        for _, fields in self.call("XRANGE", key, "-", "+"):
            data = self.data(fields)
            if data is not None:
                yield data.decode()  # one wrong byte ends the reading

    def list(self, kind):
        key = self.key({v: k for k, v in CATEGORIES.items()}[kind])
        rows = (row_of(text) for text in self.texts(key))
        return facts_in((r for r in rows if r is not None), kind)

    def damaged(self, category):
        """The ids and data of the newest entries that do not parse, the newest first."""
        for id, fields in self.call("XREVRANGE", self.key(category), "+", "-", "COUNT", LOOKED_AT):
            data = self.data(fields)
            try:
                if data is not None and row_of(data.decode()) is not None:
                    continue
            except UnicodeDecodeError:
                pass
            yield id, data

    def scan(self):
        return [
            {"type": "CORRUPTED_ENTRY", "stream": self.key(category), "id": id.decode()}
            for category in CATEGORIES
            for id, _ in self.damaged(category)
        ]

    def recover(self, mode, _):
        moved = 0
        for category in CATEGORIES:
            key = self.key(category)
            damaged = list(self.damaged(category))
            if not damaged:
                continue
            if mode == "quarantine":
                for _, data in damaged:
                    self.call("XADD", self.quarantine(key), "*", "source", key, "data", data or b"", "timestamp", time.time())
            self.call("XDEL", key, *(id for id, _ in damaged))
            moved += len(damaged)
        return {"moved": moved}

    def compact(self, max_records, _):
        before = after = 0
        for category in CATEGORIES:
            before += self.call("XLEN", self.key(category))
            if max_records is not None:
                self.call("XTRIM", self.key(category), "MAXLEN", max_records)
            after += self.call("XLEN", self.key(category))
        return {"before_records": before, "after_records": after}

    def rewrite(self):
        for category in CATEGORIES:
            key = self.key(category)
            rows = [json.loads(text) for text in self.texts(key)]
            self.call("DEL", key)
            for row in rows:
                self.call("XADD", key, "*", "data", dump(row).rstrip("\n"))

    def quarantined(self, category):
        """What stands in the quarantine of a stream, as this side reads it."""
        out = []
        for _, fields in self.call("XRANGE", self.quarantine(self.key(category)), "-", "+"):
            pairs = dict(zip(fields[::2], fields[1::2]))
            out.append({
                "source": pairs[b"source"].decode(),
                "data": pairs[b"data"].decode(errors="replace"),
                "timestamp": float(pairs[b"timestamp"]),
            })
        return out
