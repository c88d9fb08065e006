//! The page's script, style and icon, from the binary, each with an ETag of its content.

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

use super::Shared;
use super::gate::hex;

pub(super) struct Assets {
    script: Asset,
    style: Asset,
    icon: Asset,
}

struct Asset {
    text: &'static str,
    kind: &'static str,
    tag: HeaderValue,
}

impl Asset {
    fn new(text: &'static str, kind: &'static str) -> Self {
        let tag = format!("\"{}\"", hex(&Sha256::digest(text)[..12]));
        Self { text, kind, tag: HeaderValue::from_str(&tag).expect("hex in quotes is valid in a header") }
    }

    fn answer(&self, headers: &HeaderMap) -> Response {
        let known = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|tags| tags.to_str().ok());
        let known = known.flat_map(|tags| tags.split(',')).any(|tag| {
            let tag = tag.trim();
            tag.strip_prefix("W/").unwrap_or(tag).as_bytes() == self.tag.as_bytes()
        });
        let kept = [(header::ETAG, self.tag.clone()), (header::CACHE_CONTROL, HeaderValue::from_static("no-cache"))];
        if known {
            return (StatusCode::NOT_MODIFIED, kept).into_response();
        }
        (kept, [(header::CONTENT_TYPE, self.kind)], self.text).into_response()
    }
}

impl Assets {
    pub(super) fn new() -> Self {
        Self {
            script: Asset::new(include_str!("page.js"), "text/javascript; charset=utf-8"),
            style: Asset::new(include_str!("page.css"), "text/css; charset=utf-8"),
            icon: Asset::new(include_str!("page.svg"), "image/svg+xml"),
        }
    }
}

pub(super) async fn script(State(edge): State<Shared>, headers: HeaderMap) -> Response {
    edge.assets.script.answer(&headers)
}

pub(super) async fn style(State(edge): State<Shared>, headers: HeaderMap) -> Response {
    edge.assets.style.answer(&headers)
}

pub(super) async fn icon(State(edge): State<Shared>, headers: HeaderMap) -> Response {
    edge.assets.icon.answer(&headers)
}
