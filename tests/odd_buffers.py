"""What other processes can import: Buffers of which one kills who opens a file with it and one waits, a wrong clock."""

import os
import re
import time

from bufcache.buffer_parser import Buffer


class DeadlyBuffer(Buffer):
    """Ends the process that opens the file of process 13."""

    def __enter__(self):
        if "p13c" in os.fspath(self.filepath):
            os._exit(1)
        return super().__enter__()


class WaitingBuffer(Buffer):
    """Opens the files of processes above 20 when there is a file named gate beside them, and notes each in a file."""

    def __enter__(self):
        folder, name = os.path.split(self.filepath)
        with open(os.path.join(folder, "opened"), "a", encoding="utf-8") as opened:
            opened.write("x")
        if int(re.search(r"p(\d+)c\db", name)[1]) > 20:
            wait_for(os.path.join(folder, "gate"))
        return super().__enter__()


def wait_for(path, seconds=60):
    """Wait until there is a file."""
    end = time.monotonic() + seconds
    while not os.path.exists(path):
        if time.monotonic() > end:
            raise TimeoutError(f"there is no {path}")
        time.sleep(0.01)


def stop_clock():
    """Set the clock of this process to a time long ago."""
    time.time_ns = lambda: 0
