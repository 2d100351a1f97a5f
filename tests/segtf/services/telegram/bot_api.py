"""A Bot API server for tests: speaks HTTP to the real client, remembers what it was asked."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

TOKEN = "42:AAsecret_secret-secret"
PATIENCE = 60  # seconds until a test gives up
ME = {"id": 42, "is_bot": True, "first_name": "Cutter", "username": "cutter_bot"}


@dataclass(frozen=True)
class Call:
    """A request that the server got."""

    method: str
    fields: dict[str, str]
    file: tuple[str, bytes] | None = None  # name and content of the one that came with it

    @property
    def text(self) -> str:
        return self.fields.get("text", self.fields.get("caption", ""))

    @property
    def replies_to(self) -> int:
        return int(json.loads(self.fields["reply_parameters"])["message_id"])


@dataclass
class BotApi:
    """The server; `url` is where it listens."""

    url: str = ""
    calls: list[Call] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    # what a method, or `download`, answers to its next requests in place of the truth: status and
    # JSON; None cuts the connection
    failures: dict[str, list[tuple[int, dict[str, Any]] | None]] = field(default_factory=dict)
    _updates: list[dict[str, Any]] = field(default_factory=list)
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    async def send(
        self, *, user: int = 7, chat: dict[str, Any] | None = None, **content: Any
    ) -> int:
        """The id of the message that a user writes to the bot."""
        number = next(self._numbers)
        message = {
            "message_id": number,
            "date": 1_700_000_000,
            "from": {"id": user, "is_bot": False, "first_name": "Anna"},
            "chat": chat or {"id": user, "type": "private", "first_name": "Anna"},
            **content,
        }
        async with self._changed:
            self._updates.append({"update_id": 1000 + number, "message": message})
            self._changed.notify_all()
        return number

    async def send_photo(self, encoded: bytes, *, user: int = 7, **content: Any) -> int:
        """A message with a photo in two sizes, of which the first cannot be fetched."""
        file_id = f"photo{len(self.files)}"
        self.files[file_id] = encoded
        sizes = [
            {"file_id": "thumbnail", "file_unique_id": "t", "width": 9, "height": 6},
            {"file_id": file_id, "file_unique_id": file_id, "width": 90, "height": 60},
        ]
        return await self.send(user=user, photo=sizes, **content)

    async def send_document(self, encoded: bytes, *, name: str, mime: str, **more: Any) -> int:
        file_id = f"document{len(self.files)}"
        self.files[file_id] = encoded
        document = {"file_id": file_id, "file_unique_id": file_id, "file_name": name}
        return await self.send(document=document | {"mime_type": mime, **more})

    def named(self, *methods: str) -> list[Call]:
        return [call for call in self.calls if call.method in methods]

    def answers(self) -> list[Call]:
        return self.named("sendMessage", "sendDocument")

    async def until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE), self._changed:
            await self._changed.wait_for(true)

    async def until_answers(self, count: int) -> list[Call]:
        """Whatever the bot says, when it has said so much."""
        await self.until(lambda: len(self.answers()) >= count)
        return self.answers()

    def unread(self) -> int:
        """Messages that would come again if the bot were started again."""
        return len(self._updates)

    async def _asked(self, request: web.Request) -> web.StreamResponse:
        method = request.match_info["method"]
        call = Call(method, *await _read(request))
        async with self._changed:
            self.calls.append(call)
            self._changed.notify_all()
        if request.match_info["token"] != TOKEN:
            return _refusal(401, "Unauthorized")
        if self.failures.get(method):
            return self._fail(request, method)
        return web.json_response({"ok": True, "result": await self._result(call)})

    def _fail(self, request: web.Request, method: str) -> web.StreamResponse:
        failure = self.failures[method].pop(0)
        if failure is None:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        return web.json_response({"ok": False, **failure[1]}, status=failure[0])

    async def _result(self, call: Call) -> Any:
        if call.method == "getMe":
            return ME
        if call.method == "getUpdates":
            return await self._new_updates(call.fields)
        if call.method == "getFile":
            file_id = call.fields["file_id"]
            return {"file_id": file_id, "file_unique_id": file_id, "file_path": f"kept/{file_id}"}
        if call.method in ("sendMessage", "sendDocument"):
            chat = {"id": int(call.fields["chat_id"]), "type": "private"}
            return {"message_id": next(self._numbers), "date": 1_700_000_000, "chat": chat}
        assert call.method in ("deleteWebhook", "sendChatAction"), call
        return True

    async def _new_updates(self, fields: dict[str, str]) -> list[dict[str, Any]]:
        """Those from `offset` on, waited for; those before it are forgotten."""
        offset = int(fields.get("offset", 0))
        self._updates = [update for update in self._updates if update["update_id"] >= offset]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(float(fields.get("timeout", 0)) or 0.01), self._changed:
                await self._changed.wait_for(lambda: bool(self._updates))
        return self._updates[: int(fields.get("limit", 100))]

    async def _downloaded(self, request: web.Request) -> web.StreamResponse:
        if self.failures.get("download"):
            return self._fail(request, "download")
        assert request.match_info["token"] == TOKEN
        return web.Response(body=self.files[request.match_info["file_id"]])


async def _read(request: web.Request) -> tuple[dict[str, str], tuple[str, bytes] | None]:
    fields, file = {}, None
    for key, value in (await request.post()).items():
        if isinstance(value, web.FileField):
            file = value.filename, value.file.read()
        else:
            fields[key] = str(value)
    return fields, file


def _refusal(status: int, description: str) -> web.Response:
    content = {"ok": False, "error_code": status, "description": description}
    return web.json_response(content, status=status)


@contextlib.asynccontextmanager
async def bot_api() -> AsyncIterator[BotApi]:
    """A server of its own that listens while the block lasts."""
    api = BotApi()
    app = web.Application(client_max_size=2**26)
    app.router.add_post("/bot{token}/{method}", api._asked)
    app.router.add_get("/file/bot{token}/kept/{file_id}", api._downloaded)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    api.url = "http://{}:{}".format(*runner.addresses[0])
    try:
        yield api
    finally:
        await runner.cleanup()
