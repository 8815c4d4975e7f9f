"""Test that every route refuses unauthorised users, foreign origins and malformed requests."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import tornado.web
import websocket
from jsonschema import Draft202012Validator

from jupyter_pipelines.interfaces.server.json_handler import MAX_BODY_BYTES, PREFIX, AppContext, json_handlers
from jupyter_pipelines.interfaces.server.notebook_registry import NotebookRegistry
from jupyter_pipelines.interfaces.server.openapi import describe
from jupyter_pipelines.interfaces.server.routes import ROUTES
from jupyter_pipelines.interfaces.server.routing import ApiRoute
from tests.server.jupyter_server import JupyterServer, running_server
from tests.waiting import PATIENCE

EACH = pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
POSTS = pytest.mark.parametrize(
    "route", [route for route in ROUTES if route.method == "POST"], ids=lambda route: f"{route.method} {route.path}"
)
CLIMBING = ["..", "%2e%2e", "..%2f..%2fetc%2fpasswd", "%252e%252e%252f", "%2e%2e%5c", ".", "a%00b", "%ff", "last", "~"]


def filled_path(route: ApiRoute, **names: str) -> str:
    """Return the path of a route with these names, and something for all others."""
    return re.sub(r"\{(\w+)\}", lambda placeholder: names.get(placeholder[1], "x" * 32), route.path)


def body_of(route: ApiRoute) -> dict[str, object] | None:
    return {} if route.method == "POST" else None


def is_json(reply: object) -> bool:
    headers = reply.headers  # type: ignore[attr-defined]
    nosniff = headers["X-Content-Type-Options"] == "nosniff"
    return headers["Content-Type"].startswith("application/json") and nosniff


@EACH
def test_without_a_token_nothing_is_answered(served: JupyterServer, route: ApiRoute) -> None:
    reply = served.ask(route.method, filled_path(route), body_of(route), token=None)
    assert reply.status == 403
    assert is_json(reply)
    assert reply.document["faults"][0]["code"] == "JP803" or "_xsrf" in reply.text


@EACH
def test_with_a_wrong_token_nothing_is_answered(served: JupyterServer, route: ApiRoute) -> None:
    assert served.ask(route.method, filled_path(route), body_of(route), token="other").status == 403


@POSTS
def test_a_page_needs_the_xsrf_token(served: JupyterServer, route: ApiRoute) -> None:
    reply = served.browse("POST", filled_path(route), {})
    assert reply.status == 403
    assert "XSRF" in reply.text or "_xsrf" in reply.text


def test_a_page_with_the_xsrf_token_is_heard(served: JupyterServer) -> None:
    token = next(cookie.value for cookie in served.cookies if cookie.name == "_xsrf")
    reply = served.browse("POST", "notebooks", {"path": "book.ipynb"}, X_XSRFToken=str(token), Origin=served.address)
    assert reply.status == 200


@EACH
@pytest.mark.parametrize(
    "origin", ["http://evil.example", "http://127.0.0.1:1", "null", "http://127.0.0.1.evil.example"]
)
def test_pages_of_other_sites_are_refused_even_with_the_token(
    served: JupyterServer, route: ApiRoute, origin: str
) -> None:
    reply = served.ask(route.method, filled_path(route), body_of(route), Origin=origin)
    assert reply.status == 403
    assert "Access-Control-Allow-Origin" not in reply.headers


def test_the_stream_of_events_needs_a_login(served: JupyterServer) -> None:
    """S11: it is Jupyter's own; there is no other."""
    stream = f"ws://127.0.0.1:{served.port}/api/events/subscribe"
    for options in ({}, {"header": ["Authorization: token wrong"]}, {"origin": "http://evil.example", "header": []}):
        with pytest.raises(websocket.WebSocketBadStatusException) as caught:
            websocket.create_connection(stream, timeout=PATIENCE, **options)
        assert caught.value.status_code == 403


@EACH
def test_another_host_is_refused(served: JupyterServer, route: ApiRoute) -> None:
    """A name that an attacker's DNS lets point to this machine."""
    assert served.ask(route.method, filled_path(route), body_of(route), Host="evil.example").status == 403


@EACH
@pytest.mark.parametrize("climbing", CLIMBING)
def test_ids_and_names_lead_nowhere(served: JupyterServer, base: str, run: str, route: ApiRoute, climbing: str) -> None:
    known = {"id": base.partition("/")[2], "run": run, "first": run, "second": run, "step": "load", "name": "rows"}
    for name in route.names:
        path = filled_path(route, **{**known, name: climbing})
        body = {"cells": [], "cell": "x"} if route.method == "POST" else None
        reply = served.ask(route.method, path, body)
        assert 400 <= reply.status < 500, (path, reply.text)
        assert "root:" not in reply.text


@POSTS
@pytest.mark.parametrize("body", [[], 7, "text", None, {"unknown": 1}, {"cells": "x"}, {"path": {}}, {"cells": [{}]}])
def test_a_body_of_another_shape_is_refused(
    served: JupyterServer, base: str, run: str, route: ApiRoute, body: object
) -> None:
    path = filled_path(route, id=base.partition("/")[2], run=run)
    reply = served.ask("POST", path, json.dumps(body).encode())
    assert reply.status == 400
    assert reply.codes == ["JP802"]


@POSTS
@pytest.mark.parametrize("content", [b"{", b"\xff", b'{"cells": NaN}', b"[" * 100_000, b'{"a": 1} x'])
def test_what_is_no_json_is_refused(
    served: JupyterServer, base: str, run: str, route: ApiRoute, content: bytes
) -> None:
    reply = served.ask("POST", filled_path(route, id=base.partition("/")[2], run=run), content)
    assert (reply.status, reply.codes) == (400, ["JP802"])


@POSTS
def test_what_is_too_large_is_refused(served: JupyterServer, base: str, run: str, route: ApiRoute) -> None:
    reply = served.ask("POST", filled_path(route, id=base.partition("/")[2], run=run), b" " * (MAX_BODY_BYTES + 1))
    assert (reply.status, reply.codes) == (413, ["JP802"])


@POSTS
@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_what_a_form_of_another_page_can_send_is_refused(
    served: JupyterServer, base: str, run: str, route: ApiRoute, kind: str
) -> None:
    path = filled_path(route, id=base.partition("/")[2], run=run)
    reply = served.ask("POST", path, b"{}", Content_Type=kind)
    # Tornado parses a multipart body before it calls the handler.
    assert (reply.status, reply.codes) == ((400, []) if kind.startswith("multipart") else (415, ["JP802"]))


@EACH
def test_other_methods_are_refused(served: JupyterServer, base: str, run: str, route: ApiRoute) -> None:
    path = filled_path(route, id=base.partition("/")[2], run=run)
    methods = {"GET", "POST"} - {candidate.method for candidate in ROUTES if candidate.path == route.path}
    for method in {"PUT", "DELETE", "PATCH", *methods}:
        assert served.ask(method, path, b"{}" if method != "GET" else None).status == 405


@pytest.mark.parametrize("query", ["limit=x", "limit=0", "limit=99999", "limit=-1", "limit=1e3"])
def test_a_query_of_another_shape_is_refused(served: JupyterServer, base: str, query: str) -> None:
    reply = served.ask("GET", f"{base}/runs?{query}")
    assert (reply.status, reply.codes) == (400, ["JP802"])


# Paths: the only request field that names a file


@pytest.mark.parametrize(
    "path",
    [
        "../outside.ipynb",
        "/etc/passwd",
        "a/../../b.ipynb",
        "./book.ipynb",
        "a//book.ipynb",
        "..\\book.ipynb",
        "book.ipynb\0.txt",
        "%2e%2e/outside.ipynb",
        ".pipelines/runs/x/load.ipynb",
        ".hidden.ipynb",
        "pyproject.toml",
        "none.ipynb",
        "",
        "/",
        "file:///etc/passwd",
        "http://127.0.0.1:1/book.ipynb",
        "~/book.ipynb",
        "book.ipynb/",
        "RTC:book.ipynb/..",
    ],
)
def test_a_path_that_leads_to_no_notebook_below_the_root_is_refused(
    served: JupyterServer, path: str, outside: Path
) -> None:
    reply = served.ask("POST", "notebooks", {"path": path})
    if path == "book.ipynb/":  # a slash too many is Jupyter's own way to write a path
        assert reply.document["path"] == "book.ipynb"
        return
    assert (reply.status, reply.codes) == (404, ["JP801"])


def test_the_whole_path_of_a_notebook_elsewhere_is_no_path_here(served: JupyterServer, outside: Path) -> None:
    assert served.ask("POST", "notebooks", {"path": str(outside)}).status == 404


def test_ids_of_other_servers_mean_nothing(tmp_path: Path, book: object, served: JupyterServer, base: str) -> None:
    other = NotebookRegistry(served.folder).meet("book.ipynb")
    assert other.id != base.partition("/")[2]
    assert served.ask("POST", f"notebooks/{other.id}/graph", {}).codes == ["JP801"]


# The table, the application and the description


def test_the_application_has_the_routes_of_the_description() -> None:
    application = tornado.web.Application(json_handlers(ROUTES, AppContext(known=NotebookRegistry(Path())), "/base/"))  # type: ignore[arg-type]
    rules = [rule for group in application.default_router.rules for rule in getattr(group.target, "rules", [])]
    served_routes = {
        (method, re.sub(r"\(\?P<(\w+)>\[\^/\]\+\)", r"{\1}", rule.matcher.regex.pattern).replace("\\", ""))
        for rule in rules
        if isinstance(rule.target_kwargs, dict) and "routes" in rule.target_kwargs
        for method in rule.target_kwargs["routes"]
    }
    document = describe(ROUTES)
    described = {
        (method.upper(), f"/base/{PREFIX}{path}$") for path, methods in document["paths"].items() for method in methods
    }
    assert served_routes == described
    assert len(described) == len(ROUTES)


def test_every_schema_in_the_description_is_one(served: JupyterServer) -> None:
    document = served.ask("GET", "openapi.json").document
    assert document == json.loads(json.dumps(describe(ROUTES)))
    operations = [operation for methods in document["paths"].values() for operation in methods.values()]
    assert len({operation["operationId"] for operation in operations}) == len(operations)
    for operation in operations:
        schemas = [parameter["schema"] for parameter in operation["parameters"]]
        schemas += [content["content"]["application/json"]["schema"] for content in operation["responses"].values()]
        schemas += (
            [operation["requestBody"]["content"]["application/json"]["schema"]] if "requestBody" in operation else []
        )
        for schema in schemas:
            Draft202012Validator.check_schema(schema)


@POSTS
def test_every_body_is_closed(route: ApiRoute) -> None:
    assert route.body is not None
    assert route.body["additionalProperties"] is False


def test_only_what_starts_or_stops_something_needs_the_permission_to_execute() -> None:
    executing = {route.path.rpartition("/")[2] for route in ROUTES if route.action == "execute"}
    assert executing <= {"runs", "cancel", "conversions"}
    assert {"runs", "cancel"} <= executing


def test_every_route_is_in_the_docs() -> None:
    text = (Path(__file__).parents[2] / "docs" / "server.md").read_text(encoding="utf-8")
    assert [f"{route.method} {route.path}" for route in ROUTES if f"| `{route.method} {route.path}`" not in text] == []


# Users who may read only

AUTHORIZATION = """
from jupyter_server.auth import Authorizer, IdentityProvider, User

class NamedUsers(IdentityProvider):
    async def get_user(self, handler):
        name = handler.request.headers.get("Authorization", "").removeprefix("token ")
        if name not in ("owner", "guest", "stranger"):
            return None
        handler._token_authenticated = True
        return User(username=name)

class ReadOnlyGuests(Authorizer):
    def is_authorized(self, handler, user, action, resource):
        allowed = {"owner": ("read", "write", "execute"), "guest": ("read",)}
        return resource != "jupyter_pipelines" or action in allowed.get(user.username, ())
"""


@pytest.fixture(scope="module")
def shared(book: object, served: JupyterServer, tmp_path_factory: pytest.TempPathFactory) -> object:
    private = tmp_path_factory.mktemp("authorization")
    (private / "authorization.py").write_text(AUTHORIZATION)
    options = (
        "--ServerApp.identity_provider_class=authorization.NamedUsers",
        "--ServerApp.authorizer_class=authorization.ReadOnlyGuests",
    )
    with running_server(served.folder, private, *options) as server:
        yield server


@EACH
def test_a_guest_reads_and_cannot_run(shared: JupyterServer, run: str, route: ApiRoute) -> None:
    key = shared.register().partition("/")[2]
    path = filled_path(route, id=key, run=run, first=run, second=run, step="load", name="rows")
    guest = shared.ask(route.method, path, body_of(route), token="guest")
    assert (guest.status == 403) == (route.action != "read")
    assert guest.status != 403 or guest.codes == ["JP803"]
    assert shared.ask(route.method, path, body_of(route), token="stranger").codes == ["JP803"]


def test_every_user_can_ask_for_their_permissions(shared: JupyterServer) -> None:
    guest = shared.ask("GET", "me", token="guest").document
    assert {name: guest[name] for name in ("read", "write", "execute")} == {
        "read": True,
        "write": False,
        "execute": False,
    }


def test_jupyters_own_check_finds_no_route_of_ours_open(tmp_path: Path, served: JupyterServer) -> None:
    """Jupyter warns of methods that do not say who may call them."""
    with running_server(served.folder, tmp_path / "strict", "--ServerApp.allow_unauthenticated_access=False") as strict:
        assert strict.ask("GET", "me").status == 200
        assert strict.ask("GET", "me", token=None).status == 403
    log = strict.log.read_text()
    assert "JsonHandler" not in log
    assert "HtmlHandler" not in log
