"""A container's share of the memory counts as well as what the machine has free."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from segtf.data import memory


class Machine:
    available = 1000


@pytest.mark.parametrize(
    ("limit", "free"),
    [("900", 300), ("5000", 1000), ("max", 1000), ("500", 0), (None, 1000)],
)
def test_the_lesser_of_both_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str | None, free: int
) -> None:
    files = tmp_path / "memory.max", tmp_path / "memory.current"
    if limit is not None:
        files[0].write_text(f"{limit}\n")
        files[1].write_text("600\n")
    monkeypatch.setattr(memory, "GROUPS", (files,))
    monkeypatch.setattr(psutil, "virtual_memory", Machine)
    assert memory.free_memory() == free
