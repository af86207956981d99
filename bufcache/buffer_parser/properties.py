"""What a buffer file says of itself: every property, derived from the entries of its header."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable
from datetime import datetime, timedelta
from enum import IntEnum
from math import trunc
from typing import Any, TypeVar

from bufcache.buffer_parser import derived, geometry, layout
from bufcache.buffer_parser.header import Header, Value
from bufcache.buffer_parser.sources import SOURCES
from bufcache.errors import BufcacheError, InvalidFileError, MissingHeaderError

_EPOCH = datetime(1970, 1, 1)

T = TypeVar("T")
E = TypeVar("E", bound=IntEnum)


class Properties(ABC):
    """The properties of a buffer file, each with its header key.

    One whose key is missing in the header and that has no default raises MissingHeaderError; one that cannot be
    computed from what the header says raises InvalidFileError.
    """

    DATAMODE = layout.DATAMODE
    DATATYPE = layout.DATATYPE
    DATAKIND = layout.DATAKIND
    ADCTYPE = layout.ADCTYPE

    _known_blocks: tuple[Header, geometry.Blocks] | None = None

    @property
    @abstractmethod
    def filepath(self) -> str | os.PathLike[str]:
        """Path of the file, as it was given."""

    @property
    @abstractmethod
    def _header(self) -> Header:
        """The header, read when it is first needed."""

    # -- header values ----------------------------------------------------------------------------------------

    def _named(self, call: Callable[..., T], *arguments: Any) -> T:
        """Call, and put the path before the message of an error that lacks it."""
        try:
            return call(*arguments)
        except BufcacheError as error:
            place = f"{os.fspath(self.filepath)}: "
            if str(error).startswith(place):
                raise
            raise type(error)(f"{place}{error}") from None

    def _get(self, key: str, default: T) -> int | T:
        value: int | T = self._header.entries.get(key, default)
        return value

    def _from_source(self, name: str) -> int:
        """Return the value of the key that holds a property (`SOURCES`); what `_need` says goes for it, too."""
        source = SOURCES[name]
        if source.default is None:
            return self._need(name, *source.keys)
        return self._get(source.keys[0], source.default)

    def _need(self, name: str, *keys: str) -> int:
        """Return the value of the first of the keys that the header has, for the property `name`.

        A float where the layout says so: the property declares it.
        """
        entries = self._header.entries
        for key in keys:
            if key in entries:
                value: int = entries[key]
                return value
        raise MissingHeaderError(
            f"{os.fspath(self.filepath)}: {name} needs the header key {' or '.join(map(repr, keys))}, "
            "which this file lacks"
        )

    def _compute(self, name: str, compute: Callable[[], T]) -> T:
        """Compute what the header says; what cannot be computed is the file's fault."""
        try:
            return compute()
        except (ArithmeticError, ValueError) as error:
            raise InvalidFileError(
                f"{os.fspath(self.filepath)}: {name} cannot be computed from this header: {error}"
            ) from error

    def _at_least_one(self, name: str) -> int:
        value = self._from_source(name)
        if value < 1:
            keys = "/".join(SOURCES[name].keys)
            raise InvalidFileError(f"{os.fspath(self.filepath)}: {keys} is {value}; expected at least 1")
        return value

    @property
    def file_size(self) -> int:
        """Size of the file when it was opened, in bytes."""
        return self._header.file_size

    @property
    def header_size(self) -> int:
        """Size of the file header in bytes (``qassdata``)."""
        return len(self._header.raw)

    @property
    def header_hash(self) -> str:
        """SHA-256 of the file header, as hex digits."""
        return self._header.digest

    @property
    def metainfo(self) -> dict[str, Value]:
        """The known entries of the header in file order: key -> value.

        Text entries are raw bytes, ``an4dvers`` is 8 hex digits, ``headsend`` is None.
        """
        return dict(self._header.entries)

    @property
    def project_id(self) -> int:
        """Id of the project, unsigned 64 bits (``proj__id``)."""
        return self._from_source("project_id")

    @property
    def process(self) -> int:
        """Process number (``proc_cnt``)."""
        return self._from_source("process")

    @property
    def channel(self) -> int:
        """Channel, counted from 1 (``dumpchan`` + 1)."""
        return derived.channel(self._from_source("channel"))

    @property
    def streamno(self) -> int | None:
        """Stream of an extra channel (``streamno``), None where missing."""
        return self._get("streamno", None)

    @property
    def datamode(self) -> layout.DATAMODE | int:
        """What the samples are (``datamode``); an int where the enumeration does not know it."""
        return _member(layout.DATAMODE, self._from_source("datamode"))

    @property
    def datakind(self) -> layout.DATAKIND | int:
        """What the data are for (``datakind``); an int where the enumeration does not know it."""
        return _member(layout.DATAKIND, self._from_source("datakind"))

    @property
    def datatype(self) -> layout.DATATYPE | int:
        """How the data were made (``datatype``), COMP_UNDEF where missing."""
        return _member(layout.DATATYPE, self._from_source("datatype"))

    @property
    def adc_type(self) -> layout.ADCTYPE | int:
        """The converter (``adc_type``); an int where the enumeration does not know it."""
        return _member(layout.ADCTYPE, self._from_source("adc_type"))

    @property
    def bit_resolution(self) -> int:
        """Resolution of the data in bits (``adbitres``)."""
        return self._from_source("bit_resolution")

    @property
    def fft_log_shift(self) -> int:
        """Shift of the logarithm of FFT data (``fftlogsh``); 0 where they are not logarithmic."""
        return self._from_source("fft_log_shift")

    @property
    def max_amplitude_level(self) -> int:
        """Largest possible amplitude (``max_ampl``)."""
        return self._from_source("max_amplitude_level")

    @property
    def preamp_gain(self) -> int:
        """Preamplifier gain (``pampgain``)."""
        return self._from_source("preamp_gain")

    @property
    def analyzer_version(self) -> str | None:
        """Version of the software that wrote the file, as ``02.0c.03.04`` (``an4dvers``), None where missing."""
        digits = self._header.entries.get("an4dvers")
        if digits is None:
            return None
        return derived.analyzer_version(bytes.fromhex(digits.decode("ascii")))

    @property
    def partnumber(self) -> str:
        """Part number (``asc_part`` as UTF-8, what is not UTF-8 replaced, without NUL characters)."""
        return derived.partnumber(self._header.entries.get("asc_part", b""))

    # -- times ------------------------------------------------------------------------------------------------

    @property
    def process_time(self) -> int:
        """Creation time of the file in Unix seconds (``proctime``), 0 where missing."""
        return self._from_source("process_time")

    @property
    def process_date_time(self) -> str:
        """Creation time of the file, UTC, as ``2024-05-17 08:30:00`` (``proctime``)."""
        return derived.date_time(self._from_source("process_date_time"))

    @property
    def last_modification_time(self) -> int:
        """Last modification in Unix seconds (``lmodtime``), 0 where missing."""
        return self._from_source("last_modification_time")

    @property
    def last_modification_date_time(self) -> str:
        """Last modification, UTC, as ``2024-05-17 08:30:00`` (``lmodtime``)."""
        return derived.date_time(self.last_modification_time)

    @property
    def process_measure_timestamp(self) -> int:
        """Start of the measurement in Unix milliseconds (``epoctime``, else ``proctime`` * 1000)."""
        if (milliseconds := self._get("epoctime", None)) is not None:
            return milliseconds
        return self._need("process_measure_timestamp", "epoctime", "proctime") * 1000

    @property
    def process_measure_time_string(self) -> str:
        """Start of the measurement, UTC, as ``2024-05-17 08:30:00.250``."""
        milliseconds = self.process_measure_timestamp
        return self._compute(
            "process_measure_time_string",
            lambda: (_EPOCH + timedelta(milliseconds=milliseconds)).isoformat(" ", "milliseconds"),
        )

    @property
    def spec_duration(self) -> float:
        """Duration of a spectrum in ns (``framedur``, else from ``samplefr``, ``fftovers`` and ``comratio``)."""
        if (duration := self._get("framedur", None)) is not None:
            return duration
        mode = self._need("spec_duration", "framedur", "datamode")
        if mode == layout.DATAMODE.DATAMODE_FFT:
            rate, ratio = self._rate_and_ratio()
            oversampling = self._need("spec_duration", "fftovers")
            return self._compute("spec_duration", lambda: derived.fft_duration(rate, 2.0**oversampling, ratio))
        if mode == layout.DATAMODE.DATAMODE_SIGNAL:
            rate, ratio = self._rate_and_ratio()
            return self._compute("spec_duration", lambda: trunc(derived.signal_duration(rate, ratio)))
        return self._need("spec_duration", "framedur")

    def _rate_and_ratio(self) -> tuple[int, int]:
        return self._need("spec_duration", "samplefr"), self._need("spec_duration", "comratio")

    def getSpecDuration(self) -> float:
        """Return `spec_duration`."""
        return self.spec_duration

    def spec_to_time_ns(self, spec: int) -> float:
        """Return the time in ns at which a spectrum starts."""
        return spec * self.spec_duration

    def time_to_spec(self, time_ns: float) -> int:
        """Return the index of the spectrum at a time in ns."""
        duration = self.spec_duration
        return self._compute("time_to_spec", lambda: trunc(time_ns / duration))

    # -- frequencies ------------------------------------------------------------------------------------------

    @property
    def frq_bands(self) -> int:
        """Frequency bands of a spectrum: samples of a frame (``framsize``, else ``s_p_fram``, else ``frqbands``)."""
        return self._at_least_one("frq_bands")

    @property
    def frq_per_band(self) -> float:
        """Width of a band in Hz (``frqpband``)."""
        return self._from_source("frq_per_band")

    @property
    def frq_start(self) -> int:
        """Lowest frequency in Hz (``startfrq``), 0 where missing."""
        return self._from_source("frq_start")

    @property
    def frq_end(self) -> float:
        """Highest frequency in Hz (``end__frq``, else `frq_bands` * `frq_per_band`)."""
        end = self._get("end__frq", None)
        return derived.frq_end(self.frq_bands, self.frq_per_band) if end is None else end

    @property
    def compression_frq(self) -> int:
        """Frequency compression factor (``frqratio``)."""
        return self._from_source("compression_frq")

    @property
    def compression_time(self) -> int:
        """Time compression factor (``comratio``)."""
        return self._from_source("compression_time")

    @property
    def avg_time(self) -> int:
        """Moving average over time (``auxpara1``), 1 where missing."""
        return self._from_source("avg_time")

    @property
    def avg_frq(self) -> int:
        """Moving average over frequency (``auxpara2``), 1 where missing."""
        return self._from_source("avg_frq")

    @property
    def ref_energy(self) -> float:
        """Reference energy in V·s·Hz (from ``max_ampl``, `frq_per_band`, `spec_duration`)."""
        amplitude = self._need("ref_energy", "max_ampl")
        if amplitude == 0:
            return self.frq_per_band * self.spec_duration / 1e9 / 131072
        if self.frq_bands > 1:
            return self.frq_per_band * self.spec_duration / 1e9 / amplitude
        return 1.0

    @property
    def refEnergy(self) -> float:
        """The same as `ref_energy`."""
        return self.ref_energy

    # -- blocks and counts ------------------------------------------------------------------------------------

    @property
    def db_header_size(self) -> int:
        """Size of a block header in bytes (``dbhdsize``)."""
        return self._from_source("db_header_size")

    @property
    def db_size(self) -> int:
        """Data bytes of a full block (``db__size``)."""
        return self._from_source("db_size")

    @property
    def bytes_per_sample(self) -> int:
        """Bytes of a sample (``b_p_samp``), 2 where missing."""
        return self._at_least_one("bytes_per_sample")

    @property
    def db_count(self) -> int:
        """Number of data blocks; the last may be incomplete."""
        return self._blocks.count

    @property
    def full_blocks(self) -> int:
        """Number of complete data blocks."""
        return self._blocks.full

    @property
    def db_sample_count(self) -> int:
        """Samples of a full block."""
        return derived.samples(self._blocks.db_size, self.bytes_per_sample)

    @property
    def db_spec_count(self) -> int:
        """Whole spectra that a full block has room for."""
        return derived.spectra(self.db_sample_count, self.frq_bands)

    @property
    def sample_count(self) -> int:
        """Samples in the file."""
        return derived.samples(self._blocks.data_size, self.bytes_per_sample)

    @property
    def spec_count(self) -> int:
        """Whole spectra in the file; of a signal, whole frames of `frq_bands` samples."""
        return derived.spectra(self.sample_count, self.frq_bands)

    def getRealSpecCount(self) -> int:
        """Return `spec_count`."""
        return self.spec_count

    @property
    def _blocks(self) -> geometry.Blocks:
        """Where the blocks lie; computed once for a header and a size of the file."""
        header = self._header
        if self._known_blocks is None or self._known_blocks[0] is not header:
            self._known_blocks = header, self._find_blocks()
        return self._known_blocks[1]

    def _find_blocks(self) -> geometry.Blocks:
        sizes = self.file_size, self.header_size, self.db_header_size, self.db_size
        return self._named(geometry.blocks, *sizes)


def _member(enumeration: type[E], value: int) -> E | int:
    """Return the member with that value, or the value itself: an unknown one is data, not damage."""
    try:
        return enumeration(value)
    except ValueError:
        return value
