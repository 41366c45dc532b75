//! The real binary where it needs neither root nor a daemon: usage, configuration, output, exit status.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on shall fail")]

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

/// The output and the exit status of one run of the program.
#[derive(Debug)]
struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_macvlan-shim"));
    command
        .args(arguments)
        .env_remove("RUST_LOG")
        .env_remove("NO_COLOR")
        .env("RUST_BACKTRACE", "0")
        .env("LC_ALL", "C");
    command
}

fn run(arguments: &[&str]) -> Ran {
    let Output { status, stdout, stderr } = program(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran { code: status.code(), out: text(stdout), err: text(stderr) }
}

/// A configuration file in its own folder.
fn file(text: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.toml");
    std::fs::write(&path, text).unwrap();
    (folder, path)
}

/// A daemon that answers one request with this text.
fn daemon(code: &str, body: &'static str) -> (TempDir, String) {
    daemon_at("/1.0/status", code, body)
}

/// The same for a request of this path.
fn daemon_at(path: &'static str, code: &str, body: &'static str) -> (TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("control.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let head = format!("HTTP/1.1 {code}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0; 4096];
        let length = stream.read(&mut request).unwrap();
        let request = String::from_utf8_lossy(&request[..length]);
        assert!(request.starts_with(&format!("GET {path} HTTP/1.1\r\n")), "{request}");
        stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes())).unwrap();
    });
    let socket = shown(&socket).to_owned();
    (folder, socket)
}

fn shown(path: &Path) -> &str {
    path.to_str().unwrap()
}

mod usage {
    use super::*;

    #[test]
    fn the_version_is_the_packages() {
        let ran = run(&["--version"]);
        assert_eq!(
            (ran.code, ran.out.as_str()),
            (Some(0), concat!("macvlan-shim ", env!("CARGO_PKG_VERSION"), "\n"))
        );
    }

    #[test]
    fn help_names_the_commands_and_the_exit_status() {
        let ran = run(&["--help"]);
        assert_eq!(ran.code, Some(0));
        for word in [
            "run",
            "status",
            "explain",
            "metrics",
            "plan",
            "doctor",
            "cleanup",
            "config",
            "--config <FILE>",
            "--socket <PATH>",
            "Exit status:",
        ] {
            assert!(ran.out.contains(word), "{word}: {}", ran.out);
        }
    }

    #[test]
    fn wrong_usage_is_two() {
        let wrong: [&[&str]; 8] = [
            &[],
            &["config"],
            &["restart"],
            &["status", "--jsn"],
            &["status", "--check", "--watch"],
            &["explain"],
            &["explain", ""],
            &["--config"],
        ];
        for arguments in wrong {
            let ran = run(arguments);
            assert_eq!((ran.code, ran.out.as_str()), (Some(2), ""), "{arguments:?}");
            assert!(ran.err.contains("--help"), "{}", ran.err);
        }
    }
}

mod configuration {
    use super::*;

    #[test]
    fn a_good_file_is_ok() {
        let (_folder, path) = file("[shim]\nkeep = true\n");
        let ran = run(&["config", "check", "--config", shown(&path)]);
        assert_eq!((ran.code, ran.out), (Some(0), format!("{}: ok\n", path.display())));
    }

    #[test]
    fn a_bad_file_is_told_in_full_by_every_command_that_reads_it() {
        let (_folder, path) = file("[shim]\naddresses = [\"192.168.1.5/24\"]\n\n[polcy]\n");
        let name = path.display();
        let expected = format!(
            r#"macvlan-shim: {name}, line 2: shim.addresses: "192.168.1.5/24" has a prefix length; own addresses are written without prefix length
  2 | addresses = ["192.168.1.5/24"]
    |              ^^^^^^^^^^^^^^^^
  hint: write "192.168.1.5"
{name}, line 4: there is no section "polcy"
  4 | [polcy]
    |  ^^^^^
  hint: did you mean [policy]? the sections are [[server]], [select], [shim], [[parent]], [policy], [metrics]
"#
        );
        for command in [&["config", "check"][..], &["config", "show"], &["plan"], &["run"]] {
            let ran = run(&[command, &["--config", shown(&path)]].concat());
            assert_eq!((ran.code, ran.err, ran.out.as_str()), (Some(2), expected.clone(), ""), "{command:?}");
        }
    }

    #[test]
    fn the_files_beside_it_are_read_too() {
        let (folder, path) = file("[shim]\nkeep = true\n");
        let beside = folder.path().join("conf.d");
        std::fs::create_dir(&beside).unwrap();
        std::fs::write(beside.join("20-policy.toml"), "[policy]\nmax_addresses = 7\n").unwrap();
        std::fs::write(beside.join("10-shim.toml"), "[shim]\nipv6 = false\n").unwrap();
        let (check, show) =
            (["config", "check", "--config", shown(&path)], ["config", "show", "--config", shown(&path)]);
        let files = [path.clone(), beside.join("10-shim.toml"), beside.join("20-policy.toml")];
        let ok: String = files.iter().map(|file| format!("{}: ok\n", file.display())).collect();
        let ran = run(&check);
        assert_eq!((ran.code, ran.out), (Some(0), ok));
        let together = run(&show).out;
        assert!(together.contains("ipv6 = false\nkeep = true\n"), "{together}");
        assert!(together.contains("max_addresses = 7\n"), "{together}");

        std::fs::write(beside.join("30-again.toml"), "[policy]\nmax_addresses = 7\n[polcy]\n").unwrap();
        let expected = format!(
            r#"macvlan-shim: {again}, line 2: policy.max_addresses is already in {first}, line 2
  2 | max_addresses = 7
    | ^^^^^^^^^^^^^
  hint: a key may be in only one file
{again}, line 3: there is no section "polcy"
  3 | [polcy]
    |  ^^^^^
  hint: did you mean [policy]? the sections are [[server]], [select], [shim], [[parent]], [policy], [metrics]
"#,
            again = beside.join("30-again.toml").display(),
            first = beside.join("20-policy.toml").display(),
        );
        let ran = run(&check);
        assert_eq!((ran.code, ran.err, ran.out.as_str()), (Some(2), expected, ""));
    }

    #[test]
    fn a_file_that_is_named_must_exist() {
        let ran = run(&["--config", "/nowhere/c.toml", "config", "check"]);
        assert_eq!(ran.code, Some(2));
        assert_eq!(ran.err, "macvlan-shim: /nowhere/c.toml: there is no such file\n");
    }

    #[test]
    fn the_output_of_config_show_is_a_file_that_shows_the_same() {
        let (folder, path) = file("[[parent]]\nname = 'eth1'\nroutes = ['192.168.124.160/27']\n");
        let shown_once = run(&["config", "show", "--config", shown(&path)]);
        assert_eq!(shown_once.code, Some(0));
        assert!(shown_once.out.contains("max_addresses = 32\n"), "{}", shown_once.out);
        let again = folder.path().join("again.toml");
        std::fs::write(&again, &shown_once.out).unwrap();
        assert_eq!(run(&["config", "show", "--config", shown(&again)]).out, shown_once.out);
    }

    #[test]
    fn config_show_has_the_same_keys_in_json() {
        let (_folder, path) = file("[[parent]]\nname = 'eth1'\nroutes = ['192.168.124.160/27']\n");
        let ran = run(&["config", "show", "--json", "--config", shown(&path)]);
        let json: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
        assert_eq!(json["policy"]["max_addresses"], 32);
        assert_eq!(
            (&json["parent"][0]["name"], &json["parent"][0]["routes"][0]),
            (&"eth1".into(), &"192.168.124.160/27".into())
        );
    }

    #[test]
    fn a_reader_that_goes_away_is_no_error() {
        let mut child =
            program(&["config", "show"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let Output { status, stderr, .. } = child.wait_with_output().unwrap();
        assert_eq!((status.code(), String::from_utf8_lossy(&stderr).as_ref()), (Some(0), ""));
    }
}

mod status {
    use super::*;

    const NOTHING: &str = r#"{
  "version": "0.1.0",
  "host": "node",
  "started": "2026-11-30T14:00:00Z",
  "time": "2026-11-30T14:02:00Z",
  "counts": {"wanted": 0, "reached": 0},
  "ready": true,
  "servers": [],
  "shims": [],
  "guests": [],
  "unclaimed": [],
  "problems": [],
  "a_newer_key": 1
}
"#;

    #[test]
    fn without_a_daemon_it_is_three() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("control.sock");
        let expected = format!(
            "macvlan-shim: no daemon answers at {}\n  nothing of it stands\n  hint: is this the path that its --socket names?\n",
            socket.display()
        );
        let ran = run(&["status", "--socket", shown(&socket)]);
        assert_eq!((ran.code, ran.err, ran.out.as_str()), (Some(3), expected.clone(), ""));
        // A dead daemon leaves its socket behind.
        drop(UnixListener::bind(&socket).unwrap());
        let ran = run(&["status", "--json", "--socket", shown(&socket)]);
        assert_eq!((ran.code, ran.err, ran.out.as_str()), (Some(3), expected, ""));
    }

    #[test]
    fn the_json_is_the_daemons_own() {
        let (_folder, socket) = daemon("200 OK", NOTHING);
        let ran = run(&["status", "--json", "--socket", &socket]);
        assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (Some(0), NOTHING, ""));
    }

    #[test]
    fn people_get_words() {
        let (_folder, socket) = daemon("200 OK", NOTHING);
        let ran = run(&["status", "--socket", &socket]);
        assert_eq!(ran.code, Some(0));
        assert_eq!(
            ran.out,
            "o macvlan-shim 0.1.0 on node, up 2 min: there is no running guest to serve\n\nno problems\n"
        );
    }

    #[test]
    fn a_refusal_is_passed_on() {
        let (_folder, socket) = daemon("503 Service Unavailable", r#"{"error": "the daemon is stopping"}"#);
        let ran = run(&["status", "--socket", &socket]);
        let expected =
            format!("macvlan-shim: the daemon at {socket} refuses to answer\n  the daemon is stopping\n");
        assert_eq!((ran.code, ran.err), (Some(1), expected));
    }

    #[test]
    fn a_daemon_of_another_version_is_named() {
        let (_folder, socket) = daemon("200 OK", r#"{"version": "9.0.0", "ready": "perhaps"}"#);
        let ran = run(&["status", "--socket", &socket]);
        assert_eq!(ran.code, Some(1));
        let expected = "macvlan-shim: the daemon (version 9.0.0) gives an answer that this version does not understand\n";
        assert!(ran.err.starts_with(expected), "{}", ran.err);
        assert!(ran.err.contains("  hint: this is version "), "{}", ran.err);
    }

    #[test]
    fn watching_goes_on_when_the_daemon_goes_and_comes() {
        let (folder, socket) = daemon("200 OK", NOTHING);
        let mut child =
            program(&["status", "--watch", "--socket", &socket]).stdout(Stdio::piped()).spawn().unwrap();
        let mut out = child.stdout.take().unwrap();
        let mut seen = String::new();
        while !(seen.contains("no problems\n") && seen.contains("no daemon answers")) {
            let mut some = [0; 4096];
            let length = out.read(&mut some).unwrap();
            assert_ne!(length, 0, "it ended: {seen}");
            seen += std::str::from_utf8(&some[..length]).unwrap();
        }
        nix::sys::signal::kill(
            nix::unistd::Pid::from_raw(child.id().cast_signed()),
            nix::sys::signal::SIGINT,
        )
        .unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(0));
        drop(folder);
    }
}

mod explain {
    use super::*;

    /// A guest whose address is refused, as a daemon explains it.
    const REFUSED: &str = r#"{
      "version": "0.1.0", "subject": "db-07", "daemon": true, "similar": null, "a_newer_key": 1,
      "explanations": [{
        "subject": "lxd:db-07 eth0", "verdict": "", "reached": false,
        "steps": [{"name": "server", "state": "good", "sentence": "lxd 5.0.2 is connected; it says that db-07 runs"}],
        "addresses": [{
          "address": "192.168.100.1", "reached": false, "wanted": true, "way": null,
          "steps": [
            {"name": "address", "state": "bad", "reason": "next-hop", "sentence": "192.168.100.1 is refused",
             "evidence": ["default via 192.168.100.1 dev eth0"],
             "cure": {"sentence": "take the address from the guest",
                      "commands": ["lxc exec db-07 -- ip address del 192.168.100.1/24 dev eth0"]},
             "rules": [{"code": "denied", "refusal": null}, {"code": "next-hop", "refusal": "it is the gateway"}]},
            {"name": "route", "state": "skipped", "sentence": "depends on 6 (address)"}
          ]
        }]
      }]
    }"#;

    const SHOWN: &str = "\
lxd:db-07 eth0 and this host do NOT reach each other

  1 + server    lxd 5.0.2 is connected; it says that db-07 runs
  6 x address   192.168.100.1 is refused (next-hop)
                default via 192.168.100.1 dev eth0
  7 - route     depends on 6 (address)

Cure: take the address from the guest
  lxc exec db-07 -- ip address del 192.168.100.1/24 dev eth0
";

    #[test]
    fn the_first_step_that_fails_is_marked_and_its_cure_is_a_command() {
        let (_folder, socket) = daemon_at("/1.0/explain?subject=db-07", "200 OK", REFUSED);
        let ran = run(&["explain", "db-07", "--socket", &socket]);
        assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (Some(1), SHOWN, ""));
    }

    #[test]
    fn all_shows_the_rules_and_json_everything() {
        let (_folder, socket) = daemon_at("/1.0/explain?subject=db-07", "200 OK", REFUSED);
        let ran = run(&["explain", "db-07", "--all", "--socket", &socket]);
        assert!(ran.out.contains("                + denied            does not refuse it\n"), "{}", ran.out);
        assert!(ran.out.contains("                x next-hop          it is the gateway\n"), "{}", ran.out);
        let (_folder, socket) = daemon_at("/1.0/explain?subject=db-07", "200 OK", REFUSED);
        let ran = run(&["explain", "db-07", "--json", "--socket", &socket]);
        let json: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
        let explanation = &json["explanations"][0];
        assert_eq!(explanation["verdict"], "lxd:db-07 eth0 and this host do NOT reach each other");
        assert_eq!(explanation["addresses"][0]["steps"][0]["reason"], "next-hop");
        assert_eq!((ran.code, &explanation["reached"]), (Some(1), &serde_json::json!(false)));
    }

    #[test]
    fn a_subject_is_sent_as_it_is() {
        let (_folder, socket) = daemon_at(
            "/1.0/explain?subject=lxd%3Ashop%2Fa+b",
            "503 Service Unavailable",
            r#"{"error": "e"}"#,
        );
        let ran = run(&["explain", "lxd:shop/a b", "--socket", &socket]);
        assert_eq!(ran.code, Some(1));
        assert!(ran.err.ends_with("refuses to answer\n  e\n"), "{}", ran.err);
    }

    #[test]
    fn an_unknown_name_is_one_and_the_servers_are_asked_for_it() {
        const NOTHING: &str = r#"{"version": "0.1.0", "subject": "weeb", "daemon": true, "explanations": [], "similar": "web"}"#;
        let (_folder, socket) = daemon_at("/1.0/explain?subject=weeb", "200 OK", NOTHING);
        let (_file, config) = file("[[server]]\nsocket = \"/nowhere/unix.socket\"\n");
        let ran = run(&["explain", "weeb", "--socket", &socket, "--config", shown(&config)]);
        let expected = "\
macvlan-shim: no guest is called weeb
  /nowhere/unix.socket: no socket at /nowhere/unix.socket
  hint: did you mean web?
";
        assert_eq!((ran.code, ran.err.as_str(), ran.out.as_str()), (Some(1), expected, ""));
    }

    #[test]
    fn a_daemon_without_explanations_is_to_be_restarted() {
        let (_folder, socket) = daemon_at(
            "/1.0/explain?subject=web",
            "404 Not Found",
            r#"{"error": "there is no /1.0/explain; there are /1.0 and /1.0/status"}"#,
        );
        let ran = run(&["explain", "web", "--socket", &socket]);
        assert_eq!(ran.code, Some(1));
        assert!(ran.err.contains("  hint: it is of another version; restart it"), "{}", ran.err);
    }
}

mod metrics {
    use super::*;

    #[test]
    fn the_text_is_the_daemons_own() {
        let text = "# TYPE macvlan_shim_ready gauge\nmacvlan_shim_ready 1\n";
        let (_folder, socket) = daemon_at("/metrics", "200 OK", text);
        let ran = run(&["metrics", "--socket", &socket]);
        assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (Some(0), text, ""));
    }

    #[test]
    fn without_a_daemon_it_is_three_and_prints_nothing() {
        let ran = run(&["metrics", "--socket", "/nowhere/control.sock"]);
        assert_eq!((ran.code, ran.out.as_str()), (Some(3), ""));
        assert!(ran.err.contains("no daemon answers at /nowhere/control.sock"), "{}", ran.err);
    }

    #[test]
    fn an_older_daemon_says_that_it_has_none() {
        let (_folder, socket) =
            daemon_at("/metrics", "404 Not Found", r#"{"error": "there is no /metrics"}"#);
        let ran = run(&["metrics", "--socket", &socket]);
        assert_eq!((ran.code, ran.out.as_str()), (Some(1), ""));
        assert!(ran.err.contains("there is no /metrics"), "{}", ran.err);
    }
}
