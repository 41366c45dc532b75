//! A time of the wall clock.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

/// A time of the wall clock, written as RFC 3339 says, in UTC and in milliseconds: `2026-11-30T14:02:11.040Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(extend("format" = "date-time")))]
pub struct Timestamp(SystemTime);

impl Timestamp {
    /// How long ago it was; zero if the clock was set back meanwhile.
    pub fn age(self, now: Timestamp) -> Duration {
        now.0.duration_since(self.0).unwrap_or_default()
    }

    /// The time so long before; the beginning of time if there is none.
    pub fn before(self, ago: Duration) -> Timestamp {
        Timestamp(self.0.checked_sub(ago).unwrap_or(SystemTime::UNIX_EPOCH))
    }
}

impl Default for Timestamp {
    fn default() -> Timestamp {
        Timestamp(SystemTime::UNIX_EPOCH)
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Timestamp {
        Timestamp(time.max(SystemTime::UNIX_EPOCH))
    }
}

impl From<Timestamp> for SystemTime {
    fn from(time: Timestamp) -> SystemTime {
        time.0
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_rfc3339_millis(self.0).fmt(f)
    }
}

impl FromStr for Timestamp {
    type Err = humantime::TimestampError;

    fn from_str(text: &str) -> Result<Timestamp, Self::Err> {
        humantime::parse_rfc3339(text).map(Timestamp)
    }
}

impl From<Timestamp> for String {
    fn from(time: Timestamp) -> String {
        time.to_string()
    }
}

impl TryFrom<String> for Timestamp {
    type Error = humantime::TimestampError;

    fn try_from(text: String) -> Result<Timestamp, Self::Error> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_written_and_read_in_utc() {
        let text = "2026-11-30T14:02:11.040Z";
        let time: Timestamp = text.parse().unwrap();
        assert_eq!(time.to_string(), text);
        let json = serde_json::to_string(&time).unwrap();
        assert_eq!(serde_json::from_str::<Timestamp>(&json).unwrap(), time);
        assert!("yesterday".parse::<Timestamp>().is_err());
    }

    #[test]
    fn a_clock_that_was_set_back_makes_no_age() {
        let time: Timestamp = "2026-11-30T14:02:11Z".parse().unwrap();
        let later: Timestamp = "2026-11-30T14:02:13Z".parse().unwrap();
        assert_eq!((time.age(later), later.age(time)), (Duration::from_secs(2), Duration::ZERO));
        assert_eq!(later.before(Duration::from_secs(2)), time);
    }
}
