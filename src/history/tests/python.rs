//! The files are everybody's: what pyarrow reads is what was stored.

use super::*;

const READ: &str = r#"
import sys, pyarrow, pyarrow.parquet as pq
files = sys.argv[2:]
table = pyarrow.concat_tables([pq.read_table(f, partitioning=None) for f in files])
types = ",".join(f"{f.name}:{f.type}" for f in table.schema)
print(types, table.num_rows, sep="|")
for row in table.to_pylist():
    us = int(round(row["time"].timestamp() * 1000)) * 1000 + row.get("micros", 0)
    rest = [row["value"].hex(), row["quality"]] if sys.argv[1] == "raw" else \
           [row[k] if row[k] is None or not hasattr(row[k], "timestamp") else row[k].isoformat()
            for k in ("min", "min_time", "max", "max_time", "mean", "count", "not_good_s")]
    print(row["point"], us, *rest, sep="|")
notes = pq.read_metadata(files[0]).metadata
print("|".join(sorted(k.decode() for k in notes if k.startswith(b"davy"))))
"#;

/// Lines printed by pyarrow; `None` when it is not installed (which fails under CI).
fn pyarrow(kind: &str, files: &[PathBuf]) -> Option<Vec<String>> {
    let there = std::process::Command::new("python3").args(["-c", "import pyarrow"]).output();
    if !there.is_ok_and(|output| output.status.success()) {
        assert!(std::env::var_os("CI").is_none(), "python3 with pyarrow must be installed where CI is set");
        println!("skipped: python3 with pyarrow is not installed");
        return None;
    }
    let output = std::process::Command::new("python3").args(["-c", READ, kind]).args(files).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect())
}

#[test]
fn pyarrow_reads_the_same_samples() {
    let folder = tempfile::tempdir().unwrap();
    let (history, table, ids) = (open(folder.path()), table(3), ids());
    let mut expected = Vec::new();
    for turn in 0..500_i64 {
        let point = (turn % 3) as u32;
        let mut sample = sample(point, turn * 1_000_007, turn as f64 / 7.0);
        if turn % 50 == 0 {
            sample.quality = Quality::because(Reason::OverRange).and(Reason::Late);
        }
        history.append(turn as u64 + 1, &[sample], &table);
        let hex = format!("{:016x}", sample.value.to_bits());
        expected.push((ids[point as usize].clone(), sample.source_time.micros(), hex, sample.quality.bits()));
        if turn % 100 == 99 {
            history.flush().unwrap();
        }
    }
    expected.sort();
    for merged in [false, true] {
        if merged {
            history.compact(at(3 * DAY_MICROS)).unwrap();
        }
        let files = parquet_files(&folder.path().join("raw"));
        assert_eq!(files.len(), if merged { 1 } else { 5 });
        let Some(lines) = pyarrow("raw", &files) else { return };
        assert_eq!(
            lines[0],
            "point:string,time:timestamp[ms, tz=UTC],micros:int32,value:double,quality:int32,arrived:int32|500"
        );
        let mut found: Vec<_> = lines[1..=500]
            .iter()
            .map(|line| {
                let cells: Vec<&str> = line.split('|').collect();
                let hex = format!("{:016x}", float_of_hex(cells[2]).to_bits());
                (cells[0].to_owned(), cells[1].parse::<i64>().unwrap(), hex, cells[3].parse::<u16>().unwrap())
            })
            .collect();
        if merged {
            assert!(found.is_sorted(), "a merged file is sorted by point and time");
        }
        found.sort();
        assert_eq!(found, expected);
        assert_eq!(lines[501], "davy.arrived|davy.quality|davy.time|davy.value");
    }
}

#[test]
fn pyarrow_reads_the_rollups() {
    let folder = tempfile::tempdir().unwrap();
    let (history, table, ids) = (open(folder.path()), table(3), ids());
    let bad = Sample { quality: Quality::because(Reason::LineBreak), ..sample(1, secs(300), 0.0) };
    history.append(1, &[sample(1, secs(0), 1.0), sample(1, secs(1), 3.0), bad], &table);
    history.flush().unwrap();
    history.compact(at(3 * DAY_MICROS)).unwrap();
    let Some(lines) = pyarrow("rolled", &parquet_files(&folder.path().join("5min"))) else { return };
    let stamp = "timestamp[us, tz=UTC]";
    assert_eq!(
        lines[0],
        format!(
            "point:string,time:{stamp},min:double,min_time:{stamp},max:double,max_time:{stamp},mean:double,\
             count:int64,not_good_s:double|2"
        )
    );
    let first = "1.0|2026-11-20T00:00:00+00:00|3.0|2026-11-20T00:00:01+00:00|2.0|2|0.0";
    assert_eq!(lines[1], format!("{}|{}|{first}", ids[1], DAY0));
    assert_eq!(lines[2], format!("{}|{}|None|None|None|None|None|0|300.0", ids[1], DAY0 + secs(300)));
    assert_eq!(lines[3], "davy.rollup|davy.step");
}

/// Python's `float.hex()`: `0x1.8p+1`.
fn float_of_hex(text: &str) -> f64 {
    let (mantissa, exponent) = text.trim_start_matches("0x").split_once('p').unwrap();
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = u64::from_str_radix(&format!("{whole}{fraction}"), 16).unwrap();
    digits as f64 * 2_f64.powi(exponent.parse::<i32>().unwrap() - 4 * fraction.len() as i32)
}
