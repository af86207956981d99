"""What the benchmarks share: sides run by turns, medians and ratios as a table, the machine, the kept result."""

import os
import platform
import sqlite3
import tempfile
import time
import warnings
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median

from qass.tools.analyzer.buffer_metadata_cache import BufferMetadataCache as RivalCache

RESULTS = Path(__file__).parent / "results"
PACKAGES = ("bufcache", "numpy", "orjson", "tinydb", "qass-tools-analyzer", "SQLAlchemy")
COLUMNS = ("what", "ours", "rival", "floor", "rival/ours", "ours/floor", "ours-floor", "must")


@dataclass(frozen=True)
class Row:
    """One line of a table: the median seconds of each side, and what the project has set itself."""

    what: str
    seconds: Mapping[str, float]
    must: str = ""

    def cells(self) -> tuple[str, ...]:
        ours, rival, floor = (self.seconds.get(side) for side in ("ours", "rival", "floor"))
        ratios = [f"{rival / ours:.2f}" if rival else "-", f"{ours / floor:.2f}" if floor else "-"]
        times = map(duration, (ours, rival, floor))
        return self.what, *times, *ratios, duration(floor and ours - floor), self.must


def arguments(description: str, rounds: int) -> ArgumentParser:
    """Return a parser of arguments that knows --rounds."""
    parser = ArgumentParser(description=description, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=rounds, help="how often each side is timed")
    return parser


def open_rival(path: Path) -> RivalCache:
    """Open the rival's cache in an SQLite file; it warns of keys that it does not know."""
    warnings.simplefilter("ignore")
    return RivalCache(f"sqlite:///{path}.sqlite")


def timed(call: Callable[[], object]) -> float:
    """Return the seconds that a call takes, without those to free its result."""
    began = time.perf_counter()
    result = call()
    seconds = time.perf_counter() - began
    del result
    return seconds


def alternate(sides: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, float]:
    """Run every side once to warm up, then all by turns; return the median of the seconds that each gives."""
    turns = [{name: side() for name, side in sides.items()} for _ in range(1 + rounds)]
    return {name: median(turn[name] for turn in turns[1:]) for name in sides}


def report(name: str, notes: str, rows: Sequence[Row]) -> None:
    """Print a table with what it was measured on, and keep it as results/<name>.txt."""
    keep(name, "\n".join([notes, *machine(), "", *aligned([COLUMNS, *(row.cells() for row in rows)]), ""]))


def aligned(lines: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table: the first and the last column of each are words, those between numbers."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return [
        "  ".join([what.ljust(widths[0]), *map(str.rjust, numbers, widths[1:-1]), must]).rstrip()
        for what, *numbers, must in lines
    ]


def keep(name: str, text: str) -> None:
    """Print a result and keep it as results/<name>.txt."""
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.txt").write_text(text, encoding="utf-8")
    print(text, end="")


def machine() -> list[str]:
    """Describe what the numbers hold for."""
    mounts = [line.split()[:3] for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines()]
    above = [mount for mount in mounts if Path(tempfile.gettempdir()).is_relative_to(mount[1])]
    device, _, system = max(above, key=lambda mount: len(mount[1]))
    return [
        f"{os.cpu_count()} cores {platform.machine()}, {platform.system()} {platform.release()}, {device} ({system})",
        f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, "
        + ", ".join(f"{package} {version(package)}" for package in PACKAGES),
    ]


def duration(seconds: float | None) -> str:
    """Return seconds as people read them."""
    if seconds is None:
        return "-"
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1000:.2f} ms"
