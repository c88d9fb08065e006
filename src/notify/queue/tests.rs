//! The queue by its own clock: order, pauses, trials, pace, and an outage told as a story.

mod capped;

use std::collections::BTreeMap;

use super::super::tests::{alarm, outgoing};
use super::*;
use crate::alarm::Happening;

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

fn after(seconds: u64) -> Timestamp {
    NOW + Duration::from_secs(seconds)
}

fn row(id: i64, point: &str, priority: Priority) -> Outgoing {
    outgoing(id, Happening::Raised, alarm(point, priority))
}

fn busy(retry_after: Option<u64>) -> Result<String, Failure> {
    Err(Failure { retry_after: retry_after.map(Duration::from_secs), ..Failure::temporary("503") })
}

fn done() -> Result<String, Failure> {
    Ok("200".into())
}

fn queue_of(rows: &[Outgoing]) -> Queue {
    let mut queue = Queue::new(Patience::default(), None, None);
    assert!(queue.offered(rows.to_vec(), NOW).is_empty());
    queue
}

fn started(queue: &mut Queue, now: Timestamp) -> Option<i64> {
    queue.start(now).map(|sending| sending.rows[0].id)
}

fn ids(sending: &Sending) -> Vec<i64> {
    sending.rows.iter().map(|row| row.id).collect()
}

fn ended(queue: &mut Queue, id: i64, result: Result<String, Failure>, now: Timestamp) -> Option<Verdict> {
    queue.finished(&[id], false, &result, now).pop().map(|(_, verdict)| verdict)
}

#[test]
fn the_most_urgent_goes_first_and_a_p1_never_waits_behind_another() {
    let mut queue = queue_of(&[row(1, "a", Priority::P3), row(2, "b", Priority::P2)]);
    assert_eq!(started(&mut queue, NOW), Some(2));
    assert_eq!(started(&mut queue, NOW), None, "one at a time");
    assert_eq!(queue.wake(NOW), None, "no clock helps, only an end of the first");
    drop(queue.offered(
        vec![
            row(3, "c", Priority::P1),
            row(4, "d", Priority::P1),
            row(1, "a", Priority::P3),
            row(2, "b", Priority::P2),
        ],
        NOW,
    ));
    assert_eq!(started(&mut queue, NOW), Some(3), "the P1 has a place of its own");
    assert_eq!(started(&mut queue, NOW), None);
    ended(&mut queue, 2, done(), NOW).unwrap();
    assert_eq!(started(&mut queue, NOW), Some(4));
}

#[test]
fn pauses_double_to_five_minutes_and_to_thirty_seconds_for_a_p1() {
    for (priority, pauses) in [
        (Priority::P2, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]),
        (Priority::P1, [1, 2, 4, 8, 16, 30, 30, 30, 30, 30, 30]),
    ] {
        let mut queue = queue_of(&[row(1, "a", priority)]);
        let mut now = NOW;
        for pause in pauses {
            assert_eq!(started(&mut queue, now), Some(1));
            assert_eq!(ended(&mut queue, 1, busy(None), now).unwrap().outcome, Outcome::Failed);
            assert_eq!(queue.wake(now), Some(Duration::from_secs(pause)));
            assert_eq!(started(&mut queue, now + Duration::from_millis(pause * 1_000 - 1)), None);
            now = now + Duration::from_secs(pause);
        }
    }
}

#[test]
fn a_restart_goes_on_with_the_pauses_where_they_were() {
    let mut old = row(1, "a", Priority::P2);
    old.attempts = 6;
    let mut queue = queue_of(&[old]);
    assert_eq!(started(&mut queue, NOW), Some(1), "tried at once");
    ended(&mut queue, 1, busy(None), NOW).unwrap();
    assert_eq!(queue.wake(NOW), Some(Duration::from_secs(64)));
}

#[test]
fn a_recipient_that_asks_for_quiet_gets_it_but_a_p1_comes_after_thirty_seconds_at_the_latest() {
    let mut queue = queue_of(&[row(1, "a", Priority::P2), row(2, "b", Priority::P3)]);
    assert_eq!(started(&mut queue, NOW), Some(1));
    ended(&mut queue, 1, busy(Some(120)), NOW).unwrap();
    assert_eq!(started(&mut queue, after(119)), None, "the other message keeps quiet too");
    drop(
        queue.offered(vec![row(3, "c", Priority::P1), row(1, "a", Priority::P2), row(2, "b", Priority::P3)], after(1)),
    );
    assert_eq!(started(&mut queue, after(1)), Some(3));
    ended(&mut queue, 3, busy(Some(600)), after(1)).unwrap();
    assert_eq!(started(&mut queue, after(30)), None);
    assert_eq!(started(&mut queue, after(31)), Some(3));
    ended(&mut queue, 3, done(), after(31)).unwrap();
    assert_eq!(started(&mut queue, after(119)), None);
    assert_eq!(started(&mut queue, after(120)), Some(1));
}

#[test]
fn changes_of_one_alarm_go_out_in_their_order() {
    let over = outgoing(2, Happening::Cleared, alarm("a", Priority::P1));
    let mut queue = queue_of(&[row(1, "a", Priority::P1), over.clone(), row(3, "b", Priority::P4)]);
    assert_eq!(started(&mut queue, NOW), Some(1));
    assert_eq!(started(&mut queue, NOW), None, "its end waits although there is a place");
    ended(&mut queue, 1, busy(None), NOW).unwrap();
    assert_eq!(started(&mut queue, NOW), Some(3), "another alarm does not wait for it");
    assert_eq!(started(&mut queue, after(1)), Some(1));
    ended(&mut queue, 1, done(), after(1)).unwrap();
    assert_eq!(started(&mut queue, after(1)), Some(2));
}

#[test]
fn a_delivered_message_is_not_sent_again_while_its_receipt_is_under_way_and_a_lost_receipt_is_repeated() {
    let rows = [row(1, "a", Priority::P2)];
    let mut queue = queue_of(&rows);
    assert_eq!(started(&mut queue, NOW), Some(1));
    assert!(queue.offered(rows.to_vec(), NOW).is_empty());
    assert_eq!(started(&mut queue, NOW), None, "it is on its way");
    ended(&mut queue, 1, done(), NOW).unwrap();
    assert!(queue.offered(rows.to_vec(), after(29)).is_empty());
    assert_eq!(started(&mut queue, after(29)), None);
    let again = queue.offered(rows.to_vec(), after(30));
    assert_eq!(
        again,
        [(1, Verdict { outcome: Outcome::Delivered, detail: "200".into(), alarm: None, also: Vec::new(), lost: None })]
    );
    assert!(queue.offered(rows.to_vec(), after(31)).is_empty());
    assert_eq!(started(&mut queue, after(31)), None);
    drop(queue.offered(Vec::new(), after(32)));
    assert_eq!((queue.open(), queue.held.len()), (0, 0), "the row is gone, and nothing is kept of it");
}

#[test]
fn it_is_given_up_when_refused_for_good_or_tried_for_a_day() {
    let mut queue = queue_of(&[row(1, "a", Priority::P2), row(2, "b", Priority::P3)]);
    assert_eq!(started(&mut queue, NOW), Some(1));
    let verdict = ended(&mut queue, 1, Err(Failure::for_good("410")), NOW).unwrap();
    assert_eq!((verdict.outcome, verdict.detail.as_str()), (Outcome::GivenUp, "410"));
    assert_eq!(ended(&mut queue, 1, done(), NOW), None, "it is over");
    let day = 24 * 3_600;
    assert_eq!(started(&mut queue, after(day - 1)), Some(2));
    assert_eq!(ended(&mut queue, 2, busy(None), after(day - 1)).unwrap().outcome, Outcome::Failed);
    assert_eq!(started(&mut queue, after(day)), Some(2));
    assert_eq!(ended(&mut queue, 2, busy(None), after(day)).unwrap().outcome, Outcome::GivenUp);
    assert_eq!(queue.open(), 0);
}

#[test]
fn after_three_failures_one_message_is_on_trial_and_a_success_frees_what_waits() {
    let rows: Vec<Outgoing> = (1..=1_000).map(|id| row(id, &format!("p{id}"), Priority::P4)).collect();
    let mut queue = queue_of(&rows[..256]);
    let mut alarms = Vec::new();
    for id in 1..=3 {
        assert_eq!(started(&mut queue, NOW), Some(id));
        alarms.push(ended(&mut queue, id, busy(None), NOW).unwrap().alarm);
    }
    assert_eq!((alarms, queue.is_shut()), (vec![None, None, Some(true)], true));
    assert_eq!(started(&mut queue, NOW), None, "the others are not thrown at a dead channel");
    let (mut now, mut tries) = (NOW, 0);
    while now < after(3_600) {
        now = now + queue.wake(now).unwrap();
        let id = started(&mut queue, now).unwrap();
        assert_eq!(started(&mut queue, now), None, "one trial at a time");
        assert_eq!(ended(&mut queue, id, busy(None), now).unwrap().alarm, None, "it stands already");
        tries += 1;
    }
    assert!((10..30).contains(&tries), "{tries} trials in an hour");

    // A P1 waits thirty seconds at most, and is the one that is tried.
    let mut with_urgent = rows[..255].to_vec();
    with_urgent.push(row(2_000, "face", Priority::P1));
    drop(queue.offered(with_urgent, now));
    let trial = now + queue.wake(now).unwrap();
    assert!(trial.since(now) <= Duration::from_secs(30));
    let first = started(&mut queue, trial).unwrap();
    assert_eq!(ended(&mut queue, first, done(), trial).unwrap().alarm, Some(false));
    assert!(!queue.is_shut());
    let order: Vec<i64> = std::iter::from_fn(|| {
        let id = started(&mut queue, trial)?;
        ended(&mut queue, id, done(), trial).map(|_| id)
    })
    .collect();
    let expected: Vec<i64> = std::iter::once(2_000).chain(1..=256).filter(|id| *id != first).collect();
    assert_eq!(order, expected, "the urgent one, then all in their order, without waiting out a pause");
}

/// A message that fails by itself cannot shut everybody else out for ever.
#[test]
fn every_third_trial_is_another_message() {
    let mut queue = queue_of(&[row(1, "odd", Priority::P1)]);
    let mut now = NOW;
    for _ in 0..3 {
        now = now + queue.wake(now).unwrap();
        let id = started(&mut queue, now).unwrap();
        ended(&mut queue, id, busy(None), now).unwrap();
    }
    drop(queue.offered(vec![row(1, "odd", Priority::P1), row(2, "b", Priority::P3)], now));
    let mut tried = Vec::new();
    while queue.is_shut() {
        now = now + queue.wake(now).unwrap();
        let id = started(&mut queue, now).unwrap();
        tried.push(id);
        ended(&mut queue, id, if id == 2 { done() } else { busy(None) }, now).unwrap();
        assert!(tried.len() < 10, "{tried:?}");
    }
    assert!(tried.len() <= 3 && tried.ends_with(&[2]), "{tried:?}");
}

fn paced(rows: &[Outgoing]) -> Queue {
    let pace = Pace { most: 20, per: Duration::from_secs(60) };
    let mut queue = Queue::new(Patience::default(), Some(pace), None);
    drop(queue.offered(rows.to_vec(), NOW));
    queue
}

#[test]
fn more_than_the_pace_allows_is_told_together_and_a_p1_keeps_its_places() {
    let rows: Vec<Outgoing> = (1..=40).map(|id| row(id, &format!("p{id}"), Priority::P3)).collect();
    let mut queue = paced(&rows);
    let mut sizes = Vec::new();
    while let Some(together) = queue.start(NOW) {
        let ids = ids(&together);
        let verdicts = queue.finished(&ids, false, &done(), NOW);
        assert_eq!((verdicts.len(), verdicts[0].1.also.len() + 1), (1, ids.len()), "one receipt, and each is in it");
        sizes.push(ids.len());
    }
    assert_eq!(sizes, [vec![1; 14], vec![26]].concat());
    let urgent: Vec<Outgoing> = (101..=109).map(|id| row(id, &format!("u{id}"), Priority::P1)).collect();
    drop(queue.offered([urgent, vec![row(110, "z", Priority::P3)]].concat(), after(1)));
    let mut sizes = Vec::new();
    while let Some(together) = queue.start(after(1)) {
        let ids = ids(&together);
        queue.finished(&ids, false, &done(), after(1));
        sizes.push(ids.len());
    }
    assert_eq!(sizes, [1, 1, 1, 1, 6], "four alone, and what is left with the last place");
    drop(queue.offered(vec![row(111, "z", Priority::P3)], after(2)));
    assert_eq!(queue.wake(after(2)), Some(Duration::from_secs(58)));
    assert_eq!(started(&mut queue, after(60)), Some(111));
}

#[test]
fn a_beginning_and_its_end_may_stand_in_one_summary_in_their_order() {
    let fill: Vec<Outgoing> = (1..=14).map(|id| row(id, &format!("p{id}"), Priority::P2)).collect();
    let mut queue = paced(&fill);
    while let Some(together) = queue.start(NOW) {
        queue.finished(&ids(&together), false, &done(), NOW);
    }
    let end = outgoing(21, Happening::Cleared, alarm("face", Priority::P2));
    drop(queue.offered(vec![row(20, "face", Priority::P2), end, row(22, "x", Priority::P4)], NOW));
    let ids = ids(&queue.start(NOW).unwrap());
    assert_eq!(ids, [20, 21, 22]);
    assert_eq!(queue.finished(&ids, false, &busy(None), NOW).len(), 3);
    assert_eq!(queue.open(), 3, "and all wait when it failed");
}

#[test]
fn a_row_that_an_operator_took_out_of_the_outbox_is_not_sent() {
    let mut queue = queue_of(&[row(1, "a", Priority::P2), row(2, "b", Priority::P2)]);
    drop(queue.offered(vec![row(2, "b", Priority::P2)], NOW));
    assert_eq!(started(&mut queue, NOW), Some(2));
    assert_eq!(queue.open(), 1);
}

/// The outbox as facts keep it: a receipt that settles a row takes it out.
#[derive(Default)]
struct Record {
    rows: BTreeMap<(Priority, i64), Outgoing>,
    receipts: BTreeMap<i64, Vec<Outcome>>,
    /// P1 that were raised.
    urgent: std::collections::BTreeSet<i64>,
}

impl Record {
    fn raise(&mut self, id: i64, priority: Priority, at: Timestamp) {
        let row = Outgoing { created: at, ..row(id, &format!("p{id}"), priority) };
        self.rows.insert((priority, id), row);
        if priority == Priority::P1 {
            self.urgent.insert(id);
        }
    }

    fn pending(&self, queue: &Queue) -> Pending {
        let rows: Vec<Outgoing> = self.rows.values().take(Queue::MOST).cloned().collect();
        let (mut pending, known) = (Pending::from(rows), queue.known());
        pending.new.retain(|row| !known.contains(&row.id));
        pending
    }

    fn write(&mut self, verdicts: Vec<(i64, Verdict)>) {
        let each = verdicts.into_iter().flat_map(|(id, verdict)| {
            let also = verdict.also.clone();
            std::iter::once(id).chain(also).map(move |id| (id, verdict.clone()))
        });
        for (id, verdict) in each.collect::<Vec<_>>() {
            if verdict.outcome == Outcome::Failed {
                self.rows.values_mut().filter(|row| row.id == id).for_each(|row| row.attempts += 1);
            } else {
                self.rows.retain(|(_, row), _| *row != id);
            }
            self.receipts.entry(id).or_default().push(verdict.outcome);
        }
    }

    fn of(&self, outcome: Outcome) -> usize {
        self.receipts.values().flatten().filter(|one| **one == outcome).count()
    }
}

/// The mail server is down for an hour; an alarm comes every ten seconds, one of them a P1, and in the middle the
/// gateway is started anew. Afterwards each message was delivered once, and there were few tries in between.
#[test]
fn an_hour_without_the_mail_server_loses_nothing_and_doubles_nothing() {
    let (mut queue, mut record) = (Queue::new(Patience::default(), None, None), Record::default());
    let (mut arrived, mut order, mut alarms) = (Vec::new(), Vec::new(), Vec::new());
    for second in 0..4_000 {
        let now = after(second);
        if second % 10 == 0 && second < 3_600 {
            let id = i64::try_from(second / 10).unwrap() + 1;
            record.raise(id, if id == 200 { Priority::P1 } else { Priority::P4 }, now);
            arrived.push(id);
        }
        if second == 1_800 {
            queue = Queue::new(Patience::default(), None, None);
        }
        let again = queue.offered(record.pending(&queue), now);
        record.write(again);
        while let Some(Sending { rows, .. }) = queue.start(now) {
            let result = if second < 3_600 { busy(None) } else { done() };
            if second >= 3_600 {
                order.push(rows[0].id);
            }
            let verdicts = queue.finished(&[rows[0].id], false, &result, now);
            alarms.extend(verdicts.iter().filter_map(|(_, verdict)| verdict.alarm));
            record.write(verdicts);
            let again = queue.offered(record.pending(&queue), now);
            record.write(again);
        }
    }
    assert!(record.rows.is_empty(), "{} are left", record.rows.len());
    let told: Vec<i64> = record.receipts.keys().copied().collect();
    assert_eq!(told, arrived, "a record of each");
    assert_eq!((record.of(Outcome::Delivered), record.of(Outcome::GivenUp)), (arrived.len(), 0), "and each once");
    assert!(record.of(Outcome::Failed) < 150, "{} tries in vain in an hour", record.of(Outcome::Failed));
    assert_eq!(order.iter().position(|id| *id == 200).map(|place| place <= 1), Some(true), "{:?}", &order[..3]);
    let mut rest: Vec<i64> = order[2..].to_vec();
    rest.sort_unstable();
    assert_eq!(rest, order[2..], "the oldest first");
    // The restart does not know what was told before it, so it says it again.
    assert_eq!(alarms, [true, true, false]);
}

/// With a thousand P4 before it in the outbox, most of them out of sight.
#[test]
fn a_p1_overtakes_a_thousand_that_wait() {
    let (mut queue, mut record) = (Queue::new(Patience::default(), None, None), Record::default());
    (1..=1_000).for_each(|id| record.raise(id, Priority::P4, NOW));
    drop(queue.offered(record.pending(&queue), NOW));
    assert_eq!(started(&mut queue, NOW), Some(1), "on its way, and it hangs");
    record.raise(1_001, Priority::P1, NOW);
    drop(queue.offered(record.pending(&queue), NOW));
    assert_eq!(started(&mut queue, NOW), Some(1_001), "beside it");
}

/// A wrong number, a template that the provider does not take: told at once, and not again and again.
#[test]
fn a_hasty_message_that_is_refused_for_good_is_told_at_once_with_the_alarm_and_the_words() {
    let refused = || Err(Failure::for_good("550 no such mailbox"));
    let mut own = alarm("own", Priority::P2);
    own.rule = "davy-notify-failing".into();
    let rows = [row(1, "a", Priority::P2), row(2, "b", Priority::P2), row(3, "c", Priority::P3)];
    let mut queue = queue_of(&[&rows[..], &[outgoing(4, Happening::Raised, own), row(5, "e", Priority::P1)]].concat());
    let lost = |queue: &mut Queue, id: i64, result, now: Timestamp| {
        assert_eq!(started(queue, now), Some(id));
        ended(queue, id, result, now).unwrap().lost
    };
    let words = lost(&mut queue, 5, Err(Failure::nobody("nobody listens")), NOW);
    assert_eq!(words, None, "nobody was there: the channel is as it should be");
    let words = lost(&mut queue, 1, refused(), NOW).unwrap();
    let id = alarm("a", Priority::P2).id;
    assert_eq!(words, format!("P2 采煤工作面瓦斯超限 mine-3.a ({id}), raised: 550 no such mailbox"));
    assert_eq!(lost(&mut queue, 2, refused(), after(1)), None, "just told");
    assert_eq!(lost(&mut queue, 4, refused(), after(120)), None, "not of itself");
    assert_eq!(lost(&mut queue, 3, refused(), after(300)), None, "nobody runs for a P3");
}

#[test]
fn a_message_that_fails_while_others_get_through_does_not_hold_up_its_alarm() {
    let over = outgoing(2, Happening::Cleared, alarm("a", Priority::P2));
    let mut rows = vec![row(1, "a", Priority::P2), over.clone()];
    let (mut queue, mut now, mut told) = (queue_of(&rows), NOW, Vec::new());
    for round in 0..6_i64 {
        assert_eq!(started(&mut queue, now), Some(1), "round {round}: its end still waits");
        told.extend(ended(&mut queue, 1, busy(None), now).unwrap().lost);
        if round == 5 {
            break;
        }
        let other = row(10 + round, &format!("b{round}"), Priority::P3);
        rows.push(other.clone());
        drop(queue.offered(rows.clone(), now));
        assert_eq!(started(&mut queue, now), Some(other.id));
        ended(&mut queue, other.id, done(), now).unwrap();
        now = now + Duration::from_secs(40);
    }
    let [words] = &told[..] else { panic!("{told:?}") };
    assert!(words.contains("mine-3.a") && words.ends_with("raised: 503"), "{words}");
    assert_eq!(started(&mut queue, now), Some(2));
    let verdicts = queue.finished(&[2], false, &done(), now);
    let outcomes: Vec<(i64, Outcome)> = verdicts.iter().map(|(id, verdict)| (*id, verdict.outcome)).collect();
    assert_eq!(outcomes, [(2, Outcome::Delivered), (1, Outcome::GivenUp)]);
    assert!(verdicts[1].1.detail.contains("message 2"), "{}", verdicts[1].1.detail);
    assert_eq!(started(&mut queue, after(4_000)), None, "nobody hears of the beginning after the end");
}
