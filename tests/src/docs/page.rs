//! A page taken apart: its files and its commands, in their order.

/// A page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// What is run and written, in the page's order.
    pub blocks: Vec<Block>,
}

/// A part that means something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Block {
    /// A file to be written.
    File {
        /// Its name.
        name: String,
        /// What is in it.
        text: String,
    },
    /// A command to be run.
    Command(Step),
}

/// A command with what it prints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Where it stands: a line of the page.
    pub line: usize,
    /// The shell's words.
    pub command: String,
    /// What it prints.
    pub expected: String,
    /// Whether it goes on until it is interrupted.
    pub is_interrupted: bool,
}

impl Page {
    /// Takes a text apart.
    ///
    /// # Panics
    /// If a fenced block is neither `console` nor a file.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut blocks = Vec::new();
        let mut lines = text.lines().enumerate();
        while let Some((at, line)) = lines.next() {
            let Some(info) = line.strip_prefix("```") else { continue };
            let body = lines.by_ref().take_while(|(_, line)| *line != "```");
            let body: Vec<(usize, &str)> = body.map(|(at, line)| (at + 1, line)).collect();
            match info.split_whitespace().collect::<Vec<_>>().as_slice() {
                ["console"] => blocks.extend(steps(&body).into_iter().map(Block::Command)),
                [_, name] => {
                    let text = body.iter().map(|(_, line)| format!("{line}\n")).collect();
                    blocks.push(Block::File { name: (*name).to_owned(), text });
                }
                _ => {
                    panic!("line {}: a block is `console`, or a language and a file's name", at + 1)
                }
            }
        }
        Self { blocks }
    }
}

fn steps(lines: &[(usize, &str)]) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for (at, line) in lines {
        match (line.strip_prefix("$ "), steps.last_mut()) {
            (Some(command), _) => steps.push(Step {
                line: *at,
                command: command.to_owned(),
                expected: String::new(),
                is_interrupted: false,
            }),
            // As in a shell, a command goes on in the next line.
            (None, Some(step)) if step.command.ends_with('\\') => {
                step.command.push('\n');
                step.command.push_str(line);
            }
            (None, Some(step)) if *line == "^C" => step.is_interrupted = true,
            (None, Some(step)) => {
                step.expected.push_str(line);
                step.expected.push('\n');
            }
            (None, None) => panic!("line {at}: a console block begins with a command behind `$ `"),
        }
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_files_and_commands() {
        let page = Page::parse(
            "# Title\n```yaml web.yaml\na: 1\n```\ntext\n```console\n$ one\nsaid\n$ two \\\n  -w\nx\n^C\n```\n",
        );
        let step = |line, command: &str, expected: &str, is_interrupted| {
            Block::Command(Step {
                line,
                command: command.to_owned(),
                expected: expected.to_owned(),
                is_interrupted,
            })
        };
        let file = Block::File { name: "web.yaml".to_owned(), text: "a: 1\n".to_owned() };
        assert_eq!(
            page.blocks,
            [file, step(7, "one", "said\n", false), step(9, "two \\\n  -w", "x\n", true)]
        );
    }

    #[test]
    #[should_panic(expected = "line 2: a block is")]
    fn a_block_that_nobody_would_run_is_refused() {
        let _page = Page::parse("text\n```sh\necho\n```\n");
    }
}
