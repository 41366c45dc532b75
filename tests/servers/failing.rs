//! Servers that are silent, hang, refuse, or answer nonsense.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use lab::stand_in::{Answer, StandIn, container};
use macvlan_shim::model::inventory::ServerState;
use macvlan_shim::servers::Patience;
use serde_json::json;
use tokio::time::sleep;

use crate::{Listener, MAC, MS, patience, start, until, with_systemd, without_systemd};

#[tokio::test(start_paused = true)]
async fn a_silent_event_stream_is_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let server = StandIn::start(folder.path()).unwrap();
    let patience = Patience { silence: Duration::from_secs(2), ..patience() };
    let mut listener = Listener::new(&server.socket(), patience, without_systemd(folder.path()));
    listener.connected().await;
    let lost = listener.until("lost", |server| server.state == ServerState::Connecting).await;
    assert_eq!(lost.message.unwrap(), "the event stream was silent for 2s");
    listener.connected().await;
    server.ping_every(50 * MS);
    until("another stream", || server.streams() > 2).await;
    listener.connected().await;
    let streams = server.streams();
    sleep(Duration::from_secs(4)).await;
    assert_eq!(server.streams(), streams);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_hangs_fails_after_a_while_and_keeps_its_guests() {
    for hanging in ["/1.0/events", "/1.0", "/1.0/instances", "/"] {
        let folder = tempfile::tempdir().unwrap();
        let server = StandIn::start(folder.path()).unwrap();
        server.set_instances(json!([container("c1", MAC, "eth0")]));
        let patience = Patience { answer: 300 * MS, list: 300 * MS, ..patience() };
        let mut listener = Listener::new(&server.socket(), patience, without_systemd(folder.path()));
        listener.guests(&["c1"]).await;
        server.answer(hanging, Answer::Hang);
        server.cut();
        let message = listener.failed().await;
        let wanted = if hanging == "/" { "/1.0/events" } else { hanging };
        assert!(message.contains(&format!("GET {wanted}")) && message.contains("within 300ms"), "{message}");
        assert_eq!(listener.server().guests.as_ref().unwrap().len(), 1);
        server.answer_well();
        listener.guests(&["c1"]).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_wrong_answer_is_shown_and_the_server_is_tried_again() {
    let text = |status, body: &str| Answer::Status(status, body.to_owned());
    let bytes = |bytes: &[u8]| Answer::Bytes(bytes.to_owned());
    let error = r#"{"type":"error","error_code":500,"error":"database is locked","metadata":null}"#;
    let forged = r#"{"type":"error","error_code":500,"error":"bad\nMAINPID=1\u202e","metadata":null}"#;
    let huge = format!("{{\"type\":\"sync\",\"metadata\":[\"{}\"]}}", "x".repeat(2 << 20));
    let untrusted = r#"{"type":"sync","metadata":{"auth":"untrusted","environment":{"server":"lxd"}}}"#;
    let stranger = r#"{"type":"sync","metadata":{"auth":"trusted","environment":{"server":"docker"}}}"#;
    for (path, answer, wanted) in [
        ("/1.0/instances", text(200, "<html>"), "the answer begins \"<html>\""),
        ("/1.0/instances", text(200, "{\"type\":\"sync\",\"metadata\":[{\"na"), "expected the JSON"),
        ("/1.0/instances", text(200, ""), "the answer begins nothing"),
        ("/1.0/instances", text(500, error), "the server says 500: database is locked"),
        ("/1.0/instances", text(500, forged), "the server says 500: bad\\nMAINPID=1\\u{202e}"),
        (
            "/1.0/instances",
            text(502, "\u{1b}[31mbad"),
            "the server says 502; the answer begins \"\\u{1b}[31mbad\"",
        ),
        ("/1.0/instances", text(200, &huge), "the answer is longer than 1 MiB"),
        ("/1.0/instances", text(200, r#"{"type":"sync","metadata":{}}"#), "expected a sequence"),
        ("/1.0/instances", text(200, r#"{"type":"async","metadata":{}}"#), "expected"),
        ("/1.0/instances", Answer::Close, "GET /1.0/instances"),
        ("/1.0/instances", bytes(b"\0\x01\x02\x03 not HTTP\r\n\r\n"), "GET /1.0/instances"),
        (
            "/1.0/instances",
            bytes(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"ty"),
            "GET /1.0/instances",
        ),
        ("/1.0", text(200, untrusted), "does not trust us (auth is \"untrusted\")"),
        ("/1.0", text(200, stranger), "the server calls itself \"docker\""),
        ("/1.0", text(200, r#"{"type":"sync","metadata":null}"#), "expected"),
        (
            "/1.0",
            text(403, r#"{"type":"error","error":"not authorized"}"#),
            "the server says 403: not authorized",
        ),
        ("/1.0/events", text(200, "{}"), "expected a WebSocket, but the server says 200"),
        ("/1.0/events", text(403, r#"{"type":"error","error":"not authorized"}"#), "403: not authorized"),
        ("/1.0/events", Answer::Close, "GET /1.0/events"),
        ("/1.0/events", bytes(b"rubbish\r\n\r\n"), "GET /1.0/events"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let server = StandIn::start(folder.path()).unwrap();
        server.answer(path, answer.clone());
        let mut listener = Listener::new(&server.socket(), patience(), without_systemd(folder.path()));
        let message = listener.failed().await;
        assert!(message.contains(wanted), "{path} {answer:?}: {message}");
        assert!(message.len() < 700 && !message.contains(char::is_control), "{message}");
        assert_eq!(listener.server().guests, None);
        server.answer_well();
        listener.connected().await;
        assert_eq!(server.complaints(), Vec::<String>::new());
    }
}

#[tokio::test(start_paused = true)]
async fn a_failed_listing_is_shown_and_does_not_end_the_event_stream() {
    let folder = tempfile::tempdir().unwrap();
    let server = StandIn::start(folder.path()).unwrap();
    // After a lost stream, the follower would wait for the end of a server whose socket systemd holds.
    let host = with_systemd(folder.path(), &[(4_000_000, "lxd --group lxd")]);
    let mut listener = Listener::new(&server.socket(), patience(), host);
    server.set_instances(json!([container("c1", MAC, "eth0")]));
    listener.guests(&["c1"]).await;
    let (streams, listings) = (server.streams(), server.listings());
    server.answer("/1.0/instances", Answer::Status(500, "database is locked".to_owned()));
    server.happens("instance-started");
    assert!(listener.failed().await.contains("the server says 500"));
    assert_eq!(listener.server().guests.as_ref().unwrap().len(), 1);
    until("another try, though nothing happens", || server.listings() > listings + 2).await;
    server.set_instances(json!([container("c2", MAC, "eth0")]));
    server.answer_well();
    server.happens("instance-started");
    assert_eq!(listener.guests(&["c2"]).await.state, ServerState::Connected);
    assert_eq!(server.streams(), streams);
}

#[tokio::test(start_paused = true)]
async fn strange_frames_end_the_stream_and_not_the_follower() {
    for frame in [
        &b"\x81\x7e\x01"[..],                           // half of a header
        b"\x81\x05{\"ty",                               // half of an event
        b"\xf1\x05hello",                               // reserved bits
        b"\x81\x03\xff\xff\xff",                        // no UTF-8
        b"\x81\x7f\x00\x00\x00\x01\x00\x00\x00\x00abc", // 4 GiB
    ] {
        let (_folder, server, mut listener) = start().await;
        listener.connected().await;
        server.raw(frame);
        server.cut();
        server.set_instances(json!([container("c1", MAC, "eth0")]));
        listener.guests(&["c1"]).await;
        assert!(server.streams() > 1);
    }
}

/// Until it is dropped, this thread accesses files as the user nobody.
struct Nobody;

impl Nobody {
    fn new() -> Nobody {
        nix::unistd::setfsuid(65534.into());
        Nobody
    }
}

impl Drop for Nobody {
    fn drop(&mut self) {
        nix::unistd::setfsuid(nix::unistd::geteuid());
    }
}

#[tokio::test(start_paused = true)]
async fn lack_of_permission_is_shown_with_the_cure() {
    let folder = tempfile::tempdir().unwrap();
    let server = StandIn::start(folder.path()).unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(server.socket(), fs::Permissions::from_mode(0o600)).unwrap();
    if nix::unistd::geteuid().is_root() {
        std::os::unix::fs::chown(server.socket(), None, Some(1)).unwrap();
    } else {
        fs::set_permissions(server.socket(), fs::Permissions::from_mode(0o000)).unwrap();
    }
    let nobody = Nobody::new();
    let mut listener = Listener::new(&server.socket(), patience(), without_systemd(folder.path()));
    let message = listener.failed().await;
    assert!(message.starts_with("no permission to connect to /"), "{message}");
    assert!(message.contains("run as root or in the group "), "{message}");
    drop(nobody);
    fs::set_permissions(server.socket(), fs::Permissions::from_mode(0o660)).unwrap();
    listener.connected().await;
}
