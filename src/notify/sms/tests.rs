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

const VOICE: &str = r#"headers = { Authorization = "Bearer {{ secret }}" }
json = { to = "{{ number }}", say = "{{ text }}", keys = "1" }
success_path = "code"
success_value = "0"
[sms.captain.outcome]
id_path = "call.id"
url = "URL/calls/{{ call }}"
state_path = "state"
picked_up = ["answered"]
busy = ["busy"]
no_answer = ["no-answer", "rejected"]
key_path = "pressed"
key = "1"
every = "20ms"
within = "2s"
"#;

/// A call by the policy, as a row of the outbox has it.
fn called(row: i64) -> crate::facts::Outgoing {
    let mut row = to_channel("sms", "captain", row, "face", Priority::P1);
    let alarm = &row.published.change.alarm;
    let step = crate::response::Step::message(StepKind::Call, alarm, alarm.raised);
    row.why = Some(crate::response::Step { person: "li".into(), level: "operator".into(), call: 2, ..step });
    row
}

/// What the provider says of a call, the third time that it is asked, and what follows.
async fn call(ends: &'static str, row: crate::facts::Outgoing) -> (Played, Vec<crate::remote::scripted::Asked>) {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "t0ken").unwrap();
    let server = Server::start(move |number, asked| {
        Say::status(200).body(match asked.path.as_str() {
            "/send" => r#"{"code":"0","call":{"id":"c-7"}}"#,
            "/calls/c-7" if number < 4 => r#"{"state":"ringing"}"#,
            _ => ends,
        })
    })
    .await;
    let office = Played::with(vec![row]);
    let voice = VOICE.replace("URL", &server.url);
    let running = Running::start(&config(&server.url, &secret, &voice), &office, nobody());
    office.receipts(|receipts| !receipts.is_empty()).await;
    running.ends().await;
    let asked = server.asked();
    assert!(asked.iter().all(|one| one.header("authorization") == Some("Bearer t0ken")));
    (office, asked)
}

#[tokio::test]
async fn a_call_is_delivered_when_it_is_picked_up_and_answered_only_by_the_key() {
    for (ends, keys) in [
        (r#"{"state":"answered"}"#, 0),
        (r#"{"state":"answered","pressed":"9"}"#, 0),
        (r#"{"state":"answered","pressed":"1"}"#, 1),
    ] {
        let (office, asked) = call(ends, called(5)).await;
        let receipts = office.receipts(|receipts| !receipts.is_empty()).await;
        assert_eq!((receipts[0].outcome, receipts[0].rang.clone()), (Outcome::Delivered, None), "{receipts:?}");
        assert!(receipts[0].detail.contains("picked up"), "{}", receipts[0].detail);
        let body: Json = serde_json::from_str(&asked[0].text()).unwrap();
        assert!(body["to"] == "13900000000" && body["say"].as_str().unwrap().contains("停止作业"), "{body}");
        assert!(asked.len() >= 4, "it was asked until the call had ended");
        let pressed = office.acknowledged();
        assert_eq!(pressed.len(), keys, "{ends}");
        for note in pressed {
            assert_eq!((note.by.as_str(), note.raises, note.command), ("li", 1, 0));
            assert_eq!(note.occurrence, called(5).published.change.alarm.id);
        }
    }
}

#[tokio::test]
async fn busy_and_no_answer_are_told_to_whoever_calls_and_tried_again_where_nobody_does() {
    for (ends, told) in [(r#"{"state":"busy"}"#, "busy"), (r#"{"state":"rejected"}"#, "no answer")] {
        let (office, _) = call(ends, called(5)).await;
        let receipts = office.receipts(|receipts| !receipts.is_empty()).await;
        assert_eq!(receipts[0].outcome, Outcome::GivenUp, "the policy calls again, or somebody else");
        let rang = receipts[0].rang.clone().unwrap();
        assert_eq!((rang.level.as_str(), rang.person.as_str(), rang.call), ("operator", "li", 2));
        assert!(receipts[0].detail.contains(told), "{}", receipts[0].detail);
        let alarms = office.conditions().into_iter().filter(|(_, _, holds)| *holds).count();
        assert_eq!(alarms, 0, "a telephone that rings in vain is no broken channel");
        let (office, _) = call(ends, to_channel("sms", "captain", 5, "face", Priority::P1)).await;
        let receipts = office.receipts(|receipts| !receipts.is_empty()).await;
        assert_eq!((receipts[0].outcome, receipts[0].rang.clone()), (Outcome::Failed, None));
        assert!(office.acknowledged().is_empty());
    }
}

#[test]
fn what_is_wrong_with_an_outcome_is_told_with_its_key() {
    let sound = VOICE.replace("URL", "https://voice.example");
    let told = |text: &str| {
        let head = "[sms.captain]\nurl = \"https://voice.example\"\nnumber = \"110\"\n";
        checked(&format!("{head}{}", text.replace("{{ secret }}", "s"))).map_err(|told| told.join("\n"))
    };
    told(&sound).unwrap();
    for (from, to, key) in [
        ("/calls/{{ call }}", "/calls", "url: does not say which call"),
        ("https://voice.example/calls", "ftp://x", "url"),
        ("picked_up = [\"answered\"]", "picked_up = []", "picked_up"),
        ("key = \"1\"\n", "", "key: key_path and key belong together"),
        ("within = \"2s\"", "within = \"2h\"", "within"),
        ("state_path = \"state\"\n", "", ""),
    ] {
        assert!(sound.contains(from), "{from}");
        let told = told(&sound.replacen(from, to, 1)).unwrap_err();
        assert!(
            told.contains(&format!("notify.sms.captain.outcome{}{key}", if key.is_empty() { "" } else { "." })),
            "{told}"
        );
    }
    // No word of an answer breaks out of its place in the address.
    let config = told(&sound).unwrap();
    let super::super::Way::Sms(sms) = &config.named[0].way else { panic!("{config:?}") };
    let outcome = sms.outcome.as_ref().unwrap();
    let address = |id: &str| outcome.address(&format!("{{\"call\":{{\"id\":{id}}}}}")).map(|url| url.to_string());
    assert_eq!(address("\"c-7\""), Some("https://voice.example/calls/c-7".into()));
    assert_eq!(address("7"), Some("https://voice.example/calls/7".into()));
    for id in ["\"../admin\"", "\"a/b\"", "\"\"", "\"..\"", "\"a?b\"", "null, \"id2\": 1"] {
        assert!(address(id).is_none_or(|url| url.ends_with("/null")), "{id}");
    }
}
