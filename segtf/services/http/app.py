"""The pages and endpoints: /, /predict, /health, /metrics, /docs, /openapi.json."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, get_args

from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from segtf.outputs.page import render
from segtf.run.size import describe
from segtf.services.http.answer import Wanted, hex_colour, model_facts
from segtf.services.http.errors import Refused
from segtf.services.http.metrics import CLIENT_GONE, MEDIA_TYPE, CountRequests
from segtf.services.http.schema import (
    ABOUT,
    BODY,
    MEDIA_TYPES,
    OUTPUT,
    PICTURES,
    RESPONSES,
    Health,
    ModelFacts,
    Output,
    Picture,
)
from segtf.services.http.service import Service
from segtf.services.http.upload import drain
from voc_builder.base.classes import has_background
from voc_builder.base.errors import UserError
from voc_builder.pixels.untrusted import KINDS

BY_ACCEPT: dict[str, Output] = {  # the first one wins where the Accept header allows several
    "application/json": "json",
    "image/png": "mask",
    "image/jpeg": "overlay",
}
PATHS = ("/", "/predict", "/health", "/metrics", "/docs", "/openapi.json")
UNREAD = (408, 413, 429)  # refused while the upload may still be on its way


def create_app(service: Service) -> FastAPI:
    """The application; it owns the service and closes it at the end."""

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
    app.add_exception_handler(HTTPException, _refuse)
    app.add_exception_handler(RequestValidationError, _refuse_invalid)
    app.add_exception_handler(ClientDisconnect, _client_gone)
    app.add_exception_handler(UserError, _fail)
    app.add_exception_handler(Exception, _fail)
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
        """Send the image as the field `file` of a form or as the body. It is rotated as its EXIF
        says; pictures and coordinates have its full size.
        """
        chosen = output or accepted(request.headers.get("accept", ""))
        content = await service.answer(request, Wanted(chosen, _pictures(pictures), polygons))
        return Response(content, media_type=MEDIA_TYPES[chosen], headers={"Vary": "Accept"})


def _add_others(app: FastAPI, service: Service) -> None:
    page = _page(service)

    @app.get("/", include_in_schema=False)
    async def index() -> HTMLResponse:
        return HTMLResponse(page)

    @app.get(
        "/health",
        summary="Whether the server answers images",
        response_model=Health,
        response_model_exclude_none=True,
        responses={503: {"model": Health, "description": "Not yet, or not any more."}},
    )
    async def health(response: Response) -> Health:
        """For load balancers and schedulers: 200 if images are answered, else 503."""
        response.status_code = 200 if service.ready else 503
        return Health(
            status="ready" if service.ready else "unready",
            version=app.version,
            models=model_facts(service.predictor),
            error=None if service.ready else "the network is warming up, or the server is ending",
        )

    @app.get(
        "/metrics",
        summary="Metrics for Prometheus",
        response_class=Response,
        responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
    )
    async def metrics() -> Response:
        """Requests by path and status, their duration, the queue, batches of the network, memory
        of the process.
        """
        return Response(service.metrics.text(), media_type=MEDIA_TYPE)


# every error has the same JSON


async def _refuse(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    await drain(request)
    reason = error.detail
    if not isinstance(error, Refused):  # no such path or method
        reason = f"{request.method} {request.url.path}: {reason.lower()}; try {', '.join(PATHS)}"
    headers = {"Connection": "close"} if error.status_code in UNREAD else {}
    return JSONResponse({"error": reason}, error.status_code, {**headers, **(error.headers or {})})


async def _refuse_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    faults = [f"{fault['loc'][-1]}: {fault['msg']}" for fault in error.errors()]
    return await _refuse(request, Refused(422, "; ".join(faults)))


async def _fail(request: Request, error: Exception) -> Response:
    reason = str(error) if isinstance(error, UserError) else "internal error, see the server's log"
    return JSONResponse({"error": reason}, 500)


async def _client_gone(request: Request, error: Exception) -> Response:
    return Response(status_code=CLIENT_GONE)


def accepted(header: str) -> Output:
    """The output that an Accept header prefers (RFC 9110, 12.5.1). Raises `Refused` if it allows
    none.
    """
    weights = _weights(header.lower() if header.strip() else "*/*")

    def weight(kind: str) -> float:
        patterns = (kind, f"{kind.partition('/')[0]}/*", "*/*")  # the most specific one counts
        return next((weights[pattern] for pattern in patterns if pattern in weights), 0.0)

    best = max(BY_ACCEPT, key=weight)
    if not weight(best):
        raise Refused(406, f"there is {', '.join(BY_ACCEPT)}. Received: Accept: {header}")
    return BY_ACCEPT[best]


def _weights(header: str) -> dict[str, float]:
    """Weight of each pattern, such as image/*, in an Accept header; 0 for a malformed weight."""
    weights = {}
    for entry in header.split(","):
        pattern, *parameters = (part.strip() for part in entry.split(";"))
        given = next((text[2:] for text in parameters if text.startswith("q=")), "1")
        try:
            weights[pattern] = float(given)
        except ValueError:
            weights[pattern] = 0.0
    return weights


def _pictures(listed: str) -> tuple[Picture, ...]:
    named = [name.strip() for name in listed.split(",") if name.strip()]
    known = get_args(Picture)
    if not set(named) <= set(known):
        raise Refused(422, f"pictures takes a list of {', '.join(known)}. Received: {listed}")
    return tuple(name for name in known if name in named)


def _page(service: Service) -> str:
    predictor, config = service.predictor, service.config
    return render(
        Path(__file__).with_name("index.html"),
        title="Image segmentation",
        subtitle="; ".join(map(_describe, model_facts(predictor))),
        classes=[
            {"name": name, "colour": hex_colour(predictor, class_id)}
            for class_id, name in enumerate(predictor.classes)
        ],
        background=has_background(predictor.classes),
        kinds=KINDS,
        max_upload_mb=config.max_upload_mb,
        max_megapixels=config.max_megapixels,
    )


def _describe(facts: ModelFacts) -> str:
    how = "images resized to" if facts.mode == "resize" else "tiles of"
    provider = facts.provider.removesuffix("ExecutionProvider")
    return (
        f"{facts.arch} {facts.encoder}, {how} {describe((facts.height, facts.width))}, {provider}"
    )
