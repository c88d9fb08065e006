use std::path::Path;

use proptest::prelude::*;

use super::types::Types;
use super::*;
use crate::config::Templates;
use crate::config::{Written, look};

const RULE: &str = r#"
rule("methane-face", #{ title: "t", advice: "a", watches: #{ kind: "methane", place: ["T0", "T1"] }, priority: "P2", level: "orange",
    limits: #{ alarm: #{ value: 1.0, unit: "%VOL", stricter: "lower", basis: "AQ 1029-2019" } }, raise: |p| p.value >= p.limit.alarm });
rule("methane-cut", #{ title: "t", advice: "a", watches: #{ kind: "methane", place: ["T0", "T1"] }, priority: "P1", level: "red",
    limits: #{ power_cut: #{ value: 1.5, unit: "%VOL", stricter: "lower", basis: "AQ 1029-2019" } }, raise: |p| p.value >= p.limit.power_cut });
rule("o2-low", #{ title: "t", advice: "a", watches: #{ kind: "o2" }, priority: "P2", level: "orange",
    limits: #{ alarm: #{ value: 20.0, unit: "%VOL", stricter: "higher", basis: "rule of mines" } }, raise: |p| p.value <= p.limit.alarm });
"#;

/// Ground on which these Modbus devices stand.
fn ground<'a>(names: &'a [String], templates: &'a Templates) -> Ground<'a> {
    Ground {
        known: Known { names, devices: &[], templates },
        rules: vec![RuleFile { path: "coal.rhai".into(), text: RULE.into() }],
        elsewhere: HashMap::from([("mine.toml".to_owned(), "davy.toml".to_owned())]),
    }
}

/// The merged table, remarks and problems.
fn import(old: &str, new: &str, retire: bool) -> (Merged, Vec<String>, Vec<String>) {
    let mut problems = Problems::in_file("new");
    let old = (!old.is_empty()).then(|| Table::read(old, &mut problems).unwrap());
    let mut sheet = if cddy::looks_like(new) {
        cddy::read(new, Some("mine"), &Types::shipped(), &mut problems).unwrap()
    } else {
        Sheet::of_csv(new, &mut problems).unwrap()
    };
    let remarks = check(&mut sheet, old.as_ref(), &ground(&[], &Templates::default()), &mut problems);
    let told = problems.iter().map(ToString::to_string).collect();
    (write(old.as_ref(), &sheet, retire), remarks, told)
}

const OLD: &str = "\
# The point table of the mine.
id,name,kind,place,period,mqtt.topic
mine.t0,corner,methane,T0,5s,old/t0
# The belt road, moved in spring.
mine.t1,\"face, T1\",methane,T1,5s,
mine.t2,return,methane,T2,5s,
other.t1,elsewhere,methane,T1,5s,
# end
";

#[test]
fn what_the_file_does_not_speak_of_stays_as_it_was() {
    let new = "id,name,period,limits.alarm\nmine.t0,corner,5s,\nmine.t1,face T1,10s,0.8\n";
    let (merged, remarks, problems) = import(OLD, new, false);
    assert_eq!((problems, remarks), (vec![], vec![]));
    assert_eq!((merged.added.len(), merged.unchanged, &merged.absent[..]), (0, 1, &["mine.t2".to_owned()][..]));
    let changed: Vec<_> = merged.changed[0].cells.iter().map(|(column, _, new)| (&**column, &**new)).collect();
    assert_eq!(changed, [("name", "face T1"), ("period", "10s"), ("limits.alarm", "0.8")]);
    assert_eq!(
        merged.text,
        "# The point table of the mine.\n\
         id,name,kind,place,period,mqtt.topic,limits.alarm\n\
         mine.t0,corner,methane,T0,5s,old/t0,\n\
         # The belt road, moved in spring.\n\
         mine.t1,face T1,methane,T1,10s,,0.8\n\
         mine.t2,return,methane,T2,5s,,\n\
         other.t1,elsewhere,methane,T1,5s,,\n\
         # end\n"
    );
    let (again, ..) = import(&merged.text, new, false);
    assert_eq!((again.changed, &again.text), (vec![], &merged.text), "the same file twice changes nothing");
    let (merged, ..) = import(OLD, new, true);
    assert!(!merged.text.contains("mine.t2") && merged.text.contains("other.t1"), "only sites of the file lose points");
}

#[test]
fn bad_lines_name_line_and_column_and_the_others_stand() {
    let new = "# from the vendor\nid,kind,place,limits.alarm,range.low,range.high\n\
               mine.a,methane,T1,0.8,0,4\n\
               mine.b,methan,T1,,0,4\n\
               # a remark\n\
               mine.c,methane,T1,high,4,0\n\
               mine.a,methane,T1,,,\n\
               mine.d,methane,T1,1.2,,\n\
               mine.toml,methane,T1,,,\n\
               mine.e,methane\n\
               two words,methane,T1,,,\n";
    let (merged, _, problems) = import("", new, false);
    assert_eq!(merged.added, ["mine.a"]);
    let mut expected = vec![
        "new: line 10: has 2 cells, but the first line names 6",
        "new: line 4.kind: \"methan\" is not a kind",
        "new: line 6.limits.alarm: \"high\" is not a number",
        "new: line 6.range: [4, 0] is not a range",
        "new: line 7.id: \"mine.a\" is on line 3 already",
        "new: line 9.id: \"mine.toml\" is configured in davy.toml",
        "new: line 11: \"two words\" is not an id",
        "new: line 8.limits.alarm: 1.2 is looser than 1 %VOL of rule methane-face (AQ 1029-2019)",
    ];
    for problem in &problems {
        let at = expected.iter().position(|expected| problem.starts_with(expected));
        expected.remove(at.unwrap_or_else(|| panic!("{problem} is not expected")));
    }
    assert!(expected.is_empty(), "{expected:?} are not in {problems:#?}");
}

fn cddy(lines: &[&str]) -> String {
    format!("CDDY;140524000001~\n{}||\n", lines.iter().map(|line| format!("{line}~\n")).collect::<String>())
}

#[test]
fn set_points_become_limits_only_where_they_are_stricter() {
    let point = |kind: &str, unit: &str, alarms: &str, location: &str| {
        format!("14052400000101MN{kind}X;01;sub;{kind};MN;{unit};{alarms};;;{location};;;;;2026-11-23 08:00:00")
    };
    let text = cddy(&[
        &point("0001", "%", "4;0;0.8;0.7;;;1.5;1.0;;", "3201工作面T1"),
        &point("0043", "%", "4;0;1.2;1.0;;;1.2;1.0;;", "上隅角"),
        &point("0012", "%", "25;0;;;20.5;21;;;;", "工作面"),
        &point("0003", "℃", "100;0;30;29;;;;;;", "变电所"),
        &point("0004", "ppm", "1000;0;0;0;;;;;;", "工作面"),
    ]);
    let (merged, remarks, problems) = import("", &text, false);
    assert_eq!(problems, Vec::<String>::new());
    assert_eq!(merged.added.len(), 5);
    let table = Table::read(&merged.text, &mut Problems::default()).unwrap();
    let rows = merge::by_id(Some(&table));
    let cell = |kind: &str, column: &str| rows[&*format!("mine.01MN{kind}X")].cell(column).to_owned();
    assert_eq!((cell("0001", "limits.alarm"), cell("0001", "limits.power_cut")), ("0.8".into(), String::new()));
    assert_eq!((cell("0043", "limits.alarm"), cell("0043", "limits.power_cut")), (String::new(), "1.2".into()));
    assert_eq!((cell("0043", "place"), cell("0012", "limits.alarm")), ("T0".into(), "20.5".into()));
    assert_eq!(cell("0003", "notes.high_alarm"), "30");
    let all = remarks.join("\n");
    assert_eq!(remarks.len(), 3, "{all}");
    for expected in [
        "high alarm 1.2 of mine.01MN0043X is looser than 1 %VOL of rule methane-face (AQ 1029-2019): not taken",
        "no rule that watches mine.01MN0003X (temperature at \"\") has a limit for its high alarm 30",
        "high alarm 0 of mine.01MN0004X is at the low end of its range: taken as not set",
    ] {
        assert!(all.contains(expected), "{expected}\nis not in\n{all}");
    }

    // What an integrator set by hand is stricter still, and stays; so does the place.
    let old = "id,kind,place,limits.alarm,period\nmine.01MN0001X,methane,T1,0.5,2s\n";
    let (merged, remarks, _) = import(old, &text, false);
    assert!(
        remarks.iter().any(|told| told.contains("high alarm 0.8 of mine.01MN0001X is looser than its own limit alarm"))
    );
    let changed: Vec<&str> = merged.changed[0].cells.iter().map(|(column, ..)| column.as_str()).collect();
    assert!(!changed.contains(&"limits.alarm") && !changed.contains(&"period"), "{changed:?}");
    let (again, ..) = import(&merged.text, &text, false);
    assert_eq!((again.changed, again.added.len()), (vec![], 0));
}

fn exported(written: &[Written]) -> String {
    let cells =
        |written: &Written| Line { at: Key::root(), cells: written.cells(), values: Values::default(), place: None };
    write(None, &Sheet { lines: written.iter().map(cells).collect() }, false).text
}

fn written(text: &str, csv: &str) -> Vec<Written> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("davy.toml");
    std::fs::write(&path, text).unwrap();
    std::fs::write(folder.path().join("points.csv"), csv).unwrap();
    let seen = look(Path::new(&path));
    assert!(seen.problems.is_empty(), "{:#?}", seen.problems);
    let mut written = seen.written;
    written.iter_mut().for_each(|written| written.file = None);
    written.sort_by(|a, b| a.id.cmp(&b.id));
    written
}

const DEVICE: &str = "[source.modbus.plc]\naddress = \"10.0.4.7:502\"\n";

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ #,;\"'\\[{a-z0-9.\u{4e00}-\u{4e20}-]{0,12}",
        Just("true".to_owned()),
        Just("1.5".to_owned()),
        Just("\"T1\"".to_owned()),
        Just("a\nb".to_owned()),
    ]
}

prop_compose! {
    fn any_point()(
        name in any_text(),
        place in any_text(),
        note in prop::option::of(any_text()),
        unit in prop::option::of(Just(String::new())),
        low in -50.0..50.0_f64,
        span in 0.1..500.0_f64,
        alarm in prop::option::of(prop::num::f64::NORMAL),
        at in prop::option::of((-180.0..180.0_f64, -90.0..90.0_f64)),
        risk in 0..=4_i64,
        bound in 0..3_u8,
        strings in any::<bool>(),
        register in 40_001..49_999_i64,
    ) -> toml::Table {
        let mut keys = toml::Table::new();
        let text = toml::Value::String;
        keys.insert("kind".into(), text("pressure".into()));
        keys.insert("name".into(), text(name));
        keys.insert("place".into(), text(place.clone()));
        keys.insert("range".into(), toml::Value::Array(vec![toml::Value::Float(low), toml::Value::Float(low + span)]));
        keys.insert("static_risk".into(), toml::Value::Integer(risk));
        keys.extend(unit.map(|unit| ("unit".to_owned(), text(unit))));
        if let Some((x, y)) = at {
            keys.insert("coordinates".into(), toml::Value::Array(vec![toml::Value::Float(x), toml::Value::Float(y)]));
        }
        if let Some(alarm) = alarm {
            keys.insert("limits".into(), toml::Value::Table(toml::Table::from_iter([("alarm".to_owned(), toml::Value::Float(alarm))])));
        }
        if let Some(note) = note {
            keys.insert("notes".into(), toml::Value::Table(toml::Table::from_iter([("related".to_owned(), text(note))])));
        }
        let binding = match bound {
            0 => Some(("mqtt", format!("topic = \"a/b\"\nvalue = \"$.v\"\nstrings = {strings}"))),
            1 => Some(("modbus", format!("device = \"plc\"\nregister = {register}\ntype = \"int16\"\ninvalid = [32767]"))),
            _ => None,
        };
        if let Some((key, table)) = binding {
            keys.insert(key.into(), toml::Value::Table(toml::from_str(&table).unwrap()));
        }
        keys
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// A table that was exported and is imported into an empty one holds the same points, whatever stands in
    /// them; and a second export is the same text.
    #[test]
    fn an_export_that_is_imported_is_the_same_table(points in prop::collection::vec(any_point(), 1..6)) {
        let tables: toml::Table =
            points.into_iter().enumerate().map(|(at, keys)| (format!("mine.p{at}"), toml::Value::Table(keys))).collect();
        let mut file = toml::Table::new();
        file.insert("point".into(), toml::Value::Table(tables));
        let first = written(&format!("{DEVICE}{}", toml::to_string(&file).unwrap()), "id\n");
        let text = exported(&first);
        let mut problems = Problems::default();
        let mut sheet = Sheet::of_csv(&text, &mut problems).unwrap();
        check(&mut sheet, None, &Ground { rules: vec![], elsewhere: HashMap::new(), ..ground(&["plc".into()], &Templates::default()) }, &mut problems);
        prop_assert!(problems.is_empty(), "{:?}\n{text}", problems.into_list());
        let merged = write(None, &sheet, false);
        let second = written(&format!("{DEVICE}[gateway]\npoints = [\"points.csv\"]\n"), &merged.text);
        prop_assert_eq!(&first, &second, "{}", text);
        prop_assert_eq!(exported(&second), text);
    }
}
