//! Which file is read, and what is answered where it cannot be.

use super::*;

#[test]
fn a_missing_default_file_is_all_defaults() {
    let folder = tempfile::tempdir().unwrap();
    let loaded = Config::load_or_default(None, &folder.path().join("config.toml")).unwrap();
    assert_eq!(loaded, Loaded { config: Config::default(), file: None });
}

#[test]
fn an_empty_default_file_is_all_defaults_and_is_named() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let loaded = Config::load_or_default(None, file.path()).unwrap();
    assert_eq!(loaded, Loaded { config: Config::default(), file: Some(file.path().to_owned()) });
}

#[test]
fn a_file_that_is_named_must_exist() {
    let error = Config::load(Some(Path::new("/nowhere/c.toml"))).unwrap_err();
    assert_eq!(error.to_string(), "/nowhere/c.toml: there is no such file");
    assert_eq!(error.summary(), error.to_string());
}

#[test]
fn a_directory_is_no_file() {
    let error = Config::load(Some(Path::new("/proc"))).unwrap_err();
    assert_eq!(error.to_string(), "/proc: this is a directory; expected a file");
}

#[test]
fn bytes_that_are_no_text_are_located() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), b"[shim]\nkeep = \xff\n").unwrap();
    let error = Config::load(Some(file.path())).unwrap_err().to_string();
    assert!(error.contains(", line 2: this is not UTF-8 text\n"), "{error}");
}

#[test]
fn who_must_be_able_to_read_it_is_said() {
    let denied = ErrorKind::PermissionDenied.into();
    let error = ConfigError::unreadable(Path::new("/etc/x.toml"), denied);
    assert_eq!(error.summary(), "/etc/x.toml: it may not be read: permission denied");
    let hint = "the unit's user, macvlan-shim, must be able to read it";
    let cure = "chgrp macvlan-shim /etc/x.toml && chmod g+r /etc/x.toml";
    assert_eq!(error.to_string(), format!("{}\n  hint: {hint}: {cure}", error.summary()));
}
