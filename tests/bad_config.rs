//! A configuration written in a hurry: `davy check` tells everything that is wrong with it at once, each
//! problem with file, key or line and what was expected, and `davy run` starts nothing.

#![allow(clippy::unwrap_used, reason = "a story that cannot go on fails where it stands")]

mod stage;

use std::process::{Command, Output};

use stage::{SENSOR_RULE, Site, methane_rule};

const WRONG: &str = r#"
colour = "blue"

[gateway]
naem = "pit"
points = ["points.csv", "nowhere.csv"]

[web]
address = "0.0.0.0:8080"

[journal]
group_kib = "many"

[history]
flush = "5 fortnights"

[source.mqtt_listener.front]
address = "127.0.0.1"
anonymous = true

[source.mqtt_listener.gate]
address = "0.0.0.0:1883"
anonymous = true

[source.mqtt_client.mine]
broker = "tcp://10.0.0.1"
client_id = "davy"
topics = ["a/#/b"]
user = "davy"
password_file = "secrets/mine"

[source.modbus.plc]
address = "10.0.4.7"

[source.modbus.pump]
address = "10.0.4.9:502"
unti = 3

[source.modbuss.plc2]
address = "10.0.4.8:502"

[influxdb]
url = "influx:8086"
org = "coal"
bucket = "davy"

[notify.webhook.duty]
url = "http://127.0.0.1:9/hook"
secret_file = "secrets/hook"
from_priority = "P5"

[[payload]]
topic = "{site}/{sensor}"

[point."pit.t1"]
kind = "methan"

[point."pit.t2"]
kind = "methane"
range = [4.0, 0.0]
period = "never"

[point."pit.t3"]
kind = "pressure"
modbus = { device = "plcc", register = 40003, type = "float23" }

[point."pit.t4"]
kind = "methane"
mqtt = { topic = "pit/t4" }
modbus = { device = "plc", register = 40003 }

[point.nodot]
kind = "methane"
"#;

const POINTS: &str = "\
id,name,kind,place,range.low,range.high,period,limits.alarm,wrong
pit.c1,C1,methane,T1,0,4,5s,,
pit.c1,C1 again,methane,T1,0,4,5s,,
pit.c3,C3,methane,T1
pit.c4,C4,methane,T1,0,4,5s,high,
,nameless,methane,T1,0,4,5s,,
pit.c6,C6,methane,T1,0,4,5s,,x
";

/// No recipient is configured in these stories.
const NOBODY: &str = "warning: davy.toml: notify: nobody is told of an alarm but the log, the page and MQTT subscribers; add [notify.mail.NAME] or another";

/// Whole lines, but for those that end in the words of others.
const EXPECTED: &[&str] = &[
    "davy.toml: colour: \"colour\" is not a section; known are gateway, journal, payload, source, point, history, influxdb, notify, web, coverage, rules, user, calendar, limit, publish, person, team, area, roster, position, route, policy, case, storm",
    "davy.toml: journal.group_kib: \"many\" is not a whole number, 0 or more",
    "points.csv: line 4: has 4 cells, but the first line names 9",
    "points.csv: line 5.limits.alarm: \"high\" is not a number",
    "davy.toml: gateway.naem: unknown key; did you mean \"name\"?",
    "davy.toml: source.modbus.pump.unti: unknown key; did you mean \"unit\"?",
    "davy.toml: source.modbuss: \"modbuss\" is not a kind of source; did you mean \"modbus\"?",
    "davy.toml: source.mqtt_listener.front.address: \"127.0.0.1\" is not address:port, such as 0.0.0.0:1883",
    "davy.toml: source.mqtt_listener.gate.anonymous: anyone who reaches 0.0.0.0:1883 could publish samples; add users, or set anonymous_from_anywhere = true",
    "davy.toml: source.mqtt_client.mine.broker: \"tcp://10.0.0.1\" is not mqtt://host:port or mqtts://host:port, such as mqtt://10.0.4.2:1883",
    "davy.toml: source.mqtt_client.mine.topics[0]: \"a/#/b\" is not a topic filter",
    "davy.toml: source.modbus.plc.address: \"10.0.4.7\" is not host:port, such as 10.0.4.7:502",
    "davy.toml: history.flush: \"5 fortnights\" is not a duration; write a number and ms, s, m, h or d, such as 30s or 10m",
    "davy.toml: influxdb.url: \"influx:8086\" is not http://host:port or https://host:port",
    "davy.toml: notify.webhook.duty.from_priority: \"P5\" is not a priority; known are P1, P2, P3, P4",
    "davy.toml: web.address: 0.0.0.0:8080 can be reached from other machines: set token_file or token_env, name [user.*], or listen on 127.0.0.1",
    "davy.toml: payload[0].topic: \"{site}/{sensor}\" is not a topic pattern: level 2, {sensor} is unknown; {site} and {point} are known, + is any level",
    "davy.toml: point.\"nodot\": \"nodot\" is not an id: site.point, with letters, digits, '-' and '_', up to 128 bytes",
    "davy.toml: point.\"pit.t1\".kind: \"methan\" is not a kind; did you mean \"methane\"?",
    "davy.toml: point.\"pit.t2\".range: [4, 0] is not a range: give the lowest and the highest value",
    "davy.toml: point.\"pit.t2\".period: \"never\" is not a duration; write a number and ms, s, m, h or d, such as 30s or 10m",
    "davy.toml: point.\"pit.t3\".modbus.device: \"plcc\" is not a device under source.modbus; did you mean \"plc\"?",
    "davy.toml: point.\"pit.t3\".modbus.type: \"float23\" is not a type; did you mean \"float32\"?",
    "davy.toml: point.\"pit.t4\": has both mqtt and modbus; a point is read in one way",
    "davy.toml: point.\"pit.c1\": is there twice; an id names one point",
    "points.csv: line 6: \"\" is not an id: site.point, with letters, digits, '-' and '_', up to 128 bytes",
    "points.csv: line 7.wrong: unknown key; known are name, kind, place, unit, range, resolution, period, limits, coordinates, static_risk, calibrate_every, relations, mqtt, modbus, fire, sl651, hj212, sparkplug, notes",
];

/// Beginnings, where the rest is a library's wording or the operating system's.
const BEGINNINGS: &[&str] = &[
    "davy.toml: source.mqtt_client.mine.password_file: secrets/mine: No such file",
    "davy.toml: notify.webhook.duty.secret_file: secret file secrets/hook: No such file",
    "nowhere.csv: cannot be read: No such file",
];

fn lines(bytes: &[u8]) -> Vec<String> {
    text(bytes).lines().map(str::to_owned).collect()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

#[test]
fn everything_wrong_is_told_at_once_and_nothing_is_started() {
    let site = Site::new(WRONG, &[]);
    site.write("points.csv", POINTS);
    let check = site.command(&["check"]);
    let told = lines(&check.stdout);
    assert_eq!(code(&check), 1);
    for line in EXPECTED {
        assert!(told.iter().any(|told| told == line), "{line}\nis not in\n{}", told.join("\n"));
    }
    for beginning in BEGINNINGS {
        assert!(told.iter().any(|told| told.starts_with(beginning)), "{beginning}\nis not in\n{}", told.join("\n"));
    }
    let problems = EXPECTED.len() + BEGINNINGS.len();
    assert_eq!(told.len(), problems + 1, "and nothing else:\n{}", told.join("\n"));
    assert_eq!(told[problems], format!("{problems} problems"));

    let json = site.command(&["check", "--json"]);
    assert_eq!(code(&json), 1);
    let listed: Vec<String> = lines(&json.stdout)
        .iter()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["problem"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(listed, told[..problems]);

    let run = site.command(&["run"]);
    let said = lines(&run.stderr);
    assert_eq!(code(&run), 1);
    assert!(told[1..problems].iter().all(|line| said.contains(line)), "{}", said.join("\n"));
    assert_eq!(said.last().unwrap(), &format!("{problems} problems, not started"));
    assert!(!site.path("data").exists(), "nothing was made");
}

const SOUND: &str = r#"
[gateway]
name = "pit"
[web]
address = "127.0.0.1:0"
[source.mqtt_listener.front]
address = "127.0.0.1:0"
anonymous = true
[point."pit.t1"]
kind = "methane"
place = "T1"
limits.alarm = 0.8
"#;

/// What only shows when points and rules are laid over each other.
#[test]
fn limits_and_rules_that_do_not_fit_are_problems() {
    let points = "[point.\"pit.loose\"]\nkind = \"methane\"\nplace = \"T1\"\nlimits.alarm = 1.5\n\
                  [point.\"pit.ppm\"]\nkind = \"methane\"\nplace = \"T1\"\nunit = \"ppm\"\n\
                  [point.\"pit.typo\"]\nkind = \"methane\"\nplace = \"T1\"\nlimits.alram = 0.5\n\
                  [point.\"pit.lone\"]\nkind = \"smoke\"\nlimits.alarm = 0.5\n";
    let rules = [("coal.rhai", &*methane_rule(1.0, "")), ("sensor.rhai", SENSOR_RULE)];
    let site = Site::new(&format!("{SOUND}{points}"), &rules);
    let check = site.command(&["check"]);
    let mut told = lines(&check.stdout);
    assert_eq!((code(&check), told.pop().unwrap().as_str()), (1, "4 problems"), "{told:?}");
    told.sort();
    assert_eq!(
        told,
        [
            "davy.toml: point pit.lone: limit alarm is not a limit of any rule that watches it; known are: none of them has limits",
            "davy.toml: point pit.typo: limit alram is not a limit of any rule that watches it; known are: alarm",
            "remark: davy.toml: point pit.lone: no rule for smoke at \"\" watches it: check its kind and place",
            "remark: davy.toml: point pit.ppm: no rule for methane at \"T1\" watches it: check its kind and place",
            "rules/coal.rhai:1: point pit.loose: limit alarm = 1.5 is looser than 1 %VOL of rule methane-face (AQ 1029-2019); the rule's limit stands",
            "rules/coal.rhai:1: rule \"methane-face\": limit alarm is in \"%VOL\" but point pit.ppm measures \"ppm\"; give the point that unit or exclude it",
            NOBODY,
        ]
    );

    let broken = [
        ("coal.rhai", methane_rule(1.0, "titel: \"t\"")),
        ("typo.rhai", "rule(\"x\", #{\n  raise: |p| p.value >\n});".into()),
    ];
    let site = Site::new(SOUND, &broken.each_ref().map(|(file, text)| (*file, text.as_str())));
    let check = site.command(&["check"]);
    let told = lines(&check.stdout);
    assert_eq!(code(&check), 1);
    assert!(told.contains(&"rules/coal.rhai:8:5: rule \"methane-face\": unknown key \"titel\"; known are title, advice, watches, judges, limits, priority, level, raise, clear, deadband, raise_after, clear_after, latch, realarm, shelvable, suppressed_when, note".to_owned()), "{told:?}");
    assert!(told.iter().any(|line| line.starts_with("rules/typo.rhai:3:1: ")), "{told:?}");
    std::fs::remove_dir_all(site.path("rules")).unwrap();
    let told = lines(&site.command(&["check"]).stdout);
    assert!(told[0].starts_with("rules/.: the folder cannot be read: "), "{told:?}");
}

#[test]
fn a_sound_configuration_passes_and_a_missing_or_torn_one_does_not() {
    let site = Site::new(SOUND, &[("coal.rhai", &methane_rule(1.0, ""))]);
    let told = lines(&site.command(&["check"]).stdout);
    assert_eq!(told[0], NOBODY);
    assert!(told[1].contains("pit.t1 first, have no rule with judges: \"health\": a line break"), "{told:?}");
    site.write("rules/sensor.rhai", SENSOR_RULE);
    let check = site.command(&["check"]);
    assert_eq!(
        (code(&check), lines(&check.stdout)),
        (0, vec![NOBODY.to_owned(), "davy.toml: sound, 1 points".to_owned()])
    );
    site.write("davy.toml", "[gateway]\nname = \"pit\n");
    let check = site.command(&["check"]);
    let told = lines(&check.stdout);
    assert_eq!(code(&check), 1);
    assert!(told[0].starts_with("davy.toml: line 2: "), "{told:?}");
    std::fs::remove_file(site.path("davy.toml")).unwrap();
    let run = site.command(&["run"]);
    assert_eq!(code(&run), 1);
    assert!(lines(&run.stderr)[0].contains("davy.toml: cannot be read: No such file"));
    assert_eq!(code(&site.command(&["chekc"])), 2, "a command that does not exist is a usage error");
}

/// A mistake in the configuration hides neither those in the rules nor those between rules and points, and
/// what is only odd does not stand among the problems.
#[test]
fn configuration_points_and_rules_are_told_in_one_run() {
    let wrong = "[web]\naddress = \"127.0.0.1:18080\"\n[source.mqtt_listener.front]\naddress = \"0.0.0.0:18080\"\n\
                 anonymous = true\nanonymous_from_anywhere = true\n\
                 [source.modbus.plc]\naddress = \"10.0.4.7:502\"\nunit = \"one\"\n\
                 [point.\"pit.loose\"]\nkind = \"methane\"\nplace = \"T1\"\nlimits.alarm = 1.5\n\
                 modbus = { device = \"plc\", register = 40003, type = \"int16\" }\n";
    let broken = [
        ("coal.rhai", methane_rule(1.0, "")),
        ("sensor.rhai", SENSOR_RULE.into()),
        ("typo.rhai", "rule(\"x\", #{".into()),
    ];
    let site = Site::new(wrong, &broken.each_ref().map(|(file, text)| (*file, text.as_str())));
    let check = site.command(&["check"]);
    let told = lines(&check.stdout);
    assert_eq!(code(&check), 1);
    for beginning in [
        "davy.toml: source.modbus.plc.unit: \"one\" is not a whole number from 0 to 255",
        "davy.toml: web.address: port 18080 is taken by source.mqtt_listener.front.address already",
        "rules/coal.rhai:1: point pit.loose: limit alarm = 1.5 is looser than 1 %VOL",
        "rules/typo.rhai:1:13: ",
    ] {
        assert!(told.iter().any(|line| line.starts_with(beginning)), "{beginning}\nis not in\n{}", told.join("\n"));
    }
    assert_eq!(told.len(), 5, "a device with a problem is still a device: {told:#?}");
    let empty = Site::new("", &[("coal.rhai", &methane_rule(1.0, ""))]);
    let check = empty.command(&["check"]);
    let told = lines(&check.stdout);
    assert_eq!(code(&check), 0, "{told:?}");
    assert!(told[0].starts_with("warning: davy.toml: there is no point: nothing is watched"), "{told:?}");
    assert!(told[1].starts_with("warning: davy.toml: source: there is no source"), "{told:?}");
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The configuration is named once, by the environment; without it the command says how.
#[test]
fn a_command_finds_its_configuration_and_says_when_there_is_none() {
    let site = Site::new("[point.\"pit.t1\"]\nkind = \"methane\"\nplace = \"T1\"\nperiod = \"5s\"\n", &[]);
    let check = |config: Option<&str>| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_davy"));
        command.arg("check").current_dir(site.path("."));
        config.map(|config| command.env("DAVY_CONFIG", config));
        command.output().unwrap()
    };
    let found = check(Some("davy.toml"));
    assert!(found.status.success() && text(&found.stdout).contains("davy.toml: sound, 1 points"), "{found:?}");
    let missing = check(None);
    let told = format!("{}{}", text(&missing.stdout), text(&missing.stderr));
    assert!(
        !missing.status.success() && told.contains("config/davy.toml") && told.contains("DAVY_CONFIG=FILE"),
        "{told}"
    );
}

/// `davy rules functions | head -1`.
#[test]
fn whoever_stops_reading_is_not_told_of_a_failure() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = Command::new(env!("CARGO_BIN_EXE_davy"));
    let output = command.args(["rules", "functions"]).stdout(writer).output().unwrap();
    assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(0), ""));
}
