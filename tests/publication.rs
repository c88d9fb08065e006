//! A neighbouring county reads what this one publishes: its own feed, with its own token, over a power cut, until
//! the token is taken back.

#![allow(clippy::unwrap_used, reason = "a story that cannot go on fails where it stands")]

mod stage;

use reqwest::header::{ETAG, IF_NONE_MATCH, LAST_MODIFIED};
use roxmltree::Document;

use stage::device::{Device, Message};
use stage::pager::{Heard, Pager};
use stage::{Davy, Site, methane_rule, now_ms, until, wait_for};

const TOKEN: &str = "a-token-of-county-b-alone";

fn config() -> String {
    "[web]\naddress = \"127.0.0.1:0\"\n\
     [source.mqtt_listener.front]\naddress = \"127.0.0.1:0\"\nanonymous = true\n\
     [publish]\narea = \"140525\"\nsector = \"013\"\nsender = \"zezhou\"\nsites = [\"pit\", \"river\"]\n\
     levels = [\"orange\"]\nrestriction = \"neighbours\"\n\
     [publish.feed.county-b]\ntoken_file = \"county-b\"\nsites = [\"pit\"]\n\
     [publish.feed.county-c]\ntoken_file = \"county-c\"\nsites = [\"river\"]\n\
     [point.\"pit.t1\"]\nname = \"3201 T1\"\nkind = \"methane\"\nplace = \"T1\"\ncoordinates = [112.93, 35.62]\n"
        .into()
}

async fn asks(davy: &Davy, path: &str, token: &str, tag: Option<&str>) -> reqwest::Response {
    let request = davy.client().get(davy.url(path)).bearer_auth(token);
    let request = match tag {
        Some(tag) => request.header(IF_NONE_MATCH, tag),
        None => request,
    };
    request.send().await.unwrap()
}

/// Kind and address of each message, newest first.
async fn feed(davy: &Davy) -> Vec<(String, String)> {
    let answer = asks(davy, "/feeds/county-b.atom", TOKEN, None).await;
    assert_eq!(answer.status(), 200);
    let text = answer.text().await.unwrap();
    let document = Document::parse(&text).unwrap();
    let entries = document.descendants().filter(|node| node.tag_name().name() == "entry");
    let of = |entry: roxmltree::Node<'_, '_>, name: &str, attribute: &str| {
        let found = entry.children().find(|node| node.tag_name().name() == name).unwrap();
        found.attribute(attribute).unwrap().to_owned()
    };
    entries.map(|entry| (of(entry, "category", "term"), of(entry, "link", "href"))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_neighbour_reads_what_was_chosen_over_a_power_cut_until_its_token_is_taken_back() {
    let site = Site::new(&config(), &[("coal.rhai", &methane_rule(1.0, ""))]);
    site.write("county-b", TOKEN);
    site.write("county-c", "a-token-of-county-c-alone");
    let davy = site.start().await;
    assert_eq!(feed(&davy).await, []);
    let mut device = Device::new("t1");
    device.send(davy.mqtt(), [Message::value("pit/t1", 1.3, now_ms())]).await;
    let (_, address) = wait_for("the warning is in the feed", async || feed(&davy).await.pop()).await;

    let answer = asks(&davy, "/feeds/county-b.atom", TOKEN, None).await;
    assert_eq!(answer.headers()["content-type"], "application/atom+xml; charset=utf-8");
    assert!(answer.headers()[LAST_MODIFIED].to_str().unwrap().ends_with(" GMT"));
    let tag = answer.headers()[ETAG].to_str().unwrap().to_owned();
    assert_eq!(asks(&davy, "/feeds/county-b.atom", TOKEN, Some(&tag)).await.status(), 304);
    let answer = asks(&davy, &address, TOKEN, None).await;
    assert_eq!(answer.headers()["content-type"], "application/cap+xml; charset=utf-8");
    let alert = answer.text().await.unwrap();
    assert!(alert.contains("<circle>35.62,112.93 0</circle>") && alert.contains("<msgType>Alert</msgType>"), "{alert}");

    // Each token opens its own feed, and what is not in a feed is not there for its reader.
    for (path, token, status) in [
        ("/feeds/county-b.atom", "a-token-of-county-c-alone", 401),
        ("/feeds/county-b.atom", "", 401),
        ("/feeds/nobody.atom", TOKEN, 404),
        ("/feeds/county-c.atom", "a-token-of-county-c-alone", 200),
        ("/feeds/county-b", TOKEN, 404),
        (&address.replace("county-b", "county-c"), "a-token-of-county-c-alone", 404),
        (&address, "a-token-of-county-c-alone", 401),
    ] {
        assert_eq!(asks(&davy, path, token, None).await.status(), status, "{path}");
    }
    assert!(davy.metric("davy_feed_reads_total", &[("feed", "county-b"), ("outcome", "read")]).await >= 3.0);
    assert_eq!(davy.metric("davy_feed_reads_total", &[("feed", "county-b"), ("outcome", "unchanged")]).await, 1.0);
    assert_eq!(davy.metric("davy_feed_reads_total", &[("feed", "county-b"), ("outcome", "refused")]).await, 3.0);
    davy.kill();

    let davy = site.start().await;
    assert_eq!(feed(&davy).await, [("Alert".to_owned(), address.clone())]);
    assert_eq!(asks(&davy, &address, TOKEN, None).await.text().await.unwrap(), alert);
    device.send(davy.mqtt(), [Message::value("pit/t1", 0.2, now_ms())]).await;
    until("it is cancelled", async || feed(&davy).await.first().is_some_and(|(kind, _)| kind == "Cancel")).await;
    let cancel = asks(&davy, &feed(&davy).await[0].1, TOKEN, None).await.text().await.unwrap();
    let identifier = alert.split_once("<identifier>").unwrap().1.split_once('<').unwrap().0;
    assert!(cancel.contains(&format!("<references>zezhou,{identifier},")), "{cancel}");
    assert_eq!(site.fact("SELECT count(*) FROM publications"), 2);

    let figures = site.command(&["figures", "--url", &davy.url("")]);
    let told = String::from_utf8(figures.stdout).unwrap();
    assert!(told.lines().any(|line| line.starts_with("pit ") && line.contains(" 1 ")), "{told}");

    // The token is taken back: shut at once, without a restart.
    site.write("county-b", "\n");
    assert_eq!(asks(&davy, "/feeds/county-b.atom", TOKEN, None).await.status(), 401);
}

/// Identifier and kind of what a neighbour's server was sent.
fn warning(heard: &Heard) -> (String, String) {
    let text = std::str::from_utf8(&heard.body).unwrap();
    let document = Document::parse(text).unwrap();
    let of = |name: &str| {
        let found = document.root_element().children().find(|node| node.tag_name().name() == name).unwrap();
        found.text().unwrap().to_owned()
    };
    (of("identifier"), of("msgType"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_neighbours_server_gets_each_warning_signed_and_in_order_over_a_kill_until_its_secret_is_taken_back() {
    let (city, secret) = (Pager::start().await, "the-secret-of-the-city");
    let push = format!(
        "[publish.neighbour.city]\npush = \"http://{}/hook\"\nsecret_file = \"city\"\nsites = [\"pit\"]\n\
         timeout = \"1s\"\n[point.\"river.t1\"]\nkind = \"methane\"\nplace = \"T1\"\n",
        city.address
    );
    let site = Site::new(&format!("{}{push}", config()), &[("coal.rhai", &methane_rule(1.0, ""))]);
    for (file, text) in [("city", secret), ("county-b", TOKEN), ("county-c", "a-token-of-county-c-alone")] {
        site.write(file, text);
    }
    let davy = site.start().await;
    let mut device = Device::new("t1");
    // Refused at first; another site's warning is nothing to the city.
    city.refuse(2);
    let sent = [Message::value("river/t1", 1.4, now_ms()), Message::value("pit/t1", 1.3, now_ms())];
    device.send(davy.mqtt(), sent).await;
    until("the city has the Alert", async || city.heard().len() == 1).await;

    // The Update is taken in, and the gateway killed before it is answered; the Cancel waits behind it.
    city.fall_silent(1);
    let alarm = wait_for("the alarm", async || {
        davy.open_alarms().await.into_iter().find(|alarm| alarm["point"] == "pit.t1" && alarm["rule"] == "methane-face")
    })
    .await;
    let path = format!("/api/v1/alarms/{}/ack", alarm["id"].as_str().unwrap());
    let seen = serde_json::json!({ "raises": alarm["raises"], "by": "Li" });
    assert_eq!(davy.post(&path, &seen).await.unwrap().0, 200);
    until("the city has heard the Update", async || city.heard().len() == 2).await;
    device.send(davy.mqtt(), [Message::value("pit/t1", 0.2, now_ms())]).await;
    let cancels = "SELECT count(*) FROM publications WHERE kind = 'Cancel'";
    until("the Cancel is written down", async || site.fact(cancels) == 1).await;
    davy.kill();

    let davy = site.start().await;
    until("the city has the Cancel", async || city.heard().iter().any(|one| warning(one).1 == "Cancel")).await;
    let heard = city.heard();
    let mut told: Vec<_> = heard.iter().map(warning).collect();
    assert_eq!(told[1], told[2], "what was not answered is sent again");
    told.dedup();
    assert_eq!(told.iter().map(|(_, kind)| kind.as_str()).collect::<Vec<_>>(), ["Alert", "Update", "Cancel"]);
    for (one, (identifier, _)) in heard.iter().zip(heard.iter().map(warning)) {
        assert!(one.signed_with(secret) && !one.signed_with("another"));
        assert_eq!(one.key, identifier);
        let xml = "SELECT xml FROM publications WHERE identifier = ?1";
        let published: String = site.facts().query_row(xml, [identifier], |row| row.get(0)).unwrap();
        assert_eq!(published.as_bytes(), one.body);
    }
    let attempts = |outcome: &str| {
        site.fact(&format!(
            "SELECT count(*) FROM attempts JOIN outbox ON outbox.id = attempts.message
             WHERE outbox.channel = 'neighbour' AND outbox.recipient = 'city' AND attempts.outcome = '{outcome}'"
        ))
    };
    until("each delivery is on record", async || attempts("delivered") == 3).await;
    assert_eq!(attempts("failed"), 2);

    // The secret is taken back: nothing more goes out, on record and without an alarm.
    site.write("city", "\n");
    device.send(davy.mqtt(), [Message::value("pit/t1", 1.6, now_ms())]).await;
    until("it is given up", async || attempts("given_up") == 1).await;
    assert_eq!(city.heard().len(), heard.len());
    for rule in ["davy-notify-refused", "davy-notify-failing"] {
        assert_eq!(davy.holding(rule).await, None);
    }
    assert!(site.command(&["check"]).status.success(), "a gateway starts whose neighbour was sent away");
}
