//! Recipients who are to get so much and no more: what goes alone, what goes into a summary, what never waits.

use proptest::prelude::*;

use super::*;
use crate::response::{Step, StepKind};

const CAP: Pace = Pace { most: 8, per: Duration::from_secs(600) };

fn capped(told: Vec<Timestamp>) -> Queue {
    let budget = Budget::of(CAP, 1);
    budget.recall(told);
    Queue::new(Patience::default(), None, Some(budget))
}

impl Record {
    fn waiting(&self) -> Vec<Waiting> {
        let of = |row: &Outgoing| {
            let change = &row.published.change;
            let (site, alarm) = (change.alarm.site.clone(), change.alarm.id.clone());
            Waiting { id: row.id, priority: change.alarm.priority, site, alarm, urgent: row.urgent() }
        };
        self.rows.values().map(of).collect()
    }

    /// Sends what is due; returns for each message its rows, those out of sight included.
    fn send(&mut self, queue: &mut Queue, now: Timestamp) -> Vec<Vec<i64>> {
        let mut sent = Vec::new();
        let again = queue.offered(self.pending(queue), now);
        self.write(again);
        while let Some(sending) = queue.start(now) {
            let along = if sending.summary { queue.join(self.waiting()) } else { Vec::new() };
            let own = ids(&sending);
            sent.push(own.iter().copied().chain(along.iter().map(|row| row.id)).collect());
            let verdicts = queue.finished(&own, sending.summary, &done(), now);
            self.write(verdicts);
            let again = queue.offered(self.pending(queue), now);
            self.write(again);
        }
        sent
    }
}

/// Ten thousand P4 in a minute: a few alone, P2 have some places more, a raised P1 never waits, and at the end of
/// the time one summary holds all the others. Each has one receipt.
#[test]
fn a_storm_is_a_handful_of_messages_and_one_summary() {
    let (mut queue, mut record) = (capped(Vec::new()), Record::default());
    (1..=10_000).for_each(|id| record.raise(id, Priority::P4, NOW));
    let sent = record.send(&mut queue, NOW);
    assert_eq!(sent, (1..=6).map(|id| vec![id]).collect::<Vec<_>>(), "six of eight places are for P4");
    assert_eq!(queue.wake(NOW), Some(CAP.per));
    (10_001..=10_003).for_each(|id| record.raise(id, Priority::P2, after(60)));
    (10_011..=10_020).for_each(|id| record.raise(id, Priority::P1, after(60)));
    let sent = record.send(&mut queue, after(60));
    assert_eq!(
        sent,
        (10_011..=10_020).map(|id| vec![id]).collect::<Vec<_>>(),
        "every P1 at once; they count, so P2 wait"
    );
    assert!(record.send(&mut queue, after(599)).is_empty());
    let sent = record.send(&mut queue, after(600));
    assert_eq!(sent.len(), 1, "one summary");
    assert_eq!(sent[0].len(), 10_000 - 6 + 3, "of all that was held back, though 256 are in sight");
    assert_eq!(sent[0][..3], [10_001, 10_002, 10_003], "the most urgent first");
    assert!(record.rows.is_empty());
    assert!(record.receipts.values().all(|told| *told == [Outcome::Delivered]), "one receipt for each");
    assert_eq!(record.receipts.len(), 10_013);
}

/// A short message and a mail to the same person: one budget, and whoever is called is called.
#[test]
fn recipients_of_one_person_share_what_they_get_and_no_call_waits() {
    let budget = Budget::of(CAP, 2);
    let mut queues = [(); 2].map(|()| Queue::new(Patience::default(), None, Some(budget.clone())));
    let mut records = [Record::default(), Record::default()];
    (1..=20).for_each(|id| records.iter_mut().for_each(|record| record.raise(id, Priority::P4, NOW)));
    let sent = records[0].send(&mut queues[0], NOW);
    assert_eq!(sent.len(), 5, "of eight places two are for summaries, one more for what is urgent");
    assert!(records[1].send(&mut queues[1], NOW).is_empty(), "the mail has none left");
    let step = |kind| Step {
        alarm: OccurrenceId::named("x"),
        number: 1,
        kind,
        due: NOW,
        at: NOW,
        policy: String::new(),
        level: "county".into(),
        person: "li".into(),
        call: 1,
        to: Vec::new(),
        list: None,
        alarms: Vec::new(),
        count: 0,
    };
    // Also a call about what somebody has acknowledged, and one of many.
    let mut seen = alarm("seen", Priority::P1);
    seen.standing = crate::alarm::Standing::Acknowledged;
    for id in 101..=110 {
        let called = outgoing(id, Happening::Acknowledged, crate::alarm::Alarm { ..seen.clone() });
        records[1]
            .rows
            .insert((Priority::P1, id), Outgoing { why: Some(step(StepKind::Call)), created: NOW, ..called });
    }
    let shift_end = Outgoing { why: Some(step(StepKind::Call)), ..row(111, "battery", Priority::P4) };
    assert!(!shift_end.urgent() && !Outgoing { why: Some(step(StepKind::News)), ..shift_end }.urgent());
    let sent = records[1].send(&mut queues[1], NOW);
    assert_eq!(sent, (101..=110).map(|id| vec![id]).collect::<Vec<_>>());
    // Each has a summary of its own at the end.
    for (queue, record) in queues.iter_mut().zip(&mut records) {
        let sent = record.send(queue, after(600));
        assert_eq!(sent.len(), 1);
        assert!(record.rows.is_empty());
    }
}

#[test]
fn what_was_told_before_a_restart_counts() {
    let told = (0..7).map(after).collect();
    let (mut queue, mut record) = (capped(told), Record::default());
    record.raise(1, Priority::P2, after(10));
    assert!(record.send(&mut queue, after(10)).is_empty());
    assert_eq!(queue.wake(after(10)), Some(Duration::from_secs(590)), "until the oldest is ten minutes ago");
    assert_eq!(record.send(&mut queue, after(600)), [vec![1]]);
}

#[test]
fn a_summary_that_fails_is_tried_again_as_a_whole_with_one_record_of_the_try() {
    let (mut queue, mut record) = (capped(vec![NOW; 8]), Record::default());
    (1..=400).for_each(|id| record.raise(id, Priority::P3, NOW));
    drop(queue.offered(record.pending(&queue), NOW));
    drop(queue.start(NOW));
    let first = queue.start(after(600)).unwrap();
    assert_eq!((first.summary, first.rows.len(), queue.join(record.waiting()).len()), (true, 256, 144));
    drop(queue.offered(record.pending(&queue), after(601)));
    assert_eq!(queue.start(after(601)), None, "the rest is not sent beside it");
    let verdicts = queue.finished(&ids(&first), true, &busy(None), after(601));
    assert_eq!(verdicts.len(), 1);
    let sent = record.send(&mut queue, after(603));
    assert_eq!(sent.iter().map(Vec::len).collect::<Vec<_>>(), [400]);
}

/// It rose, it ended and nobody heard of the end yet: that it rose again waits for nothing, and takes the end along.
#[test]
fn a_p1_takes_along_what_still_waits_of_its_own_alarm() {
    let mut queue = capped(vec![NOW; 8]);
    let change = |id, happening| outgoing(id, happening, alarm("face", Priority::P1));
    drop(queue.offered(vec![change(1, Happening::Cleared), row(2, "b", Priority::P2)], NOW));
    assert_eq!(queue.start(NOW), None);
    let rows = vec![change(1, Happening::Cleared), change(3, Happening::RaisedAgain), row(2, "b", Priority::P2)];
    drop(queue.offered(rows, NOW));
    let sending = queue.start(NOW).unwrap();
    assert_eq!((ids(&sending), sending.summary), (vec![3, 1], false));
    assert_eq!(queue.finished(&[3, 1], false, &done(), NOW)[0].1.also, [1]);
}

/// Without a cap or a pace everything is a message of its own: the beginning takes over the urgency.
#[test]
fn an_alarm_that_became_a_p1_is_told_before_all_others_from_its_beginning() {
    let mut rows: Vec<Outgoing> = (1..=100).map(|id| row(id, &format!("p{id}"), Priority::P4)).collect();
    rows.push(row(101, "face", Priority::P4));
    rows.insert(0, outgoing(102, Happening::RaisedAgain, alarm("face", Priority::P1)));
    let mut queue = queue_of(&rows);
    for id in [101, 102, 1] {
        assert_eq!(started(&mut queue, NOW), Some(id));
        ended(&mut queue, id, done(), NOW).unwrap();
    }
}

proptest! {
    /// Whatever comes, whenever: every row is settled by one receipt, no P1 that is raised waits for more than what
    /// is on its way, and in no ten minutes anybody gets more than the cap besides raised P1s.
    #[test]
    fn nobody_gets_more_than_the_cap_and_nothing_is_lost(
        storm in proptest::collection::vec((0_u64..120, 0_usize..4, 1_usize..40), 1..60),
        restart in 0_usize..60,
    ) {
        let (mut queue, mut record) = (capped(Vec::new()), Record::default());
        let (mut now, mut next, mut told, mut reached) = (NOW, 1, Vec::new(), Vec::new());
        for (step, (pause, priority, count)) in storm.into_iter().enumerate() {
            now = now + Duration::from_secs(pause);
            for _ in 0..count {
                record.raise(next, Priority::ALL[priority], now);
                next += 1;
            }
            if step == restart {
                queue = capped(reached.clone());
            }
            for rows in record.send(&mut queue, now) {
                reached.push(now);
                let urgent = rows.len() == 1 && record.urgent.contains(&rows[0]);
                if !urgent {
                    told.push(now);
                }
            }
            prop_assert!(!record.rows.values().any(|row| row.published.change.urgent()), "a P1 was left waiting");
        }
        for _ in 0..3 {
            now = now + CAP.per;
            let sent = record.send(&mut queue, now);
            told.extend(sent.iter().map(|_| now));
        }
        prop_assert!(record.rows.is_empty());
        prop_assert!(record.receipts.values().all(|told| *told == [Outcome::Delivered]));
        prop_assert_eq!(record.receipts.len() as i64, next - 1);
        for at in &told {
            let within = told.iter().filter(|other| **other >= *at && other.since(*at) < CAP.per).count();
            prop_assert!(within <= CAP.most, "{within} in ten minutes");
        }
    }
}
