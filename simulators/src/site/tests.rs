use std::collections::BTreeSet;

use super::*;
use crate::scenario::shipped;

/// Words of `src/model/kind.rs` of the gateway.
const KINDS: &str = "methane combustible co co2 h2s o2 so2 no2 nh3 cl2 temperature wind pressure tank_pressure \
    tank_level water_level rain flow smoke heat dust displacement battery switch";

fn found<'a>(points: &'a [DemoPoint], id: &str) -> &'a DemoPoint {
    points.iter().find(|point| point.id() == id).unwrap_or_else(|| panic!("no demo point {id}"))
}

#[test]
fn the_table_holds_four_sites_sixty_points_and_fifteen_over_modbus() {
    let points = demo_points();
    let wired = points.iter().filter(|point| matches!(point.transport, Transport::Modbus { .. })).count();
    assert!(points.len() >= 60 && wired >= 15, "{} points, {wired} over modbus", points.len());
    let ids: BTreeSet<String> = points.iter().map(DemoPoint::id).collect();
    assert_eq!(ids.len(), points.len(), "every point once");
    let sites: BTreeSet<&str> = points.iter().map(|point| point.site).collect();
    assert_eq!(sites.into_iter().collect::<Vec<_>>(), ["demo-building", "demo-mine", "demo-plant", "demo-river"]);
    assert_eq!(points.iter().filter(|point| point.kind == "smoke").count(), 12);
    assert_eq!(points.iter().filter(|point| point.kind == "water_level" && point.limits.len() == 2).count(), 4);
    for point in &points {
        assert!(KINDS.split_whitespace().any(|kind| kind == point.kind), "{}: kind {}", point.id(), point.kind);
        assert!(point.low < point.high && (point.low..=point.high).contains(&point.normal), "{}", point.id());
        assert!(point.resolution > 0.0 && !point.period.is_zero() && !point.place.is_empty(), "{}", point.id());
    }
    let Transport::Modbus { unit, function, register, form, order, scale, .. } =
        &found(&points, "demo-plant.tank-farm-h2s").transport
    else {
        panic!("over modbus")
    };
    assert_eq!((*unit, *function, *register, *form, *order, *scale), (1, 3, 1, "i16", "ABCD", 0.1));
}

#[test]
fn scenarios_drive_points_that_exist_and_no_point_twice() {
    let points = demo_points();
    let mut driven = BTreeSet::new();
    for name in DEMO_SCENARIOS {
        let scenario = shipped(name).unwrap();
        let round = scenario.length.as_secs_f64() / DEMO_SPEED;
        assert!(scenario.repeat && (30.0..=60.0).contains(&round), "{name}: a round of {round} s");
        for track in &scenario.tracks {
            found(&points, &track.point);
            assert!(driven.insert(track.point.clone()), "{} is driven twice", track.point);
        }
    }
    for track in &shipped("return-to-normal").unwrap().tracks {
        assert!(driven.contains(&track.point), "{} needs no return", track.point);
    }
}

/// The first wall seconds at which `is` begins and ends to hold for a point.
fn spell(id: &str, is: impl Fn(Signal) -> bool) -> (f64, f64) {
    let (points, script) = (demo_points(), Script::demo().unwrap());
    let point = found(&points, id);
    let holds = |tenth: u32| is(script.reading(point, Duration::from_millis(u64::from(tenth) * 100)).signal);
    let begin = (0..600).find(|tenth| holds(*tenth)).unwrap_or_else(|| panic!("{id}: nothing happens"));
    // Noise may cross a limit to and fro: the end is where it has stayed away for two seconds.
    let end = (begin..600).find(|tenth| (*tenth..*tenth + 20).all(|later| !holds(later)));
    (f64::from(begin) / 10.0, f64::from(end.unwrap_or_else(|| panic!("{id}: never ends"))) / 10.0)
}

#[test]
fn within_fifteen_seconds_alarms_rise_and_some_clear() {
    let above = |limit: f64| move |signal| matches!(signal, Signal::Value(value) if value >= limit);
    let early = |spell: (f64, f64)| {
        assert!(spell.0 > 1.0, "starts normal: {spell:?}");
        assert!(spell.1 - spell.0 >= 2.0, "long enough to be polled: {spell:?}");
        assert!(spell.1 <= 15.0, "over within 15 s: {spell:?}");
    };
    early(spell("demo-mine.face-3201-t1", above(1.0)));
    early(spell("demo-mine.face-3201-t0", above(1.0)));
    early(spell("demo-plant.tank-farm-h2s", above(6.6)));
    early(spell("demo-building.smoke-3-2", above(1.0)));
    early(spell("demo-plant.boiler-co", |signal| matches!(signal, Signal::Code(32_767))));
    let silent = spell("demo-mine.face-3203-t1", |signal| signal == Signal::Silent);
    assert!(silent.0 <= 3.0 && silent.1 - silent.0 >= 8.0, "eight periods of silence: {silent:?}");
    early(silent);
    let (rises, falls) = spell("demo-river.town-bridge", above(28.5));
    assert!(rises <= 10.0 && falls <= 45.0, "river over the warning level from {rises} to {falls} s");
}

#[test]
fn other_points_stay_within_their_noise() {
    let (points, script) = (demo_points(), Script::demo().unwrap());
    let point = found(&points, "demo-mine.heading-3105-t1");
    let seen: BTreeSet<String> = (0..60)
        .map(|second| payload(point, script.reading(point, Duration::from_secs(second)), 1_790_000_000_000).unwrap())
        .collect();
    assert!(seen.len() >= 3, "{seen:?}");
    for text in seen {
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert!((0.26..=0.30).contains(&json["value"].as_f64().unwrap()), "{text}");
        assert_eq!(json["time"], 1_790_000_000_000_u64);
    }
}

#[test]
fn payloads_show_wrong_clocks_codes_and_silence() {
    let points = demo_points();
    let point = found(&points, "demo-river.town-bridge");
    let sent = |signal, clock_offset_ms| payload(point, Reading { signal, clock_offset_ms }, 1_790_000_000_000);
    assert_eq!(sent(Signal::Value(28.5), 0).unwrap(), r#"{"value":28.500,"time":1790000000000}"#);
    assert_eq!(sent(Signal::Value(28.5), -7_200_000).unwrap(), r#"{"value":28.500,"time":1789992800000}"#);
    assert_eq!(sent(Signal::Code(32_767), 0).unwrap(), r#"{"value":32767,"time":1790000000000}"#);
    assert_eq!(sent(Signal::Silent, 0), None);
}
