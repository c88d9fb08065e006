//! A provider played by a server: what it is asked, and what its answers mean.

use super::super::tests::{Played, Running, checked, nobody, to_channel};
use super::*;
use crate::alarm::Priority;
use crate::journal::Outcome;
use crate::remote::scripted::{Say, Server};

fn config(url: &str, secret: &std::path::Path, more: &str) -> super::super::Config {
    checked(&format!(
        "log.enabled = false\nmqtt.enabled = false\n[sms.captain]\nurl = \"{url}/send?app=7\"\n\
         number = \"13900000000\"\nsecret_file = {secret:?}\ncall = \"119\"\n{more}"
    ))
    .unwrap()
}

const JSON: &str = r#"headers = { Authorization = "Bearer {{ secret }}" }
json = { to = ["{{ number }}"], content = "{{ text }}", level = "{{ alarm.level }}", id = "{{ id }}", sign = 3 }
success_path = "data.0.code"
success_value = "0"
refused_values = ["17"]
"#;

#[tokio::test]
async fn a_provider_gets_its_own_form_and_no_word_breaks_out_of_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "t0ken").unwrap();
    let server = Server::start(|_, _| Say::status(200).body(r#"{"data":[{"code":0,"id":"m-9"}]}"#)).await;
    let mut row = to_channel("sms", "captain", 5, "face", Priority::P1);
    row.published.change.alarm.title = "\"}, {\"to\": [\"1\"]} & {{ secret }} a=b".into();
    for (more, form) in [
        (JSON, false),
        ("form = { mobile = \"{{ number }}\", content = \"{{ text }}\" }\nquery = { key = \"{{ secret }}\" }", true),
    ] {
        let office = Played::with(vec![row.clone()]);
        let running = Running::start(&config(&server.url, &secret, more), &office, nobody());
        let receipts = office.receipts(|receipts| !receipts.is_empty()).await;
        assert_eq!(receipts[0].outcome, Outcome::Delivered, "{receipts:?}");
        running.ends().await;
        let asked = server.asked().pop().unwrap();
        let content = if form {
            assert_eq!(asked.query, "app=7&key=t0ken");
            let body = Url::parse(&format!("http://x/?{}", asked.text())).unwrap();
            let pairs: BTreeMap<_, _> = body.query_pairs().into_owned().collect();
            assert_eq!((pairs.len(), pairs["mobile"].as_str()), (2, "13900000000"));
            pairs["content"].clone()
        } else {
            assert_eq!(asked.header("authorization"), Some("Bearer t0ken"));
            let body: Json = serde_json::from_str(&asked.text()).unwrap();
            assert_eq!(body["to"], serde_json::json!(["13900000000"]));
            assert_eq!((&body["level"], &body["id"], &body["sign"]), (&"orange".into(), &"davy-5".into(), &3.into()));
            body["content"].as_str().unwrap().to_owned()
        };
        assert!(content.contains("\"}, {\"to\": [\"1\"]} & {{ secret }} a=b"), "{content}");
        assert!(content.contains("119") && !content.contains("t0ken"), "{content}");
    }
}

#[tokio::test]
async fn the_value_in_the_answer_decides_and_the_secret_is_in_no_receipt() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "t0ken").unwrap();
    for (status, answer, outcome) in [
        (200, r#"{"data":[{"code":"0"}]}"#, Outcome::Delivered),
        (200, r#"{"data":[{"code":"busy t0ken"}]}"#, Outcome::Failed),
        (200, r#"{"data":[{"code":17}]}"#, Outcome::GivenUp),
        (200, r#"{"code":0}"#, Outcome::Failed),
        (200, "OK", Outcome::Failed),
        (403, r#"{"data":[{"code":0}]}"#, Outcome::Failed),
    ] {
        let server = Server::start(move |_, _| Say::status(status).body(answer)).await;
        let office = Played::with(vec![to_channel("sms", "captain", 5, "face", Priority::P1)]);
        let running = Running::start(&config(&server.url, &secret, JSON), &office, nobody());
        let receipts = office.receipts(|receipts| !receipts.is_empty()).await;
        running.ends().await;
        assert_eq!(receipts[0].outcome, outcome, "{answer}");
        assert!(!format!("{receipts:?}").contains("t0ken"), "{receipts:?}");
    }
}

#[test]
fn what_cannot_be_filled_is_told_with_its_key_before_the_start() {
    for (more, key) in [
        ("json = { a = { b = [\"{{ nummer }}\"] } }", "json.a.b.0"),
        ("form = { a = \"{{ alarm.nothing }}\" }", "form.a"),
        ("headers = { \"a b\" = \"x\" }", "headers.a b"),
        ("query = { a = \"{% if %}\" }", "query.a"),
        ("success_path = \"code\"", "success_value"),
        ("parts = 11", "parts"),
        ("number = \"12 34\"", "number"),
        ("method = \"FETCH\"", "method"),
    ] {
        let number = if more.starts_with("number") { "" } else { "number = \"110\"\n" };
        let told = checked(&format!("[sms.a]\nurl = \"https://sms.example\"\n{number}{more}")).unwrap_err().join("\n");
        assert!(told.contains(&format!("davy.toml: notify.sms.a.{key}: ")), "{key}: {told}");
    }
}
