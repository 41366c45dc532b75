//! The figures, as a table for people and as JSON for programs.

use std::fmt;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::options::Section;
use crate::statistics::{Blocks, Sample};

/// All figures of a run.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// Of macvlan-shim.
    version: String,
    machine: Machine,
    rows: Vec<Row>,
}

/// The machine that it was measured on.
#[derive(Debug, Serialize)]
struct Machine {
    kernel: String,
    processors: usize,
    /// The load average of the last minute at the start and at the end.
    load: Vec<String>,
}

/// One figure.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    section: Section,
    what: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    guests: Option<u32>,
    unit: &'static str,
    /// The median, where there are several values.
    value: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    p99: Option<f64>,
    /// The smallest and the largest; if it was measured in blocks, those of the blocks' medians.
    #[serde(skip_serializing_if = "Option::is_none")]
    spread: Option<(f64, f64)>,
    /// How many values there are.
    count: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    beside: Option<Beside>,
    #[serde(skip_serializing_if = "Option::is_none")]
    aim: Option<Aim>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remark: Option<String>,
}

/// Another figure of the same run, and how many times as large ours is.
#[derive(Clone, Debug, Serialize)]
struct Beside {
    what: String,
    ratio: f64,
}

/// The aim.
#[derive(Clone, Debug, Serialize)]
struct Aim {
    at_most: f64,
    /// The aim is about the ratio and not about the value.
    of_ratio: bool,
    met: bool,
}

impl Row {
    /// One value.
    pub(crate) fn value(section: Section, what: impl Into<String>, unit: &'static str, value: f64) -> Row {
        Row {
            section,
            what: what.into(),
            guests: None,
            unit,
            value,
            p99: None,
            spread: None,
            count: 1,
            beside: None,
            aim: None,
            remark: None,
        }
    }

    /// The median of some values.
    pub(crate) fn sample(
        section: Section,
        what: impl Into<String>,
        unit: &'static str,
        sample: &Sample,
    ) -> Row {
        let spread = (sample.count() > 1).then_some((sample.min(), sample.max()));
        Row { spread, count: sample.count(), ..Row::value(section, what, unit, sample.median()) }
    }

    /// The median and the 99th percentile of all values in the blocks. Fails if there is none.
    pub(crate) fn blocks(
        section: Section,
        what: impl Into<String>,
        unit: &'static str,
        blocks: &Blocks,
    ) -> Result<Row> {
        let all = blocks.all().context("nothing was measured")?;
        let medians = blocks.medians().context("nothing was measured")?;
        let p99 = (all.count() >= 100).then(|| all.p99());
        Ok(Row {
            p99,
            spread: Some((medians.min(), medians.max())),
            ..Row::sample(section, what, unit, &all)
        })
    }

    /// With this many guests.
    pub(crate) fn with(self, guests: u32) -> Row {
        Row { guests: Some(guests), ..self }
    }

    /// Returns the comparison in words.
    pub(crate) fn beside(self, what: &str, other: f64) -> Row {
        Row { beside: Some(Beside { what: what.to_owned(), ratio: self.value / other }), ..self }
    }

    /// The value must be no larger than its aim.
    pub(crate) fn aim(self, at_most: f64) -> Row {
        // In its printed form, so that nobody reads "0.0, to be at most 0.0: missed".
        let met = rounded(self.value) <= at_most;
        Row { aim: Some(Aim { at_most, of_ratio: false, met }), ..self }
    }

    /// The ratio to the other figure must be no larger than its aim.
    pub(crate) fn aim_of_ratio(self, at_most: f64) -> Row {
        let met = self.beside.as_ref().is_some_and(|beside| beside.ratio <= at_most);
        Row { aim: Some(Aim { at_most, of_ratio: true, met }), ..self }
    }

    /// Something that readers must know.
    pub(crate) fn remark(self, remark: impl Into<String>) -> Row {
        Row { remark: Some(remark.into()), ..self }
    }

    fn cells(&self) -> [String; 8] {
        let spread = self.spread.map(|(low, high)| format!("{} … {}", number(low), number(high)));
        let beside = self.beside.as_ref().map(|beside| format!("{} × {}", number(beside.ratio), beside.what));
        let aim = self.aim.as_ref().map(|aim| {
            let met = if aim.met { "met" } else { "MISSED" };
            format!("≤ {}{}: {met}", number(aim.at_most), if aim.of_ratio { " ×" } else { "" })
        });
        [
            self.what.clone(),
            self.guests.map(|guests| guests.to_string()).unwrap_or_default(),
            format!("{} {}", number(self.value), self.unit).trim_end().to_owned(),
            self.p99.map(number).unwrap_or_default(),
            spread.unwrap_or_default(),
            beside.unwrap_or_default(),
            aim.unwrap_or_default(),
            self.remark.clone().unwrap_or_default(),
        ]
    }
}

const HEADS: [&str; 8] = ["", "guests", "median", "p99", "spread", "compared", "aim", ""];

/// Numbers are aligned right.
const RIGHT: [bool; 8] = [false, true, true, true, true, false, false, false];

impl Report {
    /// Nothing measured yet.
    pub(crate) fn new(version: String) -> Report {
        let read = |file: &str| std::fs::read_to_string(file).unwrap_or_default().trim().to_owned();
        let processors = std::thread::available_parallelism().map_or(0, usize::from);
        let machine = Machine { kernel: read("/proc/sys/kernel/osrelease"), processors, load: vec![load()] };
        Report { version, machine, rows: vec![] }
    }

    /// One more figure.
    pub(crate) fn add(&mut self, row: Row) {
        let guests = row.guests.map(|guests| format!(" ({guests} guests)")).unwrap_or_default();
        eprintln!("    {}{guests}: {} {}", row.what, number(row.value), row.unit);
        self.rows.push(row);
    }

    /// Writes it as JSON.
    pub(crate) fn write(&mut self, file: &Path) -> Result<()> {
        self.machine.load.push(load());
        let text = serde_json::to_string_pretty(self)? + "\n";
        std::fs::write(file, text).with_context(|| file.display().to_string())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Machine { kernel, processors, load } = &self.machine;
        writeln!(f, "{}; Linux {kernel}, {processors} processors, load {}", self.version, load.join(" to "))?;
        let mut sections: Vec<Section> = self.rows.iter().map(|row| row.section).collect();
        sections.sort();
        sections.dedup();
        let all: Vec<[String; 8]> = self.rows.iter().map(Row::cells).collect();
        let width = |column: usize| {
            let cells = all.iter().map(|cells| cells[column].chars().count());
            cells.chain([HEADS[column].len()]).max().unwrap_or(0)
        };
        let widths: [usize; 8] = std::array::from_fn(width);
        for section in sections {
            let heads = HEADS.map(str::to_owned);
            writeln!(f, "\n{}\n{}", section.title(), line(&heads, &widths))?;
            for row in self.rows.iter().filter(|row| row.section == section) {
                writeln!(f, "{}", line(&row.cells(), &widths))?;
            }
        }
        Ok(())
    }
}

fn line(cells: &[String; 8], widths: &[usize; 8]) -> String {
    let mut line = String::new();
    for ((cell, width), right) in cells.iter().zip(widths).zip(RIGHT) {
        let fill = " ".repeat(width - cell.chars().count());
        line += "  ";
        line += &if right { fill + cell } else { cell.clone() + &fill };
    }
    line.trim_end().to_owned()
}

/// With about three digits, and no more than it has.
fn number(value: f64) -> String {
    match value.abs() {
        infinite if infinite.is_infinite() => "never".to_owned(),
        whole if whole.fract() == 0.0 => format!("{value:.0}"),
        small if small < 10.0 => format!("{value:.2}"),
        medium if medium < 100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

fn load() -> String {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split(' ').next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_its_comparison_and_whether_the_aim_is_met() {
        let sample = Sample::new([150.0, 160.0, 170.0]).unwrap();
        let row = Row::sample(Section::Latency, "x", "µs", &sample).with(1).beside("floor", 100.0);
        let cells = row.clone().aim_of_ratio(1.5).cells();
        assert_eq!(cells[..7], ["x", "1", "160 µs", "", "150 … 170", "1.60 × floor", "≤ 1.50 ×: MISSED"]);
        assert_eq!(row.aim_of_ratio(1.6).cells()[6], "≤ 1.60 ×: met");
        assert_eq!(Row::value(Section::Start, "x", "ms", 9.5).aim(200.0).cells()[6], "≤ 200: met");
    }
}
