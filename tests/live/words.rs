//! The words of a server reach a terminal, the log and systemd as text, and as nothing else.

use std::os::unix::net::UnixDatagram;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::Daemon;
use lab::stand_in::{Answer, container};
use serde_json::{Value, json};

use crate::node::{BINARY, Node, PATIENCE};
use crate::storms::Crowd;

/// The socket where the daemon reports to systemd.
const NOTIFY: &str = "/run/lab/notify";
/// Words of a server that clear the screen, begin a new line, and reverse the direction of writing.
const EVIL: &str = "\u{1b}[2Jbusy\nMAINPID=1\r\u{1b}]0;x\u{7}\u{9b}1m\u{202e}";
/// The same, in the form in which they may be shown.
const SHOWN: &str = r"busy\nMAINPID=1\r";

/// Every message that the daemon sent to systemd.
#[derive(Clone)]
struct Notices(Arc<Mutex<Vec<String>>>);

impl Notices {
    fn of(crowd: &Crowd) -> Result<Notices> {
        crowd.host.sh("mkdir -p /run/lab")?;
        let socket = UnixDatagram::bind(crowd.host.path(NOTIFY)).context("the socket of systemd")?;
        let notices = Notices(Arc::default());
        let all = Arc::clone(&notices.0);
        std::thread::spawn(move || {
            let mut buffer = [0; 65536];
            while let Ok(length) = socket.recv(&mut buffer) {
                let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
                all.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push(text);
            }
        });
        Ok(notices)
    }

    fn all(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone()
    }

    /// Each message has only our assignments, each once.
    fn are_ours(&self) -> Result<()> {
        for notice in self.all() {
            let names: Vec<&str> =
                notice.lines().map(|line| line.split_once('=').map_or(line, |(name, _)| name)).collect();
            let known = ["READY", "STATUS", "WATCHDOG", "RELOADING", "MONOTONIC_USEC", "STOPPING"];
            ensure!(names.iter().all(|name| known.contains(name)), "systemd was told {notice:?}");
            ensure!(!names.contains(&"STATUS") || names.len() == 1, "systemd was told {notice:?}");
            is_plain(&notice)?;
        }
        Ok(())
    }
}

/// Nothing controls a terminal, and no line is the server's own.
fn is_plain(text: &str) -> Result<()> {
    let steers = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
    ensure!(!text.contains(steers), "it controls a terminal: {text:?}");
    ensure!(!text.lines().any(|line| line.starts_with("MAINPID")), "a server's line: {text:?}");
    Ok(())
}

fn lxd(status: &Value) -> Value {
    let mut servers = status["servers"].as_array().into_iter().flatten();
    servers.find(|server| server["id"] == "lxd").cloned().unwrap_or_default()
}

/// The output of each command, and the daemon's messages to the log and systemd.
fn all_is_plain(crowd: &Crowd, daemon: &Daemon, notices: &Notices) -> Result<String> {
    let mut all = String::new();
    for command in ["status", "status --json", "plan", "plan --json"] {
        // Its refusals also have words of servers.
        let printed = crowd.host.sh(&format!("{BINARY} {command} 2>&1 || [ $? = 1 ]"))?;
        is_plain(&printed).with_context(|| command.to_owned())?;
        all.push_str(&printed);
    }
    for line in daemon.output() {
        is_plain(&line).context("the log")?;
        all.push_str(&format!("{line}\n"));
    }
    notices.are_ours()?;
    Ok(all)
}

#[test]
fn the_words_of_a_server_are_text_wherever_they_are_shown() -> Result<()> {
    let crowd = Crowd::new()?;
    let notices = Notices::of(&crowd)?;
    crowd.server.change_server(|server| {
        for key in ["server_name", "server_version"] {
            server["environment"][key] = json!(format!("5.0.2 {EVIL}"));
        }
    });
    let mut named = container(&format!("web{EVIL}"), "00:16:3e:00:00:01", &format!("eth0{EVIL}"));
    named["project"] = json!(format!("p{EVIL}"));
    named["expanded_config"]["user.macvlan-shim.enabled"] = json!(EVIL);
    let mut served = container("served", "00:16:3e:00:00:00", "eth0");
    served["expanded_config"]["user.macvlan-shim.enabled"] = json!(EVIL);
    crowd.server.set_instances(json!([named, served]));
    crowd.host.sh(&crate::storms::appear(0, 1))?;
    let notify = format!("NOTIFY_SOCKET={NOTIFY}");
    let node = Node::start_by(&crowd.host, &["env", &notify, BINARY, "run"])?;
    let told = all_is_plain(&crowd, &node.daemon, &notices)?;
    ensure!(told.contains("MAINPID=1") && told.contains("web"), "the names are not shown: {told}");

    // The server fails, and gives a reason: as JSON, and as something else.
    let error = json!({"type": "error", "error_code": 500, "error": EVIL, "metadata": null}).to_string();
    for (path, body) in [("/1.0/instances", error.clone()), ("/1.0/instances", EVIL.to_owned()), ("/", error)]
    {
        crowd.server.answer(path, Answer::Status(500, body));
        crowd.server.cut();
        node.wait("the server fails", |status| lxd(status)["state"] == "failed")?;
        all_is_plain(&crowd, &node.daemon, &notices)?;
        crowd.server.answer_well();
        node.wait("the server is well", |status| lxd(status)["state"] == "connected")?;
    }
    crowd.server.answer(
        "/1.0/instances",
        Answer::Status(500, json!({"type": "error", "error_code": 500, "error": EVIL}).to_string()),
    );
    crowd.server.cut();
    let failed = |status: &Value| lxd(status)["message"].as_str().is_some_and(|text| text.contains(SHOWN));
    node.wait("its words are shown", failed)?;
    let told = all_is_plain(&crowd, &node.daemon, &notices)?;
    ensure!(told.matches(SHOWN).count() > 2, "its words are not shown: {told}");
    // systemd gets them as one line. They come within a second.
    lab::until(PATIENCE, "systemd is told", || notices.all().iter().any(|notice| notice.contains(SHOWN)))?;
    std::thread::sleep(Duration::from_millis(100));
    notices.are_ours()?;
    println!("{:#?}", notices.all());
    Ok(())
}
