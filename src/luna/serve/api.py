"""The JSON API: all that the page does, and nothing that it cannot do."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, Query, Request
from fastapi.responses import FileResponse, Response

from luna import __version__
from luna.run.errors import UsageError
from luna.serve.access import COOKIE, Access
from luna.serve.answers import (
    ErrorAnswer,
    FilesAnswer,
    HealthAnswer,
    ListAnswer,
    ScanAnswer,
    answers_of,
)
from luna.serve.clock import queue_seconds, typical_seconds
from luna.serve.folder import Folder
from luna.serve.request import ScanRequest
from luna.serve.rows import Row
from luna.serve.store import UnknownScanError
from luna.serve.upload import Limits, receive

MOST_ROWS = 1000
SHOWN = ("report.json",)
"""Files that a browser shows; it saves the others."""

FORM = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "files": {
                            "type": "array",
                            "items": {"type": "string", "format": "binary"},
                            "description": "one .zip, or the files of one study",
                        }
                    },
                }
            }
        },
    }
}
"""The upload, which FastAPI cannot see: it is read as it comes in."""

ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"model": ErrorAnswer, "description": "the request cannot be obeyed"},
    401: {"model": ErrorAnswer, "description": "a token is needed"},
    404: {"model": ErrorAnswer, "description": "no such scan"},
    413: {"model": ErrorAnswer, "description": "the upload is too large"},
    507: {"model": ErrorAnswer, "description": "the disk is full"},
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Service:
    """The folder, access rules, limits and worker behind the API."""

    folder: Folder
    access: Access = field(default_factory=Access)
    limits: Limits = field(default_factory=Limits)
    worker_lives: Callable[[], bool] = lambda: True

    def answers(self, rows: list[Row]) -> list[ScanAnswer]:
        """Return rows as the API tells them, with their places in the queue."""
        store = self.folder.store
        waiting, typical = store.waiting(), typical_seconds(store.lately_done())
        return answers_of(rows, queue_seconds(waiting, typical, time.time()))

    def answer(self, row: Row) -> ScanAnswer:
        """Return one row as the API tells it."""
        return self.answers([row])[0]

    def check(self, asked: ScanRequest) -> None:
        """Raise UsageError where a prior is asked for that is not there."""
        if asked.interval is not None and asked.prior is None:
            raise UsageError("an interval is the time since a prior scan", hint="name the prior")
        if asked.prior is not None and not self.folder.upload(asked.prior).is_file():
            raise UsageError("no such prior scan", hint="it may have been deleted")


def routes(service: Service) -> APIRouter:
    """Return the API of a server."""
    api = APIRouter(prefix="/api", responses=ERRORS)
    _add_scans(api, service)
    _add_one_scan(api, service)
    _add_report(api, service)
    _add_session(api, service)
    return api


def _add_scans(api: APIRouter, service: Service) -> None:
    @api.get("/scans", summary="List scans")
    def list_scans(
        search: Annotated[str, Query(max_length=200)] = "",
        most: Annotated[int, Query(ge=1, le=MOST_ROWS)] = 100,
    ) -> ListAnswer:
        """List the scans in which a text occurs, the newest first."""
        store = service.folder.store
        found = service.answers(store.find(search, most=most))
        return ListAnswer(scans=found, waiting=len(store.waiting()))

    @api.post("/scans", status_code=201, summary="Send a scan", openapi_extra=FORM)
    async def send_scan(request: Request, asked: Annotated[ScanRequest, Depends()]) -> ScanAnswer:
        """Send one study as a form of files, and queue it. It is safe on disk when this answers."""
        service.check(asked)
        with service.folder.new_upload() as (scan, path):
            came = await receive(request, path, service.limits)
        row = service.folder.store.add(scan, came.label, asked, files=came.files, size=came.bytes)
        return service.answer(row)

    @api.post("/scans/{scan}/again", status_code=201, summary="Look again")
    def diagnose_again(scan: str, asked: Annotated[ScanRequest, Depends()]) -> ScanAnswer:
        """Queue the same upload once more, with other choices: a prior, a series, a guideline."""
        before = service.folder.store.get(scan)
        service.check(asked)
        with service.folder.new_upload() as (new, path):
            os.link(service.folder.upload(scan), path)
        row = service.folder.store.add(
            new, before.label, asked, files=before.files, size=before.bytes
        )
        return service.answer(row)


def _add_one_scan(api: APIRouter, service: Service) -> None:
    @api.get("/scans/{scan}", summary="Tell about a scan")
    def get_scan(scan: str) -> ScanAnswer:
        """Return the progress of a scan, and its findings."""
        return service.answer(service.folder.store.get(scan))

    @api.get("/scans/{scan}/priors", summary="Offer prior scans")
    def get_priors(scan: str) -> ListAnswer:
        """List the other scans of the patient; where the file names nobody, all others."""
        store = service.folder.store
        row = store.get(scan)
        others = [one for one in store.find(most=MOST_ROWS) if one.id != scan]
        fitting = [one for one in others if one.state == "done" and one.patient == row.patient]
        return ListAnswer(scans=service.answers(fitting), waiting=len(store.waiting()))

    @api.post("/scans/{scan}/cancel", summary="Cancel a scan")
    def cancel_scan(scan: str) -> ScanAnswer:
        """Take a scan out of the queue, or stop looking at it. Its upload stays."""
        return service.answer(service.folder.store.cancel(scan))

    @api.delete("/scans/{scan}", status_code=204, summary="Delete a scan")
    def delete_scan(scan: str) -> Response:
        """Delete a scan: its row, its upload and its report. A running one is stopped first."""
        service.folder.store.get(scan)
        if service.folder.store.delete(scan):
            service.folder.remove(scan)
        return Response(status_code=204)


def _add_report(api: APIRouter, service: Service) -> None:
    @api.get("/scans/{scan}/files", summary="List a report's files")
    def list_files(scan: str) -> FilesAnswer:
        """List the files of the report; none before the scan is done."""
        service.folder.store.get(scan)
        return FilesAnswer(files=[path.name for path in service.folder.report_files(scan)])

    @api.get("/scans/{scan}/files/{name}", summary="Get a file", response_class=FileResponse)
    def get_file(scan: str, name: str) -> Response:
        """Get one file of the report. The page itself is at `/scans/{scan}/report`."""
        service.folder.store.get(scan)
        for path in service.folder.report_files(scan):
            if path.name == name:
                kind = "inline" if name in SHOWN else "attachment"
                return FileResponse(path, filename=name, content_disposition_type=kind)
        raise UnknownScanError("no such file", hint="`files` lists those that are there")


def _add_session(api: APIRouter, service: Service) -> None:
    @api.post("/session", status_code=204, summary="Sign in")
    def sign_in(token: Annotated[str, Body(embed=True, max_length=4096)]) -> Response:
        """Exchange the token for the page's cookie."""
        if not service.access.is_token(token):
            return Response(status_code=401)
        answer = Response(status_code=204)
        answer.set_cookie(COOKIE, service.access.session(), httponly=True, samesite="strict")
        return answer

    @api.delete("/session", status_code=204, summary="Sign out")
    def sign_out() -> Response:
        """Forget the page's cookie."""
        answer = Response(status_code=204)
        answer.delete_cookie(COOKIE)
        return answer

    @api.get("/health", summary="Check the server")
    def check_health() -> HealthAnswer:
        """Tell that the server answers; needs no token."""
        lives = service.worker_lives()
        return HealthAnswer(
            status="ok" if lives else "down",
            worker=lives,
            token=bool(service.access.token),
            version=__version__,
        )
