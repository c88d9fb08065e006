//! Rules that need not be asked are not asked, and nobody can tell: the same alarms at the same moments as by Rhai, which
//! asks all of them.

use super::*;
use crate::rule::drawn_closure;

/// Closures as people write them: trends, means, what stands on either side, other points.
const WRITTEN: [&str; 16] = [
    "p.value >= p.limit.alarm",
    "p.value - p.min(\"60s\") + 0.000001 >= p.limit.low",
    "p.mean(\"1m\") + 0.5 < p.value || p.value > 2.0 * p.limit.alarm - p.mean(\"10m\")",
    "2.0 * p.limit.low - p.mean(\"5m\") > p.value",
    "(p.value - p.ewma(\"10m\")).abs() > p.limit.low",
    "p.mean(\"8h\") >= p.limit.alarm",
    "p.sum(\"10m\") >= 5.0",
    "p.delta(\"10m\") <= -0.5",
    "p.crossed_up(p.limit.alarm) || p.crossed_down(0.3)",
    "p.ewma(\"1m\") >= 1.2 * p.ewma(\"10m\") && p.ewma(\"1m\") >= 0.4 * p.limit.alarm",
    "p.value < p.limit.alarm && p.time_to(p.limit.alarm, \"5m\") <= 10.0",
    "p.value - p.min(\"10m\") >= 0.3 && p.related(\"redundant\").max >= p.limit.low",
    "p.related(\"redundant\").vote(2, \">=\", p.limit.low)",
    "p.related(\"feed\").mean(\"30m\") >= 0.3 && p.value < 0.1",
    "p.median(\"5m\") > p.limit.low && p.stddev(\"5m\") > 0.1",
    "{ let rise = p.value - p.mean(\"1m\"); rise >= 0.3 && rise < 2.0 }",
];
const HEALTH: [&str; 4] = [
    "p.flat_for > 60.0",
    "p.stood_for > 5.0 || p.clock > 3.0",
    "p.has(\"over_range\") || p.has(\"line_break\")",
    "p.flat_for > 30.0 && p.value > p.mean(\"1m\") - 0.2",
];
const CLEAR: [&str; 3] = ["", ", clear: |p| p.value < 0.4, clear_after: \"5s\"", ", raise_after: \"10s\", latch: true"];

/// `evenly`: one point that speaks every 10 to 12 seconds.
fn entries(steps: &[(u8, u8, u16, i16, bool)], evenly: bool, rules: &[RuleFile]) -> Vec<Entry> {
    let mut points = ["t1", "t2", "t3", "fan", "co"].map(point);
    for (place, (word, other)) in [(0, ("redundant", "t2")), (1, ("feed", "t1")), (2, ("redundant", "t1"))] {
        points[place].relations.insert(word.into(), vec![other.into()]);
    }
    points[4].kind = Kind::Co;
    let setup = Setup { at: at(0.0), rules: rules.to_vec(), ..Setup::of(points.to_vec()) };
    let mut entries = vec![Entry::Note(Note::Setup(Arc::new(setup)))];
    let mut now = 1.0;
    for (point, what, pause, number, again) in steps {
        let point = if evenly { &0 } else { point };
        let awkward = [0.0, 1.0, 1.0 - 1e-16, 0.5, f64::NAN, f64::INFINITY, 1e15, -1e9];
        let value = if *what < 8 { awkward[usize::from(*what)] } else { 0.7 + f64::from(*number) / 40_000.0 };
        let sample = sample(now, u32::from(point % 5), value);
        let sample = match what {
            // Later than its successors, of another clock, marked, or one of a frame.
            8..=12 => Sample { source_time: at((now - f64::from(*point)).max(0.0)), ..sample },
            13 => Sample { source_time: at(now + 40.0), ..sample },
            14 => Sample { quality: Quality::because(Reason::LineBreak), ..sample },
            15 => Sample { quality: Quality::because(Reason::OverRange), ..sample },
            _ => sample,
        };
        let mut frame = vec![sample];
        if *again {
            frame.push(Sample { point: PointIndex(u32::from(point % 5 + 1) % 5), ..sample });
        }
        entries.push(Entry::Samples(Arc::new(frame)));
        // Mostly seconds, sometimes a quarter of an hour.
        now += if evenly && *pause < 60_000 {
            10.0 + f64::from(*pause % 3)
        } else if *pause < 60_000 {
            f64::from(*pause % 7) + 0.5
        } else {
            f64::from(*pause % 900)
        };
        entries.push(Entry::Tick(at(now)));
    }
    entries
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 2_000, ..ProptestConfig::with_cases(64) })]
    #[test]
    fn the_same_alarms_whether_rules_are_asked_or_not(
        written in prop::collection::vec((0..WRITTEN.len(), 0..CLEAR.len()), 1..6),
        health in prop::collection::vec(0..HEALTH.len(), 0..3),
        drawn in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..400), 0..3),
        steps in prop::collection::vec((any::<u8>(), any::<u8>(), any::<u16>(), any::<i16>(), any::<bool>()), 1..120),
        evenly in any::<bool>(),
    ) {
        let limits = r#"limits: #{ alarm: #{ value: 1.0, unit: "%VOL", stricter: "lower", basis: "b" },
            low: #{ value: 0.5, unit: "%VOL", stricter: "lower", basis: "b" } }"#;
        let file = |id: String, rest: String| {
            let text = format!(
                r#"rule("{id}", #{{ title: "t", advice: "a", watches: #{{ kind: "methane" }}, priority: "P2", level: "orange",
                    {limits}, {rest} }});"#
            );
            RuleFile { path: format!("{id}.rhai"), text }
        };
        let written = written.iter().enumerate().map(|(place, (code, clear))| {
            file(format!("w{place}"), format!("raise: |p| {}{}", WRITTEN[*code], CLEAR[*clear]))
        });
        let health = health.iter().enumerate().map(|(place, code)| {
            file(format!("h{place}"), format!("judges: \"health\", raise: |p| {}", HEALTH[*code]))
        });
        let drawn = drawn.iter().enumerate().map(|(place, bytes)| {
            file(format!("d{place}"), format!("raise: |p| {}", drawn_closure(bytes)))
        });
        let rules: Vec<RuleFile> = written.chain(health).chain(drawn).collect();
        let (natively, asking) = (Language::new(), Language::interpreting());
        let (mut one, mut other) = (Shard::new(&natively), Shard::new(&asking));
        for entry in entries(&steps, evenly, &rules) {
            prop_assert_eq!(play(&mut one, [entry.clone()]), play(&mut other, [entry.clone()]), "{:?}", entry);
        }
        prop_assert_eq!(one.open_alarms().collect::<Vec<_>>(), other.open_alarms().collect::<Vec<_>>());
    }
}

/// The property would hold if everything were asked, or if nothing ever called. Half of these rules call or have no bound.
#[test]
fn most_of_it_is_answered_and_some_of_it_calls() {
    let language = Language::new();
    let rules: Vec<RuleFile> = WRITTEN
        .iter()
        .enumerate()
        .map(|(place, code)| rule(&format!("w{place}"), &format!("raise: |p| {}", code.replace("p.limit.low", "0.5"))))
        .collect();
    let steps: Vec<_> = (0..400_u16)
        .map(|step| {
            ((step % 5) as u8, 20 + (step % 200) as u8, step % 7, if step > 300 { 30_000 } else { -10_000 }, false)
        })
        .collect();
    let mut shard = Shard::new(&language);
    let changes = play(&mut shard, entries(&steps, false, &rules));
    let counts = shard.counts;
    assert!(counts.answered * 3 > counts.evaluations, "{counts:?}");
    assert!(changes.len() > 10, "{}", changes.len());
}
