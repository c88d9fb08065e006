//! The data folder: room, rights, the state of its files, the clock against them, losses and alarms.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::Findings;
use crate::alarm::Priority;
use crate::config::Seen;
use crate::facts;
use crate::ledger::Fate;
use crate::losses;
use crate::model::{Timestamp, duration_text};

const GIB: u64 = 1 << 30;
/// Larger databases are not read from end to end.
const CHECKED_BYTES: u64 = 2 * GIB;
/// No clock is right before Davy was written: 2026-01-01.
const FIRST: Timestamp = Timestamp::from_secs(1_767_225_600);
/// The rule of Davy's own alarm that a source is away.
const SOURCE_DOWN: &str = "davy-source-down";
/// An unanswered alarm is a fault of the plant's people, not only news, after this long.
const UNANSWERED: Duration = Duration::from_secs(600);

/// Looks at the folder; returns whether a gateway runs on it.
pub fn look(seen: &Seen, now: Timestamp, findings: &mut Findings) -> bool {
    let folder = &seen.data;
    if now < FIRST {
        findings.error("clock", format!("it is {now} by this machine"), "set the clock; run a time service (NTP)");
    }
    if !folder.exists() {
        findings.fine("data", format!("{} is not there yet: nothing has run on it", folder.display()));
        return false;
    }
    let runs = match File::open(folder.join("lock")).map(|lock| lock.try_lock()) {
        Ok(Err(TryLockError::WouldBlock)) => true,
        Ok(Ok(()) | Err(TryLockError::Error(_))) | Err(_) => false,
    };
    findings.fine("gateway", if runs { "it runs" } else { "it does not run" });
    room(folder, findings);
    let journal = seen.config.as_ref().map_or_else(|| folder.join("journal.db"), |config| config.journal.path.clone());
    let facts = folder.join("facts.db");
    let names = [("journal", journal.as_path()), ("facts", facts.as_path())];
    for (about, path) in names {
        if path.exists() {
            whole(about, path, findings);
        }
    }
    history(&folder.join("history"), findings);
    if facts.exists() {
        match facts::Reader::open(&facts) {
            Ok(reader) => alarms(&reader, runs, now, findings),
            Err(cause) => findings.error("facts", cause.to_string(), "restore facts.db from a backup"),
        }
        stored_ahead(&facts, now, findings);
    }
    let path = folder.join("losses.db");
    if path.exists() {
        lost(&path, now, findings);
    }
    runs
}

fn room(folder: &Path, findings: &mut Findings) {
    let probe = folder.join(format!("doctor-{}.tmp", std::process::id()));
    match File::create(&probe) {
        Ok(_) => {
            std::fs::remove_file(&probe).ok();
        }
        Err(error) => {
            let what = format!("{} cannot be written by this user: {error}", folder.display());
            findings.error(
                "data",
                what,
                "run doctor as the gateway's user; if that is this one, mend the folder's rights",
            );
        }
    }
    let sizes: Vec<String> = ["journal.db", "journal.db-wal", "facts.db", "losses.db", "history"]
        .into_iter()
        .map(|name| (name, size(&folder.join(name))))
        .filter(|(_, bytes)| *bytes > 0)
        .map(|(name, bytes)| format!("{name} {:.1} MiB", bytes as f64 / f64::from(1 << 20)))
        .collect();
    findings.fine("data", format!("{}: {}", folder.display(), sizes.join(", ")));
    let Ok(disk) = rustix::fs::statvfs(folder) else { return };
    let (free, total) = (disk.f_bavail * disk.f_frsize, (disk.f_blocks * disk.f_frsize).max(1));
    let what = format!("{:.1} GiB of {:.1} GiB free", free as f64 / GIB as f64, total as f64 / GIB as f64);
    let advice = "make room; a journal that cannot be written acknowledges nothing more";
    if free < GIB / 2 || free < total / 50 {
        findings.error("disk", what, advice);
    } else if free < 2 * GIB || free < total / 10 {
        findings.warn("disk", what, advice);
    } else {
        findings.fine("disk", what);
    }
}

/// Bytes of a file, or of everything below a folder.
fn size(path: &Path) -> u64 {
    let Ok(about) = std::fs::symlink_metadata(path) else { return 0 };
    if !about.is_dir() {
        return about.len();
    }
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    entries.map(|entry| size(&entry.path())).sum()
}

fn open(path: &Path) -> Result<Connection, rusqlite::Error> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    Ok(connection)
}

fn whole(about: &str, path: &Path, findings: &mut Findings) {
    let advice = "stop the gateway, keep a copy of the folder, restore the file from a backup";
    let bytes = size(path);
    // SQLite's own check reads every page; of a large file only its root and the newest rows are looked at.
    let question =
        if bytes > CHECKED_BYTES { "SELECT 'ok' FROM sqlite_schema LIMIT 1" } else { "PRAGMA quick_check(1)" };
    let answer = open(path).and_then(|file| file.query_row(question, [], |row| row.get::<_, String>(0)));
    match answer {
        Ok(answer) if answer == "ok" && bytes > CHECKED_BYTES => {
            findings.fine(about, format!("{} opens; too large to be read through here", path.display()));
        }
        Ok(answer) if answer == "ok" => findings.fine(about, format!("{} is whole", path.display())),
        Ok(answer) => findings.error(about, format!("{} is damaged: {answer}", path.display()), advice),
        Err(cause) => findings.error(about, format!("{} cannot be read: {cause}", path.display()), advice),
    }
}

/// Every file that the index counts must be there, of its length, and begin and end as Parquet does.
fn history(folder: &Path, findings: &mut Findings) {
    let index = folder.join("index.db");
    if !index.exists() {
        return;
    }
    let listed = open(&index).and_then(|index| {
        let mut select = index.prepare("SELECT path, bytes FROM file")?;
        let rows = select.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?)))?;
        rows.collect::<Result<Vec<_>, _>>()
    });
    let advice = "restore the files from a backup; everything else of the history can still be read";
    let listed = match listed {
        Ok(listed) => listed,
        Err(cause) => return findings.error("history", format!("{} cannot be read: {cause}", index.display()), advice),
    };
    let torn: Vec<&str> = listed
        .iter()
        .filter(|(name, bytes)| !is_parquet(&folder.join(name), *bytes))
        .map(|(name, _)| &**name)
        .collect();
    // A file that was merged away between the list and the look is no damage.
    let still = open(&index).and_then(|index| {
        let mut there = index.prepare("SELECT count(*) FROM file WHERE path = ?1")?;
        torn.iter()
            .map(|name| Ok((*name, there.query_row([name], |row| row.get::<_, i64>(0))?)))
            .collect::<Result<Vec<_>, _>>()
    });
    let torn: Vec<&str> =
        still.unwrap_or_default().into_iter().filter(|(_, there)| *there > 0).map(|(name, _)| name).collect();
    match torn[..] {
        [] => findings.fine("history", format!("{} files, all there and whole at both ends", listed.len())),
        [first, ..] => {
            let what = format!("{} of {} files are missing or torn, {first} among them", torn.len(), listed.len());
            findings.error("history", what, advice);
        }
    }
}

fn is_parquet(path: &Path, bytes: i64) -> bool {
    use std::io::{Read, Seek, SeekFrom};
    let ends = || {
        let mut file = File::open(path).ok()?;
        let (mut head, mut foot) = ([0; 4], [0; 4]);
        file.read_exact(&mut head).ok()?;
        let length = file.seek(SeekFrom::End(-4)).ok()? + 4;
        file.read_exact(&mut foot).ok()?;
        Some(&head == b"PAR1" && &foot == b"PAR1" && i64::try_from(length) == Ok(bytes))
    };
    ends().unwrap_or(false)
}

/// What is stored must not lie in the future.
fn stored_ahead(facts: &Path, now: Timestamp, findings: &mut Findings) {
    let newest = open(facts).and_then(|facts| {
        facts.query_row("SELECT max(coalesce(max(received), 0), 0) FROM (SELECT json_extract(body, '$.received') AS received FROM alarms)", [], |row| row.get::<_, i64>(0))
    });
    match newest.map(Timestamp::from_micros) {
        Ok(newest) if newest > now + Duration::from_secs(60) => {
            let what =
                format!("it is {now} by this machine, but an alarm was received at {newest}: the clock was set back");
            findings.error("clock", what, "set the clock right; run a time service (NTP)");
        }
        Ok(_) | Err(_) => findings.fine("clock", format!("{now}, after everything that is stored")),
    }
}

fn alarms(reader: &facts::Reader, runs: bool, now: Timestamp, findings: &mut Findings) {
    let open = reader.alarms(&facts::Wanted { open: true, most: 100_000, ..facts::Wanted::default() });
    let open = match open {
        Ok(open) => open,
        Err(cause) => return findings.error("alarms", cause.to_string(), "restore facts.db from a backup"),
    };
    let away = |alarm: &&crate::alarm::Alarm| &*alarm.rule == SOURCE_DOWN && alarm.standing.active();
    for alarm in open.iter().filter(away).filter(|_| runs) {
        let what = format!("away since {}: {}", alarm.raised, alarm.detail);
        findings.error(&format!("source.{}", alarm.subject), what, "check network, power and the peer");
    }
    let unanswered: Vec<_> = open.iter().filter(|alarm| alarm.standing.waits()).collect();
    let oldest = unanswered.iter().min_by_key(|alarm| (alarm.priority, alarm.raised));
    match oldest {
        None => findings.fine("alarms", format!("{} open, none waits for an acknowledgement", open.len())),
        Some(alarm) => {
            let age = now.since(alarm.raised);
            let seconds = Duration::from_secs(age.as_secs());
            let what = format!(
                "{} of {} open alarms are not acknowledged; the most urgent: {} {} at {}, for {}",
                unanswered.len(),
                open.len(),
                alarm.priority,
                alarm.title,
                alarm.subject,
                duration_text(seconds)
            );
            let advice = "somebody must look and acknowledge; if nobody was told, look at the notifiers";
            if alarm.priority == Priority::P1 && age > UNANSWERED {
                findings.error("alarms", what, advice);
            } else {
                findings.warn("alarms", what, advice);
            }
        }
    }
    match reader.waiting() {
        Ok(0) => findings.fine("notify", "no message waits"),
        Ok(waiting) => findings.warn(
            "notify",
            format!("{waiting} messages wait to be delivered"),
            "see that their recipients can be reached",
        ),
        Err(cause) => findings.error("notify", cause.to_string(), "restore facts.db from a backup"),
    }
}

fn lost(path: &Path, now: Timestamp, findings: &mut Findings) {
    let asked = losses::Asked { from: now - Duration::from_secs(86_400), to: now, most: 3, ..losses::Asked::default() };
    let told = match losses::read(path, &asked, now) {
        Ok(told) => told,
        Err(cause) => {
            return findings.warn("losses", cause.to_string(), "the next start puts the file aside and begins anew");
        }
    };
    let mut any = false;
    for loss in told.sums.iter().filter(|loss| loss.fate != Fate::Accepted) {
        any = true;
        let what = format!("{} in 24 h: {} ({})", loss.count, loss.fate.word(), loss.fate.what());
        let about = format!("losses.{}", loss.source);
        // What was made durable late or never is the gateway's own fault; the rest is the field's.
        if matches!(loss.fate, Fate::Trimmed | Fate::Unacknowledged) {
            findings.error(&about, what, "samples were given up: look at the disk and at what follows the journal");
        } else if loss.fate == Fate::Duplicate {
            findings.fine(&about, what);
        } else {
            findings.warn(&about, what, "GET /api/v1/losses names points and times");
        }
    }
    for loss in &told.points {
        findings.warn(&format!("losses.{}", loss.point), format!("{} in 24 h: {}", loss.count, loss.fate.word()), "");
    }
    if !any {
        findings.fine("losses", "none in 24 h");
    }
}
