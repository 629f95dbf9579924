//! Functions of paths and files. What lies outside the caller's bounds is unknown; what is certainly missing is an error.

use super::encoding::digest;
use super::{Call, Fault, Outcome};
use crate::eval::types::Type;
use crate::eval::value::{Cause, CauseKind, Value};

/// Why a file was not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileError {
    /// There is none.
    Missing,
    /// It is a directory or something else that is no regular file.
    NotRegular,
    /// It may not be read here, or is too large, or could not be read; Terraform might.
    Unavailable(String),
}

/// The files that configuration may read. Paths are as written: relative ones start at the folder that Terraform runs in.
pub trait Files: Sync {
    /// The content.
    fn read(&self, path: &str) -> Result<Vec<u8>, FileError>;
    /// Whether it is there as a regular file, without reading it.
    fn exists(&self, path: &str) -> Result<bool, FileError>;
    /// Paths of all regular files below a folder, relative to it, with `/`. A missing folder has none.
    fn list(&self, folder: &str) -> Result<Vec<String>, FileError>;
}

/// No files at all: everything is unavailable.
#[derive(Clone, Copy, Debug)]
pub struct NoFiles;

impl Files for NoFiles {
    fn read(&self, _: &str) -> Result<Vec<u8>, FileError> {
        Err(FileError::Unavailable("files are not read here".into()))
    }
    fn exists(&self, _: &str) -> Result<bool, FileError> {
        Err(FileError::Unavailable("files are not read here".into()))
    }
    fn list(&self, _: &str) -> Result<Vec<String>, FileError> {
        Err(FileError::Unavailable("files are not read here".into()))
    }
}

/// Content, an unknown in its place, or the error that Terraform has too.
pub(super) fn content(call: &Call<'_>, path: &str, ty: &Type) -> Result<Result<Vec<u8>, Value>, Fault> {
    match call.env.files.read(path) {
        Ok(bytes) if call.fits(bytes.len() as u64) => Ok(Ok(bytes)),
        Ok(_) => Ok(Err(call.too_large(ty.clone()))),
        Err(error) => failed(error, path, ty).map(Err),
    }
}

fn failed(error: FileError, path: &str, ty: &Type) -> Outcome {
    match error {
        FileError::Missing => Err(Fault::argument(0, format!("no file exists at \"{path}\""))),
        FileError::NotRegular => Err(Fault::argument(0, format!("\"{path}\" is not a regular file"))),
        FileError::Unavailable(why) => Ok(Value::unknown_not_null(
            ty.clone(),
            Cause::new(CauseKind::NotAnalysed, format!("file \"{path}\": {why}")),
        )),
    }
}

pub(super) fn file(call: &Call<'_>) -> Outcome {
    let path = call.text(0)?;
    let bytes = match content(call, path, &Type::String)? {
        Ok(bytes) => bytes,
        Err(unknown) => return Ok(unknown),
    };
    String::from_utf8(bytes).map(Value::string).map_err(|_| {
        Fault::call(format!("contents of \"{path}\" are not valid UTF-8; use filebase64 or a hash of the file instead"))
    })
}

fn digested(call: &Call<'_>, f: fn(&[u8]) -> String) -> Outcome {
    Ok(match content(call, call.text(0)?, &Type::String)? {
        Ok(bytes) => Value::string(f(&bytes)),
        Err(unknown) => unknown,
    })
}

pub(super) fn filebase64(call: &Call<'_>) -> Outcome {
    digested(call, digest::base64)
}
pub(super) fn filebase64sha256(call: &Call<'_>) -> Outcome {
    digested(call, digest::base64sha256)
}
pub(super) fn filebase64sha512(call: &Call<'_>) -> Outcome {
    digested(call, digest::base64sha512)
}
pub(super) fn filemd5(call: &Call<'_>) -> Outcome {
    digested(call, digest::md5)
}
pub(super) fn filesha1(call: &Call<'_>) -> Outcome {
    digested(call, digest::sha1)
}
pub(super) fn filesha256(call: &Call<'_>) -> Outcome {
    digested(call, digest::sha256)
}
pub(super) fn filesha512(call: &Call<'_>) -> Outcome {
    digested(call, digest::sha512)
}

pub(super) fn fileexists(call: &Call<'_>) -> Outcome {
    let path = call.text(0)?;
    match call.env.files.exists(path) {
        Ok(there) => Ok(Value::bool(there)),
        Err(FileError::Missing) => Ok(Value::bool(false)),
        Err(error) => failed(error, path, &Type::Bool),
    }
}

pub(super) fn fileset(call: &Call<'_>) -> Outcome {
    let ty = Type::set(Type::String);
    let (folder, pattern) = (call.text(0)?, clean(call.text(1)?));
    if pattern.contains(['[', ']', '{', '}', '\\']) || pattern.split('/').any(|s| s == "..") {
        return Ok(call.unknown(ty));
    }
    let names = match call.env.files.list(folder) {
        Ok(names) => names,
        Err(FileError::Missing | FileError::NotRegular) => Vec::new(),
        Err(error) => return failed(error, folder, &ty),
    };
    let segments: Vec<&str> = pattern.split('/').collect();
    let found = names.iter().filter(|n| matches_path(&segments, &n.split('/').collect::<Vec<_>>()));
    Ok(Value::set(Type::String, found.map(Value::string).collect()))
}

/// Whether a path matches; `**` stands for any number of folders.
fn matches_path(pattern: &[&str], path: &[&str]) -> bool {
    match (pattern.first(), path.first()) {
        (None, None) => true,
        (Some(&"**"), _) if pattern.len() == 1 => !path.is_empty(),
        (Some(&"**"), _) => (0..=path.len()).any(|skip| matches_path(&pattern[1..], &path[skip..])),
        (Some(p), Some(n)) => matches_name(p, n) && matches_path(&pattern[1..], &path[1..]),
        _ => false,
    }
}

/// `*` and `?` in one name, without recursion.
fn matches_name(pattern: &str, name: &str) -> bool {
    let (p, n): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut i, mut j, mut star) = (0, 0, None);
    while j < n.len() {
        match p.get(i) {
            Some('*') => {
                star = Some((i, j));
                i += 1;
            }
            Some(c) if *c == '?' || *c == n[j] => {
                i += 1;
                j += 1;
            }
            _ => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    i = at + 1;
                    j = from + 1;
                }
                None => return false,
            },
        }
    }
    p[i..].iter().all(|c| *c == '*')
}

/// A path in its shortest form, by its text alone.
pub fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => match parts.last() {
                Some(&"..") | None if !rooted => parts.push(".."),
                Some(_) => {
                    parts.pop();
                }
                None => {}
            },
            name => parts.push(name),
        }
    }
    let joined = parts.join("/");
    match (rooted, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".into(),
        (false, false) => joined,
    }
}

pub(super) fn basename(call: &Call<'_>) -> Outcome {
    let path = call.text(0)?;
    let trimmed = path.trim_end_matches('/');
    Ok(Value::string(match (path.is_empty(), trimmed.rsplit('/').next().unwrap_or("")) {
        (true, _) => ".",
        (false, "") => "/",
        (false, name) => name,
    }))
}

pub(super) fn dirname(call: &Call<'_>) -> Outcome {
    let path = call.text(0)?;
    Ok(Value::string(clean(path.rfind('/').map_or("", |at| &path[..=at]))))
}

/// Known for a path that is absolute already; others depend on where Terraform runs.
pub(super) fn abspath(call: &Call<'_>) -> Outcome {
    let path = call.text(0)?;
    Ok(if path.starts_with('/') { Value::string(clean(path)) } else { call.unknown(Type::String) })
}

/// Known for a path without a home folder in front.
pub(super) fn pathexpand(call: &Call<'_>) -> Outcome {
    let path = call.text(0)?;
    Ok(if path.starts_with('~') { call.unknown(Type::String) } else { Value::string(path) })
}
