//! What the screen looks like.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Block, Cell, Paragraph, Row, Table};

use super::rates::{HaRate, Rates};
use crate::table::{duration, short};

/// Draws everything that there is room for.
pub(super) fn draw(frame: &mut Frame<'_>, url: &str, rates: &Rates, trouble: Option<&str>) {
    let rows = |count: usize| Constraint::Max(u16::try_from(count + 3).unwrap_or(u16::MAX));
    let head_lines = if rates.ha.is_some() { 3 } else { 2 };
    let [head, workers, ports, rest, foot] = Layout::vertical([
        Constraint::Length(head_lines),
        rows(rates.workers.len()),
        rows(rates.ports.len()),
        Constraint::Fill(1),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    let [servers, drops] =
        Layout::horizontal([Constraint::Percentage(60), Constraint::Percentage(40)]).areas(rest);
    let up = duration(rates.uptime_ms);
    let title = format!(
        "{}  up {up}  configuration {}  {url}",
        rates.name, rates.epoch
    );
    let sessions = format!(
        "{} sessions of {}   {}/s opened   {}/s ended",
        rates.sessions,
        rates.limit,
        short(rates.opened),
        short(rates.ended)
    );
    let mut lines = vec![Line::from(title), sessions.into()];
    lines.extend(rates.ha.as_ref().map(peer));
    frame.render_widget(Paragraph::new(lines), head);
    table(
        frame,
        workers,
        &[
            "worker",
            "load",
            "packets/s",
            "drops/s",
            "sessions",
            "opened/s",
        ],
        rates.workers.iter().enumerate().map(|(at, worker)| {
            vec![
                at.to_string(),
                format!("{:.1} %", 100.0 * worker.load),
                short(worker.received),
                short(worker.dropped),
                worker.sessions.to_string(),
                short(worker.opened),
            ]
        }),
    );
    table(
        frame,
        ports,
        &[
            "port",
            "link",
            "packets/s in",
            "bits/s in",
            "packets/s out",
            "bits/s out",
        ],
        rates.ports.iter().map(|port| {
            let mut row = vec![
                port.name.clone(),
                if port.up { "up" } else { "DOWN" }.to_owned(),
            ];
            row.extend(port.rates.map(short));
            row
        }),
    );
    table(
        frame,
        servers,
        &["server", "state", "sessions", "opened/s", "bits/s"],
        rates.servers.iter().map(|server| {
            vec![
                server.name.clone(),
                server.state.clone(),
                server.sessions.to_string(),
                short(server.opened),
                short(server.bits),
            ]
        }),
    );
    table(
        frame,
        drops,
        &["dropped as", "frames/s", "frames"],
        rates
            .drops
            .iter()
            .map(|(reason, rate, count)| vec![reason.clone(), short(*rate), short(*count as f64)]),
    );
    let foot_line = match trouble {
        Some(why) => Line::styled(
            why.to_owned(),
            Style::new().add_modifier(Modifier::REVERSED),
        ),
        None => Line::from("q leaves"),
    };
    frame.render_widget(Paragraph::new(foot_line), foot);
}

/// The other appliance in a line, which stands out where something would be lost.
fn peer(ha: &HaRate) -> Line<'static> {
    let [told, heard, given, taken] = ha.rates.map(short);
    let ready = if ha.ready { "ready" } else { "NOT READY" };
    let text = format!(
        "peer {}, {ready}   {} own, {} copies, {} untold, lag {}   records/s {told} out {heard} in   \
         packets/s {given} given {taken} taken",
        ha.peer, ha.own, ha.replicas, ha.untold, ha.lag
    );
    match ha.ready {
        true => Line::from(text),
        false => Line::styled(text, Style::new().add_modifier(Modifier::REVERSED)),
    }
}

fn table(
    frame: &mut Frame<'_>,
    area: Rect,
    head: &[&'static str],
    rows: impl Iterator<Item = Vec<String>>,
) {
    let widths = vec![Constraint::Fill(1); head.len()];
    let head = Row::new(head.iter().map(|&text| Cell::from(text)));
    let table = Table::new(rows.map(Row::new), widths)
        .header(head.style(Style::new().add_modifier(Modifier::BOLD)))
        .block(Block::bordered());
    frame.render_widget(table, area);
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::*;
    use crate::top::rates::{PortRate, ServerRate, WorkerRate};

    #[test]
    fn a_link_that_is_down_and_what_is_dropped_are_on_the_screen() {
        let rates = Rates {
            name: "sluice-a".to_owned(),
            uptime_ms: 61_000,
            epoch: 3,
            sessions: 12,
            limit: 1000,
            opened: 4.0,
            ended: 2.0,
            workers: vec![WorkerRate {
                load: 0.25,
                received: 1_500_000.0,
                dropped: 0.0,
                sessions: 12,
                opened: 4.0,
            }],
            ports: vec![PortRate {
                name: "wan".to_owned(),
                up: false,
                rates: [0.0; 4],
            }],
            servers: vec![ServerRate {
                name: "web/web1".to_owned(),
                state: "draining".to_owned(),
                sessions: 12,
                opened: 0.0,
                bits: 0.0,
            }],
            drops: vec![("no_route".to_owned(), 7.0, 70)],
            ha: Some(HaRate {
                peer: "dead".to_owned(),
                ready: false,
                own: 12,
                replicas: 0,
                untold: 12,
                lag: 3,
                rates: [0.0; 4],
            }),
        };
        let mut terminal = Terminal::new(TestBackend::new(100, 24)).expect("a screen");
        let drawn = terminal.draw(|frame| draw(frame, "http://a", &rates, Some("gone")));
        drawn.expect("it draws");
        let screen = terminal.backend().to_string();
        for text in [
            "sluice-a  up 1m01s",
            "12 sessions of 1000",
            "25.0 %",
            "1.5M",
            "DOWN",
            "web/web1",
            "draining",
            "no_route",
            "peer dead, NOT READY   12 own, 0 copies, 12 untold",
            "gone",
        ] {
            assert!(screen.contains(text), "{text} is not in\n{screen}");
        }
    }
}
