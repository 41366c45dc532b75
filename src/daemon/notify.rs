//! Tells systemd how we are. Does nothing where nobody listens (no `NOTIFY_SOCKET`).

use sd_notify::NotifyState;

/// What systemd was told last.
#[derive(Debug, Default)]
pub(super) struct Notifier {
    status: Option<String>,
}

impl Notifier {
    /// Nothing told yet.
    pub(super) fn new() -> Notifier {
        Notifier::default()
    }

    /// Config, control socket and first snapshot stand; also ends a reload.
    pub(super) fn ready(&self) {
        send(&[NotifyState::Ready]);
    }

    /// The line that `systemctl status` shows; sent only if it changed.
    pub(super) fn status(&mut self, text: &str) {
        if self.status.as_deref() != Some(text) {
            send(&[NotifyState::Status(text)]);
            self.status = Some(text.to_owned());
        }
    }

    /// A reload has begun; [`Notifier::ready`] ends it.
    pub(super) fn reloading(&self) {
        match NotifyState::monotonic_usec_now() {
            // systemd wants both in one message.
            Ok(now) => send(&[NotifyState::Reloading, now]),
            Err(error) => tracing::debug!(%error, "no clock for systemd"),
        }
    }

    /// We are about to end.
    pub(super) fn stopping(&self) {
        send(&[NotifyState::Stopping]);
    }
}

fn send(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "cannot notify systemd");
    }
}
