//! `.samples`: a rule's tests, beside the rule, in lines that an operator can write.
//!
//! ```text
//! point  t1  methane  T1  %VOL  period=5s  alarm=0.8       a point: name kind place unit, then settings
//! 0s     t1  0.50                                          time, point, value: nothing may happen
//! 5s     t1  1.02            raised methane-face           .. or exactly this
//! 10s    t1  bad:line_break                                a bad sample, with its reasons
//! 12s    t1  0.50@10s                                      measured at 10 s, arrived at 12 s
//! 40s    -                   raised comm-loss              time passes (ticks every second)
//! 50s    permit t1 calibration 30m                         work begins, for half an hour
//! 60s    site stopped                                      what the site is doing from now on
//!
//! point  t2  methane  T1  %VOL  redundant=t1,t3            related points: redundant, neighbour, upstream ..
//! start  2026-06-01T08:00:00+08:00                         when 0s is; its offset is the site's
//! season flood 05-15 09-30                                 both days count
//! ```
//! What is over is `cleared`, or `latched` where its rule says that a person has to reset it.
//! The very engine that runs in the gateway judges the lines; a change that is not expected is a failure,
//! and so is an expected one that does not come. `""` is an empty place or unit, `"fire tank"` one word.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::Language;
use crate::alarm::{Happening, Standing};
use crate::engine::{Effect, Shard};
use crate::journal::{Entry, Note, PermitOpened, RuleFile, Setup, SiteSet};
use crate::model::{
    Calendar, Kind, MonthDay, Permit, PermitKind, Point, PointIndex, Quality, Reason, Sample, Season, SiteStanding,
    SiteState, Timestamp, Zone, parse_duration,
};

/// Trials begin at a fixed moment, unless they say when: nothing in them depends on today.
const START: Timestamp = Timestamp::from_secs(1_800_000_000);
const SITE: &str = "trial";
/// What is over, and stays until a person resets it.
const LATCHED: &str = "latched";
/// Points times seconds: a trial of more would hold up whoever waits for it.
const MOST_POINT_SECONDS: u64 = 50_000_000;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub file: String,
    pub line: usize,
    pub message: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.message)
    }
}

/// What a passed trial covered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Passed {
    pub lines: usize,
    pub changes: usize,
}

struct Line<'a> {
    number: usize,
    after: Duration,
    input: Input<'a>,
    expected: Vec<String>,
}

/// What a line brings.
enum Input<'a> {
    Time,
    /// With when it was measured, if not now.
    Sample(&'a str, Option<f64>, Quality, Option<Duration>),
    Permit(&'a str, PermitKind, Duration),
    Site(SiteState),
}

/// A file, read.
struct Trial<'a> {
    start: Timestamp,
    calendar: Calendar,
    points: Vec<Point>,
    lines: Vec<Line<'a>>,
}

/// Plays `text` (the file `name`) against the rules of one file.
pub fn run(rules: &RuleFile, name: &str, text: &str) -> Result<Passed, Vec<Failure>> {
    let failure = |line: usize, message: String| Failure { file: name.to_owned(), line, message };
    let Trial { start, calendar, points, lines } =
        read(text).map_err(|wrong| wrong.into_iter().map(|(at, what)| failure(at, what)).collect::<Vec<_>>())?;
    let last = lines.iter().map(|line| line.after.as_secs()).max().unwrap_or(0);
    if last.saturating_mul(points.len() as u64) > MOST_POINT_SECONDS {
        let message = format!("{} points for {last} s are more than a trial is for; make it shorter", points.len());
        return Err(vec![failure(0, message)]);
    }
    let language = Language::new();
    let mut shard = Shard::new(&language);
    let mut effects = Vec::new();
    let setup = Setup { at: start, rules: vec![rules.clone()], calendar, ..Setup::of(points) };
    let plan = super::Plan::new(&language, &setup);
    if !(plan.problems.is_empty() && plan.refused.is_empty()) {
        return Err(plan.problems.iter().chain(&plan.refused).map(|problem| failure(0, problem.to_string())).collect());
    }
    shard.on_entry(&Entry::Note(Note::Setup(Arc::new(setup))), &mut effects);
    let names: BTreeMap<String, PointIndex> =
        shard.table().iter().map(|(index, point)| (point.local().to_owned(), index)).collect();
    let (mut passed, mut failures) = (Passed::default(), Vec::new());
    let mut now = start;
    for line in &lines {
        effects.clear();
        let target = start + line.after;
        if target < now {
            failures.push(failure(line.number, "is earlier than the line before".into()));
            continue;
        }
        while now + Duration::from_secs(1) <= target {
            now = now + Duration::from_secs(1);
            shard.on_entry(&Entry::Tick(now), &mut effects);
        }
        now = target;
        match enter(&line.input, &names, start, now) {
            Ok(Some(entry)) => shard.on_entry(&entry, &mut effects),
            Ok(None) => {}
            Err(wrong) => {
                failures.push(failure(line.number, wrong));
                continue;
            }
        }
        let happened: Vec<String> = effects.iter().filter_map(told).collect();
        passed.lines += 1;
        passed.changes += happened.len();
        if happened != line.expected {
            let shown = |list: &[String]| if list.is_empty() { "nothing".to_owned() } else { list.join(", ") };
            let message = format!("expected {}, but {} happened", shown(&line.expected), shown(&happened));
            failures.push(failure(line.number, message));
        }
    }
    if failures.is_empty() { Ok(passed) } else { Err(failures) }
}

/// The journal entry of a line; `None` when only time passes.
fn enter(
    input: &Input<'_>,
    names: &BTreeMap<String, PointIndex>,
    start: Timestamp,
    now: Timestamp,
) -> Result<Option<Entry>, String> {
    let find =
        |point: &str| names.get(point).copied().ok_or_else(|| format!("there is no point {point:?} in this file"));
    match input {
        Input::Time => Ok(None),
        Input::Sample(point, value, quality, measured) => {
            let source = measured.map_or(now, |after| start + after);
            let mut sample = Sample::received(find(point)?, value.unwrap_or(0.0), Some(source), now);
            sample.quality = *quality;
            Ok(Some(Entry::Samples(Arc::new(vec![sample]))))
        }
        Input::Permit(point, kind, length) => {
            let permit = Permit {
                id: format!("permit-{}", now.micros()),
                kind: *kind,
                points: vec![find(point)?],
                scope: format!("{SITE}.{point}"),
                by: "trial".into(),
                reason: "trial".into(),
                from: now,
                until: now + *length,
            };
            Ok(Some(Entry::Note(Note::PermitOpened(PermitOpened { command: 0, permit }))))
        }
        Input::Site(state) => {
            let (by, reason) = ("trial".into(), "trial".into());
            let approved_by = String::new();
            let standing =
                SiteStanding { site: SITE.into(), state: *state, since: now, by, reason, approved_by, until: None };
            Ok(Some(Entry::Note(Note::SiteSet(SiteSet { command: 0, standing }))))
        }
    }
}

fn told(effect: &Effect) -> Option<String> {
    effect.change().map(|change| {
        let latched = matches!(change.alarm.standing, Standing::LatchedUnacknowledged | Standing::LatchedAcknowledged);
        let word = if latched && change.happening == Happening::Cleared { LATCHED } else { change.happening.word() };
        format!("{word} {}", change.alarm.rule)
    })
}

type Wrong = Vec<(usize, String)>;

fn read(text: &str) -> Result<Trial<'_>, Wrong> {
    let mut trial = Trial { start: START, calendar: Calendar::default(), points: Vec::new(), lines: Vec::new() };
    let mut wrong = Wrong::new();
    for (number, line) in (1..).zip(text.lines()) {
        let words = words(line.split('#').next().unwrap_or_default());
        let read = match words.as_slice() {
            [] => continue,
            ["point", rest @ ..] => read_point(rest).map(|point| trial.points.push(point)),
            ["start", rest @ ..] => {
                read_start(rest).map(|(start, zone)| (trial.start, trial.calendar.zone) = (start, zone))
            }
            ["season", rest @ ..] => read_season(rest).map(|season| trial.calendar.seasons.push(season)),
            [time, rest @ ..] => read_line(number, time, rest).map(|line| trial.lines.push(line)),
        };
        wrong.extend(read.err().map(|what| (number, what)));
    }
    if trial.lines.is_empty() && wrong.is_empty() {
        wrong.push((1, "holds no samples".into()));
    }
    for point in &trial.points {
        let there = |name: &&String| trial.points.iter().any(|other| other.local() == **name);
        if let Some(missing) = point.relations.values().flatten().find(|name| !there(name)) {
            wrong.push((0, format!("point {}: there is no point {missing:?} in this file", point.local())));
        }
    }
    if wrong.is_empty() { Ok(trial) } else { Err(wrong) }
}

/// `2026-06-01T08:00:00+08:00`
fn read_start(words: &[&str]) -> Result<(Timestamp, Zone), String> {
    let wrong = || "a start is a time with its offset: start 2026-06-01T08:00:00+08:00".to_owned();
    let [text] = words else { return Err(wrong()) };
    let offset = text.len().checked_sub(6).and_then(|at| text.get(at..)).ok_or_else(wrong)?;
    Ok((Timestamp::parse(text).ok_or_else(wrong)?, Zone::parse(offset).ok_or_else(wrong)?))
}

/// `flood 05-15 09-30`
fn read_season(words: &[&str]) -> Result<Season, String> {
    if let [name, from, to] = words
        && let (Some(from), Some(to)) = (MonthDay::parse(from), MonthDay::parse(to))
    {
        return Ok(Season { name: (*name).to_owned(), sites: Vec::new(), from, to });
    }
    Err("a season is a name and two days: season flood 05-15 09-30".into())
}

/// Words between blanks; what stands in double quotes is one word, so that a place may hold a blank.
fn words(line: &str) -> Vec<&str> {
    let mut words = Vec::new();
    for (part, text) in line.split('"').enumerate() {
        if part % 2 == 1 {
            words.push(text);
        } else {
            words.extend(text.split_whitespace());
        }
    }
    words
}

/// A point as a line of a samples file declares it: `t1 methane T1 %VOL period=10s`.
pub fn declared(text: &str) -> Result<Point, String> {
    let words = words(text);
    read_point(words.strip_prefix(&["point"]).unwrap_or(&words))
}

pub(crate) fn read_point(words: &[&str]) -> Result<Point, String> {
    let [name, kind, place, unit, settings @ ..] = words else {
        return Err(
            "a point is: point NAME KIND PLACE UNIT [period=5s] [LIMIT=NUMBER ..] [RELATION=POINT,POINT ..]".into()
        );
    };
    let kind = Kind::from_word(kind).ok_or_else(|| format!("{kind:?} is not a kind"))?;
    let mut point = Point {
        id: format!("{SITE}.{name}").into(),
        site: SITE.into(),
        name: (*name).to_owned(),
        kind,
        place: (*place).to_owned(),
        unit: (*unit).to_owned(),
        range: None,
        resolution: kind.resolution(),
        period: Duration::from_secs(5),
        limits: BTreeMap::new(),
        coordinates: None,
        static_risk: 0,
        calibrate_every: None,
        relations: BTreeMap::new(),
        retired: false,
    };
    for setting in settings {
        let (key, value) = setting.split_once('=').ok_or_else(|| format!("{setting:?} is not NAME=VALUE"))?;
        if key == "period" {
            point.period = parse_duration(value).map_err(|error| error.to_string())?;
        } else if value.parse::<f64>().is_err() && value.starts_with(char::is_alphanumeric) {
            point.relations.insert(key.to_owned(), value.split(',').map(str::to_owned).collect());
        } else {
            let number = value.parse().map_err(|_| format!("{value:?} is not a number"))?;
            point.limits.insert(key.to_owned(), number);
        }
    }
    Ok(point)
}

fn read_line<'a>(number: usize, time: &str, words: &[&'a str]) -> Result<Line<'a>, String> {
    let after = parse_duration(time).map_err(|error| error.to_string())?;
    let (input, rest) = match words {
        ["-", rest @ ..] => (Input::Time, rest),
        ["permit", point, kind, length, rest @ ..] => {
            let known = PermitKind::ALL.into_iter().find(|known| known.word() == *kind);
            let kind = known.ok_or_else(|| format!("{kind:?} is not calibration, maintenance or exercise"))?;
            (Input::Permit(point, kind, parse_duration(length).map_err(|error| error.to_string())?), rest)
        }
        ["site", state, rest @ ..] => {
            let state = SiteState::from_word(state)
                .ok_or_else(|| format!("{state:?} is not producing, stopped or maintenance"))?;
            (Input::Site(state), rest)
        }
        [point, value, rest @ ..] => {
            let (value, measured) = value.split_once('@').map_or((*value, None), |(value, at)| (value, Some(at)));
            let measured = measured.map(parse_duration).transpose().map_err(|error| error.to_string())?;
            let (value, quality) = read_value(value)?;
            (Input::Sample(point, value, quality, measured), rest)
        }
        [] | [_] => return Err("a line is: TIME POINT VALUE [raised RULE ..], or TIME - [..]".into()),
    };
    if !rest.len().is_multiple_of(2) {
        return Err("what is expected comes in pairs, such as: raised methane-face".into());
    }
    let expected = rest.chunks_exact(2).map(|pair| pair.join(" ")).collect();
    Ok(Line { number, after, input, expected })
}

/// `0.83`, `bad:line_break+calibrating`, `0.83:over_range`.
fn read_value(text: &str) -> Result<(Option<f64>, Quality), String> {
    let (value, reasons) = text.split_once(':').unwrap_or((text, ""));
    let mut quality = Quality::GOOD;
    for word in reasons.split('+').filter(|word| !word.is_empty()) {
        quality = quality.and(Reason::from_word(word).ok_or_else(|| format!("{word:?} is not a reason"))?);
    }
    if value == "bad" {
        if quality.usable() {
            return Err("a bad value names a reason that is bad, such as bad:line_break".into());
        }
        return Ok((None, quality));
    }
    let number = value.parse::<f64>().map_err(|_| format!("{value:?} is not a number"))?;
    Ok((Some(number), quality))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: &str = r#"rule("methane-face", #{
        title: "t", advice: "a", watches: #{ kind: "methane", place: "T1" },
        limits: #{ alarm: #{ value: 1.0, unit: "%VOL", stricter: "lower", basis: "AQ 1029-2019" } },
        priority: "P2", level: "orange",
        raise: |p| p.value >= p.limit.alarm,
        clear: |p| p.value < p.limit.alarm,
    });"#;

    fn tried(samples: &str) -> Result<Passed, Vec<String>> {
        let rules = RuleFile { path: "coal/methane.rhai".into(), text: RULE.into() };
        run(&rules, "methane.samples", samples).map_err(|list| list.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn what_is_expected_passes_and_anything_else_fails_with_its_line() {
        let samples = "point t1 methane T1 %VOL\n0s t1 0.99\n5s t1 1.0 raised methane-face\n6s t1 bad:line_break\n7s t1 0.9 cleared methane-face\n";
        assert_eq!(tried(samples), Ok(Passed { lines: 4, changes: 2 }));
        let wrong = tried("point t1 methane T1 %VOL\n0s t1 0.99 raised methane-face\n5s t1 1.5\n").unwrap_err();
        assert_eq!(
            wrong,
            [
                "methane.samples:2: expected raised methane-face, but nothing happened",
                "methane.samples:3: expected nothing, but raised methane-face happened",
            ]
        );
    }

    #[test]
    fn a_point_may_only_be_stricter() {
        let stricter = "point t1 methane T1 %VOL alarm=0.8\n0s t1 0.79\n5s t1 0.8 raised methane-face\n";
        assert!(tried(stricter).is_ok());
        let endless = tried("point t1 methane T1 %VOL\n0s t1 0.5\n10000d -\n").unwrap_err();
        assert!(endless[0].contains("more than a trial is for"), "{endless:?}");
        let looser = tried("point t1 methane T1 %VOL alarm=1.2\n0s t1 0.5\n").unwrap_err();
        assert!(
            looser[0].contains("limit alarm = 1.2 is looser than 1 %VOL of rule methane-face (AQ 1029-2019)"),
            "{looser:?}"
        );
    }

    #[test]
    fn lines_that_cannot_be_read_are_all_told() {
        let wrong = tried("point t1 methan T1 %VOL\nsoon t1 1\n0s t1 x\n0s t1 bad\n0s t1 1 raised\n").unwrap_err();
        assert_eq!(wrong.len(), 5, "{wrong:#?}");
    }
}
