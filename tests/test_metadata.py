"""BufferMetadata: its fields, what it takes from a buffer, and how it is stored."""

import dataclasses
import inspect
import json
import math
import os
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from query_strategies import FIELDS, documents, metadata
from scenarios import SCENARIOS

from bufcache import Buffer
from bufcache.buffer_metadata_cache import BufferMetadata, BufferMetadataCache
from bufcache.buffer_metadata_cache.kinds import Float, Integer, Member, Number, Text
from bufcache.buffer_metadata_cache.query import Field
from bufcache.errors import InvalidArgumentError, InvalidFileError, MissingHeaderError
from bufcache.testing import MockBuffer

PROPERTIES = (
    *("id", "project_id", "directory_path", "filename", "header_size", "process", "channel", "datamode", "datakind"),
    *("datatype", "process_time", "process_date_time", "db_header_size", "bytes_per_sample", "db_count", "full_blocks"),
    *("db_size", "db_sample_count", "frq_bands", "db_spec_count", "compression_frq", "compression_time", "avg_time"),
    *("avg_frq", "spec_duration", "frq_start", "frq_end", "frq_per_band", "sample_count", "spec_count", "adc_type"),
    *("bit_resolution", "fft_log_shift", "streamno", "preamp_gain", "analyzer_version", "partnumber", "header_hash"),
)
FURTHER = ("machine_id", "opening_error", "file_size", "mtime_ns", "is_racy")
OF_THE_BUFFER = tuple(name for name in PROPERTIES if name not in ("id", "directory_path", "filename"))
FLOATS, NUMBERS, UNSIGNED = ("spec_duration", "frq_per_band"), ("frq_end",), ("project_id",)
TEXTS = (
    *("directory_path", "filename", "filepath", "process_date_time", "analyzer_version", "partnumber", "header_hash"),
    *("machine_id", "opening_error"),
)
ENUMERATIONS = {
    **{"datamode": Buffer.DATAMODE, "datakind": Buffer.DATAKIND, "datatype": Buffer.DATATYPE},
    **{"adc_type": Buffer.ADCTYPE},
}


# -- the fields ---------------------------------------------------------------------------------------------------


def test_properties_are_those_of_the_original():
    """`properties` names what describes a buffer, in the order of the original."""
    assert BufferMetadata.properties == PROPERTIES


def test_the_fields_are_the_properties_and_a_few_more():
    """A document has the properties, the machine, the error and the fingerprint; filepath is made of two of them."""
    assert tuple(field.name for field in BufferMetadata.stored_fields()) == PROPERTIES + FURTHER
    assert tuple(BufferMetadata.__fields__) == (*PROPERTIES, *FURTHER, "filepath")


def test_every_property_of_the_buffer_is_one_of_buffer():
    """What is copied from a buffer is a documented property of Buffer, and so is the fingerprint's size."""
    for name in OF_THE_BUFFER:
        found = inspect.getattr_static(Buffer, name)
        assert isinstance(found, property), name
        assert inspect.getdoc(found), name


def test_every_field_is_documented():
    """Each field says what it means, and docs/queries.md has a row for each with just these words."""
    page = Path(__file__).parent.parent.joinpath("docs", "queries.md").read_text("utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| `") and "`, `" not in line]
    table = [[cell.strip(" `") for cell in line.strip("|").split("|")] for line in rows]
    documented = {name: meaning for name, *_, meaning in table if name in FIELDS}
    assert documented == {name: field.meaning for name, field in FIELDS.items()}
    assert [name for name, *_ in table if name in FIELDS] == list(FIELDS)


@pytest.mark.parametrize("name", FIELDS)
def test_each_field_is_of_its_kind(name):
    """Ints, unsigned ids, floats, texts and enumerations are those of the table of the interface."""
    kind = FIELDS[name].kind
    if name in ENUMERATIONS:
        assert isinstance(kind, Member)
        assert kind.enumeration is ENUMERATIONS[name]
    elif name in TEXTS:
        assert isinstance(kind, Text)
    elif name in FLOATS + NUMBERS:
        assert isinstance(kind, Float)
        assert isinstance(kind, Number) is (name in NUMBERS)
    else:
        assert isinstance(kind, Integer)
        assert (kind.low, kind.high) == ((0, 2**64 - 1) if name in UNSIGNED else (-(2**63), 2**63 - 1))


def test_the_class_has_fields_and_an_instance_has_values():
    """On the class a name is a field to ask with; on an instance it is the value, None where there is none."""
    found = BufferMetadata(process=3)
    assert isinstance(BufferMetadata.process, Field)
    assert repr(BufferMetadata.process) == "BufferMetadata.process"
    assert (found.process, found.channel) == (3, None)
    found.channel = 2
    assert found.channel == 2
    assert isinstance(BufferMetadata.channel, Field)


def test_the_cache_has_the_class_as_an_attribute():
    """BufferMetadataCache.BufferMetadata is the class."""
    assert BufferMetadataCache.BufferMetadata is BufferMetadata


# -- a dataclass --------------------------------------------------------------------------------------------------


def test_it_is_a_dataclass():
    """Fields, asdict, replace and equality are those of a dataclass."""
    found = BufferMetadata(process=3, filename="a")
    assert tuple(field.name for field in dataclasses.fields(BufferMetadata)) == PROPERTIES + FURTHER
    assert dataclasses.asdict(found) == {**dict.fromkeys(PROPERTIES + FURTHER), "process": 3, "filename": "a"}
    assert dataclasses.replace(found, process=4) == BufferMetadata(process=4, filename="a") != found


def test_the_repr_shows_what_is_known():
    """The repr names the values that are not None, and makes an equal object."""
    assert repr(BufferMetadata()) == "BufferMetadata()"
    assert repr(BufferMetadata(process=3, partnumber="A")) == "BufferMetadata(process=3, partnumber='A')"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("proces", "BufferMetadata has no field 'proces'; did you mean 'process'"),
        ("part_number", "BufferMetadata has no field 'part_number'; did you mean 'partnumber'"),
        ("zzz", "BufferMetadata has no field 'zzz'$"),
        ("__class__", "BufferMetadata has no field '__class__'"),
    ],
)
def test_an_unknown_keyword_names_the_nearest_field(name, message):
    """A keyword that is no field is a TypeError that names the nearest one."""
    with pytest.raises(TypeError, match=message):
        BufferMetadata(**{name: 3})


def test_filepath_joins_folder_and_name():
    """The path of an instance is made of its folder and name; None where one of them is."""
    assert BufferMetadata(directory_path="/data", filename="a").filepath == "/data/a"
    assert BufferMetadata(directory_path="/", filename="a").filepath == "/a"
    assert BufferMetadata(directory_path="C:\\data", filename="a").filepath == "C:\\data\\a"
    assert BufferMetadata(directory_path="/data").filepath is None
    assert BufferMetadata(filename="a").filepath is None


# -- documents ----------------------------------------------------------------------------------------------------


@given(metadata())
def test_a_document_makes_an_equal_object(found):
    """What is stored can be read back: the same values, members as members, also from JSON."""
    document = found.to_document()
    again = BufferMetadata.from_document(json.loads(json.dumps(document)))
    assert again == found
    assert again.to_document() == document
    for name, enumeration in ENUMERATIONS.items():
        value = getattr(again, name)
        assert value is None or isinstance(value, enumeration) is (value in list(enumeration))


@given(metadata())
def test_a_document_is_plain(found):
    """A document has the fields that are not None, as numbers and texts that UTF-8 can hold, members as ints."""
    document = found.to_document()
    assert set(document) == {name for name, value in vars(found).items() if value is not None}
    assert {type(value) for value in document.values()} <= {int, float, str, bool}
    assert json.loads(orjson.dumps(document)) == document


@given(st.data())
def test_any_document_makes_an_object(data):
    """Whatever stands in a document, the object has values of the kind of each field, or None."""
    document = data.draw(documents(tuple(FIELDS)))
    found = BufferMetadata.from_document({**document, "unknown": 3})
    assert found == BufferMetadata.from_document(document)
    for name in FIELDS:
        value = getattr(found, name)
        assert value is None or type(value) in (int, float, str, bool, ENUMERATIONS.get(name))
    assert BufferMetadata.from_document(found.to_document()) == found


@pytest.mark.parametrize(
    ("name", "value", "stored"),
    [
        ("process", np.int32(3), 3),
        ("process", True, 1),
        ("project_id", np.uint64(2**64 - 1), 2**64 - 1),
        ("datamode", Buffer.DATAMODE.DATAMODE_FFT, 2),
        ("datamode", "DATAMODE_FFT", 2),
        ("datakind", 105, 105),
        ("spec_duration", 3, 3.0),
        ("spec_duration", np.float32(0.5), 0.5),
        ("frq_end", 3.0, 3),
        ("frq_end", 2.5, 2.5),
        ("frq_end", 1e300, 1e300),
        ("directory_path", Path("/data"), str(Path("/data"))),
        ("filename", "a\udcff", "a\0dcff"),
        ("partnumber", "", ""),
    ],
    ids=repr,
)
def test_values_are_stored_in_one_form(name, value, stored):
    """A value of numpy, a name of a member, a path object: a document has the plain value of the field's own type."""
    document = BufferMetadata(**{name: value}).to_document()
    assert document == {name: stored}
    assert type(document[name]) is type(stored)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, np.float64("nan")])
@pytest.mark.parametrize("name", FLOATS + NUMBERS)
def test_what_is_not_finite_is_not_known(name, value):
    """A float that is not finite is left out of a document, and counts as None where it stands in one."""
    assert BufferMetadata(**{name: value}).to_document() == {}
    assert BufferMetadata.from_document({name: value}) == BufferMetadata()


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("process", "3", r"expected a number, got '3' \(str\)"),
        ("process", 3.0, "expected an integer from -9223372036854775808 to 9223372036854775807, got 3.0"),
        ("process", 2**63, "expected an integer from"),
        ("project_id", -1, "expected an integer from 0 to 18446744073709551615, got -1"),
        ("spec_duration", 2**53 + 1, "expected a number of double precision"),
        ("spec_duration", 10**400, "expected a number of double precision"),
        ("spec_duration", "1", "expected a number"),
        ("frq_end", [1], "expected a number"),
        ("partnumber", 3, r"expected text, got 3 \(int\)"),
        ("partnumber", b"A", "expected text"),
        ("partnumber", "\ud800", "expected text that UTF-8 can hold"),
        ("filename", "a\0b", r"expected a path, got 'a\\x00b' with a NUL"),
        ("datamode", Buffer.DATAKIND.KIND_USER, "expected a DATAMODE, got <DATAKIND"),
        ("datamode", 2.5, "expected an integer"),
        ("datamode", [2], "expected a number"),
    ],
)
def test_a_value_of_another_type_names_the_field(name, value, message):
    """Storing what a field cannot hold is a TypeError with the field, what was expected, and what was found."""
    with pytest.raises(TypeError, match=rf"BufferMetadata\.{name}: {message}"):
        BufferMetadata(**{name: value}).to_document()


def test_an_unknown_name_of_a_member_names_the_field():
    """Storing a name that an enumeration lacks is an InvalidArgumentError with the field and the nearest name."""
    with pytest.raises(InvalidArgumentError, match=r"BufferMetadata\.datamode: DATAMODE has no .*'DATAMODE_FFT'\?"):
        BufferMetadata(datamode="DATAMODE_FTT").to_document()


# -- from a buffer ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_the_metadata_of_a_buffer_are_its_properties(scenario, tmp_path):
    """Every property that a buffer has is copied; what its header lacks is None, what cannot be true raises."""
    path = tmp_path / "Scenario_00001p1c0b01"
    scenario.write(path)
    try:
        expected = {name: known(Buffer(path), name) for name in OF_THE_BUFFER}
    except InvalidFileError as error:
        with pytest.raises(InvalidFileError, match=re.escape(str(error))):
            BufferMetadata.buffer_to_metadata(Buffer(path))
        return
    found = BufferMetadata.buffer_to_metadata(Buffer(path))
    assert {name: getattr(found, name) for name in OF_THE_BUFFER} == expected
    assert (found.directory_path, found.filename, found.filepath) == (str(tmp_path), path.name, str(path))
    assert {vars(found)[name] for name in ("id", *FURTHER)} == {None}
    assert BufferMetadata.from_document(found.to_document()).process == found.process


def known(buffer, name):
    """Return a property, None where the header lacks it."""
    try:
        return getattr(buffer, name)
    except MissingHeaderError:
        return None


def test_a_mock_gives_what_it_knows(tmp_path):
    """Of a MockBuffer what it has is copied; all else is None."""
    path = MockBuffer(tmp_path / "Mock_00001p7c0b01", process=7, datamode=2, height=3).write().filepath
    with MockBuffer(path) as buffer:
        found = BufferMetadata.buffer_to_metadata(buffer)
    assert found == BufferMetadata(directory_path=str(tmp_path), filename=path.name, process=7, datamode=2)


def test_any_object_with_a_path_will_do():
    """A stand-in needs no more than a filepath; a relative one counts from the working folder."""
    found = BufferMetadata.buffer_to_metadata(SimpleNamespace(filepath="folder/name", channel=3))
    assert found == BufferMetadata(directory_path=str(Path.cwd() / "folder"), filename="name", channel=3)


@pytest.mark.parametrize("text", ["/a", "é", "\0", "a\0b\udcff", "\0dcff", "\0\udcff\0"])
def test_a_path_is_restored_from_its_column(text):
    """Whatever text a path was loaded as, also one that no path can be: a document can be written that has it again."""
    kind = BufferMetadata.filename.kind
    assert kind.load(json.loads(json.dumps(kind.restore(text), ensure_ascii=False).encode())) == text


def test_names_that_are_not_utf_8_come_through(tmp_path):
    """A file whose name is no UTF-8 has metadata that can be stored and read back."""
    path = os.path.join(tmp_path, "\udcff\udcfe_00001p1c0b01")
    found = BufferMetadata.buffer_to_metadata(SimpleNamespace(filepath=path))
    again = BufferMetadata.from_document(json.loads(json.dumps(found.to_document())))
    assert again.filepath == path
