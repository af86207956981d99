"""What follows from the values of a header: arithmetic on the numbers of one header, or on arrays of those of many.

Nothing is checked here: what may be asked with which values is the caller's to know.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

_EPOCH = datetime(1970, 1, 1)

Integers = TypeVar("Integers", int, NDArray[np.int64])
Floats = TypeVar("Floats", float, NDArray[np.float64])


def channel(dumpchan: Integers) -> Integers:
    """Return the channel, counted from 1, of one that is counted from 0."""
    return dumpchan + 1


# -- blocks and counts ------------------------------------------------------------------------------------------------


def are_impossible(db_header_size: Integers, db_size: Integers) -> bool | NDArray[np.bool_]:
    """Tell whether no block can have such sizes."""
    return (db_size < 1) | (db_header_size < 0)


def db_count(file_size: Integers, header_size: Integers, db_header_size: Integers, db_size: Integers) -> Integers:
    """Return the number of blocks; the last may be incomplete."""
    return -(-(file_size - header_size) // (db_size + db_header_size))


def full_blocks(file_size: Integers, header_size: Integers, db_header_size: Integers, db_size: Integers) -> Integers:
    """Return the number of complete blocks."""
    return (file_size - header_size) // (db_size + db_header_size)


def data_size(file_size: Integers, header_size: Integers, db_header_size: Integers, db_size: Integers) -> Integers:
    """Return the bytes of data in all blocks: 0 where the file ends inside its first block header."""
    size = file_size - header_size - db_count(file_size, header_size, db_header_size, db_size) * db_header_size
    return size * (size > 0)


def samples(data_size: Integers, bytes_per_sample: Integers) -> Integers:
    """Return the samples in so many bytes of data."""
    return data_size // bytes_per_sample


def spectra(samples: Integers, frq_bands: Integers) -> Integers:
    """Return the whole spectra in so many samples."""
    return samples // frq_bands


# -- durations and frequencies ----------------------------------------------------------------------------------------


def fft_duration(samplefr: Floats, oversampling: Floats, comratio: Floats) -> Floats:
    """Return the duration of a spectrum of an FFT, oversampled that many times, in ns."""
    return 1e9 / (samplefr * oversampling / 1024) * comratio


def signal_duration(samplefr: Floats, comratio: Floats) -> Floats:
    """Return the duration of a spectrum of a signal in ns; its whole part is what counts."""
    return 1e9 / samplefr * comratio


def frq_end(frq_bands: Floats, frq_per_band: Floats) -> Floats:
    """Return the highest frequency in Hz."""
    return frq_bands * frq_per_band


# -- texts, of one header ---------------------------------------------------------------------------------------------


def date_time(seconds: int) -> str:
    """Return a Unix time in seconds as ``2024-05-17 08:30:00``, UTC."""
    return (_EPOCH + timedelta(seconds=seconds)).isoformat(" ")


def analyzer_version(an4dvers: bytes) -> str:
    """Return the version of which a header holds these 4 bytes."""
    return an4dvers[::-1].hex(".")


def partnumber(asc_part: bytes) -> str:
    """Return the part number of which a header holds these bytes."""
    return asc_part.decode("utf-8", "replace").replace("\0", "")
