//! One spelling of what people type in many ways: the OpaqueString profile
//! ([RFC 8265 §4.2](https://www.rfc-editor.org/rfc/rfc8265#section-4.2)).

use icu_normalizer::ComposingNormalizerBorrowed;
use icu_properties::props::{
    BinaryProperty, CanonicalCombiningClass, DefaultIgnorableCodePoint, EnumeratedProperty,
    GeneralCategory, GeneralCategoryGroup,
};

/// A user name, realm or password as keys are derived from it
/// ([RFC 8489 §9.2.2](https://www.rfc-editor.org/rfc/rfc8489#section-9.2.2)): other spaces are spaces, and letters are
/// composed. `None` where it holds what the profile forbids: control, invisible, private and unassigned characters.
///
/// For what an operator types. What a client sends has its one spelling already, or is another name.
#[must_use]
pub fn opaque_string(text: &str) -> Option<String> {
    let mut before = None;
    for character in text.chars() {
        if !is_allowed(character, before) {
            return None;
        }
        before = Some(character);
    }
    let spaced: String = text.chars().map(as_space).collect();
    let composed = ComposingNormalizerBorrowed::new_nfc().normalize(&spaced);
    Some(composed.into_owned())
}

/// Joiners are invisible, but Indic scripts need them behind a virama
/// ([RFC 5892 A.1](https://www.rfc-editor.org/rfc/rfc5892#appendix-A.1)).
fn is_allowed(character: char, before: Option<char>) -> bool {
    if matches!(character, '\u{200C}' | '\u{200D}') {
        let class = before.map(CanonicalCombiningClass::for_char);
        return class == Some(CanonicalCombiningClass::Virama);
    }
    let category = GeneralCategory::for_char(character);
    let is_forbidden = FORBIDDEN.contains(category);
    !is_forbidden && !DefaultIgnorableCodePoint::for_char(character)
}

fn as_space(character: char) -> char {
    match GeneralCategory::for_char(character) == GeneralCategory::SpaceSeparator {
        true => ' ',
        false => character,
    }
}

/// Controls, formats, surrogates, private use, unassigned; separators of lines and paragraphs.
const FORBIDDEN: GeneralCategoryGroup = GeneralCategoryGroup::Other
    .union(GeneralCategoryGroup::LineSeparator)
    .union(GeneralCategoryGroup::ParagraphSeparator);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_spelling_of_each_text() {
        let cases = [
            ("plain", "turnpass", Some("turnpass")),
            ("all of ASCII stays", " a:~\"\\Z ", Some(" a:~\"\\Z ")),
            ("decomposed", "Rene\u{301}", Some("Ren\u{e9}")),
            ("composed", "Ren\u{e9}", Some("Ren\u{e9}")),
            ("no case is folded", "\u{c9}\u{e9}", Some("\u{c9}\u{e9}")),
            ("no width is mapped", "\u{ff21}", Some("\u{ff21}")),
            ("other spaces", "a\u{a0}b\u{3000}c", Some("a b c")),
            ("a joiner in its place", "क्\u{200d}ष", Some("क्\u{200d}ष")),
            ("a joiner elsewhere", "a\u{200d}b", None),
            ("a joiner first", "\u{200c}b", None),
            ("NUL", "a\0b", None),
            ("a line end", "a\nb", None),
            ("DEL", "a\u{7f}", None),
            ("an ignorable one", "a\u{ad}b", None),
            ("a variation selector", "a\u{fe0f}", None),
            ("a paragraph separator", "a\u{2029}b", None),
            ("private use", "\u{e000}", None),
            ("a noncharacter", "\u{ffff}", None),
        ];
        for (name, text, expected) in cases {
            assert_eq!(opaque_string(text).as_deref(), expected, "{name}");
        }
    }
}
