//! Reads Parquet files of ours: one point quickly, or everything in order.
//!
//! In comes a path; out come rows. A file sorted by point and time tells by the statistics of its row groups
//! and pages where a point's rows are: only those pages are read and unpacked. Everything that a damaged
//! file can do wrong ends as an [`Error::Damaged`] with its path.

use std::collections::VecDeque;
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parquet::basic::Type as Physical;
use parquet::column::reader::{ColumnReaderImpl, get_column_reader, get_typed_column_reader};
use parquet::data_type::{ByteArray, ByteArrayType, DataType, DoubleType, Int32Type, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader};
use parquet::file::page_index::column_index::ColumnIndexMetaData;
use parquet::file::serialized_reader::SerializedPageReader;

use super::Error;
use super::footer::Footers;
use super::row::Row;
use super::write::{ARRIVED, COLUMNS, MICROS, POINT, QUALITY, TIME, VALUE};
use crate::model::Quality;

/// An open file of ours with its footer.
#[derive(Debug)]
pub(super) struct Opened {
    pub path: PathBuf,
    file: Arc<File>,
    footer: Arc<ParquetMetaData>,
}

/// Neighbouring rows of one point within a row group.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Run {
    pub id: ByteArray,
    pub group: usize,
    pub rows: Range<usize>,
}

impl Opened {
    /// `columns`: what a file of this kind must look like.
    pub fn open(path: &Path, columns: &[(&str, Physical)], footers: &Footers) -> Result<Self, Error> {
        let file =
            File::open(path).map_err(|error| Error::Damaged { path: path.to_owned(), what: error.to_string() })?;
        let footer = match footers.get(path) {
            Some(footer) => footer,
            None => {
                let reader = ParquetMetaDataReader::new().with_page_index_policy(PageIndexPolicy::Optional);
                let footer = Arc::new(reader.parse_and_finish(&file).map_err(Error::damaged(path))?);
                footers.keep(path, &footer);
                footer
            }
        };
        let found = footer.file_metadata().schema_descr().columns();
        let fits = found.len() == columns.len()
            && found.iter().zip(columns).all(|(found, (name, physical))| {
                found.name() == *name && found.physical_type() == *physical && found.max_rep_level() == 0
            });
        if !fits {
            return Err(Error::Damaged {
                path: path.to_owned(),
                what: "its columns are not those of davy's history".into(),
            });
        }
        Ok(Self { path: path.to_owned(), file: Arc::new(file), footer })
    }

    pub fn open_raw(path: &Path, footers: &Footers) -> Result<Self, Error> {
        match Self::open(path, &COLUMNS, footers) {
            Err(Error::Damaged { .. }) => Self::open(path, &COLUMNS[..ARRIVED], footers),
            read => read,
        }
    }

    /// Does it say when samples arrived?
    fn tells_arrival(&self) -> bool {
        self.footer.file_metadata().schema_descr().num_columns() > ARRIVED
    }

    fn fault(&self) -> impl FnOnce(ParquetError) -> Error + '_ {
        Error::damaged(&self.path)
    }

    /// Rows `rows` of a column of a group.
    pub fn read<T: DataType>(&self, group: usize, column: usize, rows: &Range<usize>) -> Result<Vec<T::T>, Error> {
        let mut reader = self.column::<T>(group, column)?;
        let mut values = Vec::with_capacity(rows.len());
        skip(&mut reader, rows.start).map_err(self.fault())?;
        take(&mut reader, rows.len(), &mut values).map_err(self.fault())?;
        Ok(values)
    }

    /// The same of a column that may be empty in places.
    pub fn read_optional<T: DataType>(
        &self,
        group: usize,
        column: usize,
        rows: &Range<usize>,
    ) -> Result<Vec<Option<T::T>>, Error> {
        let mut reader = self.column::<T>(group, column)?;
        let (mut levels, mut values) = (Vec::new(), Vec::new());
        skip(&mut reader, rows.start).map_err(self.fault())?;
        let (found, _, _) =
            reader.read_records(rows.len(), Some(&mut levels), None, &mut values).map_err(self.fault())?;
        if found != rows.len() {
            return Err(self.fault()(short()));
        }
        let mut values = values.into_iter();
        Ok(levels.into_iter().map(|level| if level == 0 { None } else { values.next() }).collect())
    }

    fn column<T: DataType>(&self, group: usize, column: usize) -> Result<ColumnReaderImpl<T>, Error> {
        let about = self.footer.row_group(group);
        let rows = usize::try_from(about.num_rows()).map_err(|_| self.fault()(short()))?;
        let locations = self.footer.page_index_for_row_group(group).page_locations(column).cloned();
        let chunk = about.column(column);
        let pages = SerializedPageReader::new(self.file.clone(), chunk, rows, locations).map_err(self.fault())?;
        Ok(get_typed_column_reader(get_column_reader(chunk.column_descr_ptr(), Box::new(pages))))
    }

    fn groups(&self) -> usize {
        self.footer.num_row_groups()
    }

    fn group_rows(&self, group: usize) -> usize {
        usize::try_from(self.footer.row_group(group).num_rows()).unwrap_or(0)
    }

    /// May the group hold rows of the point?
    fn may_hold(&self, group: usize, id: &[u8]) -> bool {
        let Some(statistics) = self.footer.row_group(group).column(POINT).statistics() else { return true };
        statistics.min_bytes_opt().is_none_or(|min| min <= id) && statistics.max_bytes_opt().is_none_or(|max| id <= max)
    }

    /// Where a point's rows are.
    pub fn find(&self, id: &str) -> Result<Vec<Run>, Error> {
        let mut runs = Vec::new();
        for group in 0..self.groups() {
            if self.may_hold(group, id.as_bytes()) {
                runs.extend(self.runs(group, Some(id.as_bytes()))?);
            }
        }
        Ok(runs)
    }

    /// The points of a group with their rows, in order; only the asked one if there is one. Pages that hold
    /// one point only are not read: their statistics say it.
    pub fn runs(&self, group: usize, only: Option<&[u8]>) -> Result<Vec<Run>, Error> {
        let rows = self.group_rows(group);
        let index = self.footer.page_index_for_row_group(group);
        let locations = index.page_locations(POINT);
        let bounds = match index.column_index(POINT) {
            Some(ColumnIndexMetaData::BYTE_ARRAY(bounds)) => Some(bounds),
            Some(_) | None => None,
        };
        let starts: Vec<usize> =
            locations.map_or_else(|| vec![0], |pages| pages.iter().map(|page| page.first_row_index as usize).collect());
        let mut reader = None;
        let mut read_to = 0;
        let mut runs: Vec<Run> = Vec::new();
        for (page, start) in starts.iter().enumerate() {
            let end = starts.get(page + 1).copied().unwrap_or(rows);
            let min = bounds.and_then(|bounds| bounds.min_value(page));
            let max = bounds.and_then(|bounds| bounds.max_value(page));
            if let (Some(id), Some(min), Some(max)) = (only, min, max)
                && !(min <= id && id <= max)
            {
                continue;
            }
            if let (Some(min), Some(max)) = (min, max)
                && min == max
            {
                extend(&mut runs, group, &ByteArray::from(min), *start..end);
                continue;
            }
            let reader = match &mut reader {
                Some(reader) => reader,
                none => none.insert(self.column::<ByteArrayType>(group, POINT)?),
            };
            skip(reader, start - read_to).map_err(self.fault())?;
            let mut ids = Vec::with_capacity(end - start);
            take(reader, end - start, &mut ids).map_err(self.fault())?;
            read_to = end;
            let mut at = *start;
            for same in ids.chunk_by(|a, b| a == b) {
                extend(&mut runs, group, &same[0], at..at + same.len());
                at += same.len();
            }
        }
        if let Some(id) = only {
            runs.retain(|run| run.id.data() == id);
        }
        Ok(runs)
    }

    /// The part of a run whose pages may hold times in `[from, to)`; cheap, by statistics only.
    fn narrow(&self, run: &Run, from_ms: i64, to_ms: i64) -> Range<usize> {
        let index = self.footer.page_index_for_row_group(run.group);
        let (Some(pages), Some(ColumnIndexMetaData::INT64(bounds))) =
            (index.page_locations(TIME), index.column_index(TIME))
        else {
            return run.rows.clone();
        };
        let rows = self.group_rows(run.group);
        let mut narrow = run.rows.clone();
        for (page, location) in pages.iter().enumerate() {
            let start = location.first_row_index as usize;
            let end = pages.get(page + 1).map_or(rows, |next| next.first_row_index as usize);
            if end <= run.rows.start || start >= run.rows.end {
                continue;
            }
            if bounds.max_value(page).is_some_and(|max| *max < from_ms) {
                narrow.start = narrow.start.max(end.min(run.rows.end));
            }
            if bounds.min_value(page).is_some_and(|min| *min > to_ms) {
                narrow.end = narrow.end.min(start.max(run.rows.start));
            }
        }
        narrow.start..narrow.end.max(narrow.start)
    }

    /// A point's rows in `[from, to)`, appended in order.
    pub fn rows(&self, id: &str, from: i64, to: i64, into: &mut Vec<Row>) -> Result<(), Error> {
        for run in self.find(id)? {
            let rows = self.narrow(&run, from.div_euclid(1_000), to.div_euclid(1_000));
            if !rows.is_empty() {
                self.read_rows(run.group, &rows, |row| {
                    if (from..to).contains(&row.time) {
                        into.push(row);
                    }
                })?;
            }
        }
        Ok(())
    }

    fn read_rows(&self, group: usize, rows: &Range<usize>, mut each: impl FnMut(Row)) -> Result<(), Error> {
        let time = self.read::<Int64Type>(group, TIME, rows)?;
        let micros = self.read::<Int32Type>(group, MICROS, rows)?;
        let value = self.read::<DoubleType>(group, VALUE, rows)?;
        let quality = self.read::<Int32Type>(group, QUALITY, rows)?;
        let arrived = match self.tells_arrival() {
            true => self.read::<Int32Type>(group, ARRIVED, rows)?,
            false => vec![0; rows.len()],
        };
        let columns = time.into_iter().zip(micros).zip(value).zip(quality).zip(arrived);
        for ((((time, micros), value), quality), arrived) in columns {
            each(row(time, micros, value, quality, arrived));
        }
        Ok(())
    }
}

fn row(ms: i64, micros: i32, value: f64, quality: i32, arrived: i32) -> Row {
    let time = ms.saturating_mul(1_000).saturating_add(i64::from(micros));
    Row { time, value, quality: Quality::from_bits(quality as u16), arrived }
}

/// Joins a run to the one before it when they touch.
fn extend(runs: &mut Vec<Run>, group: usize, id: &ByteArray, rows: Range<usize>) {
    match runs.last_mut() {
        Some(last) if last.rows.end == rows.start && last.id == *id => last.rows.end = rows.end,
        Some(_) | None => runs.push(Run { id: id.clone(), group, rows }),
    }
}

fn short() -> ParquetError {
    ParquetError::General("it holds fewer rows than its footer says".into())
}

fn skip<T: DataType>(reader: &mut ColumnReaderImpl<T>, rows: usize) -> Result<(), ParquetError> {
    if reader.skip_records(rows)? == rows { Ok(()) } else { Err(short()) }
}

fn take<T: DataType>(reader: &mut ColumnReaderImpl<T>, rows: usize, into: &mut Vec<T::T>) -> Result<(), ParquetError> {
    let (found, _, _) = reader.read_records(rows, None, None, into)?;
    if found == rows { Ok(()) } else { Err(short()) }
}

/// Everything in a raw file, point after point. Memory: the pages at hand and the runs of one row group.
pub(super) struct Stream {
    opened: Opened,
    next_group: usize,
    runs: VecDeque<Run>,
    columns: Option<Columns>,
}

struct Columns {
    time: ColumnReaderImpl<Int64Type>,
    micros: ColumnReaderImpl<Int32Type>,
    value: ColumnReaderImpl<DoubleType>,
    quality: ColumnReaderImpl<Int32Type>,
    arrived: Option<ColumnReaderImpl<Int32Type>>,
}

impl Stream {
    pub fn open(path: &Path, footers: &Footers) -> Result<Self, Error> {
        let mut stream =
            Self { opened: Opened::open_raw(path, footers)?, next_group: 0, runs: VecDeque::new(), columns: None };
        stream.advance()?;
        Ok(stream)
    }

    /// The id of the next rows; `None` at the end.
    pub fn point(&self) -> Option<&[u8]> {
        self.runs.front().map(|run| run.id.data())
    }

    pub fn path(&self) -> &Path {
        &self.opened.path
    }

    fn advance(&mut self) -> Result<(), Error> {
        while self.runs.is_empty() && self.next_group < self.opened.groups() {
            let group = self.next_group;
            self.runs = self.opened.runs(group, None)?.into();
            self.columns = Some(Columns {
                time: self.opened.column(group, TIME)?,
                micros: self.opened.column(group, MICROS)?,
                value: self.opened.column(group, VALUE)?,
                quality: self.opened.column(group, QUALITY)?,
                arrived: match self.opened.tells_arrival() {
                    true => Some(self.opened.column(group, ARRIVED)?),
                    false => None,
                },
            });
            self.next_group += 1;
        }
        Ok(())
    }

    /// All rows of the next point, over row groups, appended.
    pub fn take_point(&mut self, into: &mut Vec<Row>) -> Result<(), Error> {
        let Some(id) = self.runs.front().map(|run| run.id.clone()) else { return Ok(()) };
        let (mut time, mut micros, mut value, mut quality) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut arrived = Vec::new();
        while self.runs.front().is_some_and(|run| run.id == id) {
            let rows = self.runs.pop_front().map_or(0, |run| run.rows.len());
            let columns = self.columns.as_mut().expect("runs are only there together with the columns of their group");
            (|| {
                take(&mut columns.time, rows, &mut time)?;
                take(&mut columns.micros, rows, &mut micros)?;
                take(&mut columns.value, rows, &mut value)?;
                take(&mut columns.quality, rows, &mut quality)?;
                match &mut columns.arrived {
                    Some(column) => take(column, rows, &mut arrived),
                    None => {
                        arrived.resize(time.len(), 0);
                        Ok(())
                    }
                }
            })()
            .map_err(Error::damaged(&self.opened.path))?;
            self.advance()?;
        }
        let columns = time.into_iter().zip(micros).zip(value).zip(quality).zip(arrived);
        into.extend(
            columns.map(|((((time, micros), value), quality), arrived)| row(time, micros, value, quality, arrived)),
        );
        Ok(())
    }
}
