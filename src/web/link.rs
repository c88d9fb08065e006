//! `/a/{link}`: what a link in a message would acknowledge, and the button that does it.
//!
//! In comes a link that `notify` made; out go a small page, and with a POST the acknowledgement, in the name of whom
//! the message was sent to. A GET changes nothing, because mail programs follow links by themselves. An alarm that came
//! up again since the message is shown and not acknowledged. Every wrong, foreign or ended link gets the same answer
//! after the same while, so that nobody learns from it which alarms there are.

use std::time::Duration;

use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{Html, IntoResponse, Response};
use minijinja::context;
use tracing::info;

use super::alarms::command;
use super::words::Lang;
use super::{Edge, Error, Shared};
use crate::alarm::{Alarm, Standing};
use crate::clock;
use crate::facts::Answer;
use crate::journal::{self, Note};
use crate::notify::{Doorkeeper, Leave};

pub(super) const ROUTE: &str = "/a/{link}";
/// Wrong links answered at the same time.
pub(super) const STRANGERS: usize = 8;
/// A wrong link is answered after this long.
const WRONG_LINK: Duration = Duration::from_millis(500);

/// What the page says.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Say {
    /// The button.
    Ask,
    Done,
    /// It came up again since the message.
    Newer,
    /// Somebody was first.
    Already,
    /// It is over.
    Over,
    /// Somebody, or the design, has set it aside.
    Aside,
    /// The link is not one of ours, or has ended.
    Ended,
}

impl Say {
    const fn word(self) -> &'static str {
        match self {
            Self::Ask => "ask",
            Self::Done => "done",
            Self::Newer => "newer",
            Self::Already => "already",
            Self::Over => "over",
            Self::Aside => "aside",
            Self::Ended => "ended",
        }
    }

    const fn status(self) -> StatusCode {
        match self {
            Self::Ask | Self::Done => StatusCode::OK,
            Self::Newer | Self::Already | Self::Over | Self::Aside => StatusCode::CONFLICT,
            Self::Ended => StatusCode::NOT_FOUND,
        }
    }
}

pub(super) async fn show(
    State(edge): State<Shared>,
    Path(link): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Error> {
    let lang = Lang::of(query.as_deref(), &headers);
    let Some(leave) = admitted(&edge, &link).await? else { return page(&edge, lang, Say::Ended, None, "") };
    let id = leave.alarm.id.clone();
    let now = edge.read("reading the alarm", move |web| web.alarms.alarm(&id)).await?;
    let say = now.as_ref().map_or(Say::Over, |now| standing(&leave, now));
    page(&edge, lang, say, now.as_ref(), &leave.who)
}

pub(super) async fn acknowledge(
    State(edge): State<Shared>,
    Path(link): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Error> {
    let lang = Lang::of(query.as_deref(), &headers);
    let Some(leave) = admitted(&edge, &link).await? else { return page(&edge, lang, Say::Ended, None, "") };
    let (at, occurrence, raises) = (clock::now(), leave.alarm.id.clone(), leave.alarm.raises);
    let (by, comment) = (leave.who.clone(), "链接 / by link".to_owned());
    let note =
        |command| Note::Acknowledge(journal::Acknowledge { command, at, occurrence, raises, by, comment, seen: None });
    let (say, alarm) = match command(&edge, note).await? {
        Answer::Acknowledged(alarm) => {
            info!(alarm = %alarm.id, by = %leave.who, "alarm acknowledged by link");
            (Say::Done, alarm)
        }
        Answer::NewerOccurrence(alarm) => (Say::Newer, alarm),
        Answer::AlreadyAcknowledged(alarm) => (Say::Already, alarm),
        Answer::Refused(alarm, _) => (Say::Aside, *alarm),
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
        | Answer::Exercise(_) => (Say::Over, leave.alarm.clone()),
    };
    page(&edge, lang, say, Some(&alarm), &leave.who)
}

/// What the link allows; None, after a while, for one that allows nothing.
async fn admitted(edge: &Edge, link: &str) -> Result<Option<Leave>, Error> {
    let Some(door) = &edge.web.doorkeeper else { return Ok(None) };
    let row = Doorkeeper::row(link).unwrap_or(0);
    let found = edge.read("reading the message", move |web| web.alarms.outgoing(row)).await?;
    let leave = door.admit(link, found.as_ref(), clock::now());
    if leave.is_none() {
        let _place =
            edge.strangers.try_acquire().map_err(|_| Error::too_many("too many wrong links; wait a moment"))?;
        tokio::time::sleep(WRONG_LINK).await;
    }
    Ok(leave)
}

/// What is still to be done about what the message told.
fn standing(leave: &Leave, now: &Alarm) -> Say {
    match now.standing {
        Standing::Normal => Say::Over,
        Standing::Unacknowledged | Standing::ReturnedUnacknowledged | Standing::LatchedUnacknowledged => {
            if now.raises == leave.alarm.raises { Say::Ask } else { Say::Newer }
        }
        Standing::Acknowledged | Standing::LatchedAcknowledged => Say::Already,
        Standing::Shelved | Standing::Suppressed | Standing::OutOfService => Say::Aside,
    }
}

fn page(edge: &Edge, lang: Lang, say: Say, alarm: Option<&Alarm>, who: &str) -> Result<Response, Error> {
    let text = |pick: fn(&Alarm) -> String| alarm.map(pick).unwrap_or_default();
    let values = context! {
        lang => lang.word(), zh => lang == Lang::Zh, say => say.word(), who,
        title => text(|alarm| alarm.title.clone()),
        advice => text(|alarm| alarm.advice.clone()),
        place => text(|alarm| format!("{} {} {}", alarm.site, alarm.place, alarm.subject)),
        raised => text(|alarm| alarm.raised.to_string()),
        raises => alarm.map_or(0, |alarm| alarm.raises),
        by => text(|alarm| alarm.acknowledged.as_ref().map(|said| said.by.clone()).unwrap_or_default()),
    };
    let html = edge.pages.render("link.html", values)?;
    Ok((say.status(), Html(html)).into_response())
}
