//! `/api/v1/alarms`: the alarms in `facts.db`, and the acknowledgement of one.
//!
//! An acknowledgement names the occurrence and how often it had come up when the person looked; it is
//! answered only when it is durable and judged. What it does not fit is told with the alarm as it stands now.

use std::time::Duration;

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tracing::info;

use super::points::page_length;
use super::samples::moment;
use super::users::{Person, Role};
use super::{Edge, Error, Shared};
use crate::alarm::{Alarm, Exercised, Level, OccurrenceId, Priority, Standing};
use crate::clock;
use crate::facts::{Answer, Wanted};
use crate::journal::{self, Entry, Note, Seen};
use crate::notify::After;

/// A command that is not answered within this time is not confirmed.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    open: Option<bool>,
    site: Option<String>,
    before: Option<String>,
    most: Option<usize>,
}

/// An alarm with times as people read them.
#[derive(Serialize)]
pub(super) struct AlarmView<'a> {
    id: &'a str,
    rule: &'a str,
    subject: &'a str,
    /// The point's id; absent for conditions of the gateway itself.
    point: Option<&'a str>,
    site: &'a str,
    place: &'a str,
    title: &'a str,
    advice: &'a str,
    priority: &'static str,
    level: &'static str,
    standing: &'static str,
    raised: String,
    received: String,
    cleared: Option<String>,
    acknowledged: Option<Acknowledged<'a>>,
    value: Option<f64>,
    worst: Option<f64>,
    limit: Option<f64>,
    unit: &'a str,
    raises: u32,
    held: bool,
    quality: String,
    detail: &'a str,
    /// What sets it aside, or did last.
    aside: Option<AsideView<'a>>,
    /// Those that came up with it: their group, how many there are, and which came first.
    group: Option<&'a str>,
    group_field: Option<&'static str>,
    group_alarms: Option<u32>,
    first_out: bool,
    /// The first-out, where that is another alarm.
    after: Option<After>,
    /// The exercise that injected the value; it is not real.
    exercise: Option<&'a str>,
    /// The exercise that ran at its site; it is real.
    beside_exercise: Option<&'a str>,
}

#[derive(Serialize)]
struct AsideView<'a> {
    id: &'a str,
    way: &'static str,
    by: &'a str,
    approved_by: Option<&'a str>,
    reason: &'a str,
    from: String,
    until: Option<String>,
    once: bool,
}

#[derive(Serialize)]
struct Acknowledged<'a> {
    by: &'a str,
    at: String,
    comment: &'a str,
}

impl<'a> AlarmView<'a> {
    pub(super) fn of(alarm: &'a Alarm) -> Self {
        let acknowledged = alarm.acknowledged.as_ref();
        Self {
            id: alarm.id.as_str(),
            rule: &alarm.rule,
            subject: &alarm.subject,
            point: alarm.point.map(|_| &*alarm.subject),
            site: &alarm.site,
            place: &alarm.place,
            title: &alarm.title,
            advice: &alarm.advice,
            priority: alarm.priority.word(),
            level: alarm.level.word(),
            standing: alarm.standing.word(),
            raised: alarm.raised.to_string(),
            received: alarm.received.to_string(),
            cleared: alarm.cleared.map(|at| at.to_string()),
            acknowledged: acknowledged.map(|a| Acknowledged { by: &a.by, at: a.at.to_string(), comment: &a.comment }),
            value: alarm.value,
            worst: alarm.worst,
            limit: alarm.limit,
            unit: &alarm.unit,
            raises: alarm.raises,
            held: alarm.held,
            quality: alarm.quality.to_string(),
            detail: &alarm.detail,
            aside: alarm.aside.as_ref().map(|aside| AsideView {
                id: &aside.id,
                way: aside.way.word(),
                by: &aside.by,
                approved_by: aside.approved_by.as_deref(),
                reason: &aside.reason,
                from: aside.from.to_string(),
                until: aside.until.map(|at| at.to_string()),
                once: aside.once,
            }),
            group: alarm.together.as_ref().map(|of| of.group.as_str()),
            group_field: alarm.together.as_ref().map(|of| of.field.word()),
            group_alarms: alarm.together.as_ref().map(|of| of.alarms),
            first_out: alarm.first_out(),
            after: alarm.after().map(After::of),
            exercise: if let Exercised::Injected(id) = &alarm.exercise { Some(id) } else { None },
            beside_exercise: if let Exercised::Beside(id) = &alarm.exercise { Some(id) } else { None },
        }
    }
}

pub(super) async fn list(
    State(edge): State<Shared>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Json<Value>, Error> {
    let Query(asked) = asked?;
    let most = page_length(asked.most, 100, 1_000)?;
    let before = moment("before", asked.before.as_deref())?;
    let wanted = Wanted { open: asked.open.unwrap_or(false), site: asked.site, before, most };
    // Read before the list: a stream opened from this number repeats a change rather than missing one.
    let last_change = edge.web.board.last_change();
    let alarms = edge.read("reading the alarms", move |web| web.alarms.alarms(&wanted)).await?;
    let next = (alarms.len() == most).then(|| alarms.last().map(|alarm| alarm.raised.to_string())).flatten();
    let views: Vec<_> = alarms.iter().map(AlarmView::of).collect();
    Ok(Json(json!({ "alarms": views, "next_before": next, "last_change": last_change })))
}

pub(super) async fn one(
    State(edge): State<Shared>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Json<Value>, Error> {
    let Path(id) = id?;
    let alarm = find(&edge, &id).await?;
    Ok(Json(json!(AlarmView::of(&alarm))))
}

pub(super) async fn find(edge: &Edge, id: &str) -> Result<Alarm, Error> {
    let wanted = OccurrenceId::named(id);
    let found = edge.read("reading the alarm", move |web| web.alarms.alarm(&wanted)).await?;
    found.ok_or_else(|| Error::no_such("alarm", id))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Said {
    /// The alarm's `raises` as the person saw it.
    raises: u32,
    #[serde(default)]
    by: String,
    #[serde(default)]
    comment: String,
    /// What else was seen; an alarm that is different now is refused, with what is different.
    standing: Option<Standing>,
    priority: Option<Priority>,
    level: Option<Level>,
    /// RFC 3339, when the list was drawn by the gateway's clock: a worse alarm of the same point that came
    /// later was not seen.
    looked: Option<String>,
}

pub(super) async fn acknowledge(
    State(edge): State<Shared>,
    person: Person,
    id: Result<Path<String>, PathRejection>,
    said: Result<Json<Said>, JsonRejection>,
) -> Result<Json<Value>, Error> {
    let (Path(id), Json(said)) = (id?, said?);
    let by = person.acts(Role::Operator, &said.by)?;
    let comment = plain("comment", &said.comment, 500)?;
    let occurrence = OccurrenceId::named(&id);
    let looked = moment("looked", said.looked.as_deref())?;
    let seen = Some(Seen { standing: said.standing, priority: said.priority, level: said.level, looked });
    let (at, raises, named) = (clock::now(), said.raises, by.clone());
    let acknowledge =
        |command| Note::Acknowledge(journal::Acknowledge { command, at, occurrence, raises, by: named, comment, seen });
    match command(&edge, acknowledge).await? {
        Answer::Acknowledged(alarm) => {
            info!(alarm = %alarm.id, %by, "alarm acknowledged");
            Ok(Json(json!(AlarmView::of(&alarm))))
        }
        Answer::NewerOccurrence(alarm) => Err(Error::newer_occurrence(alarm)),
        Answer::Refused(alarm, words) => Err(Error::otherwise("changed", words, *alarm)),
        Answer::AlreadyAcknowledged(alarm) => Err(Error::already_acknowledged(alarm)),
        // Not open: it may have been, and may be known.
        Answer::NoSuchAlarm
        | Answer::PermitOpened(_)
        | Answer::PermitEnded(_)
        | Answer::NoSuchPermit
        | Answer::SiteSet(_)
        | Answer::NoSuchSite
        | Answer::SiteRefused(_)
        | Answer::Recorded
        | Answer::Limits(_)
        | Answer::Aside(_)
        | Answer::Case(_)
        | Answer::Duty(_)
        | Answer::Exercise(_) => Err(Error::no_such("open alarm", &id)),
    }
}

/// Hands a person's command in and waits until it is durable and judged.
pub(super) async fn command(edge: &Edge, note: impl FnOnce(u64) -> Note) -> Result<Answer, Error> {
    let (number, answer) = edge.web.desk.expect();
    let answered = tokio::time::timeout(ANSWER_WITHIN, async {
        let stopping = || Error::busy("the journal is closed: nothing was done");
        edge.web.desk.submit(Entry::Note(note(number))).await.map_err(|_| stopping())?;
        answer.await.map_err(|_| Error::unconfirmed())
    });
    answered.await.map_err(|_| Error::unconfirmed())?
}

/// Text that goes into records and logs: trimmed, not too long, nothing that moves a cursor.
pub(super) fn plain(name: &str, text: &str, longest: usize) -> Result<String, Error> {
    let text = text.trim();
    if text.chars().count() > longest {
        return Err(Error::bad(format!("{name}: longer than {longest} characters")));
    }
    if text.chars().any(char::is_control) {
        return Err(Error::bad(format!("{name}: holds control characters")));
    }
    Ok(text.to_owned())
}
