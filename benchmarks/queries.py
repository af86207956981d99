"""How long it takes to find files in a filled cache, in a process that has it open and in a fresh one.

Against the rival, qass-tools-analyzer on its SQLite file, which has indexes on the fields asked for. A fresh process
is timed from its first line to the answer, with compiled bytecode; its floor is the bare import of numpy, orjson and
tinydb. The rival has no count: SQLAlchemy counts in its table. Filling is timed once, not by turns.

    python benchmarks/queries.py                    # 100,000 files, which the rival needs minutes to read
    python benchmarks/queries.py --files 4000       # half a minute
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import sqlalchemy
from measure import Row, alternate, arguments, open_rival, report, timed
from qass.tools.analyzer.buffer_metadata_cache import BufferMetadata as RivalMetadata
from trees import tree

from bufcache import BufferMetadata, BufferMetadataCache, select

FIELDS = ("process", "channel", "datamode", "partnumber", "preamp_gain", "spec_count", "header_hash")
LANGUAGES = {"ours": (select, BufferMetadata), "rival": (sqlalchemy.select, RivalMetadata)}

OPEN = {
    "ours": """
from bufcache import BufferMetadata, BufferMetadataCache, select
cache = BufferMetadataCache(path, read_only=True)
""",
    "rival": """
from sqlalchemy import select
from qass.tools.analyzer.buffer_metadata_cache import BufferMetadata, BufferMetadataCache
cache = BufferMetadataCache("sqlite:///" + path + ".sqlite")
""",
}
ASK = """
wanted = BufferMetadata.compression_frq == 8, BufferMetadata.process >= 50, BufferMetadata.process < 55
found = cache.get_matching_files(select(BufferMetadata).filter(*wanted))
"""
PROGRAM = """
import sys, time
path, began = sys.argv[1], time.perf_counter()
{}
seconds = time.perf_counter() - began
import json
print(json.dumps([seconds, sorted(found)]))
"""


def half(select: Callable[..., Any], fields: Any) -> Any:
    """Return the query for half of the files, sorted."""
    return select(fields).filter(fields.channel <= 2).order_by(fields.process.desc(), fields.filename)


def one(select: Callable[..., Any], fields: Any) -> Any:
    """Return the query for one file."""
    wanted = fields.project_id == 10**15 + 2, fields.process == 50, fields.channel == 1, fields.compression_frq == 8
    return select(fields).filter(*wanted)


def count(caches: dict[str, Any]) -> dict[str, Callable[[], Any]]:
    """Return the calls that count half of the files."""

    def of_rival() -> Any:
        with caches["rival"].Session() as session:
            counted = sqlalchemy.select(sqlalchemy.func.count()).select_from(RivalMetadata)
            return session.scalar(counted.filter(RivalMetadata.channel <= 2))

    return {"ours": partial(caches["ours"].count, BufferMetadata.channel <= 2), "rival": of_rival}


def measured(what: str, calls: dict[str, Callable[[], Any]], rounds: int, must: str) -> Row:
    """Measure a question, and assert that both sides give the same answer."""
    ours, rival = map(comparable, (calls["ours"](), calls["rival"]()))
    assert ours == rival != []
    number = f"{ours if isinstance(ours, int) else len(ours):,} "
    return Row(number + what, alternate({side: partial(timed, call) for side, call in calls.items()}, rounds), must)


def comparable(answer: Any) -> Any:
    if not isinstance(answer, list) or isinstance(answer[0], str):
        return answer
    return [[getattr(metadata, name) for name in FIELDS] for metadata in answer]


def in_process(caches: dict[str, Any], rounds: int) -> list[Row]:
    """Measure queries on open caches."""

    def asking(method: str, query: Callable[..., Any]) -> dict[str, Callable[[], Any]]:
        return {side: partial(getattr(cache, method), query(*LANGUAGES[side])) for side, cache in caches.items()}

    return [
        measured("paths, sorted", asking("get_matching_files", half), rounds, "50 x"),
        measured("objects, sorted", asking("get_matching_metadata", half), rounds, "3 x"),
        measured("path", asking("get_matching_files", one), rounds, "1 x, 1 ms"),
        measured("counted", count(caches), rounds, ""),
    ]


def fresh(work: Path, code: str, path: Path) -> tuple[float, list[str]]:
    """Return how long a fresh process took, and the paths that it found."""
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment = {**inherited, "PYTHONPYCACHEPREFIX": str(work / "bytecode")}
    command = [sys.executable, "-c", PROGRAM.format(code), path]
    seconds, found = json.loads(subprocess.check_output(command, env=environment, cwd=work))
    return seconds, found


def fresh_processes(work: Path, rounds: int) -> Row:
    programs = {side: partial(fresh, work, OPEN[side] + ASK, work / side) for side in OPEN}
    assert programs["ours"]()[1] == programs["rival"]()[1] != []
    programs["floor"] = partial(fresh, work, "import numpy, orjson, tinydb; found = []", work)
    seconds = alternate({side: lambda run=run: run()[0] for side, run in programs.items()}, rounds)
    return Row("fresh process: open, ask", seconds, "2 x, 50 ms over the floor")


def main() -> None:
    parser = arguments(__doc__, rounds=7)
    parser.add_argument("--files", type=int, default=100_000, help="size of the tree, at least 2,500")
    options = parser.parse_args()
    with tree(options.files) as work:
        caches = {"ours": BufferMetadataCache(work / "ours"), "rival": open_rival(work / "rival")}
        fill = {side: partial(cache.synchronize_directory, work / "tree", verbose=0) for side, cache in caches.items()}
        filling = Row("filling the caches, once", {side: timed(call) for side, call in fill.items()})
        rows = [filling, *in_process(caches, options.rounds), fresh_processes(work, options.rounds)]
    notes = f"queries.py: {options.files:,} files, medians of {options.rounds} rounds by turns, after one to warm up"
    report("queries", notes, rows)


if __name__ == "__main__":
    main()
