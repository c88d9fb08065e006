//! `/api/v1/cases/{id}/files`: photos and files of a case, kept under the data folder by their SHA-256.
//!
//! In comes a body with a name; out goes the case with its new file, or the bytes as they were given. A file is on
//! the disk before the step that names it is in the journal; a name is never a path; what a browser is told of the
//! kind goes by the first bytes, and whatever is no picture is offered for saving rather than shown.

use std::io::Write as _;
use std::path::{Path as FilePath, PathBuf};

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::alarms::plain;
use super::cases::{find, policy, take};
use super::gate::hex;
use super::users::{Person, Role};
use super::{Error, Shared};
use crate::clock;
use crate::response::case::{CaseFile, CaseStep};

/// The largest body; `[case] file_mib` is below it.
pub(super) const BODY_BYTES: usize = 32 << 20;
/// Characters of a name.
const LONGEST_NAME: usize = 120;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    name: String,
    #[serde(default)]
    by: String,
}

pub(super) async fn attach(
    State(edge): State<Shared>,
    person: Person,
    id: Result<Path<String>, PathRejection>,
    asked: Result<Query<Asked>, QueryRejection>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Value>, Error> {
    let (Path(id), Query(asked)) = (id?, asked?);
    let by = person.acts(Role::Operator, &asked.by)?;
    let name = file_name(&asked.name)?;
    let rule = policy(&edge);
    let too_large = || Error::too_large(format!("一个文件最多 / one file has at most {} bytes", rule.file_bytes));
    let body = body.map_err(|_| too_large())?;
    if body.len() as u64 > rule.file_bytes {
        return Err(too_large());
    }
    if body.is_empty() {
        return Err(Error::bad("the file is empty"));
    }
    let case = find(&edge, &id).await?;
    let all: u64 = case.files.iter().map(|file| file.bytes).sum();
    if !case.is_open() || case.files.len() >= rule.files || all + body.len() as u64 > rule.files_bytes {
        return Err(Error::refused(format!(
            "已销号或附件已满 / it is closed, or full: at most {} files and {} bytes in all",
            rule.files, rule.files_bytes
        )));
    }
    let sha256 = hex(&Sha256::digest(&body));
    let (kind, bytes) = (kind_of(&body), body.len() as u64);
    let (folder, hash) = (edge.web.case_files.clone(), sha256.clone());
    edge.read("keeping the file", move |_| keep(&folder, &hash, &body)).await?;
    take(&edge, &id, &by, |order| {
        let file = CaseFile { name, sha256, bytes, kind: kind.into(), by: order.by.clone(), at: order.at };
        CaseStep::Attached { order, file }
    })
    .await
}

pub(super) async fn show(
    State(edge): State<Shared>,
    place: Result<Path<(String, String)>, PathRejection>,
) -> Result<Response, Error> {
    let Path((id, sha256)) = place?;
    let case = find(&edge, &id).await?;
    let file = case.files.into_iter().find(|file| file.sha256 == sha256);
    let file = file.ok_or_else(|| Error::no_such("file of that case", &sha256))?;
    // A hash that is on record, so that no path can be made of what was asked.
    let path = edge.web.case_files.join(&file.sha256);
    let bytes = edge.read("reading the file", move |_| std::fs::read(path)).await?;
    if hex(&Sha256::digest(&bytes)) != file.sha256 {
        return Err(Error::inside("reading the file", &format!("{} is not what was attached", file.sha256)));
    }
    let way = if file.kind.starts_with("image/") { "inline" } else { "attachment" };
    let disposition = format!("{way}; filename*=UTF-8''{}", escaped(&file.name));
    let disposition = HeaderValue::from_str(&disposition).unwrap_or(HeaderValue::from_static("attachment"));
    let kind = HeaderValue::from_static(kind_of(&bytes));
    Ok(([(header::CONTENT_TYPE, kind), (header::CONTENT_DISPOSITION, disposition)], bytes).into_response())
}

/// A name that is a name everywhere: no folders, nothing hidden, no device of any system.
fn file_name(name: &str) -> Result<String, Error> {
    let name = plain("name", name, LONGEST_NAME)?;
    let stem = name.split('.').next().unwrap_or_default().to_ascii_uppercase();
    let numbered = |prefix: &str| {
        stem.strip_prefix(prefix).is_some_and(|rest| rest.len() == 1 && rest.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let device = ["CON", "PRN", "AUX", "NUL"].contains(&stem.as_str()) || numbered("COM") || numbered("LPT");
    // Marks that turn the direction of writing make one kind of file look like another.
    let turns = |c: char| ('\u{202a}'..='\u{202e}').contains(&c) || ('\u{2066}'..='\u{2069}').contains(&c);
    let wrong = name.is_empty() || name.starts_with('.') || name.ends_with('.') || device;
    if wrong || name.contains(['/', '\\', ':', '*', '?', '"', '<', '>', '|']) || name.contains(turns) {
        return Err(Error::bad(format!("name: {name:?} is no file name, such as \"face-3201.jpg\"")));
    }
    Ok(name)
}

/// By the first bytes; whatever else was claimed.
fn kind_of(bytes: &[u8]) -> &'static str {
    match bytes {
        [0xff, 0xd8, 0xff, ..] => "image/jpeg",
        [0x89, b'P', b'N', b'G', 0x0d, 0x0a, 0x1a, 0x0a, ..] => "image/png",
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => "image/webp",
        [b'%', b'P', b'D', b'F', b'-', ..] => "application/pdf",
        _ => "application/octet-stream",
    }
}

/// Durable when it returns. The same bytes are kept once, whoever gives them.
fn keep(folder: &FilePath, sha256: &str, bytes: &[u8]) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    let path = folder.join(sha256);
    if std::fs::read(&path).is_ok_and(|known| known == bytes) {
        return Ok(());
    }
    let part: PathBuf = folder.join(format!("{sha256}.{}.part", clock::now().micros()));
    let mut file = std::fs::File::create(&part)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all()).and_then(|()| std::fs::rename(&part, &path));
    if written.is_err() {
        std::fs::remove_file(&part).ok();
    }
    written?;
    std::fs::File::open(folder)?.sync_all()
}

/// Takes away what an upload left that the gateway did not live to finish. Only before requests are taken in.
pub(super) fn sweep(folder: &FilePath) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for path in
        entries.flatten().map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|of| of == "part"))
    {
        if let Err(cause) = std::fs::remove_file(&path) {
            tracing::warn!(path = %path.display(), %cause, "an unfinished upload cannot be removed: remove it by hand");
        }
    }
}

fn escaped(name: &str) -> String {
    use std::fmt::Write as _;
    name.bytes().fold(String::new(), |mut text, byte| {
        if byte.is_ascii_alphanumeric() || b"-_.".contains(&byte) {
            text.push(char::from(byte));
        } else {
            write!(text, "%{byte:02X}").expect("a string takes every write");
        }
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_never_a_path_a_device_or_a_trick() {
        for fine in ["face-3201.jpg", "现场 照片 1.png", "a", "report.v2.pdf", "COMPANY.txt"] {
            assert_eq!(file_name(fine).ok().as_deref(), Some(fine));
        }
        let long = "x".repeat(LONGEST_NAME + 1);
        for hostile in [
            "",
            " ",
            ".",
            "..",
            "../facts.db",
            "/etc/passwd",
            "a/b",
            "a\\b",
            "C:evil",
            ".hidden",
            "a.",
            "con",
            "NUL.txt",
            "com1.jpg",
            "a\nb",
            "a\0b",
            "photo\u{202e}gpj.exe",
            "a\"b",
            "<x>",
            &long,
        ] {
            assert!(file_name(hostile).is_err(), "{hostile:?}");
        }
    }

    #[test]
    fn the_kind_goes_by_the_bytes_and_a_page_is_never_served_as_one() {
        assert_eq!(kind_of(&[0xff, 0xd8, 0xff, 0xe0]), "image/jpeg");
        assert_eq!(kind_of(b"\x89PNG\r\n\x1a\n..."), "image/png");
        assert_eq!(kind_of(b"RIFF....WEBPVP8 "), "image/webp");
        assert_eq!(kind_of(b"%PDF-1.7"), "application/pdf");
        for other in [&b"<html><script>"[..], b"<svg onload=", b"GIF", b"", b"\xff\xd8"] {
            assert_eq!(kind_of(other), "application/octet-stream");
        }
        assert_eq!(escaped("现场 \"1\".jpg"), "%E7%8E%B0%E5%9C%BA%20%221%22.jpg");
    }

    #[test]
    fn the_same_bytes_are_kept_once_and_damage_is_mended_by_giving_them_again() {
        let folder = tempfile::tempdir().unwrap();
        let hash = hex(&Sha256::digest(b"photo"));
        keep(folder.path(), &hash, b"photo").unwrap();
        keep(folder.path(), &hash, b"photo").unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        std::fs::write(folder.path().join(&hash), b"ph").unwrap();
        keep(folder.path(), &hash, b"photo").unwrap();
        assert_eq!(std::fs::read(folder.path().join(&hash)).unwrap(), b"photo");
    }

    #[test]
    fn what_an_interrupted_upload_left_is_swept_and_kept_files_stay() {
        let folder = tempfile::tempdir().unwrap();
        let hash = hex(&Sha256::digest(b"photo"));
        keep(folder.path(), &hash, b"photo").unwrap();
        std::fs::write(folder.path().join(format!("{hash}.17.part")), b"ph").unwrap();
        sweep(folder.path());
        let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, [std::ffi::OsString::from(hash)]);
        sweep(&folder.path().join("none"));
    }
}
