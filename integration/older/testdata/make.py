#!/usr/bin/env python3
"""Makes the stores of this directory with the programs of an older version.

usage: make.py OLD_CTL OLD_PUT BASE DAMAGED OUT

OLD_CTL is that version's papyra-ctl, OLD_PUT a program that appends the lines of a
file to a store, one by one; BASE and DAMAGED are NDJSON files that its
encoder wrote. Needs root (a tmpfs) and strace. Of the stores that kills leave one
of each content is kept. The result is a .tar.gz for each store, with the expected
account of the older version beside it in expected.json.
"""
import glob, gzip, hashlib, io, json, os, re, shutil, subprocess, sys, tarfile, tempfile

CTL, PUT, BASE, DAMAGED, OUT = sys.argv[1:]
seen, expected = {}, {}
CALLS = ["write", "pwrite64", "copy_file_range", "sendfile", "fsync", "fdatasync", "rename", "renameat", "renameat2", "unlink", "unlinkat", "ftruncate", "openat"]

def fingerprint(d):
    """What of a store matters: names and lines, without ids and times of the acts."""
    out = []
    for p in sorted(glob.glob(d + "/**", recursive=True) + glob.glob(d + "/.*")):
        if os.path.isfile(p) and not p.endswith(".lock"):
            body = open(p, "rb").read()
            body = re.sub(rb'\d{8}T\d{6}Z-[0-9a-f]{16}|"crc":"[0-9a-f]{8}"|"run":"[0-9a-z]{16}"|"timestamp":\d+\.\d+|"time":"[^"]*"|/tmp/tmp\w+', b"", body)
            out.append(re.sub(r"\d{8}T\d{6}Z|[0-9a-f]{16}", "", os.path.relpath(p, d)) + hashlib.sha256(body).hexdigest())
    return "\n".join(out)

def account(url):
    r = subprocess.run([CTL, "account", "--settle", "0", "--output", "json", "--backend", url], capture_output=True)
    a = json.loads(r.stdout)
    return {"exit": r.returncode, "verdict": a["verdict"], "total": {k: a["total"][k] for k in ("stored", "dropped", "removed", "missing", "unnamed")}}

def keep(name, d, scheme, note):
    print_ = fingerprint(d) + scheme
    if print_ in seen:
        return
    seen[print_] = name
    with open(os.path.join(OUT, name + ".tar.gz"), "wb") as f, gzip.GzipFile(fileobj=f, mode="wb", mtime=0) as z, tarfile.open(fileobj=z, mode="w") as t:
        for root, dirs, files in os.walk(d):
            for n in sorted(files):
                p = os.path.join(root, n)
                info = tarfile.TarInfo(os.path.relpath(p, d))
                info.size, info.mode = os.path.getsize(p), 0o600
                t.addfile(info, open(p, "rb"))
    expected[name] = {"scheme": scheme, "note": note, "account": account(scheme + ":" + d + "/s")}

def run(d, args, inject=None):
    cmd = [PUT] + args[1:] if args[0] == "put" else [CTL] + args
    if inject:
        cmd = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=" + inject.split(":")[0], "-e", "inject=" + inject] + cmd
    return subprocess.run(cmd, capture_output=True, env=dict(os.environ, GOMAXPROCS="1")).returncode

def fresh(base, rotating):
    d = tempfile.mkdtemp()
    if rotating:
        run(d, ["copy", "--from", "json:" + base, "--to", "rotating:%s/s?max_bytes=9000&max_files=20" % d])
    else:
        shutil.copy(base, d + "/s")
    return d

ACTS = [
    ("compact", BASE, False, ["compact", "--keep-records", "25"]),
    ("compact-dedupe", BASE, False, ["compact", "--dedupe", "--keep-records", "25"]),
    ("compact-reports", BASE, False, ["compact", "--keep-records", "25", "--keep", "reports.keep_records=1"]),
    ("recover", DAMAGED, False, ["recover"]),
    ("compact-set", BASE, True, ["compact", "--keep-records", "25"]),
    ("recover-set", DAMAGED, True, ["recover"]),
]
def url(d, rotating):
    return ("rotating:" if rotating else "json:") + d + "/s"

for name, base, rotating, args in ACTS:
    scheme = "rotating" if rotating else "json"
    full = args + ["--backend", None]
    def go(inject=None, d=None):
        d = d or fresh(base, rotating)
        code = run(d, args + ["--backend", url(d, rotating)], inject)
        return d, code
    d, code = go()
    if code not in (0, 2):
        print(name, "exit", code)
        continue
    keep(name, d, scheme, "the act as it is, exit %d" % code)
    go(d=d)
    keep(name + "-twice", d, scheme, "the act twice")
    for call in CALLS:
        n, quiet = 1, 0
        while quiet < 1 and n < 60:
            before = len(seen)
            d, code = go("%s:signal=KILL:when=%d" % (call, n))
            if code >= 0 and code != 137:
                quiet += 1  # it never came so far
            keep("%s-killed-%s-%d" % (name, call, n), d, scheme, "killed at %s number %d" % (call, n))
            n += 1
    for call, error in (("rename", "EBUSY"), ("renameat", "EBUSY"), ("renameat2", "EBUSY"), ("fsync", "EIO"), ("write", "ENOSPC")):
        for n in range(1, 8):
            d, code = go("%s:error=%s:when=%d" % (call, error, n))
            keep("%s-%s-%s-%d" % (name, error, call, n), d, scheme, "%s of %s number %d, exit %d" % (error, call, n, code))
    for call in ("write", "fsync", "renameat", "renameat2", "openat"):
        for n in range(1, 12):
            d, code = go("%s:signal=INT:when=%d" % (call, n))
            keep("%s-INT-%s-%d" % (name, call, n), d, scheme, "^C at %s number %d, exit %d" % (call, n, code))

# A full disk, for real.
for kib in (32, 36, 40, 44, 48, 52):
    d = tempfile.mkdtemp()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=%dk" % kib, "tmpfs", d], check=True)
    try:
        shutil.copy(BASE, d + "/s")
        codes = [run(d, ["compact", "--keep-records", "40", "--backend", "json:" + d + "/s"]) for _ in range(3)]
        keep("full-%dk" % kib, d, "json", "three compactions on a tmpfs of %d KiB, exits %s" % (kib, codes))
    except OSError as e:
        print("full", kib, e)
    finally:
        subprocess.run(["umount", d], check=True)

# Rotations that carry reports.
for files, size in ((2, 4000), (3, 3000), (2, 9000)):
    d = tempfile.mkdtemp()
    target = "rotating:%s/s?max_bytes=%d&max_files=%d" % (d, size, files)
    src = tempfile.mkdtemp()
    shutil.copy(BASE, src + "/s")
    run(src, ["compact", "--keep-records", "30", "--backend", "json:" + src + "/s"])
    run(d, ["put", target, src + "/s"])
    keep("rotated-%d-%d" % (files, size), d, "rotating", "appended to a set of %d files of %d bytes" % (files, size))
    for call in ("renameat2", "unlinkat", "fsync", "write"):
        for n in range(1, 40):
            d = tempfile.mkdtemp()
            code = run(d, ["put", "rotating:%s/s?max_bytes=%d&max_files=%d" % (d, size, files), src + "/s"], "%s:signal=KILL:when=%d" % (call, n))
            if code >= 0 and code != 137:
                break
            if os.path.exists(d + "/s") and size == 3000 and n % 4 == 0:
                keep("rotated-%d-killed-%s-%d" % (files, call, n), d, "rotating", "killed at %s number %d" % (call, n))

# What the Python implementation rewrites: json.dumps of json.loads of each line.
for name, base in (("python", BASE),):
    d = tempfile.mkdtemp()
    src = fresh(base, False)
    run(src, ["compact", "--keep-records", "30", "--backend", "json:" + src + "/s"])
    with open(d + "/s", "w") as f:
        for i, line in enumerate(open(src + "/s")):
            # Its compaction leaves reports as they are.
            f.write(line if '"kind":"report"' in line else json.dumps(json.loads(line)) + "\n")
    keep(name, d, "json", "events rewritten by json.dumps")

json.dump(expected, open(os.path.join(OUT, "expected.json"), "w"), indent=1, sort_keys=True)
print(len(expected), "stores")
