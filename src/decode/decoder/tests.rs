mod formats;

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::super::{RawBinding, RawPattern, default_patterns};
use super::*;
use crate::config::{Key, Problems};
use crate::ledger::Ledger;
use crate::model::{Kind, Point};

const NOW: Timestamp = Timestamp::from_secs(1_790_000_100);
const THEN: Timestamp = Timestamp::from_micros(1_790_000_000_123_000);

fn point(site: &str, local: &str) -> Point {
    Point {
        id: format!("{site}.{local}").into(),
        site: site.into(),
        name: local.to_owned(),
        kind: Kind::Methane,
        place: "T1".into(),
        unit: "%VOL".into(),
        range: None,
        resolution: 0.01,
        period: Duration::from_secs(1),
        limits: BTreeMap::new(),
        coordinates: None,
        static_risk: 0,
        calibrate_every: None,
        relations: BTreeMap::new(),
        retired: local == "old",
    }
}

/// A mine with four points, the last of them retired, and a site whose name holds a dot.
fn points() -> Arc<PointTable> {
    let list = ["t1", "co", "瓦斯", "old"].map(|local| point("hongli", local));
    Arc::new(PointTable::new(list.into_iter().chain([point("a.b", "c")]).collect()))
}

struct Desk {
    decoder: Decoder,
    account: Arc<Account>,
}

impl Desk {
    fn new(forms: Forms) -> Self {
        let account = Ledger::default().account("test");
        Self { decoder: Decoder::new(Arc::new(forms), points(), 4096), account }
    }

    fn of_defaults() -> Self {
        Self::new(Forms::new(default_patterns(), []))
    }

    fn of_toml(toml: &str) -> Self {
        Self::of_raw(toml::from_str(toml).unwrap())
    }

    fn of_raw(raw: RawPattern) -> Self {
        let mut problems = Problems::default();
        let pattern = raw.check(&Key::root(), &mut problems);
        Self::new(Forms::new(vec![pattern.unwrap_or_else(|| panic!("{problems:?}"))], []))
    }

    fn read(&mut self, topic: &str, payload: impl AsRef<[u8]>) -> Result<Vec<Sample>, Fate> {
        let mut samples = Vec::new();
        self.decoder.decode(topic.as_bytes(), payload.as_ref(), NOW, &mut samples, &self.account).map(|()| samples)
    }

    /// Points and values only.
    fn values(&mut self, topic: &str, payload: &str) -> Result<Vec<(u32, f64)>, Fate> {
        Ok(self.read(topic, payload)?.iter().map(|sample| (sample.point.0, sample.value)).collect())
    }

    fn counted(&self) -> Vec<(Fate, u64)> {
        self.account.seen().collect()
    }
}

#[test]
fn the_forms_that_need_no_configuration() {
    let mut desk = Desk::of_defaults();
    let one = [Sample::received(PointIndex(0), 0.42, Some(THEN), NOW)];
    for payload in [
        r#"{"value":0.42,"time":1790000000123}"#,
        " {\n \"time\" : 1790000000123000 , \"unit\":\"%VOL\", \"value\" : 4.2e-1 } ",
        r#"{"value":0.42,"time":"2026-09-21T14:13:20.123Z"}"#,
        r#"{"value":0.42,"time":1790000000.123,"tags":{"a":[1,2]}}"#,
        r#"{"value":9,"val\u0075e":0.42,"time":1790000000123}"#,
        r#"{"samples":[{"value":0.42,"time":1790000000123}]}"#,
        r#"[{"value":0.42,"time":1790000000123}]"#,
    ] {
        assert_eq!(desk.read("hongli/t1", payload).as_deref(), Ok(&one[..]), "{payload}");
    }
    assert_eq!(desk.read("hongli/t1", "0.42"), Ok(vec![Sample::received(PointIndex(0), 0.42, None, NOW)]));
    assert_eq!(desk.values("hongli/瓦斯", "true"), Ok(vec![(2, 1.0)]));
    assert_eq!(
        desk.values("hongli", r#"{"values":{"t1":1,"瓦斯":2.5},"time":1790000000}"#),
        Ok(vec![(0, 1.0), (2, 2.5)])
    );
    let named = r#"{"samples":[{"point":"co","value":3},{"point":"\u74e6斯","value":4}]}"#;
    assert_eq!(desk.values("hongli", named), Ok(vec![(1, 3.0), (2, 4.0)]));
    assert_eq!(desk.counted(), []);
}

#[test]
fn each_bad_message_has_its_own_fate_and_disturbs_nothing() {
    let mut desk = Desk::of_defaults();
    let oversized = format!("{{\"value\":1,\"x\":\"{}\"}}", "x".repeat(5_000));
    for (topic, payload, fate) in [
        ("hongli/t1", &b"{\"value\":0.42,\"ti"[..], Fate::NotJson),
        ("hongli/t1", b"", Fate::NotJson),
        ("hongli/t1", b"{\"value\":0.42} {}", Fate::NotJson),
        ("hongli/t1", b"{\"value\":1,}", Fate::NotJson),
        ("hongli/t1", b"{\"value\":0.42,\"x\":\"\xff\"}", Fate::NotUtf8),
        ("hongli/t1", b"value=0.42", Fate::NotJson),
        ("hongli/t1", oversized.as_bytes(), Fate::TooLarge),
        ("hongli/t1", b"{\"v\":0.42}", Fate::NoValue),
        ("hongli/t1", b"{\"value\":null}", Fate::NoValue),
        ("hongli/t1", b"{\"value\":\"0.42\"}", Fate::NoValue),
        ("hongli/t1", b"{\"value\":{\"x\":1}}", Fate::NoValue),
        ("hongli/t9", b"0.42", Fate::UnknownPoint),
        ("hongli/t 1", b"0.42", Fate::UnknownPoint),
        ("hongli/old", b"0.42", Fate::RetiredPoint),
        ("a/b.c", b"0.42", Fate::UnknownPoint),
        ("hongli/t1/raw", b"0.42", Fate::UnknownTopic),
    ] {
        assert_eq!(desk.read(topic, payload), Err(fate), "{topic} {}", String::from_utf8_lossy(payload));
        assert_eq!(desk.values("hongli/t1", r#"{"value":0.42}"#), Ok(vec![(0, 0.42)]), "after {topic}");
    }
    assert_eq!(desk.values("a.b/c", "7"), Ok(vec![(4, 7.0)]));
    let nobody = &mut Vec::new();
    assert_eq!(desk.decoder.decode(b"\xff/t1", b"1", NOW, nobody, &desk.account), Err(Fate::NotUtf8));
    let deep = format!("{{\"value\":1,\"x\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    let mut roomy = Decoder::new(Arc::new(Forms::new(default_patterns(), [])), points(), 1 << 20);
    assert_eq!(roomy.decode(b"hongli/t1", deep.as_bytes(), NOW, nobody, &desk.account), Err(Fate::NotJson));
}

/// A logger that writes NaN says that its sensor is broken: that must be seen, not dropped.
#[test]
fn numbers_that_are_none_become_bad_samples_and_are_counted() {
    let mut desk = Desk::of_defaults();
    let payloads = [
        r#"{"value":NaN,"time":1790000000123}"#,
        r#"{"value":-Infinity}"#,
        r#"{"x":{},"value":inf}"#,
        r#"{"value":1e400}"#,
        "nan",
    ];
    for payload in payloads {
        let samples = desk.read("hongli/t1", payload).unwrap();
        assert_eq!(samples.len(), 1, "{payload}");
        assert!(samples[0].quality.has(Reason::NonFinite) && !samples[0].quality.usable(), "{payload}");
        assert!(samples[0].value.is_finite());
    }
    assert_eq!(desk.counted(), [(Fate::BadValue, payloads.len() as u64)]);
    assert_eq!(desk.read("hongli/t1", r#"{"value":NaN5}"#), Err(Fate::NotJson));
}

#[test]
fn absurd_times_are_flagged_and_counted_missing_ones_are_only_flagged() {
    let mut desk = Desk::of_defaults();
    let mut read = |payload: &str| desk.read("hongli/t1", payload).unwrap()[0].quality.to_string();
    assert_eq!(read(r#"{"value":1,"time":1790000000}"#), "good");
    assert_eq!(read(r#"{"value":1}"#), "good:no_source_time");
    assert_eq!(read(r#"{"value":1,"time":null}"#), "good:no_source_time");
    for absurd in ["0", "-1", "1990000000", "\"soon\"", "true", "{}", "99999999999999999999", "1e999", "NaN"] {
        assert_eq!(read(&format!("{{\"value\":1,\"time\":{absurd}}}")), "uncertain:clock_wrong", "{absurd}");
    }
    assert_eq!(desk.counted(), [(Fate::BadTime, 9)]);
}

#[test]
fn one_bad_part_does_not_take_the_good_ones_with_it() {
    let mut desk = Desk::of_defaults();
    let many = r#"{"values":{"t1":1,"nobody":2,"old":3,"co":"high","瓦斯":[4]}}"#;
    assert_eq!(desk.values("hongli", many), Ok(vec![(0, 1.0)]));
    assert_eq!(desk.counted(), [(Fate::NoValue, 2), (Fate::UnknownPoint, 1), (Fate::RetiredPoint, 1)]);
    let mut desk = Desk::of_defaults();
    assert_eq!(
        desk.values("hongli/co", r#"[{"value":1},{"time":3},7,{"value":null},{"value":2}]"#),
        Ok(vec![(1, 1.0), (1, 2.0)])
    );
    assert_eq!(desk.counted(), [(Fate::NoValue, 3)]);
    let mut desk = Desk::of_defaults();
    let unnamed = r#"{"samples":[{"value":1},{"point":"t1","value":2},{"point":{},"value":3}]}"#;
    assert_eq!(desk.values("hongli", unnamed), Ok(vec![(0, 2.0)]));
    assert_eq!(desk.counted(), [(Fate::UnknownPoint, 2)]);
}

#[test]
fn configured_forms() {
    let mut desk = Desk::of_toml(
        "topic = \"gw/+/up\"\nsamples = \"$.devs[*].d[*]\"\npoint = \"$.id\"\nvalue = '$[\"odd name\"]'\ntime = \"$.t[0]\"\nstrings = true",
    );
    let payload = r#"{"devs":[{"d":[{"id":"hongli.t1","odd name":"0.5","t":[1790000000123,9]}]},{"d":[{"id":"hongli.co","odd name":" 7"}]}]}"#;
    let samples = desk.read("gw/7/up", payload).unwrap();
    assert_eq!(samples[0], Sample::received(PointIndex(0), 0.5, Some(THEN), NOW));
    assert_eq!((samples[1].point, samples[1].value), (PointIndex(1), 7.0));
    assert_eq!(desk.read("gw/7/up", r#"{"devs":7}"#), Err(Fate::NoValue));

    let mut desk = Desk::of_toml("topic = \"{site}/batch/#\"\nsamples = \"$[*]\"\nvalues = \"$.v\"\ntime = \"$.t\"");
    let samples =
        desk.read("hongli/batch/x", r#"[{"t":1790000000123,"v":{"t1":1,"co":2}},{"t":1790000000123,"v":{"t1":3}}]"#);
    let stamped = |point, value| Sample::received(PointIndex(point), value, Some(THEN), NOW);
    assert_eq!(samples, Ok(vec![stamped(0, 1.0), stamped(1, 2.0), stamped(0, 3.0)]));

    let mut desk = Desk::of_toml("topic = \"raw/{point}\"\nvalue = \"$\"");
    assert_eq!(desk.values("raw/hongli.co", "-0.5"), Ok(vec![(1, -0.5)]));
}

#[test]
fn points_that_share_a_topic_each_take_their_own_value() {
    let bind = |point: u32, topic: &str, value: &str| {
        let raw =
            RawBinding { topic: topic.into(), value: Some(value.into()), time: Some("$.ts".into()), strings: false };
        (PointIndex(point), raw.check(&Key::root(), &mut Problems::default()).unwrap())
    };
    let bindings = [
        bind(0, "plc7/ai", "$.ai[0]"),
        bind(1, "plc7/ai", "$.ai[1]"),
        bind(2, "hongli/t1", "$.v"),
        bind(3, "plc7/ai", "$.ai[0]"),
        bind(3, "plc8", "$.v"),
    ];
    let mut desk = Desk::new(Forms::new(default_patterns(), bindings));
    assert_eq!(desk.values("plc7/ai", r#"{"ts":1790000000,"ai":[5,6]}"#), Ok(vec![(0, 5.0), (1, 6.0)]));
    assert_eq!(desk.values("plc7/ai", r#"{"ts":1790000000,"ai":[5]}"#), Ok(vec![(0, 5.0)]), "left out is not lost");
    assert_eq!(desk.counted(), []);
    assert_eq!(desk.values("plc7/ai", r#"{"ai":[5,"x"]}"#), Ok(vec![(0, 5.0)]));
    assert_eq!(desk.counted(), [(Fate::NoValue, 1)]);
    assert_eq!(desk.values("plc7/ai", "{}"), Err(Fate::NoValue));
    // A bound topic is read by its bindings alone, and in one pass when it is flat.
    assert_eq!(desk.values("hongli/t1", r#"{"v":1,"value":2}"#), Ok(vec![(2, 1.0)]));
    assert!(desk.decoder.routes[&b"hongli/t1"[..]].quick.is_some());
    assert_eq!(desk.values("plc8", "{}"), Err(Fate::RetiredPoint));
}

#[test]
fn hostile_topics_do_not_fill_the_memory() {
    let mut desk = Desk::of_toml("topic = \"+/{site}/{point}\"");
    for i in 0..10_000 {
        assert_eq!(desk.read(&format!("{i}/hongli/nobody"), "{\"value\":1}"), Err(Fate::UnknownPoint));
    }
    assert_eq!(desk.decoder.routes.len(), 0);
    for i in 0..10_000 {
        assert_eq!(desk.values(&format!("{i}/hongli/t1"), "{\"value\":1}"), Ok(vec![(0, 1.0)]));
    }
    assert!(desk.decoder.routes.len() <= 2 * desk.decoder.points.len() + 64);
    let long = format!("{}/hongli/t1", "x".repeat(1_000));
    assert_eq!(desk.values(&long, "{\"value\":1}"), Ok(vec![(0, 1.0)]));
    assert!(!desk.decoder.routes.contains_key(long.as_bytes()));
}

/// Members of an object as the library reads them: the last of each name wins.
struct Library<'a>(BTreeMap<String, &'a RawValue>);

impl<'de> Deserialize<'de> for Library<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Library<'de>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = BTreeMap::new();
                while let Some((key, value)) = map.next_entry::<String, &'de RawValue>()? {
                    members.insert(key, value);
                }
                Ok(Library(members))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

/// What serde_json makes of `{"value": .., "time": ..}`; `None` where it has no opinion (half surrogates in keys).
fn by_library(payload: &[u8]) -> Option<Result<Sample, Fate>> {
    let Ok(text) = std::str::from_utf8(payload) else { return Some(Err(Fate::NotUtf8)) };
    if serde_json::from_str::<IgnoredAny>(text).is_err() {
        return Some(Err(Fate::NotJson));
    }
    if !text.trim_matches([' ', '\t', '\r', '\n']).starts_with('{') {
        return Some(Err(Fate::NoValue));
    }
    let members = serde_json::from_str::<Library<'_>>(text).ok()?.0;
    let time = members.get("time").map(|raw| raw.get()).filter(|text| *text != "null");
    let time = time.map(|text| {
        let plain = serde_json::from_str::<String>(text).unwrap_or_else(|_| text.to_owned());
        let whole = plain.parse::<i64>().ok().filter(|whole| *whole >= 100_000_000_000_000).map(Timestamp::from_micros);
        whole.or_else(|| Timestamp::parse(&plain)).unwrap_or(Timestamp::MIN)
    });
    let value = match members.get("value").map(|raw| raw.get()) {
        Some("true") => 1.0,
        Some("false") => 0.0,
        Some(text) if text.starts_with(|c: char| c == '-' || c.is_ascii_digit()) => text.parse().unwrap(),
        Some(_) | None => return Some(Err(Fate::NoValue)),
    };
    Some(Ok(Sample::received(PointIndex(0), value, time, NOW)))
}

fn space() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["", "", "", " ", "\n\t", "\r "])
}

fn scalar() -> impl Strategy<Value = String> {
    let odd = [
        "0",
        "-0",
        "-0.0",
        "1e400",
        "-1e400",
        "1e-400",
        "01",
        "1.",
        ".5",
        "+1",
        "1e",
        "1E+2",
        "-",
        "true",
        "false",
        "null",
        "tru",
        "\"0.42\"",
        "\"\"",
        "\"a\\\"b\"",
        "\"\\u00e9\"",
        "\"\\ud800\"",
        "\"\\x\"",
        "\"瓦斯\"",
        "\"a\tb\"",
        "1790000000123",
        "1790000000",
        "1790000000123456",
        "9007199254740993",
        "99999999999999999999",
        "\"2026-09-21T14:13:20Z\"",
        "123456789012345678901234567890",
        "0.1",
        "0.30000000000000004",
        "4.35",
        "1.7976931348623157e308",
    ];
    prop_oneof![
        3 => prop::sample::select(odd.to_vec()).prop_map(str::to_owned),
        2 => "-?(0|[1-9][0-9]{0,16})(\\.[0-9]{1,17})?([eE][+-]?[0-9]{1,3})?",
        1 => any::<f64>().prop_filter("no JSON", |f| f.is_finite()).prop_map(|f| f.to_string()),
    ]
}

fn json_value() -> impl Strategy<Value = String> {
    scalar().prop_recursive(3, 16, 4, |inner| {
        let list = prop::collection::vec(inner.clone(), 0..4);
        let object = prop::collection::vec((key(), inner), 0..4);
        prop_oneof![
            (list, space()).prop_map(|(list, space)| format!("[{space}{}]", list.join(","))),
            object.prop_map(|list| joined(&list)),
        ]
    })
}

fn joined(members: &[(&'static str, String)]) -> String {
    let members: Vec<_> = members.iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
    format!("{{{}}}", members.join(","))
}

fn key() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["value", "time", "val\\u0075e", "tim\\u0065", "Value", "x", "瓦斯", "a b", ""])
}

/// Objects as devices send them, and as they do not.
fn payload() -> impl Strategy<Value = Vec<u8>> {
    let member = (key(), prop_oneof![4 => scalar(), 1 => json_value()], space(), space());
    let object = (prop::collection::vec(member, 0..6), space(), space()).prop_map(|(members, before, after)| {
        let members: Vec<_> =
            members.iter().map(|(key, value, a, b)| format!("{a}\"{key}\"{b}:{a}{value}{b}")).collect();
        format!("{before}{{{}}}{after}", members.join(",")).into_bytes()
    });
    let whole = prop_oneof![8 => object, 1 => json_value().prop_map(String::into_bytes)];
    let spoilt = (whole, any::<u8>(), any::<prop::sample::Index>(), 0..8_u8);
    prop_oneof![
        20 => spoilt.prop_map(|(mut bytes, byte, place, how)| {
            let at = place.index(bytes.len().max(1)).min(bytes.len());
            match how {
                0 => bytes.truncate(at),
                1 if !bytes.is_empty() => bytes[at] = byte,
                2 => bytes.insert(at, byte),
                3 => bytes.extend_from_slice(&[byte, b'}']),
                _ => {}
            }
            bytes
        }),
        1 => prop::collection::vec(any::<u8>(), 0..40),
    ]
}

fn same(left: &Result<Vec<Sample>, Fate>, right: &Result<Vec<Sample>, Fate>) -> bool {
    let bits = |outcome: &Result<Vec<Sample>, Fate>| {
        outcome
            .clone()
            .map(|list| list.iter().map(|s| (s.point, s.quality, s.source_time, s.value.to_bits())).collect::<Vec<_>>())
    };
    bits(left) == bits(right)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, ..ProptestConfig::default() })]

    /// The quick way, the general way and serde_json agree on every input, to the last bit.
    #[test]
    fn the_quick_way_the_general_way_and_the_library_agree(payload in payload()) {
        let mut desk = Desk::of_toml("topic = \"{site}/{point}\"");
        drop(desk.read("hongli/t1", "{\"value\":1}"));
        prop_assert!(desk.decoder.routes[&b"hongli/t1"[..]].quick.is_some());
        let quick = desk.read("hongli/t1", &payload);
        let quick_counts = desk.counted();
        let mut desk = Desk::of_toml("topic = \"{site}/{point}\"");
        drop(desk.read("hongli/t1", "{\"value\":1}"));
        desk.decoder.routes.get_mut(&b"hongli/t1"[..]).unwrap().quick = None;
        let general = desk.read("hongli/t1", &payload);
        prop_assert!(same(&quick, &general), "quick {quick:?} general {general:?}");
        prop_assert_eq!(quick_counts, desk.counted());
        // The library knows no spelled-out infinities.
        let lower = String::from_utf8_lossy(&payload).to_lowercase();
        if !lower.contains("nan") && !lower.contains("inf")
            && let Some(library) = by_library(&payload)
        {
            let library = library.map(|sample| vec![sample]);
            prop_assert!(same(&quick, &library), "quick {quick:?} library {library:?}");
        }
    }

    /// Nothing that arrives makes the decoder panic, whatever the forms.
    #[test]
    fn nothing_makes_it_panic(payload in payload(), topic in prop::collection::vec(any::<u8>(), 0..20)) {
        let mut desk = Desk::of_defaults();
        for topic in [&topic, &b"hongli"[..], b"hongli/t1"] {
            let before = desk.account.get(Fate::Accepted);
            let mut samples = Vec::new();
            let outcome = desk.decoder.decode(topic, &payload, NOW, &mut samples, &desk.account);
            prop_assert!(outcome.is_ok() || samples.is_empty());
            prop_assert!(samples.iter().all(|sample| sample.value.is_finite()));
            prop_assert_eq!(desk.account.get(Fate::Accepted), before);
        }
    }
}

/// Prints what a message costs; `cargo test --release -- --nocapture cost_of` shows it.
#[test]
fn cost_of_a_message() {
    let mut desk = Desk::of_defaults();
    let rounds = if cfg!(debug_assertions) { 1_000 } else { 2_000_000 };
    for (name, topic, payload, each) in [
        ("value and time", "hongli/t1", r#"{"value":0.42,"time":1790000000123}"#, 1),
        (
            "five members",
            "hongli/co",
            r#"{ "id": "t1", "unit": "%VOL", "time": 1790000000123, "ok": true, "value": 12.75 }"#,
            1,
        ),
        ("bare number", "hongli/t1", "0.42", 1),
        ("nested member", "hongli/t1", r#"{"value":0.42,"time":1790000000123,"tags":{"a":[1,2,3]}}"#, 1),
        ("values", "hongli", r#"{"time":1790000000123,"values":{"t1":0.42,"co":12,"瓦斯":0.5}}"#, 3),
    ] {
        let mut samples = Vec::with_capacity(8);
        let watch = crate::clock::Stopwatch::start();
        for _ in 0..rounds {
            samples.clear();
            assert_eq!(
                desk.decoder.decode(topic.as_bytes(), payload.as_bytes(), NOW, &mut samples, &desk.account),
                Ok(())
            );
            assert_eq!(samples.len(), each);
        }
        eprintln!("{name}: {:.0} ns a message", watch.elapsed().as_nanos() as f64 / f64::from(rounds));
    }
}
