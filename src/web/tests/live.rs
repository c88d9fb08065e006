//! The event stream: what happens is heard once, in order, whatever goes wrong in between.

use std::time::Duration;

use serde_json::json;

use super::stage::{Ear, Stage, alarm, answer, config, old_sample, sample};
use crate::alarm::{Alarm, Happening};
use crate::clock;
use crate::model::Sample;

#[tokio::test]
async fn a_change_is_heard_with_its_number_and_the_whole_alarm() {
    let stage = Stage::open().await;
    let mut ear = Ear::open(stage.get("/api/v1/events")).await;
    assert_eq!(ear.next_of("hello").await.data["last_change"], 0);
    stage.backstage.happens(Happening::Raised, alarm(1, "<script>alert(1)</script>"));
    let heard = ear.next_of("alarm").await;
    assert_eq!(heard.id.as_deref(), Some("1"));
    assert_eq!(heard.data["happening"], "raised");
    assert_eq!(heard.data["alarm"]["title"], "<script>alert(1)</script>");
    assert_eq!(heard.data["alarm"]["raised"], "2027-01-15T08:00:01Z");
    let pulse = ear.next_of("pulse").await;
    assert_eq!((pulse.id, &pulse.data["last_change"]), (None, &json!(1)));
    stage.close().await;
    while ear.next().await.is_some() {}
}

#[tokio::test]
async fn a_screen_that_was_away_hears_all_it_missed_and_then_what_is_new_once_each() {
    let stage = Stage::open().await;
    for number in 1..=700 {
        stage.backstage.happens(Happening::Raised, alarm(number, "methane"));
    }
    // Changes keep coming while the stream finds its way from the records to what is live.
    let (backstage, more) = (stage.backstage.clone(), 2_000);
    let writer = tokio::task::spawn_blocking(move || {
        for number in 701..=more {
            backstage.happens(Happening::Raised, alarm(number, "methane"));
            std::thread::yield_now();
        }
    });
    let mut ear = Ear::open(stage.get("/api/v1/events").header("last-event-id", "100")).await;
    let heard = ear.ids(1_900).await;
    assert_eq!(heard, (101..=2_000).collect::<Vec<i64>>());
    writer.await.unwrap();
    stage.backstage.happens(Happening::Raised, alarm(9_999, "methane"));
    assert_eq!(ear.ids(1).await, [2_001]);
    drop(ear);
    stage.close().await;
}

#[tokio::test]
async fn a_change_that_the_board_told_late_or_out_of_order_is_neither_lost_nor_told_twice() {
    let stage = Stage::open().await;
    let mut ear = Ear::open(stage.get("/api/v1/events?after=0")).await;
    ear.next_of("hello").await;
    let written: Vec<_> = (1..=4).map(|n| stage.backstage.write(Happening::Raised, alarm(n, "methane"))).collect();
    for at in [2, 0, 1, 3] {
        stage.backstage.board.publish(std::sync::Arc::new(written[at].clone()));
    }
    stage.backstage.happens(Happening::Raised, alarm(5, "methane"));
    assert_eq!(ear.ids(5).await, [1, 2, 3, 4, 5]);
    drop(ear);
    stage.close().await;
}

#[tokio::test]
async fn a_screen_that_was_too_slow_reads_what_it_missed_from_the_records() {
    let stage = Stage::open().await;
    let mut ear = Ear::open(stage.get("/api/v1/events")).await;
    ear.next_of("hello").await;
    // More than the board keeps for a listener and the sockets hold, while nobody reads.
    let count = 12_000;
    let backstage = stage.backstage.clone();
    let wide = "宽".repeat(300);
    tokio::task::spawn_blocking(move || {
        for number in 1..=count {
            backstage.happens(Happening::Raised, Alarm { detail: wide.clone(), ..alarm(number, "methane") });
        }
    })
    .await
    .unwrap();
    let heard = ear.ids(count as usize).await;
    assert_eq!(heard, (1..=i64::from(count)).collect::<Vec<_>>());
    drop(ear);
    stage.close().await;
}

#[tokio::test]
async fn a_number_from_the_future_makes_the_client_start_anew() {
    let stage = Stage::open().await;
    stage.backstage.happens(Happening::Raised, alarm(1, "methane"));
    let mut ear = Ear::open(stage.get("/api/v1/events").header("last-event-id", "5000")).await;
    assert_eq!(ear.next_of("reset").await.id.as_deref(), Some("1"));
    stage.backstage.happens(Happening::Raised, alarm(2, "methane"));
    assert_eq!(ear.ids(1).await, [2]);
    let (status, _) = answer(stage.get("/api/v1/events").header("last-event-id", "now")).await;
    assert_eq!(status, 400);
    drop(ear);
    stage.close().await;
}

#[tokio::test]
async fn values_come_as_a_whole_picture_and_then_as_the_latest_of_what_changed() {
    let stage = Stage::open().await;
    stage.shows(sample(0, 0.5));
    let mut ear = Ear::open(stage.get("/api/v1/events?values=true&site=mine")).await;
    let picture = ear.next_of("values").await;
    let ids: Vec<_> = picture.data["points"].as_array().unwrap().iter().map(|row| row["id"].clone()).collect();
    assert_eq!(json!(ids), json!(["mine.t1", "mine.t2", "mine.broken"]));
    // Many samples of one point, and one of a site that was not asked for.
    for step in 1..=100 {
        stage.shows(sample(0, f64::from(step)));
    }
    stage.shows(sample(3, 0.4));
    let mut batches = 0;
    let last = loop {
        let heard = ear.next_of("values").await;
        batches += 1;
        let rows = heard.data["points"].as_array().unwrap();
        assert_eq!(rows.len(), 1, "only what changed: {rows:?}");
        assert_eq!(rows[0]["id"], "mine.t1");
        if rows[0]["value"] == 100.0 {
            break rows[0].clone();
        }
    };
    assert!(batches <= 2, "a hundred samples came as {batches} batches");
    assert_eq!((&last["quality"], &last["freshness"]), (&json!("good"), &json!("live")));
    drop(ear);
    stage.close().await;
}

#[tokio::test]
async fn a_point_that_falls_silent_is_told_although_nothing_came() {
    let stage = Stage::open().await;
    // Expected every 5 s, and one second of grace: half a second is left.
    let then = clock::now() - Duration::from_millis(5_500);
    stage.shows(Sample { receive_time: then, source_time: then, ..old_sample(0, 0.5) });
    let mut ear = Ear::open(stage.get("/api/v1/events?values=true")).await;
    assert_eq!(ear.next_of("values").await.data["points"][0]["freshness"], "live");
    let told = ear.next_of("values").await.data["points"][0].clone();
    assert_eq!((&told["id"], &told["freshness"], &told["value"]), (&json!("mine.t1"), &json!("stale"), &json!(0.5)));
    drop(ear);
    stage.close().await;
}

#[tokio::test]
async fn streams_are_bounded_and_their_places_come_back() {
    let config = config(None);
    let most = config.max_streams;
    let stage = Stage::with(config).await;
    let mut ears = Vec::new();
    for _ in 0..most {
        ears.push(Ear::open(stage.get("/api/v1/events")).await);
    }
    let (status, told) = stage.asks("/api/v1/events").await;
    assert_eq!((status, &told["error"]["code"]), (503, &json!("busy")));
    assert_eq!(stage.asks("/api/v1/points").await.0, 200, "others are served");
    ears.pop();
    let waited = clock::Stopwatch::start();
    loop {
        let answer = stage.get("/api/v1/events").send().await.unwrap();
        if answer.status() == 200 {
            break;
        }
        assert!(waited.elapsed() < Duration::from_secs(10), "the place did not come back");
        tokio::task::yield_now().await;
    }
    drop(ears);
    stage.close().await;
}
