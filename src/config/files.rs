//! The files that are read: the named one, or the default one, and those in the folder `conf.d` beside it.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::error::Fault;

/// The folder beside the file.
const DROP_INS: &str = "conf.d";

/// The text of a file. Its name only serves the errors.
#[derive(Debug, PartialEq)]
pub(super) struct Source {
    pub(super) file: PathBuf,
    pub(super) text: String,
}

/// The files in the order in which they are read, and those that could not be read. `file` need not exist if
/// it is `optional`.
pub(super) fn read(file: &Path, optional: bool) -> (Vec<Source>, Vec<Fault>) {
    let (mut sources, mut faults) = (Vec::new(), Vec::new());
    let missing = fs::metadata(file).is_err_and(|error| error.kind() == ErrorKind::NotFound);
    let mut files: Vec<PathBuf> = if missing && optional { Vec::new() } else { vec![file.to_owned()] };
    let folder = file.with_file_name(DROP_INS);
    match drop_ins(&folder) {
        Ok(drop_ins) => files.extend(drop_ins),
        Err(error) => faults.push(Fault::unreadable(&folder, &error)),
    }
    for file in files {
        match source(file) {
            Ok(source) => sources.push(source),
            Err(fault) => faults.push(fault),
        }
    }
    (sources, faults)
}

/// The files of the folder in the order of their names, byte by byte, as `ls` shows them with `LC_ALL=C`.
fn drop_ins(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let names: io::Result<Vec<_>> = entries.map(|entry| Ok(entry?.file_name())).collect();
    let mut names: Vec<_> = names?.into_iter().filter(|name| is_drop_in(name)).collect();
    names.sort();
    Ok(names.into_iter().map(|name| folder.join(name)).collect())
}

/// Backups of editors and of package managers have other names.
fn is_drop_in(name: &OsStr) -> bool {
    let name = name.as_encoded_bytes();
    name.ends_with(b".toml") && !name.starts_with(b".")
}

fn source(file: PathBuf) -> Result<Source, Fault> {
    let bytes = fs::read(&file).map_err(|error| Fault::unreadable(&file, &error))?;
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Source { file, text }),
        Err(error) => Err(Fault::not_text(&file, error.as_bytes(), error.utf8_error())),
    }
}
