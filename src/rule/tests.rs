use super::ask::Site;
use super::*;
use crate::engine::{Past, Wants};
use crate::journal::RuleFile;

fn problems(text: &str) -> Vec<String> {
    let file = RuleFile { path: "x.rhai".into(), text: text.into() };
    match read_file(&Language::new(), &file) {
        Ok((rules, ast)) => rules
            .iter()
            .flat_map(|rule| std::iter::once(&rule.raise).chain(&rule.clear).map(move |closure| (rule, closure)))
            .filter_map(|(rule, closure)| Program::new(closure, &ast, rule.limits.keys()).err())
            .collect(),
        Err(problems) => problems.iter().map(ToString::to_string).collect(),
    }
}

fn with(key: &str, value: &str) -> String {
    let keys = [
        ("title", "\"t\""),
        ("advice", "\"a\""),
        ("watches", "#{ kind: \"methane\" }"),
        ("priority", "\"P2\""),
        ("level", "\"orange\""),
        ("raise", "|p| p.value >= 1.0"),
    ];
    let mut body: Vec<String> =
        keys.iter().filter(|(known, _)| *known != key).map(|(key, value)| format!("  {key}: {value}")).collect();
    if !value.is_empty() {
        body.push(format!("  {key}: {value}"));
    }
    format!("// rules\nrule(\"r\", #{{\n{}\n}});", body.join(",\n"))
}

#[test]
fn a_sound_rule_has_no_problem() {
    assert_eq!(problems(&with("raise", "|p| p.mean(\"5m\") >= 1.0 && p.value > 0.5")), Vec::<String>::new());
}

#[test]
fn every_mistake_is_told_with_file_line_and_what_was_expected() {
    for (text, expected) in [
        ("let x = ;".to_owned(), "x.rhai:1:9: "),
        ("let x = 1;".to_owned(), "the file defines no rule"),
        (with("titel", "\"x\""), "x.rhai:9:3: rule \"r\": unknown key \"titel\""),
        (with("title", ""), "x.rhai:2:1: rule \"r\": title is missing"),
        (with("priority", "\"P7\""), "priority is \"P7\", not one of P1, P2, P3, P4"),
        (with("watches", "#{ kind: \"methan\" }"), "x.rhai:8:15: rule \"r\": watches.kind \"methan\" is not known"),
        (with("watches", "#{ knd: \"methane\" }"), "x.rhai:8:15: rule \"r\": unknown key watches.knd"),
        (with("raise", ""), "raise is missing"),
        (with("raise", "5"), "x.rhai:8:3: rule \"r\": raise must be a closure"),
        (with("raise", "|p, q| true"), "takes one parameter"),
        (with("raise", "|p| p.mean(p.value) > 1.0"), "takes a span written out"),
        (with("raise", "|p| p.mean(\"5 parsecs\") > 1.0"), "is not a duration"),
        (with("raise", "|p| p.mean(\"30d\") > 1.0"), "is not between 1ms and 24h"),
        (with("raise", "|p| p.gap(\"25h\") > 1.0"), "the window \"25h\" is not between 1ms and 24h"),
        (with("raise", "|p| p.medain(\"5m\") > 1.0"), "asks p.medain(..), but functions are has, mean, min"),
        (with("raise", "|p| p.mean() > 1.0"), "mean(..) takes a span written out, such as mean(\"10m\")"),
        (with("raise", "|p| p.crossed_up(p.value)"), "crossed_up(..): its level must be known before a sample comes"),
        (with("raise", "|p| { let x = 1.0; p.crossed_up(x) }"), "a number, p.limit.NAME or reckoned from these"),
        (with("raise", "|p| p.crossed_up(p.limit.alram)"), "asks p.limit.alram"),
        (with("raise", "|p| p.cusum(1, 1 + p.mean(\"5m\")) > 5.0"), "reckoned from these; p.mean(..)"),
        (with("raise", "|p| p.crossed_down(1.0 + p.age)"), "this one changes with the samples"),
        (with("raise", "|p| p.held_for(\"=>\", 1.0) > 5.0"), "held_for(..) takes one of \">\" \">=\""),
        (with("raise", "|p| p.time_to(1.0) > 5.0"), "takes a level and a span written out"),
        (with("raise", "|p| value > 1.0"), "value"),
        (with("raise", "|p| p.valeu > 1.0"), "asks p.valeu, but a point has value, age"),
        (with("raise", "|p| p.value > p.limit.alram"), "asks p.limit.alram, but the rule's limits are none"),
        (with("raise", "|p| p.limit > 1.0"), "asks p.limit without a name"),
        (with("raise_after", "\"soon\""), "raise_after: \"soon\" is not a duration"),
        (with("realarm", "\"5s\""), "realarm is shorter than a minute"),
        (with("realarm", "\"2d\""), "realarm is longer than a day"),
        (with("latch", "1"), "latch must be true or false, not 1"),
        (with("shelvable", "\"no\""), "shelvable must be true or false"),
        (
            with("suppressed_when", "[\"asleep\"]"),
            "suppressed_when \"asleep\" is not one of stopped, maintenance, permit",
        ),
        (
            with("limits", "#{ alarm: #{ value: 1.0, unit: \"%VOL\", stricter: \"lower\" } }"),
            "x.rhai:9:14: rule \"r\": limits.alarm.basis is missing",
        ),
        (
            with("limits", "#{ alarm: #{ value: 1.0, unit: \"%VOL\", stricter: \"up\", basis: \"b\" } }"),
            "x.rhai:9:50: rule \"r\": limits.alarm.stricter must be \"lower\" or \"higher\"",
        ),
        (
            with("limits", "#{ alarm: #{ value: 1.0, unit: \"m\", stricter: \"lower\", basis: \"b\", set: 1.1 } }"),
            "limits.alarm.set is looser than its value 1 (b)",
        ),
        (
            with("limits", "#{ alarm: #{ value: 1.0, unit: \"m\", stricter: \"lower\", basis: \"b\", hard: 0.9 } }"),
            "limits.alarm.hard is stricter than its value 1 (b)",
        ),
        (with("limits", "#{ alarm: 1.0 }"), "limits.alarm must be a map"),
        (with("deadband", "0.1"), "a deadband needs a limit"),
        ("while true {}".to_owned(), "x.rhai:1:"),
        ("rule(\"davy-x\", #{});".to_owned(), "ids that begin with \"davy-\""),
    ] {
        let told = problems(&text);
        assert!(told.iter().any(|problem| problem.contains(expected)), "{text}\nexpected {expected:?}, told {told:#?}");
    }
}

/// Rhai's own float comparison, written down because the native lowering must copy it.
#[test]
fn rhai_compares_floats_with_a_relative_epsilon() {
    let language = Language::new();
    let says = |text: &str| language.engine.eval::<bool>(text).unwrap();
    assert!(says("0.1 + 0.2 == 0.3"));
    assert!(!says("1e-17 > 0.0"));
    assert!(says("1.0 >= 1.0 + 1e-16"));
}

fn judged(raise: &str, value: Option<f64>) -> Judged {
    let language = Language::new();
    let mut judge = Judge::new(&language);
    judged_by(&mut judge, &language, &with("raise", raise), value).0
}

/// The verdict of the file's rule, and whether its closure can call functions of its file.
fn judged_by(judge: &mut Judge<'_>, language: &Language, text: &str, value: Option<f64>) -> (Judged, bool) {
    let file = RuleFile { path: "x.rhai".into(), text: text.to_owned() };
    let (rules, ast) = read_file(language, &file).unwrap();
    let known = ["alarm".to_owned(), "unset".to_owned()];
    let limits: std::rc::Rc<[_]> = std::rc::Rc::from([("alarm".into(), 1.0)]);
    let program = Program::new(&rules[0].raise, &ast, known.iter()).unwrap();
    let point = trial::read_point(&["t1", "methane", "T1", "%VOL"]).unwrap();
    let site = Site { limits: &limits, stricter: None, hole: None };
    let mut wants = Wants::default();
    let recalls = program.asks.iter().map(|ask| ask.place(&site, &mut wants).0).collect();
    let reading = Reading {
        value,
        health: crate::engine::Health::default(),
        age_s: 3.0,
        point: &point,
        limits: &limits,
        recalls: &recalls,
        around: None,
    };
    let mut past = Past::new(&wants);
    let first = judge.interpret(&program, &reading, &mut past);
    assert_eq!(judge.interpret(&program, &reading, &mut past), first, "a second run says the same");
    (first, program.reaches_functions())
}

/// Two files may each have a function of the same name, and a closure may hold another.
#[test]
fn a_closure_calls_what_its_own_file_says() {
    let language = Language::new();
    let mut judge = Judge::new(&language);
    let mut says = |before: &str, raise: &str| {
        let text = format!("{before}\n{}", with("raise", raise));
        judged_by(&mut judge, &language, &text, Some(1.0))
    };
    let (above, below) = ("fn far(x) { x > 0.5 }", "fn far(x) { x < 0.5 }");
    for _ in 0..3 {
        assert_eq!(says(above, "|p| far(p.value)"), (Judged::Says(true), true));
        assert_eq!(says(below, "|p| far(p.value)"), (Judged::Says(false), true));
        assert_eq!(says("", "|p| { let far = |x| x >= 1.0; far.call(p.value) }"), (Judged::Says(true), true));
        assert_eq!(says(above, "|p| Fn(`far`).call(0.1)"), (Judged::Says(false), true));
        // Most are like this one, and need not be looked through at each verdict.
        assert_eq!(says("", "|p| p.value.abs() >= 1.0 && p.limit.alarm == 1.0"), (Judged::Says(true), false));
    }
}

#[test]
fn a_verdict_a_missing_value_and_a_fault_are_three_things() {
    assert_eq!(judged("|p| p.value >= p.limit.alarm", Some(1.0)), Judged::Says(true));
    assert_eq!(judged("|p| p.value >= p.limit.alarm", Some(0.9)), Judged::Says(false));
    assert_eq!(judged("|p| p.age > p.period", None), Judged::Says(false));
    assert_eq!(judged("|p| p.value >= 1.0", None), Judged::Unknown);
    assert_eq!(judged("|p| p.mean(\"5m\") >= 1.0", Some(1.0)), Judged::Unknown);
    assert_eq!(
        judged("|p| { let x = p.value * 2.0; if x > 1.0 { return true; } false }", Some(0.6)),
        Judged::Says(true)
    );
    for (code, why) in [
        ("|p| p.value", "answered f64, not true or false"),
        ("|p| p.limit.unset > 1.0", "the rule has no limit \"unset\""),
        ("|p| { let n = 0; while true { n += 1; } true }", "operations"),
        ("|p| 1 / 0 == 1", "ivi"),
    ] {
        match judged(code, Some(1.0)) {
            Judged::Fault(told) => assert!(told.contains(why), "{code}: {told}"),
            other @ (Judged::Says(_) | Judged::Unknown) => panic!("{code}: {other:?}"),
        }
    }
}

/// Limits of the configuration that can rule nowhere are told, and count for nothing.
#[test]
fn limits_of_the_configuration_that_do_not_fit_are_refused_with_the_words() {
    use crate::journal::Setup;
    use crate::model::{Point, Scope, SetLimit};
    let limits = "#{ alarm: #{ value: 1.0, unit: \"%VOL\", stricter: \"lower\", basis: \"AQ\" } }";
    let text = with("raise", "|p| p.value >= p.limit.alarm").replace("#{\n", &format!("#{{ limits: {limits},\n"));
    let point = Point {
        limits: [("r.alarm".into(), 0.9)].into(),
        ..trial::read_point(&["t1", "methane", "T1", "%VOL"]).unwrap()
    };
    let limit = |id: &str, rule: Option<&str>, name: &str, scope: Scope, value: f64, unit: &str| SetLimit {
        id: id.into(),
        rule: rule.map(Into::into),
        limit: name.into(),
        scope,
        season: None,
        value,
        unit: unit.into(),
        by: "Wang".into(),
        reason: "plan".into(),
        at: None,
    };
    let here = || Scope::Site("trial".into());
    let setup = Setup {
        rules: vec![RuleFile { path: "x.rhai".into(), text }],
        limits: vec![
            limit("limit[0]", Some("r"), "alarm", here(), 1.2, "%VOL"),
            limit("limit[1]", Some("r"), "alarm", here(), 0.5, "ppm"),
            limit("limit[2]", Some("x"), "alarm", here(), 0.5, "%VOL"),
            limit("limit[3]", Some("r"), "alram", here(), 0.5, "%VOL"),
            limit("limit[4]", None, "alarm", Scope::Points(vec!["*.t2".into()]), 0.5, "%VOL"),
            limit("limit[5]", None, "alarm", here(), 0.95, "%VOL"),
        ],
        ..Setup::of(vec![point])
    };
    let plan = Plan::new(&Language::new(), &setup);
    assert_eq!(plan.problems, []);
    let told: Vec<String> = plan.refused.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "x.rhai:2: limit[0] (site trial): limit alarm = 1.2 is looser than 1 %VOL of rule r (AQ); the rule's limit stands",
            "x.rhai:2: limit[1] (site trial): limit alarm = 0.5 is in \"ppm\" but rule r has it in \"%VOL\"; the rule's limit stands",
            "limit[2]: there is no rule \"x\" in force",
            "limit[3]: rule r has no limit \"alram\"; its limits are: alarm",
            "limit[4]: *.t2 names no point",
        ]
    );
    assert_eq!(plan.points[0].watches[0].limits[0].1, 0.9, "the point's own number for this rule");
    let explained = explain(&setup, OnRecord::default(), "trial.t1", setup.at).unwrap();
    let limit = &explained.rules[0].limits[0];
    let shown: Vec<_> =
        limit.steps.iter().map(|step| (step.layer.word(), step.value, step.effective, &*step.standing)).collect();
    assert_eq!(
        shown,
        [
            ("legal", 1.0, false, "applies"),
            ("site", 1.2, false, "refused"),
            ("site", 0.5, false, "refused"),
            ("site", 0.95, false, "applies"),
            ("point", 0.9, true, "applies"),
        ]
    );
    assert_eq!((&*explained.rules[0].raise, explained.rules[0].native), ("|p| p.value >= p.limit.alarm", true));
}
