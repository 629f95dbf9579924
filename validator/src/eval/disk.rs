//! Files of a folder for the file functions. Nothing outside the folder is opened, by a path or by a symbolic link.

use super::functions::{FileError, Files};
use std::io::Read as _;
use std::path::{Component, Path, PathBuf};

/// Files below a folder.
#[derive(Clone, Debug)]
pub struct Disk {
    /// Nothing above it is read.
    bound: PathBuf,
    /// Where relative paths start; inside of the bound.
    base: PathBuf,
    /// Larger files are not read, in bytes.
    max_bytes: u64,
    /// Most files that a listing goes through.
    max_files: usize,
}

impl Disk {
    /// Files below `bound`, relative paths starting at `base`.
    ///
    /// # Errors
    /// If one of the folders does not exist.
    pub fn new(bound: &Path, base: &Path, max_bytes: u64) -> std::io::Result<Self> {
        Ok(Self { bound: bound.canonicalize()?, base: base.canonicalize()?, max_bytes, max_files: 10_000 })
    }

    /// The real path, if it is inside.
    fn real(&self, path: &str) -> Result<PathBuf, FileError> {
        if path.starts_with('~') {
            return Err(FileError::Unavailable("the home folder is not read".into()));
        }
        let wanted = lexical(&self.base.join(path));
        if !wanted.starts_with(&self.bound) {
            return Err(FileError::Unavailable("it is outside of the folder that is analysed".into()));
        }
        let real = wanted.canonicalize().map_err(|e| failure(&e))?;
        if !real.starts_with(&self.bound) {
            return Err(FileError::Unavailable("a link leads out of the folder that is analysed".into()));
        }
        Ok(real)
    }
}

/// Without `.` and `..`, by the text alone.
fn lexical(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                clean.pop();
            }
            other => clean.push(other),
        }
    }
    clean
}

fn failure(error: &std::io::Error) -> FileError {
    match error.kind() {
        std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory => FileError::Missing,
        _ => FileError::Unavailable(error.to_string()),
    }
}

impl Files for Disk {
    fn read(&self, path: &str) -> Result<Vec<u8>, FileError> {
        let real = self.real(path)?;
        let meta = std::fs::metadata(&real).map_err(|e| failure(&e))?;
        if !meta.is_file() {
            return Err(FileError::NotRegular);
        }
        let mut content = Vec::new();
        let file = std::fs::File::open(&real).map_err(|e| failure(&e))?;
        file.take(self.max_bytes.saturating_add(1)).read_to_end(&mut content).map_err(|e| failure(&e))?;
        if content.len() as u64 > self.max_bytes {
            return Err(FileError::Unavailable("it is too large".into()));
        }
        Ok(content)
    }

    fn exists(&self, path: &str) -> Result<bool, FileError> {
        let meta = std::fs::metadata(self.real(path)?).map_err(|e| failure(&e))?;
        if meta.is_file() { Ok(true) } else { Err(FileError::NotRegular) }
    }

    fn list(&self, folder: &str) -> Result<Vec<String>, FileError> {
        let root = self.real(folder)?;
        let mut found = Vec::new();
        let mut open = vec![(root.clone(), String::new())];
        let mut entries = 0;
        while let Some((path, name)) = open.pop() {
            for entry in std::fs::read_dir(&path).map_err(|e| failure(&e))? {
                let entry = entry.map_err(|e| failure(&e))?;
                entries += 1;
                if entries > self.max_files {
                    return Err(FileError::Unavailable("the folder has too many files".into()));
                }
                let Some(part) = entry.file_name().to_str().map(str::to_string) else {
                    return Err(FileError::Unavailable("a name in the folder is not valid text".into()));
                };
                let name = if name.is_empty() { part } else { format!("{name}/{part}") };
                let kind = entry.file_type().map_err(|e| failure(&e))?;
                if kind.is_symlink() {
                    // Where it leads decides whether it counts; that is not followed here.
                    return Err(FileError::Unavailable("the folder has symbolic links".into()));
                }
                if kind.is_dir() {
                    open.push((entry.path(), name));
                } else if kind.is_file() {
                    found.push(name);
                }
            }
        }
        found.sort();
        Ok(found)
    }
}
