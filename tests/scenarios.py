"""Buffer files of every kind that docs/file-format.md allows: small, named, with what must be read from them.

A scenario is a function that writes one file and returns what the properties of a Buffer on it must be; the name
``data`` stands for get_data(), and an exception class for a property that must raise it.
"""

import os
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from bufcache.buffer_parser.layout import DATAMODE
from bufcache.errors import InvalidFileError, MissingHeaderError, UnsupportedFormatError
from bufcache.testing import typical_header, write_buffer

Expected = dict[str, Any]


class Scenario(NamedTuple):
    """One kind of file."""

    name: str
    write: Callable[[os.PathLike[str]], Expected]


SCENARIOS: list[Scenario] = []


def scenario(write):
    """Register a builder under its own name."""
    SCENARIOS.append(Scenario(write.__name__, write))
    return write


def header_scenario(name: str, header: dict[str, Any], **expected: Any) -> None:
    """Register a file that differs from a typical one in some entries of its header."""

    def write(path):
        write_buffer(path, header)
        return expected

    SCENARIOS.append(Scenario(name, write))


def ramp(*shape: int, dtype: str = "<u2") -> np.ndarray:
    """Return data in which no two neighbours are equal and every byte of a sample is used."""
    step = {"<u2": 257, "<u4": 16_843_009, "<f4": 0.37}[dtype]
    return (np.arange(np.prod(shape)) * step).astype(dtype).reshape(shape)


# -- data: sample types, modes, blocks ----------------------------------------------------------------------------


@scenario
def spectrogram(path):
    data = ramp(20, 64)
    write_buffer(path, None, data)
    return {
        **{"data": data, "frq_bands": 64, "spec_count": 20, "sample_count": 1280, "bytes_per_sample": 2},
        **{"file_size": 2000 + 512 + 2560, "header_size": 2000, "db_count": 1, "full_blocks": 0},
        **{"db_size": 8192, "db_header_size": 512, "db_sample_count": 4096, "db_spec_count": 64},
        **{"project_id": 1001, "process": 1, "channel": 1, "streamno": 0, "datamode": 2, "datakind": 0, "datatype": 0},
        **{"process_time": 1_600_000_000, "process_date_time": "2020-09-13 12:26:40"},
        **{"last_modification_time": 1_600_000_060, "last_modification_date_time": "2020-09-13 12:27:40"},
        **{"process_measure_timestamp": 1_600_000_000_123, "process_measure_time_string": "2020-09-13 12:26:40.123"},
        **{"compression_frq": 8, "compression_time": 8, "avg_time": 1, "avg_frq": 1, "spec_duration": 81_920.0},
        **{"frq_start": 0, "frq_end": 50_000_000, "frq_per_band": 781_250.0, "adc_type": 1, "bit_resolution": 16},
        **{"fft_log_shift": 0, "max_amplitude_level": 65_535, "preamp_gain": 20, "partnumber": "Part 1"},
        **{"analyzer_version": "02.0c.03.04", "ref_energy": 781_250.0 * 81_920.0 / 1e9 / 65_535},
    }


@scenario
def signal(path):
    data = ramp(777)
    write_buffer(path, None, data)
    return {"data": data, "frq_bands": 1, "spec_count": 777, "datamode": DATAMODE.DATAMODE_SIGNAL, "ref_energy": 1.0}


@scenario
def signal_in_frames(path):
    data = ramp(777)
    write_buffer(path, {"framsize": 100}, data)  # the 77 samples of the last frame are dropped
    return {"data": data[:700], "spec_count": 7, "sample_count": 777}


@scenario
def four_byte_integers(path):
    data = ramp(9, 30, dtype="<u4")
    write_buffer(path, None, data)
    return {"data": data, "bytes_per_sample": 4}


@scenario
def floats(path):
    data = ramp(9, 30, dtype="<f4") - 7
    write_buffer(path, None, data)
    return {"data": data, "bytes_per_sample": 4}


@scenario
def floats_and_other_flags(path):
    data = ramp(9, 30, dtype="<f4")
    write_buffer(path, {"p__flags": 0x7FFFFFFF}, data)
    return {"data": data}


@scenario
def float_flag_on_two_byte_samples(path):
    data = ramp(9, 30)
    write_buffer(path, {"p__flags": 8}, data)
    return {"data": data}


@scenario
def four_byte_samples_without_flags(path):
    write_buffer(path, {"p__flags": None}, ramp(9, 30, dtype="<u4"))
    return {"data": MissingHeaderError, "spec_count": 9}


@scenario
def samples_of_three_bytes(path):
    write_buffer(path, {"b_p_samp": 3}, ramp(9, 30))
    return {"data": UnsupportedFormatError, "sample_count": 180, "spec_count": 6}


@scenario
def spectra_that_straddle_blocks(path):
    data = ramp(50, 30)
    write_buffer(path, {"db__size": 128, "dbhdsize": 64}, data)  # 64 samples, so 2 spectra and 4 samples, a block
    return {"data": data, "db_count": 24, "full_blocks": 23, "db_sample_count": 64, "db_spec_count": 2}


@scenario
def blocks_smaller_than_a_spectrum(path):
    data = ramp(7, 30, dtype="<f4")
    write_buffer(path, {"db__size": 8, "dbhdsize": 3}, data)
    return {"data": data, "db_count": 105, "full_blocks": 105, "db_spec_count": 0}


@scenario
def data_that_fill_their_blocks(path):
    data = ramp(32, 16)
    write_buffer(path, {"db__size": 256}, data)
    return {"data": data, "db_count": 4, "full_blocks": 4}


@scenario
def short_last_block(path):
    data = ramp(21, 16)
    write_buffer(path, {"db__size": 256}, data)
    return {"data": data, "db_count": 3, "full_blocks": 2}


@scenario
def blocks_without_headers(path):
    data = ramp(21, 16)
    write_buffer(path, {"db__size": 256, "dbhdsize": 0}, data)
    return {"data": data, "db_count": 3, "full_blocks": 2}


@scenario
def empty_block_headers(path):
    data = ramp(21, 16)
    write_buffer(path, {"db__size": 256}, data, block_headers=lambda number: None)
    return {"data": data}


def sub_data(words: int, described: int = 96, entries: int = 3, **keys: Any):
    """Return the block headers of blocks with so many entries of sub data, each that many words long."""

    def block_header(number):
        table = np.zeros((entries, words), "<i4")
        table[:, 0] = 20 << 16  # preamp_gain
        table[:, 1] = number  # mux_port
        table[:, 2] = np.arange(entries) // 2  # measure_positions
        table[:, 3] = ~0x0F  # inputs, inverted
        table[:, 5] = ~np.arange(entries)  # outputs, inverted
        table[:, 10:11] = 80  # in a wide entry: the sign of it
        size = {"sd_rsize": described, "sd_dsize": table.nbytes, "io_ports": ~0x030201}
        return {**size, **keys, "begin_subdat": table.tobytes()}

    return block_header


def sub_data_scenario(name: str, block_headers: Any, block_size: int = 288, **header: Any) -> None:
    """Register a file of 21 spectra, 32 bytes each, with sub data."""

    def write(path):
        data = ramp(21, 16)
        sizes = {"db__size": block_size, "dbhdsize": 2048, "sub_data": 1}
        write_buffer(path, {**sizes, **header}, data, block_headers=block_headers)
        return {"data": data, "last_spec": 21}

    SCENARIOS.append(Scenario(name, write))


sub_data_scenario("narrow_sub_data", sub_data(10))
sub_data_scenario("wide_sub_data", sub_data(20))
sub_data_scenario("an_entry_a_spectrum", sub_data(10, 32, 9))
sub_data_scenario("two_entries_a_spectrum", sub_data(20, 16, 18))
sub_data_scenario("one_and_a_half_entries_a_spectrum", sub_data(10, 21, 14))
sub_data_scenario("entries_of_one_and_a_half_spectra", sub_data(10, 48, 6))
sub_data_scenario("sub_data_of_spectra_that_straddle", sub_data(10, 32, 4), 72)
sub_data_scenario("sub_data_of_blocks_smaller_than_a_spectrum", sub_data(10, 32, 2), 20)
sub_data_scenario("too_few_entries", sub_data(10, 32, 5))
sub_data_scenario("sub_data_in_the_first_block_only", lambda number: {} if number else sub_data(10)(number))
sub_data_scenario("entries_that_describe_nothing", sub_data(10, 0))
sub_data_scenario("entries_that_describe_less_than_nothing", sub_data(10, -96))
sub_data_scenario("unknown_key_before_sub_data", sub_data(10, new_key4=b"\1\2\3\4"))
sub_data_scenario("spectra_without_duration", sub_data(10), framedur=None)


@scenario
def sub_data_that_begins_elsewhere(path):
    data = ramp(21, 16)
    blocks = [sub_data(10, 32, 9, **({"mux_port": 1} if number == 1 else {}))(number) for number in range(3)]
    write_buffer(path, {"db__size": 288, "dbhdsize": 2048}, data, block_headers=blocks)
    return {"data": data}


@scenario
def sub_data_cut_in_the_last_header(path):
    data = ramp(21, 16)
    write_buffer(path, {"db__size": 288, "dbhdsize": 2048}, data, block_headers=sub_data(10, 32, 9))
    cut(path, 2000 + 2 * (2048 + 288) + 100)
    return {"db_count": 3, "full_blocks": 2, "spec_count": 0}


# -- files that end early -----------------------------------------------------------------------------------------


def cut(path, size: int) -> None:
    os.truncate(path, size)


@scenario
def header_only(path):
    write_buffer(path, None, ramp(0, 16))
    return {"data": ramp(0, 16), "db_count": 0, "full_blocks": 0, "sample_count": 0, "spec_count": 0}


@scenario
def header_only_signal(path):
    write_buffer(path, None, ramp(0))
    return {"data": ramp(0), "spec_count": 0}


@scenario
def end_in_the_first_block_header(path):
    cut(write_buffer(path, None, ramp(21, 16)), 2000 + 100)
    return {"data": ramp(0, 16), "db_count": 1, "full_blocks": 0, "sample_count": 0, "spec_count": 0}


@scenario
def end_in_the_second_block_header(path):
    data = ramp(21, 16)
    cut(write_buffer(path, {"db__size": 256}, data), 2000 + 512 + 256 + 512 - 100)
    # the second header counts in full, although 100 bytes of it are missing: that many bytes of data go with it
    return {"data": data[:4], "db_count": 2, "full_blocks": 1, "sample_count": (256 - 100) // 2, "spec_count": 4}


@scenario
def end_in_a_spectrum(path):
    data = ramp(21, 16)
    cut(write_buffer(path, {"db__size": 256}, data), 2000 + 512 + 256 + 512 + 40)
    return {"data": data[:9], "sample_count": 148, "spec_count": 9}


@scenario
def end_in_a_sample(path):
    data = ramp(21, 16, dtype="<u4")
    cut(write_buffer(path, None, data), 2000 + 512 + 64 * 3 + 5)
    return {"data": data[:3], "sample_count": 49, "spec_count": 3}


# -- the header: missing keys and their defaults ------------------------------------------------------------------

header_scenario("without_streamno", {"streamno": None}, streamno=None)
header_scenario("without_datatype", {"datatype": None}, datatype=-1)
header_scenario(
    "without_proctime",
    {"proctime": None},
    process_time=0,
    process_date_time=MissingHeaderError,
    process_measure_timestamp=1_600_000_000_123,
)
header_scenario(
    "without_lmodtime",
    {"lmodtime": None},
    last_modification_time=0,
    last_modification_date_time="1970-01-01 00:00:00",
)
header_scenario(
    "without_epoctime",
    {"epoctime": None},
    process_measure_timestamp=1_600_000_000_000,
    process_measure_time_string="2020-09-13 12:26:40.000",
)
header_scenario(
    "without_times",
    {"epoctime": None, "proctime": None},
    process_measure_timestamp=MissingHeaderError,
    process_measure_time_string=MissingHeaderError,
)
header_scenario("without_b_p_samp", {"b_p_samp": None}, bytes_per_sample=2, spec_count=20)
header_scenario("without_averages", {"auxpara1": None, "auxpara2": None}, avg_time=1, avg_frq=1)
header_scenario("without_startfrq", {"startfrq": None}, frq_start=0)
header_scenario("without_end__frq", {"end__frq": None}, frq_end=50_000_000.0)
header_scenario(
    "without_frqpband",
    {"end__frq": None, "frqpband": None},
    frq_end=MissingHeaderError,
    frq_per_band=MissingHeaderError,
    ref_energy=MissingHeaderError,
)
header_scenario("without_an4dvers", {"an4dvers": None}, analyzer_version=None)
header_scenario("without_asc_part", {"asc_part": None}, partnumber="")
header_scenario("without_block_sizes", {"db__size": None, "dbhdsize": None}, db_count=MissingHeaderError, process=1)
header_scenario("without_max_ampl", {"max_ampl": None}, max_amplitude_level=MissingHeaderError, process=1)
for _key, _name in {
    **{"proj__id": "project_id", "proc_cnt": "process", "dumpchan": "channel", "datamode": "datamode"},
    **{"datakind": "datakind", "adc_type": "adc_type", "frqratio": "compression_frq", "comratio": "compression_time"},
    **{"adbitres": "bit_resolution", "fftlogsh": "fft_log_shift", "pampgain": "preamp_gain"},
}.items():
    header_scenario(f"without_{_key}", {_key: None}, **{_name: MissingHeaderError})

header_scenario("bands_by_framsize", {"framsize": 32, "s_p_fram": 16, "frqbands": 8}, frq_bands=32, spec_count=20)
header_scenario("bands_by_s_p_fram", {"framsize": None, "s_p_fram": 16, "frqbands": 8}, frq_bands=16, spec_count=80)
header_scenario("bands_by_frqbands", {"framsize": None, "s_p_fram": None, "frqbands": 8}, frq_bands=8, spec_count=160)
header_scenario(
    "bands_by_nothing",
    {"framsize": None, "s_p_fram": None, "frqbands": None},
    frq_bands=MissingHeaderError,
    spec_count=MissingHeaderError,
    data=MissingHeaderError,
    process=1,
)
header_scenario("no_bands_in_framsize", {"framsize": 0}, frq_bands=InvalidFileError, spec_count=InvalidFileError)
header_scenario("no_bands_in_s_p_fram", {"framsize": None, "s_p_fram": 0}, frq_bands=InvalidFileError)
header_scenario("negative_bands", {"framsize": -64}, frq_bands=InvalidFileError, data=InvalidFileError)

header_scenario("duration_by_fft", {"framedur": None}, spec_duration=81_920.0)
header_scenario("duration_by_fft_oversampled", {"framedur": None, "fftovers": 3}, spec_duration=10_240.0)
header_scenario(
    "duration_by_signal",
    {"framedur": None, "datamode": DATAMODE.DATAMODE_SIGNAL, "samplefr": 999_999_999, "comratio": 7},
    spec_duration=7,
)
header_scenario(
    "duration_by_nothing",
    {"framedur": None, "datamode": DATAMODE.DATAMODE_PLOT},
    spec_duration=MissingHeaderError,
    process=1,
)
header_scenario("duration_without_fftovers", {"framedur": None, "fftovers": None}, spec_duration=MissingHeaderError)

# -- the header: values -------------------------------------------------------------------------------------------

header_scenario("negative_process", {"proc_cnt": -5}, process=-5)
header_scenario("channel_zero", {"dumpchan": -1}, channel=0)
header_scenario("large_ids", {"proj__id": 2**64 - 1, "file__id": 2**63, "parentid": -(2**63)}, project_id=2**64 - 1)
header_scenario("large_streamno", {"streamno": 2**32 - 1}, streamno=2**32 - 1)
header_scenario("averages_of_zero", {"auxpara1": 0, "auxpara2": 5}, avg_time=0, avg_frq=5)
header_scenario("part_number_in_utf_8", {"asc_part": "Größe №7 🔩"}, partnumber="Größe №7 🔩")
header_scenario("part_number_not_utf_8", {"asc_part": b"Gr\xf6\xdfe"}, partnumber="Gr\ufffd\ufffde")
header_scenario("part_number_with_nul", {"asc_part": b"A\x00B\x00\x00"}, partnumber="AB")
header_scenario("part_number_empty", {"asc_part": b""}, partnumber="")
header_scenario("unknown_datamode", {"datamode": 77}, datamode=77)
header_scenario("unknown_datakind", {"datakind": 105}, datakind=105)
header_scenario("unknown_datatype", {"datatype": -9}, datatype=-9)
header_scenario("unknown_adc_type", {"adc_type": 9}, adc_type=9)
header_scenario(
    "before_1970", {"epoctime": -1}, process_measure_timestamp=-1, process_measure_time_string="1969-12-31 23:59:59.999"
)
header_scenario("in_2106", {"proctime": 2**32 - 1}, process_date_time="2106-02-07 06:28:15")
header_scenario("amplitude_of_zero", {"max_ampl": 0}, ref_energy=781_250.0 * 81_920.0 / 1e9 / 131_072)
header_scenario("version", {"an4dvers": b"\x01\x02\xfe\xff"}, analyzer_version="ff.fe.02.01")
header_scenario("plot", {"datamode": DATAMODE.DATAMODE_PLOT}, spec_count=20)
for _shift in (0, 1, 8):
    for _bits in (14, 16, 24, 0):
        header_scenario(f"log_{_shift}_of_{_bits}_bits", {"fftlogsh": _shift, "adbitres": _bits}, fft_log_shift=_shift)
header_scenario("log_of_12_bits", {"fftlogsh": 8, "adbitres": 12}, bit_resolution=12)


@scenario
def logarithmic_floats(path):
    data = ramp(9, 30, dtype="<f4") - 40  # half of them negative
    write_buffer(path, {"fftlogsh": 8, "adbitres": 16}, data)
    return {"data": data}


@scenario
def logarithmic_integers(path):
    data = ramp(9, 30, dtype="<u4")
    write_buffer(path, {"fftlogsh": 4, "adbitres": 24}, data)
    return {"data": data}


# -- the header: form ---------------------------------------------------------------------------------------------


@scenario
def unknown_key_of_four_bytes(path):
    header = {"new_key4": b"\x01\x02\x03\x04", **typical_header()}
    write_buffer(path, header.items(), ramp(20, 64))
    return {"process": 1, "spec_count": 20}


@scenario
def unknown_key_of_eight_bytes(path):
    header = {"new_key8": b"\x01\x02\x03\x04\x05\x06\x07\x08", **typical_header()}
    write_buffer(path, header.items(), ramp(20, 64))
    return {"process": 1, "spec_count": 20}


@scenario
def unknown_keys_before_headsend(path):
    write_buffer(path, {"new_key4": b"\x01\x02\x03\x04", "new`key8": b"\x01\x02\x03\x04\x05\x06\x07\x08"})
    return {"process": 1, "spec_count": 20}


@scenario
def unknown_key_at_the_end(path):
    write_buffer(path, {"new_key4": b"\x01\x02\x03\x04", "headsend": None}, header_size=0)
    return {"process": 1, "spec_count": 20}


@scenario
def repeated_key(path):
    write_buffer(path, [*typical_header(proc_cnt=3).items(), ("proc_cnt", 4), ("proc_cnt", 5)], ramp(20, 64))
    return {"process": 5}


@scenario
def reversed_keys(path):
    write_buffer(path, reversed(typical_header().items()), ramp(20, 64))
    return {"process": 1, "spec_count": 20}


@scenario
def no_headsend(path):
    write_buffer(path, {"headsend": None}, header_size=0)
    return {"process": 1, "analyzer_version": "02.0c.03.04"}


@scenario
def no_headsend_but_padding(path):
    write_buffer(path, {"headsend": None}, header_size=2000)
    return {"process": 1, "analyzer_version": "02.0c.03.04"}


@scenario
def header_without_padding(path):
    write_buffer(path, header_size=0)
    return {"process": 1, "spec_count": 20}


@scenario
def header_beyond_4096_bytes(path):
    data = ramp(20, 64)
    write_buffer(path, {"proc_cnt": None, "comments": b"x" * 9000, "proc_sub": 1}, data)
    with open(path, "rb") as file:
        assert file.read().index(b"proc_sub") > 9000
    return {"data": data, "process": MissingHeaderError}


@scenario
def key_beyond_4096_bytes(path):
    header = {"comments": b"x" * 5000, "sparemem": bytes(5000), **typical_header(proc_cnt=9)}
    write_buffer(path, header.items(), ramp(20, 64))
    return {"process": 9, "spec_count": 20}


@scenario
def every_key(path):
    write_buffer(path, {"comments": "a comment", "sparemem": bytes(30), **REMAINING})
    return {"process": 1, "spec_count": 20}


REMAINING = {
    **{"savefrom": 1, "db_words": 4096, "avgtimba": 1, "avgfrqba": 1, "m_u_mask": 2**63, "datarate": 1.5},
    **{"frqshift": 0, "fftwinfu": 1, "tc__real": 8.0, "fc__real": 8.0, "proc_rng": 1, "proc_sub": 0, "poly_cnt": 0},
    **{"polycyid": 0, "del_lock": 0, "mux_port": 1, "dispgain": 0, "linfgain": 0, "auxpara0": 0, "auxpara3": 0},
    **{"auxpara4": 0, "auxpara5": 2**40, "skipsamp": 1, "skiptime": 2, "trunsamp": 3, "truntime": 4, "skiplfrq": 0},
    **{"trunhfrq": 0, "frameoff": 0, "realfrqc": 64, "sub_data": 0, "sd_dimen": 0, "sd_rsize": 128, "sd_rsizf": 128.0},
    **{"sd_dsize": 40, "frqmasks": 1, "frqinmas": 2**32 - 1, "eheaderf": 0, "baserate": 100_000_000, "interpol": 0},
    **{"dcoffset": -3, "dispralo": 0, "disprahi": 1, "rngtibeg": -1, "rngtiend": 2**62, "realsoff": 0},
    **{"extendid": 2**64 - 1, "sim_mode": 0, "partnoid": 2**32 - 1},
}
"""The keys that are in no typical header."""
