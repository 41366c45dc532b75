//! `status --watch`: shows the status whenever it changes, even over restarts of the daemon.

use std::path::Path;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use super::{PATH, shown};
use crate::cli::StatusArgs;
use crate::commands::ask::ask;
use crate::commands::output::{Look, print};
use crate::commands::{Failure, GOOD};

/// How often it asks.
const PERIOD: Duration = Duration::from_secs(1);

/// The terminal's other screen, so that what was there before comes back at the end.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";

/// Shows it until it is interrupted.
pub(super) async fn watch(socket: &Path, arguments: &StatusArgs) -> Result<u8, Failure> {
    let cannot = |error| Failure::new("cannot wait for the end").because(&error);
    let mut interrupt = signal(SignalKind::interrupt()).map_err(cannot)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(cannot)?;
    let is_terminal = Look::of_stdout().height.is_some() && !arguments.json;
    // Only now, because a signal would end the program on the other screen.
    print(if is_terminal { ENTER } else { "" })?;
    let end = tokio::select! {
        end = show(socket, arguments, is_terminal) => end,
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
    };
    print(if is_terminal { LEAVE } else { "" })?;
    end.map(|()| GOOD)
}

async fn show(socket: &Path, arguments: &StatusArgs, is_terminal: bool) -> Result<(), Failure> {
    let mut last = String::new();
    loop {
        let look = Look::of_stdout();
        let body = ask(socket, PATH).await;
        // Times pass by themselves, which is no change. On a terminal they are worth a line.
        let now = body.as_deref().map_or_else(ToString::to_string, without_time);
        if is_terminal || now != last {
            let text = match body.and_then(|body| shown(&body, arguments, look)) {
                Ok(text) if arguments.json => one_line(&text)?,
                Ok(text) => text,
                Err(failure) if arguments.json => {
                    format!("{}\n", serde_json::json!({"error": failure.message}))
                }
                Err(failure) => format!("{failure}\n"),
            };
            match look.height.filter(|_| is_terminal) {
                Some(height) => print(&screen(&text, height, look))?,
                None if arguments.json => print(&text)?,
                None => print(&format!("{text}\n"))?,
            }
            last = now;
        }
        tokio::time::sleep(PERIOD).await;
    }
}

/// A status without its time.
fn without_time(body: &str) -> String {
    let mut status: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
    if let Some(status) = status.as_object_mut() {
        status.remove("time");
    }
    status.to_string()
}

/// A document as one line of a stream.
fn one_line(body: &str) -> Result<String, Failure> {
    let body: serde_json::Value = serde_json::from_str(body)?;
    Ok(format!("{body}\n"))
}

/// The text from the upper left corner on, as much of it as fits, and nothing else. Nothing flickers.
fn screen(text: &str, height: usize, look: Look) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let fitting = if lines.len() > height { height.saturating_sub(1) } else { lines.len() };
    let mut shown: Vec<String> = lines.iter().take(fitting).map(|line| format!("{line}\x1b[K")).collect();
    if fitting < lines.len() {
        shown.push(format!("{} {} more lines\x1b[K", look.dots(), lines.len() - fitting));
    }
    format!("\x1b[H{}\x1b[J", shown.join("\r\n"))
}

#[cfg(test)]
mod tests {
    use super::{Look, screen, without_time};

    #[test]
    fn a_screen_shows_as_much_as_fits() {
        assert_eq!(screen("a\nb\n", 2, Look::PLAIN), "\x1b[Ha\x1b[K\r\nb\x1b[K\x1b[J");
        assert_eq!(screen("a\nb\nc\n", 2, Look::PLAIN), "\x1b[Ha\x1b[K\r\n… 2 more lines\x1b[K\x1b[J");
    }

    #[test]
    fn time_that_passes_is_no_change() {
        let at = |time, ready| format!(r#"{{"time": "{time}", "ready": {ready}}}"#);
        assert_eq!(without_time(&at("1", true)), without_time(&at("2", true)));
        assert_ne!(without_time(&at("1", true)), without_time(&at("1", false)));
    }
}
