#!/usr/bin/env python3
"""http_openapi_test.py - /v1/openapi.json is OpenAPI 3.1 and describes what is served: its routes are
those of the router, both ways, and what a real server answers to good and bad requests fits the
schemas, with codes that are documented for the route."""

import base64
import json
import os
import re

import jsonschema

from harness import check, check_eq, main, shown, test
from web import CODES, WebServer

METHODS = ["GET", "POST", "DELETE", "PUT", "PATCH", "HEAD"]
SCHEMA = "/usr/share/openapi-specification/schemas/v3.0/schema.json"  # there is none of 3.1 in Debian


def document(server):
    with server.web() as web:
        reply = web.get("/v1/openapi.json")
    reply.expect(200)
    check_eq(reply.headers["content-type"], "application/json", "its type")
    check(reply.data.endswith(b"}\n") and reply.data.count(b"\n") == 1, "compact, and one LF")
    return reply.json


def operations(doc):
    return [(path, method.upper(), op) for path, ops in doc["paths"].items()
            for method, op in ops.items()]


def inlined(doc, schema):
    """With what its references lead to."""
    if isinstance(schema, list):
        return [inlined(doc, x) for x in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        check_eq(list(schema), ["$ref"], "beside a reference there is nothing")
        where = re.fullmatch(r"#/components/schemas/(\w+)", schema["$ref"])[1]
        return inlined(doc, doc["components"]["schemas"][where])
    return {k: inlined(doc, v) for k, v in schema.items()}


def validator(doc, schema):
    return jsonschema.Draft202012Validator(inlined(doc, schema))


def fill(path, key="k", kind="lock", session="0" * 32):
    return path.replace("{key}", key).replace("{kind}", kind).replace("{id}", session)


@test("it is OpenAPI 3.1: each operation has an id of its own, its parameters, answers and schemas that are "
      "valid", rules=["O1"])
def structure():
    with WebServer() as server:
        doc = document(server)
    check_eq(set(doc), {"openapi", "info", "paths", "components"}, "its parts")
    check(re.fullmatch(r"3\.1\.\d+", doc["openapi"]), doc["openapi"])
    check(doc["info"]["title"] and doc["info"]["version"], "what it is about")
    ids = [op["operationId"] for _, _, op in operations(doc)]
    check_eq(len(ids), len(set(ids)), "ids")
    used = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(doc)))
    check_eq(used, set(doc["components"]["schemas"]), "schemas that are used, and those there are")
    for schema in doc["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(inlined(doc, schema))
    for path, method, op in operations(doc):
        what = f"{method} {path}"
        check_eq(set(op) - {"requestBody"}, {"operationId", "summary", "security", "parameters",
                                              "responses"}, what)
        named = {p["name"] for p in op["parameters"] if p["in"] == "path"}
        check_eq(named, set(re.findall(r"\{(\w+)\}", path)), f"{what}: path parameters")
        for p in op["parameters"]:
            check(p["required"] or p["in"] == "query", f"{what}: {p['name']} may be absent?")
            jsonschema.Draft202012Validator.check_schema(p["schema"])
        for scheme in op["security"]:
            check(set(scheme) <= set(doc["components"]["securitySchemes"]), f"{what}: {scheme}")
        for status, answer in op["responses"].items():
            check(re.fullmatch("[2-5][0-9][0-9]", status) and answer["description"], what)
            for media in answer.get("content", {}).values():
                jsonschema.Draft202012Validator.check_schema(inlined(doc, media["schema"]))
        check_eq(sum(s < "300" for s in op["responses"]), 1, f"{what}: ways to succeed")
        if "requestBody" in op:
            schema = op["requestBody"]["content"]["application/json"]["schema"]
            jsonschema.Draft202012Validator.check_schema(schema)


def older(x):
    """As OpenAPI 3.0 would write it: null is no type of its own there."""
    if isinstance(x, list):
        return [older(y) for y in x]
    if not isinstance(x, dict):
        return x
    if x == {"type": "null"}:
        return {"nullable": True}
    x = {k: older(v) for k, v in x.items()}
    if isinstance(x.get("type"), list):
        (x["type"],) = [t for t in x["type"] if t != "null"]
        x["nullable"] = True
    return x


@test("but for what 3.1 has new it fits the schema that the OpenAPI Initiative publishes", rules=["O1"])
def published_schema():
    with open(SCHEMA, encoding="utf-8") as f:
        schema = json.load(f)
    with WebServer() as server:
        doc = older(document(server))
    doc["openapi"] = "3.0.3"
    wrong = [f"{'/'.join(map(str, e.path))}: {shown(e.message)}"
             for e in jsonschema.Draft4Validator(schema).iter_errors(doc)]
    check(not wrong, "\n".join(wrong))


@test("each error code is documented with its status, and no other; 405 everywhere; the headers that come "
      "with errors", rules=["O2"])
def codes():
    headers = {"401": "WWW-Authenticate", "405": "Allow", "429": "Retry-After"}
    with WebServer() as server:
        doc = document(server)
    found = set()
    for path, method, op in operations(doc):
        check("405" in op["responses"], f"{method} {path}: 405")
        for status, answer in op["responses"].items():
            schema = answer.get("content", {}).get("application/json", {}).get("schema", {})
            words = schema.get("properties", {}).get("error", {}).get("enum", [])
            found |= {(word, int(status)) for word in words}
            check(all(word in answer["description"] for word in words), f"{method} {path}: {status}")
            check_eq(list(answer.get("headers", {})), [headers[status]] if status in headers else [],
                     f"{method} {path}: headers of {status}")
    check_eq(found ^ set(CODES.items()), set(), "codes and statuses that only one of the two has")


@test("parameters of a query: each value that is documented is taken, another is 400, and so is a parameter "
      "that is not documented", rules=["O2"])
def queries():
    with WebServer() as server:
        doc = document(server)
        with server.session() as session:
            session.token("k")
            session.end()
        web = server.web()
        asked = {path: {p["name"]: p["schema"] for p in op["parameters"] if p["in"] == "query"}
                 for path, method, op in operations(doc) if method == "GET"}
        check_eq({path for path, query in asked.items() if query}, {"/", "/v1/resources"}, "with a query")
        for path in ("/", "/v1/resources"):
            for name, schema in asked[path].items():
                more = "sort=key&" if name == "order" else ""
                if "enum" in schema:
                    good, bad = schema["enum"], [schema["enum"][0] + "s", "0"]
                elif schema["type"] == "integer":
                    good = [schema["minimum"], schema["maximum"]]
                    bad = [schema["minimum"] - 1, schema["maximum"] + 1, "one", "1.0"]
                else:
                    good = {"open": ["lock/k", "sem/k", "lock/none"], "cursor": [""]}.get(name, ["", "k"])
                    bad = {"open": ["k", "mutex/k", "lock/"], "cursor": ["x"]}.get(name, ["x" * 257])
                for value in good:
                    reply = web.get(f"{path}?{more}{name}={value}")
                    check_eq(reply.status, 200, f"{path}: {name}={value}: {reply}")
                for value in bad:
                    web.get(f"{path}?{more}{name}={value}").expect(400, "bad_request")
            detail = web.get(f"{path}?nothing=1").expect(400, "bad_request")["detail"]
            check_eq(set(asked[path]) - set(re.findall(r"\w+", detail)), set(), f"{path}: not in {detail}")
        web.get("/v1/resources?open=lock/k").expect(400, "bad_request")


@test("its routes are those of the source, and each is served; every other method of a path is 405 and says "
      "which there are", rules=["O1"])
def both_ways():
    with open(os.path.join(os.environ["top_srcdir"], "src/http/routes.def"), encoding="utf-8") as f:
        source = set(re.findall(r'^ROUTE\(\w+, (\w+), "([^"]+)"', f.read(), re.M))
    with WebServer() as server:
        doc = document(server)
        check_eq({(m, p) for p, m, _ in operations(doc)}, source, "method and path")
        with server.session() as session, server.web() as web:
            session.token("k")
            for path, ops in doc["paths"].items():
                own = {m.upper() for m in ops} | ({"HEAD"} if "get" in ops else set())
                for method in METHODS:
                    reply = web.request(method, fill(path))
                    if method in own:
                        check(reply.status != 405 and reply.code != "not_found",
                              f"{method} {path}: {reply}")
                    else:
                        check_eq(reply.status, 405, f"{method} {path}")
                        allow = set(re.split(", *", reply.headers["allow"])) - {"OPTIONS"}
                        check_eq(allow, own, f"{path}: Allow")
            for path in ("/v1", "/v1/locks", "/v1/locks/k/steal", "/v2/stats", "/healthz"):
                web.get(path).expect(404, "not_found")
            session.end().expect(204)


class Witness:
    """Asks, and compares the answer with what is documented for it."""

    def __init__(self, doc):
        self.doc = doc
        self.seen = set()

    def ask(self, client, method, template, body=None, headers=None, path=None, **names):
        reply = client.request(method, (path or fill(template, **names)), body, headers)
        return self.fits(reply, method, template)

    def fits(self, reply, method, template):
        op = self.doc["paths"][template][method.lower()]
        what = f"{method} {template}: {reply}"
        check(str(reply.status) in op["responses"], f"{what}: this status is not documented")
        for name in op["responses"][str(reply.status)].get("headers", {}):
            check(name.lower() in reply.headers, f"{what}: {name}")
        content = op["responses"][str(reply.status)].get("content")
        if content is None:
            check_eq(reply.data, b"", what)
        else:
            media = reply.headers["content-type"].split(";")[0]
            check(media in content, f"{what}: {media} is not documented")
            if media == "application/json":
                wrong = [e.message for e in
                         validator(self.doc, content[media]["schema"]).iter_errors(reply.json)]
                check(not wrong, f"{what}: {wrong}")
        self.seen.add((template, method, reply.status))
        return reply


@test("what is answered fits the schemas, and each status and code is documented for its route",
      rules=["O2"], deadline=60)
def answers():
    with WebServer(["--max-waiters", "1", "--http-max-sessions", "3"]) as server:
        doc = document(server)
        w, web = Witness(doc), server.web()
        lock, sem = "/v1/locks/{key}", "/v1/semaphores/{key}"
        a, b = server.session(), server.session()
        ask = w.ask
        third = ask(web, "POST", "/v1/sessions").json["session_id"]
        ask(web, "POST", "/v1/sessions").expect(503, "max_sessions")
        ask(web, "POST", "/v1/sessions/{id}/ping", session=third).expect(204)
        ask(web, "DELETE", "/v1/sessions/{id}", session=third).expect(204)
        for method, path in (("POST", "/v1/sessions/{id}/ping"), ("DELETE", "/v1/sessions/{id}")):
            ask(web, method, path, session=third).expect(410, "session_gone")
            ask(web, method, path, session="x").expect(400, "bad_request")
        for base, more in ((lock, {}), (sem, {"limit": 1})):
            token = ask(a, "POST", base, {"acquire_timeout_s": 0, "lease_ttl_s": 60, **more}
                        ).expect(200)["token"]
            check_eq(ask(b, "POST", base, more).json, {"status": "timeout"}, "a try")
            check_eq(ask(b, "POST", base + "/enqueue", more).json, {"status": "queued"}, "enqueue")
            ask(b, "POST", base + "/enqueue", more).expect(409, "already_enqueued")
            ask(a, "POST", base + "/enqueue", more).expect(503, "max_waiters")
            ask(a, "POST", base, {"acquire_timeout_s": 9, **more}).expect(503, "max_waiters")
            ask(a, "POST", base + "/renew", {"token": token}).expect(200)
            for path in ("/v1/stats", "/v1/resources"):
                ask(web, "GET", path).expect(200)
            ask(web, "GET", "/v1/resources/{kind}/{key}", kind="sem" if more else "lock").expect(200)
            ask(a, "POST", base + "/release", {"token": token}).expect(204)
            for verb in ("/release", "/renew"):
                ask(a, "POST", base + verb, {"token": token}).expect(404, "not_held")
            check_eq(ask(b, "POST", base + "/wait", {"timeout_s": 9}).json["status"], "ok", "wait")
            ask(b, "POST", base + "/wait", {"timeout_s": 0}).expect(409, "not_enqueued")
            check_eq(ask(b, "POST", base + "/enqueue", more, key="free").json["status"], "acquired",
                     "a free one")
            for verb in ("", "/enqueue", "/wait", "/release", "/renew"):
                ask(web, "POST", base + verb, {}).expect(400, "bad_request")
                ask(web, "POST", base + verb, {}, {"X-Dflockd-Session": third}
                    ).expect(410, "session_gone")
                ask(a, "POST", base + verb, b"[").expect(400, "bad_request")
        ask(a, "POST", sem, {"limit": 7}).expect(409, "limit_mismatch")
        ask(a, "POST", sem + "/enqueue", {"limit": 7}).expect(409, "limit_mismatch")
        ask(web, "GET", "/v1/resources/{kind}/{key}", key="none").expect(404, "not_found")
        ask(web, "GET", "/v1/resources/{kind}/{key}", kind="mutex").expect(400, "bad_request")
        for path in ("/health", "/ready", "/metrics", "/v1/openapi.json", "/v1/stats", "/"):
            ask(web, "GET", path).expect(200)
        a.end().expect(204)
        b.end().expect(204)
    succeeded = {(p, m) for p, m, s in w.seen if s < 300}
    check_eq(succeeded ^ {(p, m) for p, m, _ in operations(doc)}, set(), "routes that have not served")


@test("what is no request, too large, or expects something is documented for each route, in HTML",
      rules=["O2"])
def the_library():
    with WebServer() as server:
        w = Witness(document(server))
        for path, method, _ in operations(w.doc):
            for status, line in ((400, "no colon"), (413, "Content-Length: 1048577"),
                                 (417, "Content-Length: 1\r\nExpect: anything")):
                raw = server.raw()
                raw.send(f"{method} {fill(path)} HTTP/1.1\r\nHost: x\r\n{line}\r\n\r\n".encode())
                reply = w.fits(raw.reply(), method, path)
                check_eq((reply.status, reply.headers["content-type"]), (status, "text/html"), line)
                raw.expect_close()


@test("bodies: each field up to its limits and not beyond, none that is not documented, none that is "
      "missing", rules=["O2"])
def bodies():
    with WebServer() as server:
        doc = document(server)
        session = server.session()
        for path, method, op in operations(doc):
            if "requestBody" not in op:
                continue
            schema = op["requestBody"]["content"]["application/json"]["schema"]
            fields = schema["properties"]
            least = {n: "t" if fields[n]["type"] == "string" else 1 for n in schema.get("required", [])}
            keys = iter(range(1000))

            def status(body):
                # A try: what is not granted at once is a timeout or a refusal, never a wait.
                where = fill(path, key=f"{op['operationId']}-{next(keys)}")
                reply = session.request(method, where, body)
                check(reply.status != 400 or reply.code == "bad_request", f"{path}: {reply}")
                return reply.status

            check(status(least) != 400, f"{path}: {least}")
            check_eq(status({**least, "more": 1}), 400, f"{path}: a field too many")
            check_eq(status(b"") == 400, op["requestBody"]["required"], f"{path}: no body")
            for name, field in fields.items():
                without = {k: v for k, v in least.items() if k != name}
                check_eq(status(without) == 400, name in schema.get("required", []), f"{path}: no {name}")
                if field["type"] == "integer":
                    good = [field["minimum"], field["maximum"]]
                    bad = [field["minimum"] - 1, field["maximum"] + 1, "1", 1.0, True]
                else:
                    good = ["t" * field["minLength"], "t" * field["maxLength"]]
                    bad = ["", "t" * (field["maxLength"] + 1), "a b", "a\n", 1, ["t"]]
                for value in good:
                    check(status({**least, name: value}) != 400, f"{path}: {name} = {value!r}")
                for value in bad:
                    check_eq(status({**least, name: value}), 400, f"{path}: {name} = {value!r}")
        session.end().expect(204)


@test("with a token set, the routes without `security` are those that are open, and the others take what "
      "they name", rules=["O2"])
def security():
    basic = "Basic " + base64.b64encode(b"anybody:sesame").decode()
    with WebServer(["--auth-token", "sesame"]) as server:
        doc = document(server)
        with server.web() as web:
            for path, method, op in operations(doc):
                for scheme, value in (("bearer", "Bearer sesame"), ("basic", basic), (None, None)):
                    reply = web.request(method, fill(path), None,
                                        {"Authorization": value} if value else None)
                    named = {} if scheme is None else {scheme: []}
                    welcome = not op["security"] or named in op["security"]
                    check_eq(reply.status != 401, welcome, f"{method} {path} with {scheme}: {reply}")


if __name__ == "__main__":
    main()
