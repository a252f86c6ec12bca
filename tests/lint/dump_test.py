"""dump_test.py - each field of the region is in the dump, or has a reason not to be. A new field that
was forgotten there would be lost by an upgrade, in silence."""

import os
import re
import sys

top = os.environ.get("top_srcdir", os.path.join(os.path.dirname(os.path.abspath(__file__)), "../.."))

DERIVED = "derived, made anew"
FRESH = "a region is born with it"
PROCESS = "of the processes that are there, not of what they serve"

# Why a field is not in the dump.
NOT_DUMPED = {
    "struct region": {
        "magic": FRESH, "version": FRESH, "ready": FRESH, "fingerprint": FRESH,
        "dump_version": FRESH, "size": FRESH, "geo": FRESH, "workers": FRESH, "conns": FRESH,
        "iobuf_owner": "follows from the connections' buffers", "iobufs": FRESH, "bigbufs": FRESH,
        "niobuf_chunks": FRESH, "hash_key": "keys are hashed anew",
        "nworkers": PROCESS, "nslots": PROCESS, "units_kept": "follows from max-locks", "crashes": PROCESS, "stopping": PROCESS,
        "suspect": "all shards are validated before they are written",
        "nconns": "counted anew", "nsessions": "counted anew", "units": "follows from max-locks and the keys",
        "bigbuf_owner": "follows from the connections' buffers",
        "mutex": PROCESS, "tickets": "TLS sessions begin anew",
        "offenders": "forgotten with time anyway",
        "promise_until": "the state file says it", "fences": "the settings say it",
        "fences_turn": PROCESS, "asks": PROCESS, "served_since": PROCESS,
        "master": "a record of counters of its own",
        "http": "counted by the program's table of routes: begins anew, as counters may",
    },
    "struct worker_slot": {
        "units": "given back before it is written", "unit_seq": PROCESS, "unit_give": PROCESS,
        "unit_seen": PROCESS, "pid": PROCESS, "suspect": "mended before it is written",
        "journal": "rolled back before it is written", "mask": PROCESS, "parked": PROCESS, "http": PROCESS,
        "bell": PROCESS, "beat": PROCESS, "configured": PROCESS,
    },
    "struct counters": {"tally": "its fields are"},
    "struct tally": {},
    "struct conn": {
        "iobuf": "its content is, in a buffer that is claimed anew",
        "bigbuf": "its content is", "blocked": "the node that says BLOCKED",
        "blocked_shard": "where that node is",
    },
    "struct resource": {
        "hash": "keys are hashed anew", "nholders": DERIVED, "nwaiters": DERIVED, "ntombs": DERIVED,
        "holders": DERIVED, "q_head": DERIVED, "q_tail": DERIVED, "next": DERIVED,
        "idle_prev": DERIVED, "idle_next": DERIVED, "spare": "for speed only", "key_len": "the length of the key",
        "state": "free, or in use, or idle", "key": "the record's bytes",
    },
    "struct node": {
        "res": "the resource that it follows", "prev": DERIVED, "next": DERIVED,
        "own_prev": DERIVED, "own_next": DERIVED, "pend_prev": DERIVED, "pend_next": DERIVED,
        "tok_next": DERIVED, "pair_next": DERIVED, "tw_prev": DERIVED, "tw_next": DERIVED,
        "tw_slot": DERIVED,
    },
}

# Where the tables name the field: the macro's or the struct's words before the member.
TABLES = {
    "struct region": r"FIELD\(struct dump_(?:region|origin|worker), (\w+),",
    "struct worker_slot": r"(?:FIELD\(struct dump_worker, |SLOT\()(\w+)[,.]",
    "struct counters": r"NUMBERS\((\w+)\)",
    "struct tally": r"NUMBERS\(tally\.(\w+)",
    "struct conn": r"CONN\((\w+),",
    "struct resource": r"FIELD\(struct snapshot_resource, (\w+),",
    "struct node": r"FIELD\(type, member (\w+),",
}
HEADERS = {"struct region": "src/shm/region.h", "struct worker_slot": "src/shm/region.h",
           "struct counters": "src/shm/region.h", "struct tally": "src/core/tally.h", "struct conn": "src/shm/conns.h",
           "struct resource": "src/core/layout.h", "struct node": "src/core/layout.h"}


def read(path):
    with open(os.path.join(top, path), encoding="utf-8") as f:
        return re.sub(r"/\*.*?\*/", "", f.read(), flags=re.S)


def members(name):
    body = re.search(rf"^struct (?:__attribute__\(\(.*\)\) )?{name[7:]} \{{\n(.*?)^\}}",
                     read(HEADERS[name]), re.M | re.S)[1]
    # What is in a union in it has the union's name.
    body = re.sub(r"union \{.*?^    \} ", "union x ", body, flags=re.M | re.S)
    body = re.sub(r"__attribute__\(\(.*?\)\) ", "", body.replace("aligned(REGION_SEALED)", "")
                  .replace("aligned(CACHE_LINE)", ""))
    found = []
    for line in body.replace("LAYOUT_SHIFT", "").split(";"):
        m = re.fullmatch(r"\s*(?:(?:const|struct|union|unsigned) )*\w+ \*?(\w[\w, ]*)(?:\[\w+\])*\s*",
                         line)
        if m:
            found += re.split(r",\s*", m[1])
        elif line.strip():
            found.append(f"? {' '.join(line.split())}")
    return [x for x in found if not x.startswith("reserved")]


fields = read("src/shm/dumpfields.c")
results = []
for name, reasons in NOT_DUMPED.items():
    there = members(name)
    dumped = set(re.findall(TABLES[name], fields))
    wrong = [f"{name}.{x} is not in the dump: give it a row in dumpfields.c, or a reason here"
             for x in there if x not in dumped and x not in reasons]
    wrong += [f"{name}.{x} is in the dump: it needs no reason" for x in reasons if x in dumped]
    wrong += [f"{name}.{x} does not exist" for x in reasons if x not in there]
    if len(there) < 5 or len(dumped & set(there)) < 3:
        wrong.append(f"{name} is not understood: {there} {sorted(dumped)}")
    results.append((f"{name}: {len(there)} fields", wrong))
for n, (text, wrong) in enumerate(results, 1):
    print(f"{'not ok' if wrong else 'ok'} {n} - {text}")
    for line in wrong:
        print(f"# {line}")
print(f"1..{len(results)}")
sys.exit(any(wrong for _, wrong in results))
