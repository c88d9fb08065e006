//! Stories of the backtest: what a change of rules would have changed, on samples that are known.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::Path;

use super::*;
use crate::history::{History, Options};
use crate::model::{Kind, Point, PointIndex, PointTable, Quality, Reason, Sample, TICK};

const START: Timestamp = Timestamp::from_secs(1_800_000_000);

fn at(seconds: u64) -> Timestamp {
    START + Duration::from_secs(seconds)
}

fn point(name: &str) -> Point {
    crate::rule::trial::declared(&format!("{name} methane T1 %VOL period=10s"))
        .map(|point| Point { kind: Kind::Methane, ..point })
        .unwrap()
}

fn file(rules: &[(&str, &str)]) -> Vec<RuleFile> {
    let rule = |(id, rest): &(&str, &str)| {
        format!(
            r#"rule("{id}", #{{ title: "t", advice: "a", watches: #{{ kind: "methane" }}, priority: "P2", level: "orange",
            limits: #{{ alarm: #{{ value: 1.0, unit: "%VOL", stricter: "lower", basis: "AQ 1029-2019" }} }}, {rest} }});"#
        )
    };
    vec![RuleFile { path: "m.rhai".into(), text: rules.iter().map(rule).collect::<Vec<_>>().join("\n") }]
}

const FACE: (&str, &str) = ("face", "raise: |p| p.value >= p.limit.alarm");
const EARLY: (&str, &str) = ("early", "raise: |p| p.value >= p.limit.alarm * 0.8");
const SILENCE: (&str, &str) = ("silence", "judges: \"silence\", raise: |p| p.age > p.period * 3.0");

/// Samples ten seconds apart, given a few at a time.
#[derive(Clone)]
struct Series {
    samples: Vec<Told>,
    given: usize,
    step: usize,
    listened: Vec<(Timestamp, Timestamp)>,
}

impl Series {
    fn of(values: &[f64]) -> Self {
        let sample = |(place, value): (usize, &f64)| {
            let time = at(place as u64 * 10);
            let sample = Sample::received(PointIndex(0), *value, Some(time), time);
            Told { behind: time.tick(), sample }
        };
        Self { samples: values.iter().enumerate().map(sample).collect(), given: 0, step: 7, listened: Vec::new() }
    }
}

impl Feed for Series {
    fn begin(&mut self, _: Timestamp, _: Timestamp) {}

    fn next(&mut self, into: &mut Vec<Told>) -> Result<Option<Timestamp>, Error> {
        let end = (self.given + self.step).min(self.samples.len());
        into.extend_from_slice(&self.samples[self.given..end]);
        self.given = end;
        Ok(self.samples.get(end).map(|next| next.behind))
    }

    fn listened(&self) -> Vec<(Timestamp, Timestamp)> {
        self.listened.clone()
    }
}

fn order(candidate: Vec<RuleFile>, against: Option<Vec<RuleFile>>, to: u64) -> Order {
    let acknowledging = Acknowledging::AtOnce;
    Order { candidate, against, ground: Setup::of(vec![point("t1")]), from: START, to: at(to), acknowledging }
}

fn play(order: &Order, series: &Series) -> Outcome {
    run(order, &mut series.clone(), &mut |_| true).unwrap()
}

fn told(occurrences: &[Occurrence]) -> Vec<(&str, u64, Option<u64>)> {
    let seconds = |at: Timestamp| at.since(START).as_secs();
    occurrences.iter().map(|one| (&*one.rule, seconds(one.raised), one.cleared.map(seconds))).collect()
}

/// A spike, a slow rise, a swell below the limit, a long stay above it.
fn values() -> Vec<f64> {
    let mut values = vec![0.3; 10];
    values.extend([1.2, 0.3, 0.3]);
    values.extend([0.5, 0.6, 0.7, 0.85, 0.95, 1.05, 1.1, 1.0, 0.7, 0.4]);
    values.extend([0.3, 0.82, 0.9, 0.86, 0.3, 0.3]);
    values.extend([1.3; 8]);
    values.extend([0.3; 4]);
    values
}

#[test]
fn a_change_of_rules_is_told_alarm_by_alarm() {
    let series = Series::of(&values());
    let running = file(&[FACE]);
    let outcome = play(&order(running.clone(), Some(running.clone()), 420), &series);
    assert_eq!(
        told(&outcome.candidate.occurrences),
        [("face", 100, Some(110)), ("face", 180, Some(210)), ("face", 290, Some(370))]
    );
    assert_eq!(Report::of(outcome, &BTreeSet::new(), None).verdict(), "nothing changes: the same 3 alarms");

    // Lower, and only after it has held for 15 s: the spike is gone, the swell is new, the rise is seen earlier.
    let lower = ("face", "raise: |p| p.value >= p.limit.alarm * 0.8, raise_after: \"15s\"");
    let outcome = play(&order(file(&[lower]), Some(running.clone()), 420), &series);
    let report = Report::of(outcome, &BTreeSet::new(), None);
    let difference = report.difference.as_ref().unwrap();
    assert_eq!(told(&difference.gone), [("face", 100, Some(110))]);
    assert_eq!(told(&difference.added), [("face", 255, Some(270))]);
    assert_eq!((difference.earlier.len(), difference.later.len(), difference.unchanged), (1, 1, 0));
    assert_eq!(difference.earlier[0].raised_by_s(), 175.0 - 180.0);
    assert_eq!((difference.later[0].raised_by_s(), difference.later[0].cleared_by_s()), (15.0, Some(0.0)));
    assert_eq!(
        report.verdict(),
        "3 alarms instead of 3: 1 added, 1 gone, 1 earlier by up to 5s, 1 later by up to 15s; \
         LOOK: 1 of those gone are P1 or P2"
    );
    let object = report.json(1);
    assert_eq!((&object["difference"]["gone_count"], &object["alarms_count"]), (&1.into(), &3.into()));
    assert_eq!((object["alarms"].as_array().unwrap().len(), &object["truncated"]), (1, &true.into()));

    // A rule that is no longer there.
    let outcome = play(&order(file(&[EARLY]), Some(running), 420), &series);
    let report = Report::of(outcome, &BTreeSet::new(), None);
    assert_eq!(report.difference.as_ref().unwrap().gone.len(), 3);
    assert!(report.text().contains("\ngone\n") && report.text().contains("early"), "{}", report.text());
}

#[test]
fn times_in_alarm_and_lead_times_are_counted() {
    let outcome = play(&order(file(&[FACE, EARLY]), None, 420), &Series::of(&values()));
    let report = Report::of(outcome, &BTreeSet::new(), Some("face"));
    let face = &report.rules["face"];
    assert_eq!(
        (face.alarms, face.points, face.in_alarm, face.longest),
        (3, 1, Duration::from_secs(10 + 30 + 80), Duration::from_secs(80))
    );
    assert!((face.share(Duration::from_secs(420)) - 120.0 / 420.0).abs() < 1e-9);
    let (_, leads) = report.leads.as_ref().unwrap();
    // The spike and the stay come at a stroke, the rise is foreseen by 20 s.
    let seconds: Vec<u64> = leads[0].before.iter().map(Duration::as_secs).collect();
    assert_eq!((&*leads[0].rule, leads[0].alarms, leads[0].missed, seconds), ("early", 3, 0, vec![0, 0, 20]));
    // Against a rule that is slower, the reference is missed.
    let slow = ("slow", "raise: |p| p.value >= p.limit.alarm, raise_after: \"1m\"");
    let outcome = play(&order(file(&[FACE, slow]), None, 420), &Series::of(&values()));
    let report = Report::of(outcome, &BTreeSet::new(), Some("face"));
    assert_eq!(report.leads.unwrap().1[0].missed, 3);
}

#[test]
fn what_stood_before_is_marked_and_windows_are_full_at_the_beginning() {
    let mean = ("mean", "raise: |p| p.mean(\"2m\") >= 0.9");
    let series = Series::of(&[1.2; 60]);
    let order = Order { from: at(300), ..order(file(&[mean]), None, 600) };
    let outcome = play(&order, &series);
    assert!(outcome.begun < at(300) - Duration::from_secs(120));
    let report = Report::of(outcome, &BTreeSet::new(), None);
    assert_eq!((report.rules["mean"].alarms, report.rules["mean"].began_before), (0, 1));
    assert_eq!(report.rules["mean"].in_alarm, Duration::from_secs(300));
    assert_eq!(report.json(9)["alarms"][0]["began_before"], true);
}

#[test]
fn silence_is_no_alarm_while_davy_was_not_running() {
    let mut series = Series::of(&[0.3; 100]);
    series.samples.retain(|told| told.behind < at(300) || told.behind >= at(700));
    let outcome = play(&order(file(&[SILENCE]), None, 1_000), &series);
    assert_eq!(told(&outcome.candidate.occurrences), [("silence", 321, Some(700))], "the sensor was silent");
    series.listened = vec![(START, at(295)), (at(698), at(1_000))];
    let outcome = play(&order(file(&[SILENCE]), None, 1_000), &series);
    assert_eq!(told(&outcome.candidate.occurrences), [], "nobody listened");
}

#[test]
fn somebody_who_wants_an_end_gets_one_that_says_how_far_it_came() {
    let mut turns = 0;
    let stopped = run(&order(file(&[FACE]), None, 420), &mut Series::of(&values()), &mut |_| {
        turns += 1;
        turns < 3
    });
    let Err(Error::Stopped { at: moment, samples }) = stopped else { panic!("{stopped:?}") };
    assert_eq!((moment, samples), (at(210), 21), "after three pieces of seven samples");
    let broken = order(file(&[("x", "raise: |p| p.valu > 1.0")]), None, 420);
    let refused = run(&broken, &mut Series::of(&values()), &mut |_| true).unwrap_err().to_string();
    assert!(refused.starts_with("m.rhai:") && refused.contains("valu"), "{refused}");
}

/// A day of three points in several files, some samples held up on their way for seconds.
fn record(folder: &Path) -> Vec<Point> {
    let points: Vec<Point> = ["t1", "t2", "t3"].map(point).to_vec();
    let table = PointTable::new(points.clone());
    let history = History::open(Options::at(folder)).unwrap();
    for turn in 0..8_640_u64 {
        history.tick(at(turn * 10));
        let batch: Vec<Sample> = (0..3_u32)
            .map(|point| {
                let value = 0.6 + 0.5 * ((turn as f64 / 300.0) + f64::from(point)).sin();
                let time = at(turn * 10) - Duration::from_millis(700 * (turn % 3));
                let mut sample = Sample::received(PointIndex(point), value, Some(time), at(turn * 10));
                if turn % 500 == 499 {
                    sample.quality = Quality::because(Reason::LineBreak);
                }
                sample
            })
            .collect();
        history.append(turn + 1, &batch, &table);
        if turn % 2_000 == 1_999 {
            history.flush().unwrap();
        }
    }
    history.flush().unwrap();
    points
}

#[test]
fn however_small_the_pieces_the_alarms_are_the_same_and_memory_is_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let points = record(folder.path());
    let rules = file(&[FACE, ("slow", "raise: |p| p.mean(\"10m\") >= 0.9, raise_after: \"45s\", clear_after: \"2m\"")]);
    let order = Order { ground: Setup::of(points.clone()), ..order(rules, None, 86_400) };
    let whole = run(&order, &mut Stored::open(folder.path(), &points).unwrap(), &mut |_| true).unwrap();
    let mut small = Stored::open(folder.path(), &points).unwrap().holding(400);
    let pieces = run(&order, &mut small, &mut |_| true).unwrap();
    assert!(whole.candidate.occurrences.len() >= 20, "{}", whole.candidate.occurrences.len());
    assert_eq!(whole.candidate.occurrences, pieces.candidate.occurrences);
    assert_eq!((whole.samples, pieces.samples), (3 * 8_640, 3 * 8_640));
    // A piece, and what of the one before has its last minute still to come.
    assert!(pieces.most_held <= 400 + 3 * 10 + 3 * 7, "{}", pieces.most_held);
    assert!(whole.most_held > 5_000, "{}", whole.most_held);
}

#[test]
fn what_is_stored_says_behind_which_tick_it_came() {
    let folder = tempfile::tempdir().unwrap();
    let points = record(folder.path());
    let mut stored = Stored::open(folder.path(), &points).unwrap();
    stored.begin(at(0), at(100));
    let mut told = Vec::new();
    stored.next(&mut told).unwrap();
    for one in told.iter().filter(|one| one.sample.point == PointIndex(1)).take(9) {
        let held_up = one.behind.since(one.sample.source_time);
        assert_eq!(one.behind.since(START).as_secs() % 10, 0, "{one:?}");
        assert!([0, 700, 1_400].contains(&held_up.as_millis()), "{one:?}");
        assert!(one.sample.receive_time.since(one.behind) < TICK);
    }
}

#[test]
fn a_csv_file_is_tried_and_its_wrong_lines_are_named() {
    let mut file_ = tempfile::NamedTempFile::new().unwrap();
    writeln!(file_, "# from the 3201 face\nZeit,CH4,CO").unwrap();
    for second in 0..60 {
        let value = if (20..30).contains(&second) { 1.4 } else { 0.4 };
        writeln!(file_, "2027-01-15 16:00:{second:02},{value},").unwrap();
    }
    writeln!(file_, "yesterday,0.4,1\n2027-01-15 16:01:00,high,1\n2027-01-15 16:01:01,0.4,x").unwrap();
    let points = vec![point("t1"), Point { kind: Kind::Co, ..point("co") }];
    let columns = Columns::read(&["Zeit=time".into(), "CH4=t1".into(), "CO=trial.co".into()], Some("+08:00")).unwrap();
    let mut table = Table::open(file_.path(), &points, columns).unwrap();
    let (first, last) = table.span().unwrap().unwrap();
    assert_eq!((first, last.since(first)), (START, Duration::from_secs(61)), "16:00 at +08:00 is 08:00 UTC");
    let order = Order { ground: Setup::of(points), to: at(70), ..order(file(&[FACE]), None, 70) };
    let outcome = run(&order, &mut table, &mut |_| true).unwrap();
    assert_eq!(told(&outcome.candidate.occurrences), [("face", 20, Some(30))]);
    let (count, named) = table.wrong();
    let named: Vec<(u64, &str)> = named.iter().map(|wrong| (wrong.line, &*wrong.what)).collect();
    assert_eq!(count, 3);
    assert_eq!(
        named,
        [(63, "\"yesterday\" is not a time"), (64, "\"high\" is not a number"), (65, "\"x\" is not a number")]
    );

    // A sample a line, with qualities, and a point that nobody knows.
    let mut long = tempfile::NamedTempFile::new().unwrap();
    let text = "time,point,value,quality\n1800000000,t1,1.2,\n1800000010,trial.t1,,bad:line_break\n\
                1800000020,t9,1.0,\n1800000030,t1,0.2,good\n";
    long.write_all(text.as_bytes()).unwrap();
    let points = vec![point("t1")];
    let mut table = Table::open(long.path(), &points, Columns::default()).unwrap();
    let order = Order { ground: Setup::of(points), to: at(70), ..order };
    let outcome = run(&order, &mut table, &mut |_| true).unwrap();
    assert_eq!(told(&outcome.candidate.occurrences), [("face", 0, Some(30))], "a line break ends no alarm");
    assert_eq!(table.wrong().1, [WrongLine { line: 4, what: "there is no point \"t9\"".into() }]);
    let nobodys = Table::open(long.path(), &[], Columns::read(&["x=time".into()], None).unwrap()).unwrap_err();
    assert!(nobodys.to_string().contains("there is no column \"x\""), "{nobodys}");
}

#[test]
fn ordered_backtests_run_beside_each_other_and_end_when_told() {
    let folder = tempfile::tempdir().unwrap();
    let points = record(&folder.path().join("history"));
    let jobs = Jobs::new(folder.path());
    let day = Order { ground: Setup::of(points), ..order(file(&[FACE]), None, 86_400) };
    let job = |order: &Order| Job { order: order.clone(), about: BTreeSet::new(), reference: None };
    let ended = |number: u64| {
        let watch = crate::clock::Stopwatch::start();
        loop {
            match jobs.state(number) {
                Some(State::Running(_)) if watch.elapsed() < Duration::from_secs(60) => std::thread::yield_now(),
                state => return state,
            }
        }
    };
    // A year of which only a day is stored: silence is asked for to the end.
    let year = Order { candidate: file(&[SILENCE]), to: at(86_400 * 365), ..day.clone() };
    let (long, longer) = (jobs.start(job(&year)).unwrap(), jobs.start(job(&year)).unwrap());
    assert_eq!(jobs.start(job(&day)), Err(Refused::Busy));
    assert!(jobs.cancel(long) && jobs.cancel(longer) && !jobs.cancel(99));
    for number in [long, longer] {
        let state = ended(number);
        assert!(matches!(&state, Some(State::Failed(why)) if why.starts_with("stopped at")), "{state:?}");
    }
    let number = jobs.start(job(&day)).unwrap();
    let Some(State::Done(result)) = ended(number) else { panic!("{:?}", jobs.state(number)) };
    assert_eq!(result["samples"], 3 * 8_640);
    assert!(result["alarms_count"].as_u64().unwrap() > 10, "{result}");
    assert!(jobs.cancel(number) && jobs.state(number).is_none(), "what nobody wants is forgotten");
}
