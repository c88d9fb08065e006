//! `/`: one plain page for whoever watches, and the form that lets them in.
//!
//! In come the board and the words of a language; out goes HTML, escaped by the template engine, that is
//! complete without a script. The page's script then keeps values and alarms fresh from the event stream;
//! alarms are drawn in one place only, here, and fetched anew as `/alarms.html` when they change.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::FormRejection;
use axum::extract::{Form, RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use minijinja::value::Serde;
use minijinja::{Environment, Value, context};
use serde::{Deserialize, Serialize};

use super::reading::{Shown, decimal, unit};
use super::words::{self, Lang};
use super::{Edge, Error, Shared};
use crate::alarm::{Alarm, Aside, Exercised, OccurrenceId, Priority, Standing, is_own, own_shelvable};
use crate::board::Freshness;
use crate::clock;
use crate::facts::WantedCases;
use crate::figures::{Figures, TARGETS};
use crate::ledger::Fate;
use crate::model::{Exercise, Point, Reason, Sample, Timestamp};
use crate::notify::After;
use crate::response::case::{Case, CauseClass, Clock, Means, Policy};

/// More points than this are shown one site at a time.
const POINTS: usize = 1_000;
/// More alarms than this are counted, not listed: nobody reads them, and the page must stay quick.
const ALARMS: usize = 200;
/// Alarms are drawn without their cases when these are not read by then.
const CASES_WITHIN: Duration = Duration::from_secs(1);
/// A wrong token is answered after this long.
const WRONG_TOKEN: std::time::Duration = std::time::Duration::from_millis(500);

pub(super) struct Pages(Environment<'static>);

impl Pages {
    pub(super) fn new() -> Self {
        let mut pages = Environment::new();
        // The names end in .html: that is what switches escaping on.
        for (name, text) in [
            ("page.html", include_str!("page.html")),
            ("alarms.html", include_str!("alarms.html")),
            ("login.html", include_str!("login.html")),
            ("link.html", include_str!("link.html")),
        ] {
            pages.add_template(name, text).expect("the templates in the binary parse; a test renders them");
        }
        Self(pages)
    }

    pub(super) fn render(&self, name: &str, values: Value) -> Result<String, Error> {
        let page = self.0.get_template(name).and_then(|page| page.render(values));
        page.map_err(|cause| Error::inside("drawing the page", &format!("{cause:#}")))
    }
}

/// An alarm as it is drawn.
#[derive(Serialize)]
struct Card<'a> {
    id: &'a str,
    title: &'a str,
    advice: &'a str,
    detail: &'a str,
    subject: &'a str,
    site: &'a str,
    place: &'a str,
    priority: &'static str,
    number: usize,
    level: &'static str,
    standing: &'static str,
    raised: String,
    lasts: String,
    value: Option<String>,
    worst: Option<String>,
    limit: Option<String>,
    now: Option<Shown>,
    unit: &'a str,
    raises: u32,
    /// Words for an exercise or work under a permit.
    marks: Vec<&'static str>,
    /// It is the first-out of so many others.
    first_out: Option<u32>,
    /// The first-out, where that is another one.
    after: Option<After>,
    held: bool,
    waits: bool,
    /// Nothing of it is real.
    injected: bool,
    /// Who set it aside, until when and why.
    aside: Option<String>,
    /// When this was drawn.
    looked: String,
    by: Option<&'a str>,
    comment: Option<&'a str>,
    /// What becomes of it until it is settled.
    case: Option<CaseLine>,
    /// What a person may do besides acknowledging: names of buttons and of routes.
    acts: Vec<&'static str>,
}

/// The case of an alarm, in one line.
#[derive(Clone, Serialize)]
struct CaseLine {
    id: String,
    /// What is missing first, in the reader's language.
    next: Option<&'static str>,
    /// The clock that runs out first.
    due: Option<String>,
    overdue: bool,
}

/// A point as it is drawn.
#[derive(Serialize)]
struct Line<'a> {
    id: &'a str,
    name: &'a str,
    place: &'a str,
    kind: &'static str,
    unit: &'a str,
    state: &'static str,
    /// An alarm of it is open.
    alarmed: bool,
    shown: Shown,
}

#[derive(Default, Serialize)]
struct Site<'a> {
    name: &'a str,
    total: usize,
    stale: usize,
    bad: usize,
    lines: Vec<Line<'a>>,
}

pub(super) async fn show(
    State(edge): State<Shared>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Error> {
    let lang = Lang::of(query.as_deref(), &headers);
    // Read first: the stream is opened from this number and repeats a change rather than missing one.
    let last_change = edge.web.board.last_change();
    let wanted = site_asked(query.as_deref());
    let table = edge.web.board.points();
    let (latest, now) = (edge.web.board.latest_all(), clock::now());
    let in_service: Vec<(&Point, Option<&Sample>)> = table
        .iter()
        .filter(|(_, point)| !point.retired)
        .map(|(index, point)| (point, latest.get(index.at()).and_then(Option::as_ref)))
        .collect();
    let overview = wanted.is_none() && in_service.len() > POINTS;
    let alarmed = alarmed(&edge.web.board.open_alarms());
    let sites = sites(&in_service, wanted.as_deref(), overview, &alarmed, lang, now);
    let figures = super::figures::strip(&edge, wanted.as_deref()).await;
    let told = Told { figures, cases: case_lines(&edge, lang, now).await, exercises: exercise_lines(&edge).await };
    let body = drawn_alarms(&edge, wanted.as_deref(), &told, (lang, now))?;
    let page = edge.pages.render(
        "page.html",
        context! {
            t => words::all(lang), lang => lang.word(), sites => Value::from(Serde(&sites)), site => wanted, overview,
            alarms => Value::from_safe_string(body), last_change, at => now.to_string(),
            locked => !edge.gate.is_open(), no_points => in_service.is_empty(),
            version => env!("CARGO_PKG_VERSION"), means => Means::ALL.map(Means::word).to_vec(),
            classes => CauseClass::ALL.map(CauseClass::word).to_vec(),
        },
    )?;
    Ok(Html(page).into_response())
}

/// The alarms alone, for the page's script.
pub(super) async fn alarms(
    State(edge): State<Shared>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Html<String>, Error> {
    let lang = Lang::of(query.as_deref(), &headers);
    let site = site_asked(query.as_deref());
    let figures = super::figures::strip(&edge, site.as_deref()).await;
    let now = clock::now();
    let told = Told { figures, cases: case_lines(&edge, lang, now).await, exercises: exercise_lines(&edge).await };
    drawn_alarms(&edge, site.as_deref(), &told, (lang, now)).map(Html)
}

/// What is drawn beside the alarms themselves.
struct Told {
    figures: Option<Figures>,
    cases: BTreeMap<OccurrenceId, CaseLine>,
    exercises: Vec<ExerciseLine>,
}

/// An exercise that runs: whoever looks at alarms has to know.
#[derive(Serialize)]
struct ExerciseLine {
    id: String,
    site: String,
    by: String,
    reason: String,
    until: String,
}

/// A trouble with facts leaves them out, never the alarms.
async fn exercise_lines(edge: &Edge) -> Vec<ExerciseLine> {
    let read = edge.read("reading the exercises", |web| web.permits.exercises(true, Exercise::MOST_RUNNING));
    let Ok(Ok(facts)) = tokio::time::timeout(CASES_WITHIN, read).await else { return Vec::new() };
    let line = |Exercise { id, site, by, reason, until, .. }| ExerciseLine {
        id,
        site: site.to_string(),
        by,
        reason,
        until: until.to_string(),
    };
    facts.into_iter().map(|fact| line(fact.exercise)).collect()
}

/// Open cases by the occurrences in them. A trouble with facts leaves them out, never the alarms; the log says why.
async fn case_lines(edge: &Edge, lang: Lang, now: Timestamp) -> BTreeMap<OccurrenceId, CaseLine> {
    let wanted =
        WantedCases { open: true, supervised: false, site: None, from: None, to: None, before: None, most: ALARMS };
    let read = edge.read("reading the cases", move |web| web.cases.cases(&wanted));
    let Ok(Ok(cases)) = tokio::time::timeout(CASES_WITHIN, read).await else { return BTreeMap::new() };
    let policy = super::cases::policy(edge);
    let mut lines = BTreeMap::new();
    for case in &cases {
        let line = case_line(case, &policy, lang, now);
        lines.extend(case.alarms.iter().map(|of| (of.id.clone(), line.clone())));
    }
    lines
}

fn case_line(case: &Case, policy: &Policy, lang: Lang, now: Timestamp) -> CaseLine {
    let clocks = [Clock::Answer, Clock::Update, Clock::Close, Clock::SignOff];
    let due = clocks.into_iter().filter_map(|clock| case.due(clock, policy)).min();
    let spoken = |told: &'static str| match (told.split_once(" / "), lang) {
        (Some((zh, _)), Lang::Zh) => zh,
        (Some((_, en)), Lang::En) => en,
        (None, _) => told,
    };
    CaseLine {
        id: case.id(),
        next: case.missing(policy).first().map(|missing| spoken(missing.told())),
        due: due.map(|at| at.to_string()),
        overdue: !case.missed.is_empty() || due.is_some_and(|at| at <= now),
    }
}

/// What the gateway would refuse because of the state, or because it watches over people, is not offered.
fn acts(alarm: &Alarm, case: bool) -> Vec<&'static str> {
    let mut acts = match alarm.standing {
        Standing::Unacknowledged | Standing::Acknowledged | Standing::ReturnedUnacknowledged => vec!["shelve"],
        Standing::LatchedUnacknowledged | Standing::LatchedAcknowledged => vec!["shelve", "reset"],
        Standing::Shelved => vec!["unshelve"],
        Standing::Normal | Standing::Suppressed | Standing::OutOfService => Vec::new(),
    };
    if is_own(&alarm.rule) && !own_shelvable(&alarm.rule) {
        acts.retain(|act| *act != "shelve");
    }
    if case {
        acts.extend(["answer", "handle", "verify", "close"]);
    }
    acts
}

#[derive(Deserialize)]
struct SiteAsked {
    #[serde(default)]
    site: String,
}

fn site_asked(query: Option<&str>) -> Option<String> {
    let uri = format!("/?{}", query?).parse().ok()?;
    let asked = axum::extract::Query::<SiteAsked>::try_from_uri(&uri).ok()?;
    Some(asked.0.site).filter(|site| !site.is_empty())
}

fn sites<'a>(
    points: &[(&'a Point, Option<&'a Sample>)],
    wanted: Option<&str>,
    overview: bool,
    alarmed: &BTreeSet<Arc<str>>,
    lang: Lang,
    now: Timestamp,
) -> Vec<Site<'a>> {
    let mut sites = BTreeMap::<&str, Site<'a>>::new();
    for (point, sample) in points {
        let site = sites.entry(&point.site).or_insert_with(|| Site { name: &point.site, ..Site::default() });
        let line = Line { alarmed: alarmed.contains(&point.id), ..line(point, *sample, lang, now) };
        site.total += 1;
        site.stale += usize::from(line.shown.freshness == Freshness::Stale);
        site.bad += usize::from(line.shown.grade == Some("bad"));
        if !overview && wanted.is_none_or(|wanted| wanted == &*point.site) {
            site.lines.push(line);
        }
    }
    sites.into_values().collect()
}

fn line<'a>(point: &'a Point, sample: Option<&Sample>, lang: Lang, now: Timestamp) -> Line<'a> {
    let shown = Shown::of(point, sample, now);
    Line {
        id: &point.id,
        name: &point.name,
        place: &point.place,
        kind: if lang == Lang::Zh { point.kind.zh() } else { point.kind.word() },
        unit: unit(&point.unit),
        state: state(&shown),
        alarmed: false,
        shown,
    }
}

/// The one word that a person must know first. The page's script says the same of a row of the stream.
fn state(shown: &Shown) -> &'static str {
    match (shown.freshness, shown.grade) {
        (Freshness::Waiting, _) => "waiting",
        (Freshness::Stale, _) => "stale",
        (Freshness::Live, Some(grade @ ("bad" | "uncertain"))) => grade,
        (Freshness::Live, _) => "live",
    }
}

/// One figure of the strip: a word, what it shows, and whether the standards hold it to be too much.
#[derive(Serialize)]
struct Figure {
    word: &'static str,
    text: String,
    too_much: bool,
}

fn strip(of: &Figures) -> Vec<Figure> {
    let figure = |word, text: String, too_much| Figure { word, text, too_much };
    let rate = &of.per_10_minutes;
    let most = |name: &str| TARGETS.iter().find(|target| target.figure == name).map_or(f64::MAX, |of| of.at_most);
    let over = |name, value: f64| value > most(name);
    let seconds = |value: Option<f64>| value.map_or("-".to_owned(), |value| short(Duration::from_secs_f64(value)));
    let mut strip = vec![
        figure("kpi_raised", format!("{} ({})", of.raised, of.episodes), over("per_hour.average", of.per_hour.average)),
        figure(
            "kpi_rate",
            format!("{} / {:.1} / {}", rate.now, rate.average, rate.peak),
            over("per_10_minutes.peak", rate.peak as f64) || over("per_10_minutes.average", rate.average),
        ),
        figure("kpi_floods", of.floods.count.to_string(), of.floods.under_way || over("floods.share", of.floods.share)),
        figure("kpi_chattering", of.chattering.sources.to_string(), of.chattering.sources > 0),
        figure("kpi_stale", of.stale.count.to_string(), over("stale.count", of.stale.count as f64)),
        figure(
            "kpi_to_acknowledge",
            format!("{} / {}", seconds(of.to_acknowledge.median), seconds(of.to_acknowledge.p95)),
            false,
        ),
    ];
    if of.raised > 0 {
        let shares: Vec<String> = of.priorities.iter().map(|of| format!("{:.0}", of.share * 100.0)).collect();
        strip.push(figure("kpi_mix", shares.join(" / "), of.priorities.iter().any(|of| of.over)));
    }
    if let Some(online) = of.online {
        strip.push(figure("kpi_online", format!("{:.1} %", online.rate * 100.0), false));
    }
    if let Some(rate) = of.deliveries.and_then(|of| of.rate) {
        strip.push(figure("kpi_delivered", format!("{:.0} %", rate * 100.0), rate < 1.0));
    }
    strip
}

/// Most urgent first: not acknowledged, then priority, then the oldest.
fn drawn_alarms(edge: &Edge, site: Option<&str>, told: &Told, (lang, now): (Lang, Timestamp)) -> Result<String, Error> {
    let Told { figures, cases, exercises } = told;
    let mut open = edge.web.board.open_alarms();
    open.retain(|alarm| site.is_none_or(|site| alarm.site.is_empty() || site == &*alarm.site));
    // Whatever is exercised comes last: what is real is never pushed out of sight by it.
    open.sort_by_key(|alarm| (alarm.is_injected(), rank(alarm.standing), alarm.priority, alarm.raised));
    let alarmed = alarmed(&open);
    let counts = Priority::ALL.map(|priority| {
        let called = open.iter().filter(|alarm| alarm.standing.aside().is_none() && !alarm.is_injected());
        let of: Vec<&Arc<Alarm>> = called.filter(|alarm| alarm.priority == priority).collect();
        let waits = of.iter().filter(|alarm| alarm.standing.waits()).count();
        context! { word => priority.word(), total => of.len(), waits }
    });
    let firsts = first_outs(&open);
    let cards: Vec<Card<'_>> = open.iter().take(ALARMS).map(|alarm| card(edge, alarm, cases, &firsts, now)).collect();
    let more = open.len().saturating_sub(ALARMS);
    let strip = Value::from(Serde(&figures.as_ref().map_or_else(Vec::new, strip)));
    let here = |line: &&ExerciseLine| site.is_none_or(|site| site == line.site);
    let exercises = Value::from(Serde(&exercises.iter().filter(here).collect::<Vec<_>>()));
    let cards = Value::from(Serde(&cards));
    edge.pages.render("alarms.html", context! { t => words::all(lang), counts, cards, more, strip, alarmed, exercises })
}

/// Points of which an alarm is open: their rows say so, whatever else they say.
fn alarmed(open: &[Arc<Alarm>]) -> BTreeSet<Arc<str>> {
    let real = open.iter().filter(|alarm| alarm.point.is_some() && !alarm.is_injected());
    real.map(|alarm| alarm.subject.clone()).collect()
}

/// First-outs of several alarms, with how many came after each: whoever came up last knows.
fn first_outs(open: &[Arc<Alarm>]) -> BTreeMap<OccurrenceId, u32> {
    let mut firsts = BTreeMap::new();
    for together in open.iter().filter_map(|alarm| alarm.together.as_ref()).filter(|together| together.alarms > 1) {
        let most = firsts.entry(together.first.id.clone()).or_insert(0);
        *most = together.alarms.saturating_sub(1).max(*most);
    }
    firsts
}

fn card<'a>(
    edge: &Edge,
    alarm: &'a Alarm,
    cases: &BTreeMap<OccurrenceId, CaseLine>,
    firsts: &BTreeMap<OccurrenceId, u32>,
    now: Timestamp,
) -> Card<'a> {
    let case = cases.get(&alarm.id).cloned();
    let table = edge.web.board.points();
    let point = alarm.point.and_then(|index| table.get(index));
    let latest = alarm.point.and_then(|index| edge.web.board.latest(index, now));
    let number = |value: f64| decimal(value, point.map_or(0.0, |point| point.resolution));
    let lasts = alarm.cleared.unwrap_or(now).since(alarm.raised);
    Card {
        id: alarm.id.as_str(),
        title: &alarm.title,
        advice: &alarm.advice,
        detail: &alarm.detail,
        subject: &alarm.subject,
        site: &alarm.site,
        place: &alarm.place,
        priority: alarm.priority.word(),
        number: Priority::ALL.iter().position(|priority| *priority == alarm.priority).map_or(0, |at| at + 1),
        level: alarm.level.word(),
        standing: alarm.standing.word(),
        raised: alarm.raised.to_string(),
        lasts: short(lasts),
        value: alarm.value.map(number),
        worst: alarm.worst.map(number),
        limit: alarm.limit.map(|limit| format!("{limit}")),
        // What is injected is shown nowhere but in its own alarm.
        now: point
            .filter(|_| !alarm.is_injected())
            .map(|point| Shown::of(point, latest.map(|latest| latest.sample).as_ref(), now)),
        unit: unit(&alarm.unit),
        raises: alarm.raises,
        marks: [Reason::Exercise, Reason::Maintenance]
            .into_iter()
            .filter(|mark| alarm.quality.has(*mark))
            .map(Reason::word)
            .chain(matches!(alarm.exercise, Exercised::Beside(_)).then_some("not_exercise"))
            .collect(),
        first_out: firsts.get(&alarm.id).copied(),
        after: alarm.after().map(After::of),
        held: alarm.held,
        waits: alarm.standing.waits(),
        aside: alarm.standing.aside().and(alarm.aside.as_ref()).map(told_aside),
        looked: now.to_string(),
        by: alarm.acknowledged.as_ref().map(|said| said.by.as_str()),
        injected: alarm.is_injected(),
        acts: if alarm.is_injected() { Vec::new() } else { acts(alarm, case.is_some()) },
        case,
        comment: alarm.acknowledged.as_ref().map(|said| said.comment.as_str()).filter(|text| !text.is_empty()),
    }
}

/// What waits for a person first, what is set aside last.
const fn rank(standing: Standing) -> u8 {
    match standing {
        Standing::Unacknowledged | Standing::ReturnedUnacknowledged | Standing::LatchedUnacknowledged => 0,
        Standing::Normal | Standing::Acknowledged | Standing::LatchedAcknowledged => 1,
        Standing::Shelved | Standing::Suppressed | Standing::OutOfService => 2,
    }
}

fn told_aside(aside: &Aside) -> String {
    let until = aside.until.map_or_else(String::new, |until| format!(" .. {until}"));
    format!("{}{until}: {}", aside.by, aside.reason)
}

/// In the largest unit that fills it: 45s, 12m, 3h, 2d.
fn short(span: Duration) -> String {
    let seconds = span.as_secs();
    let units = [(86_400, "d"), (3_600, "h"), (60, "m")];
    let (size, unit) = units.into_iter().find(|(size, _)| seconds >= *size).unwrap_or((1, "s"));
    format!("{}{unit}", seconds / size)
}

pub(super) async fn login_form(
    State(edge): State<Shared>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Error> {
    let lang = Lang::of(query.as_deref(), &headers);
    if edge.gate.is_open() {
        return Ok(Redirect::to("/").into_response());
    }
    form(&edge, lang, false).map(IntoResponse::into_response)
}

fn form(edge: &Edge, lang: Lang, wrong: bool) -> Result<Html<String>, Error> {
    edge.pages.render("login.html", context! { t => words::all(lang), lang => lang.word(), wrong }).map(Html)
}

#[derive(Deserialize)]
pub(super) struct Credentials {
    token: String,
}

pub(super) async fn login(
    State(edge): State<Shared>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    credentials: Result<Form<Credentials>, FormRejection>,
) -> Result<Response, Error> {
    let lang = Lang::of(query.as_deref(), &headers);
    let Form(credentials) = credentials?;
    if let Some(cookie) = edge.gate.sign_in(&credentials.token, clock::now()) {
        return Ok(([(header::SET_COOKIE, cookie)], Redirect::to(&format!("/?lang={}", lang.word()))).into_response());
    }
    edge.account.one(Fate::Refused);
    tokio::time::sleep(WRONG_TOKEN).await;
    Ok((StatusCode::UNAUTHORIZED, form(&edge, lang, true)?).into_response())
}

pub(super) async fn logout(State(edge): State<Shared>, headers: HeaderMap) -> Response {
    ([(header::SET_COOKIE, edge.gate.sign_out(&headers, clock::now()))], Redirect::to("/login")).into_response()
}
