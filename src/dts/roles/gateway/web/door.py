"""The door of the dashboard: says who comes, lets pages answer, and turns what goes wrong into a page.

Every answer carries the same headers: a page may load what this server serves, and nothing else; no script stands in a
page; nobody may put a page of ours into one of theirs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from dts.domain.errors import DtsError, NotFound, PermissionDenied, ResourceExhausted, Unauthenticated
from dts.roles.gateway.web import cookies
from dts.roles.gateway.web.forms import Form, read_form
from dts.roles.gateway.web.person import Person, Services
from dts.roles.gateway.web.render import Templates
from dts.roles.gateway.web.session import Session, Sessions
from dts.rpc import connect
from dts.rpc.auth import bearer
from dts.rpc.caller import acting_as
from dts.rpc.errors import from_handler, to_grpc
from dts.rpc.gate import Gate
from dts.rpc.http_bounds import Handler, cut_off
from dts.runtime.clock import monotonic

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Server": "dts",
}
FORM_TOKEN = "form_token"  # noqa: S105 - the name of a field
STREAMS = 32
"""So many pages a person may have open: each is looked at anew twice a second."""

PACKED_FROM = 1024
"""Smaller pages are sent as they are."""


class Visit:
    """One request of somebody who is signed in.

    Attributes:
        request: as it came.
        person: whose it is; calls the services.
        form: what was sent; empty for a page that is only read.
        streaming: the answer that is under way, of a page that answers in pieces.
    """

    def __init__(self, request: web.Request, person: Person, session: Session, door: Door, form: Form) -> None:
        self.request = request
        self.person = person
        self.session = session
        self.form = form
        self.streaming: web.StreamResponse | None = None
        self._door = door
        self._form_token = door.sessions.form_token(session)

    def page(self, template: str, *, status: int = 200, **values: Any) -> web.Response:
        """A page."""
        return self._door.html(self.fragment(template, **values), status=status)

    def fragment(self, template: str, **values: Any) -> str:
        """A part of a page."""
        given = {
            "person": self.person,
            "path": self.request.path,
            FORM_TOKEN: self._form_token,
        }
        return self._door.templates.render(template, **given, **values)

    @property
    def is_over(self) -> bool:
        """Whether this server stops: streams should end."""
        return self._door.stopping()

    def argument(self, name: str) -> str:
        """Of the address, after the question mark; empty if it is not there."""
        return self.request.query.get(name, "").strip()

    def matched(self, name: str) -> str:
        """A part of the path."""
        return self.request.match_info[name]


Page = Callable[[Visit], Awaitable[web.StreamResponse]]


class Door:
    """Admits requests to pages.

    Args:
        services: what pages are made of.
        gate: judges who calls.
        sessions: seals and opens cookies.
        templates: of the pages.
        stopping: whether the server stops.
    """

    def __init__(
        self,
        services: Services,
        *,
        gate: Gate,
        sessions: Sessions,
        templates: Templates,
        stopping: Callable[[], bool],
    ) -> None:
        self.sessions = sessions
        self.templates = templates
        self.stopping = stopping
        self._services = services
        self._gate = gate
        self._streams = Counter[str]()

    def page(self, page: Page) -> Handler:
        """Serves a page to whoever is signed in; to others the way to sign in."""

        async def handle(request: web.Request) -> web.StreamResponse:
            began = monotonic()
            response = await self._answer(request, page)
            if not response.prepared:
                response.headers.setdefault("Server-Timing", f"page;dur={(monotonic() - began) * 1000:.1f}")
            return response

        return handle

    def stream(self, page: Page) -> Handler:
        """Serves an answer that may go on for ever, as `page`; each person has only so many at a time."""

        async def bounded(visit: Visit) -> web.StreamResponse:
            name = visit.person.name
            if self._streams[name] >= STREAMS:
                raise ResourceExhausted(f"{STREAMS} pages of {name} are open, which is the limit", code="streams")
            self._streams[name] += 1
            try:
                return await page(visit)
            finally:
                self._streams[name] -= 1
                self._streams += Counter()  # forgets who has none

        return self.page(bounded)

    async def _answer(self, request: web.Request, page: Page) -> web.StreamResponse:
        session = cookies.session_of(request, self.sessions)
        if session is None:
            return self._refusal(request, Unauthenticated("", code="session.none"))
        visit: Visit | None = None
        try:
            visit = await self._visit(request, session)
            with acting_as(visit.person.caller):
                response = await page(visit)
        except ConnectionError:  # whoever asked has left
            raise
        except Exception as error:  # noqa: BLE001 - whatever a page did, people get a sentence and an incident
            refused = from_handler(error, f"the page {request.path}")
            if visit is None or visit.streaming is None:
                return self._refusal(request, refused)
            # It cannot be said any more: the browser shall not take it for the end.
            cut_off(request, "the rest of an answer is not to be had")
            raise ConnectionResetError from None
        if not response.prepared and not response.cookies and self.sessions.is_old(session):
            cookies.keep(response, request, self.sessions.seal(session))
        return response

    async def _visit(self, request: web.Request, session: Session) -> Visit:
        caller = await self._gate.identify(bearer(session.token), None)
        person = Person(self._gate, session.token, caller, self._services)
        form = Form()
        if request.method == "POST":
            form = await self._form(request)
            if not self.sessions.is_form_token(session, form[FORM_TOKEN]):
                raise PermissionDenied("the form is not from a page of this session: load the page again", code="form")
        return Visit(request, person, session, self, form)

    async def _form(self, request: web.Request) -> Form:
        """What a page of ours sent; of others nothing is read."""
        if not cookies.is_from_here(request):
            raise PermissionDenied("the form is not from this site", code="form")
        return await read_form(request)

    def _refusal(self, request: web.Request, error: DtsError) -> web.Response:
        if isinstance(error, Unauthenticated):
            back = cookies.local_path(request.path_qs) if request.method == "GET" else "/"
            return self.sign_in(request, back=back, why=error.message)
        status = connect.http_status(to_grpc(error))
        return self.html(self.templates.render("refused.html", error=error, status=status, path=""), status=status)

    async def lost(self, request: web.Request) -> web.StreamResponse:
        """Says to people that there is no such page, with a way back; to programs what they expect."""
        if "text/html" not in request.headers.get("Accept", ""):
            raise web.HTTPNotFound
        return self._refusal(request, NotFound("there is no page at this address", code="page.unknown"))

    async def show_sign_in(self, request: web.Request) -> web.Response:
        """The way to sign in."""
        return self.sign_in(request, back=cookies.local_path(request.query.get("back", "/")), status=200)

    def sign_in(self, request: web.Request, *, back: str, why: str = "", status: int = 401) -> web.Response:
        """The page with the form that takes a token."""
        response = self.html(self.templates.render("sign_in.html", back=back, why=why, path=""), status=status)
        if status == 401:
            cookies.forget(response, request)
        return response

    async def let_in(self, request: web.Request) -> web.StreamResponse:
        """Begins a session for whoever shows a token that works."""
        form = Form()
        try:
            form = await self._form(request)
            token = await self._shown(form)
        except Unauthenticated as error:
            return self.sign_in(request, back=cookies.local_path(form["back"]), why=error.message)
        except DtsError as error:
            return self._refusal(request, error)
        response = see_other(cookies.local_path(form["back"]))
        cookies.keep(response, request, self.sessions.seal(self.sessions.begin(token)))
        return response

    async def _shown(self, form: Form) -> str:
        """The token that was shown, if it lets in."""
        token = form.text("token")
        caller = await self._gate.identify(bearer(token), None)
        if caller.scope is None:
            raise Unauthenticated("the token is not one of this installation", code="token.wrong")
        return token

    async def let_out(self, visit: Visit) -> web.StreamResponse:
        """Ends a session."""
        response = see_other("/sign-in")
        cookies.forget(response, visit.request)
        return response

    def html(self, text: str, *, status: int = 200) -> web.Response:
        """A whole page."""
        response = web.Response(text=text, content_type="text/html", status=status, headers=HEADERS)
        if len(text) > PACKED_FROM:
            response.enable_compression()
        return response


def see_other(path: str) -> web.Response:
    """What follows a form: another page, so that loading it again does nothing twice."""
    return web.Response(status=303, headers={**HEADERS, "Location": path})
