"""Where each property comes from, as a table: the header keys that hold it, and what it is without them."""

from __future__ import annotations

from typing import NamedTuple

from bufcache.buffer_parser.layout import DATATYPE


class Source(NamedTuple):
    """The keys of which the first that a header has holds the property; its value where there is none."""

    keys: tuple[str, ...]
    default: int | None = None


SOURCES: dict[str, Source] = {
    "project_id": Source(("proj__id",)),
    "process": Source(("proc_cnt",)),
    "channel": Source(("dumpchan",)),
    "streamno": Source(("streamno",)),
    "datamode": Source(("datamode",)),
    "datakind": Source(("datakind",)),
    "datatype": Source(("datatype",), DATATYPE.COMP_UNDEF),
    "adc_type": Source(("adc_type",)),
    "bit_resolution": Source(("adbitres",)),
    "fft_log_shift": Source(("fftlogsh",)),
    "max_amplitude_level": Source(("max_ampl",)),
    "preamp_gain": Source(("pampgain",)),
    "process_time": Source(("proctime",), 0),
    "process_date_time": Source(("proctime",)),
    "last_modification_time": Source(("lmodtime",), 0),
    "db_header_size": Source(("dbhdsize",)),
    "db_size": Source(("db__size",)),
    "bytes_per_sample": Source(("b_p_samp",), 2),
    "frq_bands": Source(("framsize", "s_p_fram", "frqbands")),
    "frq_per_band": Source(("frqpband",)),
    "frq_start": Source(("startfrq",), 0),
    "compression_frq": Source(("frqratio",)),
    "compression_time": Source(("comratio",)),
    "avg_time": Source(("auxpara1",), 1),
    "avg_frq": Source(("auxpara2",), 1),
}
"""The properties that are the value of a key, or computed from that value alone."""
