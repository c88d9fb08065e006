//! Limits that people set: what is in force at every point after any orders, and what alarms make of it.

use std::collections::BTreeMap;

use super::*;
use crate::facts::LimitRefusal;
use crate::journal::Limits;
use crate::model::{
    Calendar, Exemption, LimitEnd, LimitFact, LimitLeave, LimitOrder, MonthDay, Scope, Season, SetLimit, Stricter, Zone,
};

/// 2026-06-30 22:00 at the site; the second season begins two hours later.
const EVENING: Timestamp = Timestamp::from_secs(1_782_828_000);
const HOUR: u64 = 3_600;

fn hours(hours: u64) -> Timestamp {
    EVENING + Duration::from_secs(hours * HOUR)
}

fn season(name: &str, from: (u8, u8), to: (u8, u8)) -> Season {
    let day = |(month, day)| MonthDay { month, day };
    Season { name: name.into(), sites: vec![], from: day(from), to: day(to) }
}

/// `a.t1`, `a.t2`, `b.t1`, judged by two rules: one in each direction.
fn ground() -> Setup {
    let points = [("a", "t1"), ("a", "t2"), ("b", "t1")].map(|(site, name)| Point {
        id: format!("{site}.{name}").into(),
        site: site.into(),
        ..point(name)
    });
    let low = RuleFile {
        path: "low.rhai".into(),
        text: r#"rule("low", #{ title: "t", advice: "a", watches: #{ kind: "methane" }, priority: "P2", level: "blue",
            limits: #{ alarm: #{ value: 1.0, unit: "%VOL", stricter: "higher", basis: "plan", set: 1.2 } },
            raise: |p| p.value <= p.limit.alarm });"#
            .into(),
    };
    let high = RuleFile {
        path: "high.rhai".into(),
        text: r#"rule("high", #{ title: "t", advice: "a", watches: #{ kind: "methane" }, priority: "P2", level: "blue",
            limits: #{ alarm: #{ value: 1.0, unit: "%VOL", stricter: "lower", basis: "AQ 1029-2019", hard: 1.5 } },
            raise: |p| p.value >= p.limit.alarm, clear_after: "60s" });"#
            .into(),
    };
    Setup {
        at: EVENING,
        rules: vec![high, low],
        calendar: Calendar {
            zone: Zone::BEIJING,
            seasons: vec![season("june", (6, 1), (6, 30)), season("july", (7, 1), (7, 2))],
            ..Calendar::default()
        },
        ..Setup::of(points.to_vec())
    }
}

fn set(id: &str, scope: Scope, season: Option<&str>, rule: &str, value: f64) -> LimitOrder {
    LimitOrder::Set(SetLimit {
        id: id.into(),
        rule: Some(rule.into()),
        limit: "alarm".into(),
        scope,
        season: season.map(Into::into),
        value,
        unit: "%VOL".into(),
        by: "李".into(),
        reason: "dust".into(),
        at: Some(EVENING),
    })
}

fn here(pattern: &str) -> Scope {
    Scope::Points(vec![pattern.into()])
}

fn exempt(id: &str, point: u32, value: f64, from: Timestamp, until: Timestamp) -> LimitOrder {
    LimitOrder::Exempt(Exemption {
        id: id.into(),
        rule: "high".into(),
        limit: "alarm".into(),
        points: vec![PointIndex(point)],
        scope: "a.t1".into(),
        value,
        by: "李".into(),
        approved_by: "王".into(),
        basis: "order 7".into(),
        from,
        until,
    })
}

fn end(at: Timestamp) -> LimitEnd {
    LimitEnd { at, by: "李".into(), reason: "done".into(), approved_by: String::new() }
}

fn note(command: u64, order: LimitOrder, leave: LimitLeave) -> Entry {
    Entry::Note(Note::Limits(Limits { command, order: Box::new(order), leave: Some(leave) }))
}

/// With the second person's leave.
fn seconded() -> LimitLeave {
    LimitLeave { approved_by: "王".into(), overrides: false }
}

/// Gives an order with a second person behind it; returns the answer.
fn order(shard: &mut Shard<'_>, order: LimitOrder) -> Result<LimitFact, LimitRefusal> {
    order_with(shard, order, seconded())
}

fn order_with(shard: &mut Shard<'_>, order: LimitOrder, leave: LimitLeave) -> Result<LimitFact, LimitRefusal> {
    let mut effects = Vec::new();
    shard.on_entry(&note(9, order, leave), &mut effects);
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::Changed(_))), "an order alone changes no alarm");
    match effects.pop() {
        Some(Effect::Answered { command: 9, answer: Answer::Limits(answer) }) => {
            assert_eq!(answer.is_ok(), effects.iter().any(|effect| matches!(effect, Effect::Limits(_))));
            answer
        }
        other => panic!("{other:?}"),
    }
}

fn words(answer: Result<LimitFact, LimitRefusal>) -> String {
    match answer {
        Err(LimitRefusal::Words(words)) => words,
        other => panic!("{other:?}"),
    }
}

/// The number in force at a point.
fn in_force(shard: &Shard<'_>, point: usize, rule: &str) -> f64 {
    let watches = &shard.plan.points[point].watches;
    let watch = watches.iter().find(|watch| &*shard.plan.rules[watch.rule].rule.id == rule).unwrap();
    assert_eq!(watch.plain.unwrap().0.to_bits(), watch.limits[0].1.to_bits());
    watch.limits[0].1
}

fn started(language: &Language, setup: Setup) -> Shard<'_> {
    let mut shard = Shard::new(language);
    play(&mut shard, [Entry::Note(Note::Setup(Arc::new(setup))), Entry::Tick(EVENING)]);
    shard
}

fn at_value(seconds: u64, value: f64) -> Entry {
    let moment = EVENING + Duration::from_secs(seconds);
    Entry::Samples(Arc::new(vec![Sample::received(PointIndex(0), value, Some(moment), moment)]))
}

#[test]
fn a_tighter_limit_holds_from_the_next_sample_on_and_a_looser_one_is_refused_with_the_words() {
    let language = Language::new();
    let mut shard = started(&language, ground());
    let changes = play(&mut shard, [at_value(1, 0.95), at_value(2, 1.3)]);
    assert_eq!(told(&changes), [("raised", "low"), ("raised", "high"), ("cleared", "low")], "low works with 1.2");
    play(&mut shard, [at_value(3, 0.9)]);
    order(&mut shard, set("limit-1", here("a.t1"), None, "high", 0.8)).unwrap();
    assert_eq!((in_force(&shard, 0, "high"), in_force(&shard, 1, "high")), (0.8, 1.0));
    // It was about to clear by the old number; 0.9 is too much now.
    let changes = play(&mut shard, [at_value(4, 0.9), Entry::Tick(EVENING + Duration::from_secs(70))]);
    assert_eq!(told(&changes), [], "{changes:?}");

    let refused = words(order(&mut shard, set("limit-2", here("a.*"), None, "high", 1.1)));
    assert_eq!(
        refused,
        "1.1 %VOL is looser than 1 %VOL of rule high (AQ 1029-2019) at a.t1; each layer may only be stricter; what is \
         looser needs an exemption"
    );
    assert!(
        words(order(&mut shard, set("x", here("a.t1"), None, "low", 1.1)))
            .contains("1.2 %VOL that rule low works with")
    );
    order(&mut shard, set("limit-3", Scope::Site("a".into()), None, "high", 0.7)).unwrap();
    let refused = words(order(&mut shard, set("x", here("a.t1"), None, "high", 0.75)));
    assert!(refused.contains("looser than 0.7 %VOL of the site (limit-3, 李: dust) at a.t1"), "{refused}");
    for (wrong, expected) in [
        (set("x", here("c.*"), None, "high", 0.5), "c.* names no point"),
        (set("x", here("a.t1"), None, "hihg", 0.5), "there is no rule \"hihg\" in force"),
        (
            set("x", here("a.t1"), Some("may"), "high", 0.5),
            "season \"may\" is not in [calendar]; known are: june, july",
        ),
    ] {
        assert!(words(order(&mut shard, wrong)).contains(expected), "{expected}");
    }
    assert_eq!(
        order(&mut shard, LimitOrder::End { id: "limit-9".into(), end: end(EVENING) }),
        Err(LimitRefusal::NoSuch)
    );
    // The same scope again replaces the number; loosened back, the alarm clears by samples only.
    order(&mut shard, set("limit-4", Scope::Site("a".into()), None, "high", 1.0)).unwrap();
    order(&mut shard, LimitOrder::End { id: "limit-1".into(), end: end(EVENING) }).unwrap();
    assert_eq!(in_force(&shard, 0, "high"), 1.0);
    assert_eq!(told(&play(&mut shard, [Entry::Tick(EVENING + Duration::from_secs(100))])), []);
    let changes = play(&mut shard, [at_value(101, 0.9), at_value(162, 0.9)]);
    assert_eq!(told(&changes), [("cleared", "high")]);
}

fn exempted(id: &str, point: u32, value: f64, from: Timestamp, until: Timestamp) -> Exemption {
    let order = exempt(id, point, value, from, until);
    let LimitOrder::Exempt(exemption) = order else { panic!("{order:?}") };
    exemption
}

#[test]
fn an_exemption_holds_until_its_end_and_says_so_on_every_alarm() {
    let language = Language::new();
    let mut shard = started(&language, ground());
    let alone =
        LimitOrder::Exempt(Exemption { approved_by: "李".into(), ..exempted("e", 0, 1.2, EVENING, hours(30)) });
    for (wrong, expected) in [
        (alone, "cannot approve their own exemption"),
        (exempt("e", 0, 0.9, EVENING, hours(30)), "0.9 %VOL is not looser than 1 %VOL of rule high (AQ 1029-2019)"),
        (exempt("e", 0, 1.6, EVENING, hours(30)), "looser than 1.5 %VOL, the hard bound of rule high"),
        (exempt("e", 0, 1.2, EVENING, hours(91 * 24)), "not within 90 days"),
    ] {
        let words = words(order(&mut shard, wrong));
        assert!(words.contains(expected), "{words}");
    }
    order(&mut shard, set("limit-1", here("a.t1"), None, "high", 0.8)).unwrap();
    assert!(
        words(order(&mut shard, exempt("e", 0, 1.2, EVENING, hours(30)))).contains("would change nothing: 0.8 %VOL")
    );
    order(&mut shard, LimitOrder::End { id: "limit-1".into(), end: end(EVENING) }).unwrap();
    order(&mut shard, exempt("exemption-1", 0, 1.3, EVENING, hours(30))).unwrap();
    assert!(
        words(order(&mut shard, exempt("e", 0, 1.2, EVENING, hours(30)))).contains("exemption-1 is in force at a.t1")
    );

    let quiet = play(&mut shard, [at_value(1, 1.25)]);
    assert_eq!(told(&quiet), []);
    let changes = play(&mut shard, [at_value(2, 1.4)]);
    let alarm = &changes[0].alarm;
    assert_eq!((told(&changes), alarm.limit), (vec![("raised", "high")], Some(1.3)));
    let until = hours(30);
    assert_eq!(alarm.detail, format!("豁免 / exemption exemption-1 until {until}"));

    // A day before its end people are told; a restart keeps it.
    let mut again = Shard::new(&language);
    again.resume(&shard.snapshot(&crate::response::Response::default())).unwrap();
    let changes = play(&mut again, [Entry::Tick(hours(5)), Entry::Tick(hours(7)), Entry::Tick(hours(8))]);
    assert_eq!(told(&changes), [("raised", "davy-exemption-ends")]);
    let changes = play(&mut again, [Entry::Tick(hours(30))]);
    assert_eq!(
        told(&changes),
        [("cleared", "davy-exemption-ends"), ("raised", "davy-exemption-ended"), ("cleared", "davy-exemption-ended")]
    );
    assert_eq!(changes[2].alarm.standing, Standing::ReturnedUnacknowledged);
    assert_eq!(in_force(&again, 0, "high"), 1.0);
    // The open alarm is judged by the legal value now, and says so when it clears.
    let changes =
        play(&mut again, [at_value(30 * HOUR + 1, 1.1), at_value(30 * HOUR + 2, 0.9), at_value(30 * HOUR + 70, 0.9)]);
    let cleared = changes.iter().find(|change| &*change.alarm.rule == "high").unwrap();
    assert_eq!((cleared.happening, cleared.alarm.limit), (Happening::Cleared, Some(1.0)));
    assert!(cleared.alarm.detail.contains("its limit became 1, from 1.3"), "{}", cleared.alarm.detail);
}

#[test]
fn what_leaves_less_protection_takes_two_persons_and_waits_for_a_real_p1() {
    let language = Language::new();
    let mut ground = ground();
    let p1 = ground.rules[0].text.replace("\"high\"", "\"urgent\"").replace("P2", "P1").replace("1.0", "1.4");
    let p1 = p1.replace("hard: 1.5", "hard: 2.0");
    ground.rules.push(RuleFile { path: "urgent.rhai".into(), text: p1 });
    let mut shard = started(&language, ground);
    let alone = LimitLeave::default;
    let ends = |id: &str| LimitOrder::End { id: id.into(), end: end(EVENING) };
    order_with(&mut shard, set("limit-1", here("a.t1"), None, "high", 0.8), alone()).unwrap();
    let tells = words(order_with(&mut shard, ends("limit-1"), alone()));
    assert!(tells.contains("(a.t1 high: 0.8 -> 1 %VOL): it takes a second person"), "{tells}");
    let self_approved = LimitLeave { approved_by: "李".into(), overrides: false };
    assert!(words(order_with(&mut shard, ends("limit-1"), self_approved)).contains("somebody other than 李"));
    assert!(
        words(order_with(&mut shard, set("limit-2", here("a.t1"), None, "high", 0.9), alone())).contains("0.8 -> 0.9")
    );
    // Something narrower that is as strict stands: nothing is lost.
    order_with(&mut shard, set("limit-3", Scope::Site("a".into()), None, "high", 0.8), alone()).unwrap();
    order_with(&mut shard, ends("limit-1"), alone()).unwrap();
    // Out of season too: it will be in season again.
    order_with(&mut shard, set("limit-4", here("b.t1"), Some("july"), "high", 0.5), alone()).unwrap();
    assert!(words(order_with(&mut shard, ends("limit-4"), alone())).contains("0.5 -> 1"));

    // An exercise freezes nothing; the real one does, by name, until it is over or overridden.
    let moment = EVENING + Duration::from_secs(1);
    let drill = Sample::received(PointIndex(2), 1.45, Some(moment), moment);
    let drill = Sample { quality: drill.quality.and(Reason::Exercise), ..drill };
    let raised = play(&mut shard, [Entry::Samples(Arc::new(vec![drill]))]);
    assert!(raised.iter().any(|change| &*change.alarm.rule == "urgent"), "{raised:?}");
    order(&mut shard, ends("limit-4")).unwrap();
    let raised = play(&mut shard, [at_value(2, 1.45)]);
    let urgent = raised.iter().find(|change| &*change.alarm.rule == "urgent").unwrap();
    let frozen = Err(LimitRefusal::Frozen(format!("P1 urgent a.t1 ({})", urgent.alarm.id)));
    assert_eq!(order(&mut shard, ends("limit-3")), frozen);
    assert_eq!(order(&mut shard, exempt("exemption-1", 2, 1.2, EVENING, hours(30))), frozen);
    assert_eq!(order(&mut shard, set("limit-5", Scope::Site("a".into()), None, "high", 0.9)), frozen);
    order_with(&mut shard, set("limit-6", here("a.t1"), None, "high", 0.7), alone()).unwrap();
    let overridden = LimitLeave { overrides: true, ..seconded() };
    let Ok(LimitFact::Limit { end: Some(ended), .. }) = order_with(&mut shard, ends("limit-6"), overridden) else {
        panic!("was ended");
    };
    assert_eq!((ended.by.as_str(), in_force(&shard, 0, "high")), ("李", 0.8));
    // An order from a journal that knows of no leave is carried out as it was.
    let old = r#"{"command":3,"order":{"end":{"id":"limit-3","end":{"at":0,"by":"李","reason":"done"}}}}"#;
    let old: Limits = serde_json::from_str(old).unwrap();
    play(&mut shard, [Entry::Note(Note::Limits(old))]);
    assert_eq!(in_force(&shard, 1, "high"), 1.0);
}

#[test]
fn a_season_turns_at_local_midnight() {
    let language = Language::new();
    let limit = |id: &str, name: &str, value| {
        let order = set(id, Scope::Site("a".into()), Some(name), "high", value);
        let LimitOrder::Set(limit) = order else { panic!("{order:?}") };
        SetLimit { at: None, ..limit }
    };
    let setup = Setup { limits: vec![limit("limit[0]", "june", 0.6), limit("limit[1]", "july", 0.4)], ..ground() };
    let mut shard = started(&language, setup);
    let midnight = hours(2);
    assert_eq!((in_force(&shard, 0, "high"), in_force(&shard, 2, "high")), (0.6, 1.0));
    play(&mut shard, [Entry::Tick(midnight - Duration::from_micros(1))]);
    assert_eq!(in_force(&shard, 0, "high"), 0.6);
    play(&mut shard, [Entry::Tick(midnight)]);
    assert_eq!(in_force(&shard, 0, "high"), 0.4);
    play(&mut shard, [Entry::Tick(hours(26)), Entry::Tick(hours(50))]);
    assert_eq!(in_force(&shard, 0, "high"), 1.0);
}

#[test]
fn facts_alone_bring_limits_and_exemptions_back() {
    let language = Language::new();
    let mut shard = started(&language, ground());
    let Ok(LimitFact::Limit { limit, .. }) = order(&mut shard, set("limit-1", here("a.t2"), None, "high", 0.8)) else {
        panic!("was set");
    };
    let Ok(LimitFact::Exemption { exemption, .. }) = order(&mut shard, exempt("e", 0, 1.3, EVENING, hours(3))) else {
        panic!("was given");
    };
    let mut again = Shard::new(&language);
    let (limits, exemptions) = (vec![limit], vec![exemption]);
    again.adopt(Remembered { setup: Some(ground()), limits, exemptions, ..Remembered::default() });
    assert_eq!([0, 1, 2].map(|point| in_force(&again, point, "high")), [1.3, 0.8, 1.0]);
}

/// One step of the property below.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "a few dozen of them, in a test")]
enum Step {
    Order(LimitOrder),
    Tick(Timestamp),
    Reload,
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let scope = prop_oneof![
        prop::sample::select(vec!["a", "b"]).prop_map(|site| Scope::Site(site.into())),
        prop::sample::select(vec!["a.t1", "a.*", "*.t1", "*"]).prop_map(here),
    ];
    let season = prop::sample::select(vec![None, None, Some("june"), Some("july")]);
    let rule = prop::sample::select(vec!["high", "low"]);
    let id = || (0..12_u8).prop_map(|id| format!("limit-{id}"));
    let value = || (0..20_u8).prop_map(|tenths| f64::from(tenths) / 10.0);
    let moment = || (0..80_u64).prop_map(hours);
    let set = (id(), scope, season, rule, value())
        .prop_map(|(id, scope, season, rule, value)| Step::Order(set(&id, scope, season, rule, value)));
    let exemption = (0..4_u8, 0..3_u32, value(), moment(), moment())
        .prop_map(|(id, point, value, from, until)| Step::Order(exempt(&format!("e{id}"), point, value, from, until)));
    let step = prop_oneof![
        4 => set,
        2 => exemption,
        1 => id().prop_map(|id| Step::Order(LimitOrder::End { id, end: end(EVENING) })),
        1 => (0..4_u8).prop_map(|id| Step::Order(LimitOrder::EndExemption { id: format!("e{id}"), end: end(EVENING) })),
        3 => moment().prop_map(Step::Tick),
        1 => Just(Step::Reload),
        1 => Just(Step::Restart),
    ];
    prop::collection::vec(step, 1..40)
}

/// What is on record, kept by what the engine said.
#[derive(Default)]
struct Record {
    limits: BTreeMap<String, SetLimit>,
    exemptions: BTreeMap<String, Exemption>,
}

impl Record {
    fn hear(&mut self, effects: &[Effect]) {
        for effect in effects {
            let Effect::Limits(fact) = effect else { continue };
            match fact.clone() {
                LimitFact::Limit { limit, end: None } => drop(self.limits.insert(limit.id.clone(), limit)),
                LimitFact::Limit { limit, end: Some(_) } => drop(self.limits.remove(&limit.id)),
                LimitFact::Exemption { exemption, end: None } => {
                    drop(self.exemptions.insert(exemption.id.clone(), exemption));
                }
                LimitFact::Exemption { exemption, end: Some(_) } => drop(self.exemptions.remove(&exemption.id)),
            }
        }
    }

    /// The strictest that applies, worked out the slow and plain way.
    fn expected(&self, point: usize, rule: &str, today: Timestamp) -> f64 {
        let ground = ground();
        let stricter = if rule == "high" { Stricter::Lower } else { Stricter::Higher };
        let exempt = self.exemptions.values().find(|one| one.points[0].at() == point && rule == "high");
        let base = exempt.map_or(if rule == "high" { 1.0 } else { 1.2 }, |one| one.value);
        let covers = |limit: &&SetLimit| match &limit.scope {
            Scope::Site(site) => *site == ground.points[point].site,
            Scope::Points(patterns) => crate::model::fits(&patterns[0], &ground.points[point].id),
        };
        let inside = |limit: &&SetLimit| {
            limit.season.as_ref().is_none_or(|name| ground.calendar.in_season(name, &ground.points[point].site, today))
        };
        let set = self.limits.values().filter(|limit| limit.rule.as_deref() == Some(rule));
        let values = set.filter(covers).filter(inside).map(|limit| limit.value);
        values.fold(base, |best, value| match stricter {
            Stricter::Lower => best.min(value),
            Stricter::Higher => best.max(value),
        })
    }
}

proptest! {
    /// Whatever is ordered, in whatever season, with reloads and restarts in between: the strictest layer that
    /// applies is in force, and nothing looser than the legal value without an exemption.
    #[test]
    fn the_strictest_layer_rules_and_nothing_is_looser_than_the_law(steps in steps()) {
        let language = Language::new();
        let mut shard = started(&language, ground());
        let (mut record, mut now, mut today) = (Record::default(), EVENING, EVENING);
        for step in steps {
            let mut effects = Vec::new();
            match step {
                // An id is given once.
                Step::Order(LimitOrder::Set(limit)) if record.limits.contains_key(&limit.id) => continue,
                Step::Order(LimitOrder::Exempt(one)) if record.exemptions.contains_key(&one.id) => continue,
                Step::Order(order) => {
                    shard.on_entry(&note(1, order, seconded()), &mut effects);
                }
                Step::Tick(at) => {
                    (now, today) = (at, at);
                    shard.on_entry(&Entry::Tick(at), &mut effects);
                }
                Step::Reload => {
                    today = now;
                    let setup = Setup { at: now, ..ground() };
                    shard.on_entry(&Entry::Note(Note::Setup(Arc::new(setup))), &mut effects);
                }
                Step::Restart => {
                    let bytes = shard.snapshot(&crate::response::Response::default());
                    shard = Shard::new(&language);
                    shard.resume(&bytes).unwrap();
                }
            }
            record.hear(&effects);
            for point in 0..3 {
                let exempt = record.exemptions.values().any(|one| one.points[0].at() == point);
                let loosest = if exempt { 1.5 } else { 1.0 };
                prop_assert!(in_force(&shard, point, "high") <= loosest);
                prop_assert!(in_force(&shard, point, "low") >= 1.2);
                for rule in ["high", "low"] {
                    prop_assert_eq!(in_force(&shard, point, rule), record.expected(point, rule, today), "{} {}", rule, point);
                }
            }
        }
    }
}
