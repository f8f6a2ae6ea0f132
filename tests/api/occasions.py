"""Occasions for Schemathesis: for every operation one request at least that must be done.

What a schema makes is right by its form, and rarely names what there is. So a case of each operation is
made into a request of which the test (contract.rs) asks that it is answered 2xx, after whatever it needs
is there. Parts of the configuration are asked for in a candidate with something of every kind
(everything.toml). The other cases stay as they were made.
"""

import itertools
import json
import os
import pathlib
from urllib.parse import quote

import requests
import schemathesis

API = os.environ["SLUICE_URL"] + "/api/v1"
EVERYTHING = (pathlib.Path(__file__).parent / "everything.toml").read_text()
PASSWORD = "another long password"

session = requests.Session()
session.headers["Authorization"] = "Bearer " + os.environ["SLUICE_TOKEN"]

done: set[str] = set()
tries: dict[str, int] = {}
numbers = itertools.count(91)


def ask(method, path, body=None, **others):
    others.setdefault("headers", {"Content-Type": "application/json"})
    data = body if isinstance(body, (str, type(None))) else json.dumps(body)
    return session.request(method, API + path, data=data, timeout=30, **others)


def item(parts, name, attempt):
    """One of a list's items as it is named in a path, the last one first."""
    at = len(parts) - 1 - attempt % len(parts)
    one = parts[at]
    if name == "index":
        return at, one
    if isinstance(one, str):
        return one, one
    return one["to" if name == "to" else "name"], one


def of_candidate(path, attempt):
    """What the names in a path are, of parts of a candidate, and what is there."""
    toml = {"Content-Type": "application/toml"}
    ask("PUT", "/candidate", EVERYTHING, headers=toml).raise_for_status()
    answer = ask("GET", "/candidate", headers={"Accept": "application/json"})
    names, there = {}, answer.json()
    for segment in path.removeprefix("/api/v1/config/").split("/"):
        if segment.startswith("{"):
            name = segment.strip("{}")
            names[name], there = item(there, name, attempt)
            names[name] = quote(str(names[name]), safe="")
        else:
            there = there.get(segment, {}) if isinstance(there, dict) else {}
    place = path.removeprefix("/api/v1").format(**names)
    found = ask("GET", place + "?candidate=true", headers={"Accept": "application/json"})
    return names, found.json()


def of_part(method, path, attempt):
    names, found = of_candidate(path, attempt)
    wanted = {"path": names, "query": {"candidate": "true"}}
    if method in ("PUT", "PATCH"):
        wanted["body"] = found
    return wanted


def clean():
    """Nothing is on trial, and nothing waits for the next start."""
    ask("POST", "/config/revert")
    ask("DELETE", "/next")


def capture():
    for old in ask("GET", "/captures").json()["captures"]:
        ask("DELETE", f"/captures/{old['id']}")
    made = ask("POST", "/captures", {"filter": "udp", "seconds": 5})
    return {"path": {"id": made.json()["id"]}}


def candidate():
    clean()
    ask("PUT", "/candidate")
    return {}


def trial():
    clean()
    # What is there already would be no change, and on no trial.
    seconds = {"udp": f"{next(numbers)}s"}
    ask("PATCH", "/config/timeouts?confirm_seconds=60", seconds)
    return {}


def waiting():
    clean()
    ask("PATCH", "/config/system?at_restart=true", {"sessions": 8192})
    return {}


def user():
    wanted = {"role": "viewer", "password": PASSWORD}
    ask("PUT", "/users/olga", wanted)
    return {"path": {"name": "olga"}}


def token():
    # A token makes none that ends later than itself.
    wanted = {"name": "spare", "role": "viewer", "seconds": 60}
    return {"path": {"id": ask("POST", "/tokens", wanted).json()["id"]}}


def packet():
    return {
        "body": {
            "port": "outside",
            "source": "198.51.100.7",
            "destination": "203.0.113.80",
            "destination_port": 80,
        }
    }


OCCASIONS = {
    "POST /candidate/commit": candidate,
    "GET /candidate/diff": candidate,
    "GET /captures/{id}": capture,
    "GET /captures/{id}/packets": capture,
    "POST /captures/{id}/stop": capture,
    "DELETE /captures/{id}": capture,
    "POST /config/confirm": trial,
    "POST /config/revert": trial,
    "GET /devices/{name}": lambda: {"path": {"name": "outside"}},
    "PUT /logs/level": lambda: {"body": {"directives": "debug"}},
    "GET /next": waiting,
    "GET /next/diff": waiting,
    "DELETE /next": waiting,
    "POST /login": lambda: {"body": {"user": "admin", "password": os.environ["SLUICE_PASSWORD"]}},
    "GET /users/{name}": user,
    "PUT /users/{name}": lambda: user() | {"body": {"role": "viewer"}},
    "DELETE /users/{name}": user,
    "DELETE /tokens/{id}": token,
    "POST /trace": packet,
}

# These are of the configuration as a whole, and not parts of it.
NO_PARTS = ("/config/revisions", "/config/confirm", "/config/revert")


@schemathesis.hook
def before_call(context, case, **kwargs):
    """Makes the case the occasion of its operation, if that was not done yet."""
    method, path = case.operation.method.upper(), case.operation.path
    label = f"{method} {path}"
    short = label.replace("/api/v1", "")
    is_part = path.startswith("/api/v1/config/") and not short.split()[1].startswith(NO_PARTS)
    if label in done or not (is_part or short in OCCASIONS):
        return
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return
    attempt = tries[label] = tries.get(label, -1) + 1
    try:
        wanted = of_part(method, path, attempt) if is_part else OCCASIONS[short]()
    except (LookupError, requests.RequestException):
        # What it needs cannot be had now: the next case is the occasion.
        return
    case.path_parameters = wanted.get("path", case.path_parameters)
    case.query = wanted.get("query", {})
    case.headers = {}
    if "body" in wanted:
        case.body = wanted["body"]
        case.media_type = "application/json"


@schemathesis.hook
def after_call(context, case, response):
    """What was done once needs no occasion any more."""
    if 200 <= response.status_code < 300:
        done.add(f"{case.operation.method.upper()} {case.operation.path}")
