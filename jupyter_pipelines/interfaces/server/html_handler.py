"""The tornado handler of the HTML pages, with the access rules of the JSON API."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterable, Mapping
from functools import cached_property
from http.client import responses
from typing import Any

from jupyter_server.base.handlers import JupyterHandler
from jupyter_server.utils import url_path_join
from tornado import web

from jupyter_pipelines.errors import PipelinesError
from jupyter_pipelines.interfaces.server import html_elements
from jupyter_pipelines.interfaces.server.html_views import PageRequest, PageResponse, PageRoute
from jupyter_pipelines.interfaces.server.json_handler import (
    MAX_BODY_BYTES,
    RESOURCE,
    AppContext,
    is_trusted_origin,
    may,
    status_of,
)
from jupyter_pipelines.interfaces.server.routing import ApiRequest

ROOT = "jupyter-pipelines"
MAX_FIELDS = 1_000
_KINDS: Mapping[str, str] = {"html": "text/html", "svg": "image/svg+xml", "text": "text/plain"}


class HtmlHandler(JupyterHandler):
    """Shows the pages for one path."""

    auth_resource = RESOURCE

    def initialize(self, views: Mapping[str, PageRoute], office: AppContext) -> None:
        """Set the views of this path; called by tornado."""
        self.views = views
        self.office = office

    @cached_property
    def nonce(self) -> str:
        """Nonce of the style element, so that no other style is applied."""
        return secrets.token_urlsafe(16)

    @property
    def content_security_policy(self) -> str:
        """Policy that forbids scripts, foreign resources and framing; images and the page's style are allowed."""
        style = f"style-src 'nonce-{self.nonce}'"
        targets = "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
        return f"default-src 'none'; img-src 'self'; {style}; {targets}"

    async def prepare(self) -> None:  # type: ignore[override]
        """Authenticate the user, and refuse requests of other sites."""
        await super().prepare()
        if not self._finished and not is_trusted_origin(self):
            raise web.HTTPError(403, "requests from other sites are refused")

    @web.authenticated
    async def get(self, **names: str) -> None:
        """Show a page."""
        await self._answer(names)

    @web.authenticated
    async def post(self, **names: str) -> None:
        """Take a form."""
        await self._answer(names)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Report an error as a page."""
        error = (kwargs.get("exc_info") or (None, None, None))[1]
        reason = error.log_message if isinstance(error, web.HTTPError) else None
        self._tell(status_code, [reason or responses.get(status_code, "refused")])

    async def _answer(self, names: Mapping[str, str]) -> None:
        view = self.views.get(self.request.method or "")
        if view is None:
            raise web.HTTPError(405)
        if not await may(self, view.action):
            raise web.HTTPError(403, f"you may not {view.action} pipelines on this server")
        try:
            visit = self._visit(names)
            response = await asyncio.get_running_loop().run_in_executor(self.office.pool, view.work, visit)
        except PipelinesError as error:
            self._tell(status_of(error), [f"{fault.message}. {fault.suggestion}" for fault in error.faults])
        else:
            self.office.asked()
            self._show(response)

    def _visit(self, names: Mapping[str, str]) -> PageRequest:
        varying = dict(names)
        about = self.office.known.find(varying.pop("id")) if "id" in varying else None
        request = ApiRequest(known=self.office.known, about=about, names=varying, body=self._form())
        root = url_path_join(self.base_url, ROOT)
        xsrf = self.xsrf_form_html()
        return PageRequest(project=self.office.project, request=request, root=root, nonce=self.nonce, xsrf=str(xsrf))

    def _form(self) -> dict[str, str]:
        if len(self.request.body) > MAX_BODY_BYTES or len(self.request.body_arguments) > MAX_FIELDS:
            raise web.HTTPError(413, "the form is too large")
        return {name: self.get_body_argument(name) for name in self.request.body_arguments}

    def _show(self, response: PageResponse) -> None:
        self.set_header("Cache-Control", "no-store")
        self.set_header("Referrer-Policy", "same-origin")
        if response.kind == "elsewhere":
            # 303 turns the POST into a GET, so that reloading the page does not start another run.
            self.redirect(response.content, status=303)
            return
        self.set_header("Content-Type", f"{_KINDS[response.kind]}; charset=utf-8")
        if response.kind != "html":
            # Opened by its own address an SVG is a document, which could run scripts; sandbox prevents it.
            self.set_header("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; sandbox")
        self.finish(response.content)

    def _tell(self, status: int, lines: Iterable[str]) -> None:
        self.set_status(status)
        back = html_elements.link(url_path_join(self.base_url, ROOT, "/"), "Pipelines")
        body = [f"<p>{html_elements.text(line, 2_000)}</p>" for line in lines]
        title = f"{status} {responses.get(status, '')}"
        self._show(PageResponse(content=html_elements.page(title, body, nonce=self.nonce, above=back)))


def html_handlers(
    views: Iterable[PageRoute], office: AppContext, base_url: str
) -> list[tuple[str, type[HtmlHandler], dict[str, Any]]]:
    """Return what makes an application show `views`."""
    by_pattern: dict[str, dict[str, PageRoute]] = {}
    for view in views:
        by_pattern.setdefault(view.pattern, {})[view.method] = view
    return [
        (url_path_join(base_url, ROOT, pattern or "/?"), HtmlHandler, {"views": methods, "office": office})
        for pattern, methods in by_pattern.items()
    ]
