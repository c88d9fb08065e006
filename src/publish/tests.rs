//! Messages against the rules of CAP 1.2: order, number and words of its elements as the standard gives them.

mod schema;

use roxmltree::{Document, Node};

use super::*;
use crate::alarm::{Acknowledgement, Alarm, AlarmChange, Happening, Level, OccurrenceId, Priority, Standing};
use crate::board::Published;
use crate::config::{Key, Problems};
use crate::model::{Coordinates, Kind as Measures, Point, Quality, Reason, Timestamp};

const NAMESPACE: &str = "urn:oasis:names:tc:emergency:cap:1.2";
const RAISED: i64 = 1_800_000_000;

/// Name, least and most of each child, in their order.
type Rule = (&'static str, usize, usize);
const MANY: usize = usize::MAX;
const ALERT: &[Rule] = &[
    ("identifier", 1, 1),
    ("sender", 1, 1),
    ("sent", 1, 1),
    ("status", 1, 1),
    ("msgType", 1, 1),
    ("source", 0, 1),
    ("scope", 1, 1),
    ("restriction", 0, 1),
    ("addresses", 0, 1),
    ("code", 0, MANY),
    ("note", 0, 1),
    ("references", 0, 1),
    ("incidents", 0, 1),
    ("info", 0, MANY),
];
const INFO: &[Rule] = &[
    ("language", 0, 1),
    ("category", 1, MANY),
    ("event", 1, 1),
    ("responseType", 0, MANY),
    ("urgency", 1, 1),
    ("severity", 1, 1),
    ("certainty", 1, 1),
    ("audience", 0, 1),
    ("eventCode", 0, MANY),
    ("effective", 0, 1),
    ("onset", 0, 1),
    ("expires", 0, 1),
    ("senderName", 0, 1),
    ("headline", 0, 1),
    ("description", 0, 1),
    ("instruction", 0, 1),
    ("web", 0, 1),
    ("contact", 0, 1),
    ("parameter", 0, MANY),
    ("resource", 0, MANY),
    ("area", 0, MANY),
];
const NAMED_VALUE: &[Rule] = &[("valueName", 1, 1), ("value", 1, 1)];
const AREA: &[Rule] = &[
    ("areaDesc", 1, 1),
    ("polygon", 0, MANY),
    ("circle", 0, MANY),
    ("geocode", 0, MANY),
    ("altitude", 0, 1),
    ("ceiling", 0, 1),
];
const WORDS: &[(&str, &[&str])] = &[
    ("status", &["Actual", "Exercise", "System", "Test", "Draft"]),
    ("msgType", &["Alert", "Update", "Cancel", "Ack", "Error"]),
    ("scope", &["Public", "Restricted", "Private"]),
    (
        "category",
        &[
            "Geo",
            "Met",
            "Safety",
            "Security",
            "Rescue",
            "Fire",
            "Health",
            "Env",
            "Transport",
            "Infra",
            "CBRNE",
            "Other",
        ],
    ),
    ("responseType", &["Shelter", "Evacuate", "Prepare", "Execute", "Avoid", "Monitor", "Assess", "AllClear", "None"]),
    ("urgency", &["Immediate", "Expected", "Future", "Past", "Unknown"]),
    ("severity", &["Extreme", "Severe", "Moderate", "Minor", "Unknown"]),
    ("certainty", &["Observed", "Likely", "Possible", "Unlikely", "Unknown"]),
];

fn children_keep(node: Node<'_, '_>, rules: &[Rule]) {
    let mut left: Vec<&str> = Vec::new();
    for child in node.children() {
        if child.is_element() {
            assert_eq!(child.tag_name().namespace(), Some(NAMESPACE));
            left.push(child.tag_name().name());
        } else {
            assert!(child.text().unwrap_or_default().trim().is_empty(), "text between elements");
        }
    }
    let mut left = left.as_slice();
    for (name, least, most) in rules {
        let count = left.iter().take_while(|found| *found == name).count();
        assert!((*least..=*most).contains(&count), "{count} of {name} in {:?}", node.tag_name());
        left = &left[count..];
    }
    assert!(left.is_empty(), "out of order or unknown in {:?}: {left:?}", node.tag_name());
}

fn is_time(text: &str) -> bool {
    let form = "dddd-dd-ddTdd:dd:dd+08:00";
    let fits = |(c, f): (char, char)| if f == 'd' { c.is_ascii_digit() } else { c == f };
    text.len() == form.len() && text.chars().zip(form.chars()).all(fits) && Timestamp::parse(text).is_some()
}

fn named(text: &str) -> bool {
    !text.is_empty() && !text.contains([' ', ',', '<', '&'])
}

fn is_reference(text: &str) -> bool {
    let parts: Vec<&str> = text.split(',').collect();
    matches!(parts[..], [sender, identifier, sent] if named(sender) && named(identifier) && is_time(sent))
}

/// What CAP 1.2 asks of every message. Gives the text of each element of `alert` and of the first `info`.
fn sound(xml: &str) -> std::collections::BTreeMap<String, String> {
    let document = Document::parse(xml).unwrap_or_else(|error| panic!("{error}\n{xml}"));
    let alert = document.root_element();
    assert_eq!((alert.tag_name().name(), alert.tag_name().namespace()), ("alert", Some(NAMESPACE)));
    children_keep(alert, ALERT);
    for node in alert.descendants().filter(Node::is_element) {
        let (name, text) = (node.tag_name().name(), node.text().unwrap_or_default());
        match name {
            "alert" => {}
            "info" => children_keep(node, INFO),
            "area" => children_keep(node, AREA),
            "parameter" | "geocode" | "eventCode" => children_keep(node, NAMED_VALUE),
            "sent" | "effective" | "onset" | "expires" => assert!(is_time(text), "{name} {text}"),
            "identifier" | "sender" => assert!(named(text), "{name} {text:?}"),
            "references" => assert!(text.split(' ').all(is_reference), "{text}"),
            "circle" => {
                let numbers: Vec<f64> = text.split([',', ' ']).map(|part| part.parse().unwrap()).collect();
                let [latitude, longitude, radius] = numbers[..] else { panic!("{text}") };
                assert!(latitude.abs() <= 90.0 && longitude.abs() <= 180.0 && radius >= 0.0, "{text}");
            }
            _ => assert!(node.children().all(|child| child.is_text()) && !text.is_empty(), "{name} is empty"),
        }
        if let Some((_, words)) = WORDS.iter().find(|(of, _)| *of == name) {
            assert!(words.contains(&text), "{name} {text}");
        }
    }
    let info = alert.children().find(|child| child.has_tag_name((NAMESPACE, "info"))).unwrap();
    let texts = |node: Node<'_, '_>| {
        let leaves = node.children().filter(|child| child.is_element() && child.children().all(|c| c.is_text()));
        leaves
            .map(|leaf| (leaf.tag_name().name().to_owned(), leaf.text().unwrap_or_default().to_owned()))
            .collect::<Vec<_>>()
    };
    let mut told: std::collections::BTreeMap<String, String> = texts(alert).into_iter().chain(texts(info)).collect();
    for pair in alert.descendants().filter(|node| matches!(node.tag_name().name(), "parameter" | "area")) {
        let leaves = texts(pair);
        match leaves.as_slice() {
            [(name, key), (_, value)] if name == "valueName" => drop(told.insert(key.clone(), value.clone())),
            leaves => told.extend(leaves.iter().cloned()),
        }
    }
    if told["scope"] == "Restricted" {
        assert!(told.contains_key("restriction"), "Restricted asks for a restriction");
    }
    assert_eq!(
        told.contains_key("references"),
        told["msgType"] != "Alert",
        "all but an Alert refer to what was before"
    );
    told
}

const PLAIN: &str =
    "area = \"140525\"\nsector = \"013\"\nsender = \"zezhou-emergency\"\nsender_name = \"泽州县应急管理局\"
    sites = [\"mine-*\"]\nlevels = [\"red\", \"orange\"]\npriorities = [\"P1\", \"P2\"]\nrestriction = \"监管部门\"\n";

fn checked(text: &str) -> (Option<Config>, String) {
    let mut problems = Problems::in_file("davy.toml");
    let raw: Option<Raw> = problems.read(&Key::of("publish"), toml::from_str(text).unwrap());
    let config = raw.and_then(|raw| raw.check(&Key::of("publish"), &mut problems));
    (config, problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
}

fn publisher(more: &str) -> Publisher {
    let (config, told) = checked(&format!("{PLAIN}{more}"));
    Publisher::new(config.unwrap_or_else(|| panic!("{told}")))
}

fn alarm() -> Alarm {
    let raised = Timestamp::from_micros(RAISED * 1_000_000 + 700_000);
    Alarm {
        id: OccurrenceId::of("mine-3.t1", "methane-face", raised),
        rule: "methane-face".into(),
        subject: "mine-3.t1".into(),
        point: None,
        site: "mine-3".into(),
        place: "T1".into(),
        title: "采掘工作面瓦斯超限 / methane at a face".into(),
        advice: "停止作业，撤出人员 / stop work, withdraw people".into(),
        priority: Priority::P2,
        level: Level::Orange,
        standing: Standing::Unacknowledged,
        raised,
        received: raised,
        cleared: None,
        acknowledged: None,
        value: Some(1.35),
        worst: Some(1.52),
        limit: Some(1.0),
        unit: "%VOL".into(),
        quality: Quality::GOOD,
        raises: 1,
        held: false,
        closed: false,
        aside: None,
        together: None,
        exercise: crate::alarm::Exercised::No,
        detail: String::new(),
    }
}

fn point() -> Point {
    Point {
        id: "mine-3.t1".into(),
        site: "mine-3".into(),
        name: "3201 采煤工作面 T1".into(),
        kind: Measures::Methane,
        place: "T1".into(),
        unit: "%VOL".into(),
        range: None,
        resolution: 0.01,
        period: std::time::Duration::from_secs(5),
        limits: std::collections::BTreeMap::default(),
        coordinates: Some(Coordinates { longitude: 112.93, latitude: 35.62 }),
        static_risk: 0,
        calibrate_every: None,
        relations: std::collections::BTreeMap::default(),
        retired: false,
    }
}

fn changed(happening: Happening, standing: Standing, after: i64, alarm: Alarm) -> Published {
    let at = Timestamp::from_secs(RAISED + after);
    let acknowledged = (happening == Happening::Acknowledged).then(|| Acknowledgement {
        by: "王值班".into(),
        at,
        comment: "on my way".into(),
    });
    let alarm = Alarm { standing, acknowledged, ..alarm };
    Published { id: 1, early: false, change: AlarmChange { happening, at, alarm } }
}

/// What is published of the change, after what was published before.
fn published(publisher: &Publisher, change: &Published, earlier: &mut Vec<Earlier>) -> Option<Message> {
    let kind = publisher.tells(change, earlier)?;
    let message =
        publisher.message(kind, Publisher::earliest(change, earlier), change, Some(&point()), earlier).unwrap();
    earlier.push(Earlier { slot: message.slot, reference: message.reference.clone() });
    Some(message)
}

#[test]
fn an_alarm_is_told_changed_and_cancelled_with_references_to_all_before() {
    let publisher = publisher("");
    let mut earlier = Vec::new();
    let raised = changed(Happening::Raised, Standing::Unacknowledged, 0, alarm());
    let alert = published(&publisher, &raised, &mut earlier).unwrap();
    // 1,800,000,000 is 2027-01-15 08:00 UTC, 16:00 in Beijing.
    assert_eq!(alert.identifier, "14052501300000_20270115160000_0");
    assert_eq!(alert.identifier.len(), 31);
    let told = sound(&alert.xml);
    for (name, text) in [
        ("sender", "zezhou-emergency"),
        ("sent", "2027-01-15T16:00:00+08:00"),
        ("status", "Actual"),
        ("msgType", "Alert"),
        ("scope", "Restricted"),
        ("incidents", "mine-3.t1"),
        ("category", "Safety"),
        ("language", "zh-CN"),
        ("event", "采掘工作面瓦斯超限"),
        ("instruction", "停止作业，撤出人员"),
        ("urgency", "Immediate"),
        ("severity", "Severe"),
        ("certainty", "Observed"),
        ("colour", "Orange"),
        ("worst", "1.52"),
        ("areaDesc", "mine-3 3201 采煤工作面 T1"),
        ("circle", "35.62,112.93 0"),
    ] {
        assert_eq!(told[name], text, "{name}");
    }
    assert!(alert.xml.contains("<event>methane at a face</event>") && alert.xml.contains("<language>en-US</language>"));

    // Acknowledged by a clock that is behind: later than the Alert all the same.
    let seen = changed(Happening::Acknowledged, Standing::Acknowledged, -3, alarm());
    let update = published(&publisher, &seen, &mut earlier).unwrap();
    let told = sound(&update.xml);
    assert_eq!((told["msgType"].as_str(), told["references"].as_str()), ("Update", alert.reference.as_str()));
    assert_eq!(update.identifier, "14052501300000_20270115160000_1");
    assert!(!update.xml.contains("王值班") && !update.xml.contains("on my way"), "no names, no comments");

    let over = changed(Happening::Cleared, Standing::Normal, 90, alarm());
    let cancel = published(&publisher, &over, &mut earlier).unwrap();
    let told = sound(&cancel.xml);
    assert_eq!(told["references"], format!("{} {}", alert.reference, update.reference));
    assert_eq!((told["urgency"].as_str(), told["responseType"].as_str()), ("Past", "AllClear"));
    assert!(!told.contains_key("instruction"), "nobody is sent out by a message that says that it is over");
    assert!(cancel.headline.starts_with("解除：橙色预警"), "{}", cancel.headline);
}

/// The rules that the messages are held to do refuse what breaks them.
#[test]
fn a_message_with_elements_out_of_order_or_unknown_words_is_not_sound() {
    let raised = changed(Happening::Raised, Standing::Unacknowledged, 0, alarm());
    let xml = published(&publisher(""), &raised, &mut Vec::new()).unwrap().xml;
    sound(&xml);
    for (from, to) in [
        ("<status>Actual</status>\n<msgType>Alert</msgType>", "<msgType>Alert</msgType>\n<status>Actual</status>"),
        ("<status>Actual</status>", "<status>actual</status>"),
        ("<sent>2027-01-15T16:00:00+08:00</sent>", "<sent>2027-01-15T08:00:00Z</sent>"),
        ("<msgType>Alert</msgType>", "<msgType>Update</msgType>"),
        ("<urgency>Immediate</urgency>\n", ""),
        ("</alert>", "<more/></alert>"),
        ("</scope>\n<restriction>监管部门</restriction>", "</scope>"),
    ] {
        assert!(xml.contains(from), "{from}");
        let broken = xml.replacen(from, to, 1);
        assert!(std::panic::catch_unwind(|| sound(&broken)).is_err(), "{to}");
    }
}

#[test]
fn nothing_is_told_that_was_not_chosen_and_everything_told_is_ended() {
    let publisher = publisher("rules = [\"methane-*\"]\n");
    let raise = |alarm| publisher.tells(&changed(Happening::Raised, Standing::Unacknowledged, 0, alarm), &[]);
    assert_eq!(raise(alarm()), Some(Kind::Alert));
    for other in [
        Alarm { site: "plant".into(), ..alarm() },
        Alarm { site: "".into(), ..alarm() },
        Alarm { level: Level::Blue, ..alarm() },
        Alarm { priority: Priority::P3, ..alarm() },
        Alarm { rule: "co-face".into(), ..alarm() },
    ] {
        assert_eq!(raise(other.clone()), None, "{other:?}");
        let over = changed(Happening::Cleared, Standing::Normal, 9, other);
        assert_eq!(publisher.tells(&over, &[]), None);
        // It was chosen when it was raised.
        let earlier = [Earlier { slot: Slot(0), reference: "s,i,t".into() }];
        assert_eq!(publisher.tells(&over, &earlier), Some(Kind::Cancel));
    }
    let own = Alarm { rule: "davy-source-down".into(), ..alarm() };
    assert_eq!(self::publisher("").tells(&changed(Happening::Raised, Standing::Unacknowledged, 0, own), &[]), None);
    // After the Cancel nothing is left to be said; when it comes back there is a new Alert.
    let seen = changed(Happening::Acknowledged, Standing::Normal, 9, alarm());
    assert_eq!(publisher.tells(&seen, &[]), None);
    let again = changed(Happening::RaisedAgain, Standing::Unacknowledged, 9, alarm());
    assert_eq!(publisher.tells(&again, &[]), Some(Kind::Alert));
}

#[test]
fn exercises_tests_forecasts_and_ends_without_data_say_so() {
    let drill = Alarm { quality: Quality::because(Reason::Exercise), level: Level::Red, ..alarm() };
    let raised = |alarm| changed(Happening::Raised, Standing::Unacknowledged, 0, alarm);
    let one = |more: &str, change: &Published| published(&publisher(more), change, &mut Vec::new()).unwrap();
    let exercise = one("test = true\n", &raised(drill));
    let told = sound(&exercise.xml);
    assert_eq!((told["status"].as_str(), told["severity"].as_str()), ("Exercise", "Extreme"));
    assert!(told["headline"].starts_with("【演练】红色预警"), "{}", told["headline"]);
    let test = one("test = true\n", &raised(alarm()));
    assert_eq!((test.status, sound(&test.xml)["headline"].starts_with("【测试】")), ("Test", true));
    let forecast = sound(&one("forecasts = [\"methane-*\"]\n", &raised(alarm())).xml);
    assert_eq!((forecast["urgency"].as_str(), forecast["certainty"].as_str()), ("Expected", "Likely"));

    let gone = Alarm { closed: true, detail: "规则已删除 / the rule is gone".into(), ..alarm() };
    let over = changed(Happening::Cleared, Standing::Normal, 9, gone);
    let told = sound(
        &published(
            &publisher(""),
            &over,
            &mut vec![Earlier {
                slot: Slot(18_000_000_000),
                reference: "zezhou-emergency,14052501300000_20270115160000_0,2027-01-15T16:00:00+08:00".into(),
            }],
        )
        .unwrap()
        .xml,
    );
    assert_eq!((told["certainty"].as_str(), told["responseType"].as_str()), ("Unknown", "Monitor"));
    assert!(told["note"].contains("the rule is gone"));
}

#[test]
fn text_from_the_field_stays_text_and_a_public_message_has_no_restriction() {
    let nasty = "a<b>&\"' ]]> \u{0}\u{1f}\u{ffff} <!-- 采煤";
    let wild = Alarm {
        title: nasty.into(),
        advice: nasty.into(),
        subject: nasty.into(),
        unit: nasty.into(),
        value: Some(f64::MAX),
        worst: Some(-0.0),
        limit: None,
        detail: nasty.into(),
        ..alarm()
    };
    let text = PLAIN.replace("restriction = \"监管部门\"", "scope = \"public\"");
    let publisher = Publisher::new(checked(&text).0.unwrap());
    let change = changed(Happening::Raised, Standing::Unacknowledged, 0, wild);
    let message = publisher.message(Kind::Alert, Slot::of(change.change.at), &change, None, &[]).unwrap();
    let told = sound(&message.xml);
    assert_eq!(told["event"], "a<b>&\"' ]]>  <!-- 采煤");
    assert_eq!((told["scope"].as_str(), told.get("restriction")), ("Public", None));
    assert_eq!(told["worst"], "0");
    assert!(!told.contains_key("circle"), "where it is is not known");
}

#[test]
fn every_mistake_in_the_table_is_told_with_its_key() {
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "a-token-of-a-neighbour\n").unwrap();
    let feed = format!("[feed.county-b]\ntoken_file = {token:?}\nsites = [\"*\"]\n");
    let (config, told) = checked(&format!("{PLAIN}{feed}"));
    let config = config.unwrap_or_else(|| panic!("{told}"));
    assert_eq!(config.issuer, "14052501300000");
    for (from, to, problem) in [
        ("\"140525\"", "\"14052\"", "publish.area: \"14052\" is not 6 digits"),
        ("\"013\"", "\"01a\"", "publish.sector"),
        ("zezhou-emergency", "zezhou emergency", "publish.sender"),
        ("\"orange\"", "\"orage\"", "did you mean \"orange\""),
        ("sites = [\"mine-*\"]", "sites = []", "publish.sites: chooses nothing"),
        ("sites = [\"mine-*\"]", "", "publish: sites is missing"),
        ("restriction = \"监管部门\"", "", "publish.restriction"),
        ("restriction", "scope = \"everybody\"\nrestriction", "publish.scope"),
        ("restriction", "scope = \"public\"\nrestriction", "publish.restriction"),
        ("token_file", "#", "publish.feed.county-b: needs token_file"),
        ("county-b", "\"county b\"", "stands in an address"),
    ] {
        let text = format!("{PLAIN}{feed}");
        assert!(text.contains(from), "{from}");
        let (config, told) = checked(&text.replacen(from, to, 1));
        assert!(config.is_none() && told.contains(problem), "{to}: {told}");
    }
    let neighbour =
        format!("[neighbour.city]\npush = \"https://city.example/cap\"\nsecret_file = {token:?}\nsites = [\"*\"]\n");
    let (sound, told) = checked(&format!("{PLAIN}{neighbour}"));
    assert!(sound.is_some_and(|config| config.neighbours.len() == 1), "{told}");
    for (from, to, problem) in [
        ("https://", "http://", "publish.neighbour.city.push: warnings do not go over a network in clear text"),
        ("https://city", "https://a:b@city", "publish.neighbour.city.push: user and password do not belong"),
        ("secret_file", "#", "publish.neighbour.city: needs secret_file or secret_env"),
        ("/token", "/nothing", "publish.neighbour.city.secret_file"),
        ("sites = [\"*\"]", "", "publish.neighbour.city: sites is missing"),
        ("sites", "levels = [\"violet\"]\nsites", "publish.neighbour.city.levels[0]"),
        ("sites", "answer = true\nsites", "publish.neighbour.city"),
    ] {
        let (config, told) = checked(&format!("{PLAIN}{}", neighbour.replacen(from, to, 1)));
        assert!(config.is_none() && told.contains(problem), "{to}: {told}");
    }
    for here in ["http://127.0.0.1:80/", "http://[::1]:80/", "http://localhost/"] {
        let text = neighbour.replace("https://city.example/cap", here);
        assert!(checked(&format!("{PLAIN}{text}")).0.is_some(), "{here}");
    }
    // The file is read at each request: whoever empties it has shut the feed.
    let feed = &config.feeds[0];
    assert!(feed.opens(b"a-token-of-a-neighbour") && !feed.opens(b"another-neighbours-token") && !feed.opens(b""));
    for shut in ["", "a-new-token-of-the-neighbour", "short"] {
        std::fs::write(&token, shut).unwrap();
        assert!(!feed.opens(b"a-token-of-a-neighbour") && !feed.opens(b"short") && !feed.opens(b""));
    }
}

/// What a neighbour heard the beginning of it hears the end of, and no other end.
#[test]
fn a_neighbour_is_told_how_ends_what_it_was_told_of() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    std::fs::write(&file, "").unwrap();
    let text =
        format!("[neighbour.city]\npush = \"https://city.example\"\nsecret_file = {file:?}\nsites = [\"mine-*\"]\n");
    let (config, told) = checked(&format!("{PLAIN}{text}"));
    let config = config.unwrap_or_else(|| panic!("an emptied file is no problem: {told}"));
    let takes = |kind, site, level, heard| config.neighbours[0].takes(kind, site, level, heard);
    assert!(takes(Kind::Alert, "mine-3", Level::Red, false) && takes(Kind::Update, "mine-3", Level::Red, false));
    assert!(!takes(Kind::Alert, "plant", Level::Red, false) && !takes(Kind::Alert, "mine-3", Level::Blue, false));
    assert!(!takes(Kind::Cancel, "mine-3", Level::Red, false), "of the beginning it was told nothing");
    assert!(takes(Kind::Update, "plant", Level::Blue, true) && takes(Kind::Cancel, "plant", Level::Blue, true));
}

#[test]
fn the_feed_is_atom_and_takes_what_it_may() {
    let entry = |site: &str, level: &str| Entry {
        identifier: "14052501300000_20270115160000_0".into(),
        kind: "Alert".into(),
        status: "Actual".into(),
        site: site.into(),
        level: level.into(),
        sent: "2027-01-15T16:00:00+08:00".into(),
        headline: "红色预警：<b>".into(),
    };
    let choice = Choice { sites: vec!["river-*".into()], levels: vec![Level::Red] };
    let feed = Feed::new("b".into(), crate::remote::SecretPlace::Variable("NONE".into()), choice, 10);
    assert!(feed.takes(&entry("river-1", "red")));
    assert!(!feed.takes(&entry("river-1", "blue")) && !feed.takes(&entry("mine", "red")));
    for entries in [vec![], vec![entry("river-1", "red")]] {
        let text = atom("b", "泽州县", &entries).unwrap();
        let document = Document::parse(&text).unwrap();
        let root = document.root_element();
        assert_eq!(root.tag_name().namespace(), Some("http://www.w3.org/2005/Atom"));
        // RFC 4287: a feed and each of its entries have an id, a title and a time.
        for node in std::iter::once(root).chain(root.children().filter(|node| node.tag_name().name() == "entry")) {
            for name in ["id", "title", "updated"] {
                let found = node.children().filter(|child| child.tag_name().name() == name).count();
                assert_eq!(found, 1, "{name}");
            }
        }
        let links = root.descendants().filter(|node| node.attribute("type") == Some("application/cap+xml"));
        let links: Vec<_> = links.filter_map(|link| link.attribute("href")).collect();
        assert_eq!(links, vec!["/feeds/b/14052501300000_20270115160000_0.xml"; entries.len()]);
    }
}
