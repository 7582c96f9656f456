//! What a program says, on its way to the log.

use tokio::io::{AsyncRead, AsyncReadExt};
use tracing::{info, warn};
use zeroize::Zeroizing;

use crate::Mask;

/// So much of what a program says in one run goes to the log, and so much of a line.
const MOST_BYTES: u64 = 64 << 10;
const LONGEST_LINE: usize = 1024;

/// Writes what a program says to the log when it has said it, a line at a time and with the values masked.
pub(crate) async fn log(said: impl AsyncRead + Unpin, program: &str, step: &str, mask: &Mask) {
    let mut read = Zeroizing::new(Vec::new());
    let mut said = said.take(MOST_BYTES);
    if let Err(error) = said.read_to_end(&mut read).await {
        warn!(program, step, %error, "what a program says cannot be read");
    }
    let all = said.limit() > 0;
    let mut rest = said.into_inner();
    // A line that was cut may end with half of a value.
    let whole = if all { read.len() } else { memchr::memrchr(b'\n', &read).unwrap_or_default() };
    let whole = read.get(..whole).unwrap_or_default();
    for line in whole.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        // Masked before it is cut, so that no half of a value is left.
        let mut line = mask.clean(line);
        line.truncate(line.floor_char_boundary(LONGEST_LINE));
        info!(program, step, "{line}");
    }
    if !all {
        warn!(program, step, "the program says more than goes to the log");
        // It is read on, so that the program is not held up.
        let _ = tokio::io::copy(&mut rest, &mut tokio::io::sink()).await;
    }
}
