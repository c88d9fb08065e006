//! Payloads that are not JSON: what devices send, and what they send when they are broken.

use super::*;
use crate::model::Quality;

impl Desk {
    /// A script stands in a file of its own; here it stands in the test.
    fn of_script(topic: &str, text: &str) -> Self {
        let mut raw: RawPattern =
            toml::from_str(&format!("topic = {topic:?}\nformat = \"rhai\"\nrhai.file = \"odd.rhai\"")).unwrap();
        raw.rhai.as_mut().unwrap().text = text.to_owned();
        Self::of_raw(raw)
    }

    /// Point, value, quality and source time, as text.
    fn told(&mut self, topic: &str, payload: impl AsRef<[u8]>) -> Vec<String> {
        let samples = self.read(topic, payload).unwrap_or_else(|fate| panic!("{fate:?} {:?}", self.decoder.losses()));
        let tell = |sample: &Sample| {
            let id = &self.decoder.points.get(sample.point).unwrap().id;
            format!("{id} {} {} {}", sample.value, sample.quality, sample.source_time)
        };
        samples.iter().map(tell).collect()
    }

    /// Place, fate and text of what the newest message lost.
    fn lost(&self) -> Vec<(usize, Fate, &str)> {
        self.decoder.losses().iter().map(|loss| (loss.place, loss.fate, &*loss.about)).collect()
    }
}

const AT: &str = "2026-09-21T14:13:20Z";

#[test]
fn a_logger_sends_lines_and_a_bad_one_loses_only_itself() {
    let mut desk = Desk::of_toml("topic = \"{site}/log\"\nformat = \"csv\"");
    let payload = "\u{feff}time,point,value,quality,note\r\n\
        # since the restart\r\n\
        1790000000,t1,0.42,,\r\n\
        \r\n\
        1790000000,\"co\",3,over_range,\"a, \"\"b\"\"\"\r\n\
        1790000000,t1,high,,\r\n\
        1790000000,t9,1,,\r\n\
        1790000000,\"t1,1,,\r\n\
        1790000000,瓦斯,.5,line_break,\r\n\
        1790000000,old,1,,\r\n\
        1790000000,co,,bad,";
    let expected = [
        format!("hongli.t1 0.42 good {AT}"),
        format!("hongli.co 3 uncertain:over_range {AT}"),
        format!("hongli.瓦斯 0.5 bad:line_break {AT}"),
        format!("hongli.co 0 bad:sensor_fault {AT}"),
    ];
    assert_eq!(desk.told("hongli/log", payload), expected);
    assert_eq!(
        desk.lost(),
        [
            (6, Fate::BadLine, "1790000000,t1,high,,"),
            (7, Fate::UnknownPoint, "t9"),
            (8, Fate::BadLine, "1790000000,\"t1,1,,"),
            (10, Fate::RetiredPoint, "old"),
        ]
    );
    let counted = [(Fate::UnknownPoint, 1), (Fate::RetiredPoint, 1), (Fate::BadLine, 2)];
    assert_eq!(desk.counted(), counted);
}

#[test]
fn columns_may_be_points_and_times_may_be_local() {
    let mut desk = Desk::of_toml(
        "topic = \"{site}/{point}/csv\"\nformat = \"csv\"\n[csv]\nseparator = \";\"\nskip = 1\n\
         columns = [\"when\", \"CH4\", \"CO\"]\ntime = \"when\"\nutc_offset = \"+08:00\"\n\
         [csv.values]\nCH4 = \"{point}\"\nCO = \"co\"",
    );
    let payload =
        b"EXPORT v2;;\n2026-09-21 22:13:20;0.42;7\n2026-09-21T14:13:20Z;;8\nyesterday;1;\n2026-09-21 22:13:20;\xff;1";
    let told = desk.told("hongli/t1/csv", payload);
    let expected = [
        format!("hongli.t1 0.42 good {AT}"),
        format!("hongli.co 7 good {AT}"),
        format!("hongli.co 8 good {AT}"),
        format!("hongli.t1 1 uncertain:clock_wrong {NOW}"),
    ];
    assert_eq!(told, expected);
    assert_eq!(desk.lost(), [(4, Fate::BadTime, "hongli.t1"), (5, Fate::NotUtf8, "")]);
    // A header that lacks what is needed, and a message without a line.
    let mut desk = Desk::of_toml("topic = \"{site}\"\nformat = \"csv\"");
    assert_eq!(desk.read("hongli", "time,id,value\n1,t1,1\n"), Err(Fate::BadLine));
    assert_eq!(desk.lost(), [(1, Fate::BadLine, "time,id,value")]);
    assert_eq!(desk.read("hongli", "\n\n"), Err(Fate::NoValue));
    assert_eq!(desk.counted(), []);
}

#[test]
fn records_of_a_controller() {
    let mut desk = Desk::of_toml(
        r#"
        topic = "{site}/raw"
        format = "binary"
        [binary]
        header = 6
        record = 6
        trailer = 2
        time = { from = "header", offset = 2, type = "uint32" }
        [[binary.field]]
        point = "t{n}"
        offset = 0
        type = "int16"
        order = "DCBA"
        scale = 0.01
        invalid = [0x7FFF, -1]
        invalid_means = "line_break"
        [[binary.field]]
        point = "co"
        offset = 2
        type = "int8"
        invalid = [255]
        [[binary.field]]
        point = "瓦斯"
        offset = 3
        type = "bit"
        bit = 7
        add = 0.5
        "#,
    );
    let mut payload = vec![0xA5, 0x5A];
    payload.extend(1_790_000_000_u32.to_be_bytes());
    payload.extend([42, 0, 0xFB, 0x80, 0, 0]);
    payload.extend([0xFF, 0x7F, 0xFF, 0x7F, 0, 0]);
    payload.extend([1, 0, 9]);
    payload.extend([0xCC, 0xCC]);
    let expected = [
        format!("hongli.t1 0.42 good {AT}"),
        format!("hongli.co -5 good {AT}"),
        format!("hongli.瓦斯 1.5 good {AT}"),
        format!("hongli.co 0 bad:sensor_fault {AT}"),
        format!("hongli.瓦斯 0.5 good {AT}"),
    ];
    assert_eq!(desk.told("hongli/raw", &payload), expected);
    let lost = [(2, Fate::UnknownPoint, "t2"), (3, Fate::BadLine, "the last record has 3 of 6 bytes")];
    assert_eq!(desk.lost(), lost);
    assert_eq!(desk.read("hongli/raw", &payload[..13]), Err(Fate::BadLine));
    assert_eq!(desk.lost(), [(0, Fate::BadLine, "13 bytes, needed are 14")]);
}

#[test]
fn telegraf_writes_as_it_is() {
    let mut desk =
        Desk::of_toml("topic = \"telegraf\"\nformat = \"line-protocol\"\nline-protocol.point = \"{tag:host}.{field}\"");
    let payload = "# a comment\n\
        gas,host=hongli,unit=%VOL t1=0.42,co=3i,state=\"ok\" 1790000000000000000\n\
        \n\
        gas,host=hongli 瓦斯=true,t9=1 1790000000000000000\r\n\
        gas,host=hongli t1=\n\
        gas co=1\n\
        gas,host=a.b c=7u\n";
    let expected = [
        format!("hongli.t1 0.42 good {AT}"),
        format!("hongli.co 3 good {AT}"),
        format!("hongli.瓦斯 1 good {AT}"),
        format!("a.b.c 7 good:no_source_time {NOW}"),
    ];
    assert_eq!(desk.told("telegraf", payload), expected);
    let lost = [
        (2, Fate::NoValue, "hongli.state"),
        (4, Fate::UnknownPoint, "hongli.t9"),
        (5, Fate::BadLine, "gas,host=hongli t1="),
        (6, Fate::UnknownPoint, "gas"),
    ];
    assert_eq!(desk.lost(), lost);
    assert_eq!(desk.counted().iter().map(|(_, count)| count).sum::<u64>(), 4);
}

#[test]
fn a_script_reads_what_nothing_else_reads() {
    let mut desk = Desk::of_script(
        "{site}/odd",
        r#"
        fn checked(bytes) { bytes.crc16(0, bytes.len - 2) == bytes.u16_le(bytes.len - 2) }
        fn decode(topic, bytes) {
            if !checked(bytes) { throw "check sum" }
            let names = ["t1", "co", "old"];
            let samples = [];
            for n in 0..bytes[0] {
                samples.push(#{ point: names[n], value: bytes.bcd(5 + 2 * n, 2) / 100.0, time: bytes.u32_be(1) });
            }
            samples.push(#{ point: "瓦斯", quality: "calibrating" });
            samples.push(7);
            samples
        }
        "#,
    );
    let frame = |count: u8, digits: &[u8]| {
        let mut frame = vec![count];
        frame.extend(1_790_000_000_u32.to_be_bytes());
        frame.extend(digits);
        let crc = frame.iter().fold(0xFFFF_u16, |crc, byte| {
            (0..8).fold(crc ^ u16::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xA001 } else { crc >> 1 })
        });
        frame.extend(crc.to_le_bytes());
        frame
    };
    let expected = [
        format!("hongli.t1 0.42 good {AT}"),
        format!("hongli.co 12.34 good {AT}"),
        format!("hongli.瓦斯 0 bad:calibrating+no_source_time {NOW}"),
    ];
    assert_eq!(desk.told("hongli/odd", frame(3, &[0x00, 0x42, 0x12, 0x34, 0, 1])), expected);
    assert_eq!(desk.lost(), [(3, Fate::RetiredPoint, "old"), (5, Fate::BadLine, "not a map #{ point, value }")]);
    let mut wrong = frame(1, &[0, 1]);
    wrong[6] = 9;
    assert_eq!(desk.read("hongli/odd", wrong), Err(Fate::ScriptFailed));
    assert!(desk.lost()[0].2.starts_with("odd.rhai line 4: "), "{:?}", desk.lost());
    assert_eq!(desk.read("hongli/odd", frame(1, &[0xAA, 1])), Err(Fate::ScriptFailed));
    assert!(desk.lost()[0].2.contains("byte 0xaa is not two decimal digits"), "{:?}", desk.lost());
    assert_eq!(desk.read("hongli/odd", vec![0; 17_000]), Err(Fate::TooLarge));
}

#[test]
fn the_example_that_is_shipped_reads_its_frame() {
    let text = include_str!("../../../../config/decoders/example.rhai");
    let mut desk = Desk::of_script("odd/{site}", text);
    let mut frame = vec![0xA5, 0x5A, 2, 0b10];
    frame.extend(1_790_000_000_u32.to_be_bytes());
    frame.extend(0.5_f32.to_be_bytes());
    frame.extend(9.0_f32.to_be_bytes());
    // CRC-16/MODBUS of these sixteen bytes, reckoned elsewhere.
    let sums = [0x57, 0xB7];
    frame.extend(sums);
    assert_eq!(desk.told("odd/hongli", &frame), [format!("hongli.t1 0.5 good {AT}")]);
    assert_eq!(desk.lost(), [(2, Fate::UnknownPoint, "t2")]);
    frame[9] ^= 1;
    assert_eq!(desk.read("odd/hongli", &frame), Err(Fate::ScriptFailed));
    assert!(desk.lost()[0].2.contains("the check sum is wrong"), "{:?}", desk.lost());
}

#[test]
fn a_script_that_runs_wild_is_stopped_and_the_next_message_is_read() {
    let mut desk = Desk::of_script(
        "{site}/{point}",
        r#"
        fn deep(n) { deep(n + 1) + 1 }
        fn decode(topic, bytes) {
            switch bytes[0] {
                0 => { loop {} }
                1 => deep(0),
                2 => { let text = "x"; loop { text += text; } }
                3 => { let list = []; loop { list.push([1, 2, 3, 4, 5, 6, 7, 8]); } }
                4 => { for n in 0..40_000 { bytes.crc16(0, bytes.len); } }
                5 => 7,
                6 => [],
                _ => [#{ value: bytes[0] }],
            }
        }
        "#,
    );
    for first in 0..=5 {
        let mut payload = vec![0; 4_000];
        payload[0] = first;
        assert_eq!(desk.read("hongli/t1", payload), Err(Fate::ScriptFailed), "{first}");
        assert!(desk.lost()[0].2.starts_with("odd.rhai line "), "{:?}", desk.lost());
    }
    assert_eq!(desk.read("hongli/t1", [6]), Err(Fate::NoValue));
    assert_eq!(desk.values("hongli/t1", "\u{9}"), Ok(vec![(0, 9.0)]));
}

/// The thread of an event loop has a stack of 2 MiB: the deepest script must fit it.
#[test]
fn the_deepest_script_fits_the_stack_of_an_event_loop() {
    let text = |depth: usize| {
        let nested = "(1 + ".repeat(depth) + "deep(n + 1)" + &*")".repeat(depth);
        format!("fn deep(n) {{ {nested} }}\nfn decode(topic, bytes) {{ deep(0) }}")
    };
    let compiles = |text: &str| {
        let mut raw: RawPattern = toml::from_str("topic = \"x\"\nformat = \"rhai\"\nrhai.file = \"x\"").unwrap();
        raw.rhai.as_mut().unwrap().text = text.to_owned();
        raw.check(&Key::root(), &mut Problems::default()).is_some()
    };
    let text = (4..64).rev().map(text).find(|text| compiles(text)).unwrap();
    let run = move || Desk::of_script("{site}/{point}", &text).read("hongli/t1", [0]);
    let thread = std::thread::Builder::new().stack_size(2 << 20).spawn(run).unwrap();
    assert_eq!(thread.join().unwrap(), Err(Fate::ScriptFailed));
}

#[test]
fn a_sender_with_few_rights_writes_only_its_points() {
    let forms = Arc::new(Forms::new(default_patterns(), []));
    let account = Ledger::default().account("test");
    let mut decoder = Decoder::new(forms, points(), 4096).writing([true, false, false, false, false].into());
    let mut samples = Vec::new();
    let mut read = |topic: &[u8], payload: &[u8]| {
        samples.clear();
        let outcome = decoder.decode(topic, payload, NOW, &mut samples, &account);
        let lost: Vec<_> = decoder.losses().iter().map(|loss| (loss.fate, loss.about.to_string())).collect();
        (outcome, samples.len(), lost)
    };
    assert_eq!(read(b"hongli/t1", b"1"), (Ok(()), 1, vec![]));
    assert_eq!(read(b"hongli/co", b"1").0, Err(Fate::Refused));
    let (outcome, stored, lost) = read(b"hongli", br#"{"values":{"t1":1,"co":2}}"#);
    assert_eq!((outcome, stored, lost), (Ok(()), 1, vec![(Fate::Refused, "co".to_owned())]));
}

#[test]
fn every_mistake_in_a_form_is_told_with_its_key() {
    for (toml, told) in [
        ("topic = \"x\"\nformat = \"cvs\"", "payload.format: \"cvs\" is not a format; known are json, csv"),
        ("topic = \"{site}/{point}\"\ncsv.separator = \";\"", "payload.csv: is of no use here: write format = \"csv\""),
        (
            "topic = \"x\"\nformat = \"csv\"\nvalue = \"$.v\"",
            "payload.value: is for JSON; what this form needs stands in [payload.csv]",
        ),
        (
            "topic = \"x\"\nformat = \"csv\"\ncsv.separator = \"ab\"",
            "payload.csv.separator: \"ab\" is not one character such as ; or ,",
        ),
        (
            "topic = \"{site}\"\nformat = \"csv\"\ncsv.columns = [\"point\", \"v\"]",
            "payload.csv.columns: the column \"value\" is not among them",
        ),
        (
            "topic = \"{point}\"\nformat = \"csv\"\ncsv.point = \"id\"",
            "payload.csv.point: the topic names the point already; leave out one of the two",
        ),
        ("topic = \"x\"\nformat = \"binary\"", "payload.binary: say what the record looks like in [payload.binary]"),
        (
            "topic = \"x\"\nformat = \"binary\"\n[binary]\nrecord = 4\n[[binary.field]]\npoint = \"t\"\noffset = 3\ntype = \"int16\"",
            "payload.binary.field[0].offset: 3 and 2 bytes reach beyond the 4 that there are",
        ),
        (
            "topic = \"x\"\nformat = \"binary\"\n[[binary.field]]\noffset = 3\ntype = \"uint8\"",
            "payload.binary.field[0].point: missing: the topic names no {point} either",
        ),
        (
            "topic = \"x\"\nformat = \"binary\"\n[[binary.field]]\npoint = \"t\"\noffset = 0\ntype = \"uint8\"\ninvalid = [300]",
            "payload.binary.field[0].invalid[0]: 300 is not a code of type \"uint8\"",
        ),
        (
            "topic = \"x\"\nformat = \"line-protocol\"\nline-protocol.point = \"{site}.{field}\"",
            "payload.line-protocol.point: \"{site}.{field}\": {site} means nothing here; known are {measurement}, {field}, {tag:NAME}",
        ),
        (
            "topic = \"x\"\nformat = \"line-protocol\"\nline-protocol.precision = \"m\"",
            "payload.line-protocol.precision: \"m\" is not a precision",
        ),
    ] {
        let mut problems = Problems::default();
        let raw: RawPattern = toml::from_str(toml).unwrap();
        assert!(raw.check(&Key::of("payload"), &mut problems).is_none(), "{toml}");
        let all = problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
        assert!(all.contains(told), "{told}\nis not in\n{all}");
    }
    for (text, told) in [
        ("fn decode(topic, bytes) {\n  let x = ;\n}", "payload.rhai.file: odd.rhai line 2: "),
        ("fn decode(bytes) { [] }", "payload.rhai.file: odd.rhai: there is no fn decode(topic, bytes)"),
        ("fn decode(t, b) { [] }\nlet x = 1;", "payload.rhai.file: odd.rhai line 2: only functions may stand here"),
        ("fn decode(t, b) { [c] }", "payload.rhai.file: odd.rhai line 1: "),
    ] {
        let mut raw: RawPattern = toml::from_str("topic = \"x\"\nformat = \"rhai\"\nrhai.file = \"odd.rhai\"").unwrap();
        raw.rhai.as_mut().unwrap().text = text.to_owned();
        let mut problems = Problems::default();
        assert!(raw.check(&Key::of("payload"), &mut problems).is_none(), "{text}");
        let found = problems.iter().next().unwrap().to_string();
        assert!(found.starts_with(told), "{found}");
    }
}

/// One desk of every form, for whatever arrives.
fn every_desk() -> Vec<(Desk, &'static str)> {
    let binary = "[[binary.field]]\npoint = \"t1\"\noffset = 1\ntype = \"float32\"\n\
        [[binary.field]]\npoint = \"co\"\noffset = 0\ntype = \"int8\"\ninvalid = [-1]\n";
    vec![
        (Desk::of_toml("topic = \"{site}\"\nformat = \"csv\""), "hongli"),
        (
            Desk::of_toml("topic = \"{site}/{point}\"\nformat = \"csv\"\ncsv.columns = [\"value\", \"time\"]"),
            "hongli/t1",
        ),
        (
            Desk::of_toml("topic = \"#\"\nformat = \"csv\"\n[csv]\nseparator = \";\"\nvalues = { a = \"hongli.t1\" }"),
            "x",
        ),
        (Desk::of_toml(&format!("topic = \"{{site}}\"\nformat = \"binary\"\n{binary}")), "hongli"),
        (
            Desk::of_toml(&format!(
                "topic = \"{{site}}\"\nformat = \"binary\"\n[binary]\nheader = 3\nrecord = 7\ntrailer = 1\n\
                 time = {{ from = \"header\", offset = 1, type = \"uint16\", unit = \"ms\" }}\n{binary}"
            )),
            "hongli",
        ),
        (Desk::of_toml("topic = \"x\"\nformat = \"line-protocol\""), "x"),
        (
            Desk::of_toml("topic = \"{site}\"\nformat = \"line-protocol\"\nline-protocol.point = \"{site}.{field}\""),
            "hongli",
        ),
        (
            Desk::of_script(
                "{site}",
                "fn decode(t, b) { let l = []; for i in 0..b.len { l.push(#{ point: b.text(i, 2), \
                 value: b.f32_le(i), time: b.i64_be(i) }); } l }",
            ),
            "hongli",
        ),
    ]
}

/// Bytes at random, and bytes that look like the real thing up to a mistake.
fn anything() -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![
        Just("hongli"),
        Just("t1"),
        Just("co"),
        Just("value"),
        Just("point"),
        Just("time"),
        Just("quality"),
        Just(","),
        Just(";"),
        Just("="),
        Just("\""),
        Just("\\"),
        Just("\n"),
        Just("\r\n"),
        Just(" "),
        Just("#"),
        Just("0.5"),
        Just("12i"),
        Just("-3u"),
        Just("nan"),
        Just("1e999"),
        Just("true"),
        Just("1790000000"),
        Just("cpu,site=hongli,point=t1 value=1 5"),
        Just("point,value\n"),
        Just("瓦斯"),
        Just("\u{feff}"),
        Just("a"),
    ];
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..200),
        prop::collection::vec(word, 0..60).prop_map(|words| words.concat().into_bytes()),
        (prop::collection::vec(any::<u8>(), 0..4), any::<u32>()).prop_map(|(mut bytes, number)| {
            bytes.extend(number.to_le_bytes());
            bytes
        }),
    ]
}

proptest! {
    /// Nothing that arrives makes a form panic, invent a value, or lose something uncounted.
    #[test]
    fn whatever_arrives_is_read_or_counted(payload in anything()) {
        for (mut desk, topic) in every_desk() {
            let mut samples = Vec::new();
            let outcome = desk.decoder.decode(topic.as_bytes(), &payload, NOW, &mut samples, &desk.account);
            prop_assert_eq!(outcome.is_ok(), !samples.is_empty());
            prop_assert!(samples.iter().all(|sample| sample.value.is_finite() && sample.receive_time == NOW));
            prop_assert!(samples.len() <= payload.len());
            let counted: u64 = desk.counted().iter().map(|(_, count)| count).sum();
            prop_assert!(counted as usize + usize::from(outcome.is_err()) >= desk.decoder.losses().len());
        }
    }

    /// What is written as CSV, as line protocol or as a record comes back to the last bit.
    #[test]
    fn what_is_written_is_read(
        values in prop::collection::vec((0_u32..2, any::<f64>().prop_filter("finite", |v| v.is_finite())), 1..20),
        seconds in 1_700_000_000_i64..1_790_000_000,
    ) {
        let names = ["t1", "co"];
        let expected: Vec<Sample> = values
            .iter()
            .map(|(point, value)| Sample::received(PointIndex(*point), *value, Some(Timestamp::from_secs(seconds)), NOW))
            .collect();
        let lines = |line: &dyn Fn(&str, f64) -> String| {
            values.iter().map(|(point, value)| line(names[*point as usize], *value)).collect::<String>()
        };
        let mut csv = Desk::of_toml("topic = \"{site}\"\nformat = \"csv\"");
        let text = lines(&|name, value| format!("{value:?},\"{name}\",{seconds}\r\n"));
        prop_assert_eq!(csv.read("hongli", format!("value,point,time\n{text}")), Ok(expected.clone()));
        let mut protocol = Desk::of_toml("topic = \"x\"\nformat = \"line-protocol\"\nline-protocol.precision = \"s\"");
        let text = lines(&|name, value| format!("methane,point={name},site=hongli value={value:?},n=1i {seconds}\n"));
        prop_assert_eq!(protocol.read("x", text), Ok(expected.clone()));
        let mut binary = Desk::of_toml(
            "topic = \"{site}/{point}\"\nformat = \"binary\"\n[binary]\nrecord = 12\n\
             time = { offset = 8, type = \"uint32\", order = \"DCBA\" }\n\
             [[binary.field]]\noffset = 0\ntype = \"float64\"\norder = \"DCBA\"",
        );
        for (sample, (point, value)) in expected.iter().zip(&values) {
            let record = [&value.to_le_bytes()[..], &(seconds as u32).to_le_bytes()].concat();
            let topic = format!("hongli/{}", names[*point as usize]);
            prop_assert_eq!(binary.read(&topic, record), Ok(vec![*sample]));
        }
    }

    /// What Davy writes to InfluxDB, Davy reads.
    #[test]
    fn what_one_davy_writes_another_reads(bits in any::<u16>(), value in -1e6_f64..1e6) {
        let mut written = crate::influxdb::line::Lines::default();
        written.use_points(points());
        let sample = Sample {
            point: PointIndex(2), quality: Quality::from_bits(bits), source_time: THEN, receive_time: NOW, value,
        };
        written.add(&sample);
        let mut desk = Desk::of_toml("topic = \"x\"\nformat = \"line-protocol\"\nline-protocol.precision = \"us\"");
        let value = if sample.quality.usable() { value } else { 0.0 };
        prop_assert_eq!(desk.read("x", written.slice(0..1)), Ok(vec![Sample { value, ..sample }]));
    }
}

/// Prints what a sample costs; `cargo test --release -- --nocapture cost_of` shows it.
#[test]
fn cost_of_other_formats() {
    let rounds = if cfg!(debug_assertions) { 20 } else { 50_000 };
    let list = |line: &str| line.repeat(100);
    let cost = |name: &str, mut desk: Desk, topic: &str, payload: &[u8], each: usize| {
        desk.decoder.limit = 1 << 20;
        let mut samples = Vec::with_capacity(1_024);
        let watch = crate::clock::Stopwatch::start();
        for _ in 0..rounds {
            samples.clear();
            let outcome = desk.decoder.decode(topic.as_bytes(), payload, NOW, &mut samples, &desk.account);
            assert_eq!((outcome, samples.len()), (Ok(()), each), "{name}");
        }
        let all = f64::from(rounds) * each as f64;
        eprintln!("{name}: {:.0} ns a sample", watch.elapsed().as_nanos() as f64 / all);
    };
    let csv = Desk::of_toml("topic = \"{site}\"\nformat = \"csv\"");
    let text = format!("time,point,value\n{}", list("1790000000123,t1,0.42\n"));
    cost("csv, a value a line", csv, "hongli", text.as_bytes(), 100);
    let csv = Desk::of_toml("topic = \"{site}\"\nformat = \"csv\"\ncsv.values = { a = \"t1\", b = \"co\" }");
    let text = format!("time,a,b\n{}", list("1790000000123,0.42,12\n"));
    cost("csv, two values a line", csv, "hongli", text.as_bytes(), 200);
    let lines = Desk::of_toml("topic = \"x\"\nformat = \"line-protocol\"");
    let text = list("methane,place=T1,point=t1,site=hongli value=0.42,quality=0i 1790000000123000000\n");
    cost("line protocol, a value a line", lines, "x", text.as_bytes(), 100);
    let lines =
        Desk::of_toml("topic = \"x\"\nformat = \"line-protocol\"\nline-protocol.point = \"{tag:site}.{field}\"");
    let text = list("gas,host=pit-3,site=hongli t1=0.42,co=12i 1790000000123000000\n");
    cost("line protocol, two values a line", lines, "x", text.as_bytes(), 200);
    let binary = Desk::of_toml(
        "topic = \"{site}\"\nformat = \"binary\"\n[binary]\nrecord = 10\ntime = { offset = 0, type = \"uint32\" }\n\
         [[binary.field]]\npoint = \"t1\"\noffset = 4\ntype = \"int16\"\nscale = 0.01\n\
         [[binary.field]]\npoint = \"co\"\noffset = 6\ntype = \"float32\"",
    );
    let record = [&1_790_000_000_u32.to_be_bytes()[..], &42_i16.to_be_bytes(), &12.5_f32.to_be_bytes()].concat();
    cost("binary, two values a record", binary, "hongli", &record.repeat(100), 200);
    let script = |text| Desk::of_script("{site}", text);
    let one = script("fn decode(t, b) { [#{ point: \"t1\", value: b.f32_be(4), time: b.u32_be(0) }] }");
    let payload = [&1_790_000_000_u32.to_be_bytes()[..], &12.5_f32.to_be_bytes()].concat();
    cost("script, a value a message", one, "hongli", &payload, 1);
    let many = script(
        "fn decode(t, b) { let l = []; for i in 0..100 { l.push(#{ point: \"t1\", value: b.f32_be(8 * i + 4), \
         time: b.u32_be(8 * i) }); } l }",
    );
    cost("script, 100 values a message", many, "hongli", &payload.repeat(100), 100);
}
