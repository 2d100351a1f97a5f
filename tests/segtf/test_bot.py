"""Photos sent to the bot come back without their background, and it lives through the rest."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import io
import logging
import os
import signal
import struct
import subprocess
import sys
import threading
import zlib
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from segtf import bot
from segtf.bot import LogFormatter, converse, main, open_bot
from segtf.inference.predictor import open_predictor
from segtf.services.telegram import conversation
from segtf.services.telegram import photo as bot_photo
from segtf.services.telegram.conversation import Conversation
from segtf.services.telegram.messages import NOTHING, Limits, describe, help_text
from segtf.services.telegram.photo import CutPhoto, Refused, cut_photo
from tests.segtf.services.telegram.bot_api import PATIENCE, TOKEN, BotApi, bot_api
from tests.segtf.tiny_onnx import INFO, write_channels_model
from tests.test_imports import HEAVY, packages, reachable
from voc_builder.base.errors import UserError

Cut = Callable[[bytes], CutPhoto]

CLASSES = ("__background__", "green", "синий")
LIMITS = Limits(megapixels=1, waiting=10, queue=100)
ROOM = {"id": -5, "type": "group", "title": "Room"}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network to which red is the background."""
    path = tmp_path_factory.mktemp("network") / "model.onnx"
    return write_channels_model(path, info=dataclasses.replace(INFO, classes=CLASSES))


@pytest.fixture(scope="module")
def cut(model: Path) -> Cut:
    return partial(cut_photo, open_predictor([model]), megapixels=LIMITS.megapixels)


def halves(height: int = 32, width: int = 48) -> NDArray[np.uint8]:
    """Red on the left, which vanishes, and green on the right."""
    photo = np.zeros((height, width, 3), np.uint8)
    photo[:, : width // 2, 0] = photo[:, width // 2 :, 1] = 255
    return photo


def encode(photo: NDArray[np.uint8], kind: str = "PNG", **settings: Any) -> bytes:
    encoded = io.BytesIO()
    Image.fromarray(photo).save(encoded, kind, **settings)
    return encoded.getvalue()


def opacity(png: bytes) -> NDArray[np.uint8]:
    """Of a PNG with transparency, shape (H, W)."""
    with Image.open(io.BytesIO(png)) as image:
        assert (image.format, image.mode) == ("PNG", "RGBA")
        return np.asarray(image)[..., 3]


def assert_right_half_stays(png: bytes, height: int = 32, width: int = 48) -> None:
    alpha = opacity(png)
    assert alpha.shape == (height, width)
    assert not alpha[:, : width // 2 - 4].any()
    assert (alpha[:, width // 2 + 4 :] == 255).all()


@contextlib.asynccontextmanager
async def talking(
    cut: Cut, *, limits: Limits = LIMITS, end: signal.Signals = signal.SIGTERM
) -> AsyncIterator[BotApi]:
    """A server that the bot listens to; it is told to end, and ends, behind the block."""
    async with bot_api() as api:
        answers = Conversation(cut, CLASSES[1:], limits, pauses=(0.01, 0.01, 0.01))
        task = asyncio.create_task(converse(open_bot(api.url, TOKEN), answers))
        await api.until(lambda: bool(api.named("getUpdates")) or task.done())
        try:
            yield api
        finally:
            signal.raise_signal(end)
            await asyncio.wait_for(task, PATIENCE)


class Gate:
    """A network that works on a photo only when it is let."""

    def __init__(self, cut: Cut) -> None:
        self._cut = cut
        self.begun = 0
        self._let = threading.Semaphore(0)

    def __call__(self, encoded: bytes) -> CutPhoto:
        self.begun += 1
        assert self._let.acquire(timeout=PATIENCE)
        return self._cut(encoded)

    def let(self, photos: int = 1) -> None:
        self._let.release(photos)

    async def until_begun(self, photos: int) -> None:
        async with asyncio.timeout(PATIENCE):
            while self.begun < photos:
                await asyncio.sleep(0.005)


async def unreached(*_: object) -> None:
    raise AssertionError("the bot was to refuse this before it talks to Telegram")


def run_main(monkeypatch: pytest.MonkeyPatch, *argv: object, token: str | None = TOKEN) -> int:
    """Exit code of the program, which is to end before it talks to anybody."""
    monkeypatch.setattr(bot, "converse", unreached)
    monkeypatch.delenv(bot.TOKEN, raising=False)
    if token is not None:
        monkeypatch.setenv(bot.TOKEN, token)
    monkeypatch.setattr(sys, "argv", ["segtf-bot", *map(str, argv)])
    return main()


# the program


def test_the_program_answers_a_photo_and_ends_on_sigterm(model: Path) -> None:
    async def story() -> None:
        async with bot_api() as api:
            api.failures["download"] = [(404, {})]  # its error names the address
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "segtf.bot", str(model), "--api-url", api.url),
                env={**os.environ, bot.TOKEN: TOKEN + "\n"},
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
            sent = await api.send_photo(encode(halves(), "JPEG", quality=95))
            (answer,) = await api.until_answers(1)
            process.send_signal(signal.SIGTERM)
            out, err = await asyncio.wait_for(process.communicate(), PATIENCE)
            assert process.returncode == 0, err.decode()
            assert out.decode().startswith("@cutter_bot ")
            assert answer.method == "sendDocument"
            assert answer.replies_to == sent
            assert answer.file is not None
            assert answer.file[0] == "cutout.png"
            assert_right_half_stays(answer.file[1])
            assert answer.text.splitlines() == ["__background__: 50 %", "green: 50 %"]
            assert "ClientResponseError" in err.decode()
            assert TOKEN.partition(":")[2] not in out.decode() + err.decode()
            assert api.unread() == 0
            assert [call.method for call in api.calls[:2]] == ["getMe", "deleteWebhook"]

    asyncio.run(story())


@pytest.mark.parametrize("token", [None, "", "secret", "12:se cret", "12:secret/x", "x:secret"])
def test_a_token_that_is_none_is_refused_and_not_shown(
    token: str | None,
    model: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run_main(monkeypatch, model, token=token) == 2
    out, err = capsys.readouterr()
    assert err.count("\n") == 1
    assert "SEGTF_BOT_TOKEN" in err
    assert "@BotFather" in err
    assert "cret" not in out + err


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--waiting", "0"], "--waiting takes a number from 1 on. Received: 0"),
        (["--queue", "-1"], "--queue takes a number from 1 on. Received: -1"),
        (["--megapixels", "0"], "--megapixels takes a number above 0. Received: 0"),
        (["--threads", "-1"], "--threads takes 0 or more. Received: -1"),
        (["--api-url", "localhost:8081"], "Received: localhost:8081"),
        (["--api-url", "http://"], "Received: http://"),
        (["--api-url", "http://a:b"], "Received: http://a:b"),
        (["--api-url", "http://a/{x}"], "Received: http://a/{x}"),
    ],
)
def test_wrong_flags_are_refused(
    flags: list[str],
    said: str,
    model: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run_main(monkeypatch, model, *flags) == 2
    assert said in capsys.readouterr().err


def test_a_network_without_background_is_refused_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_channels_model(tmp_path / "model.onnx")
    assert run_main(monkeypatch, path) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert f"{path}: no class is the background, class 0 is red" in err


def test_without_aiogram_the_extra_is_named(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "aiogram", None)
    assert run_main(monkeypatch, model) == 2
    assert "pip install 'segtf[bot]'" in capsys.readouterr().err


def test_the_bot_and_its_help_need_no_training_framework() -> None:
    reached = reachable("segtf.bot") | reachable("segtf.services.telegram.conversation")
    assert "voc_builder.pixels.images" in reached
    assert {name for name, found in reached.items() if packages(found) & HEAVY} == set()
    assert not {"aiogram", "aiohttp"} & packages(set().union(*reachable("segtf.bot").values()))
    shown = subprocess.run(
        [sys.executable, "-m", "segtf.bot", "--help"], capture_output=True, text=True, check=True
    )
    assert "--api-url" in shown.stdout


def test_a_token_that_the_server_refuses_ends_the_bot() -> None:
    async def story() -> None:
        async with bot_api() as api:
            with pytest.raises(UserError, match=f"{api.url} refuses .* SEGTF_BOT_TOKEN") as error:
                await converse(open_bot(api.url, "42:secret"), Conversation(never, (), LIMITS))
            assert "secret" not in str(error.value)

    asyncio.run(story())


def never(encoded: bytes) -> CutPhoto:
    raise AssertionError("no photo was to come this far")


def test_the_log_holds_one_line_a_record_and_never_the_token() -> None:
    try:
        raise ValueError(f"http://localhost/bot{TOKEN}/getMe")
    except ValueError as error:
        record = logging.LogRecord(
            *("x", logging.ERROR, __file__, 1, "failed: %s\nContent: %s", (error, "private")),
            exc_info=sys.exc_info(),
        )
    text = LogFormatter(TOKEN).format(record)
    assert "failed: http://localhost/bot42:[SEGTF_BOT_TOKEN]/getMe\nTraceback" in text
    assert TOKEN.partition(":")[2] not in text
    assert "private" not in text


# what comes back


@pytest.mark.parametrize(
    ("kind", "name", "mime"),
    [
        ("PNG", "деталь 1.png", "image/png"),
        ("JPEG", "деталь 1.jpeg", "image/jpeg"),
        ("WEBP", "деталь 1.webp", "image/webp"),
        ("TIFF", "деталь 1.tif", "application/octet-stream"),
        ("BMP", "деталь 1.bmp", ""),
    ],
)
def test_an_image_sent_as_a_file_keeps_its_name_and_size(
    cut: Cut, kind: str, name: str, mime: str
) -> None:
    async def story() -> None:
        async with talking(cut) as api:
            sent = await api.send_document(encode(halves(), kind), name=name, mime=mime)
            (answer,) = await api.until_answers(1)
            assert answer.file is not None
            assert answer.file[0] == "деталь 1_cutout.png"
            assert_right_half_stays(answer.file[1])
            assert answer.replies_to == sent

    asyncio.run(story())


def test_a_photo_is_turned_as_its_exif_says(cut: Cut) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # its first row is the right side
    lying = np.rot90(halves(), 1)
    encoded = encode(np.ascontiguousarray(lying), "JPEG", quality=95, exif=exif)
    assert_right_half_stays(cut(encoded).png)


def test_a_photo_of_background_alone_gets_words(cut: Cut) -> None:
    async def story() -> None:
        async with talking(cut) as api:
            red = halves()[:, :20]
            await api.send_photo(encode(red))
            (answer,) = await api.until_answers(1)
            assert answer.text == NOTHING

    asyncio.run(story())


def test_the_caption_names_the_largest_classes_and_fits() -> None:
    shares = [("background", 0.2), ("cat", 0.796), ("dog", 0.004), ("fox", 0.0)]
    assert describe(shares) == "cat: 80 %\nbackground: 20 %\ndog: 0.40 %"
    many = describe([(f"{'щ🙂' * 10} {i}", 1 / 200) for i in range(200)])
    assert 900 < len(many.encode("utf-16-le")) / 2 <= 1024
    lines = many.splitlines()
    assert lines[-1] == f"and {200 - (len(lines) - 1)} more"


def test_the_help_fits_however_many_classes_there_are() -> None:
    text = help_text([f"class of things {i}" for i in range(254)], LIMITS)
    assert 1500 < len(text) < 4096
    assert "class of things 0, class of things 1, " in text
    assert " and more.\n" in text


def test_every_photo_of_an_album_is_answered_in_order(cut: Cut) -> None:
    async def story() -> None:
        async with talking(cut) as api:
            api.failures["download"] = [(500, {})]  # the first takes longest
            heights = [900, *range(20, 28)]
            sent = [
                await api.send_photo(encode(halves(height)), media_group_id="1")
                for height in heights
            ]
            answers = await api.until_answers(len(sent))
            assert [answer.replies_to for answer in answers] == sent
            pngs = [answer.file[1] for answer in answers if answer.file]
            assert [len(opacity(png)) for png in pngs] == heights

    asyncio.run(story())


def test_an_answer_may_outlive_the_message_that_it_replies_to(cut: Cut) -> None:
    async def story() -> None:
        async with talking(cut) as api:
            await api.send_photo(encode(halves()))
            await api.send(text="/help")
            for answer in await api.until_answers(2):
                assert '"allow_sending_without_reply": true' in answer.fields["reply_parameters"]

    asyncio.run(story())


# what is said


@pytest.mark.parametrize("command", ["/start", "/help", "/start hello", "/HELP@Cutter_Bot"])
@pytest.mark.parametrize("chat", [None, ROOM])
def test_start_and_help_tell_what_the_bot_does(command: str, chat: dict[str, Any] | None) -> None:
    async def story() -> None:
        async with talking(never) as api:
            await api.send(text=command, chat=chat)
            (answer,) = await api.until_answers(1)
            for part in ("green, синий", "20 MB", "1 megapixels", "10 photos", "keep nothing"):
                assert part in answer.text
            assert answer.text.startswith("Hello!") == command.startswith("/start")

    asyncio.run(story())


FILE = {"file_id": "x", "file_unique_id": "x"}
VIDEO = {**FILE, "width": 9, "height": 9, "duration": 1}
STICKER = {**FILE, "width": 9, "height": 9, "type": "regular"}
MOVING = {"is_animated": False, "is_video": False}
PDF = {**FILE, "file_name": "a.pdf", "mime_type": "application/pdf"}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"text": "hi"}, "text messages"),
        ({"sticker": STICKER | MOVING}, "stickers"),
        ({"voice": {**FILE, "duration": 1}}, "voice messages"),
        ({"video": VIDEO}, "videos"),
        ({"video_note": {**FILE, "length": 9, "duration": 1}}, "video messages"),
        ({"animation": VIDEO, "document": {**FILE, "mime_type": "image/gif"}}, "GIFs"),
        ({"document": PDF}, "files that are not images"),
        ({"location": {"latitude": 1.0, "longitude": 1.0}}, "this"),
        ({"text": "/cut"}, "/start and /help"),
    ],
)
def test_anything_else_is_told_what_to_send(content: dict[str, Any], said: str) -> None:
    async def story() -> None:
        async with talking(never) as api:
            sent = await api.send(**content)
            (answer,) = await api.until_answers(1)
            assert f" {said}." in answer.text
            assert "photo" in answer.text or "send me" in answer.text
            assert answer.replies_to == sent
            assert not api.named("getFile")

    asyncio.run(story())


def test_in_a_group_photos_are_answered_and_talk_is_not(cut: Cut) -> None:
    async def story() -> None:
        async with talking(cut) as api:
            await api.send(text="hello all", chat=ROOM)
            await api.send(text="/start@other_bot", chat=ROOM)
            await api.send(new_chat_title="Kitchen", chat=ROOM)
            sent = await api.send_photo(encode(halves()), chat=ROOM)
            (answer,) = await api.until_answers(1)
            assert answer.replies_to == sent
            assert answer.fields["chat_id"] == "-5"

    asyncio.run(story())


# limits


def test_a_file_over_20_mb_is_refused_before_it_is_fetched() -> None:
    async def story() -> None:
        async with talking(never) as api:
            size = 20 * 2**20 + 1
            await api.send_document(b"", name="a.png", mime="image/png", file_size=size)
            (answer,) = await api.until_answers(1)
            assert "of 20.0 MB is too large" in answer.text
            assert not api.named("getFile")
            api.failures["getFile"] = [
                (400, {"error_code": 400, "description": "Bad Request: file is too big"})
            ]
            await api.send_document(b"", name="a.png", mime="image/png")
            answers = await api.until_answers(2)
            assert "This file is too large" in answers[1].text
            assert len(api.named("getFile")) == 1

    asyncio.run(story())


def with_size(png: bytes, width: int, height: int) -> bytes:
    """The PNG with another size in its header."""
    header = b"IHDR" + struct.pack(">II", width, height) + png[24:29]
    return png[:12] + header + struct.pack(">I", zlib.crc32(header)) + png[33:]


def test_a_photo_of_too_many_pixels_is_refused_by_its_header(
    cut: Cut, monkeypatch: pytest.MonkeyPatch
) -> None:
    def decode(*_: object) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(bot_photo, "decode_image", decode)
    for width, height, said in ((1001, 1000, "1.0"), (200_000, 100_000, "20000.0")):
        with pytest.raises(Refused, match=f"{said} megapixels, and I take 1 at most"):
            cut(with_size(encode(halves()), width, height))
    with pytest.raises(AssertionError, match="decoded"):
        cut(with_size(encode(halves()), 1000, 1000))


def test_a_result_that_telegram_would_not_take_is_not_sent(
    cut: Cut, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversation, "GIVEN", 10)

    async def story() -> None:
        async with talking(cut) as api:
            await api.send_photo(encode(halves()))
            (answer,) = await api.until_answers(1)
            assert "send a smaller photo" in answer.text

    asyncio.run(story())


def broken_images() -> dict[str, bytes]:
    jpeg = encode(halves(200, 200), "JPEG")
    return {
        "nothing": b"",
        "text": b"not an image at all",
        "a JPEG cut short": jpeg[: len(jpeg) // 2],
        "a header alone": encode(halves())[:33],
    }


@pytest.mark.parametrize("kind", broken_images())
def test_a_broken_image_gets_an_answer_and_the_next_photo_too(cut: Cut, kind: str) -> None:
    async def story() -> None:
        async with talking(cut) as api:
            await api.send_document(broken_images()[kind], name="a.jpg", mime="image/jpeg")
            await api.send_photo(encode(halves()))
            answers = await api.until_answers(2)
            assert "can't read this image" in answers[0].text
            assert answers[1].file is not None

    asyncio.run(story())


# several people at once


def test_while_the_network_works_the_bot_talks_and_shows_that_it_works(
    cut: Cut, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversation, "ACTION_SECONDS", 0.01)

    async def story() -> None:
        gate = Gate(cut)
        async with talking(gate) as api:
            await api.send_photo(encode(halves()))
            await gate.until_begun(1)
            await api.send(user=8, text="/help")
            (helped,) = await api.until_answers(1)
            assert helped.fields["chat_id"] == "8"
            await api.until(lambda: len(api.named("sendChatAction")) >= 3)  # again and again
            gate.let()
            await api.until_answers(2)
            actions = {
                (a.fields["chat_id"], a.fields["action"]) for a in api.named("sendChatAction")
            }
            assert actions == {("7", "upload_document")}

    asyncio.run(story())


def test_nobody_waits_for_all_photos_of_another(cut: Cut) -> None:
    async def story() -> None:
        gate = Gate(cut)
        async with talking(gate) as api:
            for _ in range(4):
                await api.send_photo(encode(halves()))
            await gate.until_begun(1)
            await api.send_photo(encode(halves()), user=8)
            await api.until(lambda: len(api.named("getFile")) == 2)
            await api.until(
                lambda: {a.fields["chat_id"] for a in api.named("sendChatAction")} > {"7"}
            )
            await asyncio.sleep(0.1)  # in which the second photo gets from the server to its place
            gate.let(5)
            people = [answer.fields["chat_id"] for answer in await api.until_answers(5)]
            assert people == ["7", "8", "7", "7", "7"]

    asyncio.run(story())


def test_one_network_runs_at_a_time(cut: Cut) -> None:
    async def story() -> None:
        gate = Gate(cut)
        async with talking(gate) as api:
            for user in range(1, 5):
                await api.send_photo(encode(halves()), user=user)
            await api.until(lambda: len(api.named("getFile")) == 4)
            await asyncio.sleep(0.1)
            assert gate.begun == 1
            gate.let(4)
            await api.until_answers(4)

    asyncio.run(story())


def test_too_many_photos_of_one_person_are_refused_until_some_are_answered(cut: Cut) -> None:
    async def story() -> None:
        gate = Gate(cut)
        async with talking(gate, limits=dataclasses.replace(LIMITS, waiting=2)) as api:
            sent = [await api.send_photo(encode(halves())) for _ in range(3)]
            (refused,) = await api.until_answers(1)
            assert refused.replies_to == sent[2]
            assert "already have 2 photos waiting" in refused.text
            await api.send_photo(encode(halves()), user=8)  # it is nothing to others
            gate.let(3)
            await api.until_answers(4)
            gate.let()
            await api.send_photo(encode(halves()))
            answers = await api.until_answers(5)
            assert [answer.file is None for answer in answers] == [True] + [False] * 4

    asyncio.run(story())


def test_too_many_photos_of_all_people_are_refused(cut: Cut) -> None:
    async def story() -> None:
        gate = Gate(cut)
        async with talking(gate, limits=dataclasses.replace(LIMITS, queue=2)) as api:
            sent = [await api.send_photo(encode(halves()), user=user) for user in (1, 2, 3)]
            (refused,) = await api.until_answers(1)
            assert refused.replies_to == sent[2]
            assert "again in a few minutes" in refused.text
            gate.let(2)
            await api.until_answers(3)

    asyncio.run(story())


# failures


def test_the_bot_gets_over_failures_of_the_api(cut: Cut) -> None:
    async def story() -> None:
        async with talking(cut) as api:
            failure = {"error_code": 500, "description": "Internal Server Error"}
            wait = {"description": "Too Many Requests", "parameters": {"retry_after": 1}}
            api.failures["getUpdates"] = [None, (502, failure)]  # aiogram waits 2 s over these
            api.failures["getFile"] = [(500, failure)]
            api.failures["download"] = [None]
            api.failures["sendDocument"] = [None, (500, failure), (429, wait | {"error_code": 429})]
            sent = await api.send_photo(encode(halves()))
            answers = await api.until_answers(4)
            assert {answer.replies_to for answer in answers} == {sent}
            await api.send(text="/help")
            assert "without its background" in (await api.until_answers(5))[4].text
            assert not any(api.failures.values())

    asyncio.run(story())


def test_the_bot_waits_for_an_api_that_is_not_there_yet() -> None:
    async def story() -> None:
        async with bot_api() as api:
            api.failures["getMe"] = [None]
            task = asyncio.create_task(
                converse(open_bot(api.url, TOKEN), Conversation(never, (), LIMITS))
            )
            await api.until(lambda: bool(api.named("getUpdates")))
            signal.raise_signal(signal.SIGTERM)
            await asyncio.wait_for(task, PATIENCE)
            assert len(api.named("getMe")) == 2

    asyncio.run(story())


def test_a_bot_that_waits_for_the_api_can_be_ended() -> None:
    async def story() -> None:
        async with bot_api() as api:
            api.failures["getMe"] = [None] * 100
            task = asyncio.create_task(
                converse(open_bot(api.url, TOKEN), Conversation(never, (), LIMITS))
            )
            await api.until(lambda: bool(api.named("getMe")))
            signal.raise_signal(signal.SIGTERM)
            await asyncio.wait_for(task, PATIENCE)
            assert not api.named("getUpdates")

    asyncio.run(story())


def test_a_photo_that_cannot_be_fetched_is_told_of(cut: Cut) -> None:
    async def story() -> None:
        async with talking(cut) as api:
            api.failures["download"] = [(404, {})] * 4
            await api.send_photo(encode(halves()))
            await api.send_photo(encode(halves()))
            answers = await api.until_answers(2)
            assert "could not get this photo" in answers[0].text
            assert answers[1].file is not None

    asyncio.run(story())


def test_who_blocked_the_bot_gets_nothing_and_others_are_served(cut: Cut) -> None:
    async def story() -> None:
        async with talking(cut) as api:
            blocked = {"error_code": 403, "description": "Forbidden: bot was blocked by the user"}
            api.failures["sendDocument"] = [(403, blocked)]
            api.failures["sendChatAction"] = [(403, blocked)]
            await api.send_photo(encode(halves()))
            await api.until_answers(1)
            await api.send_photo(encode(halves()), user=8)
            answers = await api.until_answers(2)
            assert answers[1].fields["chat_id"] == "8"

    asyncio.run(story())


def test_a_network_that_fails_is_owned_up_to_and_logged(
    cut: Cut, caplog: pytest.LogCaptureFixture
) -> None:
    async def story() -> None:
        async with talking(lambda encoded: cut(encoded) if failed else fail()) as api:
            await api.send_photo(encode(halves()))
            await api.send_photo(encode(halves()))
            answers = await api.until_answers(2)
            assert "went wrong on my side" in answers[0].text
            assert "server/model.onnx" not in answers[0].text
            assert answers[1].file is not None

    failed = []

    def fail() -> CutPhoto:
        failed.append(True)
        raise UserError("server/model.onnx: no memory")

    asyncio.run(story())
    assert "no memory" in caplog.text


# the end


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT])
def test_at_the_end_photos_begun_are_answered_and_the_others_sent_away(
    cut: Cut, end: signal.Signals
) -> None:
    async def story() -> None:
        gate = Gate(cut)
        async with talking(gate, end=end) as api:
            sent = [await api.send_photo(encode(halves())) for _ in range(3)]
            await gate.until_begun(1)
            asyncio.get_running_loop().call_later(0.3, gate.let)  # when the bot is to end
        begun, *waiting = api.answers()
        assert begun.file is not None
        assert_right_half_stays(begun.file[1])
        assert [answer.replies_to for answer in api.answers()] == sent
        assert ["send this photo again" in answer.text for answer in waiting] == [True, True]
        assert api.unread() == 0

    asyncio.run(story())


def test_what_was_answered_does_not_come_again_at_the_next_start(cut: Cut) -> None:
    async def story() -> None:
        async with talking(cut) as api:
            api.failures["getUpdates"] = [None]  # by which aiogram would say that it was read
            await api.send_photo(encode(halves()))
            await api.until_answers(1)
        assert api.unread() == 0

    asyncio.run(story())
