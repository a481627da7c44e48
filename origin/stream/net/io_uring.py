"""One frame to many sockets in one system call: Linux' io_uring, as far as a fan-out needs it.

A send of its own for each viewer costs Python a call, and the kernel an entry and the interpreter's lock
given up and taken again. Here the loop over the sockets is the kernel's: all requests are the same bytes,
and what differs, the socket's number and its index, is copied into them as two columns.

The memory shared with the kernel is touched by nobody while anybody else does. The kernel looks at it
inside ``io_uring_enter`` only, since there is no polling thread (``IORING_SETUP_SQPOLL``), and every
request is done when that call returns, since ``MSG_DONTWAIT`` forbids it to wait for room. So nothing
here depends on the order in which another processor sees what is written.

The layouts are those of ``linux/io_uring.h``; see io_uring_setup(2) and io_uring_enter(2). There is no
wrapper to be used instead: those on the package index prepare one request per Python call, which costs
what the ring is to save.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from array import array
from mmap import MAP_POPULATE, MAP_SHARED, PROT_READ, PROT_WRITE, mmap
from socket import MSG_DONTWAIT, MSG_NOSIGNAL
from typing import Final

__all__ = ["Ring"]

# The same on all processors that Linux knows, except Alpha.
_NR_SETUP: Final = 425
_NR_ENTER: Final = 426

_SETUP_CQSIZE: Final = 1 << 3
# Of Linux 5.18, so that older kernels refuse: what they do with these requests has not been tried.
_SETUP_SUBMIT_ALL: Final = 1 << 7
_ENTER_GETEVENTS: Final = 1
_OP_SEND: Final = 26
# The kernel's own limit.
_ENTRIES_MAX: Final = 32_768
_OFFSET_SQES: Final = 0x10000000

# struct io_uring_params, with the offsets of both rings at its end; of those, what is used here.
_PARAMS: Final = struct.Struct("=10I 10I 10I")
_SQ_OFFSETS, _CQ_OFFSETS = 10, 20
_HEAD, _TAIL, _SQ_ARRAY, _CQES = 0, 1, 6, 5

# struct io_uring_sqe: opcode, flags, ioprio, fd, off, addr, len, msg_flags, user_data, and what is no send's.
_SQE: Final = struct.Struct("=BBHiQQIIQ24x")
_SQE_FD, _SQE_USER_DATA, _SQE_WORDS = 1, 8, 16
# struct io_uring_cqe: user_data, res, flags.
_CQE_BYTES: Final = 16
_CQE_USER_DATA, _CQE_RESULT, _CQE_WORDS = 0, 2, 4
_WORD_BYTES: Final = 4
_WRAP: Final = 0xFFFFFFFF

# ``syscall`` of the C library, called without the interpreter's lock: pages compute while the kernel sends.
_syscall = ctypes.CDLL(None, use_errno=True).syscall
_syscall.restype = ctypes.c_long
_syscall.argtypes = [ctypes.c_long, *[ctypes.c_ulong] * 6]


class Ring:
    """See the module. For one thread.

    Args:
        entries: how many sockets one call sends to: rounded up to a power of two, 32,768 at most.

    Attributes:
        entries: how many they are then.

    Raises:
        OSError: the kernel has no io_uring of Linux 5.18, or forbids it to this process.
    """

    def __init__(self, entries: int) -> None:
        entries = min(entries, _ENTRIES_MAX)
        params = ctypes.create_string_buffer(_PARAMS.size)
        flags = _SETUP_CQSIZE | _SETUP_SUBMIT_ALL
        # As many completion entries as submission entries: entry i of one answers entry i of the other once
        # all completions are consumed after each call.
        _PARAMS.pack_into(params, 0, 0, entries, flags, *[0] * 27)
        self._fd = _call(_NR_SETUP, entries, ctypes.addressof(params))
        try:
            found = _PARAMS.unpack_from(params)
            self._map(found[0], found[_SQ_OFFSETS:], found[_CQ_OFFSETS:])
        except BaseException:
            os.close(self._fd)
            raise

    def _map(self, entries: int, sq: tuple[int, ...], cq: tuple[int, ...]) -> None:
        """See the two rings and the requests as columns of words."""
        size = max(sq[_SQ_ARRAY] + entries * _WORD_BYTES, cq[_CQES] + entries * _CQE_BYTES)
        shared = {"flags": MAP_SHARED | MAP_POPULATE, "prot": PROT_READ | PROT_WRITE}
        self._rings = mmap(self._fd, -(-size // _WORD_BYTES) * _WORD_BYTES, **shared)
        self._requests = mmap(self._fd, entries * _SQE.size, **shared, offset=_OFFSET_SQES)
        rings = memoryview(self._rings)
        self._words = rings.cast("I")
        self._sq_head = sq[_HEAD] // _WORD_BYTES
        self._sq_tail = sq[_TAIL] // _WORD_BYTES
        self._cq_head = cq[_HEAD] // _WORD_BYTES
        self._cq_tail = cq[_TAIL] // _WORD_BYTES
        self._sqes = memoryview(self._requests)
        requests = self._sqes.cast("i")
        self._fds = requests[_SQE_FD::_SQE_WORDS]
        self._indices = requests[_SQE_USER_DATA::_SQE_WORDS]
        cqes_bytes = rings[cq[_CQES] : cq[_CQES] + entries * _CQE_BYTES]
        cqes = cqes_bytes.cast("i")
        self._result_indices = cqes[_CQE_USER_DATA::_CQE_WORDS]
        self._results = cqes[_CQE_RESULT::_CQE_WORDS]
        # Views of views come first: a mapping can be closed once all that look into it are released.
        self._views = (
            *(self._fds, self._indices, self._result_indices, self._results),
            *(requests, cqes, cqes_bytes, self._words, self._sqes, rings),
        )
        self.entries = entries
        self._numbers = memoryview(array("i", range(entries)))
        # The submission queue names requests by number; here entry i names request i, for good.
        first = sq[_SQ_ARRAY] // _WORD_BYTES
        self._words[first : first + entries] = memoryview(array("I", range(entries)))

    def send(self, fds: array[int], frame: bytes) -> list[tuple[int, int]]:
        """Send a frame to each of these sockets, waiting for none.

        Args:
            fds: open sockets, as ``array("i")``.
            frame: what each gets; not empty.

        Returns:
            Those that did not take all of it: the socket, and how many bytes it took or, below zero, the
            negated error. Whatever the ring cannot do is such an error, never an exception.
        """
        size = len(frame)
        # The address stays valid: this call keeps ``frame`` alive, and the kernel is done when it returns.
        address = ctypes.cast(ctypes.c_char_p(frame), ctypes.c_void_p).value
        request = _SQE.pack(_OP_SEND, 0, 0, 0, 0, address, size, MSG_DONTWAIT | MSG_NOSIGNAL, 0)
        whole = array("i", [size]).tobytes()
        numbers = memoryview(fds)
        rest: list[tuple[int, int]] = []
        done = 0
        while done < len(fds):
            tail = self._words[self._sq_tail]
            first = tail & (self.entries - 1)
            count = min(len(fds) - done, self.entries - first)
            last = first + count
            batch = numbers[done : done + count]
            self._sqes[first * _SQE.size : last * _SQE.size] = request * count
            self._fds[first:last] = batch
            self._indices[first:last] = self._numbers[:count]
            try:
                error = self._submit(tail, count)
                taken = (self._words[self._sq_tail] - tail) & _WRAP
                if taken < count or self._results[first:last].tobytes() != whole * count:
                    rest += self._unlike(size, batch, first, taken)
                    rest += [(fd, -error) for fd in batch[taken:]]
            finally:
                self._words[self._cq_head] = self._words[self._cq_tail]
            done += count
        return rest

    def _submit(self, tail: int, count: int) -> int:
        """Have requests carried out; those that the kernel does not take are taken back.

        Returns:
            The error that kept it from taking them, or 0.
        """
        words = self._words
        error = 0
        try:
            words[self._sq_tail] = (tail + count) & _WRAP
            while not error and (words[self._cq_tail] - words[self._cq_head]) & _WRAP < count:
                left = (tail + count - words[self._sq_head]) & _WRAP
                try:
                    _call(_NR_ENTER, self._fd, left, count, _ENTER_GETEVENTS)
                except InterruptedError:
                    continue
                except OSError as refused:
                    error = refused.errno or errno.EIO
        finally:
            # Also where a signal's handler raises in the middle: what the kernel has not taken must be gone
            # by the next call, when the frame's address is something else's.
            words[self._sq_tail] = words[self._sq_head]
        return error

    def _unlike(self, size: int, batch: memoryview[int], first: int, taken: int) -> list[tuple[int, int]]:
        """The results that are not ``size``."""
        indices = self._result_indices[first : first + taken]
        results = self._results[first : first + taken]
        return [
            (batch[index], result) for index, result in zip(indices, results, strict=True) if result != size
        ]

    def close(self) -> None:
        """Give the memory back: the mappings, and the descriptor."""
        for view in self._views:
            view.release()
        self._rings.close()
        self._requests.close()
        os.close(self._fd)


def _call(number: int, *arguments: int) -> int:
    """A system call.

    Raises:
        OSError: it failed.
    """
    result: int = _syscall(number, *arguments, *[0] * (6 - len(arguments)))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result
