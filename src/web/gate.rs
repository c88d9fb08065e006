//! Who may ask, and from where: looked at before anything else happens to a request.
//!
//! With a token, one for all or one for each person: `Authorization: Bearer`, or the cookie that `/login` gives for
//! it. The cookie is `nonce.expiry.hmac`, sealed with a key derived from the token: it survives a restart (the
//! control room's screen comes back by itself), ends with the token, says whose it is and does not contain it.
//! Without a token (loopback only) everything is open to this machine, but to no name that was rebound to it and to
//! no foreign page.
//! Promised for every answer: a strict content policy, no sniffing, no framing, no caching.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::config::{Config, Token};
use super::error::Error;
use super::users::Person;
use super::{Shared, feeds, ingest, words};
use crate::clock;
use crate::ledger::Fate;
use crate::model::Timestamp;

/// A session that is not used ends after this long; using it in its second half renews it.
pub(super) const SESSION: Duration = Duration::from_secs(12 * 3_600);
/// A request that took longer is given up. Event streams answer at once and then go on.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);
/// Signed-out sessions remembered until they would have ended anyway; the oldest is forgotten first.
const SIGNED_OUT: usize = 4_096;
const COOKIE: &str = "davy_session";
/// A page of another site cannot set it without asking first, and is never allowed to.
const OWN_HEADER: &str = "x-davy";

pub(super) struct Gate {
    /// One for each token.
    locks: Vec<(Person, Lock)>,
    secure: bool,
}

struct Lock {
    /// Hash of the token: comparing hashes takes the same time for tokens of every length.
    token: [u8; 32],
    seal: Hmac<Sha256>,
    signed_out: Mutex<BTreeMap<String, i64>>,
}

/// Let in. `renewed`: a fresh cookie to be sent along.
struct Pass {
    person: Person,
    renewed: Option<HeaderValue>,
}

impl Gate {
    pub(super) fn new(config: &Config) -> Self {
        let shared = config.token.iter().map(|token| (Person(None), Lock::new(token)));
        let own = config.users.iter().map(|user| (Person(Some(Arc::new(user.clone()))), Lock::new(&user.token)));
        Self { locks: shared.chain(own).collect(), secure: config.behind_tls }
    }

    pub(super) const fn is_open(&self) -> bool {
        self.locks.is_empty()
    }

    /// Whose token it is. Every lock is tried, whichever fits: the time says nothing.
    fn owner(&self, token: &[u8]) -> Option<&(Person, Lock)> {
        self.locks.iter().fold(None, |found, lock| if lock.1.knows(token) { Some(lock) } else { found })
    }

    /// Whose session it is, and how long it still lasts.
    fn session(&self, headers: &HeaderMap, now: Timestamp) -> Option<(&(Person, Lock), Duration)> {
        let cookie = session_cookie(headers)?;
        self.locks.iter().find_map(|lock| Some((lock, lock.1.left(cookie, now)?)))
    }

    /// A cookie for whoever knows a token.
    pub(super) fn sign_in(&self, token: &str, now: Timestamp) -> Option<HeaderValue> {
        let (_, lock) = self.owner(token.trim().as_bytes())?;
        Some(self.cookie(&lock.session(now), SESSION.as_secs()))
    }

    /// Ends the session of these headers and clears the cookie.
    pub(super) fn sign_out(&self, headers: &HeaderMap, now: Timestamp) -> HeaderValue {
        if let (Some(((_, lock), _)), Some(cookie)) = (self.session(headers, now), session_cookie(headers)) {
            lock.end(cookie, now);
        }
        self.cookie("", 0)
    }

    fn cookie(&self, session: &str, seconds: u64) -> HeaderValue {
        let secure = if self.secure { "; Secure" } else { "" };
        let text = format!("{COOKIE}={session}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}");
        HeaderValue::from_str(&text).expect("hex, digits and dots are valid in a header")
    }

    fn admit(&self, request: &Request, now: Timestamp) -> Result<Pass, Error> {
        let (headers, path) = (request.headers(), request.uri().path());
        let changes = !matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
        // A link is its own credential, and is reached under the name that the world knows.
        let by_link = path.starts_with(crate::notify::LINKS);
        if self.is_open() && !by_link && !addressed_to_this_machine(request) {
            return Err(Error::unknown_host());
        }
        let origin = Origin::of(request);
        if changes && origin == Origin::Foreign {
            return Err(Error::cross_site("the request comes from a page of another site"));
        }
        let nobody = Pass { person: Person(None), renewed: None };
        // Senders and neighbours have tokens of their own, which these paths ask for.
        let own = ingest::is_for_senders(request.method(), path) || feeds::is_for_neighbours(request.method(), path);
        if self.is_open() || own || by_link {
            return Ok(nobody);
        }
        if matches!(path, "/livez" | "/readyz" | "/login" | "/page.css" | "/page.js" | "/page.svg") {
            return Ok(nobody);
        }
        if let Some(authorization) = headers.get(header::AUTHORIZATION) {
            let owner = bearer(authorization).and_then(|token| self.owner(token));
            let (person, _) = owner.ok_or_else(Error::unauthorized)?;
            person.may_change(changes)?;
            return Ok(Pass { person: person.clone(), renewed: None });
        }
        let ((person, lock), left) = self.session(headers, now).ok_or_else(Error::unauthorized)?;
        if changes && origin != Origin::Own && !headers.contains_key(OWN_HEADER) {
            return Err(Error::cross_site(format!(
                "a request with a cookie needs the header {OWN_HEADER} or an Origin"
            )));
        }
        person.may_change(changes && path != "/logout")?;
        let renew = left < SESSION / 2 && path != "/logout";
        let renewed = renew.then(|| self.cookie(&lock.session(now), SESSION.as_secs()));
        Ok(Pass { person: person.clone(), renewed })
    }
}

impl Lock {
    fn new(token: &Token) -> Self {
        let mut derive = Hmac::<Sha256>::new_from_slice(token.bytes()).expect("hmac takes keys of every length");
        derive.update(b"davy session seal 1");
        let key = derive.finalize().into_bytes();
        Self {
            token: Sha256::digest(token.bytes()).into(),
            seal: Hmac::new_from_slice(&key).expect("hmac takes keys of every length"),
            signed_out: Mutex::default(),
        }
    }

    fn knows(&self, token: &[u8]) -> bool {
        let asked: [u8; 32] = Sha256::digest(token).into();
        asked.ct_eq(&self.token).into()
    }

    fn sealed(&self, body: &str) -> [u8; 32] {
        let mut seal = self.seal.clone();
        seal.update(body.as_bytes());
        seal.finalize().into_bytes().into()
    }

    fn session(&self, now: Timestamp) -> String {
        let body = format!("{}.{}", hex(&random()), (now + SESSION).micros() / 1_000_000);
        let seal = hex(&self.sealed(&body));
        format!("{body}.{seal}")
    }

    /// How long the session of this cookie still lasts; `None` when it is not one of ours or has ended.
    fn left(&self, cookie: &str, now: Timestamp) -> Option<Duration> {
        let (body, seal) = cookie.rsplit_once('.')?;
        let genuine: bool = hex(&self.sealed(body)).as_bytes().ct_eq(seal.as_bytes()).into();
        let (nonce, expiry) = body.split_once('.').filter(|_| genuine)?;
        let ends = Timestamp::from_secs(expiry.parse().ok()?);
        let signed_out = self.signed_out.lock().unwrap_or_else(PoisonError::into_inner);
        (ends > now && !signed_out.contains_key(nonce)).then(|| ends.since(now))
    }

    fn end(&self, cookie: &str, now: Timestamp) {
        let Some(left) = self.left(cookie, now) else { return };
        let Some((nonce, _)) = cookie.split_once('.') else { return };
        let mut signed_out = self.signed_out.lock().unwrap_or_else(PoisonError::into_inner);
        signed_out.retain(|_, ends| *ends > now.micros());
        if signed_out.len() >= SIGNED_OUT
            && let Some(oldest) = signed_out.iter().min_by_key(|(_, ends)| **ends).map(|(nonce, _)| nonce.clone())
        {
            signed_out.remove(&oldest);
        }
        signed_out.insert(nonce.to_owned(), (now + left).micros());
    }
}

/// Where a request says that it was made.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// A page of this gateway.
    Own,
    Foreign,
    /// Not a browser, or an old one.
    Unsaid,
}

impl Origin {
    fn of(request: &Request) -> Self {
        let headers = request.headers();
        if let Some(site) = headers.get("sec-fetch-site")
            && site != "same-origin"
            && site != "none"
        {
            return Self::Foreign;
        }
        let Some(origin) = headers.get(header::ORIGIN) else { return Self::Unsaid };
        let said = origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, host)| host);
        match (said, host(request)) {
            (Some(said), Some(host)) if said.eq_ignore_ascii_case(host) => Self::Own,
            _ => Self::Foreign,
        }
    }
}

/// `host:port` that the client meant; `None` when it is missing, doubled or unreadable.
fn host(request: &Request) -> Option<&str> {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let host = hosts.next()?.to_str().ok()?;
    let same = request.uri().authority().is_none_or(|authority| authority.as_str().eq_ignore_ascii_case(host));
    (hosts.next().is_none() && same).then_some(host)
}

/// A name that a foreign site can point at 127.0.0.1 is not this machine's (DNS rebinding).
fn addressed_to_this_machine(request: &Request) -> bool {
    let Some(host) = host(request) else { return false };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    name.eq_ignore_ascii_case("localhost")
        || name == "[::1]"
        || name.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
}

pub(super) fn bearer(authorization: &HeaderValue) -> Option<&[u8]> {
    let (scheme, token) = authorization.as_bytes().split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

fn session_cookie(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    cookies.flat_map(|line| line.split(';')).find_map(|pair| pair.trim().strip_prefix(COOKIE)?.strip_prefix('='))
}

/// 256 bits that nobody can guess, as a token for a person.
#[must_use]
pub fn fresh_token() -> String {
    format!("{}{}", hex(&random()), hex(&random()))
}

fn random() -> [u8; 16] {
    let mut bytes = [0; 16];
    let source = rustls::crypto::ring::default_provider().secure_random;
    source.fill(&mut bytes).expect("the operating system gives random bytes");
    bytes
}

pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes every write");
        text
    })
}

/// Around every route.
pub(super) async fn guard(State(edge): State<Shared>, mut request: Request, next: Next) -> Response {
    let whole_page = request.method() == Method::GET && request.uri().path() == "/";
    let lang = words::Lang::asked(request.uri().query());
    let mut response = match edge.gate.admit(&request, clock::now()) {
        Ok(pass) => {
            request.extensions_mut().insert(pass.person);
            let answer = tokio::time::timeout(ANSWER_WITHIN, next.run(request)).await;
            let mut response = answer.unwrap_or_else(|_| Error::too_slow().into_response());
            if let Some(cookie) = pass.renewed {
                response.headers_mut().append(header::SET_COOKIE, cookie);
            }
            response
        }
        Err(_) if whole_page && !edge.gate.is_open() => {
            Redirect::to(&lang.map_or("/login".to_owned(), |lang| format!("/login?lang={}", lang.word())))
                .into_response()
        }
        Err(refused) => {
            edge.account.one(Fate::Refused);
            refused.into_response()
        }
    };
    for (name, value) in PROMISES {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response.headers_mut().entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

const PROMISES: [(HeaderName, &str); 5] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
         form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    // Not `no-referrer`: with it browsers send `Origin: null` with the login form.
    (header::REFERRER_POLICY, "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

    fn lock(token: &str) -> Lock {
        Lock::new(&Token::new(token).unwrap())
    }

    #[test]
    fn a_session_survives_a_restart_and_ends_with_its_time_its_token_or_a_sign_out() {
        let cookie = lock("correct-horse-battery").session(NOW);
        assert!(!cookie.contains("horse"));
        let restarted = lock("correct-horse-battery");
        assert_eq!(restarted.left(&cookie, NOW), Some(SESSION));
        assert_eq!(restarted.left(&cookie, NOW + SESSION), None);
        assert_eq!(lock("another-horse-battery").left(&cookie, NOW), None);
        restarted.end(&cookie, NOW);
        assert_eq!(restarted.left(&cookie, NOW), None);
    }

    #[test]
    fn a_cookie_that_was_touched_anywhere_is_worthless() {
        let lock = lock("correct-horse-battery");
        let cookie = lock.session(NOW);
        for at in 0..cookie.len() {
            let mut bytes = cookie.clone().into_bytes();
            bytes[at] = if bytes[at] == b'0' { b'1' } else { b'0' };
            assert_eq!(lock.left(&String::from_utf8(bytes).unwrap(), NOW), None, "byte {at}");
        }
        for nonsense in ["", ".", "..", "a.b.c", "é.1.2"] {
            assert_eq!(lock.left(nonsense, NOW), None);
        }
    }

    #[test]
    fn names_that_can_be_rebound_are_not_this_machine() {
        let asked = |host: &str| {
            let request = Request::builder().header(header::HOST, host).body(axum::body::Body::empty()).unwrap();
            addressed_to_this_machine(&request)
        };
        for own in ["localhost", "LOCALHOST:8080", "127.0.0.1:1", "127.3.2.1", "[::1]:8080", "[::1]"] {
            assert!(asked(own), "{own}");
        }
        for foreign in
            ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:80", "10.0.0.1", "", ":80", "0.0.0.0"]
        {
            assert!(!asked(foreign), "{foreign}");
        }
    }
}
