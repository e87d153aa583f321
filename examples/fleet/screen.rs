//! The terminal of the live view.

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::protocol::UnixMicros;
use crate::view::{self, Canvas};
use crate::view_model::ViewModel;

const BETWEEN_FRAMES: Duration = Duration::from_millis(100);
/// The alternate screen, no cursor, no wrapping of lines.
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l";
/// What was there before, and where it was.
const LEAVE: &str = "\x1b[?7h\x1b[?25h\x1b[?1049l";

/// The view on the terminal. Dropped, it leaves the terminal as it was.
#[derive(Debug)]
pub(crate) struct Screen {
    /// Dropped to end the drawing.
    resume: Option<Sender<()>>,
    drawing: Option<JoinHandle<()>>,
}

impl Screen {
    /// Shows `view_model` from now on; `None` if the standard output is no terminal that can.
    pub(crate) fn open(view_model: Arc<ViewModel>, begun: Instant) -> Option<Self> {
        canvas()?;
        let (resume, stop) = channel();
        let draw = move || draw(&view_model, begun, &stop);
        let drawing = std::thread::Builder::new()
            .name("view".to_owned())
            .spawn(draw)
            .ok()?;
        Some(Self {
            resume: Some(resume),
            drawing: Some(drawing),
        })
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.resume = None;
        if let Some(drawing) = self.drawing.take() {
            let _ = drawing.join();
        }
    }
}

/// If the terminal is closed, writing fails; the program continues without it, or is ended by the signal.
fn draw(view_model: &ViewModel, begun: Instant, stop: &Receiver<()>) {
    let _ = write(ENTER);
    loop {
        if let Some(canvas) = canvas() {
            let lines = view::render(
                &view_model.read(),
                begun.elapsed(),
                UnixMicros::now(),
                canvas,
            );
            // Each line erases what was in its place, the last one all that is below.
            let _ = write(&format!("\x1b[H{}\x1b[K\x1b[J", lines.join("\x1b[K\r\n")));
        }
        if stop.recv_timeout(BETWEEN_FRAMES) != Err(RecvTimeoutError::Timeout) {
            break;
        }
    }
    let _ = write(LEAVE);
}

fn write(text: &str) -> io::Result<()> {
    let mut output = io::stdout().lock();
    output.write_all(text.as_bytes())?;
    output.flush()
}

/// The terminal as it is now: a user may change its size.
fn canvas() -> Option<Canvas> {
    let output = io::stdout();
    let understands =
        std::env::var_os("TERM").is_some_and(|term| !term.is_empty() && term != "dumb");
    if !output.is_terminal() || !understands {
        return None;
    }
    let (width, height) = size(&output)?;
    // https://no-color.org
    let colour = std::env::var_os("NO_COLOR").is_none_or(|no| no.is_empty());
    Some(Canvas {
        width,
        height,
        colour,
    })
}

#[cfg(unix)]
fn size(output: &io::Stdout) -> Option<(usize, usize)> {
    let size = rustix::termios::tcgetwinsize(output).ok()?;
    // A terminal that does not know is taken for the usual one.
    let or = |known: u16, usual: usize| {
        if known == 0 {
            usual
        } else {
            usize::from(known)
        }
    };
    Some((or(size.ws_col, 80), or(size.ws_row, 24)))
}

/// The standard library has no call for it. Without the live view, events are printed line by line.
#[cfg(not(unix))]
fn size(_output: &io::Stdout) -> Option<(usize, usize)> {
    None
}
