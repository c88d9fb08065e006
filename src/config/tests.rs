use super::*;

fn told(text: &str) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("davy.toml");
    match parse(text, &path, Problems::in_file("davy.toml")) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn the_shipped_configuration_is_sound_and_complete() {
    let config = load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("config/davy.toml")).unwrap();
    let ids: Vec<_> = config.points.iter().map(|point| &*point.point.id).collect();
    assert_eq!(
        ids,
        ["demo-mine.3201-t0", "demo-mine.3201-t1", "demo-mine.3201-t2", "demo-mine.3201-co", "demo-mine.belt-smoke"]
    );
    let smoke = &config.points[4];
    assert!(matches!(&smoke.binding, Binding::Mqtt(_)));
    assert_eq!(smoke.point.unit, "", "a switch has no unit");
    assert_eq!(config.points[0].point.limits.get("alarm"), Some(&0.8));
    let unit = &config.coverage[0];
    let of_it = config.points.iter().filter(|point| unit.may_be_of(&point.point)).count();
    assert_eq!((unit.id.as_str(), of_it), ("demo-mine.face-3201", 4));
    assert_eq!(config.points[1].point.coordinates.map(|place| place.latitude), Some(35.62));
}

#[test]
fn an_empty_file_is_a_gateway_with_defaults() {
    assert_eq!(told(""), Vec::<String>::new());
}

#[test]
fn every_mistake_is_told_in_one_go() {
    let text = r#"
        [gatway]
        [web]
        address = "nowhere"
        [journal]
        group_wait = "soon"
        [source.mqtt_listner.x]
        [source.modbus.d1]
        address = "10.0.4.7:502"
        unit = 999
        [point."mine"]
        kind = "methane"
        [point."mine.t1"]
        kind = "methan"
        range = [4.0, 0.0]
        period = "0s"
        [point."mine.t2"]
        kind = "methane"
        modbus = { device = "d2", register = 40001, type = "int16" }
        colour = "red"
    "#;
    let told = told(text);
    for expected in [
        "davy.toml: gatway: \"gatway\" is not a section; did you mean \"gateway\"?",
        "davy.toml: web.address: \"nowhere\" is not ip:port, such as 127.0.0.1:8080",
        "davy.toml: journal.group_wait: \"soon\" is not a duration",
        "davy.toml: source.mqtt_listner: \"mqtt_listner\" is not a kind of source; did you mean \"mqtt_listener\"?",
        "davy.toml: source.modbus.d1.unit: 999 is not a whole number from 0 to 255",
        "davy.toml: point.\"mine\": \"mine\" is not an id: site.point",
        "davy.toml: point.\"mine.t1\".kind: \"methan\" is not a kind; did you mean \"methane\"?",
        "davy.toml: point.\"mine.t1\".range: [4, 0] is not a range",
        "davy.toml: point.\"mine.t1\".period: 0ms is outside 10ms..=7d",
        "davy.toml: point.\"mine.t2\".colour: unknown key",
    ] {
        assert!(
            told.iter().any(|problem| problem.starts_with(expected)),
            "{expected}\nis not among\n{}",
            told.join("\n")
        );
    }
}

#[test]
fn a_syntax_error_names_its_line() {
    let told = told("[web]\naddress = \n");
    assert_eq!(told.len(), 1);
    assert!(told[0].starts_with("davy.toml: line 2: "), "{told:?}");
}

#[test]
fn a_point_table_names_line_and_column() {
    let folder = tempfile::tempdir().unwrap();
    let csv = "id,kind,place,range.low,range.high,limits.alarm,modbus.register\n\
        mine.t1,methane,T1,0,4,x,\n\
        mine.t2,methan,T1,0,4,,\n\
        mine.t3,methane,T1,0,4\n\
        mine.t4,methane,T1,0,4,0.8,\n\
        mine.t4,methane,T1,,,,\n";
    std::fs::write(folder.path().join("points.csv"), csv).unwrap();
    let path = folder.path().join("davy.toml");
    let text = "[gateway]\npoints = [\"points.csv\", \"missing.csv\"]";
    let problems = parse(text, &path, Problems::in_file("davy.toml")).unwrap_err();
    let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
    let all = told.join("\n");
    for expected in [
        "points.csv: line 2.limits.alarm: \"x\" is not a number",
        "points.csv: line 3.kind: \"methan\" is not a kind",
        "points.csv: line 4: has 5 cells, but the first line names 7",
        "missing.csv: cannot be read",
        "point.\"mine.t4\": is there twice",
    ] {
        assert!(all.contains(expected), "{expected}\nis not in\n{all}");
    }
}

/// A table that came from a spreadsheet: a byte order mark, comments in between, and GB18030 by mistake.
#[test]
fn lines_are_counted_with_the_comments_between_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("davy.toml");
    let told = |csv: &[u8]| {
        std::fs::write(folder.path().join("points.csv"), csv).unwrap();
        let problems = parse("[gateway]\npoints = [\"points.csv\"]", &path, Problems::in_file("davy.toml"));
        let told = problems.unwrap_err().iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
        told.replace(&folder.path().join("").display().to_string(), "")
    };
    let csv = "\u{feff}# points\nid,kind,name\nmine.a,methane,\"two\nlines\"\n\n# belt\n\nmine.b,methan,\n";
    assert!(
        told(csv.as_bytes()).starts_with("points.csv: line 8.kind: \"methan\" is not a kind"),
        "{}",
        told(csv.as_bytes())
    );
    assert!(
        told(b"id,kind\nmine.a,methane,\xcd\xdf\n").starts_with("points.csv: line 2: is not UTF-8; if it is GB18030")
    );
    assert!(told(b"id,kind,kind\n").starts_with("points.csv: line 1: column \"kind\" is there twice"));
    assert!(told(b"# nothing\n").starts_with("points.csv: line 1: there is no column \"id\""));
}

/// 10,000 points are read in well under a second in a release build; here only that they all arrive.
#[test]
fn ten_thousand_points_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let mut csv = String::from("id,kind,place,period\n");
    (0..10_000).for_each(|number| csv.push_str(&format!("mine.p{number},methane,T1,5s\n")));
    std::fs::write(folder.path().join("points.csv"), csv).unwrap();
    let path = folder.path().join("davy.toml");
    let config = parse("[gateway]\npoints = [\"points.csv\"]", &path, Problems::default()).unwrap();
    assert_eq!(config.points.len(), 10_000);
}

#[test]
fn points_in_frames_name_what_they_are_and_need_a_door() {
    let text = r#"
        [source.gb26875.county]
        address = "127.0.0.1:0"
        device."000000000001" = { points = "tower.{part}" }
        [point."tower.fire"]
        kind = "smoke"
        fire = { device = "06050403020", system = 1, part = 7, bit = "fires" }
        [point."tower.bus"]
        kind = "switch"
        fire = { device = "060504030201", part = 7, bit = "bus_fault" }
        [point."tower.both"]
        kind = "switch"
        fire = { device = "060504030201", bit = "alive" }
        mqtt = { topic = "a/b" }
        [point."river.level"]
        kind = "water_level"
        sl651 = { station = "0012345678", element = "39" }
        [point."river.bit"]
        kind = "switch"
        sl651 = { station = "0012345678", element = "39", bit = 2 }
        [point."plant.so2"]
        kind = "so2"
        hj212 = { mn = "A1", field = "Rtd" }
    "#;
    let all = told(text).join("\n");
    for expected in [
        "source.gb26875.county.device.\"000000000001\".points: \"tower.{part}\" needs {part} and {bit}",
        "point.\"tower.fire\".fire.device: \"06050403020\" is not a device address",
        "point.\"tower.fire\".fire.bit: \"fires\" is not a state bit; did you mean \"fire\"?",
        "point.\"tower.bus\".fire.bit: \"bus_fault\" is not in the state of a part",
        "point.\"tower.both\": has both mqtt and fire; a point is read in one way",
        "point.\"river.level\": there is no [source.sl651.NAME]",
        "point.\"river.bit\".sl651.bit: only element \"45\" has bits",
        "point.\"plant.so2\".hj212.factor: missing",
    ] {
        assert!(all.contains(expected), "{expected}\nis not in\n{all}");
    }
}

#[test]
fn points_in_frames_stand_in_a_table_too() {
    let folder = tempfile::tempdir().unwrap();
    let csv = "id,kind,fire.device,fire.system,fire.part,fire.bit,sl651.station,sl651.element\n\
        tower.p7-fire,smoke,060504030201,1,7,fire,,\n\
        river.level,water_level,,,,,0012345678,39\n";
    std::fs::write(folder.path().join("points.csv"), csv).unwrap();
    let text = "[gateway]\npoints = [\"points.csv\"]\n[source.gb26875.a]\naddress = \"127.0.0.1:0\"\n\
                [source.sl651.b]\naddress = \"127.0.0.1:0\"";
    let config = parse(text, &folder.path().join("davy.toml"), Problems::default()).unwrap();
    let devices = config.points.iter().map(|point| match &point.binding {
        Binding::Frame(binding) => binding.device.as_str(),
        Binding::Pattern | Binding::Mqtt(_) | Binding::Modbus(_) | Binding::Sparkplug(_) => "",
    });
    assert_eq!(devices.collect::<Vec<_>>(), ["060504030201", "0012345678"]);
}

#[test]
fn a_decode_script_is_found_beside_the_file_and_its_mistakes_are_told() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("good.rhai"), "fn decode(topic, bytes) { [] }").unwrap();
    std::fs::write(folder.path().join("bad.rhai"), "fn decode(topic, bytes) {\n  [\n}").unwrap();
    let payload = |file: &str| format!("[[payload]]\ntopic = \"{{site}}\"\nformat = \"rhai\"\nrhai.file = {file:?}\n");
    let read = |text: &str| parse(text, &folder.path().join("davy.toml"), Problems::in_file("davy.toml"));
    assert_eq!(read(&payload("good.rhai")).unwrap().patterns.len(), 1);
    let problems = read(&(payload("good.rhai") + &*payload("bad.rhai") + &*payload("none.rhai"))).unwrap_err();
    let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(told.len(), 2, "{told:#?}");
    let all = told.join("\n");
    assert!(all.contains("davy.toml: payload[1].rhai.file: bad.rhai line 3: "), "{all}");
    assert!(all.contains("payload[2].rhai.file: ") && all.contains("none.rhai cannot be read: "), "{all}");
}

#[test]
fn a_sender_over_http_needs_a_token_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("token"), "a-token-of-somebody\n").unwrap();
    let sender = |name: &str| format!("[source.http.{name}]\ntoken_file = \"token\"\npoints = [\"mine.*\"]\n");
    let read = |text: &str| parse(text, &folder.path().join("davy.toml"), Problems::in_file("davy.toml"));
    assert_eq!(read(&sender("mast")).unwrap().senders[0].name, "mast", "the token stands beside the file");
    let problems = read(&(sender("mast") + &*sender("other"))).unwrap_err();
    let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        ["davy.toml: source.http.other: has the same token as source.http.mast; give each sender its own"]
    );
}

#[test]
fn seasons_are_read_as_one_part_or_several_and_wrong_days_are_told() {
    let text = "[calendar]\nseason.flood = { from = \"05-15\", to = \"09-30\" }\n\
                season.dry = [{ from = \"11-01\", to = \"03-31\", sites = [\"river-*\"] }, { from = \"06-01\", to = \"06-02\" }]\n";
    let seen = look_at(text, Path::new("davy.toml"), Problems::in_file("davy.toml"));
    let told: Vec<_> = seen
        .calendar
        .seasons
        .iter()
        .map(|part| format!("{} {} {} {:?}", part.name, part.from, part.to, part.sites))
        .collect();
    assert_eq!(told, ["dry 11-01 03-31 [\"river-*\"]", "dry 06-01 06-02 []", "flood 05-15 09-30 []"]);

    let wrong = self::told(
        "[calendar]\nutc_offset = \"8\"\nseason.flood = { from = \"15-05\", to = \"02-30\" }\nseason.dry = []\n",
    );
    assert_eq!(
        wrong,
        [
            "davy.toml: calendar.utc_offset: \"8\" is not an offset such as \"+08:00\"",
            "davy.toml: calendar.season.dry: has no dates; write { from = \"05-15\", to = \"09-30\" }",
            "davy.toml: calendar.season.flood.from: \"15-05\" is not a month and a day such as \"05-15\"",
            "davy.toml: calendar.season.flood.to: \"02-30\" is not a month and a day such as \"05-15\"",
        ]
    );
}

#[test]
fn related_points_are_named_in_tables_and_columns_and_wrong_ones_are_told_with_both_names() {
    let folder = tempfile::tempdir().unwrap();
    let csv = "id,kind,relations.redundant,relations.feed\n\
        mine.a,methane,b 3,feed\n\
        mine.b,methane,,\n\
        mine.3,methane,,\n\
        mine.feed,switch,,\n";
    std::fs::write(folder.path().join("points.csv"), csv).unwrap();
    let path = folder.path().join("davy.toml");
    let head = "[gateway]\npoints = [\"points.csv\"]\n";
    let table =
        "[point.\"mine.t\"]\nkind = \"methane\"\nrelations = { upstream = \"a\", neighbour = [\"a\", \"b\"] }\n";
    let seen = look_at(&format!("{head}{table}"), &path, Problems::in_file("davy.toml"));
    let config = seen.config.expect("sound");
    let of = |id: &str| config.points.iter().find(|point| &*point.point.id == id).unwrap().point.relations.clone();
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    assert_eq!(of("mine.a"), [("feed".into(), names(&["feed"])), ("redundant".into(), names(&["b", "3"]))].into());
    assert_eq!(of("mine.t"), [("neighbour".into(), names(&["a", "b"])), ("upstream".into(), names(&["a"]))].into());
    let written = seen.written.iter().find(|written| written.id == "mine.t").unwrap();
    assert!(written.cells().contains(&("relations.neighbour".into(), "a b".into())), "{:?}", written.cells());

    let wrong = "[point.\"mine.t\"]\nkind = \"methane\"\nrelations = { redundant = [\"gone\", \"feed\"], feed = \"t\" }\n\
        [point.\"mine.u\"]\nkind = \"methane\"\nrelations = { redundant = [\"gone\", \"feed\"] }\n";
    let problems = parse(&format!("{head}{wrong}"), &path, Problems::in_file("davy.toml")).unwrap_err();
    let told = problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    for expected in [
        "point.\"mine.t\".relations.feed: names other points of the site",
        "point.\"mine.u\".relations.redundant: mine.u names \"gone\", but the site mine has no such point",
        "mine.u measures methane in \"%VOL\", but mine.feed switch in \"\": they are not redundant",
    ] {
        assert!(told.contains(expected), "{expected}\nis not in\n{told}");
    }
}

#[test]
fn what_is_most_likely_not_meant_is_a_warning_and_no_problem() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("secret"), "0123456789abcdef0123456789abcdef\n").unwrap();
    let text = r#"
        [source.mqtt_listener.front]
        address = "127.0.0.1:0"
        user.face = { password_file = "secret", points = ["mine.t1", "mien.*"] }
        [source.http.weather]
        token_file = "secret"
        points = ["mine.wind-*"]
        [source.modbus.d1]
        address = "10.0.4.7:502"
        [point."mine.t1"]
        kind = "methane"
        [point."mine.t2"]
        kind = "methane"
    "#;
    let seen = look_at(text, &folder.path().join("davy.toml"), Problems::in_file("davy.toml"));
    assert_eq!(seen.problems, [], "nothing is wrong");
    let told: Vec<_> = seen.warnings.iter().map(|warning| format!("{}: {}", warning.key, warning.message)).collect();
    assert_eq!(
        told,
        [
            "source: 1 points (mine.t2) are delivered by no source: bind them (modbus = .., mqtt = ..), or add a \
             listener, a broker or a sender that may write them",
            "source.mqtt_listener.front.user.face.points: \"mien.*\" fits no point",
            "source.http.weather.points: \"mine.wind-*\" fits no point",
            "source.modbus.d1: no point is read from it: it is not polled",
            "notify: nobody is told of an alarm but the log, the page and MQTT subscribers; add [notify.mail.NAME] or another",
        ]
    );
}

/// People are configured, and an alarm of the second mine would reach none of them.
#[test]
fn a_site_for_which_nobody_stands_and_a_person_who_is_never_called_are_warnings() {
    let text = r#"
        [source.mqtt_listener.front]
        address = "127.0.0.1:0"
        anonymous = true
        [notify.webhook.li]
        url = "http://127.0.0.1:9/li"
        [notify.webhook.zhao]
        url = "http://127.0.0.1:9/zhao"
        [person.li]
        name = "Li"
        reach = ["webhook.li"]
        [person.zhao]
        name = "Zhao"
        reach = ["webhook.zhao"]
        [area.mine-1]
        kind = "site"
        [area.old-pit]
        kind = "site"
        [position.operator]
        area = "mine-1"
        who = ["person.li"]
        [point."mine-1.t1"]
        kind = "methane"
        [point."mine-2.t1"]
        kind = "methane"
    "#;
    let warnings = |text: &str| -> Vec<String> {
        let seen = look_at(text, Path::new("davy.toml"), Problems::in_file("davy.toml"));
        assert_eq!(seen.problems, []);
        seen.warnings.iter().map(|warning| format!("{}: {}", warning.key, warning.message)).collect()
    };
    let told = warnings(text);
    assert_eq!(told.len(), 3, "{told:#?}");
    assert!(told[0].starts_with("position: no position covers 1 points (mine-2.t1) of site mine-2: nobody is called"));
    assert_eq!(told[1], "area.old-pit.sites: \"old-pit\" fits no site that has points");
    assert!(
        told[2]
            .starts_with("person.zhao.reach: stands at no position and in no policy: webhook.zhao hears of no alarm")
    );
    let county = "\n[position.county]\nwho = [\"person.zhao\"]\n";
    assert_eq!(warnings(&format!("{text}{county}")).len(), 1, "somebody for everywhere covers every site");
    // Nor are alarms to wait for a sick disk.
    let waits = |wait: &str| warnings(&format!("{text}{county}[journal]\nalarm_wait = \"{wait}\"\n"));
    assert_eq!(waits("1s").len(), 1);
    assert!(waits("5s").iter().any(|told| told.starts_with("journal.alarm_wait: ") && told.contains("up to 5s late")));
}

#[test]
fn limits_are_read_with_their_scope_and_every_mistake_is_told() {
    let ground = "[calendar]\nseason.flood = { from = \"05-15\", to = \"09-30\" }\n\
                  [point.\"reach-1.level\"]\nkind = \"water_level\"\nlimits.\"river-near.warning\" = 23.0\n\
                  limits.river-warning.warning = 24.0\nlimits.alarm = 25\n";
    let limit = |more: &str| format!("[[limit]]\nlimit = \"warning\"\nvalue = 24.5\nunit = \"m\"\n{more}\n");
    let sound = format!(
        "{ground}{}{}",
        limit("rule = \"river-warning\"\nsite = \"reach-1\"\nseason = \"flood\"\nbasis = \"plan\"\nby = \"Wang\""),
        limit("points = [\"reach-1.*\"]\nbasis = \"plan\"\nby = \"Wang\"")
    );
    let seen = look_at(&sound, Path::new("davy.toml"), Problems::in_file("davy.toml"));
    assert_eq!(seen.problems, []);
    let read: Vec<_> =
        seen.limits.iter().map(|limit| (&*limit.id, limit.layer().word(), limit.scope.to_string())).collect();
    assert_eq!(
        read,
        [("limit[0]", "season", "site reach-1".to_owned()), ("limit[1]", "point", "reach-1.*".to_owned())]
    );
    let own: Vec<_> = seen.points[0].point.limits.iter().map(|(name, value)| format!("{name} {value}")).collect();
    assert_eq!(own, ["alarm 25", "river-near.warning 23", "river-warning.warning 24"]);

    let wrong = format!(
        "{ground}{}{}{}{}",
        limit("site = \"reach-2\"\nbasis = \"plan\"\nby = \"Wang\""),
        limit("points = [\"reach-9.*\"]\nseason = \"flod\"\nbasis = \" \"\nby = \"Wang\""),
        limit("basis = \"plan\"\nby = \"Wang\""),
        limit("site = \"reach-1\"\nbasis = \"plan\""),
    );
    let told = self::told(&wrong);
    for expected in [
        "limit[0].site: \"reach-2\" is not a site with points; did you mean \"reach-1\"",
        "limit[1].points: \"reach-9.*\" names no point",
        "limit[1].season: \"flod\" is not a season of [calendar]; did you mean \"flood\"",
        "limit[1].basis: is empty; say why",
        "limit[2].site: say where: site = \"..\" or points = [\"site.*\"]",
        "limit[3]: by is missing",
    ] {
        assert!(told.iter().any(|problem| problem.contains(expected)), "{expected}\nis not in\n{told:#?}");
    }
}

#[test]
fn points_hang_from_their_device_and_from_a_shared_bus() {
    let device = |name: &str, address: &str, unit: u8| {
        format!("[source.modbus.{name}]\naddress = \"{address}\"\nunit = {unit}\n")
    };
    let point = |id: &str, device: &str| {
        format!(
            "[point.\"plant.{id}\"]\nkind = \"pressure\"\n\
             modbus = {{ device = \"{device}\", function = 3, address = 0, type = \"uint16\" }}\n"
        )
    };
    let text = [
        device("a", "10.0.4.7:502", 1),
        device("b", "10.0.4.7:502", 2),
        device("c", "10.0.4.8:502", 1),
        point("a1", "a"),
        point("a2", "a"),
        point("b1", "b"),
        point("c1", "c"),
        "[source.mqtt_listener.front]\naddress = \"127.0.0.1:0\"\nanonymous = true\n".into(),
        "[point.\"pit.t1\"]\nkind = \"methane\"\n".into(),
    ]
    .concat();
    let path = tempfile::tempdir().unwrap().path().join("davy.toml");
    let config = parse(&text, &path, Problems::in_file("davy.toml")).unwrap();
    let parents = config.parents();
    let told: Vec<(&str, Vec<&str>)> =
        parents.iter().map(|(source, points)| (source.as_str(), points.iter().map(|id| &**id).collect())).collect();
    assert_eq!(
        told,
        [
            ("modbus.10.0.4.7:502", vec!["plant.a1", "plant.a2", "plant.b1"]),
            ("modbus.a", vec!["plant.a1", "plant.a2"]),
            ("modbus.b", vec!["plant.b1"]),
            ("modbus.c", vec!["plant.c1"]),
        ],
        "a sensor that dials in may come from anywhere"
    );
}

#[test]
fn what_comes_one_way_only_hangs_from_it_and_check_names_a_parent_of_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let secret = |name: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, format!("a-secret-of-{name}")).unwrap();
        path
    };
    let text = format!(
        r#"
        [source.mqtt_listener.front]
        address = "127.0.0.1:0"
        user.gw = {{ password_file = {gw:?}, points = ["pit.gw-*", "pit.both"], away = "30s" }}
        user.none = {{ password_file = {none:?}, points = ["pit.both"], away = "30s" }}
        user.often = {{ password_file = {often:?}, points = ["pit.often"] }}
        [source.http.mast]
        token_file = {mast:?}
        points = ["pit.wind", "pit.both"]
        away = "5m"
        [source.sparkplug.county]
        broker = "mqtt://10.0.4.2"
        host_id = "davy"
        points = ""
        [source.gb26875.fire]
        address = "127.0.0.1:0"
        permanent = true
        device."060504030201" = {{ points = "tower.p{{part}}-{{bit}}" }}
        [source.sl651.river]
        address = "127.0.0.1:0"
        [source.modbus.a]
        address = "serial:/dev/ttyUSB0"
        unit = 1
        [source.modbus.b]
        address = "serial:/dev/ttyUSB0"
        unit = 2
        [point."pit.gw-1"]
        kind = "methane"
        [point."pit.often"]
        kind = "methane"
        [point."pit.wind"]
        kind = "wind"
        [point."pit.both"]
        kind = "wind"
        [point."pit.sp"]
        kind = "methane"
        sparkplug = {{ group = "g", node = "n", device = "d", metric = "x" }}
        [point."pit.own"]
        kind = "methane"
        sparkplug = {{ group = "g", node = "n", metric = "x" }}
        [point."tower.p7-fire"]
        kind = "smoke"
        [point."tower.panel"]
        kind = "switch"
        fire = {{ device = "060504030201", bit = "panel_line_fault" }}
        [point."river.level"]
        kind = "water_level"
        sl651 = {{ station = "0012345678", element = "39" }}
        [point."pit.p"]
        kind = "pressure"
        modbus = {{ device = "b", function = 3, address = 0, type = "uint16" }}
        "#,
        gw = secret("gw"),
        none = secret("none"),
        often = secret("often"),
        mast = secret("mast"),
    );
    let path = folder.path().join("davy.toml");
    let config = parse(&text, &path, Problems::in_file("davy.toml")).unwrap_or_else(|problems| panic!("{problems:#?}"));
    let parents = config.parents();
    let told: Vec<String> = parents.iter().map(|(source, points)| format!("{source}: {}", points.join(" "))).collect();
    assert_eq!(
        told,
        [
            "gb26875.fire/060504030201: tower.p7-fire tower.panel",
            "http.mast: pit.wind",
            "modbus.b: pit.p",
            "modbus.serial:/dev/ttyUSB0: pit.p",
            "mqtt_listener.front/gw: pit.gw-1",
            "sparkplug.county: pit.own pit.sp",
            "sparkplug.county/g/n: pit.own pit.sp",
            "sparkplug.county/g/n/d: pit.sp",
        ]
    );
    let mut warnings = Problems::in_file("davy.toml");
    config.note_parents(&mut warnings);
    let told: Vec<String> = warnings.iter().map(ToString::to_string).collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(
        told[0].starts_with(
            "davy.toml: source.mqtt_listener.front.user.none.away: no point comes through \
                             mqtt_listener.front/none alone"
        ),
        "{told:?}"
    );
}

#[test]
fn the_list_of_halved_sites_is_refused_with_what_to_write_instead() {
    let told = told("[case]\nhalved_sites = [\"mine-c-*\"]\n");
    let said = told.iter().find(|line| line.contains("halved_sites")).unwrap();
    assert!(said.starts_with("davy.toml: case.halved_sites: is not read any more: write class = \"C\""), "{said}");
    assert!(said.contains("[area.NAME]"), "{said}");
}
