//! Whatever comes, in whatever pieces.

use std::sync::Arc;

use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::super::connection::Connection;
use super::super::known::Known;
use super::super::{Front, Stations};
use super::stage::{Journal, Plan, bytes};
use super::{fire, monitor, station};
use crate::decode::frames::gb26875::Command;
use crate::journal::Intake;
use crate::ledger::Ledger;
use crate::model::Sample;
use crate::source::Outlet;

/// What comes in, how many bytes of answers go out, and what is counted as malformed, when a stream is cut there.
fn played(door: &str, stream: &[u8], cuts: &[usize]) -> (Vec<Sample>, usize, u64) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let Plan { config, points, bound } = Plan::of(door);
        let (intake, mut waiting) = Intake::with_receiver(16);
        let account = Ledger::default().account("door");
        let front = Arc::new(Front {
            known: Known::new(&config, &points, &bound),
            config,
            outlet: Outlet { intake, account: account.clone() },
            points,
            stations: Stations::default(),
            attendance: Default::default(),
            connections: Arc::new(Semaphore::new(1)),
            waiting: Arc::new(Semaphore::new(1)),
            crowded: Default::default(),
            numbers: Default::default(),
            told: Default::default(),
            stop: CancellationToken::new(),
        });
        let journal = Journal::default();
        let (near, far) = tokio::io::duplex(64 * 1024);
        let place = front.waiting.clone().acquire_owned().await.unwrap();
        let talk = front.talk();
        let peer = "127.0.0.1:1".parse().unwrap();
        let connection = tokio::spawn(Connection::new(near, peer, 0, front, talk, place).run());
        let (mut reader, mut writer) = tokio::io::split(far);
        let device = async {
            let mut rest = stream;
            for cut in cuts {
                let (piece, more) = rest.split_at((*cut).min(rest.len()));
                rest = more;
                if writer.write_all(piece).await.is_err() {
                    break;
                }
                tokio::task::yield_now().await;
            }
            drop(writer.write_all(rest).await);
            drop(writer.shutdown().await);
            let mut answers = Vec::new();
            drop(reader.read_to_end(&mut answers).await);
            answers.len()
        };
        let book = async {
            while let Some((entry, done)) = waiting.next().await {
                journal.take(entry, done);
            }
        };
        let (answers, ()) = tokio::join!(device, book);
        connection.await.unwrap();
        (journal.samples(), answers, account.get(crate::ledger::Fate::Malformed))
    })
}

fn essence(samples: &[Sample]) -> Vec<(u32, u64, u16, i64)> {
    let one = |sample: &Sample| {
        // Whatever got the receive time for its own is compared without it.
        let own = if sample.source_time == sample.receive_time { 0 } else { sample.source_time.micros() };
        (sample.point.0, sample.value.to_bits(), sample.quality.bits(), own)
    };
    samples.iter().map(one).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn fire_frames_say_the_same_in_any_pieces(cuts in prop::collection::vec(1_usize..90, 0..12)) {
        let mut wrong = bytes(fire::FIRE);
        wrong[50] ^= 4;
        let head = frame_without_its_end();
        let good = bytes(fire::FIRE);
        let stream = [good.as_slice(), b"noise@", &good, &wrong, &head, &good].concat();
        let (whole, answers, malformed) = played(fire::DOOR, &stream, &[]);
        prop_assert_eq!((whole.len(), answers, malformed), (9, 4 * 30, 3));
        let (cut, cut_answers, cut_malformed) = played(fire::DOOR, &stream, &cuts);
        prop_assert_eq!(essence(&cut), essence(&whole));
        prop_assert_eq!((cut_answers, cut_malformed), (answers, malformed));
    }

    #[test]
    fn reports_of_stations_say_the_same_in_any_pieces(cuts in prop::collection::vec(1_usize..90, 0..12)) {
        let text = bytes("0031 251123110005 F1F1001234567848 F0F02511231005 0418000005 3923 00000122 00000285");
        let (first, second) = text.split_at(20);
        let stream = [
            bytes(station::TEST),
            station::frame(0x31, Some((2, 1)), first),
            vec![0x7E, 0x7E, 0x7E],
            station::frame(0x31, Some((2, 2)), second),
            bytes(station::TEST),
        ]
        .concat();
        let (whole, answers, _) = played(station::DOOR, &stream, &[]);
        prop_assert_eq!((whole.len(), answers), (10, 3 * 25));
        let (cut, cut_answers, _) = played(station::DOOR, &stream, &cuts);
        prop_assert_eq!(essence(&cut), essence(&whole));
        prop_assert_eq!(cut_answers, answers);
    }

    #[test]
    fn packets_of_monitors_say_the_same_in_any_pieces(cuts in prop::collection::vec(1_usize..90, 0..12)) {
        let first = monitor::real_time("Flag=7;PNUM=2;PNO=1", "DataTime=20251123080000;a21026-Rtd=1,a21026-Flag=N");
        let second = monitor::real_time("Flag=7;PNUM=2;PNO=2", "a34013-Rtd=2,a34013-Flag=C");
        let mut wrong = first.clone();
        wrong[100] ^= 1;
        let stream = [first.clone(), b"###0999\r\n".to_vec(), wrong, second, first].concat();
        let (whole, answers, malformed) = played(monitor::DOOR, &stream, &[]);
        prop_assert_eq!((whole.len(), malformed), (3, 2));
        prop_assert!(answers > 0 && answers % 3 == 0);
        let (cut, cut_answers, cut_malformed) = played(monitor::DOOR, &stream, &cuts);
        prop_assert_eq!(essence(&cut), essence(&whole));
        prop_assert_eq!((cut_answers, cut_malformed), (answers, malformed));
    }

    #[test]
    fn any_bytes_end_in_nothing_worse_than_a_closed_line(
        noise in prop::collection::vec(
            prop_oneof![Just(0x40_u8), Just(0x7E), Just(b'#'), Just(0), any::<u8>()],
            0..2_000,
        ),
        cuts in prop::collection::vec(1_usize..400, 0..6),
    ) {
        for door in [fire::DOOR, station::DOOR, monitor::DOOR] {
            let (samples, answers, _) = played(door, &noise, &cuts);
            prop_assert!(samples.is_empty() && answers == 0);
        }
    }
}

/// The beginning of a frame of 20 bytes of data, which the next frame breaks off.
fn frame_without_its_end() -> Vec<u8> {
    fire::frame(9, Command::Send, &[25; 20])[..40].to_vec()
}
