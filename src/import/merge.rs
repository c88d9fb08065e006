//! A sheet laid over a point table: which cells change, and the table as it is then.

use std::collections::{HashMap, HashSet};

use super::{Line, Sheet};
use crate::config::{Row, Table, same_cell};

/// What a merge leads to. Ids in the order of their files.
#[derive(Debug, Default)]
pub struct Merged {
    pub added: Vec<String>,
    pub changed: Vec<Change>,
    pub unchanged: usize,
    /// In the table, of a site of the sheet, and not in the sheet.
    pub absent: Vec<String>,
    /// The new table.
    pub text: String,
}

/// Column, old cell and new cell.
#[derive(Debug, PartialEq, Eq)]
pub struct Change {
    pub id: String,
    pub cells: Vec<(String, String, String)>,
}

/// A row of the old table by the names of its columns.
pub(super) struct OldRow<'a> {
    columns: &'a csv::StringRecord,
    row: &'a Row<'a>,
}

impl OldRow<'_> {
    pub fn cell(&self, column: &str) -> &str {
        self.columns.iter().zip(&self.row.cells).find(|(known, _)| *known == column).map_or("", |(_, cell)| cell)
    }
}

pub(super) fn by_id<'a>(old: Option<&'a Table<'a>>) -> HashMap<&'a str, OldRow<'a>> {
    let rows = old.into_iter().flat_map(|table| table.rows.iter().map(|row| OldRow { columns: &table.columns, row }));
    let id =
        |row: &OldRow<'a>| row.columns.iter().zip(&row.row.cells).find(|(name, _)| *name == "id").map(|(_, id)| id);
    rows.filter_map(|row| Some((id(&row)?, row))).collect()
}

/// The cells of a point after the merge.
pub(super) fn laid_over(line: &Line, there: Option<&OldRow<'_>>) -> Vec<(String, String)> {
    let mut cells = line.cells.clone();
    if let Some(there) = there {
        for (column, cell) in there.columns.iter().zip(&there.row.cells) {
            if !cells.iter().any(|(known, _)| known == column) {
                cells.push((column.to_owned(), cell.to_owned()));
            }
        }
    }
    cells
}

/// Lays `sheet` over `old`. With `retire`, points that are absent from the sheet leave the table.
#[must_use]
pub fn write(old: Option<&Table<'_>>, sheet: &Sheet, retire: bool) -> Merged {
    let old_rows = by_id(old);
    let by_line: HashMap<&str, &Line> = sheet.lines.iter().map(|line| (line.cell("id"), line)).collect();
    let mut columns: Vec<String> = old.map_or_else(Vec::new, |old| old.columns.iter().map(str::to_owned).collect());
    let mut known: HashSet<String> = columns.iter().cloned().collect();
    for (column, _) in sheet.lines.iter().flat_map(|line| &line.cells).filter(|(_, cell)| !cell.is_empty()) {
        if known.insert(column.clone()) {
            columns.push(column.clone());
        }
    }
    if old.is_none() {
        columns.sort_by_key(|column| rank(column));
    }
    let mut merged = Merged::default();
    let sites: HashSet<&str> = sheet.lines.iter().map(|line| site(line.cell("id"))).collect();
    let mut text = old.map_or_else(String::new, |old| old.head.to_owned());
    push(&mut text, columns.iter().map(String::as_str));
    for row in old.iter().flat_map(|old| &old.rows) {
        let of = OldRow { columns: &old.expect("its row is at hand").columns, row };
        let id = of.cell("id");
        let Some(line) = by_line.get(id) else {
            if sites.contains(site(id)) {
                merged.absent.push(id.to_owned());
                if retire {
                    continue;
                }
            }
            text.push_str(row.above);
            push(&mut text, columns.iter().map(|column| of.cell(column)));
            continue;
        };
        let whole: HashMap<String, String> = laid_over(line, Some(&of)).into_iter().collect();
        let new = |column: &String| whole.get(column).map_or("", String::as_str);
        let cells: Vec<_> = columns
            .iter()
            .filter(|column| !same_cell(column, of.cell(column), new(column)))
            .map(|column| (column.clone(), of.cell(column).to_owned(), new(column).to_owned()))
            .collect();
        if cells.is_empty() {
            merged.unchanged += 1;
        } else {
            merged.changed.push(Change { id: id.to_owned(), cells });
        }
        text.push_str(row.above);
        push(&mut text, columns.iter().map(new));
    }
    for line in sheet.lines.iter().filter(|line| !old_rows.contains_key(line.cell("id"))) {
        merged.added.push(line.cell("id").to_owned());
        push(&mut text, columns.iter().map(|column| line.cell(column)));
    }
    text.push_str(old.map_or("", |old| old.foot));
    merged.text = text;
    merged
}

fn site(id: &str) -> &str {
    id.split('.').next().unwrap_or(id)
}

/// What a person looks for first stands first.
fn rank(column: &str) -> (usize, String) {
    const FIRST: [&str; 11] = [
        "id",
        "name",
        "kind",
        "place",
        "unit",
        "range.low",
        "range.high",
        "resolution",
        "period",
        "longitude",
        "latitude",
    ];
    const GROUPS: [&str; 4] = ["limits.", "mqtt.", "modbus.", "notes."];
    let place = FIRST.iter().position(|first| *first == column).unwrap_or_else(|| {
        let group = GROUPS.iter().position(|group| column.starts_with(group));
        FIRST.len() + group.map_or(0, |group| group + 1)
    });
    (place, column.to_owned())
}

/// One CSV record. The separator, quotes and a leading `#` are quoted by the writer.
fn push<'a>(text: &mut String, cells: impl Iterator<Item = &'a str>) {
    let mut writer = csv::WriterBuilder::new().comment(Some(b'#')).from_writer(Vec::new());
    let bytes = writer.write_record(cells).ok().and_then(|()| writer.into_inner().ok());
    let line = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    text.push_str(&line.expect("records are written to memory as the text that they are"));
}
