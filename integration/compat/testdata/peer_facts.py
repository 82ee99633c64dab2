"""The facts of the other implementation, and the lines that it makes of them."""

import dataclasses
import json


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


def dump(row, ascii=False):
    return json.dumps(row, ensure_ascii=ascii, default=as_json) + "\n"


def line_of(values, layout):
    """The line of a fact, given as an object with its kind."""
    values = dict(values)
    kind = values.pop("kind")
    fact = as_json(FACTS[kind](**values))
    if layout == "json":
        return dump({"kind": kind, **fact})
    return json.dumps({**fact, "kind": kind}, default=as_json) + "\n"


def facts_in(rows, kind):
    """The facts of a kind among objects, in order."""
    out = []
    for row in rows:
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


def row_of(text):
    """The object in a line, or None."""
    try:
        row = json.loads(text)
    except ValueError:
        return None
    return row if isinstance(row, dict) else None


def retained(rows, max_records, max_age, now):
    """The rows that retention keeps: age first, then the newest ones, of all
    kinds and systems together."""
    if max_age is not None:
        rows = [r for r in rows if r.get("timestamp") is not None and r["timestamp"] >= now - max_age]
    if max_records is not None:
        rows = rows[-max_records:]
    return rows
