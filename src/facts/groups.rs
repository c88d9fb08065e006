//! Alarms that came up together, as rows: one for each group of more than one, with its first-out as it stands now.
//!
//! An alarm's own record has what was known when it last changed; readers get what stands here.

use std::collections::BTreeMap;
use std::sync::Arc;

use rusqlite::params;

use super::{Error, Reader};
use crate::alarm::{Alarm, OccurrenceId, Together};
use crate::response::case::Case;
use crate::response::group::Group;

pub(super) const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS alarm_groups (
        group_id TEXT PRIMARY KEY, group_site TEXT NOT NULL, began INTEGER NOT NULL, first TEXT NOT NULL,
        alarm_count INTEGER NOT NULL, group_body TEXT NOT NULL) WITHOUT ROWID;
";

/// Joins the group of an alarm to its row, and an alarm's record with it.
pub(super) const JOINED: &str = "LEFT JOIN alarm_groups ON group_id = alarms.body ->> '$.together.group'";

pub(super) fn write(change: &rusqlite::Transaction<'_>, group: &Group) -> Result<(), rusqlite::Error> {
    let body = serde_json::to_string(group).expect("plain data always serialises");
    change.prepare_cached("INSERT OR REPLACE INTO alarm_groups VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?.execute(params![
        group.id.as_str(),
        group.site(),
        group.began.micros(),
        group.first.id.as_str(),
        group.alarms,
        body
    ])?;
    Ok(())
}

impl Reader {
    /// Groups of open alarms.
    pub fn groups_of_open(&self) -> Result<Vec<Group>, Error> {
        let select = "SELECT group_body FROM alarm_groups WHERE group_id IN (
                 SELECT body ->> '$.together.group' FROM alarms WHERE standing <> 'normal') ORDER BY group_id";
        self.rows(select, [], |row| self.json(row, 0))
    }

    /// An alarm's record from two columns: as it was written, and its group's row.
    pub(super) fn grouped(&self, row: &rusqlite::Row<'_>) -> Result<Alarm, Error> {
        let mut alarm: Alarm = self.json(row, 0)?;
        if row.get_ref(1).map_err(|source| self.broken(source))? != rusqlite::types::ValueRef::Null {
            let group: Group = self.json(row, 1)?;
            alarm.together = Some(Box::new(group.together()));
        }
        Ok(alarm)
    }

    /// Puts into cases what their alarms' groups are now.
    pub(super) fn group_cases(&self, mut cases: Vec<Case>) -> Result<Vec<Case>, Error> {
        let mut known: BTreeMap<OccurrenceId, Option<Together>> = BTreeMap::new();
        for together in cases.iter_mut().flat_map(|case| &mut case.alarms).filter_map(|of| of.together.as_mut()) {
            let id = &together.group;
            if !known.contains_key(id) {
                let select = "SELECT group_body FROM alarm_groups WHERE group_id = ?1";
                let found = self.rows(select, [id.as_str()], |row| self.json::<Group>(row, 0))?;
                known.insert(id.clone(), found.first().map(Group::together));
            }
            if let Some(Some(now)) = known.get(id) {
                together.alarms = now.alarms;
                together.first = Arc::clone(&now.first);
            }
        }
        Ok(cases)
    }
}
