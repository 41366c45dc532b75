//! How long something lasts already.

use std::time::Duration;

use crate::model::Timestamp;

/// `, for 5 min`. Nothing if it is not known, because it was so when the daemon began to look.
pub(in crate::commands) fn lasting(since: Option<Timestamp>, now: Timestamp) -> String {
    since.map(|since| format!(", for {}", roughly(since.age(now)))).unwrap_or_default()
}

/// A time in its largest unit that has two at least, rounded down: `119 s`, `2 min`, `47 h`, `2 d`.
pub(in crate::commands) fn roughly(time: Duration) -> String {
    let seconds = time.as_secs();
    let units = [(86_400, "d"), (3_600, "h"), (60, "min")];
    let unit = units.into_iter().find(|(length, _)| seconds >= 2 * length);
    let (length, name) = unit.unwrap_or((1, "s"));
    format!("{} {name}", seconds / length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_rough() {
        for (seconds, text) in [
            (0, "0 s"),
            (119, "119 s"),
            (120, "2 min"),
            (7_199, "119 min"),
            (7_200, "2 h"),
            (86_400, "24 h"),
            (180_000, "2 d"),
        ] {
            assert_eq!(roughly(Duration::from_secs(seconds)), text);
        }
    }
}
