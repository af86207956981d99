"""Headers by the batch: the columns say what Buffer says of each file, or nothing."""

import os
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scenarios import SCENARIOS
from strategies import buffer_files

from bufcache import BufferMetadata
from bufcache.buffer_parser import Buffer
from bufcache.buffer_parser.batch import Decoder
from bufcache.buffer_parser.layout import FILE_HEADER
from bufcache.errors import BufcacheError
from bufcache.testing import typical_header, write_buffer

FIELDS = [BufferMetadata.__fields__[name] for name in BufferMetadata.properties if hasattr(Buffer, name)]

LEFT_OVER = {
    *("no_bands_in_framsize", "no_bands_in_s_p_fram", "negative_bands"),  # no document can be made of them
    "unknown_key_at_the_end",  # its size depends on where the header ends
}
"""The scenarios that are left to Buffer."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("batch")


@pytest.fixture(scope="module")
def scenarios(folder):
    """Write a file of each scenario, and return the paths by name."""
    paths = {kind.name: folder / kind.name for kind in SCENARIOS}
    for kind in SCENARIOS:
        kind.write(paths[kind.name])
    return paths


def start_of(path):
    """Return the first bytes of a file as the cache reads them: 4096, or a longer header in whole."""
    content = path.read_bytes()
    return content[: max(4096, int.from_bytes(content[8:12], "little", signed=True))]


def decode(paths, decoder=None):
    return (decoder or Decoder()).decode([*map(start_of, paths)], [os.path.getsize(path) for path in paths])


def by_buffer(path):
    """Return the document that Buffer gives of a file, without its path; None where it raises."""
    try:
        document = BufferMetadata.buffer_to_metadata(Buffer(path)).to_document()
    except BufcacheError:
        return None
    return {name: value for name, value in document.items() if name not in ("directory_path", "filename")}


def value(batch, name, row):
    if name in batch.texts:
        return batch.texts[name][row]
    column = batch.numbers[name]
    return column.values[row].item() if column.known[row] else None


def by_batch(batch, row):
    """Return the document that a batch gives of a file."""
    known = ((field, value(batch, field.name, row)) for field in FIELDS)
    return {field.name: field.kind.dump(found) for field, found in known if found is not None}


def assert_agrees(paths, decoder=None):
    """Compare every file of a batch with what Buffer says, and return the paths that were left over."""
    batch = decode(paths, decoder)
    left_over = set(batch.left_over.tolist())
    for row, path in enumerate(paths):
        assert repr(by_batch(batch, row)) == repr({} if row in left_over else by_buffer(path)), path
    return [paths[row] for row in sorted(left_over)]


def test_every_property_of_the_metadata_has_a_column():
    """A batch has a column for each property that the cache copies from a Buffer."""
    batch = Decoder().decode([], [])
    assert {*batch.numbers, *batch.texts} >= {field.name for field in FIELDS}


def test_columns_have_the_exact_type():
    """Ids are uint64, durations and frequencies float64, all other numbers int64, also of no files."""
    for starts in ([], [b"no buffer file"]):
        numbers = Decoder().decode(starts, [14] * len(starts)).numbers
        dtypes = {name: column.values.dtype for name, column in numbers.items()}
        assert dtypes.pop("project_id") == np.uint64
        assert {dtypes.pop(name) for name in ("spec_duration", "frq_per_band", "frq_end")} == {np.dtype(np.float64)}
        assert {*dtypes.values()} == {np.dtype(np.int64)}


@pytest.mark.parametrize("name", [kind.name for kind in SCENARIOS])
def test_a_batch_of_one(scenarios, name):
    """A batch of one file says what Buffer says of it, and only unusual files are left over."""
    assert bool(assert_agrees([scenarios[name]])) == (name in LEFT_OVER)


def test_a_batch_of_all_scenarios(scenarios):
    """A batch of files of all layouts, each in several places, says what Buffer says of each."""
    paths = [*scenarios.values(), *reversed(scenarios.values())]
    assert {path.name for path in assert_agrees(paths)} == LEFT_OVER
    assert {path.name for path in assert_agrees(paths[::3])} == LEFT_OVER & {path.name for path in paths[::3]}


def test_a_decoder_that_has_met_everything(scenarios):
    """What a decoder has met before changes nothing."""
    decoder = Decoder()
    for path in scenarios.values():
        assert_agrees([path], decoder)
    assert {path.name for path in assert_agrees([*scenarios.values()], decoder)} == LEFT_OVER


@given(files=st.lists(buffer_files(), min_size=1, max_size=4), order=st.lists(st.integers(0, 3), max_size=12))
def test_random_files(folder, files, order):
    """A batch of random valid files, some of them several times, says what Buffer says of each."""
    paths = [file.write(folder / f"random_{number}") for number, file in enumerate(files)]
    for path in assert_agrees([*paths, *(paths[number % len(paths)] for number in order)]):
        assert by_buffer(path) is None or b"headsend" not in start_of(path)


EXTREME = (0, 1, -1, 2**31 - 1, -(2**31), 1023, 1024, -1074, -1100)
KEYS = ("framsize", "b_p_samp", "db__size", "dbhdsize", "samplefr", "comratio", "fftovers", "datamode", "end__frq")


def test_one_extreme_number(folder):
    """A number that cannot be computed with gives what Buffer gives, or is left over."""
    paths = []
    for mode, key, number in product((0, 1, 2), KEYS, (*EXTREME, None)):
        header = {**typical_header(), "framedur": None, "datamode": mode, key: number}
        paths.append(write_buffer(folder / f"extreme_{mode}_{key}_{number}", header.items()))
    assert all("spec_duration" not in (by_buffer(path) or ()) for path in assert_agrees(paths))


def test_a_duration_below_zero(folder):
    """The duration of a signal is whole, and has no sign where it is 0."""
    header = {"framedur": None, "datamode": 1, "samplefr": 2**31 - 1, "comratio": -1}
    assert_agrees([write_buffer(folder / "below_zero", header)])


@given(values=st.dictionaries(st.sampled_from(KEYS), st.none() | st.sampled_from(EXTREME)), mode=st.integers(0, 3))
def test_several_extreme_numbers(folder, values, mode):
    """Numbers that cannot be computed with give what Buffer gives, or are left over."""
    path = folder / "extreme"
    header = {**typical_header(), "framedur": None, "datamode": mode, **values}
    write_buffer(path, header.items())
    assert_agrees([path])


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf"), 0.0, -0.0, 5e-324, 1e308, 2.0**53])
def test_odd_floats(folder, number):
    """Floats that are not finite are not known, and all others are kept to the bit."""
    path = folder / "float"
    write_buffer(path, {"framedur": number, "frqpband": number, "end__frq": None})
    assert assert_agrees([path]) == []


def test_a_long_unknown_value_that_looks_like_a_key(folder):
    """Where half of an unknown value and what follows look like a key, the value has 4 bytes, as for Buffer."""
    paths = []
    for number, ending in enumerate((b"\0\0\0\0", b"keys", b"\0key", b"____")):
        paths.append(folder / f"unknown_{number}")
        first = {"new_key8": b"\1\2\3\4" + ending, "proc_cnt": number}
        write_buffer(paths[-1], {**first, **typical_header(proc_cnt=number)}.items())
    for order in (paths, paths[::-1]):
        assert all(by_buffer(path) is None for path in assert_agrees(order))


def typical_headers(count):
    """Make the headers of three layouts, with keys missing here and there and texts of many lengths."""
    rare = ("pampgain", "auxpara1", "streamno", "an4dvers", "epoctime", "framedur")
    for number in range(count):
        header = typical_header(proc_cnt=number, proctime=10**9 + number // 8, asc_part="P" * (number % 17))
        header |= {"asc_desc": "D" * (number % 29), "sparemem": bytes(900 - number % 13)}
        if number % 8 == 0:
            del header[rare[number % len(rare)]]
        pairs = [[*header.items()], [("new_key8", bytes(8)), *header.items()], [*header.items()][::-1]]
        yield pairs[number % 3]


def test_typical_files_take_the_fast_way(folder):
    """Of files as projects have them none is left over."""
    paths = [write_buffer(folder / f"typical_{n}", pairs) for n, pairs in enumerate(typical_headers(300))]
    assert assert_agrees(paths) == []


@pytest.fixture(scope="module")
def valid(folder):
    """Return a small valid file that has an entry of every type, and the length of what stands in its header."""
    path = folder / "valid"
    write_buffer(path, {**typical_header(), "comments": "text", "m_u_mask": 5, "new_key4": bytes(4)}, header_size=900)
    content = path.read_bytes()
    return content, content.index(b"headsend") + 8


def assert_contents_agree(folder, contents):
    """Compare a batch of files of these contents, and return how many were left over."""
    paths = [folder / f"content_{number}" for number in range(len(contents))]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
    return len(assert_agrees(paths))


def test_every_byte_flipped(folder, valid):
    """Headers with one damaged byte, among valid ones, say what Buffer says of them or are left over."""
    content, used = valid
    damaged = [content[:place] + bytes([content[place] ^ 0x81]) + content[place + 1 :] for place in range(used + 8)]
    left_over = assert_contents_agree(folder, [content, *damaged, content])
    assert 0 < left_over < len(damaged)


def test_every_truncation(folder, valid):
    """Files that end inside their header are left over, and disturb no others."""
    content, _ = valid
    cuts = [content[:size] for size in range(0, 900, 7)]
    assert assert_contents_agree(folder, [content, *cuts, content]) == len(cuts)


@given(file=buffer_files(), data=st.data())
def test_damaged_random_files(folder, file, data):
    """Headers of which any bytes were overwritten, among others like them, say what Buffer says or are left over."""
    content = file.write(folder / "whole").read_bytes()
    contents = [content]
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, int.from_bytes(content[8:12], "little") - 1))
        patch = data.draw(st.binary(min_size=1, max_size=8) | st.sampled_from([*map(str.encode, FILE_HEADER)]))
        contents.append(content[:start] + patch + content[start + len(patch) :])
    order = data.draw(st.permutations(contents))
    assert_contents_agree(folder, order)


def test_less_than_the_header_was_read(folder):
    """A file of which less than its header was read, or that is shorter, is left over."""
    start = write_buffer(folder / "short").read_bytes()[:2000]
    starts = [start[:1999], start[:3], b"", start, start]
    assert Decoder().decode(starts, [5072, 5072, 5072, 1999, 2000]).left_over.tolist() == [0, 1, 2, 3]


def test_no_magic_number(folder, valid):
    """A file that does not begin with the magic number is left over, even where all else is right."""
    assert assert_contents_agree(folder, [b"filevers" + valid[0][8:]]) == 1


def with_header_size(content, size):
    return content[:8] + size.to_bytes(4, "little") + content[12:]


@pytest.fixture
def without_end(folder):
    """Return a file the header of which ends behind its last number, and the size of its header."""
    content = write_buffer(folder / "no_end", {"headsend": None, "an4dvers": None}, header_size=0).read_bytes()
    return content, int.from_bytes(content[8:12], "little")


def test_a_last_value_beyond_the_header(folder, valid, without_end):
    """A header that ends inside its last value is left over, and disturbs no others."""
    content, size = without_end
    beyond = with_header_size(content, size - 2)
    assert assert_contents_agree(folder, [content, beyond, valid[0]]) == 1
    assert assert_contents_agree(folder, [beyond, beyond, content, valid[0]]) == 2


def test_a_last_unknown_value_that_looks_like_a_key(folder, valid, without_end):
    """A header whose last value is not known is left over, and disturbs no others."""
    content, size = without_end
    unknown = with_header_size(content[:size] + b"new_key8abcdefgh" + content[size:], size + 16)
    assert assert_contents_agree(folder, [unknown, unknown, content, valid[0]]) == 2


def test_a_run_without_end(folder, valid):
    """A header of very many numbers in a row is left over, and disturbs no others."""
    long = write_buffer(folder / "long", [("proc_cnt", number) for number in range(700)]).read_bytes()
    assert assert_contents_agree(folder, [long, valid[0], long]) == 2


def test_endless_layouts_take_bounded_time(folder):
    """Headers of very many runs, and very many different headers, are left over in part and never wrong."""
    many_texts = [("asc_part", b"")] * 400
    shuffled = [[*typical_header(proc_cnt=number).items()] for number in range(300)]
    for number, pairs in enumerate(shuffled):
        pairs.insert(number % len(pairs), (f"key_{number:04}", b"\0" * 8))
    paths = [write_buffer(folder / f"odd_{n}", pairs) for n, pairs in enumerate([many_texts, *shuffled])]
    assert folder / "odd_0" in (left_over := assert_agrees(paths))
    assert len(left_over) < 60
