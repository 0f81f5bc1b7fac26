//! The Russian pages say what the English ones say: section by section the same code, and as many rows.

use std::path::Path;

use super::page::{Block, Page};

const PAGES: [(&str, &str); 2] = [
    ("README.md", "docs/ru/README.md"),
    ("docs/troubleshooting.md", "docs/ru/troubleshooting.md"),
];

#[test]
fn a_translation_has_the_same_commands_sections_and_rows() {
    for (original, translation) in PAGES {
        let (original, translated) = (
            Page::read(Path::new(original)),
            Page::read(Path::new(translation)),
        );
        let code = |page: &Page| {
            let plain = |Block { language, text, .. }: &Block| (language.clone(), text.clone());
            page.blocks.iter().map(plain).collect::<Vec<_>>()
        };
        assert_eq!(code(&original), code(&translated), "{translation}");
        let levels = |page: &Page| {
            page.headings
                .iter()
                .map(|(level, _)| *level)
                .collect::<Vec<_>>()
        };
        assert_eq!(levels(&original), levels(&translated), "{translation}");
        for section in 0..=original.headings.len() {
            let rows = |page: &Page| page.rows.iter().filter(|(at, _)| *at == section).count();
            assert_eq!(
                rows(&original),
                rows(&translated),
                "{translation}: section {section}"
            );
            let title = section
                .checked_sub(1)
                .map_or("", |at| &original.headings[at].1);
            assert_eq!(
                named(&original, section),
                named(&translated, section),
                "{translation}: {title}"
            );
        }
    }
}

/// Everything between backticks in a section, in no order: sentences turn around in another language.
fn named(page: &Page, section: usize) -> Vec<&str> {
    let code = page.code.iter().filter(|(at, _)| *at == section);
    let mut named: Vec<_> = code.map(|(_, code)| code.as_str()).collect();
    named.sort_unstable();
    named
}
