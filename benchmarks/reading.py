"""How long it takes to read one buffer file, against the rival and against numpy.fromfile of the same bytes.

The file has blocks of 1 MiB with sub data, as an Analyzer writes them, and is in the page cache. Headers are not
padded: the rival takes zeros for unknown keys and warns of each, which makes it five times slower to open a file. A
short call is timed many at once, each result dropped before the next call, and the table has the time of all. Results
are compared before anything is timed.

    python benchmarks/reading.py                                          # 200 MB: a minute
    python benchmarks/reading.py --megabytes 20
"""

import argparse
import tempfile
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from measure import Row, alternate, report, timed
from numpy.typing import NDArray
from qass.tools.analyzer.buffer_parser import Buffer as RivalBuffer

from bufcache import Buffer
from bufcache.testing import write_buffer

BANDS = 512
SPECTRUM = BANDS * 2
BLOCK_SIZE = 1 << 20
LOGARITHM = {"fftlogsh": 8, "adbitres": 16}
ENTRY_WORDS = 10
MANY = 1000

SIDES = {"ours": Buffer, "rival": RivalBuffer}


def write_file(path: Path, data: NDArray[Any], described: int = SPECTRUM) -> Path:
    """Write a buffer file whose blocks have an entry of sub data for so many bytes."""
    header_size = 1 << 16 if described >= SPECTRUM else 1 << 17
    sizes = {"db__size": BLOCK_SIZE - header_size, "dbhdsize": header_size}

    def block_header(number: int) -> dict[str, Any]:
        entries = np.zeros((sizes["db__size"] // described, ENTRY_WORDS), "<i4")
        entries[:, 0] = 20 << 16
        entries[:, 1] = number % 4
        entries[:, 2] = np.arange(len(entries)) // 100
        entries[:, 3:6:2] = ~(number % 16)
        return {"sd_rsize": described, "sd_dsize": entries.nbytes, "begin_subdat": entries.tobytes()}

    return write_buffer(path, sizes | LOGARITHM, data, header_size=0, block_headers=block_header)


def write_files(folder: Path, megabytes: int) -> tuple[Path, Path, Path]:
    """Write a buffer file, the same data flat, and a small buffer file."""
    data = np.random.default_rng(1).integers(0, 1 << 16, (megabytes * 10**6 // SPECTRUM, BANDS), "<u2")
    data.tofile(folder / "flat")
    large = write_file(folder / "Large_00001p1c0b01", data)
    return large, folder / "flat", write_buffer(folder / "Small_00001p1c0b01", header_size=0)


def compared(calls: dict[str, Callable[[], Any]]) -> dict[str, Callable[[], Any]]:
    """Return the calls, after comparing what they give, bit by bit."""
    found = {side: np.asarray(call()).reshape(-1) for side, call in calls.items()}
    for other in found.values():
        np.testing.assert_array_equal(found["ours"], other, strict=True)
    return calls


def row(what: str, calls: dict[str, Callable[[], Any]], must: str, rounds: int, repeat: int = 1) -> Row:
    def repeatedly(call: Callable[[], Any]) -> None:
        for _ in range(repeat):
            call()

    def seconds(call: Callable[[], Any]) -> float:
        return timed(call if repeat == 1 else partial(repeatedly, call))

    return Row(what, alternate({side: partial(seconds, call) for side, call in compared(calls).items()}, rounds), must)


def of_open_files(large: Path, flat: Path, rounds: int) -> list[Row]:
    """Measure what a file that stays open is asked."""
    with Buffer(large) as ours, RivalBuffer(large) as rival:
        files = {"ours": ours, "rival": rival}

        def asking(name: str, *arguments: Any, **options: Any) -> dict[str, Callable[[], Any]]:
            return {side: partial(getattr(file, name), *arguments, **options) for side, file in files.items()}

        everything = {**asking("get_data"), "floor": partial(np.fromfile, flat, "<u2")}
        lazily = {"ours": lambda: ours.data[1000:1010], "rival": partial(rival.get_data, 1000, 1010)}
        return [
            row(f"all data, {flat.stat().st_size / 1e6:.0f} MB", everything, "2 x, floor / 0.9", rounds),
            row(f"10 spectra, {MANY} times", asking("get_data", 1000, 1010), "1.5 x", rounds, MANY),
            row(f"10 across blocks, {MANY} times", asking("get_data", 955, 965), "1.5 x", rounds, MANY),
            row(f"10 of Buffer.data, {MANY} times", lazily, "", rounds, MANY),
            row("all data, delog", asking("get_data", conversion="delog"), "3 x", rounds),
            row(f"10 spectra, delog, {MANY} times", asking("get_data", 1000, 1010, "delog"), "", rounds, MANY),
            row("block_infos, an entry a spectrum", asking("block_infos"), "1.5 x", rounds),
        ]


def block_infos(large: Path, entries: str, described: int, rounds: int) -> Row:
    """Measure the table of a file of the same data whose entries of sub data describe so many bytes."""
    path = write_file(large.with_name("Infos_00001p1c0b01"), Buffer(large).get_data(), described)
    with Buffer(path) as ours, RivalBuffer(path) as rival:
        return row(f"block_infos, {entries}", {"ours": ours.block_infos, "rival": rival.block_infos}, "1.5 x", rounds)


def delog_of_array(large: Path, rounds: int) -> Row:
    """Measure the static function; the rival may change the array that it is given."""
    data = Buffer(large).get_data()[:20_000]
    arguments = LOGARITHM["fftlogsh"], LOGARITHM["adbitres"]
    compared({side: partial(cls.delog, data.copy(), *arguments) for side, cls in SIDES.items()})

    def seconds(cls: Any) -> float:
        return timed(partial(cls.delog, data.copy(), *arguments))

    sides = {side: partial(seconds, cls) for side, cls in SIDES.items()}
    return Row(f"Buffer.delog, {data.size:,} samples", alternate(sides, rounds), "3 x")


def opening(path: Path, what: str, rounds: int, repeat: int) -> Row:
    """Measure a file that is opened, asked one property, and closed."""

    def process(cls: Any) -> int:
        with cls(path) as buffer:
            return buffer.process

    return row(what, {side: partial(process, cls) for side, cls in SIDES.items()}, "10 x", rounds, repeat)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=200, help="size of the file, at least 2")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # the rival's
    with tempfile.TemporaryDirectory(prefix="bufcache-benchmark-") as folder:
        large, flat, small = write_files(Path(folder), options.megabytes)
        rows = [
            *of_open_files(large, flat, options.rounds),
            block_infos(large, "two entries a spectrum", SPECTRUM // 2, options.rounds),
            block_infos(large, "an entry for four spectra", SPECTRUM * 4, options.rounds),
            delog_of_array(large, options.rounds),
            opening(small, f"a small file, a property, {MANY} times", options.rounds, MANY),
            opening(large, "the large file, a property, 10 times", options.rounds, 10),
        ]
    notes = f"reading.py: {BANDS} bands in blocks of 1 MiB; floor: numpy.fromfile; medians of {options.rounds} rounds"
    report("reading", notes, rows)


if __name__ == "__main__":
    main()
