"""Connect the processes of one training, and end all within seconds if one is lost."""

from __future__ import annotations

import contextlib
import os
import shlex
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator

from segtf.run.config import TrainConfig
from voc_builder.base.errors import UserError
from voc_builder.base.progress import note

FINDING = 300  # seconds within which all processes must start
WAKING = 0.5  # seconds between two checks for signals while waiting
BEAT, SILENCE = 3, 30  # seconds: between heartbeats, and until a silent process is lost
PATIENCE = 5  # seconds to exchange the reason of leaving
# heartbeat; "save and end"; goodbye at the end; goodbye when told to end
ALIVE, ASKS, LEAVES, STOPPED = b".", b"s", b"q", b"t"
# exit codes: EX_TEMPFAIL of sysexits.h, since a restart may help, unlike after 2; and that of a
# process ended by SIGTERM
LOST, TOLD = 75, 143


class Absent(UserError):
    """Processes are missing; another start may find them."""


class Watch:
    """A thread per connected process: process 0 is connected to all, the others to process 0.

    A process that waits for another in the middle of a sum over all machines cannot be interrupted,
    so when the other has left, the thread prints why, calls `cleanup` and ends the process: with
    exit code 75 if the other was lost, with 143 if it was told to end. `asked` is called in process
    0 when another process was told to end: process 0 saves for all.
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
        """Connects the processes. Raises `Absent` if not all start."""
        host, port = _address(self.config)
        # already now, while the last ones are awaited
        threading.Thread(target=self._speak, daemon=True).start()
        if self.config.process_id == 0:
            connected = self._accept(port)
        else:
            connected = {0: self._connect(host, port)}
            self.peers.append(connected[0])
        for process, peer in connected.items():
            peer.settimeout(SILENCE)
            threading.Thread(target=self._hear, args=(process, peer), daemon=True).start()

    def end(self) -> None:
        """Says goodbye."""
        self.leaving.set()
        for peer in self.peers:
            with contextlib.suppress(OSError):
                peer.sendall(LEAVES)
                peer.close()

    def forwarding(self, stop: Callable[[], bool]) -> Callable[[], bool]:
        """`stop` for this process: all but process 0 forward it, and end when process 0 has saved
        and left.
        """
        if self.config.process_id == 0:
            return stop

        def pass_on() -> bool:
            if stop():
                with contextlib.suppress(OSError):
                    self.peers[0].sendall(ASKS)
            return False

        return pass_on

    def stop(self) -> None:
        """Tells the others that this process was told to end and has saved, and lets them leave
        first: without process 0 JAX would abort them.
        """
        self.cleanup()  # a scheduler may kill the rest when the first has ended
        self.leaving.set()
        _say_last(STOPPED, self.peers)

    def abandon(self) -> None:
        """Disconnects without a goodbye, so that the others end too."""
        self.leaving.set()
        for peer in self.peers:
            with contextlib.suppress(OSError):
                peer.shutdown(socket.SHUT_RDWR)  # a reading thread keeps it open
            peer.close()

    def _accept(self, port: int) -> dict[int, socket.socket]:
        found: dict[int, socket.socket] = {}
        self._open(port - 1).close()  # the port of JAX, which would fail with a traceback
        with self._open(port) as server:
            deadline = time.monotonic() + FINDING
            while len(found) < self.config.processes - 1:
                # a signal just before the wait is handled after it
                server.settimeout(min(max(deadline - time.monotonic(), 0.01), WAKING))
                try:
                    peer, _ = server.accept()
                except TimeoutError:
                    if time.monotonic() < deadline:
                        continue
                    missing = sorted({*range(1, self.config.processes)} - set(found))
                    raise Absent(
                        f"--processes {self.config.processes}: process {missing[0]} did not start "
                        f"within {FINDING} s: start every --process-id with the same --coordinator"
                    ) from None
                process = _who(peer)
                if 0 < process < self.config.processes:
                    found[process] = peer
                    self.peers.append(peer)
                else:
                    peer.close()  # a port scan
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
                    raise Absent(
                        f"--coordinator {self.config.coordinator}: no answer at {host}:{port} "
                        f"within {FINDING} s ({error}): start --process-id 0 there, and open both "
                        "ports"
                    ) from None
                time.sleep(0.5)

    def _speak(self) -> None:
        while not self.leaving.wait(BEAT):
            for peer in tuple(self.peers):
                with contextlib.suppress(OSError):  # the listening thread finds out why
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
            if STOPPED in heard and not self.leaving.is_set():
                self._end_too(process, [other for other in self.peers if other is not peer])
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

    def _end_too(self, process: int, others: list[socket.socket]) -> None:
        """Ends this process like the one that was told to end, and tells the `others`."""
        self.leaving.set()
        print(told_message(self.config, process), file=sys.stderr, flush=True)
        self.cleanup()
        _say_last(STOPPED, others)
        os._exit(TOLD)


def _say_last(word: bytes, peers: list[socket.socket]) -> None:
    """Sends a last `word`; returns when the peers have left or are too slow."""
    deadline = time.monotonic() + PATIENCE
    for peer in peers:
        with contextlib.suppress(OSError):
            peer.sendall(word)
            peer.shutdown(socket.SHUT_WR)
    for peer in peers:
        with contextlib.suppress(OSError):
            # unread input at the end of a process would discard the last word
            while True:
                peer.settimeout(max(deadline - time.monotonic(), 0.01))
                if not peer.recv(64):
                    break


def _who(peer: socket.socket) -> int:
    """The id of the connected process, 0 if it sends none."""
    peer.settimeout(SILENCE)
    with contextlib.suppress(OSError):
        return int.from_bytes(peer.recv(4), "big")
    return 0


def lost_message(config: TrainConfig, process: int, why: str) -> str:
    """A line about the process that is lost, and how to resume."""
    return f"python -m segtf.train: error: {_left(config, process, why)}"


def told_message(config: TrainConfig, process: int) -> str:
    """A line about the process that was told to end, and how to resume."""
    return f"python -m segtf.train: terminated: {_left(config, process, 'was told to end')}"


def _left(config: TrainConfig, process: int, why: str) -> str:
    run = f"--run {shlex.quote(config.run)}" if config.run else "--run NAME"
    return (
        f"process {process} of {config.processes} {why}: the last backup is kept; resume by "
        f"starting every process with {run} --resume"
    )


@contextlib.contextmanager
def joined(
    config: TrainConfig, cleanup: Callable[[], None], asked: Callable[[], None]
) -> Iterator[Watch | None]:
    """A context in which this process is one of `config.processes` of JAX; does nothing for a
    single process. Raises `Absent` if they do not find each other.
    """
    if config.processes == 1:
        yield None
        return
    import jax

    # its own handler of SIGTERM would come before ours
    jax.config.update("jax_enable_preemption_service", False)
    watch = Watch(config, cleanup, asked)
    note(f"process {config.process_id} of {config.processes}: waiting for the others")
    host, port = _address(config)
    try:
        watch.begin()
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
    except KeyboardInterrupt:
        watch.stop()
        raise
    except (UserError, OSError):
        watch.abandon()
        raise
    except BaseException:
        # a lost process makes every sum over all fail: the watch knows the reason
        time.sleep(PATIENCE)
        watch.abandon()
        raise


def leave(code: int) -> int:
    """Returns `code`, or ends this process with it if others still train: at a normal exit JAX
    would wait a minute for them and then abort.
    """
    jax = sys.modules.get("jax")
    if jax is not None and jax.distributed.is_initialized():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return code


def _address(config: TrainConfig) -> tuple[str, int]:
    """Host, and the port after that of JAX's coordinator, for our own heartbeats."""
    assert config.coordinator is not None
    host, _, port = config.coordinator.rpartition(":")
    return host, int(port) + 1


def barrier(config: TrainConfig, name: str) -> None:
    """Returns when every process has called it."""
    if config.processes > 1:
        from jax.experimental import multihost_utils

        multihost_utils.sync_global_devices(name)
