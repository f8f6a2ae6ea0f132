//! The live table: redrawn in place on a terminal, a line now and then elsewhere.

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Duration;

use sluice_tests::stats::Report;

use crate::traffic::Traffic;
use crate::world::{PUBLIC, VIP};

const ALTERNATE_SCREEN: &str = "\x1b[?1049h\x1b[?25l";
const BACK_TO_NORMAL: &str = "\x1b[?25h\x1b[?1049l";
const HOME: &str = "\x1b[H";
const TO_END_OF_LINE: &str = "\x1b[K\n";
const TO_END_OF_SCREEN: &str = "\x1b[J";

/// What one picture shows.
pub(crate) struct View<'a> {
    pub(crate) elapsed: Duration,
    pub(crate) ends: Option<u64>,
    pub(crate) before: &'a Report,
    pub(crate) now: &'a Report,
    pub(crate) traffic: &'a Traffic,
}

/// Standard output; a terminal is given back as it was when this is dropped.
pub(crate) struct Screen {
    terminal: bool,
    lines: u64,
}

impl Screen {
    pub(crate) fn new(terminal: bool) -> Self {
        if terminal {
            print!("{ALTERNATE_SCREEN}");
        }
        Self { terminal, lines: 0 }
    }

    pub(crate) fn show(&mut self, view: &View<'_>) {
        if self.terminal {
            let table = table(view).replace('\n', TO_END_OF_LINE);
            print!("{HOME}{table}{TO_END_OF_SCREEN}");
        } else {
            // One picture in five is the whole table, so that a log shows it as well.
            if self.lines % 5 == 2 {
                print!("\n{}\n", table(view));
            } else {
                println!("{}", line(view));
            }
            self.lines += 1;
        }
        // Nobody looks if it is gone; the demo goes on to its end.
        let _ = std::io::stdout().flush();
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if self.terminal {
            print!("{BACK_TO_NORMAL}");
            let _ = std::io::stdout().flush();
        }
    }
}

fn per_second(before: u64, now: u64, seconds: f64) -> String {
    grouped((now.saturating_sub(before) as f64 / seconds).round() as u64)
}

/// 1234567 as 1,234,567.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn line(view: &View<'_>) -> String {
    let (before, now) = (view.before.stats.total(), view.now.stats.total());
    let seconds = view.now.seconds_since(view.before);
    format!(
        "{:>4} s  {:>9} packets/s  {:>7} sessions/s  {:>7} sessions  {:>6} dropped",
        view.elapsed.as_secs(),
        per_second(before.received, now.received, seconds),
        per_second(before.sessions_opened, now.sessions_opened, seconds),
        grouped(now.sessions()),
        grouped(now.drops()),
    )
}

fn table(view: &View<'_>) -> String {
    let (before, now) = (view.before.stats.total(), view.now.stats.total());
    let seconds = view.now.seconds_since(view.before);
    let mut text = String::new();
    let elapsed = view.elapsed.as_secs();
    let end = match view.ends {
        Some(end) => format!("ends after {end} s"),
        None => "Ctrl-C ends it".to_owned(),
    };
    let _ = write!(
        text,
        "Sluice demo   {:02}:{:02}   {end}

  client 10.1.0.10 ────┐                  ┌──── web1 10.2.0.11
                       ├──── Sluice ──────┼──── web2 10.2.0.12
  internet             │                  └──── web3 10.2.0.13
  198.51.100.10 ───────┘   VIP {VIP}, SNAT to {PUBLIC}

                     per second          total
",
        elapsed / 60,
        elapsed % 60
    );
    let rows = [
        ("packets received", before.received, now.received),
        ("packets forwarded", before.forwarded, now.forwarded),
        (
            "sessions opened",
            before.sessions_opened,
            now.sessions_opened,
        ),
    ];
    for (what, was, is) in rows {
        let _ = writeln!(
            text,
            "  {what:<18}{:>11}{:>15}",
            per_second(was, is, seconds),
            grouped(is)
        );
    }
    let _ = writeln!(
        text,
        "  {:<18}{:>11}{:>15}",
        "sessions now",
        "",
        grouped(now.sessions())
    );
    let per_worker = view
        .now
        .stats
        .workers
        .iter()
        .zip(&view.before.stats.workers);
    for (number, (is, was)) in per_worker.enumerate() {
        let _ = writeln!(
            text,
            "  worker {number:<11}{:>11}{:>15}",
            per_second(was.received, is.received, seconds),
            grouped(is.received)
        );
    }

    text += "\n  real server        weight   sessions   opened/s        opened\n";
    for is in &view.now.stats.servers {
        let servers = &view.before.stats.servers;
        let was = servers.iter().find(|was| was.name == is.name);
        let was = was.map_or(0, |was| was.sessions_opened);
        let _ = writeln!(
            text,
            "  {:<18}{:>7}{:>11}{:>11}{:>14}",
            is.name,
            is.weight,
            grouped(is.sessions_opened.saturating_sub(is.sessions_ended)),
            per_second(was, is.sessions_opened, seconds),
            grouped(is.sessions_opened),
        );
    }

    text += "\n  traffic                             done     failed\n";
    for (what, done, failed) in view.traffic.requests() {
        let _ = writeln!(text, "  {what:<30}{:>10}{failed:>11}", grouped(done));
    }
    let (runs, bytes) = view.traffic.iperf3();
    let _ = writeln!(
        text,
        "  {:<30}{:>10}   {} MB",
        "iperf3 runs through SNAT",
        runs,
        grouped(bytes / 1_000_000)
    );

    text += "\n  dropped, by reason           per second          total\n";
    let mut any = false;
    for (reason, count) in now.dropped.iter().filter(|(_, count)| **count > 0) {
        any = true;
        let was = before.dropped.get(reason).copied().unwrap_or(0);
        let _ = writeln!(
            text,
            "  {reason:<26}{:>13}{:>15}",
            per_second(was, *count, seconds),
            grouped(*count)
        );
    }
    if !any {
        text += "  (none)\n";
    }
    text
}
