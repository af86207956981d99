"""Small buffer files, good and bad, for the tests of the cache."""

import os

from bufcache.buffer_parser import Buffer
from bufcache.testing import write_buffer


def write_sample(folder, process=1, channel=1, **header):
    """Write a file of that process and channel, and return its path as the cache gives it."""
    path = os.path.join(folder, f"Test_00001p{process}c{channel - 1}b01")
    write_buffer(path, {"proc_cnt": process, "dumpchan": channel - 1, **header})
    return path


def write_samples(folder, count):
    """Write the files of processes 1, 2, 3 and so on."""
    return [write_sample(folder, process) for process in range(1, count + 1)]


def write_broken(folder, process=1):
    """Write a buffer file that ends inside its header."""
    path = write_sample(folder, process)
    os.truncate(path, 1000)
    return path


def write_other(folder, process=1, content=b"no buffer file at all"):
    """Write a file that has the name of a buffer file and nothing else of one."""
    path = os.path.join(folder, f"Test_00001p{process}c0b01")
    with open(path, "wb") as file:
        file.write(content)
    return path


def set_time(path, seconds):
    """Set the modification time: two writes in quick succession may leave the same."""
    os.utime(path, ns=(seconds * 10**9, seconds * 10**9))


def damage_document(folder, id):
    """Flip a bit of a document of the files in the log of a cache that nobody has open."""
    [log] = folder.glob("documents-*.jsonl")
    content = bytearray(log.read_bytes())
    content[content.index(b'"process":', content.index(b'["buffer_metadata",%d,' % id)) + 10] ^= 1
    log.write_bytes(content)


def buffer_class(on_open):
    """Return a Buffer that calls a function with the path of each file that it opens."""

    class HookedBuffer(Buffer):
        def __enter__(self):
            super().__enter__()
            try:
                on_open(self.filepath)
            except BaseException:
                self.close()
                raise
            return self

    return HookedBuffer
