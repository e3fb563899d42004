//! The hub's own word at the end of a log that ends early. It stands in the log, since the answer's status has long been sent;
//! it is told on stderr, so that what a program printed is all that reaches a file.

/// How the hub begins it.
const MARK: &str = "lichen: the log ends here: ";
/// Longest notice; a longer line is somebody's output.
const MAX_NOTICE: usize = 4096;

/// The notice that a line is, if it stands last.
#[must_use]
pub fn notice(line: &[u8]) -> Option<String> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let fits =
        line.starts_with(MARK.as_bytes()) && line.len() <= MAX_NOTICE && !line.contains(&b'\n');
    fits.then(|| String::from_utf8_lossy(line).into_owned())
}

/// Passes a log on as it comes, and holds back what may be the notice until more or nothing follows.
#[derive(Debug)]
pub struct EndNotice {
    held: Vec<u8>,
    at_line_start: bool,
}

impl Default for EndNotice {
    fn default() -> Self {
        Self { held: Vec::new(), at_line_start: true }
    }
}

impl EndNotice {
    /// The bytes that can be written now.
    pub fn pass(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut all = std::mem::take(&mut self.held);
        let began_at_line_start = self.at_line_start;
        all.extend_from_slice(bytes);
        // The last line, which may have no end yet.
        let body = all.strip_suffix(b"\n").unwrap_or(&all);
        let start = match body.iter().rposition(|byte| *byte == b'\n') {
            Some(at) => at + 1,
            None if began_at_line_start => 0,
            None => all.len(),
        };
        let last = &all[start..];
        let length = last.len().min(MARK.len());
        if !last.is_empty()
            && last.len() <= MAX_NOTICE
            && last[..length] == MARK.as_bytes()[..length]
        {
            self.held = all.split_off(start);
            self.at_line_start = true;
        } else if let Some(end) = all.last() {
            self.at_line_start = *end == b'\n';
        }
        all
    }

    /// What is still to be written, or the notice.
    ///
    /// # Errors
    /// The notice, if the log ended with one.
    pub fn finish(self) -> Result<Vec<u8>, String> {
        notice(&self.held).map_or(Ok(self.held), Err)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn passed(parts: &[&[u8]]) -> (String, Option<String>) {
        let mut end = EndNotice::default();
        let mut out: Vec<u8> = parts.iter().flat_map(|part| end.pass(part)).collect();
        let notice = match end.finish() {
            Ok(rest) => {
                out.extend(rest);
                None
            }
            Err(notice) => Some(notice),
        };
        (String::from_utf8_lossy(&out).into_owned(), notice)
    }

    #[test]
    fn the_notice_is_kept_out_of_the_log_only_at_its_end() {
        let notice = "lichen: the log ends here: pi is away (Offline)";
        let line = format!("{notice}\n");
        let (cut, rest) = line.as_bytes().split_at(9);
        assert_eq!(passed(&[b"a\n", line.as_bytes()]), ("a\n".into(), Some(notice.into())));
        assert_eq!(passed(&[b"a\nlic", b"hen: mo"]), ("a\nlichen: mo".into(), None));
        assert_eq!(passed(&[b"a\n", cut, rest]), ("a\n".into(), Some(notice.into())));
        assert_eq!(passed(&[line.as_bytes(), b"b\n"]), (format!("{line}b\n"), None));
        assert_eq!(passed(&[b"x ", line.as_bytes()]), (format!("x {line}"), None));
    }

    proptest! {
        #[test]
        fn nothing_is_lost_wherever_a_log_is_cut(
            text in "(lichen: the log ends here: [a-z]{0,3}\n?|[a-z]{0,3}\n?){0,6}", at in 0..200_usize,
        ) {
            let (first, second) = text.as_bytes().split_at(at.min(text.len()));
            let (out, notice) = passed(&[first, second]);
            let end = notice.map(|notice| notice + "\n").unwrap_or_default();
            let whole = out + &end;
            prop_assert_eq!(whole.trim_end_matches('\n'), text.trim_end_matches('\n'));
        }
    }
}
