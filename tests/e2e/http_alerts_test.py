#!/usr/bin/env python3
"""http_alerts_test.py - the dashboard and the alerts name only what /metrics has, each alert fires when it
should, and what the documents say for Prometheus is taken."""

import glob
import json
import os
import re
import subprocess

from harness import check, check_eq, main, temp_file, test
from scrape import scrape
from web import CODES, WebServer

TOP = os.environ["top_srcdir"]


def expressions(path):
    """What Prometheus is asked for in a dashboard or in rules."""
    with open(path, encoding="utf-8") as f:
        text = f.read()
    if path.endswith(".json"):
        found = []

        def walk(x):
            if isinstance(x, dict):
                found.extend(v for k, v in x.items() if k in ("expr", "query", "definition") and
                             isinstance(v, str))
                x = list(x.values())
            if isinstance(x, list):
                for y in x:
                    walk(y)
        walk(json.loads(text))
        return found
    return [line for line in text.splitlines() if "annotations" not in line]


def check_selectors(text, got, where):
    """Labels in braces, and in by (…) and the like, are those of the metrics; a value is one of theirs."""
    rows = {}
    for name, labels in got.samples:
        rows.setdefault(name, []).append(dict(labels))
    for name, inside in re.findall(r"\b((?:dflockd|process)_[a-z_]+)\{([^}]*)\}", text):
        for label, how, value in re.findall(r'(\w+)(=~|!~|!=|=)"([^"]*)"', inside):
            if label in ("job", "instance"):
                continue
            values = {row.get(label) for row in rows[name]}
            check(None not in values, f"{where}: {name} has no label {label}")
            if how in ("=", "!="):
                check(value in values or label == "status" and int(value) in CODES.values(),
                      f"{where}: {name} has no {label}={value}, but {values}")
    known = {label for some in rows.values() for row in some for label in row} | {"instance", "job"}
    for group in re.findall(r"\b(?:by|without|ignoring|on) ?\(([^)]*)\)", text):
        for label in re.split(", *", group):
            check(label in known, f"{where}: no metric has a label {label}")


@test("the dashboard and the alerts use metrics, labels and values that there are; promtool takes the rules",
      rules=["N14"])
def documents():
    dashboards = glob.glob(os.path.join(TOP, "docs/grafana/*.json"))
    rules = glob.glob(os.path.join(TOP, "docs/prometheus/*.yml"))
    check(dashboards and rules, "they are in docs/")
    with WebServer() as server:
        scrape(server)
        got = scrape(server)
    for path in dashboards + rules:
        used = set(re.findall(r"\b(?:dflockd|process)_[a-z_]+\b", "\n".join(expressions(path))))
        check(len(used) > 5, f"{path} uses {used}")
        for name in used:
            check(got.family(name) in got.types, f"{os.path.basename(path)}: there is no {name}")
        check_selectors("\n".join(expressions(path)), got, os.path.basename(path))
    alerts = [p for p in rules if "scrape" not in os.path.basename(p)]
    p = subprocess.run(["promtool", "check", "rules", *alerts], capture_output=True)
    check_eq(p.returncode, 0, f"promtool check rules: {p.stdout + p.stderr}")
    for path in dashboards:
        with open(path, encoding="utf-8") as f:
            board = json.load(f)
        check(any(v["type"] == "datasource" for v in board["templating"]["list"]),
              "the data source is a variable")
        check(all(p.get("datasource", {}).get("uid") == "${datasource}" for p in board["panels"]
                  if p["type"] != "row"), "and all panels use it")
        check(len({p["id"] for p in board["panels"]}) == len(board["panels"]), "ids of panels")


# A server that is well, minute by minute.
HEALTHY = {
    'up{job="dflockd"}': "1x40",
    "dflockd_ready{}": "1x40",
    "dflockd_fence_persistence_failing{}": "0x40",
    "dflockd_shards_quarantined{}": "0x40",
    "dflockd_worker_restarts_total{}": "0x10 1x30",
    "dflockd_connections_poisoned_total{}": "0x40",
    'dflockd_http_requests_total{method="POST",path="/v1/locks/{key}",status="500"}': "_x40",
    'dflockd_http_requests_total{method="GET",path="/v1/stats",status="500"}': "3x40",
    'dflockd_http_requests_total{method="POST",path="/v1/locks/{key}",status="200"}': "0+60x40",
    'dflockd_keys{state="active"}': "500x40",
    'dflockd_keys{state="idle"}': "500x40",
    "dflockd_max_locks{}": "1000x40",
    'dflockd_limit_rejections_total{limit="max_locks"}': "0x40",
    'dflockd_limit_rejections_total{limit="http_rate_limit_per_ip"}': "0+9x40",
    'dflockd_wait_seconds_bucket{le="30"}': "0+10x40",
    'dflockd_wait_seconds_bucket{le="600"}': "0+10x40",
    'dflockd_wait_seconds_bucket{le="+Inf"}': "0+10x40",
    "dflockd_lease_expirations_total{}": "0+5x40",
    'dflockd_grants_total{kind="lock",path="fast"}': "0+60x40",
    'dflockd_grants_total{kind="semaphore",path="queued"}': "0+60x40",
    "dflockd_auth_failures_total{}": "0+1x40",
    'dflockd_config_reloads_total{result="ok"}': "0x10 1x30",
    'dflockd_config_reloads_total{result="error"}': "0x40",
}
# What is otherwise when an alert, and no other, is to fire.
ILL = {
    "DflockdDown": {'up{job="dflockd"}': "0x40"},
    "DflockdFencePersistenceFailing": {"dflockd_ready{}": "0x40",
                                       "dflockd_fence_persistence_failing{}": "1x40"},
    "DflockdNotReady": {"dflockd_ready{}": "0x40"},
    "DflockdShardQuarantined": {"dflockd_shards_quarantined{}": "2x40"},
    "DflockdWorkersRestart": {"dflockd_worker_restarts_total{}": "0+1x40"},
    "DflockdConnectionPoisoned": {"dflockd_connections_poisoned_total{}": "0x20 1x20"},
    "DflockdInternalErrors": {
        'dflockd_http_requests_total{method="POST",path="/v1/locks/{key}",status="500"}': "_x20 1x20"},
    "DflockdTableNearlyFull": {'dflockd_keys{state="active"}': "950x40"},
    "DflockdLimitsMet": {'dflockd_limit_rejections_total{limit="max_locks"}': "0+1x40"},
    "DflockdLongWaits": {'dflockd_wait_seconds_bucket{le="30"}': "0+5x40"},
    "DflockdLeasesExpire": {"dflockd_lease_expirations_total{}": "0+30x40"},
    "DflockdAuthFailures": {"dflockd_auth_failures_total{}": "0+2x40"},
    "DflockdReloadFailed": {'dflockd_config_reloads_total{result="error"}': "0x20 1x20"},
}


@test("each alert fires when what it is about happens, and only then", rules=["N14"])
def alerts():
    path = os.path.join(TOP, "docs/prometheus/dflockd-alerts.yml")
    with open(path, encoding="utf-8") as f:
        names = re.findall(r"^ *- alert: (\w+)$", f.read(), re.M)
    check_eq(set(ILL), set(names), "alerts with a case")
    with WebServer() as server:
        scrape(server)
        there = {name for name, _ in scrape(server).samples}
    used = {re.match(r"\w+", series)[0] for series in HEALTHY} - {"up"}
    check(used <= there, f"metrics that there are not: {used - there}")

    def case(firing, otherwise):
        series = [{"series": name, "values": otherwise.get(name, values)}
                  for name, values in HEALTHY.items()]
        return {"interval": "1m", "input_series": series, "promql_expr_test": [
            {"expr": f'count(ALERTS{{alertstate="firing",alertname="{name}"}})', "eval_time": "30m",
             "exp_samples": [{"labels": "{}", "value": 1}] if name == firing else []}
            for name in names]}

    # JSON is YAML.
    tests = temp_file(json.dumps({"rule_files": [os.path.abspath(path)], "evaluation_interval": "1m", "tests":
                                  [case(None, {})] + [case(*x) for x in ILL.items()]}))
    p = subprocess.run(["promtool", "test", "rules", tests], capture_output=True, encoding="utf-8")
    check_eq(p.returncode, 0, f"promtool test rules: {p.stdout}{p.stderr}")


@test("what the documents say for prometheus.yml is taken by promtool", rules=["N14"])
def configuration():
    secret = temp_file("sesame\n")
    for name in ("README.md", "docs/metrics.md"):
        with open(os.path.join(TOP, name), encoding="utf-8") as f:
            text = re.search(r"^    scrape_configs:\n(?:    .*\n)+", f.read(), re.M)[0]
        text, n = re.subn(r"(?<=credentials_file: ).*", secret, text)
        check_eq(n, 1, f"{name}: a file with the secret")
        p = subprocess.run(["promtool", "check", "config", temp_file(text.replace("\n    ", "\n"))],
                           capture_output=True, encoding="utf-8")
        check_eq(p.returncode, 0, f"{name}: {p.stdout}{p.stderr}")


if __name__ == "__main__":
    main()
