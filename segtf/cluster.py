"""Processes that train together: they find each other, and notice within seconds if one is lost."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator

from segtf.config import TrainConfig
from voc_builder.errors import UserError
from voc_builder.progress import note

FINDING = 300  # seconds in which all processes must have been started
BEAT, SILENCE = 3, 30  # seconds: from one sign of life to the next, and without any
ALIVE, ASKS, LEAVES = b".", b"s", b"q"
LOST = 2  # exit code


class Watch:
    """A thread for each other process that this one hears: process 0 hears all, they hear it.

    A process that waits for a lost one in the middle of a sum over all machines cannot be woken, so
    the thread says what happened, calls `cleanup` and ends the process with exit code 2. `asked` is
    called in process 0 when another one was told to end: it saves for all.
    """

    def __init__(
        self, config: TrainConfig, cleanup: Callable[[], None], asked: Callable[[], None]
    ) -> None:
        self.config = config
        self.cleanup = cleanup
        self.asked = asked
        self.leaving = threading.Event()
        self.peers: list[socket.socket] = []

    def begin(self) -> None:
        """Connects the processes. Raises `UserError` if they do not all come."""
        host, port = _address(self.config)
        if self.config.process_id == 0:
            connected = self._accept(port)
        else:
            connected = {0: self._connect(host, port)}
        for process, peer in connected.items():
            peer.settimeout(SILENCE)
            self.peers.append(peer)
            threading.Thread(target=self._hear, args=(process, peer), daemon=True).start()
        threading.Thread(target=self._speak, daemon=True).start()

    def end(self) -> None:
        """Says goodbye."""
        self.leaving.set()
        for peer in self.peers:
            with contextlib.suppress(OSError):
                peer.sendall(LEAVES)
                peer.close()

    def forwarding(self, stop: Callable[[], bool]) -> Callable[[], bool]:
        """`stop` as this process should look at it: any but process 0 passes it on, and is ended
        when that one has saved and left.
        """
        if self.config.process_id == 0:
            return stop

        def pass_on() -> bool:
            if stop():
                with contextlib.suppress(OSError):
                    self.peers[0].sendall(ASKS)
            return False

        return pass_on

    def abandon(self) -> None:
        """Leaves without a goodbye, so that the others end too."""
        self.leaving.set()
        for peer in self.peers:
            peer.close()

    def _accept(self, port: int) -> dict[int, socket.socket]:
        found: dict[int, socket.socket] = {}
        self._open(port - 1).close()  # JAX's: taken, it would end in a traceback
        with self._open(port) as server:
            deadline = time.monotonic() + FINDING
            while len(found) < self.config.processes - 1:
                server.settimeout(max(deadline - time.monotonic(), 0.01))
                try:
                    peer, _ = server.accept()
                except TimeoutError:
                    missing = sorted({*range(1, self.config.processes)} - set(found))
                    raise UserError(
                        f"--processes {self.config.processes}: process {missing[0]} did not come "
                        f"within {FINDING} s: start every --process-id with the same --coordinator"
                    ) from None
                process = _who(peer)
                if 0 < process < self.config.processes:
                    found[process] = peer
                else:
                    peer.close()  # whoever only looked whether the port is open
        return found

    def _open(self, port: int) -> socket.socket:
        try:
            return socket.create_server(("", port))
        except OSError as error:
            raise UserError(
                f"--coordinator {self.config.coordinator}: port {port} cannot be opened "
                f"({error.strerror}): choose another; the one after it is needed too"
            ) from error

    def _connect(self, host: str, port: int) -> socket.socket:
        deadline = time.monotonic() + FINDING
        while True:
            try:
                peer = socket.create_connection((host, port), timeout=SILENCE)
                peer.sendall(self.config.process_id.to_bytes(4, "big"))
                return peer
            except OSError as error:
                if time.monotonic() > deadline:
                    raise UserError(
                        f"--coordinator {self.config.coordinator}: no answer at {host}:{port} "
                        f"within {FINDING} s ({error}): start --process-id 0 there, and open both "
                        "ports"
                    ) from None
                time.sleep(0.5)

    def _speak(self) -> None:
        while not self.leaving.wait(BEAT):
            for peer in self.peers:
                with contextlib.suppress(OSError):  # who listens to it finds out why
                    peer.sendall(ALIVE)

    def _hear(self, process: int, peer: socket.socket) -> None:
        while not self.leaving.is_set():
            try:
                heard = peer.recv(64)
            except TimeoutError:
                self._give_up(process, f"was silent for {SILENCE} s")
                return
            except OSError:
                heard = b""
            if LEAVES in heard:
                return
            if ASKS in heard:
                self.asked()
            if not heard and not self.leaving.is_set():
                self._give_up(process, "has ended")
                return

    def _give_up(self, process: int, why: str) -> None:
        print(lost_message(self.config, process, why), file=sys.stderr, flush=True)
        self.cleanup()
        os._exit(LOST)


def _who(peer: socket.socket) -> int:
    """The process that has connected, 0 if it does not say."""
    peer.settimeout(SILENCE)
    with contextlib.suppress(OSError):
        return int.from_bytes(peer.recv(4), "big")
    return 0


def lost_message(config: TrainConfig, process: int, why: str) -> str:
    """One line that says which process is lost and how to go on."""
    run = f"--run {config.run}" if config.run else "--run NAME"
    return (
        f"python -m segtf.train: error: process {process} of {config.processes} {why}: what was "
        f"saved last is kept; go on by starting every process with {run} --resume"
    )


@contextlib.contextmanager
def joined(
    config: TrainConfig, cleanup: Callable[[], None], asked: Callable[[], None]
) -> Iterator[Watch | None]:
    """Within it this process is one of `config.processes` that JAX computes with; nothing happens
    for one alone. Raises `UserError` if they do not find each other.
    """
    if config.processes == 1:
        yield None
        return
    import jax

    # its own answer to SIGTERM would come before ours
    jax.config.update("jax_enable_preemption_service", False)
    watch = Watch(config, cleanup, asked)
    note(f"process {config.process_id} of {config.processes}: waiting for the others")
    watch.begin()
    host, port = _address(config)
    try:
        jax.distributed.initialize(
            f"{host}:{port - 1}",
            config.processes,
            config.process_id,
            cluster_detection_method="deactivate",
            initialization_timeout=FINDING,
            heartbeat_timeout_seconds=2 * SILENCE,
            shutdown_timeout_seconds=2 * SILENCE,
        )
        yield watch
        jax.distributed.shutdown()
        watch.end()
    except BaseException:
        watch.abandon()
        raise


def _address(config: TrainConfig) -> tuple[str, int]:
    """Host, and the port after that of JAX's coordinator, for our own signs of life."""
    assert config.coordinator is not None
    host, _, port = config.coordinator.rpartition(":")
    return host, int(port) + 1


def barrier(config: TrainConfig, name: str) -> None:
    """Returns when every process has come here."""
    if config.processes > 1:
        from jax.experimental import multihost_utils

        multihost_utils.sync_global_devices(name)
