//! Marks: what Davy itself knows of a sample, put on it before it is kept.
//!
//! In come samples on their way into the journal, the points' periods and the permits in force; out go the
//! same samples with reason bits added. Because the marks stand in the journal, the engine, the history,
//! InfluxDB and the board all see the same ones. Never: a value or a time changed, a bit taken away.
//!
//! **Late or wrong clock?** A sample that was measured long before it arrived is either back-fill, which must
//! not raise a live alarm, or comes from a clock that is behind, and then to call it late would disarm the
//! sensor. The two differ in pace: back-fill catches up, a wrong clock runs at the speed of time. So an old
//! sample is late, unless it is as old as the one that arrived before it and as much time passed here as there.
//! Samples that arrive together are compared with what arrived before them. A time that stands still while
//! samples go on arriving is a wrong clock too; a message delivered again is not.

use std::collections::HashMap;
use std::time::Duration;

use super::{Note, RuleStep};
use crate::model::{Permit, Point, PointIndex, Reason, Sample, Timestamp};

/// Older than this on arrival is old (the field's limit for an old timestamp), or older than twice the period.
const OLD: Duration = Duration::from_secs(300);
/// A clock that is behind stays behind by the same amount, give or take this or two periods.
const JITTER: Duration = Duration::from_secs(60);

/// Repeats of one old time from which the source's clock stands still; fewer may be deliveries made again.
const STANDS: u32 = 3;

/// The newest old samples of a point.
#[derive(Clone, Copy, Debug)]
struct Old {
    /// Source and receive time of the newest one, and of the newest that arrived before that.
    newest: (Timestamp, Timestamp),
    before: Option<(Timestamp, Timestamp)>,
    /// Arrivals with one and the same source time, one after another.
    repeats: u32,
}

#[derive(Clone, Debug, Default)]
pub struct Marks {
    /// By point index; points that are not known have the plain limit.
    periods: Vec<Duration>,
    /// Points that sent old samples.
    old: HashMap<PointIndex, Old, foldhash::fast::RandomState>,
    permits: Vec<Permit>,
    /// Points of `permits`, to look up quickly.
    covered: HashMap<PointIndex, Vec<usize>, foldhash::fast::RandomState>,
}

impl Marks {
    /// What was known when the gateway stopped.
    #[must_use]
    pub fn new(points: &[Point], permits: Vec<Permit>) -> Self {
        let mut marks = Self::default();
        marks.learn(points);
        marks.permits = permits;
        marks.cover();
        marks
    }

    fn learn(&mut self, points: &[Point]) {
        self.periods = points.iter().map(|point| point.period).collect();
    }

    fn cover(&mut self) {
        self.covered.clear();
        for (place, permit) in self.permits.iter().enumerate() {
            for point in &permit.points {
                self.covered.entry(*point).or_default().push(place);
            }
        }
    }

    /// Notes pass through in journal order.
    pub fn note(&mut self, note: &Note) {
        match note {
            Note::Setup(setup) => self.learn(&setup.points),
            Note::PermitOpened(opened) => {
                // What nobody ended in time marks nothing any more.
                self.permits.retain(|permit| permit.until > opened.permit.from);
                self.permits.push(opened.permit.clone());
                self.cover();
            }
            Note::PermitEnded(ended) => {
                self.permits.retain(|permit| permit.id != ended.id);
                self.cover();
            }
            Note::Rules(step) => {
                if let RuleStep::Activated { setup, .. } = &**step {
                    self.learn(&setup.points);
                }
            }
            Note::Acknowledge(_)
            | Note::Condition(_)
            | Note::Receipt(_)
            | Note::Record(_)
            | Note::Reset(_)
            | Note::Aside(_)
            | Note::Limits(_)
            | Note::Case(_)
            | Note::Duty(_)
            | Note::Exercise(_)
            | Note::SiteSet(_) => {}
        }
    }

    /// Has anything to be added to it? Quick, because it is asked of every sample.
    #[must_use]
    pub fn concern(&self, sample: &Sample) -> bool {
        sample.receive_time.since(sample.source_time) > OLD
            || (!self.covered.is_empty() && self.covered.contains_key(&sample.point))
    }

    /// Adds the marks of samples that arrive one after another.
    pub fn stamp(&mut self, samples: &mut [Sample]) {
        for sample in samples.iter_mut().filter(|sample| !sample.quality.has(Reason::Late)) {
            let period = self.periods.get(sample.point.at()).copied().unwrap_or_default();
            let delay = sample.receive_time.since(sample.source_time);
            if delay > OLD.max(period * 2) {
                let old = Old::next(self.old.get(&sample.point).copied(), sample);
                self.old.insert(sample.point, old);
                let wrong = old.is_wrong_clock(period);
                sample.quality = sample.quality.and(if wrong { Reason::ClockWrong } else { Reason::Late });
            }
        }
        if self.covered.is_empty() {
            return;
        }
        for sample in samples {
            for place in self.covered.get(&sample.point).into_iter().flatten() {
                let permit = &self.permits[*place];
                if permit.in_force(sample.receive_time) {
                    sample.quality = sample.quality.and(permit.kind.mark());
                }
            }
        }
    }
}

impl Old {
    /// What is known once the sample is taken in.
    fn next(known: Option<Self>, sample: &Sample) -> Self {
        let newest = (sample.source_time, sample.receive_time);
        let Some(known) = known else { return Self { newest, before: None, repeats: 0 } };
        let together = known.newest.1 == newest.1;
        let stands = !together && known.newest.0 == newest.0;
        Self {
            newest,
            before: if together { known.before } else { Some(known.newest) },
            repeats: match (stands, together) {
                (true, _) => known.repeats.saturating_add(1),
                (false, true) => known.repeats,
                (false, false) => 0,
            },
        }
    }

    /// Is the clock behind by a constant amount or standing still, rather than the sample held up on its way?
    fn is_wrong_clock(&self, period: Duration) -> bool {
        let Some((source, received)) = self.before else { return false };
        let there = self.newest.0.micros().saturating_sub(source.micros());
        let here = self.newest.1.micros().saturating_sub(received.micros());
        if there == 0 {
            return self.repeats >= STANDS;
        }
        let jitter = i64::try_from(JITTER.max(period * 2).as_micros()).unwrap_or(i64::MAX);
        there > 0 && here >= there / 2 && here.saturating_sub(there).abs() <= jitter
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{PermitKind, Quality};

    const START: Timestamp = Timestamp::from_secs(1_800_000_000);

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(START.micros() + seconds * 1_000_000)
    }

    /// What a sample measured at `source` and received at `received` is marked with.
    fn stamped(marks: &mut Marks, source: i64, received: i64) -> String {
        let mut samples = [Sample::received(PointIndex(0), 1.0, Some(at(source)), at(received))];
        if marks.concern(&samples[0]) {
            marks.stamp(&mut samples);
        }
        samples[0].quality.to_string()
    }

    #[test]
    fn what_was_stored_during_an_outage_is_late_however_quickly_it_is_sent() {
        let mut marks = Marks::default();
        assert_eq!(stamped(&mut marks, 0, 0), "good");
        // Away for an hour; 720 samples of 5 s arrive ten a second.
        for sample in 1..=640 {
            assert_eq!(stamped(&mut marks, sample * 5, 3_600 + sample / 10), "good:late", "sample {sample}");
        }
        // The newest minutes are not old, and live again.
        assert_eq!(stamped(&mut marks, 3_600, 3_672), "good");
    }

    #[test]
    fn a_clock_that_is_behind_is_doubted_and_not_disarmed() {
        let mut marks = Marks::default();
        let behind = -3_600;
        assert_eq!(stamped(&mut marks, behind, 0), "good:late", "one old sample alone says nothing");
        for second in 1..100 {
            let jitter = second % 3;
            assert_eq!(stamped(&mut marks, second * 5 + behind, second * 5 + jitter), "uncertain:clock_wrong");
        }
    }

    /// Five samples in each message, from a clock ten minutes behind: none of them may be lost to judgement.
    #[test]
    fn what_arrives_together_is_compared_with_what_arrived_before() {
        let mut marks = Marks::default();
        for message in 0..50 {
            for sample in 0..5 {
                let quality = stamped(&mut marks, message * 5 + sample - 600, message * 5 + 4);
                let expected = if message == 0 { "good:late" } else { "uncertain:clock_wrong" };
                assert_eq!(quality, expected, "message {message} sample {sample}");
            }
        }
        // A store of old data in messages of five, sent as quickly as they are taken.
        let mut marks = Marks::default();
        for message in 0..50 {
            for sample in 0..5 {
                assert_eq!(stamped(&mut marks, message * 25 + sample * 5, 3_600 + message / 10), "good:late");
            }
        }
    }

    #[test]
    fn a_time_that_stands_still_is_a_wrong_clock_and_a_message_delivered_again_is_not() {
        let mut marks = Marks::default();
        assert_eq!(stamped(&mut marks, 0, 400), "good:late");
        assert_eq!(stamped(&mut marks, 0, 460), "good:late", "delivered again after a reconnect");
        assert_eq!(stamped(&mut marks, 0, 465), "good:late");
        for second in 470..500 {
            assert_eq!(stamped(&mut marks, 0, second), "uncertain:clock_wrong");
        }
    }

    #[test]
    fn a_permit_marks_its_points_while_it_is_in_force_and_no_longer() {
        let permit = Permit {
            id: "permit-1".into(),
            kind: PermitKind::Calibration,
            points: vec![PointIndex(0)],
            scope: "mine.t1".into(),
            by: "张".into(),
            reason: "15 d".into(),
            from: at(10),
            until: at(20),
        };
        let mut marks = Marks::new(&[], vec![permit]);
        for (second, quality) in [(9, "good"), (10, "bad:calibrating"), (19, "bad:calibrating"), (20, "good")] {
            assert_eq!(stamped(&mut marks, second, second), quality);
        }
        let mut other = [Sample::received(PointIndex(1), 1.0, Some(at(15)), at(15))];
        marks.stamp(&mut other);
        assert_eq!(other[0].quality, Quality::GOOD);
    }
}
