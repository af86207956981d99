"""BufferMetadata: what the cache keeps of one buffer file, and the template to ask with."""

from __future__ import annotations

import os
from typing import Any, ClassVar

from bufcache.buffer_metadata_cache.documents import Document
from bufcache.buffer_metadata_cache.kinds import Boolean, Float, Integer, Member, Number, PathText, Text
from bufcache.buffer_metadata_cache.query import Field, JoinedPath
from bufcache.buffer_parser.layout import ADCTYPE, DATAKIND, DATAMODE, DATATYPE

_NOT_OF_THE_BUFFER = frozenset({"id", "directory_path", "filename"})


class BufferMetadata(Document):
    """Metadata of one buffer file, or a template for such files.

    On an instance each field is a value, None where it is not known; on the class it builds predicates:
    ``BufferMetadata.process > 100``. `properties` names the fields that describe a buffer, in order; the others
    are `machine_id`, `opening_error` and the fingerprint `file_size`, `mtime_ns`, `is_racy`. A new instance takes the
    values of fields by name.

    Raises
    ------
    TypeError
        A name that is no field; the message names the nearest one.
    """

    __tablename__ = "buffer_metadata"

    properties: ClassVar[tuple[str, ...]]

    id: Field[int] = Field(Integer(), "Number of the entry in the cache; it stays when the file changes")
    project_id: Field[int] = Field(Integer(signed=False), "Id of the project, unsigned 64 bits")
    directory_path: Field[str] = Field(PathText(has_folder=True), "Folder of the file, absolute")
    filename: Field[str] = Field(PathText(), "Name of the file")
    header_size: Field[int] = Field(Integer(), "Size of the file header in bytes")
    process: Field[int] = Field(Integer(), "Process number")
    channel: Field[int] = Field(Integer(), "Channel, counted from 1")
    datamode: Field[DATAMODE | int] = Field(Member(DATAMODE), "What the samples are")
    datakind: Field[DATAKIND | int] = Field(Member(DATAKIND), "What the data are for")
    datatype: Field[DATATYPE | int] = Field(Member(DATATYPE), "How the data were made")
    process_time: Field[int] = Field(Integer(), "Creation time of the file, Unix s")
    process_date_time: Field[str] = Field(Text(), "Creation time of the file, UTC, YYYY-MM-DD hh:mm:ss")
    db_header_size: Field[int] = Field(Integer(), "Size of a block header in bytes")
    bytes_per_sample: Field[int] = Field(Integer(), "Bytes of a sample")
    db_count: Field[int] = Field(Integer(), "Number of data blocks")
    full_blocks: Field[int] = Field(Integer(), "Number of complete data blocks")
    db_size: Field[int] = Field(Integer(), "Data bytes of a full block")
    db_sample_count: Field[int] = Field(Integer(), "Samples of a full block")
    frq_bands: Field[int] = Field(Integer(), "Frequency bands of a spectrum")
    db_spec_count: Field[int] = Field(Integer(), "Whole spectra that a full block has room for")
    compression_frq: Field[int] = Field(Integer(), "Frequency compression factor")
    compression_time: Field[int] = Field(Integer(), "Time compression factor")
    avg_time: Field[int] = Field(Integer(), "Moving average over time")
    avg_frq: Field[int] = Field(Integer(), "Moving average over frequency")
    spec_duration: Field[float] = Field(Float(), "Duration of a spectrum, ns")
    frq_start: Field[int] = Field(Integer(), "Lowest frequency, Hz")
    frq_end: Field[float] = Field(Number(), "Highest frequency, Hz")
    frq_per_band: Field[float] = Field(Float(), "Width of a band, Hz")
    sample_count: Field[int] = Field(Integer(), "Samples in the file")
    spec_count: Field[int] = Field(Integer(), "Whole spectra in the file")
    adc_type: Field[ADCTYPE | int] = Field(Member(ADCTYPE), "The converter that took the samples")
    bit_resolution: Field[int] = Field(Integer(), "Resolution of the data, bits")
    fft_log_shift: Field[int] = Field(Integer(), "Shift of the logarithm of FFT data, 0 = not logarithmic")
    streamno: Field[int] = Field(Integer(), "Stream of an extra channel")
    preamp_gain: Field[int] = Field(Integer(), "Preamplifier gain")
    analyzer_version: Field[str] = Field(Text(), "Version of the software that wrote the file")
    partnumber: Field[str] = Field(Text(), "Part number")
    header_hash: Field[str] = Field(Text(), "SHA-256 of the file header, hex digits")
    machine_id: Field[str] = Field(Text(), "The machine whose paths these are, as its user calls it")
    opening_error: Field[str] = Field(Text(), "Why the file could not be read")
    file_size: Field[int] = Field(Integer(), "Fingerprint: size of the file in bytes")
    mtime_ns: Field[int] = Field(Integer(), "Fingerprint: modification time of the file, Unix ns")
    is_racy: Field[bool] = Field(Boolean(), "Fingerprint: true where the file was too new to be sure that it stays")
    filepath = JoinedPath(directory_path, filename, "Path of the file")

    @staticmethod
    def buffer_to_metadata(buffer: Any) -> BufferMetadata:
        """Copy every property that a buffer can give.

        Parameters
        ----------
        buffer
            A `Buffer`, or anything else that has a `filepath`.

        Returns
        -------
        BufferMetadata in which is None what the buffer does not have: a missing header key or attribute.

        Raises
        ------
        InvalidFileError
            What the header says cannot be true.
        """
        directory, filename = os.path.split(os.path.abspath(os.fspath(buffer.filepath)))
        metadata = BufferMetadata(directory_path=directory, filename=filename)
        values = metadata.__dict__
        for name in _OF_THE_BUFFER:
            try:
                values[name] = getattr(buffer, name)
            except (AttributeError, KeyError):
                continue
        return metadata


_BESIDE_THE_BUFFER = ("machine_id", "opening_error", "file_size", "mtime_ns", "is_racy", "filepath")
BufferMetadata.properties = tuple(name for name in BufferMetadata.__fields__ if name not in _BESIDE_THE_BUFFER)
_OF_THE_BUFFER = tuple(name for name in BufferMetadata.properties if name not in _NOT_OF_THE_BUFFER)
