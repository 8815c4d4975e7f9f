"""The tornado handler of the JSON API: authentication, origin, permission and schema of each request.

One handler serves every route. It calls the route's function in a small thread pool.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from http.client import responses
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from jsonschema import Draft202012Validator
from jupyter_core.utils import ensure_async
from jupyter_server.base.handlers import APIHandler, JupyterHandler
from jupyter_server.utils import origin_matches_pat, url_path_join
from tornado import web

from jupyter_pipelines.errors import Diagnostic, PipelinesError
from jupyter_pipelines.interfaces.server.notebook_registry import NotebookRegistry
from jupyter_pipelines.interfaces.server.routing import ACTIONS, Action, ApiRequest, ApiRoute
from jupyter_pipelines.interfaces.strict_json import strict_json_value
from jupyter_pipelines.project import Project

if TYPE_CHECKING:
    from collections.abc import Callable

RESOURCE = "jupyter_pipelines"
"""Name of the resource for authorizers of Jupyter's server."""
PREFIX = "jupyter-pipelines/api"
MAX_BODY_BYTES = 16_000_000
"""Largest accepted body of a request, in bytes."""
LONGEST_KEY = 256
# Routes read files and plan; blocking the event loop would stop the kernels' messages of all users.
_THREADS = 4
_STATUS: Mapping[str, int] = {"JP801": 404, "JP802": 400, "JP803": 403, "JP405": 404, "JP308": 500, "JP901": 500}
_REFUSED = 422
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class AppContext:
    """State shared by all requests to a server.

    Parameters
    ----------
    known : NotebookRegistry
        The notebooks.
    project : Project
        The project.
    pool : ThreadPoolExecutor
        Threads that execute the functions of routes.
    asked : callable
        Called after each request that was answered.
    """

    known: NotebookRegistry
    project: Project = field(default_factory=Project)
    pool: ThreadPoolExecutor = field(default_factory=partial(ThreadPoolExecutor, _THREADS, "jupyter-pipelines"))
    asked: Callable[[], None] = lambda: None


class HttpRefusal(Exception):
    """A request that is refused with an HTTP status.

    Parameters
    ----------
    status : int
        The status of the answer.
    fault : Diagnostic
        Why.
    """

    def __init__(self, status: int, fault: Diagnostic) -> None:
        super().__init__(fault.message)
        self.status = status
        self.faults = (fault,)


class JsonHandler(APIHandler):
    """Answers requests for one path."""

    auth_resource = RESOURCE

    def initialize(self, routes: Mapping[str, ApiRoute], office: AppContext) -> None:
        """Set the routes of this path; called by tornado."""
        self.routes = routes
        self.office = office

    async def prepare(self) -> None:  # type: ignore[override]
        """Authenticate the user, and refuse requests of other sites, even with a valid token."""
        # tornado handlers continue after a redirect or error unless they ask whether they have finished.
        await super().prepare()
        if not self._finished and not is_trusted_origin(self):
            raise web.HTTPError(403, "requests from other sites are refused")

    @web.authenticated
    async def get(self, **names: str) -> None:
        """Handle a GET request."""
        await self._answer(names)

    @web.authenticated
    async def post(self, **names: str) -> None:
        """Handle a POST request."""
        await self._answer(names)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Report errors of Jupyter's own server as JSON."""
        error = (kwargs.get("exc_info") or (None, None, None))[1]
        reason = error.log_message if isinstance(error, web.HTTPError) else None
        message = reason or responses.get(status_code, "refused")
        faults = [not_allowed(message)] if status_code in (401, 403) else []
        self._tell(status_code, [_bug(error)] if status_code >= 500 else faults, message)

    async def _answer(self, names: Mapping[str, str]) -> None:
        route = self.routes.get(self.request.method or "")
        if route is None:
            raise web.HTTPError(405)
        try:
            await self._permit(route.action)
            request = await self._request(route, names)
            loop = asyncio.get_running_loop()
            # Encoded in the thread as well: JSON of a large graph takes long enough to delay other requests.
            answer = await loop.run_in_executor(self.office.pool, self._work, route, request)
        except HttpRefusal as error:
            self._tell(error.status, error.faults)
        except PipelinesError as error:
            self._tell(status_of(error), error.faults)
        else:
            self.office.asked()
            self._send(route.status, answer)

    def _work(self, route: ApiRoute, request: ApiRequest) -> str:
        return strict_json(route.work(self.office.project, request))

    async def _permit(self, action: Action) -> None:
        if not await may(self, action):
            raise HttpRefusal(403, not_allowed(f"you may not {action} pipelines on this server"))

    # What is asked

    async def _request(self, route: ApiRoute, names: Mapping[str, str]) -> ApiRequest:
        varying = dict(names)
        about = self.office.known.find(varying.pop("id")) if "id" in varying else None
        return ApiRequest(
            known=self.office.known,
            about=about,
            names=varying,
            body=self._body(route),
            query=self._query(route),
            key=self._key(),
            may={action: await may(self, action) for action in ACTIONS} if route.personal else {},
        )

    def _body(self, route: ApiRoute) -> Mapping[str, Any]:
        if route.method == "GET":
            return {}
        content = self.request.body
        if len(content) > MAX_BODY_BYTES:
            raise HttpRefusal(413, _bad_request(f"it has {len(content):,} bytes, and {MAX_BODY_BYTES:,} are read"))
        kind = self.request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        # A form of another site cannot send this type without a CORS preflight, which is refused.
        if kind != "application/json":
            raise HttpRefusal(415, _bad_request("its `Content-Type` is not `application/json`"))
        try:
            # Python reads NaN and Infinity, which are not JSON.
            body = json.loads(content or b"{}", parse_constant=_no_number)
        except (ValueError, RecursionError) as error:
            raise HttpRefusal(400, _bad_request("its body is not JSON")) from error
        check(route.body or {}, body)
        return body if isinstance(body, dict) else {}

    def _query(self, route: ApiRoute) -> Mapping[str, Any]:
        known: Mapping[str, Mapping[str, Any]] = (route.query or {}).get("properties", {})
        texts = {name: self.get_query_argument(name) for name in known if name in self.request.query_arguments}
        query = {name: _value(text, known[name]) for name, text in texts.items()}
        check(route.query or {}, query)
        return query

    def _key(self) -> str:
        key = self.request.headers.get("Idempotency-Key", "")
        if len(key) > LONGEST_KEY:
            raise HttpRefusal(400, _bad_request(f"its `Idempotency-Key` is longer than {LONGEST_KEY} characters"))
        return key

    # What is answered

    def _send(self, status: int, answer: str) -> None:
        self.set_status(status)
        self.set_header("Cache-Control", "no-store")
        self.finish(answer)

    def _tell(self, status: int, faults: Iterable[Diagnostic], message: str = "") -> None:
        documents = [fault.to_dict() for fault in faults]
        self._send(
            status,
            strict_json({"faults": documents, "message": message or (documents[0]["message"] if documents else "")}),
        )


def strict_json(document: Mapping[str, Any]) -> str:
    """Return an answer as strict JSON."""
    return json.dumps(strict_json_value(document), separators=(",", ":"), allow_nan=False, default=str)


def status_of(error: PipelinesError) -> int:
    """Return the HTTP status of an error."""
    return _STATUS.get(error.code, _REFUSED)


def is_trusted_origin(handler: JupyterHandler) -> bool:
    """Tell whether a request comes from a page that the server's owner trusts, or from no page."""
    origin = handler.request.headers.get("Origin")
    # Programs such as curl send no Origin; browsers send one with every POST.
    if origin is None or urlsplit(origin.lower()).netloc == handler.request.headers.get("Host", "").lower():
        return True
    if handler.allow_origin:
        return handler.allow_origin in ("*", origin)
    return bool(handler.allow_origin_pat and origin_matches_pat(handler.allow_origin_pat, origin))


async def may(handler: JupyterHandler, action: Action) -> bool:
    """Tell whether the user is allowed to `read`, `write` or `execute` pipelines."""
    authorized = handler.authorizer.is_authorized(handler, handler.current_user, action, RESOURCE)
    return bool(await ensure_async(authorized))


def json_handlers(
    routes: Iterable[ApiRoute], office: AppContext, base_url: str
) -> list[tuple[str, type[JsonHandler], dict[str, Any]]]:
    """Return tornado's handler specifications for `routes`, one for each path."""
    by_pattern: dict[str, dict[str, ApiRoute]] = {}
    for route in routes:
        by_pattern.setdefault(route.pattern, {})[route.method] = route
    return [
        (url_path_join(base_url, PREFIX, pattern), JsonHandler, {"routes": methods, "office": office})
        for pattern, methods in by_pattern.items()
    ]


def check(schema: Mapping[str, Any], value: Any) -> None:
    """Validate a value against a JSON Schema.

    Raises
    ------
    HttpRefusal
        It is not valid; the message has the path of the first error.
    """
    error = next(Draft202012Validator(schema).iter_errors(value), None)
    if error is not None:
        where = "/".join(str(part) for part in error.absolute_path)
        place = f"`{where[:200]}`" if where else "it"
        raise HttpRefusal(400, _bad_request(f"{place} does not fit the schema: {_brief(error.message)}"))


def _brief(message: str) -> str:
    return message if len(message) <= 300 else f"{message[:150]} … {message[-140:]}"


def _value(text: str, schema: Mapping[str, Any]) -> Any:
    """Return a query argument in the type of its schema; an invalid integer stays a string and fails validation."""
    if schema.get("type") != "integer":
        return text
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else text


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _bad_request(reason: str) -> Diagnostic:
    help_text = "send what `openapi.json` describes for this route"
    return Diagnostic(code="JP802", message=f"the request cannot be used: {reason}", suggestion=help_text)


def not_allowed(reason: str) -> Diagnostic:
    """Return the fault of a request that the user may not make."""
    help_text = "log in with the server's token, or ask the owner of the server for the permission"
    return Diagnostic(code="JP803", message=f"the request is not allowed: {reason}", suggestion=help_text)


def _bug(error: BaseException | None) -> Diagnostic:
    return Diagnostic(
        code="JP901",
        message=f"{type(error).__name__} in the server",
        suggestion="this is a bug of jupyter-pipelines: report it with the traceback in the server's log",
    )
