//! The page on a terminal: from the first frame to the key that ends it.

use std::{io, rc::Rc, thread, time::Duration};

use leasehold_client::Operator;
use ratatui::{
    DefaultTerminal,
    crossterm::{
        event::{self, Event},
        style::force_color_output,
    },
};
use tokio::{
    select,
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc::{self, Receiver},
    time::{MissedTickBehavior, interval},
};

use super::{
    asking::{Hints, ask},
    drawing::draw,
    keys::Then,
    page::Page,
    tail::follow,
};
use crate::{clock, exit::Failure};

/// Times are shown in whole seconds.
const TICK: Duration = Duration::from_secs(1);
/// So much may wait to be shown; then those who ask wait.
const WAITING: usize = 64;

/// The terminal, which is as it was when this is gone.
struct Screen {
    terminal: DefaultTerminal,
    color: bool,
}

/// What has to end the page without a key.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

/// Shows the page until a key or a signal ends it.
pub(super) async fn run(operator: &Operator, mut page: Page, color: bool) -> Result<(), Failure> {
    let mut signals = Signals::new()?;
    let mut screen = Screen::open(color)?;
    let mut keys = events();
    let hints = Rc::<Hints>::default();
    let (sender, mut news) = mpsc::channel(WAITING);
    let mut asking = std::pin::pin!(ask(operator, page.interval, Rc::clone(&hints), sender.clone()));
    let mut following = std::pin::pin!(follow(operator, page.interval, hints, sender));
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        select! {
            event = keys.recv() => match event {
                Some(Event::Key(key)) => {
                    if page.press(key, clock::now()) == Then::End {
                        return Ok(());
                    }
                }
                // The next frame has the new size.
                Some(_) => {}
                // Nobody is there any more.
                None => return Ok(()),
            },
            Some(came) = news.recv() => {
                page.take(came, clock::now());
                while let Ok(came) = news.try_recv() {
                    page.take(came, clock::now());
                }
            }
            () = &mut asking => return Ok(()),
            () = &mut following => return Ok(()),
            _ = tick.tick() => {}
            () = signals.any() => return Ok(()),
        }
        screen.show(&page)?;
    }
}

impl Screen {
    /// Takes the terminal over. When the program panics, it is given back before the message is written.
    fn open(color: bool) -> Result<Self, Failure> {
        force_color_output(color);
        match ratatui::try_init() {
            Ok(terminal) => Ok(Self { terminal, color }),
            Err(why) => {
                let _ = ratatui::try_restore();
                Err(Failure::failed("the terminal cannot be taken over", why))
            }
        }
    }

    fn show(&mut self, page: &Page) -> Result<(), Failure> {
        let (now, color) = (clock::now(), self.color);
        let drawn = self.terminal.draw(|frame| draw(page, now, color, frame.area(), frame.buffer_mut()));
        match drawn {
            Ok(_) => Ok(()),
            Err(why) => Err(Failure::from(why)),
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // After a panic it is done already, and once more would write over the message.
        if !thread::panicking() {
            let _ = self.terminal.show_cursor();
            let _ = ratatui::try_restore();
        }
    }
}

impl Signals {
    fn new() -> Result<Self, Failure> {
        let of = |kind| signal(kind).map_err(|why| Failure::failed("signals cannot be waited for", why));
        Ok(Self {
            terminate: of(SignalKind::terminate())?,
            interrupt: of(SignalKind::interrupt())?,
            hang_up: of(SignalKind::hangup())?,
        })
    }

    async fn any(&mut self) {
        select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            _ = self.hang_up.recv() => {}
        }
    }
}

/// What is typed, and that the size has changed: read on a thread of its own, which ends with the program.
fn events() -> Receiver<Event> {
    let (sender, receiver) = mpsc::channel(WAITING);
    thread::spawn(move || -> io::Result<()> {
        loop {
            let event = event::read()?;
            if sender.blocking_send(event).is_err() {
                return Ok(());
            }
        }
    });
    receiver
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    const PANICS: &str = "LEASEHOLD_TEST_PANICS_ON_THE_PAGE";

    /// Once more as a process of its own, on a terminal of its own, where it does panic.
    #[test]
    fn a_panic_gives_the_terminal_back_before_it_is_told() {
        if std::env::var_os(PANICS).is_some() {
            let mut screen = Screen::open(false).unwrap();
            screen.terminal.draw(|_| {}).unwrap();
            panic!("in the middle of a frame");
        }
        let test = thread::current().name().unwrap().to_owned();
        let program = std::env::current_exe().unwrap();
        let line = format!(
            "stty rows 24 cols 80; '{}' --exact {test} --nocapture; echo ended $?; stty -a",
            program.display()
        );
        let mut script = Command::new("script");
        script.args(["-qec", &line, "/dev/null"]).env(PANICS, "1").env("TERM", "xterm");
        let written = script.stdin(Stdio::null()).output().unwrap();
        let written = String::from_utf8_lossy(&written.stdout);
        let at = |what: &str| written.rfind(what).unwrap_or_else(|| panic!("no {what:?}: {written:?}"));
        let (taken, given_back) = (at("\u{1b}[?1049h"), at("\u{1b}[?1049l"));
        let told = at("in the middle of a frame");
        assert!(taken < given_back && given_back < told, "{written:?}");
        assert!(at("\u{1b}[?25l") < at("\u{1b}[?25h"), "the cursor is hidden: {written:?}");
        let settings = &written[at("ended 101")..];
        assert!(
            settings.contains(" icanon") && settings.contains(" echo "),
            "the terminal is raw: {settings:?}"
        );
    }
}
