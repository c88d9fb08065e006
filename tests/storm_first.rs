//! Thousands of alarms in seconds, three P1 among them: each P1 is heard by itself within a second of its sample, before
//! what waited for a place, and the person gets no more than the cap in its time. Alone in its file, since it takes the
//! whole machine.

#![allow(clippy::unwrap_used, reason = "a story that cannot go on fails where it stands")]

mod stage;

use stage::pager::Pager;
use stage::storm::{ALARMS, BATCH, MOST, URGENT, WAITING, assert_capped, plant, sends};
use stage::until;

/// Ten thousand in a minute is one in six milliseconds; here they come as fast as they can be sent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_storm_a_p1_is_heard_within_a_second_before_what_waited_and_nobody_gets_more_than_the_cap() {
    let count = std::env::var("DAVY_SOAK_STORM").map_or(2_500, |text| text.parse().expect("a whole number"));
    let pager = Pager::start().await;
    let site = plant(&pager, count);
    let davy = site.start().await;
    for batch in 0..count.div_ceil(BATCH) {
        sends(&davy, batch * BATCH..count.min((batch + 1) * BATCH)).await;
    }
    until("every alarm is on record", async || site.fact(ALARMS) == count as i64).await;
    until("everybody was told", async || site.fact(WAITING) == 0).await;
    for number in URGENT.into_iter().filter(|number| *number < count) {
        let told = pager.heard().into_iter().find(|heard| heard.message["point"] == *format!("pit.p{number}")).unwrap();
        assert!(told.message.get("summary").is_none(), "it stands in a message of its own");
        let row: i64 = told.key.trim_start_matches("davy-").parse().unwrap();
        let took = format!(
            "SELECT o.settled - (c.body ->> '$.alarm.received') FROM outbox o JOIN changes c ON c.id = o.change WHERE o.id = {row}"
        );
        let took = site.fact(&took);
        println!("P1 {number}: {} ms from the sample to the receipt", took / 1_000);
        assert!(took < 1_000_000, "P1 {number} took {took} us from the sample to the receipt");
        // What had been waiting for a place went out after it.
        let before = format!(
            "SELECT count(*) FROM outbox WHERE id < {row} AND priority <> 'P1'
                 AND settled > (SELECT settled FROM outbox WHERE id = {row})"
        );
        let earlier = number - URGENT.iter().filter(|other| **other < number).count();
        assert!(site.fact(&before) >= (earlier - MOST) as i64, "{} of {earlier}", site.fact(&before));
    }
    assert_capped(&site, URGENT.len());
    assert!(davy.stop().await.success());
}
