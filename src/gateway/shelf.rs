//! The rules folder as the gateway writes to it: one file at a time, whole or not at all.
//!
//! A text is written beside the file and renamed over it, with the permissions that the file had. A text on the disk
//! that is nobody's version is kept under another name before it is written over: an edit that waits, or that is
//! broken, is somebody's work.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Component, Path, PathBuf};

/// Names of rule files and of the folders that they are in.
const LONGEST_PATH: usize = 200;

/// A path as people may name it: relative, of plain names, a rule file.
pub fn check_path(path: &str) -> Result<(), String> {
    let plain = Path::new(path).components().all(|part| match part {
        Component::Normal(name) => !name.to_string_lossy().starts_with('.'),
        Component::Prefix(_) | Component::RootDir | Component::CurDir | Component::ParentDir => false,
    });
    let odd = |letter: char| letter.is_control() || "\\:*?\"<>|".contains(letter);
    if !path.ends_with(".rhai") || path.len() > LONGEST_PATH || !plain || path.contains("//") || path.contains(odd) {
        return Err(format!("{path:?} is not a rule file below the rules folder, such as coal/methane.rhai"));
    }
    Ok(())
}

/// A text that is on the disk already, beside the file that it is to become.
#[derive(Debug)]
pub struct Ready {
    target: PathBuf,
    beside: PathBuf,
}

impl Ready {
    /// Writes the text beside the file; the file itself stays as it is.
    pub fn write(folder: &Path, path: &str, text: &str) -> Result<Self, String> {
        let target = folder.join(path);
        let told = |error: io::Error| format!("{}: cannot be written: {error}", target.display());
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent).map_err(told)?;
        }
        // Not .rhai, and with a dot in front: whoever reads the folder passes over it.
        let name = target.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let ready = Self { beside: target.with_file_name(format!(".{name}.davy-new")), target };
        let written = ready.fill(text);
        written.map_err(|error| format!("{}: cannot be written: {error}", ready.target.display()))?;
        Ok(ready)
    }

    fn fill(&self, text: &str) -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(&self.beside)?;
        file.write_all(text.as_bytes())?;
        match fs::metadata(&self.target) {
            // A file that its owner has locked is not to be changed from here either.
            Ok(known) if known.permissions().readonly() => {
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, "the file is read-only"));
            }
            Ok(known) => file.set_permissions(known.permissions())?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        file.sync_all()
    }

    /// Puts the file in its place. `known`: is that text a version? If what stood there is not, it is kept, and its
    /// new name told.
    pub fn place(self, text: &str, known: impl FnOnce(&str) -> bool) -> Result<Option<String>, String> {
        let told = |error: io::Error| format!("{}: cannot be written: {error}", self.target.display());
        let mut kept = None;
        if let Ok(there) = fs::read_to_string(&self.target)
            && there != text
            && !known(&there)
        {
            let name =
                self.target.file_name().map(|name| format!("{}.kept", name.to_string_lossy())).unwrap_or_default();
            fs::copy(&self.target, self.target.with_file_name(&name)).map_err(told)?;
            kept = Some(name);
        }
        fs::rename(&self.beside, &self.target).map_err(told)?;
        // The name is durable when the folder is; where a folder cannot be opened it is as good as it gets.
        if let Some(folder) = self.target.parent().and_then(|parent| File::open(parent).ok()) {
            folder.sync_all().map_err(told)?;
        }
        Ok(kept)
    }
}

impl Drop for Ready {
    fn drop(&mut self) {
        // Renamed, or not wanted.
        fs::remove_file(&self.beside).ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_rule_files_below_the_folder_have_paths() {
        for good in ["coal.rhai", "coal/methane.rhai", "煤矿/瓦斯.rhai"] {
            assert_eq!(check_path(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "/etc/x.rhai",
            "../x.rhai",
            "a/../x.rhai",
            "./x.rhai",
            "a//x.rhai",
            "x.txt",
            ".x.rhai",
            "a/.b/x.rhai",
            "a\\x.rhai",
            "a\nb.rhai",
        ] {
            assert!(check_path(bad).is_err(), "{bad:?}");
        }
        assert!(check_path(&format!("{}.rhai", "x".repeat(200))).is_err());
    }

    #[test]
    fn a_text_takes_the_place_of_a_version_and_keeps_an_edit_that_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
        let put = |text: &str, known: &str| {
            Ready::write(folder.path(), "coal/a.rhai", text).unwrap().place(text, |there| there == known).unwrap()
        };
        assert_eq!(put("one", ""), None);
        assert_eq!(put("two", "one"), None);
        fs::write(folder.path().join("coal/a.rhai"), "by hand").unwrap();
        assert_eq!(put("three", "two").as_deref(), Some("a.rhai.kept"));
        assert_eq!((read("coal/a.rhai").as_str(), read("coal/a.rhai.kept").as_str()), ("three", "by hand"));
        drop(Ready::write(folder.path(), "coal/a.rhai", "four").unwrap());
        assert_eq!(read("coal/a.rhai"), "three", "not placed");
        assert_eq!(fs::read_dir(folder.path().join("coal")).unwrap().count(), 2, "nothing is left beside");
    }

    #[cfg(unix)]
    #[test]
    fn permissions_stay_and_a_locked_file_is_refused() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.rhai");
        fs::write(&file, "one").unwrap();
        let mode = |bits| fs::set_permissions(&file, fs::Permissions::from_mode(bits)).unwrap();
        mode(0o640);
        Ready::write(folder.path(), "a.rhai", "two").unwrap().place("two", |_| true).unwrap();
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
        mode(0o440);
        let refused = Ready::write(folder.path(), "a.rhai", "three").unwrap_err();
        assert!(refused.contains("a.rhai: cannot be written: the file is read-only"), "{refused}");
        // A folder cannot stand where the file is to go.
        assert!(Ready::write(&file, "b.rhai", "x").is_err());
    }
}
