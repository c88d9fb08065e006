//! The rules that Davy ships with, inside the program: for the demo and for benchmarks.

use crate::journal::RuleFile;

#[derive(rust_embed::Embed)]
#[folder = "rules"]
#[include = "*.rhai"]
struct Folder;

/// All rule files, by path.
#[must_use]
pub fn files() -> Vec<RuleFile> {
    let mut files: Vec<RuleFile> = Folder::iter()
        .filter_map(|name| {
            let text = String::from_utf8(Folder::get(&name)?.data.into_owned()).ok()?;
            Some(RuleFile { path: name.to_string(), text })
        })
        .collect();
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}
