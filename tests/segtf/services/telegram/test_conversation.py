"""Images sent to the bot come back without their background, and it survives failures."""

from __future__ import annotations

import asyncio
import dataclasses
import signal
from typing import Any

import pytest

from segtf.bot import converse, open_bot
from segtf.services.telegram import conversation, messages
from segtf.services.telegram.conversation import Conversation
from segtf.services.telegram.cutout import Cutout
from tests.segtf.services.telegram.bot_api import PATIENCE, TOKEN, bot_api
from tests.segtf.services.telegram.talking import (
    CLASSES,
    HALVES,
    LIMITS,
    Cut,
    Gate,
    assert_right_half_stays,
    encode,
    halves,
    never,
    opacity,
    talking,
)
from voc_builder.base.errors import UserError

pytestmark = [pytest.mark.anyio, pytest.mark.slow]
ROOM = {"id": -5, "type": "group", "title": "Room"}


@pytest.mark.parametrize(
    ("kind", "name", "mime"),
    [
        ("JPEG", "деталь 1.jpeg", "image/jpeg"),
        ("WEBP", "деталь 1", "image/webp"),
        ("TIFF", "деталь 1.tif", "application/octet-stream"),
    ],
)
async def test_an_image_sent_as_a_file_keeps_its_name_and_size(
    cut: Cut, kind: str, name: str, mime: str
) -> None:
    async with talking(cut) as api:
        sent = await api.send_document(encode(halves(), kind), name=name, mime=mime)
        (answer,) = await api.until_answers(1)
        assert answer.file is not None
        assert answer.file[0] == "деталь 1_cutout.png"
        assert_right_half_stays(answer.file[1])
        assert answer.replies_to == sent
        # its sender may delete the message before it is answered
        assert '"allow_sending_without_reply": true' in answer.fields["reply_parameters"]


async def test_every_image_of_an_album_is_answered_in_order(cut: Cut) -> None:
    async with talking(cut) as api:
        api.failures["download"] = [(500, {})]  # the first takes longest
        heights = [900, *range(20, 28)]
        sent = [
            await api.send_photo(encode(halves(height)), media_group_id="1") for height in heights
        ]
        answers = await api.until_answers(len(sent))
        assert [answer.replies_to for answer in answers] == sent
        pngs = [answer.file[1] for answer in answers if answer.file]
        assert [len(opacity(png)) for png in pngs] == heights


@pytest.mark.parametrize("command", ["/start", "/help", "/start hello", "/HELP@Cutter_Bot"])
@pytest.mark.parametrize("chat", [None, ROOM])
async def test_start_and_help_tell_what_the_bot_does(
    command: str, chat: dict[str, Any] | None
) -> None:
    async with talking(never) as api:
        await api.send(text=command, chat=chat)
        (answer,) = await api.until_answers(1)
        assert messages.help_text(CLASSES[1:], LIMITS) in answer.text
        assert answer.text.startswith("Hello!") == command.startswith("/start")


FILE = {"file_id": "x", "file_unique_id": "x"}
VIDEO = {**FILE, "width": 9, "height": 9, "duration": 1}
PDF = {**FILE, "file_name": "a.pdf", "mime_type": "application/pdf"}


@pytest.mark.parametrize(
    ("content", "answer"),
    [
        ({"text": "hi"}, messages.NO_PHOTO),
        ({"animation": VIDEO, "document": {**FILE, "mime_type": "image/gif"}}, messages.NO_PHOTO),
        ({"document": PDF}, messages.NO_PHOTO),
        ({"location": {"latitude": 1.0, "longitude": 1.0}}, messages.NO_PHOTO),
        ({"text": "/cut"}, messages.UNKNOWN_COMMAND),
    ],
)
async def test_other_messages_are_told_what_to_send(content: dict[str, Any], answer: str) -> None:
    async with talking(never) as api:
        sent = await api.send(**content)
        (reply,) = await api.until_answers(1)
        assert (reply.text, reply.replies_to) == (answer, sent)
        assert not api.named("getFile")


async def test_in_a_group_only_images_are_answered(cut: Cut) -> None:
    async with talking(cut) as api:
        await api.send(text="hello all", chat=ROOM)
        await api.send(text="/start@other_bot", chat=ROOM)
        await api.send(new_chat_title="Kitchen", chat=ROOM)
        sent = await api.send_photo(HALVES, chat=ROOM)
        (answer,) = await api.until_answers(1)
        assert answer.replies_to == sent
        assert answer.fields["chat_id"] == "-5"


async def test_a_file_over_20_mb_is_refused_before_it_is_fetched() -> None:
    async with talking(never) as api:
        size = 20 * 2**20 + 1
        await api.send_document(b"", name="a.png", mime="image/png", file_size=size)
        (answer,) = await api.until_answers(1)
        assert answer.text == messages.too_large(size)
        assert not api.named("getFile")
        api.failures["getFile"] = [
            (400, {"error_code": 400, "description": "Bad Request: file is too big"})
        ]
        await api.send_document(b"", name="a.png", mime="image/png")
        answers = await api.until_answers(2)
        assert answers[1].text == messages.too_large(None)
        assert len(api.named("getFile")) == 1


async def test_a_result_that_is_too_large_for_telegram_is_not_sent(
    cut: Cut, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversation, "GIVEN", 10)
    async with talking(cut) as api:
        await api.send_photo(HALVES)
        (answer,) = await api.until_answers(1)
        assert answer.method == "sendMessage"


async def test_the_bot_answers_others_and_shows_its_action_while_the_network_works(
    cut: Cut, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversation, "ACTION_SECONDS", 0.01)
    gate = Gate(cut)
    async with talking(gate) as api:
        await api.send_photo(HALVES)
        await gate.until_begun(1)
        await api.send(user=8, text="/help")
        (helped,) = await api.until_answers(1)
        assert helped.fields["chat_id"] == "8"
        await api.until(lambda: len(api.named("sendChatAction")) >= 3)  # again and again
        gate.let()
        await api.until_answers(2)
        actions = {(a.fields["chat_id"], a.fields["action"]) for a in api.named("sendChatAction")}
        assert actions == {("7", "upload_document")}


async def test_people_take_turns_at_the_network(cut: Cut) -> None:
    gate = Gate(cut)
    async with talking(gate) as api:
        for _ in range(4):
            await api.send_photo(HALVES)
        await gate.until_begun(1)
        await api.send_photo(HALVES, user=8)
        await api.until(lambda: len(api.named("getFile")) == 2)
        await api.until(lambda: {a.fields["chat_id"] for a in api.named("sendChatAction")} > {"7"})
        await asyncio.sleep(0.1)  # the second image moves from the server to its place meanwhile
        assert gate.begun == 1  # one at a time
        gate.let(5)
        people = [answer.fields["chat_id"] for answer in await api.until_answers(5)]
        assert people == ["7", "8", "7", "7", "7"]


@pytest.mark.parametrize(
    ("limit", "users", "text"),
    [
        ({"waiting": 2}, (7, 8, 7, 7), messages.TOO_MANY.format(2)),
        ({"queue": 3}, (1, 2, 3, 4), messages.BUSY),
    ],
)
async def test_too_many_images_are_refused_until_some_are_answered(
    limit: dict[str, int], users: tuple[int, ...], text: str, cut: Cut
) -> None:
    gate = Gate(cut)
    async with talking(gate, limits=dataclasses.replace(LIMITS, **limit)) as api:
        sent = [await api.send_photo(HALVES, user=user) for user in users]
        (refused,) = await api.until_answers(1)
        assert (refused.replies_to, refused.text) == (sent[3], text)
        gate.let(4)
        answers = await api.until_answers(4)
        assert [answer.file is None for answer in answers] == [True] + [False] * 3
        async with asyncio.timeout(PATIENCE):  # a place is free a moment after its answer is out
            while len(answers) == 4 or answers[-1].file is None:
                await api.send_photo(HALVES, user=users[3])
                answers = await api.until_answers(len(answers) + 1)


async def test_requests_are_repeated_after_transient_errors(cut: Cut) -> None:
    async with talking(cut) as api:
        failure = {"error_code": 500, "description": "Internal Server Error"}
        wait = {"description": "Too Many Requests", "parameters": {"retry_after": 1}}
        api.failures["getUpdates"] = [None, (502, failure)]  # aiogram waits 2 s over these
        api.failures["getFile"] = [(500, failure)]
        api.failures["download"] = [None]
        api.failures["sendDocument"] = [None, (500, failure), (429, wait | {"error_code": 429})]
        sent = await api.send_photo(HALVES)
        answers = await api.until_answers(4)
        assert {answer.replies_to for answer in answers} == {sent}
        await api.send(text="/help")
        await api.until_answers(5)
        assert not any(api.failures.values())


@pytest.mark.parametrize("failures", [1, 100])
async def test_the_bot_waits_for_the_api_and_can_be_ended_meanwhile(failures: int) -> None:
    async with bot_api() as api:
        api.failures["getMe"] = [None] * failures
        waiting = Conversation(open_bot(api.url, TOKEN), never, (), LIMITS)
        task = asyncio.create_task(converse(waiting))
        await api.until(lambda: bool(api.named("getUpdates" if failures == 1 else "getMe")))
        signal.raise_signal(signal.SIGTERM)
        await asyncio.wait_for(task, PATIENCE)
        assert bool(api.named("getUpdates")) == (failures == 1)


@pytest.mark.parametrize(
    ("encoded", "downloads", "text"),
    [
        (b"no image", [], messages.UNREADABLE),
        (HALVES, [(404, {})] * 4, messages.UNFETCHED),
    ],
)
async def test_an_image_without_a_result_gets_a_reason_and_the_next_one_is_answered(
    encoded: bytes, downloads: list[Any], text: str, cut: Cut
) -> None:
    async with talking(cut) as api:
        api.failures["download"] = downloads
        await api.send_photo(encoded)
        await api.send_photo(HALVES)
        refusal, answer = await api.until_answers(2)
        assert refusal.text == text
        assert answer.file is not None


async def test_a_user_who_blocked_the_bot_does_not_stop_it(cut: Cut) -> None:
    async with talking(cut) as api:
        blocked = {"error_code": 403, "description": "Forbidden: bot was blocked by the user"}
        api.failures["sendDocument"] = [(403, blocked)]
        api.failures["sendChatAction"] = [(403, blocked)]
        await api.send_photo(HALVES)
        await api.until_answers(1)
        await api.send_photo(HALVES, user=8)
        answers = await api.until_answers(2)
        assert answers[1].fields["chat_id"] == "8"


async def test_an_error_of_the_network_is_logged_and_not_shown(
    cut: Cut, caplog: pytest.LogCaptureFixture
) -> None:
    errors = [UserError("server/model.onnx: no memory")]

    def fail_once(encoded: bytes) -> Cutout:
        if errors:
            raise errors.pop()
        return cut(encoded)

    async with talking(fail_once) as api:
        await api.send_photo(HALVES)
        await api.send_photo(HALVES)
        answers = await api.until_answers(2)
        assert answers[0].text == messages.FAILED
        assert answers[1].file is not None
    assert "no memory" in caplog.text


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT])
async def test_at_the_end_images_in_work_are_answered_and_the_others_are_not(
    cut: Cut, end: signal.Signals
) -> None:
    gate = Gate(cut)
    async with talking(gate, end=end) as api:
        sent = [await api.send_photo(HALVES) for _ in range(3)]
        await gate.until_begun(1)
        asyncio.get_running_loop().call_later(0.3, gate.let)  # when the bot is to end
    begun, *waiting = api.answers()
    assert begun.file is not None
    assert_right_half_stays(begun.file[1])
    assert [answer.replies_to for answer in api.answers()] == sent
    assert [answer.text for answer in waiting] == [messages.RESTARTING] * 2
    assert api.unread() == 0


async def test_answered_messages_do_not_come_again_at_the_next_start(cut: Cut) -> None:
    async with talking(cut) as api:
        api.failures["getUpdates"] = [None]  # by which aiogram would say that it was read
        await api.send_photo(HALVES)
        await api.until_answers(1)
    assert api.unread() == 0
