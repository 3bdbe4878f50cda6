// What Kafka's own code makes of the files of a partition; no broker runs. One file, run from its source.
//
//   records FILE…           every record as a line of JSON, in the form in which write_sample writes down what it sends;
//                           on standard error how many records and batches there were
//   indexes DIR INTERVAL    has Kafka's recovery of a segment make the indexes of every segment in DIR again, and compares
//                           what it has made, byte by byte, with what was there. DIR is a copy

import java.io.*;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.*;
import java.util.*;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.record.*;
import org.apache.kafka.common.record.Record;
import org.apache.kafka.common.utils.Time;
import org.apache.kafka.server.util.KafkaScheduler;
import org.apache.kafka.storage.internals.checkpoint.LeaderEpochCheckpointFile;
import org.apache.kafka.storage.internals.epoch.LeaderEpochFileCache;
import org.apache.kafka.storage.internals.log.*;

public class KafkaReads {
    public static void main(String[] args) throws Exception {
        var rest = List.of(args).subList(1, args.length);
        switch (args[0]) {
            case "records" -> records(rest);
            case "indexes" -> indexes(new File(rest.get(0)), rest.get(1));
            default -> throw new IllegalArgumentException(args[0]);
        }
    }

    static void records(List<String> files) throws IOException {
        long records = 0, batches = 0;
        var codecs = new TreeMap<String, Integer>();
        try (var out = new PrintStream(new BufferedOutputStream(System.out), false, StandardCharsets.UTF_8)) {
            for (String file : files) {
                try (var log = FileRecords.open(new File(file), false)) {
                    int end = 0;
                    for (var batch : log.batches()) {
                        batch.ensureValid();
                        for (var record : batch) {
                            record.ensureValid();
                            out.println(line(record));
                            records++;
                        }
                        codecs.merge(batch.compressionType().name, 1, Integer::sum);
                        end += batch.sizeInBytes();
                        batches++;
                    }
                    // What is no batch ends an iteration without a word.
                    if (end != new File(file).length()) {
                        throw new IllegalStateException(file + ": batches up to byte " + end);
                    }
                }
            }
        }
        System.err.println(records + " records in " + batches + " batches " + codecs);
    }

    static String line(Record record) {
        var headers = new StringJoiner(", ", "[", "]");
        for (Header header : record.headers()) {
            headers.add("[\"" + header.key() + "\", " + hex(header.value()) + "]");
        }
        return String.format("{\"offset\": %d, \"timestamp\": %d, \"key\": %s, \"value\": %s, \"headers\": %s}",
            record.offset(), record.timestamp(), hex(record.key()), hex(record.value()), headers);
    }

    static String hex(ByteBuffer buffer) {
        if (buffer == null) {
            return "null";
        }
        byte[] bytes = new byte[buffer.remaining()];
        buffer.duplicate().get(bytes);
        return hex(bytes);
    }

    static String hex(byte[] bytes) {
        return bytes == null ? "null" : "\"" + HexFormat.of().formatHex(bytes) + "\"";
    }

    static void indexes(File dir, String interval) throws Exception {
        var config = new LogConfig(Map.of("index.interval.bytes", interval));
        var partition = new TopicPartition("partition", 0);
        var producers = new ProducerStateManager(partition, dir, 900_000, new ProducerStateManagerConfig(86_400_000, false), Time.SYSTEM);
        var checkpoint = new LeaderEpochCheckpointFile(LeaderEpochCheckpointFile.newFile(dir), new LogDirFailureChannel(1));
        var epochs = new LeaderEpochFileCache(partition, checkpoint, new KafkaScheduler(1));
        long offsets = 0, times = 0, segments = 0;
        for (String name : new TreeSet<>(List.of(dir.list((in, file) -> file.endsWith(".log"))))) {
            Path path = dir.toPath().resolve(name);
            byte[] index = Files.readAllBytes(sibling(path, ".index")), time = Files.readAllBytes(sibling(path, ".timeindex"));
            // What is made is all that is there then.
            Files.delete(sibling(path, ".index"));
            Files.delete(sibling(path, ".timeindex"));
            long base = Long.parseLong(name.substring(0, 20));
            var segment = LogSegment.open(dir, base, config, Time.SYSTEM, true, 0, false, "");
            int cut = segment.recover(producers, epochs);
            segment.close();
            if (cut != 0) {
                throw new IllegalStateException(name + ": Kafka has cut " + cut + " bytes");
            }
            same(sibling(path, ".index"), index, 8);
            same(sibling(path, ".timeindex"), time, 12);
            offsets += index.length / 8;
            times += time.length / 12;
            segments++;
        }
        System.out.println(segments + " segments, " + offsets + " offset index entries, " + times + " time index entries");
    }

    static Path sibling(Path log, String suffix) {
        return log.resolveSibling(log.getFileName().toString().replace(".log", suffix));
    }

    static void same(Path made, byte[] found, int size) throws IOException {
        int at = Arrays.mismatch(Files.readAllBytes(made), found);
        if (at >= 0) {
            throw new IllegalStateException(made + ": entry " + at / size + " is not the one that Kafka makes");
        }
    }
}
