//! Rollup files: Parquet, sorted by point and time, one a day and step.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parquet::basic::{LogicalType, Repetition, TimeUnit, Type as Physical};
use parquet::data_type::{ByteArray, DataType, DoubleType, Int64Type};
use parquet::file::metadata::{KeyValue, SortingColumn};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};

use super::Error;
use super::file::Opened;
use super::footer::Footers;
use super::rollup::{Rollup, Step, Values};
use super::write::{Written, column, create, finish, properties, schema, write_column, write_points};
use crate::model::Timestamp;

/// Rows of a row group: 450 points with a day of five minutes.
const GROUP_ROWS: usize = 1 << 17;

pub(super) const COLUMNS: [(&str, Physical); 9] = [
    ("point", Physical::BYTE_ARRAY),
    ("time", Physical::INT64),
    ("min", Physical::DOUBLE),
    ("min_time", Physical::INT64),
    ("max", Physical::DOUBLE),
    ("max_time", Physical::INT64),
    ("mean", Physical::DOUBLE),
    ("count", Physical::INT64),
    ("not_good_s", Physical::DOUBLE),
];

pub(super) struct RollupWriter {
    unfinished: PathBuf,
    path: PathBuf,
    writer: SerializedFileWriter<File>,
    points: Vec<(ByteArray, usize)>,
    rollups: Vec<Rollup>,
    written: Written,
}

impl RollupWriter {
    pub fn create(path: &Path, step: Step) -> Result<Self, Error> {
        let (unfinished, file) = create(path)?;
        let columns = COLUMNS.iter().map(|(name, physical)| {
            let logical = match *name {
                "point" => Some(LogicalType::String),
                "time" | "min_time" | "max_time" => Some(LogicalType::timestamp(true, TimeUnit::MICROS)),
                _ => None,
            };
            let optional = matches!(*name, "min" | "min_time" | "max" | "max_time" | "mean");
            column(name, *physical, logical, if optional { Repetition::OPTIONAL } else { Repetition::REQUIRED })
        });
        let sorted = [0, 1].map(|column_idx| SortingColumn { column_idx, descending: false, nulls_first: false });
        let note = "min, max, mean and count are of usable samples; not_good_s: seconds of the bucket for which no \
                    usable sample speaks (a sample speaks until the next one, for an hour at most)";
        let notes = vec![
            KeyValue::new("davy.step".to_owned(), step.word().to_owned()),
            KeyValue::new("davy.rollup".to_owned(), note.to_owned()),
        ];
        let properties =
            properties(9).set_sorting_columns(Some(sorted.to_vec())).set_key_value_metadata(Some(notes)).build();
        let writer = SerializedFileWriter::new(file, schema("rollup", columns.collect()), Arc::new(properties));
        Ok(Self {
            writer: writer.map_err(Error::write(path))?,
            unfinished,
            path: path.to_owned(),
            points: Vec::new(),
            rollups: Vec::new(),
            written: Written { rows: 0, bytes: 0, min_time: i64::MAX, max_time: i64::MIN },
        })
    }

    /// The buckets of the next point.
    pub fn push(&mut self, id: &[u8], rollups: &[Rollup]) -> Result<(), Error> {
        self.points.push((ByteArray::from(id.to_vec()), rollups.len()));
        self.rollups.extend_from_slice(rollups);
        if self.rollups.len() >= GROUP_ROWS { self.close_group() } else { Ok(()) }
    }

    fn close_group(&mut self) -> Result<(), Error> {
        for rollup in &self.rollups {
            self.written.min_time = self.written.min_time.min(rollup.start.micros());
            self.written.max_time = self.written.max_time.max(rollup.start.micros());
        }
        self.written.rows += self.rollups.len() as u64;
        let written = (|| {
            let mut out = self.writer.next_row_group()?;
            write_points(&mut out, &self.points)?;
            let all = &self.rollups;
            write_column::<Int64Type>(&mut out, &list(all, |rollup| rollup.start.micros()))?;
            write_optional::<DoubleType>(&mut out, &list(all, |rollup| rollup.values.map(|values| values.min)))?;
            write_optional::<Int64Type>(
                &mut out,
                &list(all, |rollup| rollup.values.map(|values| values.min_time.micros())),
            )?;
            write_optional::<DoubleType>(&mut out, &list(all, |rollup| rollup.values.map(|values| values.max)))?;
            write_optional::<Int64Type>(
                &mut out,
                &list(all, |rollup| rollup.values.map(|values| values.max_time.micros())),
            )?;
            write_optional::<DoubleType>(&mut out, &list(all, |rollup| rollup.values.map(|values| values.mean)))?;
            write_column::<Int64Type>(&mut out, &list(all, |rollup| rollup.count as i64))?;
            write_column::<DoubleType>(&mut out, &list(all, |rollup| rollup.not_good.as_secs_f64()))?;
            out.close()
        })();
        written.map_err(Error::write(&self.path))?;
        self.points.clear();
        self.rollups.clear();
        Ok(())
    }

    pub fn finish(mut self) -> Result<Written, Error> {
        if !self.rollups.is_empty() {
            self.close_group()?;
        }
        let bytes = finish(self.writer, &self.unfinished, &self.path)?;
        Ok(Written { bytes, ..self.written })
    }
}

fn list<T>(rollups: &[Rollup], column: impl Fn(&Rollup) -> T) -> Vec<T> {
    rollups.iter().map(column).collect()
}

fn write_optional<T: DataType>(
    out: &mut SerializedRowGroupWriter<'_, File>,
    cells: &[Option<T::T>],
) -> parquet::errors::Result<()> {
    let levels: Vec<i16> = cells.iter().map(|cell| i16::from(cell.is_some())).collect();
    let values: Vec<T::T> = cells.iter().flatten().cloned().collect();
    let mut column = out.next_column()?.expect("the schema has this column");
    column.typed::<T>().write_batch(&values, Some(&levels), None)?;
    column.close()
}

/// The buckets of one point in a file, in order.
pub(super) fn read(path: &Path, footers: &Footers, id: &str) -> Result<Vec<Rollup>, Error> {
    let file = Opened::open(path, &COLUMNS, footers)?;
    let mut rollups = Vec::new();
    for run in file.find(id)? {
        let (group, rows) = (run.group, &run.rows);
        let start = file.read::<Int64Type>(group, 1, rows)?;
        let min = file.read_optional::<DoubleType>(group, 2, rows)?;
        let min_time = file.read_optional::<Int64Type>(group, 3, rows)?;
        let max = file.read_optional::<DoubleType>(group, 4, rows)?;
        let max_time = file.read_optional::<Int64Type>(group, 5, rows)?;
        let mean = file.read_optional::<DoubleType>(group, 6, rows)?;
        let count = file.read::<Int64Type>(group, 7, rows)?;
        let not_good = file.read::<DoubleType>(group, 8, rows)?;
        for i in 0..rows.len() {
            let values = match (min[i], min_time[i], max[i], max_time[i], mean[i]) {
                (Some(min), Some(min_time), Some(max), Some(max_time), Some(mean)) => Some(Values {
                    min,
                    min_time: Timestamp::from_micros(min_time),
                    max,
                    max_time: Timestamp::from_micros(max_time),
                    mean,
                }),
                _ => None,
            };
            rollups.push(Rollup {
                start: Timestamp::from_micros(start[i]),
                values,
                count: count[i].unsigned_abs(),
                not_good: Duration::try_from_secs_f64(not_good[i]).unwrap_or_default(),
            });
        }
    }
    Ok(rollups)
}
