"""Memory in use and memory free, within the limits of a container."""

from __future__ import annotations

from pathlib import Path

import psutil

# limit and usage of a container: control groups, version 2 and 1
GROUPS = (
    (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")),
    (
        Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
        Path("/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ),
)


def taken_memory() -> int:
    """Bytes of memory that this process uses."""
    return int(psutil.Process().memory_info().rss)


def free_memory() -> int:
    """Bytes that the machine has free, or that the container may still take if that is less."""
    free = [int(psutil.virtual_memory().available)]
    for limit, taken in GROUPS:
        try:
            free.append(int(limit.read_text("ascii")) - int(taken.read_text("ascii")))
        except (OSError, ValueError):  # no such group, or one without a limit ("max")
            continue
    return max(min(free), 0)
