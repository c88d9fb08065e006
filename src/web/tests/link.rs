//! Links from messages: what they show, what they do once, and what they never tell.

use std::time::Duration;

use super::stage::{Stage, alarm};
use crate::alarm::{Alarm, Happening, Priority};
use crate::clock::{self, Stopwatch};
use crate::facts::{Outgoing, Recipient};
use crate::journal::{Entry, Note};
use crate::notify::{LinkConfig, Links, Message};

/// The alarm is raised, and a mail of it is in the outbox; the path of its link.
fn mailed(stage: &Stage, row: i64, raised: &Alarm) -> String {
    let published = stage.backstage.write(Happening::Raised, raised.clone());
    let (channel, recipient) = ("mail".to_owned(), "captain".to_owned());
    let to = Recipient { channel, name: recipient, from_priority: Priority::P4, sites: vec![] };
    let outgoing = Outgoing {
        why: None,
        id: row,
        channel: to.channel.clone(),
        recipient: to.name.clone(),
        published,
        attempts: 0,
        created: clock::now(),
    };
    let base = "https://davy.county.example".parse().unwrap();
    let links = Links::new(&LinkConfig { base, valid: Duration::from_secs(3_600) }, &stage.key, &to);
    let link = links.to(&Message::of(&outgoing));
    stage.backstage.outbox.lock().unwrap().push(outgoing);
    link.strip_prefix("https://davy.county.example").unwrap().to_owned()
}

async fn page(request: reqwest::RequestBuilder) -> (u16, String) {
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

#[tokio::test]
async fn a_look_changes_nothing_the_button_acknowledges_and_works_once() {
    // With a token for everybody else: the link is its own.
    let stage = Stage::locked().await;
    let raised = alarm(1, "methane");
    let path = mailed(&stage, 41, &raised);
    let (status, html) = page(stage.get(&path)).await;
    assert_eq!(status, 200);
    assert!(html.contains("<form method=\"post\">") && html.contains("mail captain"), "{html}");
    assert!(stage.backstage.entries.lock().unwrap().is_empty(), "mail programs follow links by themselves");

    let (status, html) = page(stage.post(&path)).await;
    assert!(status == 200 && html.contains("mail captain") && !html.contains("<form"), "{html}");
    let entries = stage.backstage.entries.lock().unwrap().clone();
    let [Entry::Note(Note::Acknowledge(note))] = &entries[..] else { panic!("{entries:?}") };
    assert_eq!((&note.occurrence, note.raises, note.by.as_str()), (&raised.id, 1, "mail captain"));

    assert_eq!(page(stage.post(&path)).await.0, 409);
    let (status, html) = page(stage.get(&path)).await;
    assert!(status == 409 && !html.contains("<form"), "{html}");
    stage.close().await;
}

#[tokio::test]
async fn what_came_after_the_message_is_shown_and_not_acknowledged() {
    let stage = Stage::open().await;
    let path = mailed(&stage, 41, &alarm(1, "methane"));
    stage.backstage.write(Happening::RaisedAgain, Alarm { raises: 2, ..alarm(1, "methane") });
    for request in [stage.get(&path), stage.post(&path)] {
        let (status, html) = page(request.header("accept-language", "en")).await;
        assert!(status == 409 && html.contains("came up again") && !html.contains("<form"), "{html}");
    }
    stage.close().await;
}

#[tokio::test]
async fn a_wrong_link_learns_nothing_whatever_is_wrong_with_it() {
    let stage = Stage::open().await;
    let path = mailed(&stage, 41, &alarm(1, "methane"));
    let other = mailed(&stage, 42, &alarm(2, "co"));
    let seal = path.split_once('-').unwrap().1;
    let mut told = Vec::new();
    for wrong in [format!("/a/42-{seal}"), format!("/a/43-{seal}"), "/a/41-00".into(), "/a/x".into()] {
        for request in [stage.get(&wrong), stage.post(&wrong)] {
            let watch = Stopwatch::start();
            told.push(page(request).await);
            assert!(watch.elapsed() >= Duration::from_millis(500), "{wrong}");
        }
    }
    assert!(told.iter().all(|answer| *answer == told[0]), "{told:?}");
    assert_eq!(told[0].0, 404);
    assert!(stage.backstage.entries.lock().unwrap().is_empty());

    // Many at once are not all waited for.
    let wrong = format!("/a/43-{seal}");
    let flood = (0..40).map(|_| tokio::spawn(page(stage.get(&wrong)))).collect::<Vec<_>>();
    let mut refused = 0;
    for answer in flood {
        refused += usize::from(answer.await.unwrap().0 == 429);
    }
    assert!(refused >= 20, "{refused}");
    assert_eq!(page(stage.get(&other)).await.0, 200);
    stage.close().await;
}
