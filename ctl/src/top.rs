//! `sluicectl top`: a live screen.

mod rates;
mod screen;

use std::time::{Duration, Instant};

use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};

use crate::args::Top;
use crate::client::{Client, Failure};
use rates::{Look, Rates};

/// Shows the screen until somebody wants to leave.
pub(crate) fn run(client: &Client, how: &Top) -> Result<(), Failure> {
    // What cannot be read at all is said before the terminal is taken.
    let mut last = Look::take(client)?;
    let mut terminal = ratatui::try_init()?;
    let ended = screens(client, how, &mut last, &mut terminal);
    ratatui::restore();
    ended
}

fn screens(
    client: &Client,
    how: &Top,
    last: &mut Look,
    terminal: &mut ratatui::DefaultTerminal,
) -> Result<(), Failure> {
    let interval = Duration::from_secs(how.interval);
    let (mut rates, mut trouble) = (Rates::between(last, last), None);
    loop {
        let url = client.url();
        terminal.draw(|frame| screen::draw(frame, url, &rates, trouble.as_deref()))?;
        let next = Instant::now() + interval;
        while let Some(left) = next.checked_duration_since(Instant::now()) {
            if event::poll(left)? && leaves(&event::read()?) {
                return Ok(());
            }
        }
        match Look::take(client) {
            Ok(look) => {
                rates = Rates::between(last, &look);
                (*last, trouble) = (look, None);
            }
            // It may be restarting. What was seen last stays on the screen.
            Err(why) => trouble = Some(why.to_string()),
        }
    }
}

fn leaves(event: &Event) -> bool {
    let Event::Key(key) = event else {
        return false;
    };
    let interrupt = key.code == KeyCode::Char('c') && key.modifiers == KeyModifiers::CONTROL;
    let leave = matches!(key.code, KeyCode::Char('q') | KeyCode::Esc);
    key.kind == KeyEventKind::Press && (leave || interrupt)
}
