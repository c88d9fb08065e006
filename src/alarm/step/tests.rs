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
        1 => Just(Input::Reset),
        1 => Just(Input::Remind),
        1 => Just(Input::Worse),
        1 => prop::sample::select(Way::ALL.to_vec()).prop_map(Input::SetAside),
        1 => Just(Input::Resume),
    ];
    prop::collection::vec((input, 0_u64..8), 0..80)
}

fn policies() -> impl Strategy<Value = Policy> {
    let realarm = prop::option::of((5_u64..60).prop_map(Duration::from_secs));
    (0_u64..12, 0_u64..12, any::<bool>(), realarm).prop_map(|(raise, clear, latch, realarm)| Policy {
        raise_after: Duration::from_secs(raise),
        clear_after: Duration::from_secs(clear),
        latch,
        realarm,
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
                Input::Tick | Input::Acknowledge | Input::Reset | Input::Remind | Input::Worse | Input::SetAside(_)
                | Input::Resume => {}
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
                Some(Change::Reset) => prop_assert_eq!(input, Input::Reset),
                Some(Change::Realarmed) => prop_assert_eq!(input, Input::Remind),
                Some(Change::Worsened) => prop_assert_eq!(input, Input::Worse),
                Some(Change::SetAside) => prop_assert!(matches!(input, Input::SetAside(_))),
                Some(Change::Resumed) => prop_assert_eq!(input, Input::Resume),
                None => prop_assert_eq!(next.standing(), state.standing()),
            }
            state = next;
        }
    }

    /// Missing data and ticks alone never move an alarm that people know of, except to finish a clear
    /// that healthy data began.
    #[test]
    fn missing_data_never_clears(policy in policies(), pauses in prop::collection::vec(0_u64..100, 1..40), acknowledged: bool) {
        let mut state = State::Active { acknowledged, falling: Some(START), called: START };
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

    /// Nothing but a transition of the standard's table, and no tenth state.
    #[test]
    fn every_step_is_in_the_table(policy in policies(), inputs in inputs()) {
        let (mut state, mut now) = (State::Normal, START);
        for (input, pause) in inputs {
            now = now + Duration::from_secs(pause);
            let (next, change) = step(&policy, state, input, now);
            let (from, to) = (letter(state), letter(next));
            prop_assert!(from == to || allowed(from, to, input, &policy), "{from} to {to} by {input:?}");
            if from != to {
                prop_assert!(change.is_some(), "{from} to {to} by {input:?} and nobody hears of it");
            }
            // The same again is the same again.
            prop_assert_eq!(step(&policy, state, input, now), (next, change));
            state = next;
        }
    }

    /// No data, wherever it stands: nothing is cleared, and no latch let go.
    #[test]
    fn no_data_lets_go_of_nothing(policy in policies(), inputs in inputs()) {
        let (mut state, mut now) = (State::Normal, START);
        for (input, pause) in inputs {
            now = now + Duration::from_secs(pause);
            let (unknown, change) = step(&policy, state, Input::Judged(Verdict::Unknown), now);
            prop_assert_eq!((letter(unknown), change), (letter(state), None));
            (state, _) = step(&policy, state, input, now);
        }
    }

    /// A clock that is set back makes no wait longer than it is from there on.
    #[test]
    fn a_clock_set_back_keeps_nobody_waiting(policy in policies(), acknowledged: bool) {
        let policy = Policy { realarm: Some(Duration::from_secs(30)), ..policy };
        let state = State::Active { acknowledged, falling: None, called: START + Duration::from_secs(86_400) };
        let (state, change) = step(&policy, state, Input::Remind, START);
        prop_assert_eq!(change, None);
        let (state, change) = step(&policy, state, Input::Remind, START + Duration::from_secs(30));
        prop_assert_eq!((change, letter(state)), (Some(Change::Realarmed), 'B'));
    }
}

/// As ISA-18.2 names them.
fn letter(state: State) -> char {
    match state {
        State::Normal | State::Rising { .. } => 'A',
        State::Active { acknowledged: false, .. } => 'B',
        State::Active { acknowledged: true, .. } => 'C',
        State::Returned => 'D',
        State::Latched { acknowledged: false } => 'E',
        State::Latched { acknowledged: true } => 'F',
        State::Aside { way: Way::Shelved, .. } => 'G',
        State::Aside { way: Way::Suppressed, .. } => 'H',
        State::Aside { way: Way::OutOfService, .. } => 'I',
    }
}

/// The table of the standard, written down apart from the code; while several things set an alarm aside, what
/// people see may pass from one to the other.
fn allowed(from: char, to: char, input: Input, policy: &Policy) -> bool {
    const TABLE: &[(&str, &str, &str)] = &[
        ("A", "true", "B"),
        ("B", "acknowledge", "C"),
        ("B", "false", "D"),
        ("B", "false latched", "E"),
        ("C", "false", "A"),
        ("C", "false latched", "F"),
        ("D", "acknowledge", "A"),
        ("D", "true", "B"),
        ("E", "acknowledge", "F"),
        ("E", "reset", "D"),
        ("EF", "true", "B"),
        ("F", "reset", "A"),
        ("C", "again", "B"),
        ("ABCDEFHI", "shelve", "G"),
        ("ABCDEFGI", "suppress", "H"),
        ("ABCDEFGH", "remove", "I"),
        ("GHI", "end", "A"),
        ("GHI", "end", "B"),
    ];
    let events: &[&str] = match input {
        Input::Judged(Verdict::Violated) => &["true"],
        Input::Judged(Verdict::Healthy) if policy.latch => &["false latched"],
        Input::Judged(Verdict::Healthy) => &["false"],
        Input::Judged(Verdict::Unknown) => &[],
        // The end of a delay, of one kind or the other.
        Input::Tick if policy.latch => &["true", "false latched"],
        Input::Tick => &["true", "false"],
        Input::Acknowledge => &["acknowledge"],
        Input::Reset => &["reset"],
        Input::Remind | Input::Worse => &["again"],
        Input::SetAside(Way::Shelved) => &["shelve"],
        Input::SetAside(Way::Suppressed) => &["suppress"],
        Input::SetAside(Way::OutOfService) => &["remove"],
        Input::Resume => &["end"],
    };
    TABLE.iter().any(|(of, event, then)| of.contains(from) && events.contains(event) && *then == to.to_string())
}

#[test]
fn the_whole_loop_of_an_alarm() {
    let policy =
        Policy { raise_after: Duration::from_secs(10), clear_after: Duration::from_secs(5), ..Policy::default() };
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
