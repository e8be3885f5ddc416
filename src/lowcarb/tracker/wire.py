"""What followers tell their leader, and what it answers: one JSON document a line, over a Unix socket.

    follower → leader   {"phase": name, "at_s": …}   {"counts": [tokens, steps], "who": …}   {"progress": 0.4}
                        {"note": [key, value]}   {"end": status}   {"ask": 7}
    leader → follower   {"welcome": attempt id}   {"answer": 7, …}   {"over_budget": true}

Counts are those of the follower since its beginning, so that none is lost where a message is. Nobody waits for
anybody, except who asks, and then not long. Times are of the monotonic clock, which the processes of a machine share.
The socket lies in a directory that only this user may enter.
"""

from __future__ import annotations

import json
import os
import selectors
import socket
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from threading import RLock, Thread
from typing import Any

from lowcarb.tracker.journal import make_private_directory

MOST_FOLLOWERS = 256
"""More ranks than any node has."""
LONGEST_LINE = 2**20
"""What talks on without an end is no follower of ours [bytes]."""
RETRY_S = 0.2
"""Time between two tries to reach a leader that is not there yet [s]."""
SPACING_S = 0.1
"""Counts are sent at most so often [s]."""
ANSWER_S = 0.5
"""How long an answer is waited for [s]."""
SILENT_S = 5.0
"""A leader that did not answer is not asked again for so long [s]: one that is stopped takes at most a tenth of the
training's time."""

Hear = Callable[[Mapping[str, Any]], Mapping[str, object] | None]
"""Takes in what a follower has said; gives the answer if one is due."""


class Listener:
    """The leader's end. Messages are heard in a thread of its own.

    Args:
        path: the socket.
        attempt_id: what followers are told that they belong to.
        hear: takes in each message; what it raises ends that follower's connection.
    """

    def __init__(self, path: Path, attempt_id: str, hear: Hear) -> None:
        self.path = path
        self._attempt_id, self._hear = attempt_id, hear
        self._begun: dict[socket.socket, bytes] = {}
        """What each follower has said of a line that it has not ended yet."""
        self._selector = selectors.DefaultSelector()
        self._server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._sleeper, self._waker = socket.socketpair()

    def open(self) -> None:
        """Begin to listen. Raises OSError where that cannot be."""
        try:
            make_private_directory(self.path.parent)
            if self.path.parent.stat().st_uid != os.getuid():
                raise PermissionError(f"{self.path.parent} belongs to somebody else")  # noqa: TRY301  # as all the others
            self.path.unlink(missing_ok=True)
            self._server.bind(os.fspath(self.path))
            self._server.listen(MOST_FOLLOWERS)
            for one in (self._server, self._sleeper):
                one.settimeout(0.0)
                self._selector.register(one, selectors.EVENT_READ)
            Thread(target=self._run, name="lowcarb-listener", daemon=True).start()
        except BaseException:
            # Whoever came meanwhile is not to wait for an answer.
            self._let_go()
            raise

    @property
    def followers(self) -> int:
        """How many are connected."""
        return len(self._begun)

    def tell(self, document: Mapping[str, object]) -> None:
        """Say something to all followers."""
        for one in list(self._begun):
            self._send(one, document)

    def close(self) -> None:
        """Stop listening."""
        self.path.unlink(missing_ok=True)
        with suppress(OSError):
            self._waker.send(b"!")

    def _run(self) -> None:
        open_ = True
        while open_:
            for key, _ in self._selector.select():
                if key.fileobj is self._sleeper:
                    open_ = False
                elif key.fileobj is self._server:
                    self._accept()
                else:
                    self._take(key.fileobj)  # type: ignore[arg-type]  # only sockets are registered
        self._let_go()

    def _let_go(self) -> None:
        for one in [*self._begun, self._server, self._sleeper, self._waker]:
            one.close()
        self._selector.close()

    def _accept(self) -> None:
        try:
            one, _ = self._server.accept()
        except OSError:
            # Where the training has used up all descriptors, the caller stays at the door, and would keep us awake.
            time.sleep(SPACING_S)
            return
        one.settimeout(0.0)
        self._begun[one] = b""
        self._selector.register(one, selectors.EVENT_READ)
        self._send(one, {"welcome": self._attempt_id})

    def _take(self, one: socket.socket) -> None:
        try:
            received = one.recv(65_536)
            *lines, rest = (self._begun[one] + received).split(b"\n")
            self._begun[one] = rest
            for line in lines:
                answer = self._hear(json.loads(line))
                if answer is not None:
                    self._send(one, answer)
            hung_up = not received or len(rest) > LONGEST_LINE
        except BlockingIOError:
            return
        except Exception:  # noqa: BLE001  # who talks nonsense is not listened to any more
            hung_up = True
        if hung_up:
            self._drop(one)

    def _send(self, one: socket.socket, document: Mapping[str, object]) -> None:
        # A follower that does not read what it is told has no use for it.
        with suppress(OSError):
            one.send(_line(document))

    def _drop(self, one: socket.socket) -> None:
        self._begun.pop(one, None)
        with suppress(KeyError, ValueError):
            self._selector.unregister(one)
        one.close()


class Follower:
    """A follower's end. Nothing here raises, and nothing waits but `ask`, and that not long.

    Args:
        path: the leader's socket.
        speaks: whether its phases, steps and progress are the job's; otherwise only its tokens count.
    """

    def __init__(self, path: Path, *, speaks: bool) -> None:
        self.attempt_id: str | None = None
        """The leader's attempt, once it has welcomed us."""
        self.over_budget = False
        self.path = path
        self._speaks, self._who = speaks, uuid.uuid4().hex
        self._socket: socket.socket | None = None
        self._tried_s = -RETRY_S
        self._begun = b""
        self._counts = [0, 0]
        self._sent, self._sent_s = [0, 0], 0.0
        self._asked, self._answer, self._answered_s = 0, dict[str, Any](), 0.0
        self._silent_s = -SILENT_S
        # A signal's handler may come in the middle of a word, and say one itself.
        self._lock = RLock()

    def connect(self) -> bool:
        """Whether the leader is there."""
        with self._lock:
            return self._connected()

    def phase(self, name: str, at_s: float) -> None:
        """From this time [s] on it is this phase."""
        if self._speaks:
            self._say({"phase": name, "at_s": at_s})

    def count(self, tokens: int, steps: int) -> None:
        """Count so many more."""
        with self._lock:
            self._counts = [self._counts[0] + tokens, self._counts[1] + (steps if self._speaks else 0)]
            if time.monotonic() - self._sent_s >= SPACING_S:
                self._send_counts()

    def progress(self, share: float) -> None:
        """So much of the work is done, 0 to 1."""
        if self._speaks:
            self._say({"progress": share})

    def note(self, key: str, value: object) -> None:
        """A fact for the attempt's document."""
        if self._speaks:
            self._say({"note": [key, value]})

    def end(self, status: str) -> None:
        """It is over."""
        with self._lock:
            self._send_counts()
        if self._speaks:
            self._say({"end": status})
        with self._lock:
            self._hang_up()

    def poll(self) -> None:
        """Take in what the leader has said without being asked."""
        with self._lock:
            if self._connected():
                self._receive()

    def ask(self, newest_s: float) -> Mapping[str, Any]:
        """What the leader answers, or has answered within `newest_s`; its last word, or nothing, where it is silent."""
        with self._lock:
            now_s = time.monotonic()
            if min(now_s - self._answered_s - newest_s, now_s - self._silent_s - SILENT_S) < 0 or not self._connected():
                return self._answer
            self._send_counts()
            self._asked += 1
            self._send({"ask": self._asked})
            until_s = time.monotonic() + ANSWER_S
            while self._answer.get("answer") != self._asked and (left_s := until_s - time.monotonic()) > 0:
                if not self._receive(left_s):
                    break
            if self._answer.get("answer") != self._asked:
                self._silent_s = time.monotonic()
            return self._answer

    def _say(self, document: Mapping[str, object]) -> None:
        with self._lock:
            self._send_counts()
            self._send(document)

    def _send_counts(self) -> None:
        if self._counts != self._sent and self._send({"counts": self._counts, "who": self._who}):
            self._sent, self._sent_s = list(self._counts), time.monotonic()

    def _send(self, document: Mapping[str, object]) -> bool:
        if not self._connected() or self._socket is None:
            return False
        try:
            self._socket.sendall(_line(document))
        except (OSError, TypeError, ValueError):
            self._hang_up()
            return False
        return True

    def _connected(self) -> bool:
        if self._socket is None and time.monotonic() - self._tried_s >= RETRY_S:
            self._tried_s = time.monotonic()
            try:
                self._connect(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            except OSError:
                return False
        return self._socket is not None

    def _connect(self, one: socket.socket) -> None:
        # A leader that is stopped in a debugger must not stop the training.
        one.settimeout(SPACING_S)
        try:
            one.connect(os.fspath(self.path))
        except OSError:
            one.close()
            raise
        self._socket, self._sent, self._begun = one, [0, 0], b""

    def _receive(self, wait_s: float = 0.0) -> bool:
        """Whether something was said within this time [s]."""
        if self._socket is None:
            return False
        try:
            self._socket.settimeout(wait_s)
            received = self._socket.recv(65_536)
            self._socket.settimeout(SPACING_S)
        except (BlockingIOError, TimeoutError):
            self._socket.settimeout(SPACING_S)
            return False
        except OSError:
            received = b""
        if not received or len(self._begun) > LONGEST_LINE:
            self._hang_up()
            return False
        *lines, self._begun = (self._begun + received).split(b"\n")
        for line in lines:
            with suppress(ValueError, AttributeError, TypeError, RecursionError):
                self._hear(json.loads(line))
        return True

    def _hear(self, document: Mapping[str, Any]) -> None:
        self.attempt_id = document.get("welcome", self.attempt_id)
        self.over_budget = bool(document.get("over_budget", self.over_budget))
        if "answer" in document:
            self._answer, self._answered_s = dict(document), time.monotonic()

    def _hang_up(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _line(document: Mapping[str, object]) -> bytes:
    return json.dumps(document, separators=(",", ":"), default=str).encode("ascii") + b"\n"
