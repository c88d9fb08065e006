//! Robots as their makers' documents say, played by a server that checks every signature.

use super::super::tests::{Played, Running, checked, nobody, to_channel};
use super::*;
use crate::alarm::Priority;
use crate::journal::Outcome;
use crate::remote::scripted::{Asked, Say, Server};

const KEY: &str = "k3y-of-the-robot";
const SECRET: &str = "SEC-of+the/robot";

struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("key"), KEY).unwrap();
        std::fs::write(folder.path().join("secret"), SECRET).unwrap();
        Self(folder)
    }

    fn config(&self, maker: Maker, url: &str, more: &str) -> super::super::Config {
        let (name, folder) = (maker.channel(), self.0.path().display());
        let secret = if maker == Maker::WeCom { String::new() } else { format!("secret_file = \"{folder}/secret\"") };
        checked(&format!(
            "log.enabled = false\nmqtt.enabled = false\n[{name}.duty]\nurl = \"{url}/robot\"\n\
             key_file = \"{folder}/key\"\n{secret}\n{more}"
        ))
        .unwrap()
    }
}

/// base64(HMAC-SHA-256) by openssl's rules, written out once more with nothing of ours.
fn mac(key: &[u8], text: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(text);
    STANDARD.encode(mac.finalize().into_bytes())
}

/// The text that came, after all that the maker's document asks for was found right.
fn text_of(maker: Maker, asked: &Asked) -> String {
    let body: Value = serde_json::from_str(&asked.text()).unwrap();
    let query: std::collections::BTreeMap<String, String> =
        Url::parse(&format!("http://x/?{}", asked.query)).unwrap().query_pairs().into_owned().collect();
    let now = clock::now().micros() / 1_000;
    match maker {
        Maker::WeCom => {
            assert_eq!((asked.path.as_str(), query["key"].as_str()), ("/robot", KEY));
            assert_eq!(body["msgtype"], "text");
            body["text"]["content"].as_str().unwrap().to_owned()
        }
        Maker::DingTalk => {
            assert_eq!(query["access_token"], KEY);
            let millis: i64 = query["timestamp"].parse().unwrap();
            assert!((now - millis).abs() < 60_000);
            assert_eq!(query["sign"], mac(SECRET.as_bytes(), format!("{millis}\n{SECRET}").as_bytes()));
            assert!(!asked.query.contains("sign=") || !asked.query.contains('/'), "{}", asked.query);
            body["text"]["content"].as_str().unwrap().to_owned()
        }
        Maker::Feishu => {
            assert_eq!(asked.path, format!("/robot/{KEY}"));
            let seconds: i64 = body["timestamp"].as_str().unwrap().parse().unwrap();
            assert!((now / 1_000 - seconds).abs() < 60);
            assert_eq!(body["sign"].as_str().unwrap(), mac(format!("{seconds}\n{SECRET}").as_bytes(), b""));
            body["content"]["text"].as_str().unwrap().to_owned()
        }
    }
}

#[test]
fn the_signatures_are_those_of_other_programs() {
    // printf '1600000000000\nthis is secret' | openssl dgst -sha256 -hmac 'this is secret' -binary | base64
    assert_eq!(base64_hmac("this is secret", "1600000000000\nthis is secret"), DINGTALK_VECTOR);
    // printf "" | openssl dgst -sha256 -mac HMAC -macopt hexkey:$(printf "1600000000\ndemo" | xxd -p) -binary | base64
    assert_eq!(base64_hmac("1600000000\ndemo", ""), FEISHU_VECTOR);
}

const DINGTALK_VECTOR: &str = "MYEtKC4/NfMR1l4prX++ai6oOf70X1xOf6UlnyUhJH4=";
const FEISHU_VECTOR: &str = "HQV03+so/amIWQSXS50Llvl9vzTATYaRg+mJZ+EZzjY=";

#[tokio::test]
async fn each_maker_gets_its_form_and_its_signature() {
    let files = Files::new();
    for (maker, answer) in [
        (Maker::WeCom, r#"{"errcode":0,"errmsg":"ok"}"#),
        (Maker::DingTalk, r#"{"errcode":0,"errmsg":"ok"}"#),
        (Maker::Feishu, r#"{"StatusCode":0,"StatusMessage":"success","code":0,"msg":"success","data":{}}"#),
    ] {
        let server = Server::start(move |_, _| Say::status(200).body(answer)).await;
        let config = files.config(maker, &server.url, "");
        let office = Played::with(vec![to_channel(maker.channel(), "duty", 7, "face", Priority::P2)]);
        let running = Running::start(&config, &office, nobody());
        let receipts = office.receipts(|receipts| !receipts.is_empty()).await;
        assert_eq!(receipts[0].outcome, Outcome::Delivered, "{receipts:?}");
        assert!(receipts[0].detail.starts_with("200 code 0: "), "{}", receipts[0].detail);
        let text = text_of(maker, &server.asked()[0]);
        assert!(text.starts_with("停止作业，撤出人员，查明原因。采煤工作面瓦斯超限，"), "{text}");
        running.ends().await;
    }
}

/// HTTP 200 is no delivery; a rate limit waits; nothing secret is repeated, even if the robot repeats it.
#[tokio::test]
async fn the_code_inside_counts_and_nothing_is_given_up_for_it() {
    let files = Files::new();
    for (maker, answer) in [
        (Maker::WeCom, r#"{"errcode":45009,"errmsg":"api freq out of limit"}"#),
        (Maker::WeCom, r#"{"errcode":93000,"errmsg":"invalid webhook url k3y-of-the-robot"}"#),
        (Maker::DingTalk, r#"{"errcode":130101,"errmsg":"send too fast"}"#),
        (Maker::DingTalk, r#"{"errcode":310000,"errmsg":"sign not match SEC-of+the/robot"}"#),
        (Maker::Feishu, r#"{"code":11232,"msg":"frequency limited"}"#),
        (Maker::Feishu, r#"{"code":19021,"msg":"sign match fail"}"#),
        (Maker::Feishu, "<html>not a robot</html>"),
    ] {
        let server = Server::start(move |_, _| Say::status(200).body(answer)).await;
        let config = files.config(maker, &server.url, "");
        let office = Played::with(vec![to_channel(maker.channel(), "duty", 7, "face", Priority::P2)]);
        let running = Running::start(&config, &office, nobody());
        let receipts = office.receipts(|receipts| !receipts.is_empty()).await;
        running.ends().await;
        assert_eq!(receipts[0].outcome, Outcome::Failed, "{answer}");
        let told = format!("{receipts:?} {config:?}");
        assert!(!told.contains(KEY) && !told.contains(SECRET), "{told}");
    }
    for (maker, code, seconds) in
        [(Maker::WeCom, 45_009, 60), (Maker::DingTalk, 130_101, 600), (Maker::Feishu, 9_499, 60)]
    {
        assert_eq!(maker.closed_for(code), Some(Duration::from_secs(seconds)));
        assert_eq!(maker.closed_for(0), None);
    }
}

/// A storm of a hundred: fifteen requests, and every alarm is in one of them.
#[tokio::test]
async fn a_storm_is_fourteen_messages_and_summaries_with_a_receipt_for_each() {
    let files = Files::new();
    let server = Server::start(|_, _| Say::status(200).body(r#"{"errcode":0,"errmsg":"ok"}"#)).await;
    let config = files.config(Maker::DingTalk, &server.url, "most_per = \"all\"");
    let rows = (1..=60).map(|id| to_channel("dingtalk", "duty", id, &format!("p{id}"), Priority::P2)).collect();
    let office = Played::with(rows);
    let running = Running::start(&config, &office, nobody());
    let settled =
        |receipts: &[crate::journal::Receipt]| receipts.iter().map(|receipt| 1 + receipt.also.len()).sum::<usize>();
    let receipts = office.receipts(|receipts| settled(receipts) >= 60).await;
    assert!(receipts.iter().all(|receipt| receipt.outcome == Outcome::Delivered));
    running.ends().await;
    let texts: Vec<String> = server.asked().iter().map(|asked| text_of(Maker::DingTalk, asked)).collect();
    assert_eq!(texts.len(), 15);
    assert!(texts[14].starts_with("46 条消息合并\n"), "{}", texts[14]);
    for id in 1..=60 {
        assert_eq!(texts.iter().filter(|text| text.contains(&format!("(mine-3.p{id})"))).count(), 1, "p{id}");
    }
}

#[test]
fn a_robot_without_its_key_or_with_the_key_in_the_address_is_not_taken() {
    let told = checked("[wecom.a]\nurl = \"https://robot.example/send?key=k3y\"").unwrap_err().join("\n");
    assert!(told.contains("notify.wecom.a.key_file: is missing") && told.contains("notify.wecom.a.url"), "{told}");
    assert!(!told.contains("k3y"), "{told}");
    let files = Files::new();
    let key = files.0.path().join("key");
    let told = checked(&format!("[wecom.a]\nkey_file = {key:?}\nsecret_file = {key:?}")).unwrap_err().join("\n");
    assert!(told.contains("notify.wecom.a.secret_file"), "{told}");
}
