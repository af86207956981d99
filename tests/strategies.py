"""Hypothesis strategies: random buffer files, all of them valid."""

import inspect
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
import scenarios
from hypothesis import strategies as st

from bufcache.buffer_parser.layout import ADCTYPE, DATAKIND, DATAMODE, DATATYPE, FILE_HEADER, KEY_ALPHABET
from bufcache.testing import typical_header, write_buffer

RANGES = {"i4": (-(2**31), 2**31 - 1), "u4": (0, 2**32 - 1), "i8": (-(2**63), 2**63 - 1), "u8": (0, 2**64 - 1)}

BY_CODE: dict[str, st.SearchStrategy] = {
    **{code: st.integers(*bounds) for code, bounds in RANGES.items()},
    "f8": st.floats(),
    "var": st.binary(max_size=40) | st.text(max_size=20).map(str.encode),
    "hex4": st.binary(min_size=4, max_size=4),
}

PLAUSIBLE: dict[str, st.SearchStrategy] = {
    "datamode": st.sampled_from(DATAMODE) | st.just(99),
    "datakind": st.sampled_from(DATAKIND) | st.just(105),
    "datatype": st.sampled_from(DATATYPE) | st.just(99),
    "adc_type": st.sampled_from(ADCTYPE) | st.just(9),
    "p__flags": st.integers(0, 31),
    "adbitres": st.sampled_from([14, 16, 24, 0, -1, 12]),
    "fftlogsh": st.integers(0, 20),
    "fftovers": st.integers(0, 10),
    "samplefr": st.integers(1, 10**9),
    "comratio": st.integers(1, 512),
    "frqratio": st.integers(1, 512),
    "max_ampl": st.integers(-1, 1 << 24),
    "epoctime": st.integers(0, 10**14),
    "dumpchan": st.integers(-1, 7),
    "framedur": st.floats(1e-3, 1e9),
    "frqpband": st.floats(0, 1e9),
}
"""Keys whose values an answer depends on: drawn from what an Analyzer writes, and a little beyond."""

PADDED = st.sampled_from([0, 0, 0, 2000])
"""The size to which a header is filled with zeros: mostly none, as the oracle takes long over each zero."""

GEOMETRY = ("qassdata", "headsend", "framsize", "s_p_fram", "frqbands", "b_p_samp", "db__size", "dbhdsize")
FREE = [key for key in FILE_HEADER if key not in GEOMETRY]
IMPORTANT = [*PLAUSIBLE, "proctime", "asc_part", "proc_cnt", "proj__id"]


class BufferFile(NamedTuple):
    """A file to be written."""

    header: list[tuple[str, Any]]
    data: np.ndarray
    header_size: int
    block_headers: list[dict[str, Any] | None]
    missing_bytes: int

    def write(self, path: Path) -> Path:
        """Write the file, and cut the missing bytes from its end."""
        write_buffer(path, self.header, self.data, header_size=self.header_size, block_headers=self._of)
        whole = path.read_bytes()
        path.write_bytes(whole[: max(len(whole) - self.missing_bytes, self._header_end(whole))])
        return path

    def _of(self, number: int) -> dict[str, Any] | None:
        return self.block_headers[number % len(self.block_headers)]

    @staticmethod
    def _header_end(whole: bytes) -> int:
        return int.from_bytes(whole[8:12], "little")


def values(key: str) -> st.SearchStrategy:
    """Values of a key of the file header."""
    return PLAUSIBLE[key] if key in PLAUSIBLE else BY_CODE[FILE_HEADER[key].code]


@st.composite
def unknown_entries(draw) -> tuple[str, bytes]:
    """Draw an entry that the format does not know; its value does not look like a key."""
    name = draw(
        st.text(bytes(KEY_ALPHABET).decode(), min_size=8, max_size=8).filter(lambda key: key not in FILE_HEADER)
    )
    value = draw(st.binary(min_size=3, max_size=3)) + b"\xff"
    return name, draw(st.sampled_from([value, value + value]))


@st.composite
def geometries(draw, data: np.ndarray) -> list[tuple[str, int]]:
    """Draw the entries that say how data lie in the file."""
    width, bands = data.dtype.itemsize, data.shape[1]
    names = draw(st.permutations(["framsize", "s_p_fram", "frqbands"]))[: draw(st.integers(1, 3))]
    first = next(name for name in ("framsize", "s_p_fram", "frqbands") if name in names)
    block_size = draw(st.integers(1, 3 * bands) | st.integers(1, 4000)) * width
    return [
        *((name, bands if name == first else draw(st.integers(0, 99))) for name in names),
        *([("b_p_samp", width)] if width > 2 or draw(st.booleans()) else []),
        ("db__size", block_size),
        ("dbhdsize", draw(st.sampled_from([0, 1, 64, 200]))),
        *([("p__flags", 8 if data.dtype.kind == "f" else 0)] if draw(st.booleans()) else []),
    ]


@st.composite
def arrays(draw) -> np.ndarray:
    """Draw a small spectrogram of any sample type."""
    dtype = draw(st.sampled_from(["<u2", "<u2", "<u4", "<f4"]))
    spectra, bands = draw(st.integers(0, 40)), draw(st.integers(1, 40))
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    if dtype == "<f4":
        return (generator.standard_normal((spectra, bands)) * 1000).astype(dtype)
    return generator.integers(0, np.iinfo(dtype).max, (spectra, bands), dtype, endpoint=True)


@st.composite
def buffer_files(draw) -> BufferFile:
    """Draw a valid file: any keys in any order, any sample type, any blocks, possibly cut behind its header."""
    data = draw(arrays())
    rare = draw(st.lists(st.sampled_from(FREE), max_size=12))
    missing = draw(st.just(set()) | st.sets(st.sampled_from(IMPORTANT), max_size=4))
    keys = [*rare, *(key for key in IMPORTANT if key not in missing)]
    entries = [*((key, draw(values(key))) for key in keys), *draw(geometries(data))]
    entries += draw(st.lists(unknown_entries(), max_size=3))
    return BufferFile(
        header=[*draw(st.permutations(entries)), *draw(st.sampled_from([[], [], [("headsend", None)]]))],
        data=data,
        header_size=draw(st.sampled_from([0, 0, 2000, 5000])),
        block_headers=draw(st.lists(st.sampled_from([{}, {}, None]), min_size=1, max_size=3)),
        missing_bytes=draw(st.just(0) | st.integers(0, 300)),
    )


@st.composite
def sub_data_files(draw, *, may_lack_ends: bool = False) -> BufferFile:
    """Draw a file with sub data in every block, all sizes free; possibly cut, or without ends."""
    data = draw(arrays())
    spectrum = data.shape[1] * data.dtype.itemsize
    described = draw(st.sampled_from([spectrum, 2 * spectrum, spectrum // 2, spectrum * 3 // 2]) | st.integers(1, 300))
    block_size = draw(st.integers(1, 12).map(spectrum.__mul__) | st.integers(spectrum, 2000))
    block_size -= block_size % data.dtype.itemsize
    words = draw(st.sampled_from([10, 20]))
    enough = block_size // spectrum * max(1, -(-spectrum // max(1, described))) + 3
    entries = draw(st.just(enough) | st.just(enough) | st.integers(0, enough))
    first = draw(st.lists(st.sampled_from(["io_ports", "mux_port", "sd_rsize"]), unique=True))
    first += draw(st.sampled_from([[], [], [], ["new_key4"]]))
    last = draw(st.lists(st.sampled_from(["io_ports", "dbfilled", "sd_rsize"]), unique=True))
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    largest = draw(st.sampled_from([2, 100, 2**31]))

    ends = st.sampled_from([{}, {}, {"end___subdat": None}]) if may_lack_ends else st.just({})

    def value(key: str) -> Any:
        number = int(generator.integers(-(2**31), 2**31))
        return {"sd_rsize": max(1, described), "new_key4": b"\1\2\3\xff"}.get(key, number)

    def block_header() -> dict[str, Any]:
        table = generator.integers(-largest, largest, (entries, words)).astype("<i4")
        table[:, 10:11] = 80
        keys = [*first, "sd_rsize"] if "sd_rsize" not in last else first
        before = {key: value(key) for key in keys}
        behind = {key: value(key) for key in last if key not in before}
        return {**before, "begin_subdat": table.tobytes(), **behind, **draw(ends)}

    size = draw(st.integers(0, 70)) + 250 + entries * words * 4
    overrides = {"db__size": block_size, "dbhdsize": size, "framedur": draw(st.floats(1e-3, 1e9))}
    return BufferFile(
        header=list(typical_header(data, **overrides).items()),
        data=data,
        header_size=draw(PADDED),
        block_headers=[block_header() for _ in range(draw(st.integers(1, 4)))],
        missing_bytes=draw(st.just(0) | st.integers(0, 2000)),
    )


# -- combinations of scenarios ------------------------------------------------------------------------------------


def _arguments(scenario: scenarios.Scenario) -> dict[str, Any]:
    """Return what a scenario gives to write_buffer, by name; the header as pairs."""
    given: dict[str, Any] = {}

    def record(*arguments: Any, **options: Any) -> Path:
        bound = inspect.signature(write_buffer).bind(*arguments, **options)
        bound.apply_defaults()
        header = bound.arguments["header"] or {}
        bound.arguments["header"] = list(header.items() if isinstance(header, Mapping) else header)
        given.update(bound.arguments)
        changes = dict(given["header"]) if isinstance(header, Mapping) else given["header"]
        return write_buffer(given["path"], changes, *bound.args[2:], **bound.kwargs)

    with TemporaryDirectory() as folder, mock.patch.object(scenarios, "write_buffer", record):
        scenario.write(Path(folder, "Scenario"))
    return given


PARTS = [_arguments(scenario) for scenario in scenarios.SCENARIOS]
"""What each scenario is made of."""


@st.composite
def combined_scenarios(draw) -> BufferFile:
    """Draw a file that is several scenarios at once, where they contradict each other the later; possibly cut."""
    parts = draw(st.lists(st.sampled_from(PARTS), min_size=1, max_size=4))
    arrays = [part["data"] for part in parts if part["data"] is not None]
    data = arrays[-1] if arrays else scenarios.ramp(20, 64)
    entries = list(typical_header(data).items())
    for key, value in (entry for part in parts for entry in part["header"]):
        entries = [entry for entry in entries if value is not None or entry[0] != key]
        entries.append((key, value))
    block_headers = [part["block_headers"] for part in parts if part["block_headers"]]
    if block_headers:
        entries.append(("dbhdsize", 2048))  # there is room for them all
    return BufferFile(
        header=entries,
        data=data,
        header_size=draw(PADDED | st.sampled_from([part["header_size"] for part in parts])),
        block_headers=_first_of(block_headers[-1]) if block_headers else [{}],
        missing_bytes=draw(st.just(0) | st.integers(0, 3000)),
    )


def _first_of(block_headers: Any) -> list[Any]:
    return [block_headers(number) for number in range(3)] if callable(block_headers) else list(block_headers)
