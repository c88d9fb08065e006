//! One request to the server, and what its answer means for the lines in it.
//!
//! Writes to a plain `http://host:port` go through `influxdb2`. It hides the headers of an answer, among
//! them `Retry-After`, has no TLS in this build and loses a path in the address. So `reqwest` sends what
//! `influxdb2` cannot: everything for `https://` and for an address with a path, and, once a server has
//! said that it is busy, all tries until it takes lines again, so that it is heard how long to wait. The
//! price: the first wait after a good time is ours, not the server's. Sending lines twice is harmless,
//! because the same series and time overwrite each other.
//!
//! Every request has a timeout, no redirect is followed, and bodies over 4 KiB are packed.

use std::io::Write;
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use influxdb2::RequestError;
use influxdb2::api::write::TimestampPrecision;

use super::Config;
use crate::clock;
use crate::remote::{self, Secret};

/// What an answer means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    Stored,
    /// At least one of the lines was refused; the others may or may not have been stored.
    Rejected(String),
    TooLarge,
    /// The server is away or busy; the same lines may work later.
    Later {
        retry_after: Option<Duration>,
        text: String,
    },
    /// No line will work until somebody mends the token, the bucket or the address.
    Denied(String),
}

impl Reply {
    fn of(status: u16, retry_after: Option<Duration>, text: &str) -> Self {
        let text = format!("{status} {}", remote::one_line(text, SHOWN)).trim_end().to_owned();
        match status {
            200..300 => Self::Stored,
            400 | 422 => Self::Rejected(text),
            413 => Self::TooLarge,
            408 | 425 | 429 | 500..600 => Self::Later { retry_after, text },
            _ => Self::Denied(text),
        }
    }

    fn away(text: String) -> Self {
        Self::Later { retry_after: None, text }
    }
}

/// Bytes of an answer that are kept for the log.
const SHOWN: usize = 300;
/// Smaller bodies are not worth packing.
const PACKED_FROM: usize = 4 * 1024;

pub struct Transport {
    named: Option<Named>,
    open: reqwest::Client,
    address: remote::Url,
    org: String,
    bucket: String,
    authorization: Option<String>,
    /// The server was busy when it was last asked.
    busy: bool,
}

/// Two clients, because influxdb2 takes the encoding only as a header of all its requests.
struct Named {
    plain: influxdb2::Client,
    packed: influxdb2::Client,
}

impl Transport {
    /// Reads the token.
    pub fn new(config: &Config) -> Result<Self, remote::Error> {
        let token = config.token.as_ref().map(remote::SecretPlace::read).transpose()?;
        let mut address = config.url.clone();
        address.set_path(&format!("{}/api/v2/write", config.url.path().trim_end_matches('/')));
        address
            .query_pairs_mut()
            .append_pair("org", &config.org)
            .append_pair("bucket", &config.bucket)
            .append_pair("precision", "us");
        Ok(Self {
            named: Named::new(config, token.as_ref()),
            open: remote::client(&config.url, config.authority.as_deref(), config.timeout)?,
            address,
            org: config.org.clone(),
            bucket: config.bucket.clone(),
            authorization: token.map(|token| format!("Token {}", token.expose())),
            busy: false,
        })
    }

    pub async fn write(&mut self, lines: &[u8]) -> Reply {
        let packed = (lines.len() > PACKED_FROM).then(|| pack(lines));
        let is_packed = packed.is_some();
        let body = packed.unwrap_or_else(|| Bytes::copy_from_slice(lines));
        let reply = match &self.named {
            Some(named) if !self.busy => {
                let client = if is_packed { &named.packed } else { &named.plain };
                let precision = TimestampPrecision::Microseconds;
                meaning(client.write_line_protocol_with_precision(&self.org, &self.bucket, body, precision).await)
            }
            Some(_) | None => self.write_open(body, is_packed).await,
        };
        self.busy = matches!(reply, Reply::Later { .. });
        reply
    }

    async fn write_open(&self, body: Bytes, packed: bool) -> Reply {
        let mut request = self.open.post(self.address.clone()).body(body);
        if packed {
            request = request.header("content-encoding", "gzip");
        }
        if let Some(authorization) = &self.authorization {
            request = request.header("authorization", authorization);
        }
        match request.send().await {
            Ok(answer) => {
                let status = answer.status().as_u16();
                let retry_after = remote::retry_after(answer.headers(), clock::now());
                Reply::of(status, retry_after, &remote::beginning(answer, SHOWN).await)
            }
            Err(error) => Reply::away(remote::chain(&error.without_url())),
        }
    }
}

impl Named {
    /// None where influxdb2 cannot go.
    fn new(config: &Config, token: Option<&Secret>) -> Option<Self> {
        use reqwest_of_influxdb2::header::{CONTENT_ENCODING, HeaderMap, HeaderValue};
        if config.url.scheme() != "http" || config.url.path() != "/" {
            return None;
        }
        let token = token.map_or("", Secret::expose);
        let build = |headers: HeaderMap| {
            let builder = reqwest_of_influxdb2::ClientBuilder::new()
                .timeout(config.timeout)
                .redirect(reqwest_of_influxdb2::redirect::Policy::none())
                .tcp_nodelay(true)
                .default_headers(headers);
            influxdb2::ClientBuilder::with_builder(builder, config.url.as_str(), config.org.as_str(), token)
                .build()
                .ok()
        };
        let packed = HeaderMap::from_iter([(CONTENT_ENCODING, HeaderValue::from_static("gzip"))]);
        Some(Self { plain: build(HeaderMap::new())?, packed: build(packed)? })
    }
}

fn meaning(result: Result<(), RequestError>) -> Reply {
    match result {
        Ok(()) => Reply::Stored,
        Err(RequestError::Http { status, text }) => Reply::of(status.as_u16(), None, &text),
        Err(RequestError::ReqwestProcessing { source }) => Reply::away(remote::chain(&source.without_url())),
        Err(error @ (RequestError::Serializing { .. } | RequestError::Deserializing { .. })) => {
            Reply::away(remote::chain(&error))
        }
    }
}

fn pack(lines: &[u8]) -> Bytes {
    const CANNOT_FAIL: &str = "packing into memory cannot fail";
    let mut packer = GzEncoder::new(Vec::with_capacity(lines.len() / 4), Compression::fast());
    packer.write_all(lines).expect(CANNOT_FAIL);
    packer.finish().expect(CANNOT_FAIL).into()
}
