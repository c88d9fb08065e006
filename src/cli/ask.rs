//! One request to the gateway that is running: what commands ask is the same as through the API.
//!
//! The configuration says where it listens and with which token; `--url` and `--token-file` say it for a gateway
//! elsewhere, or for a person with a token of their own.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use reqwest::Method;
use serde_json::Value;

use super::{Refusal, runtime};
use crate::config;
use crate::remote;
use crate::web::Token;

const ANSWER_WITHIN: Duration = Duration::from_secs(20);

#[derive(Debug, Args)]
pub struct Gateway {
    /// The configuration of the gateway that runs.
    #[arg(long, env = "DAVY_CONFIG", default_value = "config/davy.toml")]
    config: PathBuf,
    /// Where it answers, such as http://10.0.4.2:8080; the configuration is not read then.
    #[arg(long)]
    url: Option<String>,
    /// A file whose first line is your token.
    #[arg(long)]
    token_file: Option<PathBuf>,
}

impl Gateway {
    /// Was it said where the gateway answers?
    pub const fn elsewhere(&self) -> bool {
        self.url.is_some()
    }

    pub fn config(&self) -> &std::path::Path {
        &self.config
    }

    /// Address and token.
    fn place(&self) -> Result<(String, Option<Token>), Refusal> {
        let (base, token) = match &self.url {
            Some(url) => (url.trim_end_matches('/').to_owned(), None),
            None => {
                let config = config::load(&self.config).map_err(|problems| {
                    let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
                    Refusal(told.join("\n"))
                })?;
                (format!("http://{}", config.web.address), config.web.token)
            }
        };
        let Some(path) = &self.token_file else { return Ok((base, token)) };
        let text = std::fs::read_to_string(path).map_err(|error| Refusal(format!("{}: {error}", path.display())))?;
        let own = Token::new(text.lines().next().unwrap_or_default());
        let own = own.ok_or_else(|| Refusal(format!("{}: its first line is not a token", path.display())))?;
        Ok((base, Some(own)))
    }
}

/// A body makes it a POST.
pub fn ask(at: &Gateway, path: &str, body: Option<Value>) -> Result<Value, Refusal> {
    let (base, token) = at.place()?;
    ask_at(&base, token.as_ref(), path, body)
}

/// The same with a method of its own.
pub fn ask_by(at: &Gateway, method: Method, path: &str, body: Option<Value>) -> Result<Value, Refusal> {
    let (base, token) = at.place()?;
    send(&base, token.as_ref(), method, path, body)
}

/// The same of the gateway at that address.
pub fn ask_at(base: &str, token: Option<&Token>, path: &str, body: Option<Value>) -> Result<Value, Refusal> {
    let method = if body.is_some() { Method::POST } else { Method::GET };
    send(base, token, method, path, body)
}

/// An answer that is no JSON.
pub fn ask_text(at: &Gateway, path: &str) -> Result<String, Refusal> {
    let (base, token) = at.place()?;
    let answer = fetch(&base, token.as_ref(), Method::GET, path, |request| request)?;
    String::from_utf8(answer).map_err(|_| Refusal(format!("{path}: the answer is no text")))
}

/// A file as it is; the answer is JSON.
pub fn send_file(at: &Gateway, path: &str, query: &[(&str, &str)], bytes: Vec<u8>) -> Result<Value, Refusal> {
    let (base, token) = at.place()?;
    let query = reqwest::Url::parse_with_params("http://davy/", query)
        .map_err(|error| Refusal(format!("the name cannot be sent: {error}")))?;
    let path = format!("{path}?{}", query.query().unwrap_or_default());
    let answer = fetch(&base, token.as_ref(), Method::POST, &path, |request| {
        request.header("content-type", "application/octet-stream").body(bytes)
    })?;
    Ok(serde_json::from_slice(&answer).unwrap_or(Value::Null))
}

fn send(base: &str, token: Option<&Token>, method: Method, path: &str, body: Option<Value>) -> Result<Value, Refusal> {
    let answer = fetch(base, token, method, path, |request| match &body {
        Some(body) => request.json(body),
        None => request,
    })?;
    Ok(serde_json::from_slice(&answer).unwrap_or(Value::Null))
}

fn fetch(
    base: &str,
    token: Option<&Token>,
    method: Method,
    path: &str,
    with: impl FnOnce(reqwest::RequestBuilder) -> reqwest::RequestBuilder,
) -> Result<Vec<u8>, Refusal> {
    let base = base.trim_end_matches('/');
    let url: reqwest::Url = base.parse().map_err(|error| Refusal(format!("{base}: {error}")))?;
    let client = remote::client(&url, None, ANSWER_WITHIN).map_err(|error| Refusal::of(&error))?;
    let target = format!("{base}{path}");
    let request = with(client.request(method, target));
    let request = match token {
        Some(token) => request.bearer_auth(token.reveal()),
        None => request,
    };
    runtime()?.block_on(async {
        let unreachable = |error: reqwest::Error| {
            Refusal(format!("no gateway answers at {base}: {}; is it running?", error.without_url()))
        };
        let answer = request.send().await.map_err(unreachable)?;
        let status = answer.status();
        let told = answer.bytes().await.unwrap_or_default();
        if status.is_success() {
            return Ok(told.to_vec());
        }
        let told: Value = serde_json::from_slice(&told).unwrap_or(Value::Null);
        let error = &told["error"];
        let message = error["message"].as_str().map_or_else(|| format!("answered {status}"), ToOwned::to_owned);
        let hint = if status.as_u16() == 401 { "; give your token with --token-file" } else { "" };
        let diff = error["diff"].as_str().map_or_else(String::new, |diff| format!("\n{diff}"));
        Err(Refusal(format!("{message}{hint}{diff}")))
    })
}

/// The text in an answer; empty when there is none.
pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
