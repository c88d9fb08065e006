//! People, areas, rosters, positions, routes and policies: who is called for an alarm, and when.
//!
//! ```toml
//! [person.li]
//! name = "李伟"
//! reach = ["sms.li", "mail.li"]           # recipients of [notify.*]; they hear only what li is called for
//! user = "li-wei"                         # of [user.*]; without it the person's own key
//! leave = [{ from = "2026-12-01", to = "2026-12-05", substitute = "wang" }]      # both days count
//!
//! [team.rescue]
//! members = ["li", "wang"]
//!
//! [area.mine-3]
//! kind = "site"                           # village, grid, site, county, city, province
//! sites = ["mine-3"]                      # patterns; or points = ["mine-3.3201-*"]; a site's own name without both
//! class = "C"                             # of a site; C and D: half of every time
//!
//! [roster.mine-3]
//! shifts = ["0-8", "8-16", "16-24"]       # local time, without gap
//! start = "2026-11-01"                    # first day of the cycle
//! cycle = [["li", "wang", ["zhao", "team.rescue"]]]      # a list for each day, somebody for each shift
//! substitutes = ["sun"]
//! handover = "30m"                        # not signed by then: an alarm; "none": not signed here
//!
//! [position.operator]                     # operator, leader, county, city, province; another name says level = ".."
//! area = "mine-3"
//! who = ["roster.mine-3"]                 # person.x, team.x, roster.x in the order of calling
//! console = true                          # open, with sound; missing for console_missing ("5m"): an alarm above
//! checks = 2                              # 查岗: questions a shift, answered within checks_within ("3m")
//! daily_list = "8:00"                     # open P4 alarms as one message, local time; "off". Counties: "8:00"
//!
//! [[route]]                               # the first that fits chooses the policy; else P1 .. P4, exercise
//! area = "mine-3"   hazard = "gas"   kinds = ["methane"]   level = "red"   priority = "P1"   hours = "22-6"
//! policy = "night"
//!
//! [policy.night]
//! every = "30s"   calls = 2   again = "5m"   answer = "10m"   no_answer = "10s"
//! step = [{ who = "operator", after = "0s" }, { who = "county", after = "5m", by = ["sms"], copy = false }]
//! ```

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use super::{Key, Problems};
use crate::alarm::{Level, Priority};
use crate::model::{
    After, Area, AreaKind, Calendar, Class, Duty, Hazard, Kind, Leave, Policy, PolicyStep, Position, PresenceChecks,
    Roster, Route, Someone, Tier, Timestamp, Wall, Who,
};

const SHIPPED: &str = include_str!("policies.toml");
/// When a county gets the daily list.
const MORNING: u16 = 8 * 60;
const DAY: Duration = Duration::from_secs(24 * 3_600);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPerson {
    name: String,
    #[serde(default)]
    phone: String,
    reach: Vec<String>,
    user: Option<String>,
    #[serde(default)]
    leave: Vec<RawLeave>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLeave {
    from: String,
    to: String,
    substitute: Option<String>,
    #[serde(default)]
    reason: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTeam {
    members: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawArea {
    kind: String,
    #[serde(default)]
    sites: Vec<String>,
    #[serde(default)]
    points: Vec<String>,
    class: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Crew {
    One(String),
    Several(Vec<String>),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRoster {
    shifts: Vec<String>,
    start: Option<String>,
    cycle: Vec<Vec<Crew>>,
    #[serde(default)]
    substitutes: Vec<String>,
    #[serde(default = "half_an_hour")]
    handover: String,
}

fn half_an_hour() -> String {
    "30m".into()
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPosition {
    level: Option<String>,
    area: Option<String>,
    who: Vec<String>,
    #[serde(default)]
    console: bool,
    #[serde(default = "five_minutes")]
    console_missing: String,
    #[serde(default)]
    checks: u32,
    #[serde(default = "three_minutes")]
    checks_within: String,
    daily_list: Option<String>,
}

fn five_minutes() -> String {
    "5m".into()
}

fn three_minutes() -> String {
    "3m".into()
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRoute {
    area: Option<String>,
    hazard: Option<String>,
    #[serde(default)]
    kinds: Vec<String>,
    level: Option<String>,
    priority: Option<String>,
    hours: Option<String>,
    #[serde(default)]
    exercise: bool,
    policy: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPolicy {
    step: Vec<RawStep>,
    #[serde(default = "a_minute")]
    every: String,
    #[serde(default = "twice")]
    calls: u32,
    answer: Option<String>,
    #[serde(default = "ten_minutes")]
    again: String,
    no_answer: Option<String>,
}

fn a_minute() -> String {
    "1m".into()
}

const fn twice() -> u32 {
    2
}

fn ten_minutes() -> String {
    "10m".into()
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawStep {
    who: String,
    after: String,
    #[serde(default)]
    copy: bool,
    #[serde(default)]
    by: Vec<String>,
}

/// What people and routes may refer to elsewhere in the file.
pub(super) struct Around<'a> {
    pub calendar: &'a Calendar,
    /// `sms.li`
    pub recipients: &'a [String],
    /// Keys of `[user.*]`.
    pub users: &'a [String],
}

/// The sections as they stand in the file.
pub(super) fn read(file: &mut toml::Table, around: &Around<'_>, problems: &mut Problems) -> Duty {
    let before = problems.len();
    let people: BTreeMap<String, RawPerson> = tables(file, "person", problems);
    let teams: BTreeMap<String, RawTeam> = tables(file, "team", problems);
    let areas: BTreeMap<String, RawArea> = tables(file, "area", problems);
    let rosters: BTreeMap<String, RawRoster> = tables(file, "roster", problems);
    let positions: BTreeMap<String, RawPosition> = tables(file, "position", problems);
    let policies: BTreeMap<String, RawPolicy> = tables(file, "policy", problems);
    let routes = list(file, problems);
    if positions.is_empty() && people.is_empty() && problems.len() == before {
        return Duty::default();
    }
    let names = Names {
        people: people.keys().cloned().collect(),
        teams: teams.iter().map(|(name, team)| (name.clone(), team.members.clone())).collect(),
        rosters: rosters.keys().cloned().collect(),
        positions: positions.keys().cloned().collect(),
        areas: areas.keys().cloned().collect(),
    };
    let mut duty = Duty { teams: names.teams.clone(), ..Duty::default() };
    for (name, raw) in people {
        let at = Key::of("person").field(&name);
        let (someone, leave) = raw.check(&name, &at, &names, around, problems);
        duty.people.insert(name, someone);
        duty.leave.extend(leave);
    }
    for (name, members) in &names.teams {
        names.persons(members, &Key::of("team").field(name).field("members"), problems);
    }
    for (name, raw) in areas {
        let at = Key::of("area").field(&name);
        duty.areas.extend(raw.check(&name, &at, problems).map(|area| (name, area)));
    }
    for (name, raw) in rosters {
        let at = Key::of("roster").field(&name);
        duty.rosters.extend(raw.check(&at, &names, problems).map(|roster| (name, roster)));
    }
    for (name, raw) in positions {
        let at = Key::of("position").field(&name);
        duty.positions.extend(raw.check(&name, &at, &names, problems).map(|position| (name, position)));
    }
    duty.policies = shipped();
    for (name, raw) in policies {
        let at = Key::of("policy").field(&name);
        duty.policies.extend(raw.check(&at, &names, problems).map(|policy| (name, policy)));
    }
    for (place, raw) in routes.into_iter().enumerate() {
        let at = Key::of("route").index(place);
        duty.routes.extend(raw.check(&at, &names, &duty.policies, problems));
    }
    check_consoles(&duty, around, problems);
    duty
}

fn tables<R: serde::de::DeserializeOwned>(
    file: &mut toml::Table,
    name: &str,
    problems: &mut Problems,
) -> BTreeMap<String, R> {
    let tables = super::table(file, name, problems);
    let read = tables.into_iter().filter_map(|(key, value)| {
        let raw = problems.read::<R>(&Key::of(name).field(&key), value)?;
        Some((key, raw))
    });
    read.collect()
}

fn list(file: &mut toml::Table, problems: &mut Problems) -> Vec<RawRoute> {
    let at = Key::of("route");
    match file.remove("route") {
        None => Vec::new(),
        Some(toml::Value::Array(list)) => {
            list.into_iter().enumerate().filter_map(|(place, value)| problems.read(&at.index(place), value)).collect()
        }
        Some(_) => {
            problems.add(at, "is a list: write [[route]]");
            Vec::new()
        }
    }
}

/// The policies that come with Davy.
pub(crate) fn shipped() -> BTreeMap<String, Policy> {
    let mut problems = Problems::in_file("policies.toml");
    let mut file: toml::Table = toml::from_str(SHIPPED).expect("the shipped policies are TOML");
    let raw: BTreeMap<String, RawPolicy> = tables(&mut file, "policy", &mut problems);
    let checked = raw.into_iter().filter_map(|(name, raw)| {
        let policy = raw.check(&Key::of("policy").field(&name), &Names::default(), &mut problems)?;
        Some((name, policy))
    });
    let policies = checked.collect();
    assert!(problems.is_empty(), "the shipped policies are sound: {problems:?}");
    policies
}

#[derive(Default)]
struct Names {
    people: Vec<String>,
    teams: BTreeMap<String, Vec<String>>,
    rosters: Vec<String>,
    positions: Vec<String>,
    areas: Vec<String>,
}

fn words(list: &[String]) -> impl Iterator<Item = (&str, ())> {
    list.iter().map(|word| (word.as_str(), ()))
}

impl Names {
    fn person(&self, at: Key, name: &str, problems: &mut Problems) {
        problems.known(at, name, "person", words(&self.people));
    }

    /// Persons, and members of teams in their place.
    fn persons(&self, list: &[String], at: &Key, problems: &mut Problems) -> Vec<String> {
        let mut persons = Vec::new();
        for (place, name) in list.iter().enumerate() {
            match name.strip_prefix("team.").map(|team| (team, self.teams.get(team))) {
                Some((_, Some(members))) => persons.extend(members.iter().cloned()),
                Some((team, None)) => {
                    problems.known::<()>(at.index(place), team, "team", self.teams.keys().map(|name| (&**name, ())));
                }
                None => {
                    self.person(at.index(place), name, problems);
                    persons.push(name.clone());
                }
            }
        }
        persons
    }

    fn who(&self, at: Key, text: &str, steps: bool, problems: &mut Problems) -> Option<Who> {
        if let Some(tier) = Tier::ALL.into_iter().find(|tier| steps && tier.word() == text) {
            return Some(Who::Tier(tier));
        }
        let Some((kind, name)) = text.split_once('.') else {
            let levels = if steps { "operator, leader, county, city, province, position.NAME, " } else { "" };
            problems.add(at, format!("{text:?} is nobody; write {levels}person.NAME, team.NAME or roster.NAME"));
            return None;
        };
        let own = name.to_owned();
        match kind {
            "person" => problems.known(at, name, "person", words(&self.people)).map(|()| Who::Person(own)),
            "team" => {
                problems.known(at, name, "team", self.teams.keys().map(|team| (&**team, ()))).map(|()| Who::Team(own))
            }
            "roster" => problems.known(at, name, "roster", words(&self.rosters)).map(|()| Who::Roster(own)),
            "position" if steps => {
                problems.known(at, name, "position", words(&self.positions)).map(|()| Who::Position(own))
            }
            _ => {
                problems.add(at, format!("{text:?} is nobody; write person.NAME, team.NAME or roster.NAME"));
                None
            }
        }
    }

    fn area(&self, at: Key, name: Option<&String>, problems: &mut Problems) {
        if let Some(name) = name {
            problems.known(at, name, "area", words(&self.areas));
        }
    }
}

impl RawPerson {
    fn check(
        self,
        own: &str,
        at: &Key,
        names: &Names,
        around: &Around<'_>,
        problems: &mut Problems,
    ) -> (Someone, Vec<Leave>) {
        if self.name.trim().is_empty() || self.name.chars().any(char::is_control) {
            problems.add(at.field("name"), "say the name as it goes into records");
        }
        if self.reach.is_empty() {
            problems.add(at.field("reach"), "is empty: name recipients of [notify.*], such as [\"sms.li\"]");
        }
        for (place, way) in self.reach.iter().enumerate() {
            problems.known(at.field("reach").index(place), way, "recipient of [notify]", words(around.recipients));
        }
        if let Some(user) = &self.user {
            problems.known(at.field("user"), user, "user", words(around.users));
        }
        let user = self.user.or_else(|| around.users.iter().find(|user| *user == own).cloned());
        let mut leave = Vec::new();
        for (place, raw) in self.leave.into_iter().enumerate() {
            let at = at.field("leave").index(place);
            if let Some(substitute) = &raw.substitute {
                names.person(at.field("substitute"), substitute, problems);
            }
            let from = day(&raw.from, at.field("from"), problems);
            let Some((from, to)) = from.zip(day(&raw.to, at.field("to"), problems)) else { continue };
            if to < from {
                problems.add(at.field("to"), format!("{} is before {}", raw.to, raw.from));
            }
            let zone = i64::from(around.calendar.zone.0);
            let moment = |day: i64| Timestamp::from_secs(day * 86_400 - zone);
            leave.push(Leave {
                id: at.to_string(),
                person: own.to_owned(),
                from: moment(from),
                until: moment(to + 1),
                substitute: raw.substitute,
                by: "file".into(),
                reason: raw.reason,
            });
        }
        (Someone { name: self.name, phone: self.phone, reach: self.reach, user }, leave)
    }
}

/// A local day as days since 1970-01-01.
fn day(text: &str, at: Key, problems: &mut Problems) -> Option<i64> {
    let parts: Vec<&str> = text.split('-').collect();
    let wall = match parts.as_slice() {
        [year, month, day] => year.parse().ok().zip(month.parse().ok()).zip(day.parse().ok()),
        _ => None,
    };
    let wall = wall.map(|((year, month), day)| Wall { year, month, day, hour: 0, minute: 0, second: 0 });
    let moment = wall.and_then(|wall| crate::model::Zone(0).moment(wall));
    if moment.is_none() {
        problems.add(at, format!("{text:?} is not a day such as \"2026-11-01\""));
    }
    moment.map(|moment| moment.micros().div_euclid(86_400_000_000))
}

impl RawArea {
    fn check(self, name: &str, at: &Key, problems: &mut Problems) -> Option<Area> {
        let kind = problems.known(at.field("kind"), &self.kind, "kind of area", AreaKind::ALL);
        let class = match &self.class {
            Some(class) => Some(problems.known(at.field("class"), class, "class", Class::ALL)?),
            None => None,
        };
        let mut sites = self.sites;
        if sites.is_empty() && self.points.is_empty() {
            if kind == Some(AreaKind::Site) {
                sites.push(name.to_owned());
            } else {
                problems.add(at.field("sites"), "say what lies in it: sites = [\"mine-*\"] or points = [\"mine-3.*\"]");
            }
        }
        Some(Area { kind: kind?, sites, points: self.points, class })
    }
}

/// `8`, `22:30`, up to `24`: minutes of the day.
fn minute(text: &str) -> Option<u16> {
    let (hour, minute) = text.trim().split_once(':').unwrap_or((text.trim(), "0"));
    let (hour, minute): (u16, u16) = (hour.parse().ok()?, minute.parse().ok()?);
    (hour <= 24 && minute < 60 && hour * 60 + minute <= 1_440).then_some(hour * 60 + minute)
}

/// `8-16`, `22:30-6`: local minutes.
fn hours(text: &str) -> Option<(u16, u16)> {
    let (from, to) = text.split_once('-')?;
    Some((minute(from).filter(|from| *from < 1_440)?, minute(to)?))
}

impl RawRoster {
    fn check(self, at: &Key, names: &Names, problems: &mut Problems) -> Option<Roster> {
        let before = problems.len();
        let mut spans = Vec::new();
        for (place, text) in self.shifts.iter().enumerate() {
            match hours(text) {
                Some(span) => spans.push(span),
                None => {
                    problems.add(at.field("shifts").index(place), format!("{text:?} is not a shift such as \"8-16\""))
                }
            }
        }
        let meets = |(this, next): (&(u16, u16), &(u16, u16))| this.1 % 1_440 == next.0;
        let closed = spans.iter().zip(spans.iter().cycle().skip(1)).all(meets);
        let rising = spans.is_sorted_by(|a, b| a.0 < b.0);
        if spans.len() == self.shifts.len() && (spans.is_empty() || !closed || !rising) {
            problems.add(at.field("shifts"), "must fill the day without gap or overlap, the earliest first");
        }
        let first_day = match &self.start {
            Some(start) => day(start, at.field("start"), problems),
            None if self.cycle.len() > 1 => {
                problems.add(at.field("start"), "is missing: the first day of the cycle, such as \"2026-11-01\"");
                None
            }
            None => Some(0),
        };
        if self.cycle.is_empty() {
            problems.add(at.field("cycle"), "is empty: write a list for each day, with somebody for each shift");
        }
        let mut cycle = Vec::new();
        for (place, of_day) in self.cycle.into_iter().enumerate() {
            let at = at.field("cycle").index(place);
            if of_day.len() != self.shifts.len() {
                problems.add(at.clone(), format!("has {} crews for {} shifts", of_day.len(), self.shifts.len()));
            }
            let mut crews = Vec::new();
            for (shift, crew) in of_day.into_iter().enumerate() {
                let crew = match crew {
                    Crew::One(name) => vec![name],
                    Crew::Several(names) => names,
                };
                let crew = names.persons(&crew, &at.index(shift), problems);
                if crew.is_empty() {
                    problems.add(at.index(shift), "nobody takes this shift");
                }
                crews.push(crew);
            }
            cycle.push(crews);
        }
        let substitutes = names.persons(&self.substitutes, &at.field("substitutes"), problems);
        let handover_within = match self.handover.as_str() {
            "none" => None,
            text => Some(problems.duration(at.field("handover"), text, Duration::from_secs(1)..=DAY)?),
        };
        let starts = spans.into_iter().map(|(from, _)| from).collect();
        let roster = Roster { starts, first_day: first_day?, cycle, substitutes, handover_within };
        (problems.len() == before).then_some(roster)
    }
}

impl RawPosition {
    fn check(self, name: &str, at: &Key, names: &Names, problems: &mut Problems) -> Option<Position> {
        let level = self.level.as_deref().unwrap_or(name);
        let tiers = Tier::ALL.map(|tier| (tier.word(), tier));
        let tier = problems.known(at.field("level"), level, "level", tiers);
        names.area(at.field("area"), self.area.as_ref(), problems);
        if self.who.is_empty() {
            problems.add(at.field("who"), "nobody stands here: write who = [\"roster.NAME\"] or [\"person.NAME\"]");
        }
        let mut who = Vec::new();
        for (place, text) in self.who.iter().enumerate() {
            who.extend(names.who(at.field("who").index(place), text, false, problems));
        }
        let second = Duration::from_secs(1);
        let missing = problems.duration(at.field("console_missing"), &self.console_missing, second..=DAY)?;
        let within = problems.duration(at.field("checks_within"), &self.checks_within, second..=DAY / 24)?;
        let in_a_shift = problems.within(at.field("checks"), self.checks, 0..=24)?;
        let daily = match self.daily_list.as_deref() {
            Some("off") => None,
            Some(text) => Some(minute(text).filter(|minute| *minute < 1_440).or_else(|| {
                let told = format!("{text:?} is not a local time such as \"8:00\", nor \"off\"");
                problems.add(at.field("daily_list"), told);
                None
            })?),
            None => (tier == Some(Tier::County)).then_some(MORNING),
        };
        Some(Position {
            tier: tier?,
            area: self.area,
            who,
            console: self.console.then_some(missing),
            checks: (in_a_shift > 0).then_some(PresenceChecks { in_a_shift, within }),
            daily,
        })
    }
}

impl RawPolicy {
    fn check(self, at: &Key, names: &Names, problems: &mut Problems) -> Option<Policy> {
        let before = problems.len();
        let tenth = Duration::from_millis(100);
        let every = problems.duration(at.field("every"), &self.every, tenth..=DAY);
        let again = problems.duration(at.field("again"), &self.again, tenth..=DAY * 7);
        let answer = match &self.answer {
            Some(text) => Some(problems.duration(at.field("answer"), text, tenth..=DAY * 7)?),
            None => None,
        };
        let no_answer = match &self.no_answer {
            Some(text) => Some(problems.duration(at.field("no_answer"), text, Duration::ZERO..=DAY)?),
            None => None,
        };
        let calls = problems.within(at.field("calls"), self.calls, 1..=20);
        if self.step.iter().all(|step| step.copy) {
            problems.add(at.field("step"), "nobody is called: at least one step is no copy");
        }
        let mut steps = Vec::new();
        for (place, raw) in self.step.into_iter().enumerate() {
            let at = at.field("step").index(place);
            let after = match raw.after.as_str() {
                "shift-end" => Some(After::ShiftEnd),
                text => problems.duration(at.field("after"), text, Duration::ZERO..=DAY * 7).map(After::Time),
            };
            let who = names.who(at.field("who"), &raw.who, true, problems);
            if let Some((after, who)) = after.zip(who) {
                steps.push(PolicyStep { after, who, copy: raw.copy, by: raw.by });
            }
        }
        let policy = Policy { steps, every: every?, calls: calls?, answer, again: again?, no_answer };
        (problems.len() == before).then_some(policy)
    }
}

impl RawRoute {
    fn check(
        self,
        at: &Key,
        names: &Names,
        policies: &BTreeMap<String, Policy>,
        problems: &mut Problems,
    ) -> Option<Route> {
        let before = problems.len();
        names.area(at.field("area"), self.area.as_ref(), problems);
        let hazard = self.hazard.and_then(|word| problems.known(at.field("hazard"), &word, "hazard", Hazard::ALL));
        let mut kinds = Vec::new();
        for (place, word) in self.kinds.iter().enumerate() {
            let known = Kind::ALL.iter().map(|kind| (kind.word(), *kind));
            kinds.extend(problems.known(at.field("kinds").index(place), word, "kind", known));
        }
        let levels = Level::ALL.map(|level| (level.word(), level));
        let level = self.level.and_then(|word| problems.known(at.field("level"), &word, "level", levels));
        let priorities = Priority::ALL.map(|priority| (priority.word(), priority));
        let priority =
            self.priority.and_then(|word| problems.known(at.field("priority"), &word, "priority", priorities));
        let span = self.hours.as_deref().map(hours);
        if span == Some(None) {
            problems.add(at.field("hours"), "is not a time of the day such as \"22-6\"");
        }
        problems.known(at.field("policy"), &self.policy, "policy", policies.keys().map(|name| (&**name, ())));
        (problems.len() == before).then_some(Route {
            area: self.area,
            hazard,
            kinds,
            level,
            priority,
            hours: span.flatten(),
            exercise: self.exercise,
            policy: self.policy,
        })
    }
}

/// Who has a console open is known of people who sign in.
fn check_consoles(duty: &Duty, around: &Around<'_>, problems: &mut Problems) {
    let signs_in = duty.people.values().any(|one| one.user.is_some());
    for (name, _) in duty.positions.iter().filter(|(_, position)| position.console.is_some()) {
        if around.users.is_empty() || !signs_in {
            let at = Key::of("position").field(name).field("console");
            problems.add(at, "nobody can sign in: give its people a [user.NAME] and say person.NAME.user");
        }
    }
}

#[cfg(test)]
mod tests;
