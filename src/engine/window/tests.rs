//! Windows and memories against plain loops over the same samples, in order and out of it.

use proptest::prelude::*;

use super::*;
use crate::engine::{Against, Keep, Pace, Past, Wants};
use crate::rule::Comparison;

const START: Timestamp = Timestamp::from_secs(1_800_000_000);

const ALL: [Over; 13] = [
    Over::Mean,
    Over::Min,
    Over::Max,
    Over::Sum,
    Over::Count,
    Over::Stddev,
    Over::Delta,
    Over::Rate,
    Over::Median,
    Over::Slope,
    Over::Increase,
    Over::Resets,
    Over::Gap,
];

fn everything(spans: &[Duration]) -> Wants {
    let mut wants = Wants { pair: true, ..Wants::default() };
    for span in spans {
        for over in ALL {
            wants.window(*span, over);
        }
        wants.keep(Keep::Ewma { constant: *span });
    }
    for hole in [None, Some(Duration::from_secs(10))] {
        let against = Against { comparison: Comparison::GreaterOrEqual, level: 1.0, hole };
        wants.keep(Keep::Held(against.clone()));
        wants.keep(Keep::Since(against));
    }
    for down in [false, true] {
        wants.keep(Keep::Cusum { target: 0.5, slack: 0.25, down });
    }
    wants
}

fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    to.since(from).as_secs_f64()
}

/// What a window says, by a plain loop.
fn plainly(over: Over, all: &[(Timestamp, f64)], span: Duration) -> Option<f64> {
    let newest = all.last()?.0;
    let inside: Vec<(Timestamp, f64)> = all.iter().copied().filter(|(at, _)| *at >= newest - span).collect();
    let values: Vec<f64> = inside.iter().map(|(_, value)| *value).collect();
    let pairs = || inside.windows(2).map(|pair| (pair[0], pair[1]));
    let count = values.len() as f64;
    let (first, last) = (inside[0], inside[inside.len() - 1]);
    let mean = values.iter().sum::<f64>() / count;
    let minutes = |at: Timestamp| seconds(first.0, at) / 60.0;
    Some(match over {
        Over::Mean => mean,
        Over::Sum => values.iter().sum(),
        Over::Count => count,
        Over::Min => values.iter().copied().reduce(f64::min)?,
        Over::Max => values.iter().copied().reduce(f64::max)?,
        Over::Stddev => (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count).sqrt(),
        Over::Delta => last.1 - first.1,
        Over::Rate | Over::Slope if last.0 <= first.0 => return None,
        Over::Rate => (last.1 - first.1) / minutes(last.0),
        Over::Slope => {
            let middle = inside.iter().map(|(at, _)| minutes(*at)).sum::<f64>() / count;
            let above = |at: Timestamp| minutes(at) - middle;
            let spread: f64 = inside.iter().map(|(at, _)| above(*at).powi(2)).sum();
            inside.iter().map(|(at, value)| above(*at) * (value - mean)).sum::<f64>() / spread
        }
        Over::Median => {
            let mut sorted = values.clone();
            sorted.sort_by(f64::total_cmp);
            let middle = sorted.len() / 2;
            if sorted.len() % 2 == 1 { sorted[middle] } else { (sorted[middle - 1] + sorted[middle]) / 2.0 }
        }
        Over::Increase | Over::Resets if inside.len() < 2 => return None,
        Over::Increase => pairs().map(|((_, a), (_, b))| if b < a { b.max(0.0) } else { b - a }).sum(),
        Over::Resets => pairs().filter(|((_, a), (_, b))| b < a).count() as f64,
        Over::Gap => {
            let leading = seconds(newest - span, first.0);
            pairs().map(|((a, _), (b, _))| seconds(a, b)).fold(leading, f64::max)
        }
    })
}

fn close(over: Over, said: Option<f64>, expected: Option<f64>, scale: f64) -> Result<(), TestCaseError> {
    let tolerance = match over {
        Over::Min | Over::Max | Over::Count | Over::Delta | Over::Rate | Over::Median | Over::Resets => 0.0,
        Over::Gap => 1e-6,
        Over::Mean | Over::Sum | Over::Increase => 1e-9 * scale,
        // A difference of squares.
        Over::Stddev => 1e-5 * scale,
        Over::Slope => 1e-6 * scale,
    };
    match (said, expected) {
        (Some(said), Some(expected)) => {
            prop_assert!((said - expected).abs() <= tolerance, "{over:?}: {said} is not {expected} ({tolerance})");
        }
        (said, expected) => prop_assert_eq!(said, expected, "{:?}", over),
    }
    Ok(())
}

/// What a memory says, by a plain loop.
fn remembered(keep: &Keep, all: &[(Timestamp, f64)]) -> Option<f64> {
    let newest = all.last()?.0;
    match keep {
        Keep::Ewma { constant } => {
            let mut mean = all[0].1;
            for pair in all.windows(2) {
                let weight = (-seconds(pair[0].0, pair[1].0) / constant.as_secs_f64()).exp();
                mean = weight * mean + (1.0 - weight) * pair[1].1;
            }
            Some(mean)
        }
        Keep::Held(Against { level, hole, .. }) => {
            let unseen = |place: usize| hole.is_some_and(|hole| all[place].0.since(all[place - 1].0) > hole);
            let mut since = None;
            for place in (0..all.len()).rev().take_while(|place| all[*place].1 >= *level) {
                since = Some(all[place].0);
                if place > 0 && unseen(place) {
                    break;
                }
            }
            Some(since.map_or(0.0, |since| seconds(since, newest)))
        }
        Keep::Since(Against { level, hole, .. }) => {
            let last = all.iter().rposition(|(_, value)| value >= level)?;
            let hole_after = (last + 1..all.len())
                .rev()
                .find(|place| hole.is_some_and(|hole| all[*place].0.since(all[*place - 1].0) > hole));
            Some(seconds(all[hole_after.unwrap_or(last)].0, newest))
        }
        Keep::Cusum { target, slack, down } => Some(all.iter().fold(0.0_f64, |sum, (_, value)| {
            let beyond = if *down { target - value } else { value - target };
            (sum + beyond - slack).max(0.0)
        })),
    }
}

fn spans() -> impl Strategy<Value = Vec<Duration>> {
    prop::collection::vec((1_u64..90).prop_map(Duration::from_secs), 1..4)
}

proptest! {
    /// The incremental figures are those of a plain loop over the same samples.
    #[test]
    fn a_window_equals_a_loop_over_its_samples(
        spans in spans(),
        samples in prop::collection::vec((0_i64..20_000_000, -1e3_f64..1e3), 1..200),
    ) {
        let wants = everything(&spans);
        let mut past = Past::new(&wants);
        let mut all: Vec<(Timestamp, f64)> = Vec::new();
        let mut at = START;
        for (pause, value) in samples {
            at = at + Duration::from_micros(pause as u64);
            // Counters and levels alike: some values come again.
            let value = if value > 500.0 { value.round() } else { value };
            all.push((at, value));
            past.push(at, value);
            // Asked of what has not been taken up, now and then: that is worked out for each question.
            if !all.len().is_multiple_of(8) {
                past.settle();
            }
            for (place, (span, _)) in wants.windows.iter().enumerate() {
                for over in ALL {
                    let scale = if over == Over::Slope { 1e7 } else { 1e6 };
                    let plain = plainly(over, &all, *span);
                    // Moments that are microseconds apart have no line worth the name.
                    if over != Over::Slope || plainly(Over::Rate, &all, *span).is_none_or(|rate| rate.abs() < 1e6) {
                        close(over, past.over(place, over), plain, scale)?;
                    }
                }
            }
            prop_assert!(past.held().samples >= 1);
        }
        for (place, keep) in wants.keeps.iter().enumerate() {
            match (past.kept(place), remembered(keep, &all)) {
                (Some(said), Some(plain)) => prop_assert!((said - plain).abs() <= 1e-6, "{keep:?}: {said}, {plain}"),
                (said, plain) => prop_assert_eq!(said, plain, "{:?}", keep),
            }
        }
    }

    /// Samples that overtake each other leave everything as if they had come in order.
    #[test]
    fn a_past_is_the_same_whatever_the_order_of_arrival(
        spans in spans(),
        samples in prop::collection::vec((0_i64..4_000_000, -50_i32..50, 0_usize..6), 1..120),
    ) {
        let mut at = START;
        let mut ordered: Vec<(Timestamp, f64)> = Vec::new();
        let mut arrivals: Vec<(usize, Timestamp, f64)> = Vec::new();
        for (place, (pause, value, held_up)) in samples.into_iter().enumerate() {
            // Whole numbers: sums are exact in any order. No two at one moment: their order would be open.
            at = at + Duration::from_micros(pause as u64 + 1);
            ordered.push((at, f64::from(value)));
            arrivals.push((place + held_up, at, f64::from(value)));
        }
        arrivals.sort_by_key(|(place, ..)| *place);
        let wants = everything(&spans);
        let (mut one, mut other) = (Past::new(&wants), Past::new(&wants));
        for (at, value) in &ordered {
            one.push(*at, *value);
        }
        for (_, at, value) in &arrivals {
            other.insert(*at, *value);
        }
        for place in 0..wants.windows.len() {
            for over in ALL {
                close(over, other.over(place, over), one.over(place, over), 1e3)?;
            }
        }
        for (place, keep) in wants.keeps.iter().enumerate() {
            prop_assert_eq!(one.kept(place), other.kept(place), "{:?}", keep);
        }
        prop_assert_eq!(one.pair(), other.pair());
    }

    /// Whatever comes in whichever order, and whenever it is taken up: what a window or a mean says lies between the
    /// two numbers between which all of it lies.
    #[test]
    fn all_that_is_looked_back_on_lies_in_the_hull(
        spans in prop::collection::vec(prop_oneof![1_u64..90, 500_u64..2_000], 0..3),
        samples in prop::collection::vec(
            (prop_oneof![4 => 0_u64..9, 1 => 0_u64..900], prop::option::weighted(0.1, 0_u64..30), any::<bool>(), -50_i32..50),
            1..150,
        ),
        turns in 0_usize..150,
    ) {
        let spans: Vec<Duration> = spans.into_iter().map(Duration::from_secs).collect();
        let wants = everything(&spans);
        let mut past = Past::new(&wants);
        let mut at = START;
        for (place, (pause, overtaken, asked, value)) in samples.into_iter().enumerate() {
            at = at + Duration::from_secs(pause);
            // A level that moves, so that what is gone lies elsewhere.
            let value = f64::from(value) / 10.0 + 40.0 * f64::from(u8::try_from(place / 30).unwrap());
            match overtaken {
                _ if place == turns => past.push(START - Duration::from_secs(9), value),
                Some(by) => past.insert(at - Duration::from_secs(by), value),
                None => past.push(at, value),
            }
            let hull = past.hull();
            let among = |said: f64| said >= hull.low - 1e-6 && said <= hull.high + 1e-6;
            prop_assert!(hull.low <= value && value <= hull.high);
            let (before, newest) = past.pair().unwrap_or((value, value));
            prop_assert!(among(before) && among(newest));
            if asked {
                past.settle();
            }
            for window in 0..wants.windows.len() {
                for over in [Over::Mean, Over::Min, Over::Max, Over::Median] {
                    prop_assert!(past.over(window, over).is_none_or(among), "{over:?} {hull:?}");
                }
                let apart = past.over(window, Over::Delta).unwrap_or(0.0);
                prop_assert!(apart.abs() <= hull.high - hull.low);
            }
            for (place, _) in wants.keeps.iter().enumerate().filter(|(_, keep)| matches!(keep, Keep::Ewma { .. })) {
                prop_assert!(past.kept(place).is_none_or(among), "{hull:?}");
            }
        }
    }

    /// However values jump: a line through samples that come evenly is no steeper than is said of it.
    #[test]
    fn no_line_is_steeper_than_its_hull_and_its_beat_allow(
        span in 20_u64..900,
        beats in 4_u64..40,
        samples in prop::collection::vec((-30_i64..=30, -50_i32..50, prop::option::weighted(0.02, 0_u64..9), any::<bool>()), 20..200),
        jump in 1_usize..30,
    ) {
        let span = Duration::from_secs(span);
        let beat = span.as_micros() as i64 / beats as i64;
        let mut past = Past::new(&everything(&[span]));
        let mut at = START;
        for (place, (early, value, overtaken, asked)) in samples.into_iter().enumerate() {
            at = Timestamp::from_micros(at.micros() + beat + beat * early / 100);
            // All of them on either side is as steep as it gets.
            let value = if asked { f64::from(value) } else { f64::from(u8::from(place / jump % 2 == 0)) * 50.0 };
            match overtaken {
                Some(by) => past.insert(at - Duration::from_secs(by), value),
                None => past.push(at, value),
            }
            let (hull, slope) = (past.hull(), past.over(0, Over::Slope).unwrap_or(0.0));
            let most = Pace::STEEPEST * (hull.high - hull.low) / (span.as_secs_f64() / 60.0);
            prop_assert!(!past.pace().is_even_over(span) || slope.abs() <= most + 1e-9, "{slope} {most} {:?}", past.pace());
        }
    }

    /// What is asked for later is answered from what is still there, and what stays is not touched.
    #[test]
    fn a_past_that_is_rearranged_goes_on(
        spans in spans(),
        samples in prop::collection::vec((1_i64..4_000_000, -50_i32..50), 20..80),
    ) {
        let (first, both) = (everything(&spans[..1]), everything(&spans));
        let (mut steady, mut changed) = (Past::new(&first), Past::new(&first));
        let mut at = START;
        for (place, (pause, value)) in samples.iter().enumerate() {
            at = at + Duration::from_micros(*pause as u64);
            steady.push(at, f64::from(*value));
            changed.push(at, f64::from(*value));
            match place {
                7 | 30 => changed.arrange(&both),
                20 | 40 => changed.arrange(&first),
                _ => {}
            }
        }
        changed.arrange(&first);
        for over in ALL {
            prop_assert_eq!(steady.over(0, over), changed.over(0, over), "{:?}", over);
        }
        prop_assert_eq!((0..first.keeps.len()).map(|place| steady.kept(place)).collect::<Vec<_>>(),
            (0..first.keeps.len()).map(|place| changed.kept(place)).collect::<Vec<_>>());
    }
}

/// A flow counter in litres since the plant was built: large, with small steps, for a year of samples.
#[test]
fn rounding_does_not_add_up() {
    let mut wants = Wants::default();
    let span = Duration::from_secs(600);
    ALL.into_iter().for_each(|over| {
        wants.window(span, over);
    });
    let mut past = Past::new(&wants);
    let mut all = Vec::new();
    for step in 0_u32..200_000 {
        let value = 1e9 + f64::from(step % 997) * 1e-3 + if step % 5_003 == 0 { 1e12 } else { 0.0 };
        let at = START + Duration::from_secs(u64::from(step) * 5);
        past.push(at, value);
        all.push((at, value));
        if all.len() > 200 {
            all.remove(0);
        }
    }
    for over in [Over::Mean, Over::Slope, Over::Increase, Over::Stddev] {
        let (said, plain) = (past.over(0, over).unwrap(), plainly(over, &all, span).unwrap());
        assert!((said - plain).abs() <= 1e-6 * plain.abs().max(1.0), "{over:?}: {said} is not {plain}");
    }
}

#[test]
fn a_counter_that_stands_still_rises_by_nothing_at_all() {
    let mut wants = Wants::default();
    let place = wants.window(Duration::from_secs(60), Over::Increase);
    let mut past = Past::new(&wants);
    for step in 0_u32..100 {
        let value = if step < 50 { f64::from(step) * 0.1 } else { 5.0 };
        past.push(START + Duration::from_secs(u64::from(step) * 5), value);
    }
    assert_eq!(past.over(place, Over::Increase), Some(0.0));
}

#[test]
fn what_cannot_be_reckoned_is_unknown_and_not_infinite() {
    let mut wants = Wants::default();
    let place = ALL.into_iter().map(|over| wants.window(Duration::from_secs(60), over)).max().unwrap();
    let mut past = Past::new(&wants);
    past.push(START, f64::MAX);
    past.push(START + Duration::from_secs(5), f64::NAN);
    past.push(START + Duration::from_secs(10), f64::MIN);
    for over in ALL {
        assert!(past.over(place, over).is_none_or(f64::is_finite), "{over:?}");
    }
    assert_eq!((past.over(place, Over::Count), past.over(place, Over::Delta)), (Some(2.0), None));
    // Once they are out of the window, all is well again.
    for step in 0_u32..40 {
        past.push(START + Duration::from_secs(100 + u64::from(step) * 5), f64::from(step));
    }
    for over in ALL {
        assert!(past.over(place, over).is_some(), "{over:?}");
    }
}

#[test]
fn several_spans_share_one_store_and_what_nobody_asks_is_not_kept() {
    let span = |minutes: u64| Duration::from_secs(minutes * 60);
    let mut wants = Wants::default();
    let counts = [1, 10, 60].map(|minutes| wants.window(span(minutes), Over::Count));
    let mut past = Past::new(&wants);
    for step in 0_u64..2_000 {
        past.push(START + Duration::from_secs(step * 5), step as f64);
    }
    assert_eq!(counts.map(|place| past.over(place, Over::Count)), [Some(13.0), Some(121.0), Some(721.0)]);
    assert_eq!(past.over(counts[0], Over::Mean), None, "it was not asked for");
    past.settle();
    let held = past.held();
    assert_eq!(held.samples, 721);
    // What was foreseen for a point with that period covers it, but for room to grow.
    let foreseen = wants.bytes(Duration::from_secs(5));
    assert!(held.bytes <= foreseen * 2, "{held:?}, foreseen {foreseen}");
    assert_eq!(Past::new(&Wants::default()).held().samples, 0);
}

#[test]
fn samples_come_evenly_once_a_whole_span_of_them_has_come() {
    let span = Duration::from_secs(300);
    let mut past = Past::new(&everything(&[span]));
    let mut even_after = |gaps: &[u64], at: &mut u64| {
        for gap in gaps {
            *at += gap;
            past.push(START + Duration::from_secs(*at), *at as f64);
        }
        past.pace().is_even_over(span)
    };
    let mut at = 0;
    assert!(!even_after(&[10; 30], &mut at), "29 gaps of 10 s are not yet 300 s");
    assert!(even_after(&[12, 8], &mut at), "a little early or late");
    assert!(!even_after(&[20], &mut at), "one is missing");
    assert!(!even_after(&[10; 29], &mut at));
    assert!(even_after(&[10], &mut at));
    past.insert(START + Duration::from_secs(at - 5), 1.0);
    assert!(!past.pace().is_even_over(span), "one came in between");
}
