//! The files that are read, and the answers where they cannot be read.

use std::fs;
use std::io::{Error, ErrorKind};

use tempfile::TempDir;

use super::*;

/// A folder with these files. The first one is the main one.
fn folder(files: &[(&str, &str)]) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let file = folder.path().join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }
    let main = folder.path().join("config.toml");
    (folder, main)
}

/// The faults of these files, without the folder that they are in.
fn refused_in(files: &[(&str, &str)]) -> String {
    let (folder, main) = folder(files);
    let error = Config::load(Some(&main)).map(|loaded| panic!("{loaded:?}")).unwrap_err().to_string();
    error.replace(&format!("{}/", folder.path().display()), "")
}

#[test]
fn a_missing_default_file_is_all_defaults() {
    let folder = tempfile::tempdir().unwrap();
    let loaded = Config::load_or_default(None, &folder.path().join("config.toml")).unwrap();
    assert_eq!(loaded, Loaded { config: Config::default(), files: Vec::new() });
}

#[test]
fn an_empty_default_file_is_all_defaults_and_is_named() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let loaded = Config::load_or_default(None, file.path()).unwrap();
    assert_eq!(loaded, Loaded { config: Config::default(), files: vec![file.path().to_owned()] });
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
    fs::write(file.path(), b"[shim]\nkeep = \xff\n").unwrap();
    let error = Config::load(Some(file.path())).unwrap_err().to_string();
    assert!(error.contains(", line 2: this is not UTF-8 text\n"), "{error}");
}

#[test]
fn the_user_that_must_be_able_to_read_it_is_named() {
    let denied = Error::from(ErrorKind::PermissionDenied);
    let error = ConfigError::new(vec![Fault::unreadable(Path::new("/etc/x.toml"), &denied)]);
    assert_eq!(error.summary(), "/etc/x.toml: it may not be read: permission denied");
    let hint = "the unit's user, macvlan-shim, must be able to read it";
    let cure = "chgrp macvlan-shim /etc/x.toml && chmod g+r /etc/x.toml";
    assert_eq!(error.to_string(), format!("{}\n  hint: {hint}: {cure}", error.summary()));
}

#[test]
fn the_files_beside_it_are_read_in_the_order_of_their_names() {
    let server = |name: &str| format!("[[server]]\nsocket = '/{name}'\n");
    let (folder, main) = folder(&[
        ("config.toml", &server("main")),
        ("conf.d/é.toml", &server("not-ascii")),
        ("conf.d/b.toml", &server("b")),
        ("conf.d/B.toml", &server("B")),
        ("conf.d/10.toml", &server("10")),
        ("conf.d/9.toml", &server("9")),
        ("conf.d/.hidden.toml", "nonsense"),
        ("conf.d/b.toml~", "nonsense"),
        ("conf.d/b.toml.dpkg-old", "nonsense"),
        ("conf.d/README", "nonsense"),
        ("conf.d/deeper/c.toml", "nonsense"),
    ]);
    let Loaded { config, files } = Config::load(Some(&main)).unwrap();
    let read =
        ["config.toml", "conf.d/10.toml", "conf.d/9.toml", "conf.d/B.toml", "conf.d/b.toml", "conf.d/é.toml"];
    assert_eq!(files, read.map(|file| folder.path().join(file)));
    let sockets = ["/main", "/10", "/9", "/B", "/b", "/not-ascii"];
    assert_eq!(config.sockets(), sockets.map(PathBuf::from));
}

#[test]
fn sections_of_several_files_add_up() {
    let (_folder, main) = folder(&[
        ("config.toml", "[shim]\nkeep = true\n[[parent]]\nname = 'eth1'\n"),
        ("conf.d/a.toml", "[shim]\nipv6 = false\n[policy]\nmax_addresses = 7\n"),
        ("conf.d/b.toml", "[[parent]]\nname = 'eth2'\nroutes = ['10.0.0.0/8']\n"),
        ("conf.d/c.toml", ""),
    ]);
    let Config { shim, parents, policy, .. } = Config::load(Some(&main)).unwrap().config;
    assert_eq!((shim.keep, shim.ipv6, policy.max_addresses), (true, false, 7));
    assert_eq!(parents.keys().collect::<Vec<_>>(), ["eth1", "eth2"]);
}

#[test]
fn the_default_file_may_be_missing_beside_others() {
    let (folder, main) = folder(&[("conf.d/a.toml", "[shim]\nkeep = true\n")]);
    let Loaded { config, files } = Config::load_or_default(None, &main).unwrap();
    assert_eq!((config.shim.keep, files), (true, vec![folder.path().join("conf.d/a.toml")]));
    assert!(
        Config::load(Some(&main)).unwrap_err().to_string().ends_with("config.toml: there is no such file")
    );
}

#[test]
fn a_key_in_two_files_names_both() {
    let expected = r#"
conf.d/b.toml, line 3: shim.keep is already in config.toml, line 2
  3 | keep = true
    | ^^^^
  hint: a key may be in only one file"#;
    let files = [
        ("config.toml", "[shim]\nkeep = true\n"),
        ("conf.d/a.toml", "[shim]\nipv6 = true\n"),
        ("conf.d/b.toml", "[shim]\n\nkeep = true\n"),
    ];
    assert_eq!(refused_in(&files), expected.trim_start());
}

#[test]
fn unique_values_are_unique_over_all_files() {
    let expected = r#"
conf.d/a.toml, line 2: parent.name: "eth1" is already in config.toml, line 2
  2 | name = "eth1"
    |        ^^^^^^
conf.d/a.toml, line 3: parent.routes: "10.0.0.0/8" is already in config.toml, line 3
  3 | routes = ["10.0.0.0/8"]
    |           ^^^^^^^^^^^^"#;
    let parent = "[[parent]]\nname = \"eth1\"\nroutes = [\"10.0.0.0/8\"]\n";
    assert_eq!(refused_in(&[("config.toml", parent), ("conf.d/a.toml", parent)]), expected.trim_start());
}

#[test]
fn a_key_of_one_file_bears_on_the_values_of_another() {
    let error = refused_in(&[
        ("config.toml", "[shim]\naddresses = ['fd00::1']\n"),
        ("conf.d/a.toml", "[shim]\nipv6 = false\n"),
    ]);
    assert!(error.starts_with("config.toml, line 2: shim.addresses: \"fd00::1\" is of IPv6"), "{error}");
}

#[test]
fn the_faults_of_all_files_are_reported_at_once() {
    let (folder, main) = folder(&[
        ("config.toml", "[shim]\nkeep = 1\n"),
        ("conf.d/a.toml", "[shim\n"),
        ("conf.d/b.toml", "[polcy]\n"),
        ("conf.d/c.toml/x", ""),
    ]);
    std::os::unix::fs::symlink("nowhere", folder.path().join("conf.d/d.toml")).unwrap();
    let error = Config::load(Some(&main)).unwrap_err().to_string();
    let error = error.replace(&format!("{}/", folder.path().display()), "");
    let told: Vec<&str> = error.lines().filter(|line| line.starts_with("conf")).collect();
    let expected = [
        "conf.d/c.toml: this is a directory; expected a file",
        "conf.d/d.toml: there is no such file",
        "config.toml, line 2: shim.keep is a number; expected true or false, without quotes",
        "conf.d/a.toml, line 1: unclosed table, expected `]`",
        "conf.d/b.toml, line 1: there is no section \"polcy\"",
    ];
    assert_eq!(told, expected, "{error}");
}

#[test]
fn a_file_in_place_of_the_folder_is_reported() {
    let error = refused_in(&[("config.toml", ""), ("conf.d", "")]);
    assert_eq!(error, "conf.d: this is a file; expected a directory");
}
