//! What keys do.

use leasehold_core::Timestamp;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::{page::Page, pane::Pane};

/// What is to be done then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    GoOn,
    End,
}

/// The keys and what they do, for the page of help.
pub(super) const HELP: [(&str, &str); 8] = [
    ("q, Ctrl-C", "end"),
    ("tab, left, right", "the next list, or the one before"),
    ("up, down, page up, page down", "move in it"),
    ("home, end", "to its beginning, to its end"),
    ("enter", "the whole page for it, or share it again"),
    ("p, space", "have everything stay as it is, or go on"),
    ("/", "only lines that have a text in them"),
    ("?, esc", "this help, and out of it"),
];

/// What one line can hold of it.
pub(super) const BRIEF: &str = "q end  tab list  up/down move  enter whole page  / filter  p pause  ? help";

/// How far a page is.
const FAR: isize = 10;

impl Page {
    /// Does what a key says.
    pub(super) fn press(&mut self, key: KeyEvent, now: Timestamp) -> Then {
        if key.kind == KeyEventKind::Release {
            return Then::GoOn;
        }
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return if key.code == KeyCode::Char('c') { Then::End } else { Then::GoOn };
        }
        if self.view.typing {
            self.type_filter(key.code);
            return Then::GoOn;
        }
        let view = &mut self.view;
        match key.code {
            KeyCode::Char('q') => return Then::End,
            KeyCode::Tab | KeyCode::Right => view.focus = view.focus.after(1),
            KeyCode::BackTab | KeyCode::Left => {
                view.focus = view.focus.after(Pane::ALL.len().saturating_sub(1));
            }
            KeyCode::Up | KeyCode::Char('k') => self.move_by(-1, now),
            KeyCode::Down | KeyCode::Char('j') => self.move_by(1, now),
            KeyCode::PageUp => self.move_by(FAR.saturating_neg(), now),
            KeyCode::PageDown => self.move_by(FAR, now),
            KeyCode::Home => self.move_by(isize::MIN, now),
            KeyCode::End => self.move_by(isize::MAX, now),
            KeyCode::Enter => view.zoomed = !view.zoomed,
            KeyCode::Char('p' | ' ') => self.pause_or_go_on(now),
            KeyCode::Char('/') => view.typing = true,
            KeyCode::Char('?' | 'h') => view.help = !view.help,
            KeyCode::Esc => {
                if view.help {
                    view.help = false;
                } else if view.zoomed {
                    view.zoomed = false;
                } else {
                    view.filter.clear();
                }
            }
            _ => {}
        }
        Then::GoOn
    }

    fn type_filter(&mut self, key: KeyCode) {
        let view = &mut self.view;
        match key {
            KeyCode::Enter => view.typing = false,
            KeyCode::Esc => {
                view.typing = false;
                view.filter.clear();
            }
            KeyCode::Backspace => {
                view.filter.pop();
            }
            KeyCode::Char(letter) if !letter.is_control() => view.filter.push(letter),
            _ => {}
        }
        view.scrolled = [0; Pane::ALL.len()];
    }

    fn move_by(&mut self, rows: isize, now: Timestamp) {
        let focus = self.view.focus;
        let last = focus.contents(self, now).rows.len().saturating_sub(1);
        if let Some(scrolled) = self.view.scrolled.get_mut(focus.index()) {
            *scrolled = scrolled.saturating_add_signed(rows).min(last);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::top::page::{Standing, tests::at};

    fn page() -> Page {
        Page::new(Duration::from_secs(2), String::new(), None)
    }

    fn press(page: &mut Page, code: KeyCode) -> Then {
        page.press(KeyEvent::new(code, KeyModifiers::NONE), at(0))
    }

    #[test]
    fn keys_end_it_and_look_elsewhere() {
        let mut page = page();
        assert_eq!(press(&mut page, KeyCode::Tab), Then::GoOn);
        assert_eq!(page.view.focus, Pane::Rotations);
        press(&mut page, KeyCode::Left);
        press(&mut page, KeyCode::BackTab);
        assert_eq!(page.view.focus, Pane::Tail);
        press(&mut page, KeyCode::Enter);
        press(&mut page, KeyCode::Char('?'));
        assert!(page.view.zoomed && page.view.help);
        press(&mut page, KeyCode::Esc);
        assert!(page.view.zoomed && !page.view.help, "one thing at a time");
        press(&mut page, KeyCode::Char('p'));
        assert_eq!(page.standing(at(1)), Standing::Paused { since: at(0) });
        assert_eq!(press(&mut page, KeyCode::Char('q')), Then::End);
        let interrupt = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        page.view.typing = true;
        assert_eq!(page.press(interrupt, at(0)), Then::End, "whatever is being done");
    }

    #[test]
    fn a_filter_is_typed_and_dropped() {
        let mut page = page();
        press(&mut page, KeyCode::Char('/'));
        for letter in "qdx".chars() {
            assert_eq!(press(&mut page, KeyCode::Char(letter)), Then::GoOn, "{letter} is a letter here");
        }
        press(&mut page, KeyCode::Backspace);
        press(&mut page, KeyCode::Enter);
        assert_eq!((page.view.filter.as_str(), page.view.typing), ("qd", false));
        press(&mut page, KeyCode::Esc);
        assert_eq!(page.view.filter, "");
    }

    #[test]
    fn nobody_moves_past_the_end() {
        let mut page = page();
        press(&mut page, KeyCode::End);
        press(&mut page, KeyCode::PageDown);
        assert_eq!(page.view.scrolled, [0; 4]);
        press(&mut page, KeyCode::Home);
        assert_eq!(page.view.scrolled, [0; 4]);
    }
}
