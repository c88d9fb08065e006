//! Payloads by hand, all data types, and bytes that nobody meant.

use std::io::Write;

use proptest::prelude::*;

use super::*;

/// Writes payloads for the tests of the decoder and of what stands on it.
#[derive(Clone, Debug, Default)]
pub struct Writer(pub Vec<u8>);

impl Writer {
    pub fn varint(mut self, field: u8, number: u64) -> Self {
        self.0.push(field << 3);
        put_varint(&mut self.0, number);
        self
    }

    pub fn bytes(mut self, field: u8, bytes: &[u8]) -> Self {
        put_varint(&mut self.0, u64::from(field) << 3 | 2);
        put_varint(&mut self.0, bytes.len() as u64);
        self.0.extend(bytes);
        self
    }

    pub fn double(mut self, field: u8, number: f64) -> Self {
        self.0.push(field << 3 | 1);
        self.0.extend(number.to_le_bytes());
        self
    }

    pub fn float(mut self, field: u8, number: f32) -> Self {
        self.0.push(field << 3 | 5);
        self.0.extend(number.to_le_bytes());
        self
    }
}

/// A payload with this one metric, read back as the number of a birth's data type.
fn number(datatype: u32, write: impl FnOnce(Writer) -> Writer) -> Option<f64> {
    let metric = write(Writer::default().bytes(1, b"x"));
    let bytes = Writer::default().bytes(2, &metric.0).0;
    let payload = read(&bytes).unwrap();
    payload.metrics[0].number(datatype)
}

#[test]
fn every_data_type_is_read_as_its_number() {
    let int = |datatype, bits: u64| number(datatype, |to| to.varint(10, bits));
    let long = |datatype, bits: u64| number(datatype, |to| to.varint(11, bits));
    for (found, expected) in [
        (int(1, 0xFF), Some(-1.0)),
        (int(1, 0xFFFF_FFFF), Some(-1.0)),
        (int(1, u64::MAX), Some(-1.0)),
        (int(1, 300), None),
        (int(2, 0x8000), Some(-32_768.0)),
        (int(2, 40), Some(40.0)),
        (int(3, 0xFFFF_FFFE), Some(-2.0)),
        (long(3, u64::MAX), Some(-1.0)),
        (long(4, u64::MAX), Some(-1.0)),
        (int(4, 7), Some(7.0)),
        (int(5, 255), Some(255.0)),
        (int(5, 256), None),
        (int(6, 65_535), Some(65_535.0)),
        (int(7, 0xFFFF_FFFF), Some(4_294_967_295.0)),
        (long(7, 0xFFFF_FFFF), Some(4_294_967_295.0)),
        (long(7, 0x1_0000_0000), None),
        (long(8, 1 << 63), Some(9_223_372_036_854_775_808.0)),
        (long(13, 1_790_000_000_123), Some(1_790_000_000_123.0)),
        (number(9, |to| to.float(12, 0.9)), Some(0.9)),
        (number(10, |to| to.double(13, 1.25)), Some(1.25)),
        (number(0, |to| to.double(13, 1.25)), Some(1.25)),
        (number(11, |to| to.varint(14, 1)), Some(1.0)),
        (number(12, |to| to.bytes(15, b"0.4")), None),
        (number(0, |to| to.varint(10, 4)), None),
        (number(3, |to| to.double(13, 1.0)), None),
    ] {
        assert_eq!(found, expected);
    }
}

#[test]
fn a_metric_is_read_whole_and_strange_fields_are_skipped() {
    let quality = Writer::default().varint(1, 3).varint(3, 192);
    let properties = Writer::default()
        .bytes(1, b"engUnit")
        .bytes(1, b"Quality")
        .bytes(2, &Writer::default().bytes(8, b"%VOL").0)
        .bytes(2, &quality.0);
    let metric = Writer::default()
        .bytes(1, b"Gas/CH4")
        .varint(2, 7)
        .varint(3, 1_790_000_000_000)
        .varint(4, 10)
        .varint(5, 1)
        .bytes(8, b"metadata")
        .bytes(9, &properties.0)
        .double(13, 0.42)
        .bytes(19, b"extension");
    let bytes = Writer::default().varint(1, 5).bytes(2, &metric.0).varint(3, 255).bytes(4, b"uuid").0;
    let payload = read(&bytes).unwrap();
    assert_eq!((payload.timestamp, payload.seq), (Some(5), Some(255)));
    assert_eq!(
        payload.metrics,
        [Metric {
            name: Some("Gas/CH4"),
            alias: Some(7),
            timestamp: Some(1_790_000_000_000),
            datatype: 10,
            historical: true,
            null: false,
            quality: Some(192),
            value: Value::Double(0.42),
        }]
    );
}

#[test]
fn a_compressed_payload_is_unpacked_and_a_bomb_is_not() {
    let plain = Writer::default().varint(3, 9).0;
    let wrap = |body: &[u8]| Writer::default().bytes(4, COMPRESSED).bytes(5, body).0;
    let deflate = |bytes: &[u8]| {
        let mut to = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
        to.write_all(bytes).unwrap();
        to.finish().unwrap()
    };
    let packed = wrap(&deflate(&plain));
    assert_eq!(unpack(&packed).unwrap().as_ref(), plain);
    assert_eq!(unpack(&plain).unwrap().as_ref(), plain);
    assert_eq!(unpack(&wrap(&deflate(&vec![0; INFLATED_BYTES as usize + 1]))), Err(Error::TooLarge));
    assert_eq!(unpack(&wrap(b"no zlib")), Err(Error::Malformed));
}

#[test]
fn broken_and_oversized_payloads_are_refused() {
    for bytes in [&b"\x08"[..], b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", b"\x12\x05a", b"\x0b", b"\x00\x01"]
    {
        assert_eq!(read(bytes), Err(Error::Malformed), "{bytes:x?}");
    }
    assert_eq!(read(&Writer::default().bytes(2, &Writer::default().bytes(1, b"\xff").0).0), Err(Error::Malformed));
    assert_eq!(read(&[0x12, 0].repeat(MOST_METRICS)).unwrap().metrics.len(), MOST_METRICS);
    assert_eq!(read(&[0x12, 0].repeat(MOST_METRICS + 1)), Err(Error::TooLarge));
}

#[test]
fn the_command_is_one_that_we_can_read_ourselves() {
    let bytes = rebirth_request(1_790_000_000_123);
    let payload = read(&bytes).unwrap();
    assert_eq!((payload.timestamp, payload.seq), (Some(1_790_000_000_123), None));
    let [metric] = &payload.metrics[..] else { panic!("{payload:?}") };
    assert_eq!((metric.name, metric.value), (Some("Node Control/Rebirth"), Value::Boolean(true)));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(plain) = unpack(&bytes)
            && let Ok(payload) = read(&plain)
        {
            for metric in &payload.metrics {
                let numbers = (0..36).filter_map(|datatype| metric.number(datatype)).count();
                prop_assert!(numbers <= 36);
            }
            prop_assert!(payload.metrics.len() <= bytes.len().max(plain.len()));
        }
    }

    /// Sound payloads with a few bytes changed reach deeper than arbitrary ones.
    #[test]
    fn nor_does_a_payload_with_damage(
        at in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let property = Writer::default().bytes(1, b"Quality").bytes(2, &Writer::default().varint(3, 0).0);
        let metric = Writer::default().bytes(1, b"CH4").varint(2, 1).varint(4, 10).bytes(9, &property.0);
        let metric = metric.double(13, 1.0);
        let mut bytes = Writer::default().varint(1, 5).bytes(2, &metric.0).bytes(2, &metric.0).varint(3, 1).0;
        for (place, byte) in at {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        if let Ok(payload) = read(&bytes) {
            prop_assert!(payload.metrics.iter().all(|metric| metric.number(10).is_none_or(|n| n == n || n.is_nan())));
        }
    }
}
