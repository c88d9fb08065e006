//! Writes a Parquet file of raw samples: sorted by point and time, readable by anybody.
//!
//! In come points in the order of their ids, each with its rows in the order of time; out comes a file that
//! is on the disk (fsync) before it is spoken of. Memory: one row group (about 40 MB), whatever is written.
//!
//! Why these columns: field devices count in milliseconds. A time in microseconds costs 2 bytes a sample
//! then, because Parquet packs the three zeros too; milliseconds with the remaining microseconds apart cost
//! 1, and nothing is lost. Values repeat, so a dictionary of doubles beats byte-stream-split by half.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parquet::basic::{Compression, Encoding, LogicalType, Repetition, TimeUnit, Type as Physical, ZstdLevel};
use parquet::data_type::{ByteArray, ByteArrayType, DataType, DoubleType, Int32Type, Int64Type};
use parquet::file::metadata::{KeyValue, SortingColumn};
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::{ColumnPath, Type, TypePtr};

use super::Error;
use super::row::Row;
use crate::model::{Grade, Reason};

/// Rows of a row group: a dictionary of values pays off, and a group still fits into memory.
const GROUP_ROWS: usize = 1 << 20;
/// Rows of a page: the least that a query reads and unpacks.
const PAGE_ROWS: usize = 16_384;

pub(super) const POINT: usize = 0;
pub(super) const TIME: usize = 1;
pub(super) const MICROS: usize = 2;
pub(super) const VALUE: usize = 3;
pub(super) const QUALITY: usize = 4;
/// Not in files of before it was kept.
pub(super) const ARRIVED: usize = 5;
/// Names and physical types of the columns, in order.
pub(super) const COLUMNS: [(&str, Physical); 6] = [
    ("point", Physical::BYTE_ARRAY),
    ("time", Physical::INT64),
    ("micros", Physical::INT32),
    ("value", Physical::DOUBLE),
    ("quality", Physical::INT32),
    ("arrived", Physical::INT32),
];

/// How hard to press. A flush is read for minutes and then merged; a merged file stays for months.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Press {
    Quick,
    Hard,
}

/// What was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Written {
    pub rows: u64,
    pub bytes: u64,
    pub min_time: i64,
    pub max_time: i64,
}

/// Columns of the group that is being filled.
#[derive(Default)]
struct Group {
    points: Vec<(ByteArray, usize)>,
    time: Vec<i64>,
    micros: Vec<i32>,
    value: Vec<f64>,
    quality: Vec<i32>,
    arrived: Vec<i32>,
}

pub(super) struct RawWriter {
    unfinished: PathBuf,
    path: PathBuf,
    writer: SerializedFileWriter<File>,
    group: Group,
    rows: u64,
    min_time: i64,
    max_time: i64,
}

impl RawWriter {
    /// Begins a file at `path`; until it is finished it bears another name.
    pub fn create(path: &Path, press: Press) -> Result<Self, Error> {
        let (unfinished, file) = create(path)?;
        let writer = SerializedFileWriter::new(file, raw_schema(), Arc::new(raw_properties(press)));
        Ok(Self {
            writer: writer.map_err(Error::write(path))?,
            unfinished,
            path: path.to_owned(),
            group: Group::default(),
            rows: 0,
            min_time: i64::MAX,
            max_time: i64::MIN,
        })
    }

    /// Rows of the next point (or more of the last one), sorted.
    pub fn push(&mut self, id: &str, mut rows: &[Row]) -> Result<(), Error> {
        let id = ByteArray::from(id);
        while !rows.is_empty() {
            let (now, later) = rows.split_at(rows.len().min(GROUP_ROWS - self.group.time.len()));
            self.group.points.push((id.clone(), now.len()));
            for row in now {
                self.group.time.push(row.time.div_euclid(1_000));
                self.group.micros.push(row.time.rem_euclid(1_000) as i32);
                self.group.value.push(row.value);
                self.group.quality.push(i32::from(row.quality.bits()));
                self.group.arrived.push(row.arrived);
                self.min_time = self.min_time.min(row.time);
                self.max_time = self.max_time.max(row.time);
            }
            self.rows += now.len() as u64;
            rows = later;
            if self.group.time.len() == GROUP_ROWS {
                self.close_group()?;
            }
        }
        Ok(())
    }

    fn close_group(&mut self) -> Result<(), Error> {
        if self.group.time.is_empty() {
            return Ok(());
        }
        let group = &mut self.group;
        let written = (|| {
            let mut out = self.writer.next_row_group()?;
            write_points(&mut out, &group.points)?;
            write_column::<Int64Type>(&mut out, &group.time)?;
            write_column::<Int32Type>(&mut out, &group.micros)?;
            write_column::<DoubleType>(&mut out, &group.value)?;
            write_column::<Int32Type>(&mut out, &group.quality)?;
            write_column::<Int32Type>(&mut out, &group.arrived)?;
            out.close()
        })();
        written.map_err(Error::write(&self.path))?;
        group.points.clear();
        group.time.clear();
        group.micros.clear();
        group.value.clear();
        group.quality.clear();
        group.arrived.clear();
        Ok(())
    }

    /// The file is on the disk under its name when this returns.
    pub fn finish(mut self) -> Result<Written, Error> {
        self.close_group()?;
        let bytes = finish(self.writer, &self.unfinished, &self.path)?;
        Ok(Written { rows: self.rows, bytes, min_time: self.min_time, max_time: self.max_time })
    }
}

/// Makes the folder and opens a file under a name that only a crash leaves behind.
pub(super) fn create(path: &Path) -> Result<(PathBuf, File), Error> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(Error::file(folder))?;
    }
    let unfinished = path.with_extension("tmp");
    let file = File::create(&unfinished).map_err(Error::file(&unfinished))?;
    Ok((unfinished, file))
}

/// Footer, fsync, rename, fsync of the folders; returns the size.
pub(super) fn finish(writer: SerializedFileWriter<File>, unfinished: &Path, path: &Path) -> Result<u64, Error> {
    let file = writer.into_inner().map_err(Error::write(path))?;
    file.sync_all().map_err(Error::file(path))?;
    let bytes = file.metadata().map_err(Error::file(path))?.len();
    std::fs::rename(unfinished, path).map_err(Error::file(path))?;
    // The day's folder, and the folder above, because the day's may be new.
    for folder in path.ancestors().skip(1).take(3) {
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(Error::file(folder))?;
    }
    Ok(bytes)
}

pub(super) fn write_points(
    out: &mut SerializedRowGroupWriter<'_, File>,
    points: &[(ByteArray, usize)],
) -> parquet::errors::Result<()> {
    let mut column = out.next_column()?.expect("the schema has this column");
    let mut batch = Vec::with_capacity(PAGE_ROWS);
    for (id, rows) in points {
        let mut left = *rows;
        while left > 0 {
            let now = left.min(PAGE_ROWS - batch.len());
            batch.extend(std::iter::repeat_n(id, now).cloned());
            left -= now;
            if batch.len() == PAGE_ROWS {
                column.typed::<ByteArrayType>().write_batch(&batch, None, None)?;
                batch.clear();
            }
        }
    }
    column.typed::<ByteArrayType>().write_batch(&batch, None, None)?;
    column.close()
}

pub(super) fn write_column<T: DataType>(
    out: &mut SerializedRowGroupWriter<'_, File>,
    values: &[T::T],
) -> parquet::errors::Result<()> {
    let mut column = out.next_column()?.expect("the schema has this column");
    column.typed::<T>().write_batch(values, None, None)?;
    column.close()
}

fn raw_schema() -> TypePtr {
    let columns = COLUMNS.iter().map(|(name, physical)| {
        let logical = match *name {
            "point" => Some(LogicalType::String),
            "time" => Some(LogicalType::timestamp(true, TimeUnit::MILLIS)),
            _ => None,
        };
        column(name, *physical, logical, Repetition::REQUIRED)
    });
    schema("sample", columns.collect())
}

pub(super) fn column(name: &str, physical: Physical, logical: Option<LogicalType>, repetition: Repetition) -> TypePtr {
    let built =
        Type::primitive_type_builder(name, physical).with_logical_type(logical).with_repetition(repetition).build();
    Arc::new(built.expect("the types of the columns are fixed and fit each other"))
}

pub(super) fn schema(name: &str, columns: Vec<TypePtr>) -> TypePtr {
    Arc::new(Type::group_type_builder(name).with_fields(columns).build().expect("a flat schema is always sound"))
}

/// What raw and rollup files share. Ids are never cut off in statistics: queries rely on them.
pub(super) fn properties(level: i32) -> WriterPropertiesBuilder {
    let zstd = ZstdLevel::try_new(level).expect("the levels used here are between 1 and 22");
    WriterProperties::builder()
        .set_created_by(concat!("davy ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(Compression::ZSTD(zstd))
        .set_statistics_truncate_length(None)
        .set_column_index_truncate_length(None)
        .set_data_page_row_count_limit(PAGE_ROWS)
        .set_write_batch_size(PAGE_ROWS / 4)
        .set_data_page_size_limit(4 << 20)
        .set_max_row_group_row_count(None)
}

fn raw_properties(press: Press) -> WriterProperties {
    let level = match press {
        Press::Quick => 1,
        Press::Hard => 9,
    };
    let at = |index: usize| ColumnPath::from(COLUMNS[index].0);
    let sorted = [POINT, TIME, MICROS].map(|index| SortingColumn {
        column_idx: index as i32,
        descending: false,
        nulls_first: false,
    });
    properties(level)
        .set_column_dictionary_enabled(at(TIME), false)
        .set_column_encoding(at(TIME), Encoding::DELTA_BINARY_PACKED)
        // Where there are too many different values for a dictionary.
        .set_column_encoding(at(VALUE), Encoding::BYTE_STREAM_SPLIT)
        .set_column_statistics_enabled(at(MICROS), EnabledStatistics::Chunk)
        .set_column_statistics_enabled(at(VALUE), EnabledStatistics::Chunk)
        .set_column_statistics_enabled(at(QUALITY), EnabledStatistics::Chunk)
        .set_column_statistics_enabled(at(ARRIVED), EnabledStatistics::Chunk)
        .set_sorting_columns(Some(sorted.to_vec()))
        .set_key_value_metadata(Some(raw_notes()))
        .build()
}

/// For whoever opens the file in ten years.
fn raw_notes() -> Vec<KeyValue> {
    let note = |key: &str, text: String| KeyValue::new(key.to_owned(), text);
    vec![
        note("davy.time", "when the sensor measured, UTC; micros are the microseconds within the millisecond".into()),
        note("davy.value", "in the point's unit; means nothing where quality is bad".into()),
        note("davy.quality", quality_note()),
        note(
            "davy.arrived",
            "half seconds from the full half second at or before time to the one behind which the sample reached davy"
                .into(),
        ),
    ]
}

/// `0 is good; bits: 4 line_break (bad), ...`
pub(super) fn quality_note() -> String {
    let bits = Reason::ALL.iter().map(|reason| {
        let grade = match reason.grade() {
            Grade::Good => "good",
            Grade::Uncertain => "uncertain",
            Grade::Bad => "bad",
        };
        format!("{} {} ({grade})", *reason as u16, reason.word())
    });
    format!("0 is good; else a sum of bits, the worst of them counts: {}", bits.collect::<Vec<_>>().join(", "))
}
