//! Points in bulk: a mine's definition file becomes a point table, is changed, exported, and a sensor that is
//! gone from it keeps its history and its number until it comes back.

#![allow(clippy::unwrap_used, reason = "a story that cannot go on fails where it stands")]

mod stage;

use std::process::Output;

use serde_json::Value;
use stage::device::{Device, Message};
use stage::{SENSOR_RULE, Site, methane_rule, now_ms, until};

const CONFIG: &str = r#"
[gateway]
points = ["points.csv"]
[web]
address = "127.0.0.1:0"
[source.mqtt_listener.front]
address = "127.0.0.1:0"
anonymous = true
"#;

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn record(number: &str, high_alarm: &str, location: &str) -> String {
    format!(
        "14052400000101MN0001{number};01;14052400000100003;0001;MN;%;4;0;{high_alarm};0.7;;;1.5;1.0;;;;;{location};;;;;2026-11-23 08:00:00~\n"
    )
}

fn definition(records: &[String]) -> String {
    format!("CDDY;140524000001;2026-11-23 08:00:00~\n{}||\n", records.concat())
}

#[test]
fn a_definition_file_becomes_a_point_table_and_comes_out_again() {
    let site = Site::new(CONFIG, &[("coal.rhai", &methane_rule(1.0, "")), ("sensor.rhai", SENSOR_RULE)]);
    let (a, b) = (record("A1", "0.8", "3201工作面T1"), record("A2", "1.0", "4102工作面T1"));
    site.write("mine.txt", &definition(&[a.clone(), b.clone()]));
    let import = |more: &[&str]| {
        let arguments = [&["points", "import", "mine.txt", "--site", "pit"], more].concat();
        site.command(&arguments)
    };

    let dry = import(&["--dry-run"]);
    assert_eq!(code(&dry), 0, "{}", err(&dry));
    assert!(out(&dry).contains("points.csv: 2 added, 0 changed, 0 unchanged, 0 retired; a dry run"), "{}", out(&dry));
    assert!(!site.path("points.csv").exists());

    assert_eq!(code(&import(&[])), 0);
    let check = site.command(&["check"]);
    let told = out(&check);
    assert_eq!((code(&check), told.lines().last()), (0, Some("davy.toml: sound, 2 points")), "{told}");
    let table = std::fs::read_to_string(site.path("points.csv")).unwrap();
    assert!(table.starts_with("id,name,kind,place,unit,range.low,range.high,limits.alarm,"), "{table}");
    assert!(table.contains("pit.01MN0001A1,3201工作面T1,methane,T1,%VOL,0,4,0.8,"), "{table}");
    let again: Value = serde_json::from_str(&out(&import(&["--json"]))).unwrap();
    assert_eq!((&again["unchanged"], &again["written"]), (&Value::from(2), &Value::from(false)));

    // Changing what is there needs a yes; what was there stays beside it.
    site.write("mine.txt", &definition(&[record("A1", "0.6", "3201工作面T1"), record("A3", "0.9", "3201工作面T1")]));
    let asked = import(&["--retire"]);
    assert_eq!(code(&asked), 1);
    assert!(err(&asked).contains("1 points of points.csv change, 1 are retired: say --yes"), "{}", err(&asked));
    assert_eq!(std::fs::read_to_string(site.path("points.csv")).unwrap(), table, "nothing was written");
    let kept: Value = serde_json::from_str(&out(&import(&["--json", "--yes"]))).unwrap();
    assert_eq!((&kept["retired"], &kept["absent"][0]), (&Value::from(0), &Value::from("pit.01MN0001A2")));
    assert_eq!(kept["changed_points"][0]["cells"][0]["new"], "0.6");
    assert_eq!(std::fs::read_to_string(site.path("points.csv.before")).unwrap(), table);
    assert!(std::fs::read_to_string(site.path("points.csv")).unwrap().contains("pit.01MN0001A2,"));
    let retired: Value = serde_json::from_str(&out(&import(&["--json", "--yes", "--retire"]))).unwrap();
    assert_eq!(retired["retired"], 1);
    assert!(!std::fs::read_to_string(site.path("points.csv")).unwrap().contains("pit.01MN0001A2,"));

    let export = site.command(&["points", "export"]);
    assert_eq!(code(&export), 0);
    site.write("export.csv", &out(&export));
    let import: Value =
        serde_json::from_str(&out(&site.command(&["points", "import", "export.csv", "--json"]))).unwrap();
    assert_eq!((&import["unchanged"], &import["changed"], &import["added"]), (&2.into(), &0.into(), &0.into()));
}

#[test]
fn a_file_with_bad_lines_is_refused_whole_or_without_them_and_gb18030_is_told() {
    let site = Site::new(CONFIG, &[("coal.rhai", &methane_rule(1.0, ""))]);
    let bad = record("B1", "x", "3201").replace(";0001;MN", ";0777;MN");
    site.write("mine.txt", &definition(&[record("A1", "0.8", "3201 T1"), bad]));
    let refused = site.command(&["points", "import", "mine.txt", "--site", "pit"]);
    assert_eq!(code(&refused), 1);
    for expected in [
        "mine.txt: line 3, record 3, field 4 (sensor type): sensor type \"0777\" is not in the type table; add it with --types FILE",
        "mine.txt: line 3, record 3, field 9 (high alarm): \"x\" is not a number",
        "2 problems, nothing was imported",
    ] {
        assert!(err(&refused).contains(expected), "{expected}\nis not in\n{}", err(&refused));
    }
    assert!(!site.path("points.csv").exists());
    let skipped = site.command(&["points", "import", "mine.txt", "--site", "pit", "--skip-bad"]);
    assert!(code(&skipped) == 0 && out(&skipped).contains("1 added"), "{}{}", out(&skipped), err(&skipped));
    site.write("types.toml", "[[type]]\ncodes = [\"0777\"]\nkind = \"methane\"\nunits = { \"%\" = \"%VOL\" }\n");
    site.write("mine.txt", &definition(&[record("B1", "0.9", "3201").replace(";0001;MN", ";0777;MN")]));
    let typed = site.command(&["points", "import", "mine.txt", "--site", "pit", "--types", "types.toml"]);
    assert!(code(&typed) == 0 && out(&typed).contains("1 added"), "{}{}", out(&typed), err(&typed));

    // 瓦斯 in GB18030.
    let gb = [b"id,name,kind\npit.x,".as_slice(), &[0xcd, 0xdf, 0xcb, 0xb9], b",methane\n"].concat();
    std::fs::write(site.path("gb.csv"), gb).unwrap();
    let refused = site.command(&["points", "import", "gb.csv"]);
    assert_eq!(code(&refused), 1);
    assert!(err(&refused).contains("gb.csv: line 2: is not UTF-8; if it is GB18030"), "{}", err(&refused));
    let nowhere = Site::new("", &[]);
    nowhere.write("p.csv", "id,kind\npit.x,methane\n");
    let refused = nowhere.command(&["points", "import", "p.csv"]);
    assert!(err(&refused).contains("names no point table: say where the points go with --out"), "{}", err(&refused));
}

/// The sensor is taken out while its alarm is open, and is put back later under the same id.
#[tokio::test(flavor = "multi_thread")]
async fn a_point_that_leaves_the_table_keeps_its_history_and_its_number() {
    let site = Site::new(CONFIG, &[("coal.rhai", &methane_rule(1.0, ""))]);
    let both = "id,kind,place,period\npit.t1,methane,T1,1h\npit.t2,methane,T1,1h\n";
    site.write("points.csv", both);
    let begun = now_ms() - 60_000;
    let mut device = Device::new("face");
    let davy = site.start().await;
    device.send(davy.mqtt(), [Message::value("pit/t1", 1.4, now_ms())]).await;
    until("the alarm is open", async || davy.open_alarms().await.len() == 1).await;
    let alarm = davy.open_alarms().await[0]["id"].as_str().unwrap().to_owned();
    until("the sample is stored", async || davy.samples("pit.t1", begun).await.len() == 1).await;
    let number = site.fact("SELECT number FROM points WHERE id = 'pit.t1'");
    assert!(davy.stop().await.success());

    site.write("left.csv", "id,kind,place,period\npit.t2,methane,T1,1h\n");
    let retired = site.command(&["points", "import", "left.csv", "--retire", "--yes"]);
    assert!(
        code(&retired) == 0 && out(&retired).contains("0 added, 0 changed, 1 unchanged, 1 retired"),
        "{}",
        out(&retired)
    );
    let davy = site.start().await;
    assert_eq!(davy.point("pit.t1").await["retired"], true);
    assert_eq!(davy.samples("pit.t1", begun).await.len(), 1, "its history is there");
    until("its alarm is closed, with a change of its own", async || davy.open_alarms().await.is_empty()).await;
    let told = davy.get(&format!("/api/v1/alarms/{alarm}")).await;
    assert_eq!(told["subject"], "pit.t1", "{told}");
    device.send(davy.mqtt(), [Message::value("pit/t1", 1.6, now_ms())]).await;
    until("its samples are refused and counted", async || davy.fate("mqtt_listener.front", "retired_point").await == 1)
        .await;
    assert!(davy.stop().await.success());

    site.write("points.csv", both);
    let davy = site.start().await;
    assert_eq!(davy.point("pit.t1").await["retired"], false);
    assert_eq!(site.fact("SELECT number FROM points WHERE id = 'pit.t1'"), number);
    device.send(davy.mqtt(), [Message::value("pit/t1", 1.2, now_ms())]).await;
    until("both samples are in its history", async || davy.samples("pit.t1", begun).await.len() == 2).await;
    until("and it is watched again", async || davy.holding("methane-face").await.is_some()).await;
    assert!(davy.stop().await.success());
}
