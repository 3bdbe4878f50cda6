//! Configurations: what is read back, refused and in bounds.

use super::*;

#[test]
fn every_entry_reads_back_what_it_wrote() {
    let config = TopicConfig::new()
        .segment_bytes(2048)
        .segment_ms(Duration::from_secs(1))
        .segment_index_bytes(240)
        .index_interval_bytes(0)
        .max_message_bytes(999)
        .timestamp_type(TimestampType::LogAppendTime)
        .compression_type(Compression::Zstd)
        .compression_gzip_level(9)
        .compression_zstd_level(-5)
        .durability(Durability::Interval(Duration::from_millis(250)));
    let mut copy = TopicConfig::new();
    for (name, value) in config.entries() {
        assert_ne!(
            TopicConfig::new().get(name),
            Some(value.clone()),
            "{name} should differ from its default"
        );
        copy = copy.set(name, &value).unwrap();
    }
    assert_eq!(copy, config);
    assert_eq!(config.differences(&TopicConfig::new()).len(), ENTRIES.len());
}

#[test]
fn unknown_names_and_values_are_refused() {
    for (name, value) in [
        ("segment.byte", "1024"),
        ("segment.bytes", ""),
        ("segment.bytes", "-1"),
        ("segment.bytes", "1 KiB"),
        ("message.timestamp.type", "createtime"),
        ("compression.type", "none"),
        ("compression.type", "GZIP"),
        ("compression.gzip.level", "best"),
        ("compression.lz4.level", "9"),
        ("durability", "interval"),
        ("durability", "interval:-1"),
        ("durability", "the broker's"),
    ] {
        let error = TopicConfig::new().set(name, value).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error}");
    }
}

#[test]
fn bounds_are_inclusive() {
    assert!(TopicConfig::new().validate().is_ok());
    assert!(TopicConfig::new().segment_bytes(1024).validate().is_ok());
    assert!(TopicConfig::new().segment_bytes(1023).validate().is_err());
    assert!(TopicConfig::new().segment_bytes(MAX_I32 + 1).validate().is_err());
    assert!(TopicConfig::new().segment_ms(Duration::ZERO).validate().is_err());
    for (level, gzip, zstd) in [
        (-131_073, false, false),
        (-1, true, true),
        (0, false, true),
        (9, true, true),
        (10, false, true),
        (23, false, false),
    ] {
        assert_eq!(TopicConfig::new().compression_gzip_level(level).validate().is_ok(), gzip, "gzip {level}");
        assert_eq!(TopicConfig::new().compression_zstd_level(level).validate().is_ok(), zstd, "zstd {level}");
    }
    for (interval, possible) in [("0", false), ("1", true), ("86400000", true)] {
        let config = TopicConfig::new().set("durability", &format!("interval:{interval}"));
        assert_eq!(config.is_ok(), possible, "{interval}");
    }
    let never = Durability::Interval(Duration::ZERO);
    assert!(TopicConfig::new().durability(never).validate().is_err());
    let odd = Durability::Interval(Duration::from_micros(1500));
    assert!(TopicConfig::new().durability(odd).validate().is_err(), "not in whole milliseconds");
    assert!(TopicConfig::new().partitions(MAX_PARTITIONS).validate().is_ok());
    for partitions in [0, MAX_PARTITIONS + 1] {
        let error = TopicConfig::new().partitions(partitions).validate().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidPartitions);
    }
}
