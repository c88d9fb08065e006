use super::*;
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
        ("let x = ;".to_owned(), "x.rhai:1: "),
        ("let x = 1;".to_owned(), "the file defines no rule"),
        (with("titel", "\"x\""), "x.rhai:2: rule \"r\": unknown key \"titel\""),
        (with("title", ""), "title is missing"),
        (with("priority", "\"P7\""), "priority is \"P7\", not one of P1, P2, P3, P4"),
        (with("watches", "#{ kind: \"methan\" }"), "watches.kind \"methan\" is not known"),
        (with("watches", "#{ knd: \"methane\" }"), "unknown key watches.knd"),
        (with("raise", ""), "raise is missing"),
        (with("raise", "5"), "raise must be a closure"),
        (with("raise", "|p, q| true"), "takes one parameter"),
        (with("raise", "|p| p.mean(p.value) > 1.0"), "takes a span written out"),
        (with("raise", "|p| p.mean(\"5 parsecs\") > 1.0"), "is not a duration"),
        (with("raise", "|p| p.mean(\"30d\") > 1.0"), "is not between 1ms and 24h"),
        (with("raise", "|p| value > 1.0"), "value"),
        (with("raise", "|p| p.valeu > 1.0"), "asks p.valeu, but a point has value, age"),
        (with("raise", "|p| p.value > p.limit.alram"), "asks p.limit.alram, but the rule's limits are none"),
        (with("raise", "|p| p.limit > 1.0"), "asks p.limit without a name"),
        (with("raise_after", "\"soon\""), "raise_after: \"soon\" is not a duration"),
        (
            with("limits", "#{ alarm: #{ value: 1.0, unit: \"%VOL\", stricter: \"lower\" } }"),
            "limits.alarm.basis is missing",
        ),
        (
            with("limits", "#{ alarm: #{ value: 1.0, unit: \"%VOL\", stricter: \"up\", basis: \"b\" } }"),
            "must be \"lower\" or \"higher\"",
        ),
        (with("limits", "#{ alarm: 1.0 }"), "limits.alarm must be a map"),
        (with("deadband", "0.1"), "a deadband needs a limit"),
        ("while true {}".to_owned(), "x.rhai:1: "),
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
    let file = RuleFile { path: "x.rhai".into(), text: with("raise", raise) };
    let (rules, ast) = read_file(&language, &file).unwrap();
    let known = ["alarm".to_owned(), "unset".to_owned()];
    let program = Program::new(&rules[0].raise, &ast, known.iter()).unwrap();
    let mut judge = Judge::new(&language);
    let point = trial::read_point(&["t1", "methane", "T1", "%VOL"]).unwrap();
    let reading = Reading {
        value,
        health: crate::engine::Health::default(),
        age_s: 3.0,
        point: &point,
        limits: &std::rc::Rc::from([("alarm".into(), 1.0)]),
        spans: &program.spans.iter().map(|text| WindowRef { text: text.clone(), place: 0 }).collect(),
        around: None,
    };
    let mut windows = vec![crate::engine::Window::new(Duration::from_secs(300))];
    let first = judge.interpret(&program, &reading, &mut windows);
    assert_eq!(judge.interpret(&program, &reading, &mut windows), first, "a second run says the same");
    first
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
