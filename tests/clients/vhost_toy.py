# SPDX-License-Identifier: Apache-2.0
"""A vhost-user back end in a thread, for tests of the whole program: it does what it is asked, and
answers each request of a driver with no bytes written. `end` is the front end's end of its connection."""

from __future__ import annotations

import array
import contextlib
import mmap
import os
import select
import socket
import struct
import threading

FEATURES = 1 << 32 | 1 << 30  # virtio 1.0, protocol features
PROTOCOL = 1 << 0 | 1 << 3 | 1 << 9  # several queues, acknowledgements, configuration
REPLY, NEED_REPLY = 4, 8
(GET_FEATURES, GET_VRING_BASE, GET_PROTOCOL_FEATURES, GET_QUEUE_NUM, GET_CONFIG) = (1, 11, 15, 17, 24)
(SET_MEM_TABLE, SET_VRING_BASE, SET_VRING_ADDR, SET_VRING_KICK, SET_VRING_CALL) = (5, 10, 9, 12, 13)
SET_VRING_NUM = 8
QUEUES = 2


class Ring:
    def __init__(self) -> None:
        self.size = self.next = self.used = self.available = 0
        self.kick = self.call = -1


class Backend:
    def __init__(self) -> None:
        self.end, self.socket = socket.socketpair()
        self.rings = [Ring() for _ in range(QUEUES)]
        self.memory: mmap.mmap | None = None
        self.base = 0
        self.served = 0
        self.has_served = threading.Event()
        self.begun: list[int] = []  # where each queue was begun, in order
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def die(self) -> None:
        """End the connection, as by the end of the process."""
        self.socket.shutdown(socket.SHUT_RDWR)

    def finish(self) -> None:
        self.die()
        self.thread.join()
        self.end.close()
        self.socket.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):  # the other end may have gone
            while self._turn():
                pass
        for ring in self.rings:
            for fd in (ring.kick, ring.call):
                if fd >= 0:
                    os.close(fd)
        if self.memory is not None:
            self.memory.close()

    def _turn(self) -> bool:
        kicks = {ring.kick: ring for ring in self.rings if ring.kick >= 0}
        ready = select.select([self.socket, *kicks], [], [])[0]
        for fd in ready:
            if fd in kicks:
                os.read(fd, 8)
                self._answer(kicks[fd])
        return self.socket not in ready or self._message()

    def _at(self, address: int) -> int:
        return address - self.base

    def _answer(self, ring: Ring) -> None:
        """All that the driver has made available."""
        assert self.memory is not None
        available, used = self._at(ring.available), self._at(ring.used)
        while ring.next != struct.unpack_from("<H", self.memory, available + 2)[0]:
            head, = struct.unpack_from("<H", self.memory, available + 4 + 2 * (ring.next % ring.size))
            index, = struct.unpack_from("<H", self.memory, used + 2)
            struct.pack_into("<II", self.memory, used + 4 + 8 * (index % ring.size), head, 0)
            ring.next = ring.next + 1 & 0xffff
            struct.pack_into("<H", self.memory, used + 2, index + 1 & 0xffff)
            self.served += 1
            self.has_served.set()
        if ring.call >= 0:
            os.write(ring.call, struct.pack("=Q", 1))

    def _message(self) -> bool:
        fds = array.array("i")
        head, control, _, _ = self.socket.recvmsg(12, socket.CMSG_SPACE(4 * fds.itemsize),
                                                  socket.MSG_WAITALL)
        for _, _, data in control:
            fds.frombytes(data[:len(data) // fds.itemsize * fds.itemsize])
        if len(head) < 12:
            return False
        request, flags, size = struct.unpack("=III", head)
        body = self.socket.recv(size, socket.MSG_WAITALL) if size else b""
        reply = self._carry_out(request, body, fds[0] if fds else -1)
        if reply is None and flags & NEED_REPLY:
            reply = struct.pack("=Q", 0)
        if reply is not None:
            self.socket.sendall(struct.pack("=III", request, 1 | REPLY, len(reply)) + reply)
        return True

    def _carry_out(self, request: int, body: bytes, fd: int) -> bytes | None:
        number = struct.unpack_from("=Q", body)[0] if len(body) >= 8 else 0
        # In a number of 64 bits or 32, the lowest byte is the queue.
        ring = self.rings[number & 0xff if request in RING_REQUESTS else 0]
        if request in ANSWERS:
            return struct.pack("=Q", ANSWERS[request])
        if request == GET_CONFIG:
            config = bytearray(len(body) - 12)
            config[0] = 8  # sectors of a disk
            if len(config) > 34:
                config[34] = QUEUES
            return body[:12] + bytes(config)
        if request == GET_VRING_BASE:
            return struct.pack("=II", number & 0xff, ring.next)
        if request == SET_MEM_TABLE:
            _, size, self.base, offset = struct.unpack_from("=QQQQ", body, 8)
            self.memory = mmap.mmap(fd, size, offset=offset)
            os.close(fd)
        elif request == SET_VRING_NUM:
            ring.size = number >> 32
        elif request == SET_VRING_BASE:
            ring.next = number >> 32
            self.begun.append(ring.next)
        elif request == SET_VRING_ADDR:
            _, ring.used, ring.available = struct.unpack_from("=QQQ", body, 8)
        elif request == SET_VRING_KICK:
            ring.kick = self._replace(ring.kick, fd)
        elif request == SET_VRING_CALL:
            ring.call = self._replace(ring.call, fd)
        return None

    @staticmethod
    def _replace(old: int, new: int) -> int:
        if old >= 0:
            os.close(old)
        return new


ANSWERS = {GET_FEATURES: FEATURES, GET_PROTOCOL_FEATURES: PROTOCOL, GET_QUEUE_NUM: QUEUES}
RING_REQUESTS = (SET_VRING_NUM, SET_VRING_BASE, SET_VRING_ADDR, SET_VRING_KICK, SET_VRING_CALL,
                 GET_VRING_BASE)
