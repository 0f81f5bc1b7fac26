//! Markdown, as far as our pages use it.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// One page, read.
pub(crate) struct Page {
    /// From the repository's root.
    pub(crate) file: String,
    pub(crate) blocks: Vec<Block>,
    /// Level and text.
    pub(crate) headings: Vec<(usize, String)>,
    /// Each with the section that it stands in: how many headings are above it.
    pub(crate) code: Vec<(usize, String)>,
    /// As written.
    pub(crate) links: Vec<String>,
    /// Rows of tables, by section.
    pub(crate) rows: Vec<(usize, String)>,
}

/// A fenced piece of code.
pub(crate) struct Block {
    pub(crate) line: usize,
    pub(crate) language: String,
    pub(crate) text: String,
}

/// The README and all below docs/.
pub(crate) fn all() -> Vec<Page> {
    let mut files = vec![PathBuf::from("README.md")];
    let mut folders = vec![PathBuf::from("docs")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                files.push(path);
            }
        }
    }
    files.sort();
    files.iter().map(|file| Page::read(file)).collect()
}

impl Page {
    pub(crate) fn read(file: &Path) -> Self {
        let text = fs::read_to_string(file).unwrap();
        let mut page = Self {
            file: file.display().to_string(),
            blocks: Vec::new(),
            headings: Vec::new(),
            code: Vec::new(),
            links: Vec::new(),
            rows: Vec::new(),
        };
        let mut open: Option<Block> = None;
        let mut prose = String::new();
        for (at, line) in text.lines().enumerate() {
            match (line.strip_prefix("```"), &mut open) {
                (Some(_), Some(_)) => page.blocks.extend(open.take()),
                (Some(language), None) => {
                    page.take_prose(&std::mem::take(&mut prose));
                    open = Some(Block {
                        line: at + 1,
                        language: language.to_owned(),
                        text: String::new(),
                    });
                }
                (None, Some(block)) => {
                    block.text.push_str(line);
                    block.text.push('\n');
                }
                (None, None) if line.starts_with('#') => {
                    page.take_prose(&std::mem::take(&mut prose));
                    let level = line.len() - line.trim_start_matches('#').len();
                    let heading = line.trim_start_matches('#').trim();
                    page.headings.push((level, heading.to_owned()));
                    page.take_prose(heading);
                }
                (None, None) => {
                    if line.starts_with('|') {
                        page.rows.push((page.headings.len(), line.to_owned()));
                    }
                    prose.push_str(line);
                    prose.push('\n');
                }
            }
        }
        assert!(open.is_none(), "{}: a block has no end", page.file);
        page.take_prose(&prose);
        page
    }

    /// What GitHub makes of the headings.
    pub(crate) fn anchors(&self) -> Vec<String> {
        let slug = |(_, heading): &(usize, String)| {
            let kept = heading.to_lowercase();
            let kept = kept
                .chars()
                .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
            kept.map(|c| if c == ' ' { '-' } else { c }).collect()
        };
        self.headings.iter().map(slug).collect()
    }

    fn take_prose(&mut self, prose: &str) {
        let section = self.headings.len();
        for (at, piece) in prose.split('`').enumerate() {
            if at % 2 == 1 {
                let one_line = piece.split_whitespace().collect::<Vec<_>>().join(" ");
                self.code.push((section, one_line));
            }
        }
        for begin in ["](", "src=\"", "srcset=\""] {
            for after in prose.split(begin).skip(1) {
                let end = after.find([')', '"']).unwrap_or(after.len());
                self.links.push(after[..end].to_owned());
            }
        }
    }
}
