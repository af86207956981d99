"""Fresh processes: how long one takes from its first line to an answer, and how much memory.

"Cold" are the pages of the store; those of Python and its packages stay in the page cache.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from documents import FIRST_PROJECT
from filling import SUFFIXES
from goals import Goal, Row, by_turns, medians, size

import bufcache

PROGRAM = """
import sys, time
path, began = sys.argv[1], time.perf_counter()
{}
seconds = time.perf_counter() - began
with open("/proc/self/status") as status:
    [peak] = [int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM")]
import json
print(json.dumps([seconds, peak, found]))
"""
MEMORY = 24 << 30
LONGEST = 180
MANY = 100_000

FLOOR = "import numpy, orjson, tinydb; found = []"
OPEN = {
    "ours": """
from bufcache import BufferMetadata, BufferMetadataCache, select
cache = BufferMetadataCache(path, read_only=True)
""",
    "rival": """
from sqlalchemy import select
from qass.tools.analyzer.buffer_metadata_cache import BufferMetadata, BufferMetadataCache
cache = BufferMetadataCache("sqlite:///" + path)
""",
    "TinyDB": """
from stock import open_stock
from tinydb import where
table = open_stock(path).table("buffer_metadata")
""",
}
SELECTIVE = f"""
wanted = BufferMetadata.compression_frq == 8, BufferMetadata.process >= 50, BufferMetadata.process < 55
wanted += (BufferMetadata.project_id == {FIRST_PROJECT + 2},)
found = sorted(cache.get_matching_files(select(BufferMetadata).filter(*wanted)))
"""
STOCK_SELECTIVE = f"""
wanted = (where("compression_frq") == 8) & (where("process") >= 50) & (where("process") < 55)
wanted &= where("project_id") == {FIRST_PROJECT + 2}
found = sorted(each["directory_path"] + "/" + each["filename"] for each in table.search(wanted))
"""
METADATA = f"""
wanted = BufferMetadata.id <= {MANY}
found = [str(len(cache.get_matching_metadata(select(BufferMetadata).filter(wanted))))]
"""


class Answer(NamedTuple):
    """What a fresh process needed: seconds, and bytes of memory at most (mapped files included); what it found."""

    seconds: float
    peak: int
    found: list[str]


def ask(work: Path, code: str, path: Path) -> Answer | None:
    """Run a program that leaves its answer in `found`; None where it needs too much memory or time.

    orjson asks for twelve times the size of what it parses, but touches little of it: addresses are what is limited.
    """
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    modules = [str(Path(bufcache.__file__).parents[1]), str(Path(__file__).parent)]
    environment = {
        **inherited,
        "PYTHONPATH": os.pathsep.join(modules),
        "PYTHONPYCACHEPREFIX": str(work / "bytecode"),
    }
    limits = f"import resource; resource.setrlimit(resource.RLIMIT_AS, ({MEMORY}, {MEMORY}))"
    command = [sys.executable, "-c", limits + PROGRAM.format(code), path]
    try:
        output = subprocess.run(
            command, env=environment, cwd=work, timeout=LONGEST, check=True, stdout=subprocess.PIPE
        ).stdout
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
        return None
    return Answer(*json.loads(output))


def drop_from_page_cache(files: Iterable[Path]) -> None:
    """Make the next reading of files come from the disk: nothing may map them, nor be about to write to them."""
    for file in files:
        descriptor = os.open(file, os.O_RDONLY)
        try:
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)


def fresh_rows(work: Path, base: Path, count: int, rounds: int) -> Iterator[Row]:
    """Measure fresh processes with the store in the page cache and without, and what memory they need."""
    codes = {side: OPEN[side] + (STOCK_SELECTIVE if side == "TinyDB" else SELECTIVE) for side in OPEN}
    paths = {side: base.with_suffix(suffix) for side, suffix in SUFFIXES.items()}
    warm = {side: partial(ask, work, code, paths[side]) for side, code in codes.items()}
    warm["floor"] = partial(ask, work, FLOOR, work)
    answers = by_turns(warm, rounds)
    found = {side: answer[0].found for side, answer in _finished(answers).items() if side != "floor"}
    assert found["ours"]
    assert all(each == found["ours"] for each in found.values())
    goal = Goal(times=2, over_floor=0.1 if count > 100_000 else 0.05)
    yield Row("fresh process: open, ask, page cache warm", medians(_seconds(answers)), goal)

    def cold(side: str) -> Answer | None:
        path = paths.get(side)
        if path:
            drop_from_page_cache([each for each in (path, *path.rglob("*")) if each.is_file()])
        return warm[side]()

    yield Row("the same, cold", medians(_seconds(by_turns({side: partial(cold, side) for side in warm}, rounds))))
    yield Row("memory of it", medians(_peaks(answers)), Goal(at_most=250e6), size)
    many = {side: partial(ask, work, OPEN[side] + METADATA, paths[side]) for side in ("ours", "rival")}
    answers = by_turns({**many, "floor": warm["floor"]}, 1)
    assert answers["ours"][0].found == answers["rival"][0].found == [str(min(MANY, count))]
    what = f"fresh process: open, {min(MANY, count):,} objects"
    yield Row(what, medians(_seconds(answers)))
    yield Row("memory of it", medians(_peaks(answers)), show=size)


Answers = Mapping[str, Sequence[Answer | None]]


def _finished(answers: Answers) -> dict[str, list[Answer]]:
    return {side: [each for each in of if each is not None] for side, of in answers.items() if None not in of}


def _seconds(answers: Answers) -> dict[str, list[float]]:
    return {side: [answer.seconds for answer in of] for side, of in _finished(answers).items()}


def _peaks(answers: Answers) -> dict[str, list[float]]:
    return {side: [answer.peak for answer in of] for side, of in _finished(answers).items()}
