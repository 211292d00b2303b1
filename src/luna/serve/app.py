"""The server as one application: the page, the API, the reports, and the guard before them."""

from __future__ import annotations

import traceback
from importlib.resources import files

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, Response
from starlette.exceptions import HTTPException

from luna import __version__
from luna.run.errors import LunaError
from luna.serve.api import Service, routes
from luna.serve.guard import REPORT_POLICY, Guard
from luna.serve.store import UnknownScanError
from luna.serve.upload import TooLargeError

STATIC = files("luna.serve") / "static"

KINDS = {
    "index.html": "text/html",
    "page.css": "text/css",
    "page.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}

STATUS = {2: 400, 3: 422, 4: 507}
"""The HTTP status of an error by its exit code."""


def build_app(service: Service) -> FastAPI:
    """Return the application of a server."""
    app = FastAPI(
        title="luna serve",
        version=__version__,
        description="Send chest CT scans, follow the queue, and get the reports.",
        docs_url=None,  # FastAPI's own pages load scripts from elsewhere
        redoc_url=None,
    )
    app.add_middleware(Guard, access=service.access)
    app.add_exception_handler(LunaError, _known_error)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _unknown)
    app.add_exception_handler(Exception, _bug)
    app.include_router(routes(service))
    _add_pages(app, service)
    return app


def _add_pages(app: FastAPI, service: Service) -> None:
    def contents(name: str) -> Response:
        return Response((STATIC / name).read_bytes(), media_type=f"{KINDS[name]}; charset=utf-8")

    @app.get("/", include_in_schema=False)
    def page() -> Response:
        return contents("index.html")

    @app.get("/{name}", include_in_schema=False)
    def static_file(name: str) -> Response:
        if name not in KINDS:
            raise UnknownScanError("no such page")
        return contents(name)

    @app.get("/scans/{scan}/report", include_in_schema=False)
    def report(scan: str) -> Response:
        """The page of a report, which runs in a sandbox."""
        service.folder.store.get(scan)
        path = service.folder.report(scan) / "report.html"
        if not path.is_file():
            raise UnknownScanError("there is no report yet")
        headers = {"Content-Security-Policy": REPORT_POLICY}
        return FileResponse(path, media_type="text/html; charset=utf-8", headers=headers)


def _known_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, LunaError)  # noqa: S101 - what it is registered for
    status = STATUS.get(error.exit_code, 500)
    if isinstance(error, UnknownScanError):
        status = 404
    if isinstance(error, TooLargeError):
        status = 413
    return JSONResponse({"error": str(error), "hint": error.hint}, status)


def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - what it is registered for
    faults = [f"{one['loc'][-1]}: {one['msg']}" for one in error.errors()]
    return JSONResponse({"error": "; ".join(faults), "hint": "see /openapi.json"}, 400)


def _unknown(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - what it is registered for
    hint = "see /openapi.json"
    return JSONResponse({"error": error.detail.lower(), "hint": hint}, error.status_code)


def _bug(request: Request, error: Exception) -> Response:
    traceback.print_exception(error)
    what = f"a bug in luna: {type(error).__name__}"
    hint = "please report it; the terminal of `luna serve` shows where"
    return JSONResponse({"error": what, "hint": hint}, 500)
