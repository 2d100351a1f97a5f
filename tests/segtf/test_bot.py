"""The command `segtf.bot`: its process, its flags, its token."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from segtf import bot
from segtf.bot import LogFormatter, converse, main, open_bot
from segtf.services.telegram.conversation import Conversation
from tests.segtf.services.telegram.bot_api import PATIENCE, TOKEN, bot_api
from tests.segtf.services.telegram.talking import (
    LIMITS,
    assert_right_half_stays,
    encode,
    halves,
    never,
    write_model,
)
from tests.segtf.tiny_onnx import write_channels_model
from voc_builder.base.errors import UserError

pytestmark = pytest.mark.slow

SECRET = TOKEN.partition(":")[2]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("network"))


async def unreached(*_: object) -> None:
    raise AssertionError("the bot must not come so far")


def run_main(monkeypatch: pytest.MonkeyPatch, *argv: object, token: str | None = TOKEN) -> int:
    """Exit code of the program, which must end before it talks to Telegram."""
    monkeypatch.setattr(bot, "converse", unreached)
    monkeypatch.delenv(bot.TOKEN, raising=False)
    if token is not None:
        monkeypatch.setenv(bot.TOKEN, token)
    monkeypatch.setattr(sys, "argv", ["segtf-bot", *map(str, argv)])
    return main()


def test_the_program_answers_an_image_and_ends_on_sigterm(model: Path) -> None:
    async def story() -> None:
        async with bot_api() as api:
            api.failures["download"] = [(404, {})]  # the error contains the URL with the token
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
            assert (answer.method, answer.replies_to) == ("sendDocument", sent)
            assert answer.file is not None
            assert answer.file[0] == "cutout.png"
            assert_right_half_stays(answer.file[1])
            assert answer.text.splitlines() == ["__background__: 50 %", "green: 50 %"]
            assert "ClientResponseError" in err.decode()
            assert SECRET not in out.decode() + err.decode()
            assert api.unread() == 0
            assert [call.method for call in api.calls[:2]] == ["getMe", "deleteWebhook"]

    asyncio.run(story())


@pytest.mark.parametrize("token", [None, "", "secret", "12:se cret", "12:secret/x", "x:secret"])
def test_a_malformed_token_is_refused_and_not_shown(
    token: str | None,
    model: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run_main(monkeypatch, model, token=token) == 2
    out, err = capsys.readouterr()
    assert err.count("\n") == 1
    assert bot.TOKEN in err
    assert "cret" not in out + err


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("--waiting", "0"),
        ("--queue", "-1"),
        ("--megapixels", "0"),
        ("--threads", "-1"),
        ("--api-url", "localhost:8081"),
        ("--api-url", "http://"),
        ("--api-url", "http://a:b"),
        ("--api-url", "http://a/{x}"),
    ],
)
def test_wrong_flags_are_refused(
    flag: str,
    value: str,
    model: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run_main(monkeypatch, model, flag, value) == 2
    err = capsys.readouterr().err
    assert flag in err and f"Received: {value}" in err


def test_a_network_without_background_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_channels_model(tmp_path / "model.onnx")
    assert run_main(monkeypatch, path) == 2
    assert str(path) in capsys.readouterr().err


def test_a_missing_model_is_noticed_first_and_a_missing_aiogram_then(
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, "aiogram", None)
    missing = tmp_path / "none.onnx"
    for path, fragment in ((missing, str(missing)), (model, "pip install 'segtf[bot]'")):
        assert run_main(monkeypatch, path) == 2
        assert fragment in capsys.readouterr().err


def test_help_needs_none_of_the_packages() -> None:
    code = (
        "import sys; sys.modules.update(dict.fromkeys(['aiogram', 'aiohttp', 'onnxruntime'])); "
        "from segtf.bot import main; sys.exit(main())"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code, "--help"], capture_output=True, text=True, check=True
    )
    assert "--api-url" in shown.stdout


def test_a_token_that_the_server_refuses_ends_the_bot() -> None:
    async def story() -> None:
        async with bot_api() as api:
            with pytest.raises(UserError, match=f"{api.url} .* {bot.TOKEN}") as error:
                await converse(Conversation(open_bot(api.url, "42:secret"), never, (), LIMITS))
            assert "secret" not in str(error.value)

    asyncio.run(story())


def test_the_log_has_one_line_per_record_and_never_the_token() -> None:
    try:
        raise ValueError(f"http://localhost/bot{TOKEN}/getMe")
    except ValueError as error:
        record = logging.LogRecord(
            *("x", logging.ERROR, __file__, 1, "failed: %s\nContent: %s", (error, "private")),
            exc_info=sys.exc_info(),
        )
    text = LogFormatter(TOKEN).format(record)
    assert "failed: http://localhost/bot42:[SEGTF_BOT_TOKEN]/getMe\nTraceback" in text
    assert SECRET not in text
    assert "private" not in text
