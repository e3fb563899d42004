//! A page taken apart: its files and its commands, in their order.

use std::{fs, path::Path};

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
    /// Reads a page.
    ///
    /// # Panics
    /// If it can't be read.
    #[must_use]
    pub fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        Self::parse(&text)
    }

    /// Takes a text apart.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut blocks = Vec::new();
        let mut lines = text.lines().enumerate();
        while let Some((_, line)) = lines.next() {
            let Some(info) = line.strip_prefix("```") else { continue };
            let body = lines.by_ref().take_while(|(_, line)| *line != "```");
            let body: Vec<(usize, &str)> = body.map(|(at, line)| (at + 1, line)).collect();
            match info.split_whitespace().collect::<Vec<_>>().as_slice() {
                ["console"] => blocks.extend(steps(&body).into_iter().map(Block::Command)),
                [_, name] => {
                    let text = body.iter().map(|(_, line)| format!("{line}\n")).collect();
                    blocks.push(Block::File { name: (*name).to_owned(), text });
                }
                _ => {}
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
            "# Title\n```yaml web.yaml\na: 1\n```\ntext\n```console\n$ one\nsaid\n$ two -w\nx\n^C\n```\n```sh\nno\n```\n",
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
            [file, step(7, "one", "said\n", false), step(9, "two -w", "x\n", true)]
        );
    }
}
