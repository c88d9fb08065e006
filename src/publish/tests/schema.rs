//! Every form of message against a schema of CAP 1.2, by somebody else's validator.

use std::path::Path;
use std::process::Command;

use super::*;

/// What the validator says of each text: `sound`, or what is wrong. `None` when it is not installed (which fails under
/// CI).
fn validated(texts: &[String]) -> Option<Vec<String>> {
    let there = Command::new("python3").args(["-c", "import xmlschema"]).output();
    if !there.is_ok_and(|output| output.status.success()) {
        assert!(std::env::var_os("CI").is_none(), "python3 with xmlschema must be installed where CI is set");
        println!("skipped: python3 with xmlschema is not installed");
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    let files: Vec<_> = (0..texts.len()).map(|number| folder.path().join(format!("{number}.xml"))).collect();
    for (file, text) in files.iter().zip(texts) {
        std::fs::write(file, text).unwrap();
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cap/validate.py");
    let output = Command::new("python3").arg(script).args(files).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect())
}

/// Alert, Update and Cancel of alarms of every level and priority, with and without what may be missing.
fn every_form() -> Vec<String> {
    let mut texts = Vec::new();
    let exercise = Alarm { quality: Quality::because(Reason::Exercise), ..alarm() };
    let closed = Alarm { closed: true, detail: "规则已删除 / the rule is gone".into(), ..alarm() };
    let bare = Alarm { value: None, worst: None, limit: None, unit: "".into(), advice: String::new(), ..alarm() };
    let wild = Alarm { subject: "a b<&\u{0}".into(), title: "]]> \u{1f}<b>".into(), value: Some(f64::MIN), ..alarm() };
    let levels = [Level::Red, Level::Orange, Level::Yellow, Level::Blue].map(|level| Alarm { level, ..alarm() });
    let held = Alarm { held: true, priority: Priority::P4, ..alarm() };
    for more in ["", "test = true\n", "contact = \"0356-1\"\nforecasts = [\"methane-*\"]\n"] {
        let publisher = publisher(more);
        // What the configuration changes is the same for all.
        let most = if more.is_empty() { usize::MAX } else { 2 };
        for alarm in [&exercise, &closed, &bare, &wild, &held].into_iter().chain(&levels).take(most) {
            let mut earlier = Vec::new();
            for (happening, standing, kind) in [
                (Happening::Raised, Standing::Unacknowledged, Kind::Alert),
                (Happening::Acknowledged, Standing::Acknowledged, Kind::Update),
                (Happening::RaisedAgain, Standing::Unacknowledged, Kind::Update),
                (Happening::Cleared, Standing::Normal, Kind::Cancel),
            ] {
                let change = changed(happening, standing, texts.len() as i64, alarm.clone());
                let slot = Publisher::earliest(&change, &earlier);
                if kind == Kind::Alert {
                    texts.push(publisher.message(kind, slot, &change, None, &earlier).unwrap().xml);
                }
                let message = publisher.message(kind, slot, &change, Some(&point()), &earlier).unwrap();
                earlier.push(Earlier { slot: message.slot, reference: message.reference });
                texts.push(message.xml);
            }
        }
    }
    texts
}

#[test]
fn every_form_of_message_is_valid_and_a_broken_one_is_not() {
    let texts = every_form();
    let Some(told) = validated(&texts) else { return };
    assert_eq!(told.len(), texts.len());
    for (told, text) in told.iter().zip(&texts) {
        assert_eq!(told, "sound", "{text}");
    }
    let update = texts.iter().find(|text| text.contains(">Update<") && text.contains(">Actual<")).unwrap();
    let broken: Vec<String> = [
        ("<status>Actual</status>\n<msgType>Update</msgType>", "<msgType>Update</msgType>\n<status>Actual</status>"),
        ("<status>Actual</status>", "<status>actual</status>"),
        ("<urgency>Immediate</urgency>\n", ""),
        ("+08:00</sent>", "Z</sent>"),
        ("</identifier>", " 2</identifier>"),
        ("<references>", "<references>zezhou-emergency,1 "),
        ("<circle>35.62,112.93 0", "<circle>35.62 112.93 0"),
        ("</alert>", "<more/></alert>"),
        ("cap:1.2", "cap:1.1"),
    ]
    .into_iter()
    .map(|(from, to)| {
        assert!(update.contains(from), "{from} in {update}");
        update.replacen(from, to, 1)
    })
    .collect();
    let told = validated(&broken).unwrap();
    for (told, text) in told.iter().zip(&broken) {
        assert_ne!(told, "sound", "{text}");
    }
    assert_eq!(told.len(), broken.len());
}
