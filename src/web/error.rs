//! What went wrong, as a status and `{ "error": { "code", "message" } }`: the only place that decides it.
//!
//! Codes are for programs and never change; messages are for people and say what to do. What failed inside
//! the gateway is logged with its cause; the client is told only that it failed.

use axum::Json;
use axum::extract::rejection::{FormRejection, JsonRejection, PathRejection, QueryRejection};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use tracing::warn;

use super::alarms::AlarmView;
use crate::alarm::Alarm;

#[derive(Debug)]
pub(super) struct Error {
    status: StatusCode,
    code: &'static str,
    message: String,
    /// The alarm as it stands now, where the command did not fit it.
    alarm: Option<Box<Alarm>>,
    /// From the text in force to the one that was to be, where the two do not meet.
    diff: Option<String>,
}

impl Error {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), alarm: None, diff: None }
    }

    pub(super) fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", message)
    }

    pub(super) fn unauthorized() -> Self {
        let message = "a valid token is needed: send \"Authorization: Bearer ...\" or sign in at /login";
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", message)
    }

    /// Known, but not entitled.
    pub(super) fn not_allowed(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "not_allowed", message)
    }

    /// A change of rules that cannot be made as things stand.
    pub(super) fn conflict(code: &'static str, message: impl Into<String>, diff: Option<String>) -> Self {
        Self { diff, ..Self::new(StatusCode::CONFLICT, code, message) }
    }

    pub(super) fn cross_site(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "cross_site", message)
    }

    pub(super) fn unknown_host() -> Self {
        let message = "without a token Davy answers only to localhost, 127.0.0.1 or [::1] as the host name";
        Self::new(StatusCode::MISDIRECTED_REQUEST, "unknown_host", message)
    }

    pub(super) fn no_such(what: &str, id: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", format!("there is no {what} {id:?}"))
    }

    pub(super) fn busy(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", message)
    }

    pub(super) fn too_many(message: impl Into<String>) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many", message)
    }

    pub(super) fn too_large(message: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message)
    }

    pub(super) fn unsupported(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", message)
    }

    pub(super) fn no_senders() -> Self {
        let message = "nobody may send samples over HTTP: add [source.http.NAME] to the configuration";
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    pub(super) fn unknown_sender() -> Self {
        let message = "the token of a sender is needed: send \"Authorization: Bearer ...\", see [source.http.NAME]";
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", message)
    }

    pub(super) fn newer_occurrence(alarm: Alarm) -> Self {
        let message = "the alarm came back since you looked: look at it as it stands now, then acknowledge that";
        let error = Self::new(StatusCode::CONFLICT, "newer_occurrence", message);
        Self { alarm: Some(Box::new(alarm)), ..error }
    }

    pub(super) fn already_acknowledged(alarm: Alarm) -> Self {
        let message = match &alarm.acknowledged {
            Some(first) => format!("{} was first", first.by),
            None => "somebody else was first".to_owned(),
        };
        let error = Self::new(StatusCode::CONFLICT, "already_acknowledged", message);
        Self { alarm: Some(Box::new(alarm)), ..error }
    }

    /// It is not as the person saw it, or not in a state for it.
    pub(super) fn otherwise(code: &'static str, words: String, alarm: Alarm) -> Self {
        Self { alarm: Some(Box::new(alarm)), ..Self::new(StatusCode::CONFLICT, code, words) }
    }

    /// A limit or exemption that must not come into force.
    pub(super) fn refused(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "refused", message)
    }

    /// The command may or may not take effect: the person has to look.
    pub(super) fn unconfirmed() -> Self {
        let message = "未得到确认，指令可能已生效，请先查看当前状态再重试 / \
                       no answer within the time limit, and it may have taken effect: look at \
                       how things stand, then repeat it if it did not";
        Self::new(StatusCode::GATEWAY_TIMEOUT, "unconfirmed", message)
    }

    pub(super) fn no_answer(message: impl Into<String>) -> Self {
        Self::new(StatusCode::GATEWAY_TIMEOUT, "no_answer", message)
    }

    pub(super) fn too_slow() -> Self {
        Self::new(StatusCode::GATEWAY_TIMEOUT, "too_slow", "the answer took too long; ask for less or try again")
    }

    pub(super) fn inside(what: &str, cause: &dyn std::fmt::Display) -> Self {
        warn!(%cause, "{what} failed");
        let message = format!("{what} failed; the gateway's log says why");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", message)
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let mut error = json!({ "code": self.code, "message": self.message });
        if let Some(alarm) = &self.alarm {
            error["alarm"] = json!(AlarmView::of(alarm));
        }
        if let Some(diff) = self.diff {
            error["diff"] = json!(diff);
        }
        let mut response = (self.status, Json(json!({ "error": error }))).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
        }
        if self.status == StatusCode::TOO_MANY_REQUESTS {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

/// Requests that do not parse keep the library's status (400, 413, 415, 422) and its words.
fn unparsed(status: StatusCode, text: String) -> Error {
    let code = match status {
        StatusCode::PAYLOAD_TOO_LARGE => "too_large",
        StatusCode::UNSUPPORTED_MEDIA_TYPE => "unsupported_media_type",
        _ => "bad_request",
    };
    Error::new(status, code, text)
}

impl From<JsonRejection> for Error {
    fn from(rejection: JsonRejection) -> Self {
        unparsed(rejection.status(), rejection.body_text())
    }
}

impl From<QueryRejection> for Error {
    fn from(rejection: QueryRejection) -> Self {
        unparsed(rejection.status(), rejection.body_text())
    }
}

impl From<PathRejection> for Error {
    fn from(rejection: PathRejection) -> Self {
        unparsed(rejection.status(), rejection.body_text())
    }
}

impl From<FormRejection> for Error {
    fn from(rejection: FormRejection) -> Self {
        unparsed(rejection.status(), rejection.body_text())
    }
}

pub(super) async fn nowhere() -> Error {
    Error::new(StatusCode::NOT_FOUND, "not_found", "there is nothing at this path")
}

pub(super) async fn wrong_method() -> Error {
    Error::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "this path does not take that method")
}
