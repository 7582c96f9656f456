//! Asking a person before something that cannot be undone.

use std::io::{self, BufRead, IsTerminal, Write};

use crate::exit::{Exit, Failure};

/// Returns when a person says yes, on the terminal or with `--yes` before. A script has to say it before.
pub(crate) fn confirm(yes: bool, what: &str) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    let (stdin, mut stderr) = (io::stdin(), io::stderr());
    if !stdin.is_terminal() || !stderr.is_terminal() {
        return Err(Failure::usage(format!("{what} cannot be undone: add --yes when you mean it")));
    }
    ask(what, &mut stdin.lock(), &mut stderr)
}

fn ask(what: &str, answers: &mut impl BufRead, questions: &mut impl Write) -> Result<(), Failure> {
    let asked = write!(questions, "{what} cannot be undone. Type `yes` to do it: ");
    asked.and_then(|()| questions.flush()).map_err(|why| Failure::failed("the question", why))?;
    let mut answer = String::new();
    answers.read_line(&mut answer).map_err(|why| Failure::failed("the answer", why))?;
    if answer.trim() == "yes" { Ok(()) } else { Err(Failure::new(Exit::Failed, "nothing was done")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_yes_is_yes() {
        for (answer, taken) in [("yes\n", true), ("y\n", false), ("\n", false), ("", false), ("no\n", false)]
        {
            let mut asked = Vec::new();
            assert_eq!(ask("this", &mut answer.as_bytes(), &mut asked).is_ok(), taken, "{answer:?}");
            assert!(String::from_utf8(asked).unwrap().starts_with("this cannot be undone."));
        }
        assert!(confirm(true, "this").is_ok());
    }
}
