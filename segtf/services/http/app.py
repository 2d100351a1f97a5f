"""The pages and addresses of the server: /, /predict, /health, /metrics, /docs, /openapi.json."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from html import escape
from importlib.metadata import version
from pathlib import Path
from string import Template
from typing import Annotated, get_args

from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from segtf.outputs.page import style_sheet
from segtf.run.size import describe
from segtf.services.http.answer import (
    MEDIA_TYPES,
    ModelFacts,
    Output,
    Picture,
    Wanted,
    colour_of,
    facts_of,
)
from segtf.services.http.docs import ABOUT, BODY, OUTPUT, PICTURES, RESPONSES, Health
from segtf.services.http.metrics import CLIENT_GONE, MEDIA_TYPE, CountRequests
from segtf.services.http.queue import QueueFull
from segtf.services.http.service import Service
from segtf.services.http.upload import Refused, drain
from voc_builder.base.classes import has_background
from voc_builder.base.errors import UserError

BY_ACCEPT: dict[str, Output] = {  # what an Accept header asks for, the first of equals
    "application/json": "json",
    "image/png": "mask",
    "image/jpeg": "overlay",
}
PATHS = ("/", "/predict", "/health", "/metrics", "/docs", "/openapi.json")
CUT_OFF = (408, 413, 429)  # refused while the image may still be on its way


def create_app(service: Service) -> FastAPI:
    """The application; it owns the service and closes it when it ends."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        warming = asyncio.ensure_future(service.warm_up())
        yield
        service.ready = False
        await asyncio.wait({warming})
        service.close()

    app = FastAPI(
        title="segtf",
        version=version("segtf"),
        description=ABOUT,
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.service = service
    app.add_middleware(CountRequests, metrics=service.metrics, paths=PATHS)
    _answer_errors(app, service)
    _add_predict(app, service)
    _add_others(app, service)
    return app


def _add_predict(app: FastAPI, service: Service) -> None:
    @app.post(
        "/predict",
        summary="Segment an image",
        response_class=Response,
        responses=RESPONSES,
        openapi_extra={"requestBody": BODY},
    )
    async def predict(
        request: Request,
        output: Annotated[Output | None, Query(description=OUTPUT)] = None,
        pictures: Annotated[str, Query(description=PICTURES, examples=["mask,overlay"])] = "",
        polygons: Annotated[
            bool, Query(description="Whether the JSON lists objects with their outlines.")
        ] = True,
    ) -> Response:
        """The image comes as the field `file` of a form or as the body itself. It is turned as its
        EXIF says; all that is answered has its full size.
        """
        chosen = output or accepted(request.headers.get("accept", ""))
        wanted = Wanted(chosen, _pictures(pictures), polygons)
        content = await service.answer(request, wanted)
        return Response(content, media_type=MEDIA_TYPES[chosen], headers={"Vary": "Accept"})


def _add_others(app: FastAPI, service: Service) -> None:
    page = _page(service)

    @app.get("/", include_in_schema=False)
    async def index() -> HTMLResponse:
        return HTMLResponse(page)

    @app.get(
        "/health",
        summary="Whether images are answered",
        response_model=Health,
        response_model_exclude_none=True,
        responses={503: {"model": Health, "description": "Not yet, or not any more."}},
    )
    async def health(response: Response) -> Health:
        """For load balancers and schedulers: 200 when images are answered, else 503."""
        response.status_code = 200 if service.ready else 503
        return Health(
            status="ready" if service.ready else "unready",
            version=app.version,
            models=facts_of(service.predictor),
            error=None if service.ready else "the network is being warmed up, or the server ends",
        )

    @app.get(
        "/metrics",
        summary="Numbers for Prometheus",
        response_class=Response,
        responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
    )
    async def metrics() -> Response:
        """Requests by path and status, their seconds, the queue, images in each run of the
        network, memory of the process.
        """
        return Response(service.metrics.text(), media_type=MEDIA_TYPE)


def _answer_errors(app: FastAPI, service: Service) -> None:
    """Gives every error the same form."""

    async def refuse(request: Request, error: Exception) -> Response:
        assert isinstance(error, Refused)
        await drain(request)
        headers = {"Connection": "close"} if error.status in CUT_OFF else {}
        headers |= error.headers
        return JSONResponse({"error": error.reason}, error.status, headers)

    async def full(request: Request, error: Exception) -> Response:
        assert isinstance(error, QueueFull)
        later = {"Retry-After": str(error.retry_after)}
        return await refuse(request, Refused(429, str(error), later))

    async def wrong(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        faults = [f"{fault['loc'][-1]}: {fault['msg']}" for fault in error.errors()]
        return await refuse(request, Refused(422, "; ".join(faults)))

    async def other(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        reason = f"{request.method} {request.url.path}: {str(error.detail).lower()}"
        known = ", ".join(PATHS)
        return JSONResponse(
            {"error": f"{reason}; there is {known}"}, error.status_code, error.headers
        )

    async def failed(request: Request, error: Exception) -> Response:
        told = str(error) if isinstance(error, UserError) else "the server failed: its log says how"
        return JSONResponse({"error": told}, 500)

    async def gone(request: Request, error: Exception) -> Response:
        return Response(status_code=CLIENT_GONE)

    app.add_exception_handler(Refused, refuse)
    app.add_exception_handler(QueueFull, full)
    app.add_exception_handler(RequestValidationError, wrong)
    app.add_exception_handler(HTTPException, other)
    app.add_exception_handler(ClientDisconnect, gone)
    app.add_exception_handler(UserError, failed)
    app.add_exception_handler(Exception, failed)


def accepted(header: str) -> Output:
    """What an Accept header (RFC 9110, 12.5.1) likes best of what there is. Raises `Refused`."""
    liked = {kind: _quality(header, kind) for kind in BY_ACCEPT}
    best = max(liked, key=lambda kind: liked[kind])
    if not liked[best]:
        raise Refused(406, f"there is {', '.join(BY_ACCEPT)}. Received: Accept: {header}")
    return BY_ACCEPT[best]


def _quality(header: str, kind: str) -> float:
    """0 to 1: how much an Accept header likes a media type, by its closest pattern."""
    if not header.strip():
        return 1.0
    found = (-1, 0.0)
    for entry in header.lower().split(","):
        pattern, *parameters = (part.strip() for part in entry.split(";"))
        patterns = ("*/*", f"{kind.partition('/')[0]}/*", kind)
        if pattern in patterns:
            weights = [p[2:] for p in parameters if p.startswith("q=")]
            try:
                weight = float(weights[0]) if weights else 1.0
            except ValueError:
                weight = 0.0
            found = max(found, (patterns.index(pattern), weight))
    return found[1]


def _pictures(listed: str) -> tuple[Picture, ...]:
    """Raises `Refused`."""
    named = [name.strip() for name in listed.split(",") if name.strip()]
    known = get_args(Picture)
    if any(name not in known for name in named):
        raise Refused(422, f"pictures takes a list of {', '.join(known)}. Received: {listed}")
    return tuple(name for name in known if name in named)


class _Page(Template):
    delimiter = "@@"  # the page's script has dollars of its own


def _page(service: Service) -> str:
    """The page at /, with what its script knows."""
    predictor, config = service.predictor, service.config
    values = {
        "classes": [
            {"name": name, "colour": colour_of(predictor, class_id)}
            for class_id, name in enumerate(predictor.classes)
        ],
        "background": has_background(predictor.classes),
        "max_upload_mb": config.max_upload_mb,
        "max_megapixels": config.max_megapixels,
    }
    text = Path(__file__).with_name("page.html").read_text(encoding="utf-8")
    return _Page(text).substitute(
        style=style_sheet(),
        subtitle=escape("; ".join(_about(facts) for facts in facts_of(predictor))),
        values=json.dumps(values, ensure_ascii=False).replace("<", "\\u003c"),
    )


def _about(facts: ModelFacts) -> str:
    seen = "images squeezed to" if facts.mode == "resize" else "tiles of"
    provider = facts.provider.removesuffix("ExecutionProvider")
    size = describe((facts.height, facts.width))
    return f"{facts.arch} {facts.encoder}, {seen} {size}, {provider}"
