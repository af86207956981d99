"""The buffer file format as tables: keys, types, meanings, enumerations. No logic.

All numbers are little-endian. A header is a run of entries: an ASCII key of 8 bytes, then the value in the
key's type. docs/file-format.md tells the whole format.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

MAGIC = b"qassdata"
"""The first key of every file header, and so the first 8 bytes of every buffer file."""

KEY_SIZE = 8
"""Bytes of a key."""

KEY_ALPHABET = b"0123456789_`abcdefghijklmnopqrstuvwxyz"
"""The bytes that a key is made of."""

LONG_KEY_SIZE = 12
"""Bytes of the two keys of a block header that frame its sub data."""

SUB_DATA_BEGIN = b"begin_subdat"
"""The key behind which the sub data of a block begin."""

SUB_DATA_END = b"end___subdat"
"""The key that ends the sub data of a block."""

FLOAT_SAMPLES = 8
"""The bit of ``p__flags`` that says: samples of 4 bytes are floats."""


class Entry(NamedTuple):
    """What a header key stands for.

    `code` is the type of the value: ``i4 u4 i8 u8 f8`` are numbers, ``var`` is a u4 length and that many bytes,
    ``hex4`` is 4 bytes that are shown as hexadecimal digits, ``raw`` runs up to the next known marker,
    ``none`` has no value.
    """

    code: str
    meaning: str
    unit: str = ""


FILE_HEADER: dict[str, Entry] = {
    "qassdata": Entry("i4", "header size", "bytes"),
    "filevers": Entry("i4", "file format version"),
    "datavers": Entry("i4", "data format version"),
    "savefrom": Entry("i4", "what saved the file"),
    "datamode": Entry("i4", "what the samples are, DATAMODE"),
    "datatype": Entry("i4", "how the data were made, DATATYPE"),
    "datakind": Entry("i4", "what the data are for, DATAKIND"),
    "framsize": Entry("i4", "samples a frame (spectrum)"),
    "smplsize": Entry("i4", "sample size"),
    "frqbands": Entry("i4", "frequency bands"),
    "db_words": Entry("i4", "words a data block"),
    "avgtimba": Entry("i4", "averaging over time", "bands"),
    "avgfrqba": Entry("i4", "averaging over frequency", "bands"),
    "m_u_mask": Entry("u8", "measuring unit mask"),
    "b_p_samp": Entry("i4", "bytes a sample"),
    "s_p_fram": Entry("i4", "samples a frame"),
    "db__size": Entry("i4", "data bytes of a full block"),
    "max_ampl": Entry("i4", "largest possible amplitude"),
    "nul_ampl": Entry("i4", "amplitude of zero"),
    "samplert": Entry("i4", "sample rate", "Hz"),
    "datarate": Entry("f8", "data rate"),
    "samplefr": Entry("i4", "sampling frequency", "Hz"),
    "frqshift": Entry("i4", "frequency shift"),
    "fftovers": Entry("i4", "log2 of the FFT oversampling"),
    "fftlogsh": Entry("i4", "logarithm shift of the FFT data, 0 = not logarithmic"),
    "fftwinfu": Entry("i4", "FFT window function"),
    "dbhdsize": Entry("i4", "block header size", "bytes"),
    "comratio": Entry("i4", "time compression factor"),
    "tc__real": Entry("f8", "real time compression"),
    "frqratio": Entry("i4", "frequency compression factor"),
    "fc__real": Entry("f8", "real frequency compression"),
    "proj__id": Entry("u8", "project id"),
    "file__id": Entry("u8", "file id"),
    "parentid": Entry("i8", "id of the parent file"),
    "proc_cnt": Entry("i4", "process number"),
    "proc_rng": Entry("i4", "process range"),
    "proc_sub": Entry("i4", "sub-process"),
    "poly_cnt": Entry("i4", "poly cycle count"),
    "polycyid": Entry("i4", "poly cycle id"),
    "dumpchan": Entry("i4", "channel, counted from 0"),
    "del_lock": Entry("i4", "deletion lock"),
    "proctime": Entry("u4", "creation time of the file", "Unix s"),
    "lmodtime": Entry("u4", "last modification", "Unix s"),
    "epoctime": Entry("i8", "start of the measurement", "Unix ms"),
    "mux_port": Entry("i4", "multiplexer port"),
    "pampgain": Entry("i4", "preamplifier gain"),
    "dispgain": Entry("i4", "display gain"),
    "linfgain": Entry("i4", "line-in gain"),
    "auxpara0": Entry("i4", "auxiliary parameter"),
    "auxpara1": Entry("i4", "moving average over time"),
    "auxpara2": Entry("i4", "moving average over frequency"),
    "auxpara3": Entry("i4", "auxiliary parameter"),
    "auxpara4": Entry("i4", "auxiliary parameter"),
    "auxpara5": Entry("i8", "auxiliary parameter"),
    "skipsamp": Entry("i8", "samples skipped"),
    "skiptime": Entry("i8", "time skipped"),
    "trunsamp": Entry("i8", "samples truncated"),
    "truntime": Entry("i8", "time truncated"),
    "skiplfrq": Entry("i4", "low bands skipped"),
    "trunhfrq": Entry("i4", "high bands truncated"),
    "startfrq": Entry("i4", "lowest frequency", "Hz"),
    "end__frq": Entry("i4", "highest frequency", "Hz"),
    "frqpband": Entry("f8", "width of a band", "Hz"),
    "framedur": Entry("f8", "duration of a frame", "ns"),
    "frameoff": Entry("i4", "frame offset"),
    "p__flags": Entry("i4", "bit 3 (value 8): samples are floats"),
    "realfrqc": Entry("i4", "real frequency count"),
    "sub_data": Entry("i4", "has sub data"),
    "sd_dimen": Entry("i4", "sub data dimension"),
    "sd_rsize": Entry("i4", "data bytes that a sub data entry describes"),
    "sd_rsizf": Entry("f8", "data bytes that a sub data entry describes, exact"),
    "sd_dsize": Entry("i4", "sub data size"),
    "frqmasks": Entry("u4", "frequency masks"),
    "frqinmas": Entry("u4", "inverted masks"),
    "eheaderf": Entry("u4", "extended header flags"),
    "adc_type": Entry("i4", "the converter, ADCTYPE"),
    "adbitres": Entry("i4", "bit resolution of the data"),
    "baserate": Entry("i8", "base rate"),
    "interpol": Entry("i4", "interpolation"),
    "dcoffset": Entry("i4", "DC offset"),
    "dispralo": Entry("i4", "display range low"),
    "disprahi": Entry("i4", "display range high"),
    "rngtibeg": Entry("i8", "range begin"),
    "rngtiend": Entry("i8", "range end"),
    "realsoff": Entry("i8", "real sample offset"),
    "extendid": Entry("u8", "extended id"),
    "sim_mode": Entry("i4", "simulation mode"),
    "partnoid": Entry("u4", "part number id"),
    "asc_part": Entry("var", "part number", "text"),
    "asc_desc": Entry("var", "description", "text"),
    "comments": Entry("var", "comment", "text"),
    "sparemem": Entry("var", "spare room"),
    "streamno": Entry("u4", "stream of an extra channel"),
    "an4dvers": Entry("hex4", "Analyzer4D version, bytes in reverse order"),
    "headsend": Entry("none", "end of the header"),
}
"""The keys of the file header."""

BLOCK_HEADER: dict[str, Entry] = {
    "blochead": Entry("i4", "block header size", "bytes"),
    "firstsam": Entry("i8", "first sample of the block, counted through the stream"),
    "lastsamp": Entry("i8", "last sample of the block plus 1, counted through the stream"),
    "dbfilled": Entry("i4", "filled part of the block"),
    "mux_port": Entry("i4", "multiplexer port"),
    "pampgain": Entry("i4", "preamplifier gain"),
    "dispgain": Entry("i4", "display gain"),
    "io_ports": Entry("i4", "input and output ports, inverted"),
    "dversion": Entry("i4", "version of the block header"),
    "sine_frq": Entry("i4", "frequency of the test sine"),
    "sine_amp": Entry("i4", "amplitude of the test sine"),
    "sd_dimen": Entry("i4", "sub data dimension"),
    "sd_rsize": Entry("i4", "data bytes that a sub data entry describes"),
    "sd_dsize": Entry("i4", "sub data size"),
    "begin_subdat": Entry("raw", "sub data, up to the first end___subdat"),
    "end___subdat": Entry("none", "end of the sub data"),
    "blockend": Entry("none", "end of the block header"),
}
"""The keys of a block header; the two that frame the sub data have 12 bytes."""


class DATAMODE(IntEnum):
    """What the samples of a buffer are."""

    DATAMODE_UNDEF = -1
    DATAMODE_COUNTER_UNUSED = 0
    DATAMODE_SIGNAL = 1
    DATAMODE_FFT = 2
    DATAMODE_PLOT = 3
    DATAMODE_OTHER = 4
    DATAMODE_VIDEO = 5
    DATAMODE_COUNT = 6


class DATATYPE(IntEnum):
    """How the data of a buffer were made from the measured signal."""

    COMP_INVALID = -2
    COMP_UNDEF = -1
    COMP_RAW = 0
    COMP_DOWNSAMPLE = 1
    COMP_MAXIMUM = 2
    COMP_AVERAGE = 3
    COMP_STD_DEVIATION = 4
    COMP_ENVELOP = 5
    COMP_MOV_AVERAGE = 6
    COMP_EXTERN_DATA = 7
    COMP_ANALYZE_OVERVIEW = 8
    COMP_MOV_AVERAGE_OPT = 9
    COMP_COLLECTION = 10
    COMP_IMPORT_SIG = 11
    COMP_SCOPE_RAW = 12
    COMP_MOV_AVERAGE_FRQ = 13
    COMP_SLOPECHANGE = 14
    COMP_OTHER = 15
    COMP_IO_SIGNAL = 16
    COMP_ENERGY = 17
    COMP_AUDIO_RAW = 18
    COMP_XY_PLOT = 19
    COMP_SECOND_FFT = 20
    COMP_AUDIO_COMMENT = 21
    COMP_CP_ENERGY_SIG = 22
    COMP_VID_MEASURE = 23
    COMP_VID_SCREEN = 24
    COMP_VID_EXT_LINK = 25
    COMP_ENVELOPE_UPPER = 26
    COMP_ENVELOPE_LOWER = 27
    COMP_PATTERN_REFOBJ = 28
    COMP_SIGNIFICANCE = 29
    COMP_SIGNIFICANCE_32 = 30
    COMP_PATTERN_MASK = 31
    COMP_GRADIENT_FRQ = 32
    COMP_CSV_EXPORT = 33
    COMP_COUNT = 34


class DATAKIND(IntEnum):
    """What the data of a buffer are for; values above 100 are the user's own counters."""

    KIND_UNDEF = -1
    KIND_NONE = 0
    KIND_SENSOR_TEST = 1
    KIND_PLOT_FREE_DATABLOCK_TIMING = 2
    KIND_PATTERN_REF_OBJ_COMPR = 3
    KIND_PATTERN_REF_OBJ_MASK = 4
    KIND_PATTERN_REF_OBJ_EXTRA = 5
    KIND_FREE_6 = 6
    KIND_FREE_7 = 7
    DATAKIND_CNT = 8
    KIND_CAN_NOT_BE_HANDLED = 8
    KIND_USER = 100


class ADCTYPE(IntEnum):
    """The analogue-digital converter that took the samples."""

    ADC_NOT_USED = 0
    ADC_LEGACY_14BIT = 0
    ADC_16BIT = 1
    ADC_24BIT = 2
