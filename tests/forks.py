"""Forked processes: other handles, and users that are shut out of what root may read."""

import os
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest

from bufcache.buffer_metadata_cache import workers  # else first imported by who may not read where Python is

forking = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")


def in_a_fork(function):
    """Call a function in a forked process, and return what it returns as text."""
    reading, writing = os.pipe()
    process = os.fork()
    if not process:
        try:
            os.write(writing, str(function()).encode())
        except BaseException as error:
            os.write(writing, repr(error).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading, encoding="utf-8") as answer:
        text = answer.read()
    os.waitpid(process, 0)
    return text


def as_nobody(function):
    """Call a function as a user who may not read everything, and return what it returns as text."""
    assert workers

    def call():
        if os.geteuid() == 0:
            os.setuid(65534)
        return function()

    return in_a_fork(call)


def give_to_nobody(folder):
    """Make that user the owner of a folder and all that is in it."""
    if os.geteuid() == 0:
        for path in [folder, *folder.rglob("*")]:
            os.chown(path, 65534, 65534)


@contextmanager
def for_all_users():
    """Give a folder that every user may look into."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)
