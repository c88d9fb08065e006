//! Votes against their plain definition, on every combination there is.

use super::*;

const X: f64 = 1.0;

fn group(voters: &[Standing]) -> Group {
    let points = (0_u32..).map(PointIndex).take(voters.len()).collect();
    let past = Past::default();
    let mut group = Group::default();
    group.look(&points, |point| {
        Some(Member { standing: voters[point.at()], quality: Quality::GOOD, age_s: 0.0, past: &past })
    });
    group
}

/// All lists of `n` sensors, each of which agrees, does not, is broken or was not heard yet.
fn combinations(n: usize) -> Vec<Vec<Standing>> {
    let each = [Standing::Usable(1.5), Standing::Usable(0.5), Standing::Broken, Standing::Awaited];
    let count = each.len().pow(u32::try_from(n).unwrap());
    (0..count)
        .map(|number| (0..n).map(|place| each[number / each.len().pow(place as u32) % each.len()]).collect())
        .collect()
}

#[test]
fn a_vote_is_its_plain_definition_for_every_combination_of_up_to_five_sensors() {
    let mut seen = [0_usize; 3];
    for n in 1..=5 {
        for voters in combinations(n) {
            let agree = voters.iter().filter(|voter| matches!(voter, Standing::Usable(value) if *value >= X)).count();
            let broken = voters.iter().filter(|voter| **voter == Standing::Broken).count();
            let awaited = voters.iter().filter(|voter| **voter == Standing::Awaited).count();
            for k in 1..=6 {
                let motion = Motion { k, comparison: Comparison::GreaterOrEqual, limit: X };
                // More votes than there are voters: all of them.
                let asked = k.min(n);
                let needed = if broken + 1 >= asked { 1 } else { asked - broken };
                let plain = if broken + awaited == n {
                    None
                } else if agree >= needed {
                    Some(true)
                } else if agree + awaited >= needed {
                    None
                } else {
                    Some(false)
                };
                let said = group(&voters).vote(motion, Standing::Broken, false);
                assert_eq!(said, plain, "{k} of {voters:?}");
                assert!(
                    !(agree > 0 && asked <= broken + 1 && said != Some(true)),
                    "no alarm because a sensor is broken: {k} of {voters:?}"
                );
                // While the alarm stands, it ends only where the broken ones could not have kept it up.
                let holding = group(&voters).vote(motion, Standing::Broken, true);
                let could = agree + awaited + broken >= asked;
                assert_eq!(holding, if said == Some(false) && could { None } else { said }, "{k} of {voters:?}");
                seen[said.map_or(2, usize::from)] += 1;
                // The point itself is one voter more, wherever it stands.
                let (own, others) = voters.split_last().unwrap();
                let mut with_own = group(others);
                with_own.own_votes = true;
                let together = if others.is_empty() { None } else { plain };
                assert_eq!(with_own.vote(motion, *own, false), together, "{k} of {voters:?}, the last one its own");
            }
        }
    }
    assert!(seen.iter().all(|count| *count > 500), "false, true, unknown: {seen:?}");
}

#[test]
fn a_limit_that_is_no_number_is_answered_by_nobody() {
    let voters = group(&[Standing::Usable(2.0), Standing::Usable(3.0)]);
    for limit in [f64::NAN, f64::INFINITY] {
        let motion = Motion { k: 1, comparison: Comparison::GreaterOrEqual, limit };
        assert_eq!(voters.vote(motion, Standing::Awaited, false), None);
    }
}

#[test]
fn figures_are_those_of_the_usable_members_and_nobody_has_none() {
    let voters =
        [Standing::Usable(3.0), Standing::Broken, Standing::Usable(1.0), Standing::Usable(8.0), Standing::Awaited];
    let mixed = group(&voters);
    let said = |group: &Group| GroupAsk::ALL.map(|(_, ask)| group.ask(ask));
    assert_eq!(
        said(&mixed),
        [None, None, Some(8.0), Some(1.0), Some(4.0), Some(3.0), Some(12.0), Some(7.0), Some(3.0), Some(5.0)]
    );
    let broken = said(&group(&[Standing::Broken]));
    assert_eq!(broken, [None, Some(0.0), None, None, None, None, None, None, Some(0.0), Some(1.0)]);
    assert_eq!(said(&group(&[])), [None; 10]);
    let even = group(&[Standing::Usable(f64::MAX), Standing::Usable(f64::MAX)]);
    assert_eq!(even.ask(GroupAsk::Median), Some(f64::MAX));
}
