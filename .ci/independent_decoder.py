#!/usr/bin/env python3
"""Reads the log files of a topic for each codec with decoders of Kafka's format that are not ours, and compares what
they give with what the library says they hold: `independent_decoder.py DIR OUT.jsonl`.

Uses kafka-python, and aiokafka where it is installed.
"""

import importlib
import importlib.metadata
import importlib.util
import json
import sys
from pathlib import Path


# As in the attributes of a batch.
CODECS = ["uncompressed", "gzip", "snappy", "lz4", "zstd"]


class Different(Exception):
    """The decoder and the library disagree."""


def check(holds, what):
    # No assertion: those can be switched off.
    if not holds:
        raise Different(what)


def unhex(text):
    return None if text is None else bytes.fromhex(text)


def expected_records(path):
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            record = json.loads(line)
            headers = [(name, unhex(value)) for name, value in record["headers"]]
            yield (record["offset"], record["timestamp"], unhex(record["key"]), unhex(record["value"]), headers)


def decode(memory_records, files, codec):
    """Every record of the files, in order; checks how the batches follow on one another, and their codec."""
    batches, compressed, records = 0, 0, []
    next_offset = 0
    for file in files:
        data = file.read_bytes()
        check(int(file.stem) == next_offset, f"{file.name} does not begin at offset {next_offset}")
        batches_here = memory_records.MemoryRecords(data)
        decoded = 0
        while batches_here.has_next():
            batch = batches_here.next_batch()
            where = f"{file.name}, batch at byte {decoded}"
            check(batch.magic == 2, f"{where}: message format {batch.magic}")
            check(batch.validate_crc(), f"{where}: the checksum is wrong")
            check(batch.base_offset == next_offset, f"{where}: base offset {batch.base_offset}, not {next_offset}")
            check(not batch.is_control_batch, f"{where}: a control batch")
            # One that would grow is left as it is.
            check(batch.compression_type in (0, codec), f"{where}: codec {batch.compression_type}")
            compressed += batch.compression_type != 0
            # Bytes 8 to 12 are the length behind them.
            decoded += 12 + int.from_bytes(data[decoded + 8 : decoded + 12], "big")
            timestamps = []
            for record in batch:
                headers = [(name, none_or_bytes(value)) for name, value in record.headers]
                key, value = none_or_bytes(record.key), none_or_bytes(record.value)
                records.append((record.offset, record.timestamp, key, value, headers))
                timestamps.append(record.timestamp)
            check(max(timestamps) == batch.max_timestamp, f"{where}: max timestamp {batch.max_timestamp}")
            check(records[-1][0] + 1 == batch.next_offset, f"{where}: next offset {batch.next_offset}")
            next_offset = batch.next_offset
            batches += 1
        check(decoded == len(data), f"{file.name}: {len(data) - decoded} bytes behind the last batch")
    return batches, compressed, records


def none_or_bytes(value):
    return None if value is None else bytes(value)


def compare(package, module, files, codec, expected):
    memory_records = importlib.import_module(module)
    batches, compressed, records = decode(memory_records, files, codec)
    check(codec == 0 or compressed > batches / 2, f"{compressed} of {batches} batches are compressed")
    for ours, theirs in zip(expected, records):
        check(ours == theirs, f"offset {ours[0]}: the library says {ours!r}, the decoder {theirs!r}")
    check(len(expected) == len(records), f"the library says {len(expected)} records, the decoder {len(records)}")
    version = importlib.metadata.version(package)
    print(
        f"independent decoder: {package} {version}: {CODECS[codec]}: {batches} batches, {compressed} compressed, "
        f"{sum(file.stat().st_size for file in files)} bytes, {len(records)} records, equal"
    )


def main():
    directory, out = sys.argv[1:]
    expected = list(expected_records(out))
    try:
        # A sample that is too small would show nothing.
        check(len(expected) > 0, "no records")
        for codec, name in enumerate(CODECS):
            files = sorted(Path(directory, f"sample-{name}-0").glob("*.log"))
            check(len(files) >= 2, f"{len(files)} segments, and several are needed")
            compare("kafka-python", "kafka.record.memory_records", files, codec, expected)
            if importlib.util.find_spec("aiokafka"):
                compare("aiokafka", "aiokafka.record.memory_records", files, codec, expected)
    except Different as difference:
        print(f"independent decoder: DIFFERENT: {difference}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
