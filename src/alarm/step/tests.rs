use proptest::prelude::*;

use super::*;

const START: Timestamp = Timestamp::from_secs(1_800_000_000);

fn inputs() -> impl Strategy<Value = Vec<(Input, u64)>> {
    let input = prop_oneof![
        4 => Just(Input::Judged(Verdict::Violated)),
        4 => Just(Input::Judged(Verdict::Healthy)),
        2 => Just(Input::Judged(Verdict::Unknown)),
        2 => Just(Input::Tick),
        1 => Just(Input::Acknowledge),
    ];
    prop::collection::vec((input, 0_u64..8), 0..80)
}

fn policies() -> impl Strategy<Value = Policy> {
    (0_u64..12, 0_u64..12).prop_map(|(raise, clear)| Policy {
        raise_after: Duration::from_secs(raise),
        clear_after: Duration::from_secs(clear),
    })
}

proptest! {
    /// Between the first violated sample of the run that raised and the raising itself lies at least
    /// raise_after, with no healthy and no unknown sample; the same for healthy samples before a clear.
    #[test]
    fn nothing_counts_before_it_held_long_enough(policy in policies(), inputs in inputs()) {
        let (mut state, mut now) = (State::Normal, START);
        let (mut violated_since, mut healthy_since) = (None, None);
        for (input, pause) in inputs {
            now = now + Duration::from_secs(pause);
            match input {
                Input::Judged(Verdict::Violated) => { violated_since.get_or_insert(now); healthy_since = None; }
                Input::Judged(Verdict::Healthy) => { healthy_since.get_or_insert(now); violated_since = None; }
                Input::Judged(Verdict::Unknown) => { violated_since = None; healthy_since = None; }
                Input::Tick | Input::Acknowledge => {}
            }
            let (next, change) = step(&policy, state, input, now);
            match change {
                Some(Change::Raised) => {
                    let since = violated_since.expect("raised without a violated sample");
                    prop_assert!(now.since(since) >= policy.raise_after);
                }
                Some(Change::Cleared) => {
                    let since = healthy_since.expect("cleared without a healthy sample");
                    prop_assert!(now.since(since) >= policy.clear_after);
                }
                Some(Change::RaisedAgain) => prop_assert_eq!(input, Input::Judged(Verdict::Violated)),
                Some(Change::Acknowledged) => prop_assert_eq!(input, Input::Acknowledge),
                None => prop_assert_eq!(next.standing(), state.standing()),
            }
            state = next;
        }
    }

    /// Missing data and ticks alone never move an alarm that people know of, except to finish a clear
    /// that healthy data began.
    #[test]
    fn missing_data_never_clears(policy in policies(), pauses in prop::collection::vec(0_u64..100, 1..40), acknowledged: bool) {
        let mut state = State::Active { acknowledged, falling: Some(START) };
        let mut now = START;
        (state, _) = step(&policy, state, Input::Judged(Verdict::Unknown), now);
        for pause in pauses {
            now = now + Duration::from_secs(pause);
            for input in [Input::Tick, Input::Judged(Verdict::Unknown)] {
                let (next, change) = step(&policy, state, input, now);
                prop_assert_eq!((next.standing(), change), (state.standing(), None));
                state = next;
            }
        }
    }

    #[test]
    fn changes_alternate_as_people_expect(policy in policies(), inputs in inputs()) {
        let (mut state, mut now) = (State::Normal, START);
        let mut open = false;
        for (input, pause) in inputs {
            now = now + Duration::from_secs(pause);
            let before = state.standing();
            let (next, change) = step(&policy, state, input, now);
            match change {
                Some(Change::Raised) => prop_assert!(!open),
                Some(Change::RaisedAgain) => prop_assert_eq!(before, Standing::ReturnedUnacknowledged),
                Some(Change::Cleared) => prop_assert!(open && before != Standing::ReturnedUnacknowledged),
                Some(Change::Acknowledged) => prop_assert!(matches!(before, Standing::Unacknowledged | Standing::ReturnedUnacknowledged)),
                None => {}
            }
            open = next.standing() != Standing::Normal;
            state = next;
        }
    }
}

#[test]
fn the_whole_loop_of_an_alarm() {
    let policy = Policy { raise_after: Duration::from_secs(10), clear_after: Duration::from_secs(5) };
    let mut state = State::Normal;
    let mut told = Vec::new();
    let script = [
        (0, Input::Judged(Verdict::Violated)),
        (9, Input::Judged(Verdict::Violated)),
        (10, Input::Tick),
        (11, Input::Judged(Verdict::Healthy)),
        (13, Input::Judged(Verdict::Violated)),
        (14, Input::Judged(Verdict::Healthy)),
        (19, Input::Tick),
        (20, Input::Judged(Verdict::Violated)),
        (21, Input::Acknowledge),
        (22, Input::Acknowledge),
        (23, Input::Judged(Verdict::Healthy)),
        (28, Input::Judged(Verdict::Healthy)),
    ];
    for (second, input) in script {
        let (next, change) = step(&policy, state, input, START + Duration::from_secs(second));
        told.extend(change.map(|change| (second, change, next.standing())));
        state = next;
    }
    assert_eq!(
        told,
        [
            (10, Change::Raised, Standing::Unacknowledged),
            (19, Change::Cleared, Standing::ReturnedUnacknowledged),
            (20, Change::RaisedAgain, Standing::Unacknowledged),
            (21, Change::Acknowledged, Standing::Acknowledged),
            (28, Change::Cleared, Standing::Normal),
        ]
    );
}
