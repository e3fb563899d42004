//! A program in the container, run by its runtime: `lichen-shim exec` does that in a process of its own and answers once it
//! has ended.

use std::{
    io::Read,
    process::{Command, Stdio},
};

use firmware_compat::v1::owned::Text;
use lichen_agent_core::event::Answer;

use super::Question;

/// What `lichen-shim exec` may answer: a line, and the output that it keeps.
const MAX_ANSWER: u64 = 16 * 1024;

/// Blocks for as long as the program runs, or may.
pub(super) fn run<const N: usize>(question: &Question, words: &[Text<N>]) -> Answer {
    let timeout_ms = question.timeout.map_or(0, |timeout| timeout.as_millis());
    let mut command = Command::new(&question.shim);
    command.arg("exec").arg(&question.run).arg(timeout_ms.to_string());
    command.args(words.iter().map(|word| word.as_str()));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => return Answer::Unknown(format!("could not run lichen-shim: {error}")),
    };
    let mut bytes = Vec::new();
    let read = child.stdout.take().map(|stdout| stdout.take(MAX_ANSWER).read_to_end(&mut bytes));
    let status = child.wait();
    let text = String::from_utf8_lossy(&bytes);
    match (read, status) {
        (Some(Ok(_)), Ok(status)) if status.success() => said(&text, words),
        _ => Answer::Unknown(text.trim().to_owned()),
    }
}

fn said<const N: usize>(answer: &str, words: &[Text<N>]) -> Answer {
    let (verdict, output) = answer.split_once('\n').unwrap_or((answer, ""));
    let output = output.trim_end();
    match verdict.strip_prefix("code ") {
        Some("0") => Answer::Good,
        Some(code) if output.is_empty() => Answer::Bad(format!("ended with code {code}")),
        Some(_) => Answer::Bad(output.to_owned()),
        None if verdict == "timeout" => {
            let words: Vec<&str> = words.iter().map(|word| word.as_str()).collect();
            Answer::Bad(format!("command {:?} timed out", words.join(" ")))
        }
        None => Answer::Unknown(verdict.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(answer: &str, expected: &Answer) {
        let words = [Text::<16>::cut("up"), Text::cut("-v")];
        assert_eq!(said(answer, &words), *expected, "{answer}");
    }

    #[test]
    fn what_the_shim_says_is_an_answer() {
        check("code 0\nall is well\n", &Answer::Good);
        check("code 3\n", &Answer::Bad("ended with code 3".into()));
        check("code 1\ndown\n", &Answer::Bad("down".into()));
        check("timeout\nhalf a wo", &Answer::Bad("command \"up -v\" timed out".into()));
        check("who knows", &Answer::Unknown("who knows".into()));
        check("", &Answer::Unknown(String::new()));
    }
}
