"""The other implementation's files: one file, or a rotating set.

A set is PATH, which is appended to, PATH.1, the newest before it, and so on. What
matters to us beside peer.py's list:

* Every name in the directory that begins with NAME and is no member is an orphan.
* Rotation renames a file only to a name that is free: when the oldest number is
  taken the active file grows without bound.
* compact loads the objects of the whole set and writes it anew: into
  MEMBER.compact.tmp, then the old members go, then the new ones take their names.
* recover does so only where a scan finds something, into MEMBER.recovered.tmp, each of
  which takes its name at once. Old members that are not replaced stay. In mode
  "quarantine" all members are moved to MEMBER.quarantine.<ms> before.
* A set is written anew with non-ASCII escaped, a file of its own with it raw.
* Nothing of it is one step: --crash says where it ends too early.
"""

import json
import os
import time

from peer_facts import dump, facts_in, line_of, retained, row_of


class Files:
    """A file, or with a max_files a set."""

    def __init__(self, path, max_bytes=None, max_files=None, layout="json", crash=None):
        self.path, self.max_bytes, self.max_files = path, max_bytes, max_files
        self.layout, self.crash = layout, crash

    def member(self, number):
        return self.path if number == 0 else self.path.with_name(f"{self.path.name}.{number}")

    def members(self):
        """The files that are there, the oldest first."""
        numbers = range((self.max_files or 1) - 1, -1, -1)
        return [m for m in map(self.member, numbers) if m.exists()]

    def append(self, facts):
        self.path.parent.mkdir(parents=True, exist_ok=True)
        for values in facts:
            line = line_of(values, self.layout)
            if self.max_files and self.path.exists():
                if self.path.stat().st_size + len(line.encode()) > self.max_bytes:
                    self.rotate()
            with open(self.path, mode="a", encoding="utf-8") as file:
                file.write(line)
        return len(facts)

    def rotate(self):
        for number in range(self.max_files - 1, 0, -1):
            src, dst = self.member(number - 1), self.member(number)
            if src.exists() and not dst.exists():
                os.rename(src, dst)

    def rows(self):
        """Every object, in order."""
        for member in self.members():
            with open(member, mode="r", encoding="utf-8") as file:
                for line in file:
                    row = row_of(line.strip())
                    if row is not None:
                        yield row

    def list(self, kind):
        return facts_in(self.rows(), kind)

    def scan(self):
        anomalies = []
        for member in self.members():
            anomalies += self.scan_file(member)
        if self.max_files:
            known = set(self.members())
            for other in sorted(self.path.parent.iterdir()):
                if other.name.startswith(self.path.name) and other not in known:
                    anomalies.append({"type": "ORPHANED_FILE", "file": other.name})
        return anomalies

    @staticmethod
    def scan_file(path):
        anomalies = []
        with open(path, mode="r", encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                if not line.endswith("\n"):
                    anomalies.append({"type": "TRUNCATED_LINE", "file": path.name, "line": number})
                    break
                try:
                    json.loads(line)
                except ValueError:
                    anomalies.append({"type": "CORRUPTED_LINE", "file": path.name, "line": number})
        return anomalies

    def compact(self, max_records, max_age):
        rows = list(self.rows())
        kept = retained(rows, max_records, max_age, time.time())
        self.replace(kept, ".compact.tmp")
        return {"before_records": len(rows), "after_records": len(kept)}

    def recover(self, mode, quarantine_dir):
        rows, quarantined = [], []
        if not self.scan():
            return {"kept": 0, "quarantined": quarantined}
        for member in self.members():
            with open(member, mode="r", encoding="utf-8") as file:
                for line in file:
                    if not line.endswith("\n"):
                        break
                    row = row_of(line)
                    if row is not None:
                        rows.append(row)
        if mode == "quarantine":
            folder = quarantine_dir or self.path.parent
            folder.mkdir(parents=True, exist_ok=True)
            stamp = int(time.time() * 1000)
            for member in self.members():
                aside = folder / f"{member.name}.quarantine.{stamp}"
                os.replace(member, aside)
                quarantined.append(str(aside))
        self.replace(rows, ".recovered.tmp")
        return {"kept": len(rows), "quarantined": quarantined}

    def replace(self, rows, suffix):
        """Write the whole set anew, and, unless it is a recovery, remove the old one."""
        files, size = [[]], 0
        for row in rows:
            line = dump(row, ascii=self.max_files is not None)
            if self.max_files and files[-1] and size + len(line.encode()) > self.max_bytes:
                files.append([])
                size = 0
            files[-1].append(line)
            size += len(line.encode())
        files = files[-(self.max_files or 1):]
        old = [] if suffix == ".recovered.tmp" else self.members()
        new = []
        for number, lines in zip(range(len(files) - 1, -1, -1), files):
            member = self.member(number)
            temporary = member.with_name(member.name + suffix)
            with open(temporary, mode="w", encoding="utf-8") as file:
                file.writelines(lines)
            new.append((temporary, member))
        if self.crash == "written":
            os._exit(9)
        if self.max_files:
            for member in old:
                member.unlink()
        if self.crash == "unlinked":
            os._exit(9)
        for temporary, member in new:
            os.replace(temporary, member)
